//! BIND, Knot and PowerDNS as authoritative servers of a zone that one TSIG key may change: started on loopback, ended by their id.

use std::fs::{self, File};
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// The secret of every key here, as the servers' files have it.
pub(crate) const SECRET: &str = "bm9ib2R5IG5lZWRzIHRvIGtlZXAgdGhpcyBzZWNyZXQ=";
pub(crate) const KEY: &str = "writer.test";

const START_DEADLINE: Duration = Duration::from_secs(30);

/// Whose program it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Make {
    Bind,
    Knot,
    PowerDns,
}

pub(crate) struct NameServer {
    pub(crate) address: SocketAddr,
    pub(crate) algorithm: &'static str,
    process: Child,
    folder: TempDir,
}

impl NameServer {
    /// Starts a server for `zone` whose only writer is the key.
    pub(crate) fn start(make: Make, zone: &str) -> Self {
        // A port that was free can be taken before the server binds it; then another one is tried.
        for _ in 0..3 {
            let folder = tempfile::tempdir().expect("a temporary directory");
            let address = free_port();
            write(
                &folder.path().join("zone"),
                &format!(
                    "{zone}. 60 IN SOA ns.{zone}. host.{zone}. 1 3600 600 86400 1\n{zone}. 60 IN NS ns.{zone}.\nns.{zone}. 60 IN A 127.0.0.1\n"
                ),
            );
            let (mut command, algorithm) = match make {
                Make::Bind => (bind(folder.path(), address.port(), zone), "hmac-sha256"),
                Make::Knot => (knot(folder.path(), address.port(), zone), "hmac-sha512"),
                Make::PowerDns => (powerdns(folder.path(), address.port(), zone), "hmac-sha256"),
            };
            let log = File::create(folder.path().join("log")).expect("a log");
            let process = command
                .stdin(Stdio::null())
                .stdout(log.try_clone().expect("a log"))
                .stderr(log)
                .spawn()
                .unwrap_or_else(|error| panic!("{make:?} is not installed: {error}"));
            let mut server = Self {
                address,
                algorithm,
                process,
                folder,
            };
            if server.wait_until_it_answers(zone) {
                return server;
            }
        }
        panic!("{make:?} did not start for {zone}");
    }

    /// What `dig` prints of an answer's records.
    pub(crate) fn dig(&self, name: &str) -> String {
        let output = Command::new("dig")
            .args(["@127.0.0.1", "-p", &self.address.port().to_string()])
            .args(["+tcp", "+noall", "+answer", name, "TXT"])
            .output()
            .expect("dig is installed");
        String::from_utf8(output.stdout).expect("UTF-8")
    }

    /// A key file as `tsig-keygen` writes it.
    pub(crate) fn key_file(&self) -> String {
        format!(
            "key \"{KEY}\" {{\n\talgorithm {};\n\tsecret \"{SECRET}\";\n}};\n",
            self.algorithm
        )
    }

