//! A user as a configuration directory and a program that works in it, ours or the reference's.

use std::fs::OpenOptions;
use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use dmp_core::id::UserId;
use dmp_core::keys::SigningPublicKey;
use tempfile::TempDir;

use crate::Program;
use crate::node::Node;

/// How a user writes at the home node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Credential {
    Bearer,
    Tsig,
}

pub(crate) struct User {
    pub(crate) address: String,
    program: Program,
    zone: String,
    proxy: SocketAddr,
    /// Where claims go: the DNS port of the recipient's node.
    claims: SocketAddr,
    passphrase: String,
    home: TempDir,
}

/// What a command did.
pub(crate) struct Outcome {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl User {
    /// Initialises a configuration whose home is `node` and that resolves through every node of `world`.
    pub(crate) fn init(
        program: Program,
        name: &str,
        node: &Node,
        world: &[&Node],
        proxy: SocketAddr,
    ) -> Self {
        let user = User {
            address: format!("{name}@{}", node.zone),
            program,
            zone: node.zone.clone(),
            proxy,
            claims: node.dns,
            passphrase: format!("the passphrase of {name}@{}", node.zone),
            home: tempfile::tempdir().expect("a temporary directory"),
        };
        let endpoint = format!("http://{}", node.zone);
        let resolvers: Vec<String> = world.iter().map(|node| node.dns.to_string()).collect();
        let resolvers = resolvers.join(",");
        let mut init = vec!["init", &user.address, "--endpoint", &endpoint];
        init.extend(["--dns-resolvers", &resolvers]);
        // The release before probes nothing and does not know the flag.
        if program != Program::Legacy {
            init.push("--no-probe-local-dns");
        }
        user.ok(&init);
        user.configure(&[
            ("local_node_dns_server", "127.0.0.1"),
            ("local_node_dns_port", &node.dns.port().to_string()),
            ("claim_provider_override", "http://127.0.0.1:9"),
            ("claim_provider_zone", &node.zone),
        ]);
        user
    }

    /// A user without any node, in an initialised home.
    pub(crate) fn offline(program: Program, name: &str, zone: &str) -> Self {
        let user = Self::nowhere(program, name, zone);
        user.ok(&["init", &user.address, "--no-probe-local-dns"]);
        user
    }

    /// A user without any node or file.
    pub(crate) fn nowhere(program: Program, name: &str, zone: &str) -> Self {
        let closed = SocketAddr::from(([127, 0, 0, 1], 9));
        User {
            address: format!("{name}@{zone}"),
            program,
            zone: zone.to_owned(),
            proxy: closed,
            claims: closed,
            passphrase: format!("the passphrase of {name}@{zone}"),
            home: tempfile::tempdir().expect("a temporary directory"),
        }
    }

    /// Registers and publishes everything that others need to write to this user.
    pub(crate) fn join(self, credential: Credential, node: &Node) -> Self {
        self.register(credential, node);
        assert!(
            self.ok(&["identity", "publish"])
                .contains("published identity to ")
        );
        assert!(
            self.ok(&["identity", "refresh-prekeys", "--count", "5"])
                .contains("published 5/5 prekeys to ")
        );
        self
    }

    pub(crate) fn register(&self, credential: Credential, node: &Node) -> String {
        let base = ["--node", &self.zone, "--scheme", "http"];
        let port = node.dns.port().to_string();
        let (verb, tail) = match credential {
            Credential::Bearer => (&["register"][..], &[][..]),
            Credential::Tsig => (
                &["tsig", "register"][..],
                &["--dns-server", "127.0.0.1", "--dns-port", port.as_str()][..],
            ),
        };
        let said = self.ok(&[verb, &base, tail].concat());
        assert!(
            said.contains(&format!("registered {} on ", self.address)),
            "{said}"
        );
        said
    }

    /// Pins another user by the identity record in the DNS.
    pub(crate) fn pin(&self, other: &User) {
        let label = self.label(other);
        let said = self.ok(&["identity", "fetch", label, "--add"]);
        assert!(said.contains(&format!("added contact {label}")), "{said}");
    }

    /// Sends from the argument vector; claims go to the recipient's node.
    pub(crate) fn send(&mut self, to: &User, text: &str) {
        self.claims = to.claims;
        let label = self.label(to);
        let said = self.ok(&["send", label, text]);
        assert!(said.contains(&format!("sent → {label}")), "{said}");
    }

    /// As [`User::send`], with the claims at a provider's node.
    pub(crate) fn send_through(&mut self, provider: &Node, to: &User, text: &str) -> String {
        self.claims = provider.dns;
        self.ok(&["send", self.label(to), text])
    }

