//! `node load`: fills the database from a zone file, such as `node ctl zone dump` writes.

use dmp_node::clock::Clock;
use dmp_node::import::Mode;
use dmp_node::load::{self, LoadError, Request};
use dmp_node::store::OpenError;

use super::ctl::Target;
use super::import::numbers;
use crate::args::NodeLoadArgs;
use crate::exit::Failure;
use crate::report::{Report, line};
use crate::screen;

/// Loads the file into the database that the node would use.
pub(crate) fn load(args: NodeLoadArgs) -> Result<Loaded, Failure> {
    let target = Target::new(&args.settings.into())?;
    let request = Request {
        file: &args.file,
        database: target.database(),
        zone: target.zone(),
        ttl: args.ttl,
        mode: if args.dry_run {
            Mode::DryRun
        } else {
            Mode::Apply
        },
    };
    load::load(&request, &Clock::system())
        .map(Loaded)
        .map_err(|error| {
            let hint = match &error {
                LoadError::Open(OpenError::InUse { .. }) => {
                    "stop the node, load, and start it again"
                }
                _ => "nothing was changed",
            };
            Failure::user("node-load", error).hint(hint)
        })
}

/// What was loaded.
pub(crate) struct Loaded(load::Report);

impl Report for Loaded {
    fn text(&self) -> String {
        let report = &self.0;
        let dry_run = if report.dry_run {
            " (dry run: nothing was written)"
        } else {
            ""
        };
        let lines = [
            format!("into {}{dry_run}", report.database.display()),
            numbers("records", report.records),
            format!("SOA serial: {}", report.serial),
        ];
        lines.iter().map(|line| screen::line(line) + "\n").collect()
    }

    fn json(&self) -> String {
        line("dmp.node-load/1", &self.0)
    }

    fn notes(&self) -> Vec<String> {
        let types = self.0.left_out.iter();
        let types: Vec<String> = types
            .map(|(rtype, number)| format!("{number} {rtype}"))
            .collect();
        if types.is_empty() {
            return Vec::new();
        }
        vec![format!(
            "left out: {}; the node stores TXT, what else it answers comes from its settings",
            types.join(", ")
        )]
    }
}
