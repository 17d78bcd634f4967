//! A node as a process of its own on ports the kernel chose; ended by its id when dropped.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;

use super::{Ran, User};

pub(crate) const OPERATOR_TOKEN: &str = "operator-token-of-the-test";

pub(crate) struct Node {
    pub(crate) zone: String,
    pub(crate) dns: SocketAddr,
    pub(crate) http: SocketAddr,
    child: Child,
}

/// The command that runs a node for `zone` with everything registration needs; the two rates keep a script from being throttled.
pub(crate) fn command(dir: &Path, zone: &str) -> Command {
    command_of(
        Path::new(env!("CARGO_BIN_EXE_dnsmesh")),
        &["node"],
        dir,
        zone,
    )
}

/// The same by another name of the program.
pub(crate) fn command_of(program: &Path, arguments: &[&str], dir: &Path, zone: &str) -> Command {
    let mut command = Command::new(program);
    command
        .args(arguments)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command
        .env("HOME", dir)
        .env("DMP_DB_PATH", dir.join(format!("{zone}/dmp.db")));
    for (variable, value) in [
        ("DMP_DNS_HOST", "127.0.0.1"),
        ("DMP_DNS_PORT", "0"),
        ("DMP_HTTP_HOST", "127.0.0.1"),
        ("DMP_HTTP_PORT", "0"),
        ("DMP_DOMAIN", zone),
        ("DMP_NODE_HOSTNAME", zone),
        ("DMP_AUTH_MODE", "multi-tenant"),
        ("DMP_OPERATOR_TOKEN", OPERATOR_TOKEN),
        ("DMP_REGISTRATION_ENABLED", "1"),
        ("DMP_DNS_UPDATE_ENABLED", "1"),
        ("DMP_DNS_APEX_A", "127.0.0.1"),
        ("DMP_REGISTRATION_ENDPOINT_RATE_PER_SEC", "100"),
        ("DMP_REGISTRATION_ENDPOINT_RATE_BURST", "1000"),
    ] {
        command.env(variable, value);
    }
    command
}

impl Node {
    pub(crate) fn start(dir: &Path, zone: &str) -> Self {
        Self::spawn(command(dir, zone), zone)
    }

    /// Starts the command and waits for the line that says where it listens.
    pub(crate) fn spawn(mut command: Command, zone: &str) -> Self {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let up = lines
            .by_ref()
            .map_while(Result::ok)
            .find(|line| line.contains("DMP node up: "));
        let Some(up) = up else {
            let mut reason = String::new();
            child
                .stderr
                .take()
                .unwrap()
                .read_to_string(&mut reason)
                .unwrap();
            panic!("the node did not start: {reason}");
        };
        thread::spawn(move || lines.for_each(drop));
        let address = |key: &str| {
            let word = up
                .split(' ')
                .find_map(|word| word.strip_prefix(key))
                .unwrap_or_else(|| panic!("no {key} in {up}"));
            word.trim_end_matches("/udp").parse().unwrap()
        };
        Self {
            zone: zone.to_owned(),
            dns: address("dns="),
            http: address("http="),
            child,
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.http)
    }

    /// A user of this node who looks names up at it; nothing leaves this machine.
    pub(crate) fn user(&self, dir: &Path, name: &str) -> User {
        let port = self.dns.port().to_string();
        let user = User::new(dir, name).with("DMP_PROVIDER_DNS_PORT", &port);
        user.run(&[
            "init",
            &format!("{name}@{}", self.zone),
            "--endpoint",
            &self.url(),
            "--dns-resolvers",
            &self.dns.to_string(),
            "--no-probe-local-dns",
        ])
        .expect(0);
        user.configure(&format!(
            "local_node_dns_server: 127.0.0.1\nlocal_node_dns_port: {port}\nprovider_seeds: []"
        ));
        user
    }

    /// Registers the user for a TSIG key.
    pub(crate) fn give_key(&self, user: &User) -> Ran {
        let port = self.dns.port().to_string();
        user.run(&[
            "tsig",
            "register",
            "--node",
            &self.url(),
            "--dns-server",
            "127.0.0.1",
            "--dns-port",
            &port,
        ])
        .expect(0)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Ends the process with a signal and returns its status.
    pub(crate) fn stop(mut self, signal: &str) -> Option<i32> {
        let sent = Command::new("kill")
            .args([&format!("-{signal}"), &self.child.id().to_string()])
            .status()
            .unwrap();
        assert!(sent.success());
        self.child.wait().unwrap().code()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // It may have ended already, which is what is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
