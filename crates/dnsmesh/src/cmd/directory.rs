//! `directory`: a public page of the mesh, made from what zones publish (federation.md 2.13). Needs no configuration.

use std::fs::{self, File};
use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use dmp_client::directory::{Check, Survey, Witness, feed, matrix, page, survey, zone_of};
use dmp_client::mesh::{Lookup, Pending, Reader};
use dmp_client::reader::Resolvers;
use dmp_core::id::UnixTime;
use dmp_core::name::Zone;
use dmp_core::owner::OwnerName;
use dmp_net::{Entry, PoolOptions};
use serde::Serialize;

use super::Outcome;
use crate::args::directory::DirectoryArgs;
use crate::context::Context;
use crate::exit::{Exit, Failure};
use crate::report::{Report, line};
use crate::time::{now, utc_of};

/// Whose view the matrix shows where nobody else is named.
const PUBLIC: [(&str, [u8; 4]); 13] = [
    ("Cloudflare", [1, 1, 1, 1]),
    ("Google", [8, 8, 8, 8]),
    ("Quad9", [9, 9, 9, 9]),
    ("OpenDNS", [208, 67, 222, 222]),
    ("Comodo", [8, 26, 56, 26]),
    ("Level3", [4, 2, 2, 1]),
    ("Hurricane Electric", [74, 82, 42, 42]),
    ("Verisign", [64, 6, 64, 6]),
    ("AdGuard", [94, 140, 14, 14]),
    ("Yandex", [77, 88, 8, 8]),
    ("Alibaba", [223, 5, 5, 5]),
    ("DNSPod", [119, 29, 29, 29]),
    ("KT Korea", [168, 126, 63, 1]),
];
/// Where resolvers listen.
const DNS_PORT: u16 = 53;
/// How many of them the survey itself asks.
const ASKED: usize = 3;

/// Asks the zones and writes both files.
pub(super) async fn directory(context: &Context, args: DirectoryArgs) -> Outcome {
    let mut notes = Vec::new();
    let zones = zones(&args, &mut notes)?;
    let resolvers: Vec<(String, Entry)> = if args.resolver.is_empty() {
        let public = PUBLIC.iter().map(|(name, address)| {
            let server = SocketAddr::new(Ipv4Addr::from(*address).into(), DNS_PORT);
            ((*name).to_owned(), Entry::from(server))
        });
        public.collect()
    } else {
        let given = args.resolver.iter();
        given
            .map(|entry| (entry.to_string(), entry.clone()))
            .collect()
    };
    let fallback = context.system_fallback();
    let reader_of =
        |entries: Vec<Entry>| Resolvers::configured(entries, PoolOptions::default(), fallback);
    let asked = resolvers.iter().map(|(_, entry)| entry.clone());
    let asked: Vec<Entry> = if args.resolver.is_empty() {
        asked.take(ASKED).collect()
    } else {
        asked.collect()
    };
    let now = UnixTime::new(now());
    let survey = survey(&reader_of(asked), &zones, now).await;
    for (zone, answer) in &survey.zones {
        if let Err(error) = answer {
            notes.push(format!("warning: {zone} did not answer: {error}"));
        }
    }
    if survey.answered() == 0 {
        return Err(Failure::new(
            Exit::Remote,
            "directory-unreachable",
            "none of the zones answered",
        )
        .hint("the files of the last run are as they were"));
    }
    let checks = if args.no_resolver_matrix {
        Vec::new()
    } else {
        let witnesses = resolvers.into_iter().map(|(name, entry)| {
            Box::new(Single {
                name,
                address: entry.to_string(),
                reader: reader_of(vec![entry]),
            }) as Box<dyn Witness>
        });
        matrix(&witnesses.collect::<Vec<_>>(), &zones, now).await
    };
    let files = [
        ("feed.json", feed(&survey, &checks, now)),
        ("index.html", page(&survey, &checks, now, &utc_of(now))),
    ];
    publish(&args.out_dir, &files).map_err(|error| {
        Failure::user(
            "directory-file",
            format!("{}: {error}", args.out_dir.display()),
        )
    })?;
    Ok(Box::new(Written {
        out_dir: args.out_dir,
        survey,
        checks,
        notes,
    }))
}

