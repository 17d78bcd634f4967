//! The verbs of an operator beside running the node (cli.md 3.16, 4): what they print and how they end.

mod common;

use std::fs;
use std::path::Path;

use common::{Ran, program};

fn run(arguments: &[&str]) -> Ran {
    program(arguments).output().unwrap().into()
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