    fn wait_until_it_answers(&mut self, zone: &str) -> bool {
        let end = Instant::now() + START_DEADLINE;
        while Instant::now() < end {
            let is_ended = !matches!(self.process.try_wait(), Ok(None));
            let asked = Command::new("dig")
                .args(["@127.0.0.1", "-p", &self.address.port().to_string()])
                .args(["+short", "+tries=1", "+time=1", zone, "SOA"])
                .output()
                .expect("dig is installed");
            if String::from_utf8_lossy(&asked.stdout).contains("host.") {
                return true;
            }
            if is_ended {
                break;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        let log = fs::read_to_string(self.folder.path().join("log"));
        eprintln!("{}", log.unwrap_or_default());
        false
    }
}

impl Drop for NameServer {
    fn drop(&mut self) {
        // It may have ended already, which is what is wanted.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn bind(folder: &Path, port: u16, zone: &str) -> Command {
    let dir = folder.display();
    write(
        &folder.join("named.conf"),
        &format!(
            "options {{ directory \"{dir}\"; pid-file \"{dir}/pid\"; session-keyfile \"{dir}/session\"; \
             listen-on port {port} {{ 127.0.0.1; }}; listen-on-v6 {{ none; }}; recursion no; dnssec-validation no; \
             allow-transfer {{ none; }}; notify no; }};\ncontrols {{ }};\n\
             key \"{KEY}\" {{ algorithm hmac-sha256; secret \"{SECRET}\"; }};\n\
             zone \"{zone}\" {{ type primary; file \"zone\"; allow-update {{ key \"{KEY}\"; }}; }};\n"
        ),
    );
    let mut command = Command::new("/usr/sbin/named");
    command.arg("-g").arg("-c").arg(folder.join("named.conf"));
    command.args(["-n", "1"]);
    command
}

fn knot(folder: &Path, port: u16, zone: &str) -> Command {
    let dir = folder.display();
    fs::create_dir(folder.join("db")).expect("a directory for the journal");
    write(
        &folder.join("knot.conf"),
        &format!(
            "server:\n    listen: 127.0.0.1@{port}\n    rundir: \"{dir}\"\n    udp-workers: 1\n    tcp-workers: 1\n    background-workers: 1\n\
             database:\n    storage: \"{dir}/db\"\n    journal-db-max-size: 16M\n\
             log:\n  - target: stderr\n    any: info\n\
             key:\n  - id: {KEY}\n    algorithm: hmac-sha512\n    secret: {SECRET}\n\
             acl:\n  - id: writer\n    key: {KEY}\n    action: update\n\
             zone:\n  - domain: {zone}\n    storage: \"{dir}\"\n    file: zone\n    acl: writer\n"
        ),
    );
    let mut command = Command::new("/usr/sbin/knotd");
    command.arg("-c").arg(folder.join("knot.conf"));
    command
}

/// It keeps its zones in a database, whose schema comes with the package of the back-end.
fn powerdns(folder: &Path, port: u16, zone: &str) -> Command {
    let path = folder.join("db");
    let schema = "/usr/share/pdns-backend-sqlite3/schema/schema.sqlite3.sql";
    let schema = fs::read_to_string(schema).expect("pdns-backend-sqlite3 is installed");
    let database = rusqlite::Connection::open(&path).expect("a database");
    let rows = format!(
        "INSERT INTO domains (id, name, type) VALUES (1, '{zone}', 'NATIVE');\n\
         INSERT INTO records (domain_id, name, type, content, ttl, disabled, auth) VALUES\n\
         (1, '{zone}', 'SOA', 'ns.{zone} host.{zone} 1 3600 600 86400 1', 60, 0, 1),\n\
         (1, '{zone}', 'NS', 'ns.{zone}', 60, 0, 1), (1, 'ns.{zone}', 'A', '127.0.0.1', 60, 0, 1);\n\
         INSERT INTO tsigkeys (name, algorithm, secret) VALUES ('{KEY}', 'hmac-sha256', '{SECRET}');\n\
         INSERT INTO domainmetadata (domain_id, kind, content) VALUES (1, 'TSIG-ALLOW-DNSUPDATE', '{KEY}');"
    );
    database
        .execute_batch(&format!("{schema}\n{rows}"))
        .expect("the schema and the zone");
    let mut command = Command::new("/usr/sbin/pdns_server");
    for (option, value) in [
        ("config-dir", folder.display().to_string()),
        ("socket-dir", folder.display().to_string()),
        ("gsqlite3-database", path.display().to_string()),
        ("local-port", port.to_string()),
    ] {
        command.arg(format!("--{option}={value}"));
    }
    command.args([
        "--daemon=no",
        "--guardian=no",
        "--launch=gsqlite3",
        "--local-address=127.0.0.1",
        "--dnsupdate=yes",
        "--allow-dnsupdate-from=127.0.0.0/8",
        // What was written is answered at once.
        "--cache-ttl=0",
        "--query-cache-ttl=0",
        "--negquery-cache-ttl=0",
        // Nothing is asked of the network.
        "--security-poll-suffix=",
    ]);
    command
}

fn free_port() -> SocketAddr {
    loop {
        let tcp = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = tcp.local_addr().expect("an address");
        if UdpSocket::bind(address).is_ok() {
            return address;
        }
    }
}

fn write(path: &Path, text: &str) {
    fs::write(path, text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
}
