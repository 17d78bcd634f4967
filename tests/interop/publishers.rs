//! Our writers at BIND, Knot and PowerDNS, and a conversation between two users none of whom has a node of ours.

#[path = "../../crates/dmp-client/tests/publishers/suite.rs"]
mod suite;

use std::path::PathBuf;
use std::process::{Command, Stdio};

use dmp_client::error::WriteError;
use dmp_client::mesh::{Lookup, Writer};
use dmp_client::writer::{TsigCredential, TsigWriter};
use dmp_core::name::Zone;
use dmp_core::owner::OwnerName;
use dmp_net::{PoolOptions, ResolverPool};
use tempfile::TempDir;

use self::suite::{Found, Odd, add, hold, hold_to_its_zone, slot};
use crate::Program;
use crate::name_server::{KEY, Make, NameServer, SECRET};

const ZONE: &str = "own.test";

#[tokio::test]
async fn bind_is_a_publisher_like_every_other() {
    holds(Make::Bind).await;
}

#[tokio::test]
async fn knot_is_a_publisher_like_every_other() {
    holds(Make::Knot).await;
}

#[tokio::test]
async fn powerdns_is_a_publisher_like_every_other() {
    holds(Make::PowerDns).await;
}

async fn holds(make: Make) {
    let server = NameServer::start(make, ZONE);
    let zone = Zone::parse(ZONE).unwrap();
    let resolvers = resolvers(&server);
    let read = async |owner: &OwnerName| -> Vec<Found> {
        match resolvers.txt(&owner.as_str().parse().unwrap()).await {
            Lookup::Found(values) => {
                // Knot keeps the TTL that a set has; nothing expires there by it.
                let ttl = (make == Make::Bind).then(|| ttl(&server, owner));
                values.into_iter().map(|value| (value, ttl)).collect()
            }
            Lookup::Absent => Vec::new(),
            Lookup::Unreachable(why) => panic!("{why}"),
        }
    };
    let credential = TsigCredential::from_key_file(&server.key_file(), None, &zone).unwrap();
    let writer = TsigWriter::new(server.address, credential);
    hold(&writer, ZONE, Odd::Taken, read).await;
    hold_to_its_zone(&writer, ZONE).await;

    // What goes wrong is told apart, and no message holds the secret.
    let fails = async |name: &str, secret: &str, zone: &str| {
        let zone = Zone::parse(zone).unwrap();
        let credential =
            TsigCredential::from_base64(name, secret, server.algorithm, &zone).unwrap();
        let writer = TsigWriter::new(server.address, credential);
        let owner = slot(zone.as_str());
        let failure = writer
            .apply(&[add(&owner, 60, "x")])
            .await
            .into_result()
            .unwrap_err();
        for text in [
            failure.to_string(),
            format!("{failure:?}"),
            format!("{writer:?}"),
        ] {
            assert!(!text.contains(secret), "{text}");
        }
        failure
    };
    let other = "YW5vdGhlciBzZWNyZXQgb2YgdGhpcnR5LXR3byBieXQ=";
    let wrong = fails(KEY, other, ZONE).await;
    // PowerDNS refuses without a signature, whatever is wrong with the key.
    let is_told = |failure: &WriteError, error: &str| match failure {
        WriteError::Unverified(words) => make == Make::PowerDns && words.contains("REFUSED"),
        WriteError::NotAuthorised(words) => make != Make::PowerDns && words.contains(error),
        _ => false,
    };
    assert!(is_told(&wrong, "BADSIG"), "{wrong:?}");
    let unknown = fails("nobody.test", SECRET, ZONE).await;
    assert!(is_told(&unknown, "BADKEY"), "{unknown:?}");
    let foreign = fails(KEY, SECRET, "elsewhere.test").await;
    assert!(
        matches!(
            foreign,
            WriteError::NotAuthorised(_) | WriteError::Refused { .. }
        ),
        "{foreign:?}"
    );
}

/// The TTL of the set at a name, as `dig` shows it.
fn ttl(server: &NameServer, owner: &OwnerName) -> u32 {
    let said = server.dig(owner.as_str());
    let word = said.split_whitespace().nth(1);
    word.and_then(|word| word.parse().ok())
        .unwrap_or_else(|| panic!("{said}"))
}

fn resolvers(server: &NameServer) -> ResolverPool {
    ResolverPool::new(vec![server.address], PoolOptions::default()).unwrap()
}

/// A user whose zone is at a name server and who has no node.
struct Nodeless {
    address: String,
    home: TempDir,
}

