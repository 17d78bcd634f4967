//! Loading zone files: a dump comes back as it was, ordinary master files are read, wrong ones change nothing.

use std::fs;
use std::path::PathBuf;

use dmp_node::access::Author;
use dmp_node::clock::Clock;
use dmp_node::config::{Config, Environment, Overrides};
use dmp_node::context::{Context, Operation};
use dmp_node::control::{self, Operator};
use dmp_node::import::{Counts, Mode};
use dmp_node::load::{LoadError, Report, Request, load};
use dmp_node::settings::Settings;
use dmp_node::store::OpenError;
use dmp_node::zone::Owner;

const NOW: u64 = 1_800_000_000;

struct Site {
    dir: tempfile::TempDir,
    clock: Clock,
}

impl Site {
    fn new() -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
            clock: Clock::manual(NOW * 1000),
        }
    }

    fn database(&self) -> PathBuf {
        self.dir.path().join("dmp.db")
    }

    fn load(&self, text: &str, ttl: Option<u64>, mode: Mode) -> Result<Report, LoadError> {
        let file = self.dir.path().join("test.zone");
        fs::write(&file, text).unwrap();
        let request = Request {
            file: &file,
            database: &self.database(),
            zone: Some(&owner("mesh.test")),
            ttl,
            mode,
        };
        load(&request, &self.clock)
    }

    #[track_caller]
    fn added(&self, text: &str) -> Report {
        self.load(text, None, Mode::Apply).unwrap()
    }

    /// What is wrong, without the directory.
    #[track_caller]
    fn refused(&self, text: &str) -> String {
        let error = self.load(text, None, Mode::Apply).unwrap_err().to_string();
        let place = format!("{}/", self.dir.path().display());
        error.strip_prefix(&place).unwrap().to_owned()
    }

    async fn dump(&self) -> String {
        let environment = Environment::from_pairs([
            ("DMP_DOMAIN", "mesh.test"),
            ("DMP_DB_PATH", self.database().to_str().unwrap()),
        ]);
        let config = Config::read(&environment, &Overrides::default()).unwrap();
        let operator = Operator::offline(&config, self.clock.clone()).unwrap();
        let (sender, mut pieces) = tokio::sync::mpsc::channel(4);
        let dump =
            tokio::spawn(async move { operator.perform(control::Request::ZoneDump, sender).await });
        let mut text = String::new();
        while let Some(piece) = pieces.recv().await {
            text += &piece;
        }
        dump.await.unwrap().unwrap();
        text
    }

    fn open(&self) -> std::sync::Arc<Context> {
        let settings = Settings {
            database: self.database(),
            zone: Some(owner("mesh.test")),
            ..Settings::default()
        };
        Context::open(settings, self.clock.clone()).unwrap()
    }
}

fn owner(name: &str) -> Owner {
    Owner::parse(name).unwrap()
}

fn counts(added: u64, extended: u64, present: u64, expired: u64) -> Counts {
    Counts {
        added,
        extended,
        present,
        expired,
        refused: 0,
    }
}

#[tokio::test]
async fn a_dump_loaded_into_an_empty_database_dumps_the_same() {
    let (site, other) = (Site::new(), Site::new());
    let context = site.open();
    let long = "é".repeat(1_000);
    let values = [
        "plain",
        "",
        "a;b \"c\" \\",
        "; expires 5",
        "line\nfeed\t\u{7f}",
        &long,
    ];
    for (index, value) in values.iter().enumerate() {
        for name in ["mesh.test", "b.mesh.test", "a.b.mesh.test"] {
            let operation = Operation::Publish {
                owner: owner(name),
                value: (*value).to_owned(),
                ttl: 10 + index as u64 * 1_000,
            };
            context
                .submit(Author::Operator, vec![operation])
                .await
                .unwrap();
        }
    }
    context.store().close();
    drop(context);
    let dump = site.dump().await;
    assert_eq!(dump.lines().count(), 2 + 3 * values.len(), "{dump}");
    let report = other.added(&dump);
    assert_eq!(report.records, counts(18, 0, 0, 0));
    assert_eq!(other.dump().await, dump);
    let report = other.added(&dump);
    assert_eq!(
        report.records,
        counts(0, 0, 18, 0),
        "a second load changes nothing"
    );
    assert_eq!(other.dump().await, dump);
}

