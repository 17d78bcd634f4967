//! A node that is killed at any moment has every change that it acknowledged, none in part, and none that nobody asked for
//! (D13, D14).
//!
//! Writers over UPDATE and HTTP note what was acknowledged; each has one request in the air. After SIGKILL at a random
//! moment the node starts again, and what it holds is compared with the notes. `DMP_KILL_ROUNDS` says how often,
//! `DMP_KILL_SEED` repeats a run.

#![allow(clippy::print_stdout, reason = "the seed repeats a run")]

mod common;

use std::collections::HashMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use common::node::{Node, OPERATOR_TOKEN, command};
use common::program;
use dmp_dns::message::QueryBuilder;
use dmp_dns::tsig::{Algorithm, Key, sign_request};
use dmp_dns::update::{Operation, UpdateBuilder};
use dmp_dns::{Name, Rtype};

const ZONE: &str = "kill.test";
const KEY_NAME: &str = "kill.key.";
const SECRET: &[u8] = b"a secret of the kill test, long enough";
/// Writers over UPDATE; one more writes over HTTP.
const SIGNERS: usize = 4;
/// Records of one message at most.
const RECORDS: u64 = 8;
const ROUNDS: u64 = 50;
/// How long a round writes at most before the node is killed.
const LONGEST: Duration = Duration::from_millis(60);
/// How long a writer waits for an answer before it looks whether the node is dead.
const PATIENCE: Duration = Duration::from_millis(10);
/// Older sets that are asked for over DNS in each round; all are looked up in the dump.
const SAMPLE: u64 = 20;

/// xorshift64*: the same numbers from the same seed everywhere.
#[derive(Clone)]
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}

/// Records that were written with one message.
struct Set {
    records: u64,
    is_there: bool,
}

/// One message: a set that goes, a set that comes, or both.
#[derive(Clone, Copy, Debug)]
struct Change {
    gone: Option<usize>,
    new: Option<usize>,
}

struct Writer {
    number: usize,
    sets: Vec<Set>,
    /// Sent and not acknowledged when the node was killed.
    open: Option<Change>,
    /// First set that this round made.
    since: usize,
    acknowledged: u64,
    random: Random,
}

impl Writer {
    fn name(&self, set: usize, record: u64) -> String {
        format!("n{record}.s{set}.w{}.{ZONE}", self.number)
    }

    fn value(&self, set: usize, record: u64) -> String {
        format!("w{}-s{set}-n{record}-{}", self.number, "x".repeat(150))
    }

    fn is_http(&self) -> bool {
        self.number == SIGNERS
    }

    /// What to do next: mostly add, else delete, else replace one set by another in the same message.
    fn next_change(&mut self) -> Change {
        let there: Vec<usize> = (self.sets.len().saturating_sub(50)..self.sets.len())
            .filter(|set| self.sets[*set].is_there)
            .collect();
        let kind = self.random.below(4);
        let gone = match there.len() {
            0 => None,
            some if kind < 2 => Some(there[self.random.below(some as u64) as usize]),
            _ => None,
        };
        let replaces = kind == 1 && !self.is_http();
        let new = (gone.is_none() || replaces).then(|| {
            let records = if self.is_http() {
                1
            } else {
                1 + self.random.below(RECORDS)
            };
            self.sets.push(Set {
                records,
                is_there: false,
            });
            self.sets.len() - 1
        });
        Change { gone, new }
    }

    /// Writes until the node is gone.
    fn write(&mut self, node: (SocketAddr, SocketAddr), is_dead: &AtomicBool) {
        self.since = self.sets.len();
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.connect(node.0).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        loop {
            let change = self.next_change();
            self.open = Some(change);
            let done = if self.is_http() {
                self.over_http(node.1, change)
            } else {
                self.over_dns(&socket, change, is_dead)
            };
            if done.is_none() {
                return;
            }
            self.settle(change, true);
            self.acknowledged += 1;
        }
    }

    fn settle(&mut self, change: Change, is_done: bool) {
        if let Some(gone) = change.gone {
            self.sets[gone].is_there = !is_done;
        }
        if let Some(new) = change.new {
            self.sets[new].is_there = is_done;
        }
        self.open = None;
    }

