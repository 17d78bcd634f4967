//! BIND as a resolver over TLS and over HTTPS: whether ours speaks them as others do.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use rcgen::{CertifiedKey, generate_simple_self_signed};

use crate::Program;

#[test]
fn bind_is_asked_over_tls_and_over_https() {
    let dir = tempfile::tempdir().unwrap();
    let [plain, tls, https] = free_ports();
    let _bind = Bind::start(dir.path(), [plain, tls, https]);
    let entries = [
        format!("127.0.0.1:{plain}"),
        format!("tls://127.0.0.1:{tls}"),
        format!("tls://127.0.0.1:{tls}#dns.test"),
        format!("https://127.0.0.1:{https}/dns-query"),
        format!("https://dns.test:{https}/dns-query@127.0.0.1"),
    ];
    let output = Command::new(Program::Ours.executable())
        .args(["--json", "resolvers", "test", "--timeout", "10"])
        .args(&entries)
        .env_clear()
        .env("DMP_CONFIG_HOME", dir.path())
        .env("HOME", dir.path())
        .env("SSL_CERT_FILE", dir.path().join("certificate.pem"))
        .output()
        .unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    let rows: Vec<serde_json::Value> = said
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(rows.len(), entries.len(), "{said}");
    for (row, entry) in rows.iter().zip(&entries) {
        assert_eq!(row["resolver"], entry.as_str());
        let good = ["usable", "edns", "txt", "nxdomain"].map(|member| &row[member]);
        assert_eq!(good, [&serde_json::Value::Bool(true); 4], "{row}");
    }
    assert_eq!(rows[0]["case"], true, "{said}");
}

fn free_ports() -> [u16; 3] {
    let listeners = [(); 3].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    listeners.map(|listener| listener.local_addr().unwrap().port())
}

/// A name server for `com`, where the names of the test are looked up.
struct Bind(Child);

impl Bind {
    fn start(dir: &Path, [plain, tls, https]: [u16; 3]) -> Self {
        let names = ["127.0.0.1", "dns.test"].map(str::to_owned);
        let CertifiedKey { cert, signing_key } = generate_simple_self_signed(names).unwrap();
        let file = |name: &str, text: &str| fs::write(dir.join(name), text).unwrap();
        file("certificate.pem", &cert.pem());
        file("key.pem", &signing_key.serialize_pem());
        file(
            "com.zone",
            "$TTL 60\n@ SOA a. b. 1 1 1 1 1\n@ NS ns.test.\ngoogle TXT \"x\"\n",
        );
        file(
            "named.conf",
            &format!(
                "tls local {{ cert-file \"certificate.pem\"; key-file \"key.pem\"; }};\n\
                 http local {{ endpoints {{ \"/dns-query\"; }}; }};\n\
                 controls {{ }};\n\
                 options {{\n\
                   directory \"{}\"; pid-file none; session-keyfile \"session.key\"; recursion no;\n\
                   listen-on port {plain} {{ 127.0.0.1; }};\n\
                   listen-on port {tls} tls local {{ 127.0.0.1; }};\n\
                   listen-on port {https} tls local http local {{ 127.0.0.1; }};\n\
                   listen-on-v6 {{ none; }};\n\
                 }};\n\
                 zone \"com\" {{ type primary; file \"com.zone\"; notify no; }};\n",
                dir.display()
            ),
        );
        let mut named = Command::new("named")
            .arg("-g")
            .arg("-c")
            .arg(dir.join("named.conf"))
            .stderr(Stdio::piped())
            .spawn()
            .expect("named of BIND 9.18 or later");
        let mut log = BufReader::new(named.stderr.take().unwrap()).lines();
        let bind = Self(named);
        let mut said = String::new();
        let is_running = log.by_ref().map_while(Result::ok).any(|line| {
            said.push_str(&line);
            said.push('\n');
            line.ends_with(" running")
        });
        assert!(is_running, "{said}");
        // It goes on logging; nobody may stop reading, or it blocks.
        std::thread::spawn(move || log.for_each(drop));
        bind
    }
}

impl Drop for Bind {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