impl Nodeless {
    fn join(name: &str, zone: &str, server: &NameServer, world: &[&NameServer]) -> Self {
        let user = Self {
            address: format!("{name}@{zone}"),
            home: tempfile::tempdir().unwrap(),
        };
        let resolvers: Vec<String> = world
            .iter()
            .map(|server| server.address.to_string())
            .collect();
        user.ok(&[
            "init",
            &user.address,
            "--dns-resolvers",
            &resolvers.join(","),
            "--no-probe-local-dns",
        ]);
        std::fs::write(user.home.path().join("writer.key"), server.key_file()).unwrap();
        user.configure(&format!(
            "provider_seeds: []\npublisher:\n  kind: rfc2136\n  server: 127.0.0.1\n  port: {}\n  key_file: ~/writer.key\n",
            server.address.port()
        ));
        assert!(
            user.ok(&["identity", "publish"])
                .contains("published identity to ")
        );
        assert!(
            user.ok(&["identity", "refresh-prekeys", "--count", "5"])
                .contains("published 5/5 prekeys to ")
        );
        user
    }

    fn configure(&self, lines: &str) {
        let path = self.home.path().join("dmp/config.yaml");
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, text + lines).unwrap();
    }

    fn ok(&self, arguments: &[&str]) -> String {
        let (code, stdout, stderr) = self.run(arguments);
        assert_eq!(
            code,
            Some(0),
            "{} {arguments:?}\n{stdout}\n{stderr}",
            self.address
        );
        assert!(!stdout.contains(SECRET) && !stderr.contains(SECRET));
        stdout
    }

    fn run(&self, arguments: &[&str]) -> (Option<i32>, String, String) {
        let program: PathBuf = Program::Ours.executable();
        let output = Command::new("timeout")
            .args(["--kill-after=5", "120"])
            .arg(program)
            .args(arguments)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.home.path())
            .env("DMP_CONFIG_HOME", self.home.path().join("dmp"))
            .env("DMP_PASSPHRASE", &self.address)
            // Nobody listens there: claims are a courtesy that this conversation does without.
            .env("DMP_PROVIDER_DNS_PORT", "9")
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let text = |octets: Vec<u8>| String::from_utf8(octets).unwrap();
        (
            output.status.code(),
            text(output.stdout),
            text(output.stderr),
        )
    }
}

#[test]
fn two_users_write_to_each_other_through_bind_and_knot_without_a_node() {
    let (bind, knot) = (
        NameServer::start(Make::Bind, ZONE),
        NameServer::start(Make::Knot, "peer.test"),
    );
    let world = [&bind, &knot];
    let alice = Nodeless::join("alice", ZONE, &bind, &world);
    let bob = Nodeless::join("bob", "peer.test", &knot, &world);
    alice.ok(&["identity", "fetch", "bob@peer.test", "--add"]);
    bob.ok(&["identity", "fetch", "alice@own.test", "--add"]);

    let long = format!("from a zone of my own: {}", "text ".repeat(400));
    alice.ok(&["send", "bob@peer.test", &long]);
    let received = bob.ok(&["recv"]);
    assert!(received.contains(long.trim_end()), "{received}");
    assert!(!bob.ok(&["recv"]).contains("from a zone"), "delivered once");

    bob.ok(&["send", "alice@own.test", "and back from another make"]);
    assert!(alice.ok(&["recv"]).contains("and back from another make"));

    // The consumed prekeys are gone from the zones.
    let pool = format!(
        "{}",
        dmp_core::owner::prekey_owner("bob", &Zone::parse("peer.test").unwrap())
    );
    assert_eq!(knot.dig(&pool).lines().count(), 4);
}

#[test]
fn a_publisher_that_is_down_is_named_while_the_other_one_takes_everything() {
    let bind = NameServer::start(Make::Bind, ZONE);
    let user = Nodeless::join("alice", ZONE, &bind, &[&bind]);
    user.configure(&format!(
        "publisher:\n- {{kind: rfc2136, server: 127.0.0.1, port: {}, key_file: ~/writer.key}}\n\
         - {{kind: rfc2136, server: 127.0.0.1, port: 9, key_file: ~/writer.key}}\n",
        bind.address.port()
    ));
    let (code, stdout, stderr) = user.run(&["identity", "publish"]);
    assert_eq!(code, Some(0), "{stdout}{stderr}");
    assert!(
        stderr.contains("warning: publisher rfc2136 127.0.0.1"),
        "{stderr}"
    );
    user.configure("publisher: {kind: rfc2136, server: 127.0.0.1}\n");
    let (code, _, stderr) = user.run(&["identity", "publish"]);
    assert_eq!(code, Some(1));
    assert!(
        stderr.contains("publisher") && stderr.contains("key_file"),
        "{stderr}"
    );
}