    /// The label of another user here: the address; with the reference the bare name where that suffices,
    /// because its prekey look-up takes the user name from the label (client.md 3.2).
    fn label<'a>(&self, other: &'a User) -> &'a str {
        match self.program {
            Program::Legacy => other.name(),
            Program::Reference if self.zone == other.zone => other.name(),
            _ => &other.address,
        }
    }

    pub(crate) fn is_ours(&self) -> bool {
        self.program == Program::Ours
    }

    /// Whether a message to `other` is sealed to one of the other's prekeys.
    pub(crate) fn uses_prekeys_of(&self, other: &User) -> bool {
        self.is_ours() || self.zone == other.zone
    }

    /// The same home, from now on in the hands of another program.
    pub(crate) fn continued_by(self, program: Program) -> Self {
        Self { program, ..self }
    }

    /// The part of the address before the `@`.
    pub(crate) fn name(&self) -> &str {
        self.address.split_once('@').expect("an address").0
    }

    /// Receives and returns the texts of the inbox.
    pub(crate) fn receive(&self) -> Vec<Message> {
        parse_messages(&self.ok(&["recv"]))
    }

    /// Runs a command that must succeed and returns its standard output.
    pub(crate) fn ok(&self, arguments: &[&str]) -> String {
        let outcome = self.run(arguments);
        assert_eq!(
            outcome.code, 0,
            "{} ({:?}) {arguments:?}\n--- stdout\n{}\n--- stderr\n{}",
            self.address, self.program, outcome.stdout, outcome.stderr
        );
        outcome.stdout
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Outcome {
        self.run_under(&[], arguments)
    }

    /// Runs a command in the hands of another program.
    pub(crate) fn run_under(&self, runner: &[&str], arguments: &[&str]) -> Outcome {
        let output = Command::new("timeout") // a command that hangs is a failure, not a hanging suite
            .args(["--kill-after=5", "120"])
            .args(runner)
            .arg(self.program.executable())
            .args(arguments)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.home.path())
            .env("DMP_CONFIG_HOME", self.config_home())
            .env("DMP_TOKENS_HOME", self.config_home().join("tokens"))
            .env("DMP_PASSPHRASE", &self.passphrase)
            .env("DMP_PROVIDER_DNS_PORT", self.claims.port().to_string())
            .env("http_proxy", format!("http://{}", self.proxy))
            .stdin(Stdio::null())
            .output()
            .unwrap_or_else(|error| panic!("{}: {error}", self.program.executable().display()));
        Outcome {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8(output.stdout).expect("UTF-8 on stdout"),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Rotates to keys made from another passphrase, which is used from then on, and returns what the program said.
    pub(crate) fn rotate(&mut self, passphrase: &str, reason: &str) -> String {
        let file = self.home.path().join("new.pw");
        std::fs::write(&file, passphrase).expect("a passphrase file");
        let file = file.to_str().expect("a path").to_owned();
        let outcome = self.run(&[
            "identity",
            "rotate",
            "--experimental",
            "--yes",
            "--reason",
            reason,
            "--new-passphrase-file",
            &file,
        ]);
        assert_eq!(
            outcome.code, 3,
            "published, and the environment holds the old passphrase: {}\n{}",
            outcome.stdout, outcome.stderr
        );
        passphrase.clone_into(&mut self.passphrase);
        outcome.stdout
    }

    /// Sets keys of `config.yaml`; of a key that stands twice the last one counts.
    pub(crate) fn configure(&self, settings: &[(&str, &str)]) {
        let path = self.config_home().join("config.yaml");
        let mut file = OpenOptions::new()
            .append(true)
            .open(path)
            .expect("a configuration");
        for (key, value) in settings {
            writeln!(file, "{key}: {value}").expect("a line");
        }
    }

    /// The text value of a key of `config.yaml`.
    pub(crate) fn setting(&self, key: &str) -> String {
        let text = std::fs::read_to_string(self.config_home().join("config.yaml"))
            .expect("a configuration");
        let line = text
            .lines()
            .rev()
            .find_map(|line| line.strip_prefix(&format!("{key}: ")));
        line.unwrap_or_else(|| panic!("no {key} in\n{text}"))
            .trim_matches(['\'', '"'])
            .to_owned()
    }

    pub(crate) fn signing_key(&self) -> SigningPublicKey {
        SigningPublicKey::from_hex(&self.shown("signing_public_key")).expect("a key")
    }

    pub(crate) fn user_id(&self) -> UserId {
        let bytes = hex::decode(self.shown("user_id")).expect("hex");
        UserId::from_bytes(bytes.try_into().expect("32 bytes"))
    }

    fn shown(&self, member: &str) -> String {
        let shown: serde_json::Value =
            serde_json::from_str(&self.ok(&["identity", "show", "--json"])).expect("JSON");
        shown[member].as_str().expect("text").to_owned()
    }

    pub(crate) fn config_home(&self) -> PathBuf {
        self.home.path().join("dmp")
    }
}

/// A message as `recv` prints it: the first 16 hex digits of the signing key, and the text.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) from: String,
    pub(crate) text: String,
}

fn parse_messages(output: &str) -> Vec<Message> {
    let blocks = output
        .split("\n\n")
        .filter_map(|block| block.trim_start().strip_prefix("from "));
    blocks
        .map(|block| {
            let mut lines = block.lines();
            let from = lines.next().unwrap_or_default().chars().take(16).collect();
            let time = lines.next().unwrap_or_default();
            assert!(time.starts_with("  ts="), "{output}");
            let text: Vec<&str> = lines
                .map(|line| line.strip_prefix("  ").unwrap_or(line))
                .collect();
            Message {
                from,
                text: text.join("\n"),
            }
        })
        .collect()
}
