//! `node import`: takes over databases of the reference node (D4, node.md 5.4).

use dmp_node::clock::Clock;
use dmp_node::config::Config;
use dmp_node::import::{self, Counts, Mode};

use crate::args::NodeImportArgs;
use crate::exit::Failure;
use crate::report::{Report, line};
use crate::screen;

/// Imports the files into the database that the node would use.
pub(crate) fn import(args: NodeImportArgs) -> Result<Imported, Failure> {
    let config = Config::of_process(&args.settings.into())
        .map_err(|error| Failure::user("node-config", error))?;
    let mode = if args.dry_run {
        Mode::DryRun
    } else {
        Mode::Apply
    };
    import::import(&args.files, &config.database.path, &Clock::system(), mode)
        .map(Imported)
        .map_err(|error| Failure::user("node-import", error).hint("nothing was changed"))
}

/// What was taken over.
pub(crate) struct Imported(import::Report);

impl Report for Imported {
    fn text(&self) -> String {
        let report = &self.0;
        let dry_run = if report.dry_run {
            " (dry run: nothing was written)"
        } else {
            ""
        };
        let mut lines = vec![format!("into {}{dry_run}", report.database.display())];
        for source in &report.sources {
            let tables = source
                .tables
                .iter()
                .map(|(table, rows)| format!("{table} ({rows})"));
            let tables: Vec<String> = tables.collect();
            lines.push(format!(
                "read {}: {}",
                source.file.display(),
                tables.join(", ")
            ));
        }
        for (what, counts) in [
            ("records", report.records),
            ("TSIG keys", report.keys),
            ("bearer tokens", report.tokens),
            ("heartbeats of other nodes", report.heartbeats),
        ] {
            lines.push(numbers(what, counts));
        }
        lines.push(format!("SOA serial: {}", report.serial));
        lines.iter().map(|line| screen::line(line) + "\n").collect()
    }

    fn json(&self) -> String {
        line("dmp.node-import/1", &self.0)
    }

    fn notes(&self) -> Vec<String> {
        let report = &self.0;
        let refused = report.refused.iter().map(|refused| {
            let file = refused.file.display();
            format!("left out: {} of {file}: {}", refused.row, refused.reason)
        });
        let mut notes: Vec<String> = refused.collect();
        if report.audit_rows_left > 0 {
            let rows = report.audit_rows_left;
            notes.push(format!(
                "{rows} row(s) of the token audit stay in their file"
            ));
        }
        let shared = report.shared_names.iter().map(|name| {
            format!(
                "keys of different subjects may both write and delete {name}: revoke the wrong one"
            )
        });
        notes.extend(shared);
        notes
    }
}

pub(super) fn numbers(what: &str, counts: Counts) -> String {
    let Counts {
        added,
        extended,
        present,
        expired,
        refused,
    } = counts;
    let mut parts = vec![format!("{added} added")];
    for (number, word) in [
        (extended, "prolonged"),
        (present, "already there"),
        (expired, "expired"),
        (refused, "left out"),
    ] {
        if number > 0 {
            parts.push(format!("{number} {word}"));
        }
    }
    format!("{what}: {}", parts.join(", "))
}
