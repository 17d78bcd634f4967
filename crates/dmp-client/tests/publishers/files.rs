//! Files of local name servers: held to the common expectations, read back from disk each time.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use dmp_client::error::WriteError;
use dmp_client::mesh::{Clock, Pending, SystemClock, Writer};
use dmp_client::writer::{FileForm, ZoneFileWriter};
use dmp_core::id::UnixTime;
use dmp_core::name::Zone;

use crate::suite::{self, Found, Odd, add, delete, slot};

const ZONE: &str = "$TTL 300\nmesh.example. IN SOA ns.mesh.example. host.mesh.example. ( 7 3600 600 86400 60 )\n\
                    mesh.example. IN NS ns.mesh.example.\n";

fn writer(path: &Path, form: FileForm, reload: &[&str]) -> ZoneFileWriter {
    let reload = reload.iter().map(|word| (*word).to_owned()).collect();
    let zone = Zone::parse("mesh.example").unwrap();
    ZoneFileWriter::new(path.to_owned(), form, zone, reload, Arc::new(SystemClock))
}

/// The values of a zone file, read by other code than the writer's: decimal escapes, strings joined.
fn in_zone_file(path: &Path, owner: &str) -> Vec<Found> {
    let text = fs::read_to_string(path).unwrap();
    let start = format!("{owner}. ");
    let lines = text.lines().filter_map(|line| line.strip_prefix(&start));
    lines
        .map(|line| {
            let (ttl, rest) = line.split_once(" IN TXT ").unwrap();
            let (mut value, mut octets, mut inside) = (Vec::new(), rest.bytes(), false);
            while let Some(octet) = octets.next() {
                match octet {
                    b';' if !inside => break,
                    b'"' => inside = !inside,
                    b'\\' => match octets.next().unwrap() {
                        first @ b'0'..=b'9' => {
                            let digits = [first, octets.next().unwrap(), octets.next().unwrap()];
                            value.push(std::str::from_utf8(&digits).unwrap().parse().unwrap());
                        }
                        escaped => value.push(escaped),
                    },
                    octet if inside => value.push(octet),
                    _ => {}
                }
            }
            (
                String::from_utf8(value).unwrap(),
                Some(ttl.parse().unwrap()),
            )
        })
        .collect()
}

fn in_dnsmasq_file(path: &Path, owner: &str) -> Vec<Found> {
    let text = fs::read_to_string(path).unwrap_or_default();
    let start = format!("txt-record={owner},");
    let lines = text.lines().filter_map(|line| line.strip_prefix(&start));
    lines
        .map(|line| (line.trim_matches('"').replace("\",\"", ""), None))
        .collect()
}

#[tokio::test]
async fn a_zone_file_behaves_as_every_publisher() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("mesh.example.zone");
    fs::write(&path, ZONE).unwrap();
    let writer = writer(&path, FileForm::Master, &[]);
    suite::hold(&writer, "mesh.example", Odd::Taken, async |owner| {
        in_zone_file(&path, owner.as_str())
    })
    .await;
    suite::hold_to_its_zone(&writer, "mesh.example").await;
}

#[tokio::test]
async fn a_dnsmasq_file_behaves_as_every_publisher_and_refuses_odd_values() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("dnsmesh.conf");
    let writer = writer(&path, FileForm::Dnsmasq, &[]);
    suite::hold(&writer, "mesh.example", Odd::Refused, async |owner| {
        in_dnsmasq_file(&path, owner.as_str())
    })
    .await;
    suite::hold_to_its_zone(&writer, "mesh.example").await;
    let before = fs::read(&path).unwrap();
    let odd = [
        add(&slot("mesh.example"), 300, "fine"),
        add(&slot("mesh.example"), 300, "x\nserver=192.0.2.1"),
    ];
    assert!(writer.apply(&odd).await.into_result().is_err());
    let bad_name = slot("a_b.mesh.example");
    assert!(
        writer
            .apply(&[add(&bad_name, 300, "x")])
            .await
            .into_result()
            .is_err()
    );
    assert_eq!(
        fs::read(&path).unwrap(),
        before,
        "a refused change leaves the file as it was"
    );
}

#[tokio::test]
async fn a_new_process_keeps_what_the_file_holds_and_the_operators_lines_and_mode() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("zone");
    fs::write(&path, ZONE).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    let link = dir.path().join("link");
    std::os::unix::fs::symlink(&path, &link).unwrap();
    let owner = slot("mesh.example");
    for value in ["one", "two"] {
        writer(&link, FileForm::Master, &[])
            .apply(&[add(&owner, 300, value)])
            .await
            .into_result()
            .unwrap();
    }
    let text = fs::read_to_string(&path).unwrap();
    assert!(
        text.starts_with(&ZONE.replace("( 7 ", "( 9 ")),
        "one serial a change: {text}"
    );
    assert_eq!(in_zone_file(&path, owner.as_str()).len(), 2);
    assert_eq!(
        fs::metadata(&path).unwrap().permissions().mode() & 0o777,
        0o640
    );
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
}

