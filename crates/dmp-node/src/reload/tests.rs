//! Every setting, changed in the file of a node that runs: live ones come into force, the others are told and wait.

use std::fs;

use super::{Reloaded, Reloader};
use crate::config::{Environment, Overrides, Source, table};
use crate::supervise::Node;
use table::{Effect, Kind, SETTINGS, Setting};

/// A running node, its file, and what the file always says.
struct Site {
    node: Node,
    directory: tempfile::TempDir,
    base: Vec<(&'static str, String)>,
}

impl Site {
    async fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let base = [
            ("zone", r#""mesh.example""#),
            ("hostname", r#""node.mesh.example""#),
            ("dns.host", r#""127.0.0.1""#),
            ("dns.port", "0"),
            ("http.host", r#""127.0.0.1""#),
            ("http.port", "0"),
            ("http.auth_mode", r#""multi-tenant""#),
            ("update.enabled", "true"),
            ("registration.enabled", "true"),
        ];
        let mut base: Vec<_> = base.map(|(key, value)| (key, value.to_owned())).into();
        let database = directory.path().join("node.db");
        base.push(("database", format!("{database:?}")));
        for (file, text) in [
            ("token", "an operator's token\n"),
            ("cookie", "00112233445566778899aabbccddeeff\n"),
            ("peer", "a peer's token\n"),
        ] {
            fs::write(directory.path().join(file), text).unwrap();
        }
        let path = directory.path().join("node.toml");
        fs::write(&path, toml(&base, &[])).unwrap();
        let overrides = Overrides {
            config: Some(path),
            ..Overrides::default()
        };
        let source = Source::fixed(Environment::default(), overrides);
        Self {
            node: Node::start(source.read().unwrap()).await.unwrap(),
            directory,
            base,
        }
    }

    fn reloader(&self) -> &Reloader {
        self.node.reloader()
    }

    /// Writes the file with these settings in the place of the base's, and reloads.
    fn reload(&self, other: &[(&str, String)]) -> Result<Reloaded, String> {
        let path = self.directory.path().join("node.toml");
        fs::write(path, toml(&self.base, other)).unwrap();
        self.reloader().reload().map_err(|error| error.to_string())
    }

    /// All that a reload can change, as requests see it. Buckets have counted nothing.
    fn in_force(&self) -> String {
        let reloader = self.reloader();
        let log = reloader.running.lock().unwrap().log;
        let Reloader {
            context,
            entrance,
            service,
            sync,
            ..
        } = reloader;
        let (settings, access) = (context.settings(), context.access());
        // The random part of cookies is not shown, and nothing else here differs without a change.
        format!(
            "{settings:?} {access:?} {:?} {log:?} {entrance:?} {:?}",
            service.shown(),
            sync.borrow()
        )
    }

    /// Another value than the base's and the default.
    fn other(&self, setting: &Setting) -> String {
        let file = |name: &str| format!("{:?}", self.directory.path().join(name));
        let base = self.base.iter().find(|(key, _)| *key == setting.key);
        let base = base.map_or(setting.default_text(), |(_, value)| value);
        match (setting.key, setting.kind) {
            ("http.operator_token_file", _) => file("token"),
            ("dns.cookie_secret_file", _) => file("cookie"),
            ("sync.peer_token_file", _) => file("peer"),
            ("sync.peers", _) => r#"["http://10.0.0.2:8053"]"#.into(),
            ("cluster.manifest_file", _) => file("cluster.json"),
            ("database", _) => file("other.db"),
            ("dns.host" | "http.host", _) => r#""127.0.0.2""#.into(),
            ("http.auth_mode", _) => r#""legacy""#.into(),
            ("log.level", _) => r#""DEBUG""#.into(),
            ("log.format", _) => r#""json""#.into(),
            ("dns.udp_payload", _) => "1000".into(),
            ("dns.rate_exempt" | "http.trusted_proxies", _) => r#"["192.0.2.0/24"]"#.into(),
            ("dns.apex_ns", _) => r#"["ns.mesh.example"]"#.into(),
            ("registration.allowlist", _) => r#"["else.example"]"#.into(),
            ("heartbeat.seeds", _) => r#"["a.example"]"#.into(),
            ("heartbeat.resolvers", _) => r#"["192.0.2.1"]"#.into(),
            ("acme.names", _) => r#"["www.mesh.example"]"#.into(),
            ("acme.directory", _) => r#""https://ca.example/directory""#.into(),
            (_, Kind::Switch) => (base != "true").to_string(),
            (_, Kind::Integer | Kind::Number) => {
                let number: f64 = base.parse().unwrap_or(6.0);
                match setting.kind {
                    Kind::Integer => format!("{}", number + 1.0),
                    _ => format!("{:.1}", number + 1.5),
                }
            }
            (key, Kind::Text | Kind::List) => match setting.default {
                table::Default::None(example) => example.to_owned(),
                table::Default::Is(_) => panic!("say another value of {key}"),
            },
        }
    }
}

fn toml(base: &[(&str, String)], other: &[(&str, String)]) -> String {
    let kept = base
        .iter()
        .filter(|(key, _)| other.iter().all(|(changed, _)| changed != key));
    let lines = kept
        .chain(other)
        .map(|(key, value)| format!("{key} = {value}\n"));
    lines.collect()
}

/// Settings that make sense together only, or that nothing but a check looks at; they have tests of their own.
const APART: [&str; 4] = [
    "acme.enabled",
    "http.tls_certificate",
    "http.tls_key",
    "http.allow_open_public_bind",
];

#[tokio::test(flavor = "multi_thread")]
async fn every_live_setting_comes_into_force_and_every_other_waits() {
    let site = Site::start().await;
    let mut before = site.in_force();
    for setting in SETTINGS
        .iter()
        .filter(|setting| !APART.contains(&setting.key))
    {
        let key = setting.key;
        let other = [(key, site.other(setting))];
        let reloaded = site
            .reload(&other)
            .unwrap_or_else(|error| panic!("{key}: {error}"));
        // What a file named by a setting says is a setting too.
        let changed: Vec<_> = reloaded
            .changed
            .iter()
            .filter(|key| key.contains('.'))
            .collect();
        match setting.effect {
            Effect::Live => {
                assert_eq!((changed, reloaded.restart), (vec![&key], vec![]));
                assert!(site.in_force() != before, "{key} is in force");
            }
            Effect::Restart => {
                assert_eq!((changed, reloaded.restart), (vec![], vec![key]));
                assert!(site.in_force() == before, "{key} waits");
            }
        }
        site.reload(&[]).unwrap();
        if key == "dns.cookie_secret_file" {
            before = site.in_force(); // random secrets, which are others than the first
        }
        assert!(site.in_force() == before, "{key} is as it was");
    }
    let tls = ["http.tls_certificate", "http.tls_key"].map(|key| (key, r#""other.pem""#.into()));
    let reloaded = site.reload(&tls).unwrap();
    assert_eq!(reloaded.restart, ["http.tls_certificate", "http.tls_key"]);
    let acme = ["acme.enabled", "acme.terms_agreed"].map(|key| (key, "true".into()));
    let reloaded = site.reload(&acme).unwrap();
    assert_eq!(reloaded.restart, ["acme.enabled", "acme.terms_agreed"]);
    assert!(site.in_force() == before);
    site.node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_that_is_refused_changes_nothing() {
    let site = Site::start().await;
    let before = site.in_force();
    let ttl = ("dns.ttl", "30".to_owned());
    for (wrong, told) in [
        (
            ("dns.rate", "\"fast\"".to_owned()),
            "dns.rate: must be a number",
        ),
        (("dns.prot", "53".to_owned()), "did you mean dns.port?"),
        (
            ("http.operator_token_file", "\"/nonexistent\"".to_owned()),
            "/nonexistent",
        ),
        // Also what would wait for a restart has to be right.
        (
            ("dns.port", "70000".to_owned()),
            "dns.port: must be a whole number",
        ),
    ] {
        let line = site.reload(&[ttl.clone(), wrong]).unwrap_err();
        assert!(line.contains(told) && !line.contains('\n'), "{line}");
        assert!(site.in_force() == before);
    }
    assert_eq!(site.reload(&[ttl]).unwrap().changed, ["dns.ttl"]);
    site.node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_never_opens_a_public_listener_to_everybody() {
    let mut site = Site::start().await;
    let open = ("http.auth_mode", r#""open""#.to_owned());
    let local = ("http.host", r#""127.0.0.1""#.to_owned());
    let allowed = ("http.allow_open_public_bind", "true".to_owned());
    assert_eq!(
        site.reload(std::slice::from_ref(&open)).unwrap().changed,
        ["http.auth_mode"]
    );
    site.reload(&[]).unwrap();
    site.node.shutdown().await;
    // The same with a listener that others reach, and with a file that says it will be moved at the next start.
    site = {
        let mut site = Site::start().await;
        site.node.shutdown().await;
        let public = ("http.host", r#""0.0.0.0""#.to_owned());
        site.base.retain(|(key, _)| *key != "http.host");
        site.base.push(public);
        let path = site.directory.path().join("node.toml");
        fs::write(&path, toml(&site.base, &[])).unwrap();
        let overrides = Overrides {
            config: Some(path),
            ..Overrides::default()
        };
        let source = Source::fixed(Environment::default(), overrides);
        site.node = Node::start(source.read().unwrap()).await.unwrap();
        site
    };
    let before = site.in_force();
    for other in [vec![open.clone()], vec![open.clone(), local]] {
        let line = site.reload(&other).unwrap_err();
        assert!(line.contains("everybody could write"), "{line}");
        assert!(site.in_force() == before);
    }
    let reloaded = site.reload(&[open, allowed]).unwrap();
    assert_eq!(
        reloaded.changed,
        ["http.auth_mode", "http.allow_open_public_bind"]
    );
    site.node.shutdown().await;
}

#[test]
fn what_waits_for_a_restart_is_no_secret() {
    for (_, variable, _, effect) in table::all() {
        assert!(effect == Effect::Live || !table::SECRETS.contains(&variable));
    }
}