    /// `None` when no answer came.
    fn over_dns(&self, socket: &UdpSocket, change: Change, is_dead: &AtomicBool) -> Option<()> {
        let owner = |set, record| -> Name { self.name(set, record).parse().unwrap() };
        let mut message = UpdateBuilder::new(&ZONE.parse().unwrap());
        if let Some(set) = change.gone {
            for record in 0..self.sets[set].records {
                let owner = owner(set, record);
                message.push(&Operation::DeleteRrset { owner }).unwrap();
            }
        }
        if let Some(set) = change.new {
            for record in 0..self.sets[set].records {
                let add = Operation::Add {
                    owner: owner(set, record),
                    ttl: 86_400,
                    value: self.value(set, record),
                };
                message.push(&add).unwrap();
            }
        }
        let mut request = message.build(self.sets.len() as u16);
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap()
            .as_secs();
        let key = Key::new(&KEY_NAME.parse().unwrap(), Algorithm::HmacSha256, SECRET).unwrap();
        let signature = sign_request(&key, &mut request, now).unwrap();
        let mut answer = [0; 1_232];
        socket.send(&request).ok()?;
        let length = loop {
            match socket.recv(&mut answer) {
                Ok(length) => break length,
                Err(error) if error.kind() != ErrorKind::WouldBlock => return None,
                Err(_) if is_dead.load(Ordering::Acquire) => return None,
                Err(_) => {}
            }
        };
        let answer = &answer[..length];
        signature.verify_answer(answer, now).unwrap();
        assert_eq!(answer[3] & 15, 0, "only NOERROR: {change:?}");
        Some(())
    }

