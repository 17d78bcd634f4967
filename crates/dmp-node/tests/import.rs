//! Taking over the databases of a reference node (D4, node.md 5.4): every age of its schemas, and nothing of it changed.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use dmp_dns::tsig::Keyring as _;
use dmp_node::clock::Clock;
use dmp_node::config::{Config, Environment, Overrides};
use dmp_node::credentials::TokenHash;
use dmp_node::import::{ImportError, Mode, Report, import};
use dmp_node::store::OpenError;
use dmp_node::supervise::Node;
use dmp_node::zone::Owner;
use rusqlite::{Connection, params};
use tempfile::TempDir;

const NOW: u64 = 1_800_000_000;

const RECORDS: &str =
    "CREATE TABLE records (name TEXT NOT NULL, value TEXT NOT NULL, ttl INTEGER NOT NULL,
    created_at INTEGER NOT NULL, expires_at INTEGER NOT NULL, stored_ts INTEGER NOT NULL DEFAULT 0,
    value_hash TEXT NOT NULL DEFAULT '', PRIMARY KEY (name, value));";
const OLD_RECORDS: &str =
    "CREATE TABLE records (name TEXT NOT NULL, value TEXT NOT NULL, ttl INTEGER NOT NULL,
    created_at INTEGER NOT NULL, expires_at INTEGER NOT NULL, PRIMARY KEY (name, value));";
const KEYS: &str = "CREATE TABLE tsig_keys (name TEXT PRIMARY KEY, algorithm TEXT NOT NULL DEFAULT 'hmac-sha256',
    secret BLOB NOT NULL, allowed_suffixes TEXT NOT NULL DEFAULT '', created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL DEFAULT 0, revoked INTEGER NOT NULL DEFAULT 0, subject TEXT NOT NULL DEFAULT '',
    registered_spk TEXT NOT NULL DEFAULT '', registered_x25519_pub TEXT NOT NULL DEFAULT '');
    PRAGMA user_version = 4;";
const OLD_KEYS: &str =
    "CREATE TABLE tsig_keys (name TEXT PRIMARY KEY, algorithm TEXT NOT NULL DEFAULT 'hmac-sha256',
    secret BLOB NOT NULL, allowed_suffixes TEXT NOT NULL DEFAULT '', created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL DEFAULT 0, revoked INTEGER NOT NULL DEFAULT 0);";
const TOKENS: &str = "CREATE TABLE tokens (token_hash TEXT PRIMARY KEY, subject TEXT NOT NULL, subject_type INTEGER NOT NULL,
    subject_hash12 TEXT, rate_per_sec REAL NOT NULL DEFAULT 10.0, rate_burst INTEGER NOT NULL DEFAULT 50,
    issued_at INTEGER NOT NULL, expires_at INTEGER, revoked_at INTEGER, issuer TEXT NOT NULL DEFAULT '',
    note TEXT NOT NULL DEFAULT '', registered_spk TEXT);
    CREATE TABLE token_audit (id INTEGER PRIMARY KEY AUTOINCREMENT, ts INTEGER NOT NULL, event TEXT NOT NULL,
    token_hash TEXT, subject TEXT, remote_addr TEXT, detail TEXT);
    PRAGMA user_version = 2;";
const OLD_TOKENS: &str = "CREATE TABLE tokens (token_hash TEXT PRIMARY KEY, subject TEXT NOT NULL, subject_type INTEGER NOT NULL,
    subject_hash12 TEXT, rate_per_sec REAL NOT NULL DEFAULT 10.0, rate_burst INTEGER NOT NULL DEFAULT 50,
    issued_at INTEGER NOT NULL, expires_at INTEGER, revoked_at INTEGER, issuer TEXT NOT NULL DEFAULT '',
    note TEXT NOT NULL DEFAULT '');";
const HEARTBEATS: &str =
    "CREATE TABLE heartbeats_seen (operator_spk_hex TEXT NOT NULL, endpoint TEXT NOT NULL,
    wire TEXT NOT NULL, ts INTEGER NOT NULL, exp INTEGER NOT NULL, version TEXT NOT NULL DEFAULT '',
    received_at INTEGER NOT NULL, remote_addr TEXT, PRIMARY KEY (operator_spk_hex, endpoint));
    PRAGMA user_version = 1;";

