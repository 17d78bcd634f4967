//! The verbs of an operator beside running the node (cli.md 3.16, 4): what they print and how they end.

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use common::{Ran, program};

fn run(arguments: &[&str]) -> Ran {
    Ran::of(arguments, program(arguments).output().unwrap())
}

fn reference_records(path: &Path) {
    let sql = rusqlite::Connection::open(path).unwrap();
    sql.execute_batch(
        "CREATE TABLE records (name TEXT, value TEXT, ttl INTEGER, created_at INTEGER, expires_at INTEGER,
             PRIMARY KEY (name, value));
         INSERT INTO records VALUES ('A.mesh.test', 'v', 60, 1, 9999999999), ('*.mesh.test', 'v', 60, 1, 9999999999);",
    )
    .unwrap();
}

#[test]
fn the_printed_example_is_a_configuration_that_checks_out() {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("node.toml");
    let example = run(&["node", "config"]).expect(0).stdout;
    fs::write(&config, example.replace("#zone = ", "zone = ")).unwrap();
    let database = dir.path().join("node.db");
    let paths = [
        "--config",
        config.to_str().unwrap(),
        "--db-path",
        database.to_str().unwrap(),
    ];
    let check = [&["node", "check"], &paths[..]].concat();
    run(&check)
        .expect(0)
        .says("ok    zone: mesh.example.com\n")
        .says("warn  not ready for production: UPDATE is off (DMP_DNS_UPDATE_ENABLED)\n");
    fs::write(&config, "[dns]\nprot = 53\n").unwrap();
    run(&check)
        .expect(1)
        .says("dns.prot: is not a setting; did you mean dns.port?\n");
    let json = run(&[&check[..], &["--json"]].concat()).expect(1).json();
    assert_eq!(
        (&json["schema"], &json["grade"]),
        (&"dmp.finding/1".into(), &"fail".into())
    );
    run(&[&["node"], &paths[..]].concat())
        .expect(1)
        .nothing_on_stdout()
        .warns("dns.prot: is not a setting; did you mean dns.port? [node-config]");
    fs::remove_file(&config).unwrap();
    run(&check).expect(1).says("No such file");
}

#[test]
fn an_import_tells_what_came_over_and_what_did_not() {
    let dir = tempfile::tempdir().unwrap();
    let (source, database) = (dir.path().join("dmp.db"), dir.path().join("own.db"));
    reference_records(&source);
    let import = [
        "node",
        "import",
        source.to_str().unwrap(),
        "--db-path",
        database.to_str().unwrap(),
    ];
    run(&[&import[..], &["--dry-run"]].concat())
        .expect(0)
        .says("(dry run: nothing was written)\n")
        .says("records: 1 added, 1 left out\n")
        .warns("left out: *.mesh.test of ");
    assert!(!database.exists());
    run(&import)
        .expect(0)
        .says("records: 1 added, 1 left out\n");
    let json = run(&[&import[..], &["--json"]].concat()).expect(0).json();
    assert_eq!(json["schema"], "dmp.node-import/1");
    assert_eq!(
        (&json["records"]["added"], &json["records"]["present"]),
        (&0.into(), &1.into())
    );
    run(&[
        "node",
        "import",
        "--db-path",
        database.to_str().unwrap(),
        database.to_str().unwrap(),
    ])
    .expect(1)
    .warns("is a database of this node, not of the reference");
    run(&["node", "import"]).expect(2);
}

#[test]
fn the_settings_that_hold_are_shown_with_their_origin_and_can_be_read_again() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("node.toml");
    fs::write(&file, "zone = \"mesh.test\"\n[dns]\nttl = 30\n").unwrap();
    let show = |more: &[&str]| -> Ran {
        let arguments = ["node", "config", "show", "--config", file.to_str().unwrap()];
        let mut command = program(&[&arguments, more].concat());
        command
            .env("DMP_DNS_RATE", "7")
            .env("DMP_OPERATOR_TOKEN", "a-secret");
        command.output().unwrap().into()
    };
    let told = show(&["--origin", "--dns-port", "5300"]).expect(0).stdout;
    let line = |key: &str| told.lines().find(|line| line.starts_with(key)).unwrap();
    assert!(
        line("dns.ttl = 30 ").ends_with("node.toml: dns.ttl"),
        "{told}"
    );
    assert!(line("dns.rate = 7.0 ").ends_with("# environment"), "{told}");
    assert!(line("dns.port = 5300 ").ends_with("# --dns-port"), "{told}");
    assert!(
        line("# DMP_OPERATOR_TOKEN is set and secret").ends_with("# environment"),
        "{told}"
    );
    assert!(!told.contains("a-secret"));
    let again = dir.path().join("again.toml");
    fs::write(&again, show(&[]).expect(0).stdout).unwrap();
    run(&[
        "node",
        "config",
        "check",
        "--config",
        again.to_str().unwrap(),
        "--db-path",
        dir.path().join("node.db").to_str().unwrap(),
    ])
    .expect(0)
    .says("ok    zone: mesh.test\n");
}

#[test]
fn an_environment_file_becomes_a_settings_file_and_its_secrets_files_of_their_own() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("node.env");
    fs::write(
        &file,
        "DMP_DOMAIN=mesh.test\nDMP_OPERATOR_TOKEN=a-secret\nDMP_DNS_PORT=53\n",
    )
    .unwrap();
    let migrate = [
        "node",
        "config",
        "migrate",
        "--from-env",
        file.to_str().unwrap(),
    ];
    let ran = run(&migrate)
        .expect(0)
        .says("zone = \"mesh.test\"\n\n[dns]\nport = 53\n\n[http]\noperator_token_file = \"/etc/dnsmesh/operator-token\"\n")
        .warns("write the value of DMP_OPERATOR_TOKEN to /etc/dnsmesh/operator-token");
    assert!(!ran.stdout.contains("a-secret") && !ran.stderr.contains("a-secret"));
    let secrets = dir.path().join("secrets");
    fs::create_dir(&secrets).unwrap();
    let with_secrets = [&migrate[..], &["--secrets", secrets.to_str().unwrap()]].concat();
    run(&with_secrets).expect(0);
    let token = secrets.join("operator-token");
    assert_eq!(fs::read_to_string(&token).unwrap(), "a-secret\n");
    let mode = fs::metadata(&token).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    run(&with_secrets).expect(1).warns("operator-token: "); // nothing is overwritten
}