    fn over_http(&self, node: SocketAddr, change: Change) -> Option<()> {
        let (method, set, expected) = match change {
            Change {
                gone: Some(set), ..
            } => ("DELETE", set, "204"),
            Change { new: Some(set), .. } => ("POST", set, "201"),
            Change { .. } => return Some(()),
        };
        let body = format!(r#"{{"value": "{}", "ttl": 86400}}"#, self.value(set, 0));
        let request = format!(
            "{method} /v1/records/{} HTTP/1.1\r\nHost: n\r\nConnection: close\r\n\
             Authorization: Bearer {OPERATOR_TOKEN}\r\nContent-Length: {}\r\n\r\n{body}",
            self.name(set, 0),
            body.len()
        );
        let mut stream = TcpStream::connect(node).ok()?;
        stream.write_all(request.as_bytes()).ok()?;
        let mut answer = Vec::new();
        // What came before the connection broke counts.
        let _ = stream.read_to_end(&mut answer);
        let answer = String::from_utf8_lossy(&answer);
        let status = answer.get(9..12)?;
        assert_eq!(status, expected, "{answer}");
        Some(())
    }

    /// Compares every set with what the node holds, and takes over what became of the open change.
    fn compare(&mut self, held: &mut HashMap<String, String>) {
        let mut whole = Vec::new();
        for (number, set) in self.sets.iter().enumerate() {
            let mut there = 0;
            for record in 0..set.records {
                if let Some(data) = held.remove(&self.name(number, record)) {
                    assert!(data.contains(&format!("\"{}\"", self.value(number, record))));
                    there += 1;
                }
            }
            assert!(
                there == 0 || there == set.records,
                "a part of set {number} of {}",
                self.number
            );
            whole.push(there > 0);
        }
        if let Some(change) = self.open {
            let came = change.new.map(|new| whole[new]);
            let went = change.gone.map(|gone| !whole[gone]);
            assert!(
                came.is_none() || went.is_none() || came == went,
                "a part of a message: {change:?} of {}",
                self.number
            );
            let is_done = came.or(went).unwrap();
            self.settle(change, is_done);
        }
        for (number, (set, is_there)) in self.sets.iter().zip(whole).enumerate() {
            assert_eq!(
                is_there, set.is_there,
                "set {number} of writer {}",
                self.number
            );
        }
    }

    /// Asks the node for the sets of this round and some older ones.
    fn ask(&mut self, node: SocketAddr) {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.connect(node).unwrap();
        socket
            .set_read_timeout(Some(Duration::from_secs(10)))
            .unwrap();
        let older = (0..SAMPLE.min(self.since as u64))
            .map(|_| self.random.below(self.since as u64) as usize);
        let sets: Vec<usize> = older.chain(self.since..self.sets.len()).collect();
        for set in sets {
            let name: Name = self.name(set, 0).parse().unwrap();
            let query = QueryBuilder::new(name, Rtype::TXT).build(1);
            let mut answer = [0; 1_232];
            socket.send(&query).unwrap();
            let length = socket.recv(&mut answer).unwrap();
            let is_answered = answer[..length][7] > 0;
            assert_eq!(
                is_answered, self.sets[set].is_there,
                "set {set} of {}",
                self.number
            );
        }
    }
}

/// Every name that the node holds, with the rest of its line.
fn held(mut dump: Command) -> HashMap<String, String> {
    let dump = dump.output().unwrap();
    assert!(
        dump.status.success(),
        "{}",
        String::from_utf8_lossy(&dump.stderr)
    );
    let text = String::from_utf8(dump.stdout).unwrap();
    let lines = text
        .lines()
        .filter_map(|line| line.split_once(". 60 IN TXT "));
    lines
        .map(|(name, data)| (name.to_owned(), data.to_owned()))
        .collect()
}

#[test]
fn what_was_acknowledged_survives_sigkill_and_nothing_is_there_in_part() {
    let number = |variable: &str| -> Option<u64> {
        std::env::var(variable)
            .ok()
            .map(|text| text.parse().unwrap())
    };
    let rounds = number("DMP_KILL_ROUNDS").unwrap_or(ROUNDS);
    let seed = number("DMP_KILL_SEED").unwrap_or_else(|| {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        now.as_nanos() as u64 | 1
    });
    println!("DMP_KILL_SEED={seed} DMP_KILL_ROUNDS={rounds}");
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join(ZONE)).unwrap();
    let start = || {
        let mut command = command(dir.path(), ZONE);
        for (variable, value) in [
            ("DMP_HTTP_RATE", "0"),
            ("DMP_DNS_RATE", "0"),
            ("DMP_CLEANUP_INTERVAL", "1"),
        ] {
            command.env(variable, value);
        }
        Node::spawn(command, ZONE)
    };
    let database = dir.path().join(format!("{ZONE}/dmp.db"));
    assert_eq!(start().stop("TERM"), Some(0));
    let sql = "INSERT INTO tsig_key (name, algorithm, secret, allowed_suffixes, created_at, expires_at, subject,
                   registered_spk, registered_x25519_pub) VALUES (?1, 'hmac-sha256', ?2, ?3, 1, 0, '', '', '')";
    rusqlite::Connection::open(&database)
        .unwrap()
        .execute(sql, rusqlite::params![KEY_NAME, SECRET, ZONE])
        .unwrap();
    let dump = || {
        let mut dump = program(&["node", "ctl", "zone", "dump"]);
        dump.env("DMP_DB_PATH", &database).env("DMP_DOMAIN", ZONE);
        dump
    };

    let mut random = Random(seed);
    let mut writers: Vec<Writer> = (0..=SIGNERS)
        .map(|number| Writer {
            number,
            sets: Vec::new(),
            open: None,
            since: 0,
            acknowledged: 0,
            random: Random(random.next() | 1),
        })
        .collect();
    let (begun, mut in_the_air, mut slowest) = (Instant::now(), 0, Duration::ZERO);
    let mut node = start();
    for _ in 0..rounds {
        let addresses = (node.dns, node.http);
        let pause = Duration::from_micros(random.below(LONGEST.as_micros() as u64));
        let is_dead = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for writer in &mut writers {
                scope.spawn(|| writer.write(addresses, &is_dead));
            }
            std::thread::sleep(pause);
            let status = node.stop("KILL");
            is_dead.store(true, Ordering::Release);
            assert_eq!(status, None, "it was killed, and did not end by itself");
        });
        in_the_air += writers
            .iter()
            .filter(|writer| writer.open.is_some())
            .count();
        let restarted = Instant::now();
        node = start();
        slowest = slowest.max(restarted.elapsed());
        let mut held = held(dump());
        for writer in &mut writers {
            writer.compare(&mut held);
            writer.ask(node.dns);
        }
        assert!(held.is_empty(), "nobody wrote these: {held:?}");
    }
    assert_eq!(node.stop("TERM"), Some(0));
    let acknowledged: u64 = writers.iter().map(|writer| writer.acknowledged).sum();
    let sets: usize = writers.iter().map(|writer| writer.sets.len()).sum();
    println!(
        "{rounds} kills in {:.1} s: {acknowledged} messages acknowledged, {in_the_air} in the air, {sets} sets of records; \
         slowest start {:.2} s; nothing lost, nothing in part, nothing back from the dead",
        begun.elapsed().as_secs_f64(),
        slowest.as_secs_f64(),
    );
    assert!(acknowledged > 0 && in_the_air > 0);
}