/// A clock that stands where it was set.
struct SetClock(Mutex<u64>);

impl Clock for SetClock {
    fn now(&self) -> UnixTime {
        UnixTime::new(*self.0.lock().unwrap())
    }

    fn sleep(&self, _: Duration) -> Pending<'_, ()> {
        Box::pin(async {})
    }
}

#[tokio::test]
async fn values_go_when_their_ttl_is_over() {
    let dir = tempfile::tempdir().unwrap();
    for form in [FileForm::Master, FileForm::Dnsmasq] {
        let path = dir.path().join(format!("{form:?}"));
        if form == FileForm::Master {
            fs::write(&path, ZONE).unwrap();
        }
        let clock = Arc::new(SetClock(Mutex::new(1_000)));
        let zone = Zone::parse("mesh.example").unwrap();
        let writer = ZoneFileWriter::new(path.clone(), form, zone, Vec::new(), clock.clone());
        let owner = slot("mesh.example");
        writer
            .apply(&[
                add(&owner, 10, "short"),
                add(&owner, 10, "renewed"),
                add(&owner, 99, "long"),
            ])
            .await
            .into_result()
            .unwrap();
        *clock.0.lock().unwrap() = 1_005;
        writer
            .apply(&[add(&owner, 10, "renewed")])
            .await
            .into_result()
            .unwrap();
        *clock.0.lock().unwrap() = 1_010;
        writer
            .apply(&[delete(&owner, "absent")])
            .await
            .into_result()
            .unwrap();
        let text = fs::read_to_string(&path).unwrap();
        assert!(
            !text.contains("short") && text.contains("renewed") && text.contains("long"),
            "{text}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn processes_that_write_at_the_same_time_lose_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("zone");
    fs::write(&path, ZONE).unwrap();
    let tasks: Vec<_> = (0..4)
        .map(|number| {
            let path = path.clone();
            tokio::spawn(async move {
                // Each has a writer, and so a lock, of its own.
                for round in 0..5 {
                    let writer = writer(&path, FileForm::Master, &[]);
                    let value = format!("{number}-{round}");
                    writer
                        .apply(&[add(&slot("mesh.example"), 300, &value)])
                        .await
                        .into_result()
                        .unwrap();
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(in_zone_file(&path, slot("mesh.example").as_str()).len(), 20);
    assert!(
        fs::read_to_string(&path).unwrap().contains("( 27 "),
        "twenty changes, twenty serials"
    );
}

#[tokio::test]
async fn the_server_is_told_without_a_shell_and_its_failure_is_ours() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("zone");
    fs::write(&path, ZONE).unwrap();
    let told = dir.path().join("told; not $(a shell)");
    let owner = slot("mesh.example");
    let touch = ["touch", told.to_str().unwrap()];
    writer(&path, FileForm::Master, &touch)
        .apply(&[add(&owner, 300, "a")])
        .await
        .into_result()
        .unwrap();
    assert!(told.exists());
    // Told also when there is nothing to change: the last run may have died before it came to that.
    fs::remove_file(&told).unwrap();
    writer(&path, FileForm::Master, &touch)
        .apply(&[delete(&owner, "absent")])
        .await
        .into_result()
        .unwrap();
    assert!(told.exists());

    for command in [&["false"][..], &["/no/such/program"]] {
        let failed = writer(&path, FileForm::Master, command)
            .apply(&[add(&owner, 300, "b")])
            .await
            .into_result();
        assert!(
            matches!(&failed, Err(WriteError::ServerFailure(words)) if words.contains("is written") && words.contains(command[0])),
            "{failed:?}"
        );
    }
    assert_eq!(in_zone_file(&path, owner.as_str()).len(), 2);
}

#[tokio::test]
async fn a_file_that_is_not_what_it_should_be_stays_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    let owner = slot("mesh.example");
    let apply = async |form| {
        writer(&path, form, &[])
            .apply(&[add(&owner, 300, "a")])
            .await
            .into_result()
    };
    let absent = apply(FileForm::Master).await;
    assert!(
        matches!(&absent, Err(WriteError::Misconfigured(words)) if words.contains("SOA")),
        "{absent:?}"
    );
    assert!(!path.exists(), "a zone file is the operator's to begin");
    for (form, text) in [
        (FileForm::Master, "no zone"),
        (FileForm::Dnsmasq, "server=192.0.2.1\n"),
    ] {
        fs::write(&path, text).unwrap();
        assert!(matches!(
            apply(form).await,
            Err(WriteError::Misconfigured(_))
        ));
        assert_eq!(fs::read_to_string(&path).unwrap(), text);
    }
    let nowhere = dir.path().join("no/such/dir/file");
    assert!(
        writer(&nowhere, FileForm::Dnsmasq, &[])
            .apply(&[add(&owner, 300, "a")])
            .await
            .into_result()
            .is_err()
    );
}
