//! A node without file descriptors pauses accepting and goes on when there are some (node.md 2.8, accept(2)).
//!
//! A process of its own: the limit holds for all of it.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{TcpStream, UdpSocket};
use std::process::Command;
use std::time::Duration;

use dmp_dns::Rtype;
use dmp_dns::message::QueryBuilder;
use dmp_node::clock::Clock;
use dmp_node::context::Context;
use dmp_node::listen::Listeners;
use dmp_node::settings::Settings;

#[test]
fn accepting_goes_on_after_the_descriptors_ran_out() {
    let status = Command::new("sh")
        .args(["-c", "ulimit -n 96 && exec \"$0\" \"$@\""])
        .arg(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "with_few_descriptors"])
        .status()
        .unwrap();
    assert!(status.success());
}

#[test]
#[ignore = "run by the other test, in a process with a low limit"]
fn with_few_descriptors() {
    let directory = tempfile::tempdir().unwrap();
    let settings = Settings {
        database: directory.path().join("dmp.db"),
        udp_threads: 1,
        ..Settings::default()
    };
    let context = Context::open(settings, Clock::system()).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let listeners = Listeners::bind(&context).unwrap();
    let address = listeners.address();
    let running = runtime
        .block_on(async { listeners.serve(&context) })
        .unwrap();
    let query = QueryBuilder::new("a.test".parse().unwrap(), Rtype::TXT).build(7);
    let framed = [&(query.len() as u16).to_be_bytes()[..], &query].concat();
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    udp.set_read_timeout(Some(Duration::from_secs(20))).unwrap();

    let mut taken = Vec::new();
    while let Ok(file) = File::open("/dev/null") {
        taken.push(file);
    }
    taken.pop();
    // Takes the last descriptor; the kernel has the connection, the node cannot.
    let mut waiting = TcpStream::connect(address).unwrap();
    assert!(File::open("/dev/null").is_err());
    waiting
        .set_read_timeout(Some(Duration::from_millis(300)))
        .unwrap();
    waiting.write_all(&framed).unwrap();
    waiting.read(&mut [0]).expect_err("nobody has accepted it");
    udp.send_to(&query, address).unwrap();
    udp.recv(&mut [0; 512]).expect("UDP is answered meanwhile");

    drop(taken);
    waiting
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    let mut length = [0; 2];
    waiting.read_exact(&mut length).expect("accepted at last");
    let mut other = TcpStream::connect(address).unwrap();
    other.write_all(&framed).unwrap();
    other.read_exact(&mut length).expect("and so are others");
    runtime.block_on(running.stop());
}