/// A directory with reference databases in it and a place for our own.
struct Site {
    directory: TempDir,
}

impl Site {
    fn new() -> Self {
        Self {
            directory: tempfile::tempdir().unwrap(),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn database(&self) -> PathBuf {
        self.path("own/node.db")
    }

    /// A source with the schema, filled by the closure. It is closed in order, so without a log beside it.
    fn source(&self, name: &str, schema: &str, fill: impl FnOnce(&Connection)) -> PathBuf {
        fs::create_dir_all(self.path("reference")).unwrap();
        let path = self.path("reference").join(name);
        let sql = Connection::open(&path).unwrap();
        sql.pragma_update(None, "journal_mode", "wal").unwrap();
        sql.execute_batch(schema).unwrap();
        fill(&sql);
        path
    }

    fn import(&self, files: &[PathBuf], mode: Mode) -> Result<Report, ImportError> {
        import(files, &self.database(), &Clock::manual(NOW * 1000), mode)
    }

    fn apply(&self, files: &[PathBuf]) -> Report {
        self.import(files, Mode::Apply).unwrap()
    }

    /// Every file below the directory with its content.
    fn content(&self, below: &str) -> BTreeMap<PathBuf, Vec<u8>> {
        let Ok(entries) = fs::read_dir(self.path(below)) else {
            return BTreeMap::new();
        };
        entries
            .map(|entry| entry.unwrap().path())
            .map(|path| (path.clone(), fs::read(&path).unwrap()))
            .collect()
    }

    async fn node(&self) -> Node {
        let database = self.database();
        let settings = [
            ("DMP_DB_PATH", database.to_str().unwrap()),
            ("DMP_DNS_HOST", "127.0.0.1"),
            ("DMP_DNS_PORT", "0"),
            ("DMP_HTTP_HOST", "127.0.0.1"),
            ("DMP_HTTP_PORT", "0"),
            ("DMP_DOMAIN", "mesh.test"),
            ("DMP_DNS_UPDATE_ENABLED", "1"),
        ];
        let config = Config::read(&Environment::from_pairs(settings), &Overrides::default());
        Node::start_at(config.unwrap(), Clock::manual(NOW * 1000))
            .await
            .unwrap()
    }
}

fn record(
    sql: &Connection,
    name: &str,
    value: &str,
    created_at: u64,
    expires_at: u64,
    stored: u64,
) {
    sql.execute(
        "INSERT INTO records VALUES (?1, ?2, ?3, ?4, ?5, ?6, 'hash')",
        params![
            name,
            value,
            (expires_at - created_at) as i64,
            created_at as i64,
            expires_at as i64,
            stored as i64
        ],
    )
    .unwrap();
}

fn stored(database: &Path) -> Vec<(String, String, i64, i64, i64)> {
    let sql = Connection::open(database).unwrap();
    let mut rows = sql
        .prepare("SELECT owner, value, ttl, stored_ms, expires_at FROM record ORDER BY id")
        .unwrap();
    let rows = rows.query_map([], |row| {
        Ok((
            row.get(0)?,
            row.get(1)?,
            row.get(2)?,
            row.get(3)?,
            row.get(4)?,
        ))
    });
    rows.unwrap().map(Result::unwrap).collect()
}

fn key(
    sql: &Connection,
    name: &str,
    suffixes: &str,
    expires_at: u64,
    revoked: bool,
    subject: &str,
) {
    sql.execute(
        "INSERT INTO tsig_keys VALUES (?1, 'hmac-sha256', ?2, ?3, 1, ?4, ?5, ?6, ?7, '')",
        params![
            name,
            [7_u8; 32],
            suffixes,
            expires_at as i64,
            revoked,
            subject,
            "ab".repeat(32)
        ],
    )
    .unwrap();
}

fn token(
    sql: &Connection,
    text: &str,
    subject: &str,
    expires_at: Option<u64>,
    revoked_at: Option<u64>,
) {
    let hash = TokenHash::of_presented(text).unwrap().to_string();
    sql.execute(
        "INSERT INTO tokens (token_hash, subject, subject_type, issued_at, expires_at, revoked_at, issuer)
         VALUES (?1, ?2, 1, 1, ?3, ?4, 'admin:root')",
        params![hash, subject, expires_at.map(|at| at as i64), revoked_at.map(|at| at as i64)],
    )
    .unwrap();
}

fn token_text(letter: char) -> String {
    format!("dmp_v1_{}", letter.to_string().repeat(52))
}

#[test]
fn live_records_arrive_in_the_order_of_their_creation_and_expired_ones_stay_behind() {
    let site = Site::new();
    let file = site.source("dmp.db", RECORDS, |sql| {
        record(sql, "b.mesh.test", "seconds", NOW - 50, NOW + 50, NOW - 40);
        record(
            sql,
            "a.mesh.test",
            "millis",
            NOW - 90,
            NOW + 10,
            (NOW - 90) * 1000 + 7,
        );
        record(sql, "c.mesh.test", "unset", NOW - 10, NOW + 90, 0);
        record(sql, "d.mesh.test", "gone", NOW - 90, NOW, 0);
    });
    let report = site.apply(&[file]);
    let counts = report.records;
    assert_eq!((counts.added, counts.expired, counts.refused), (3, 1, 0));
    let row = |name: &str, value: &str, expires: u64| {
        let stored_ms = NOW as i64 * 1000; // when it came here, which is what other nodes read by
        let expires = expires as i64;
        (name.to_owned(), value.to_owned(), 100, stored_ms, expires)
    };
    assert_eq!(
        stored(&site.database()),
        [
            row("a.mesh.test", "millis", NOW + 10),
            row("b.mesh.test", "seconds", NOW + 50),
            row("c.mesh.test", "unset", NOW + 90),
        ],
        "in the order of their creation"
    );
    let later = Clock::manual((NOW + 5_000) * 1000);
    let more = site.source("more.db", RECORDS, |sql| {
        record(sql, "e.mesh.test", "v", NOW, NOW + 9_000, 0);
    });
    let report = import(&[more], &site.database(), &later, Mode::Apply).unwrap();
    assert_eq!(
        report.serial,
        NOW as u32 + 5_000,
        "never behind a serial that the reference answered with"
    );
}

#[test]
fn a_record_table_without_the_later_columns_arrives_too() {
    let site = Site::new();
    let file = site.source("dmp.db", OLD_RECORDS, |sql| {
        let insert = "INSERT INTO records VALUES ('a.mesh.test', 'v', 60, 1799999990, 1800000050)";
        sql.execute(insert, []).unwrap();
    });
    assert_eq!(site.apply(&[file]).records.added, 1);
    assert_eq!(stored(&site.database())[0].1, "v");
}

#[test]
fn owner_names_are_lowered_and_duplicates_merged_with_the_later_expiry() {
    let site = Site::new();
    let file = site.source("dmp.db", RECORDS, |sql| {
        record(sql, "Slot-1.MB-aa.mesh.test", "v", NOW - 50, NOW + 20, 0);
        record(sql, "slot-1.mb-aa.mesh.test", "v", NOW - 40, NOW + 60, 0);
        record(sql, "SLOT-1.mb-aa.mesh.test.", "v", NOW - 30, NOW + 40, 0);
        record(sql, "slot-1.mb-aa.Mesh.test", "w", NOW - 20, NOW + 5, 0);
    });
    let report = site.apply(&[file]);
    assert_eq!((report.records.added, report.records.present), (2, 2));
    let rows = stored(&site.database());
    assert_eq!(rows.len(), 2);
    assert_eq!(
        (rows[0].0.as_str(), rows[0].4),
        ("slot-1.mb-aa.mesh.test", NOW as i64 + 60)
    );
}

#[test]
fn what_cannot_be_stored_is_told_with_its_reason() {
    let site = Site::new();
    let file = site.source("dmp.db", RECORDS, |sql| {
        record(sql, "*.mesh.test", "wildcard", NOW - 1, NOW + 9, 0);
        record(sql, "a.mesh.test", &"x".repeat(70_000), NOW - 1, NOW + 9, 0);
        sql.execute(
            "INSERT INTO records VALUES ('b.mesh.test', x'ff', 1, 1, 9999999999, 0, '')",
            [],
        )
        .unwrap();
    });
    let keys = site.source("dmp_tsig.db", KEYS, |sql| {
        key(sql, "no-scope.mesh.test.", "", 0, false, "");
        sql.execute(
            "INSERT INTO tsig_keys (name, algorithm, secret, allowed_suffixes, created_at)
                     VALUES ('md5.mesh.test.', 'hmac-md5', x'0102', 'mesh.test', 1)",
            [],
        )
        .unwrap();
    });
    let report = site.apply(&[file, keys]);
    assert_eq!((report.records.refused, report.keys.refused), (3, 2));
    let rows: Vec<_> = report
        .refused
        .iter()
        .map(|refused| refused.row.as_str())
        .collect();
    assert_eq!(
        rows,
        [
            "b.mesh.test",
            "*.mesh.test",
            "a.mesh.test",
            "no-scope.mesh.test.",
            "md5.mesh.test."
        ]
    );
    assert!(stored(&site.database()).is_empty());
}

#[test]
fn the_sources_stay_as_they_are_and_a_log_left_behind_is_read() {
    let site = Site::new();
    let file = site.source("dmp.db", RECORDS, |sql| {
        record(sql, "a.mesh.test", "in the file", NOW - 1, NOW + 9, 0);
    });
    let open = Connection::open(&file).unwrap();
    record(&open, "b.mesh.test", "in the log", NOW - 1, NOW + 9, 0);
    // As a node leaves them that was killed: the log is there, nobody has the file open.
    let killed = site.path("killed");
    fs::create_dir(&killed).unwrap();
    for suffix in ["", "-wal"] {
        let name = format!("dmp.db{suffix}");
        fs::copy(file.with_file_name(&name), killed.join(&name)).unwrap();
    }
    let before = site.content("killed");
    assert!(before.values().all(|content| !content.is_empty()));
    assert_eq!(site.apply(&[killed.join("dmp.db")]).records.added, 2);
    assert_eq!(site.content("killed"), before);
}

#[test]
fn a_dry_run_tells_the_same_and_writes_nothing() {
    let site = Site::new();
    let first = site.source("first.db", RECORDS, |sql| {
        record(sql, "a.mesh.test", "v", NOW - 1, NOW + 9, 0);
    });
    let report = site
        .import(std::slice::from_ref(&first), Mode::DryRun)
        .unwrap();
    assert_eq!(report.records.added, 1);
    assert!(report.dry_run && !site.path("own").exists());
    site.apply(&[first]);
    let second = site.source("second.db", RECORDS, |sql| {
        record(sql, "A.mesh.test", "v", NOW - 1, NOW + 99, 0);
        record(sql, "b.mesh.test", "v", NOW - 1, NOW + 9, 0);
    });
    let before = site.content("own");
    let report = site.import(&[second], Mode::DryRun).unwrap();
    assert_eq!((report.records.added, report.records.extended), (1, 1));
    assert_eq!(site.content("own"), before);
}

#[test]
fn a_second_import_adds_nothing() {
    let site = Site::new();
    let files = [
        site.source("dmp.db", RECORDS, |sql| {
            record(sql, "A.mesh.test", "v", NOW - 1, NOW + 9, 0)
        }),
        site.source("dmp_tsig.db", KEYS, |sql| {
            key(sql, "k.mesh.test.", "mesh.test", 0, false, "")
        }),
        site.source("dmp_tokens.db", TOKENS, |sql| {
            token(sql, &token_text('A'), "a@mesh.test", None, None)
        }),
    ];
    let first = site.apply(&files);
    assert_eq!(
        (first.records.added, first.keys.added, first.tokens.added),
        (1, 1, 1)
    );
    let rows = stored(&site.database());
    let second = site.apply(&files);
    assert_eq!(
        (second.records.added, second.keys.added, second.tokens.added),
        (0, 0, 0)
    );
    assert_eq!(
        (
            second.records.present,
            second.keys.present,
            second.tokens.present
        ),
        (1, 1, 1)
    );
    assert_eq!(
        (stored(&site.database()), second.serial),
        (rows, first.serial)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn records_keys_and_tokens_are_in_force_when_the_node_starts() {
    let site = Site::new();
    let revoked = token_text('B');
    let files = [
        site.source("dmp.db", RECORDS, |sql| {
            record(sql, "A.mesh.test", "v", NOW - 1, NOW + 9, 0)
        }),
        site.source("dmp_tsig.db", KEYS, |sql| {
            key(
                sql,
                "Alice.mesh.test",
                "ID-aa.mesh.test\nslot-*.mb-*.mesh.test",
                0,
                false,
                "alice@mesh.test",
            );
            key(sql, "dead.mesh.test.", "mesh.test", 0, true, "");
            key(sql, "old.mesh.test.", "mesh.test", NOW, false, "");
        }),
        site.source("dmp_tokens.db", TOKENS, |sql| {
            token(
                sql,
                &token_text('A'),
                "alice@mesh.test",
                Some(NOW + 9),
                None,
            );
            token(sql, &revoked, "bob@mesh.test", None, Some(5));
            token(sql, &token_text('C'), "carol@mesh.test", Some(NOW), None);
            sql.execute(
                "INSERT INTO token_audit (ts, event) VALUES (1, 'issued')",
                [],
            )
            .unwrap();
        }),
    ];
    let report = site.apply(&files);
    assert_eq!((report.keys.added, report.keys.expired), (2, 1));
    assert_eq!((report.tokens.added, report.tokens.expired), (2, 1));
    assert_eq!(report.audit_rows_left, 1);
    let node = site.node().await;
    let context = node.context();
    assert_eq!(context.values(&Owner::parse("a.mesh.test").unwrap()), ["v"]);
    assert_eq!(context.zone().serial(), report.serial);
    let keyring = context.access().keyring();
    let wire = |name: &str| name.parse::<dmp_dns::Name>().unwrap().as_wire().to_vec();
    let alice = keyring.live(NOW).row(&wire("alice.mesh.test.")).unwrap();
    let covers = |name: &str| {
        let owner = Owner::parse(name).unwrap();
        alice.scope().covers(&owner, dmp_node::access::Action::Add)
    };
    assert!(
        covers("id-aa.mesh.test")
            && covers("slot-3.mb-0123456789ab.mesh.test")
            && !covers("mesh.test")
    );
    assert!(keyring.live(NOW).row(&wire("dead.mesh.test.")).is_none());
    let known = |text: &str| {
        let hash = TokenHash::of_presented(text).unwrap();
        node.credentials()
            .token(&hash)
            .map(|token| token.subject.clone())
    };
    assert_eq!(known(&token_text('A')).as_deref(), Some("alice@mesh.test"));
    assert_eq!(known(&revoked), None);
    let error = site.import(&files, Mode::Apply).unwrap_err();
    assert!(
        matches!(error, ImportError::Open(OpenError::InUse { .. })),
        "{error}"
    );
    let error = site.import(&files, Mode::DryRun).unwrap_err();
    assert!(
        matches!(error, ImportError::Open(OpenError::InUse { .. })),
        "{error}"
    );
    node.shutdown().await;
}

#[test]
fn credential_tables_of_the_first_versions_arrive() {
    let site = Site::new();
    let files = [
        site.source("dmp_tsig.db", OLD_KEYS, |sql| {
            let insert = "INSERT INTO tsig_keys VALUES ('k.mesh.test.', 'hmac-sha256', x'0707', 'mesh.test', 1, 0, 0)";
            sql.execute(insert, []).unwrap();
        }),
        site.source("dmp_tokens.db", OLD_TOKENS, |sql| token(sql, &token_text('A'), "a@mesh.test", None, None)),
    ];
    let report = site.apply(&files);
    assert_eq!(
        (report.keys.added, report.tokens.added),
        (1, 1),
        "{report:?}"
    );
}

#[test]
fn a_key_of_ours_is_never_overwritten_and_shared_names_are_told() {
    let site = Site::new();
    let first = site.source("first.db", KEYS, |sql| {
        key(
            sql,
            "k.mesh.test.",
            "id-aa.mesh.test",
            0,
            false,
            "alice@mesh.test",
        );
    });
    site.apply(&[first]);
    let second = site.source("second.db", KEYS, |sql| {
        key(
            sql,
            "k.mesh.test.",
            "mesh.test",
            0,
            false,
            "mallory@evil.test",
        );
        sql.execute("UPDATE tsig_keys SET secret = x'0909'", [])
            .unwrap();
        key(
            sql,
            "other.mesh.test.",
            "id-aa.mesh.test",
            0,
            false,
            "alice@evil.test",
        );
    });
    let report = site.apply(&[second]);
    assert_eq!((report.keys.added, report.keys.refused), (1, 1));
    assert_eq!(report.refused[0].row, "k.mesh.test.");
    assert_eq!(report.shared_names, ["id-aa.mesh.test"]);
    let sql = Connection::open(site.database()).unwrap();
    let kept: String = sql
        .query_row(
            "SELECT subject FROM tsig_key WHERE name = 'k.mesh.test.'",
            [],
            |row| row.get(0),
        )
        .unwrap();
    assert_eq!(kept, "alice@mesh.test");
}

#[test]
fn heartbeats_of_other_nodes_are_taken_over_as_far_as_they_verify() {
    let vectors = include_str!(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../vectors/fed_heartbeat_worker.json"
    ));
    let vectors: serde_json::Value = serde_json::from_str(vectors).unwrap();
    let steps = &vectors["seen_store"]["steps"];
    let [first, newer] = [0, 6].map(|at| steps[at]["wire"].as_str().unwrap());
    let site = Site::new();
    let row = |sql: &Connection, endpoint: &str, wire: &str| {
        let values =
            "INSERT INTO heartbeats_seen VALUES ('ab', ?1, ?2, 1, 2, '', 1800000000, NULL)";
        sql.execute(values, [endpoint, wire]).unwrap();
    };
    let old = site.source("old.db", HEARTBEATS, |sql| {
        row(sql, "https://p1.example.com", first);
        row(sql, "https://n", "w");
    });
    let new = site.source("new.db", HEARTBEATS, |sql| {
        row(sql, "https://p1.example.com", newer)
    });
    let report = site.apply(std::slice::from_ref(&old));
    assert_eq!(report.sources[0].tables, [("heartbeats_seen", 2)]);
    assert_eq!((report.heartbeats.added, report.heartbeats.refused), (1, 1));
    assert_eq!(report.refused[0].row, "https://n");
    let report = site.apply(&[new, old]);
    assert_eq!((report.heartbeats.added, report.heartbeats.present), (1, 1));
    let kept: String = Connection::open(site.database())
        .unwrap()
        .query_row("SELECT wire FROM seen_heartbeat", [], |row| row.get(0))
        .unwrap();
    assert_eq!(kept, newer);
}

#[test]
fn what_is_no_database_of_the_reference_stops_everything() {
    let site = Site::new();
    let good = site.source("dmp.db", RECORDS, |sql| {
        record(sql, "a.mesh.test", "v", NOW - 1, NOW + 9, 0)
    });
    let newer = site.source("newer.db", KEYS, |sql| {
        sql.pragma_update(None, "user_version", 5).unwrap()
    });
    let stranger = site.source("stranger.db", "CREATE TABLE t (a);", |_| {});
    let text = site.path("text");
    fs::write(&text, "no database").unwrap();
    let refused = |file: PathBuf| {
        let error = site.import(&[good.clone(), file], Mode::Apply).unwrap_err();
        assert!(!site.path("own").exists());
        error
    };
    assert!(matches!(
        refused(newer),
        ImportError::Newer {
            found: 5,
            known: 4,
            ..
        }
    ));
    assert!(matches!(refused(stranger), ImportError::Foreign(_)));
    assert!(matches!(refused(text), ImportError::Foreign(_)));
    assert!(matches!(
        refused(site.path("absent")),
        ImportError::File { .. }
    ));
    let cut = site.path("cut.db");
    fs::write(&cut, &fs::read(&good).unwrap()[..5_000]).unwrap();
    assert!(matches!(refused(cut), ImportError::Damaged { .. }));
    site.apply(&[good]);
    let own = site.database();
    let error = site.import(&[own], Mode::Apply).unwrap_err();
    assert!(matches!(error, ImportError::Ours(_)), "{error}");
}