/// The zones of the arguments and of the file, each once.
fn zones(args: &DirectoryArgs, notes: &mut Vec<String>) -> Result<Vec<Zone>, Failure> {
    let mut seeds = args.seed.clone();
    if let Some(path) = &args.seeds_file {
        let text = fs::read_to_string(path).map_err(|error| {
            Failure::user("directory-seeds", format!("{}: {error}", path.display()))
        })?;
        let lines = text.lines().map(str::trim);
        let lines = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
        seeds.extend(lines.map(str::to_owned));
    }
    let mut zones = Vec::new();
    for seed in seeds {
        match zone_of(&seed) {
            Some(zone) if !zones.contains(&zone) => zones.push(zone),
            Some(_) => {}
            None => notes.push(format!("warning: `{seed}` names no zone")),
        }
    }
    if zones.is_empty() {
        let failure = Failure::user("directory-seeds", "there is no zone to ask");
        let failure = notes.drain(..).fold(failure, Failure::hint);
        return Err(failure.hint("name one with --seed, or a file of them with --seeds-file"));
    }
    Ok(zones)
}

/// One resolver by itself, with a stopwatch.
struct Single {
    name: String,
    address: String,
    reader: Resolvers,
}

impl Witness for Single {
    fn name(&self) -> &str {
        &self.name
    }

    fn address(&self) -> &str {
        &self.address
    }

    fn ask<'a>(&'a self, owner: &'a OwnerName) -> Pending<'a, (Lookup, Duration)> {
        Box::pin(async move {
            let begun = Instant::now();
            let answer = self.reader.txt(owner).await;
            (answer, begun.elapsed())
        })
    }
}

/// Puts the files in the place of the old ones: whoever reads one meanwhile, or after a crash, has the old or the new, never a part.
fn publish(dir: &Path, files: &[(&str, String)]) -> io::Result<()> {
    fs::create_dir_all(dir)?;
    let temporary = |name: &str| dir.join(format!(".{name}.tmp"));
    for (name, content) in files {
        let mut file = File::create(temporary(name))?;
        file.write_all(content.as_bytes())?;
        file.sync_all()?;
    }
    for (name, _) in files {
        fs::rename(temporary(name), dir.join(name))?;
    }
    File::open(dir)?.sync_all()
}

struct Written {
    out_dir: PathBuf,
    survey: Survey,
    checks: Vec<Check>,
    notes: Vec<String>,
}

impl Written {
    fn ok(&self) -> usize {
        self.checks.iter().filter(|check| check.is_ok()).count()
    }
}

impl Report for Written {
    fn text(&self) -> String {
        let Self { survey, checks, .. } = self;
        let matrix = if checks.is_empty() {
            String::new()
        } else {
            format!(
                "; {} of {} looks through resolvers found a heartbeat",
                self.ok(),
                checks.len()
            )
        };
        format!(
            "wrote feed.json and index.html to {}\n{} node(s), {} edge(s); {} of {} zone(s) answered{matrix}\n",
            self.out_dir.display(),
            survey.nodes.len(),
            survey.edges.len(),
            survey.answered(),
            survey.zones.len()
        )
    }

    fn json(&self) -> String {
        #[derive(Serialize)]
        struct Members {
            out_dir: String,
            nodes: usize,
            edges: usize,
            zones: usize,
            zones_answered: usize,
            checks: usize,
            checks_ok: usize,
        }
        line(
            "dmp.directory/1",
            &Members {
                out_dir: self.out_dir.display().to_string(),
                nodes: self.survey.nodes.len(),
                edges: self.survey.edges.len(),
                zones: self.survey.zones.len(),
                zones_answered: self.survey.answered(),
                checks: self.checks.len(),
                checks_ok: self.ok(),
            },
        )
    }

    fn notes(&self) -> Vec<String> {
        self.notes.clone()
    }
}