#[tokio::test]
async fn life_is_what_a_dump_says_was_left_or_the_ttl_and_the_operator_may_set_it() {
    let text = "$TTL 300\n\
        a TXT x ; expires 1800000500\n\
        b 70 TXT x\n\
        c TXT x\n\
        d TXT x ; expires 1800000000\n";
    let site = Site::new();
    assert_eq!(site.added(text).records, counts(3, 0, 0, 1));
    let context = site.open();
    for (second, live) in [
        (69, "abc"),
        (70, "ac"),
        (299, "ac"),
        (300, "a"),
        (499, "a"),
        (500, ""),
    ] {
        let names = ["a", "b", "c", "d"].into_iter().filter(|name| {
            let owner = owner(&format!("{name}.mesh.test"));
            !context.zone().values(&owner, NOW + second).is_empty()
        });
        assert_eq!(names.collect::<String>(), live, "after {second} seconds");
    }
    context.store().close();
    drop(context);
    let report = site.load(text, Some(100), Mode::Apply).unwrap();
    assert_eq!(
        report.records,
        counts(1, 1, 2, 0),
        "d is new, b lives longer, a and c lived longer already"
    );
    assert!(
        site.refused("a TXT y")
            .ends_with(":1: the record has no TTL, and there is no $TTL")
    );
}

#[test]
fn only_txt_is_stored_and_the_rest_is_counted() {
    let site = Site::new();
    let report = site.added(
        "$TTL 60\n@ SOA ns1 hostmaster 2100000000 3600 600 604800 60\n@ NS ns1\n@ A 192.0.2.1\n\
         ns1 A 192.0.2.1\nns1 AAAA 2001:db8::1\nx TYPE65280 \\# 1 00\na TXT v\n",
    );
    let left_out: Vec<(&str, u64)> = report
        .left_out
        .iter()
        .map(|(rtype, number)| (&**rtype, *number))
        .collect();
    assert_eq!(
        left_out,
        [
            ("A", 2),
            ("AAAA", 1),
            ("NS", 1),
            ("SOA", 1),
            ("TYPE65280", 1)
        ]
    );
    assert_eq!(report.records, counts(1, 0, 0, 0));
    assert_eq!(
        report.serial, 2_100_000_000,
        "not behind the zone it came from"
    );
}

#[tokio::test]
async fn one_wrong_line_keeps_the_whole_file_out() {
    let site = Site::new();
    site.added("here 60 TXT before");
    let before = site.dump().await;
    let large = format!(" \"{}\"", "x".repeat(255)).repeat(256);
    for (text, expected) in [
        (
            "a 60 TXT v\n\nb 60 TXT \"v\n",
            "test.zone:3: a string is not closed on its line",
        ),
        (
            "a 60 TXT v\nb.example. 60 TXT v\n",
            "test.zone:2: b.example. is outside the zone mesh.test.",
        ),
        ("a 60 TXT v\nb 60 TXY v\n", "test.zone:2: unknown type TXY"),
        (
            &format!("a 60 TXT{large}\n"),
            "test.zone:1: the value is longer than one TXT record holds",
        ),
    ] {
        assert_eq!(site.refused(text), expected);
    }
    assert_eq!(site.dump().await, before);
    let missing = site.dir.path().join("none");
    let request = Request {
        file: &missing,
        database: &site.database(),
        zone: None,
        ttl: None,
        mode: Mode::Apply,
    };
    assert!(matches!(
        load(&request, &site.clock),
        Err(LoadError::File { .. })
    ));
}

#[tokio::test]
async fn a_dry_run_says_the_same_and_writes_nothing() {
    let site = Site::new();
    let report = site.load("a 60 TXT v", None, Mode::DryRun).unwrap();
    assert!(report.dry_run && report.records == counts(1, 0, 0, 0));
    assert!(!site.database().exists());
    site.added("a 60 TXT v");
    let before = site.dump().await;
    let report = site
        .load("a 90 TXT v\nb 60 TXT v", None, Mode::DryRun)
        .unwrap();
    assert_eq!(report.records, counts(1, 1, 0, 0));
    assert_eq!(site.dump().await, before);
}

#[test]
fn while_a_node_runs_the_holder_of_the_database_is_named() {
    let site = Site::new();
    let context = site.open();
    let error = site.load("a 60 TXT v", None, Mode::Apply).unwrap_err();
    let holder = std::process::id();
    assert!(
        matches!(&error, LoadError::Open(OpenError::InUse { holder: Some(pid), .. }) if *pid == holder),
        "{error}"
    );
    context.store().close();
}
