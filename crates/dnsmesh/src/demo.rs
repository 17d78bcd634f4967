//! `demo`: a node and two people on loopback, from registration to two read messages, with everything that went over the wire; or a
//! cluster of three nodes that loses one of them while they write.
//!
//! It does what the verbs do, by the same library calls and over real sockets; only the homes and the node's database are temporary.

mod cluster;
mod nodes;
mod person;
mod stage;
mod witness;
mod world;

use std::pin::pin;
use std::time::Instant;

use dmp_client::ops::{FetchRequest, Place, PublishRequest, RefreshRequest};
use dmp_node::supervise::stop_signal;

use crate::args::DemoArgs;
use crate::exit::{Exit, Failure};
use person::{Person, Read};
use stage::Stage;
use world::World;

/// What alice writes to bob, and bob to alice.
const TEXTS: [&str; 2] = [
    "Hello Bob, this text reached you as DNS records.",
    "Hello Alice, so did mine. Nobody on the way could read it.",
];
/// One-time keys that each of them publishes.
const PREKEYS: usize = 5;

/// Plays the whole way and tidies up; with `--keep` only after Ctrl-C.
pub(crate) async fn run(args: DemoArgs) -> Result<Exit, Failure> {
    let mut stop = pin!(stop_signal().map_err(|error| Failure::user("demo-signals", error))?);
    let mut stage = Stage::default();
    if args.cluster {
        let nodes = tokio::select! {
            nodes = cluster::play(&mut stage) => nodes?,
            () = &mut stop => return Ok(Exit::Interrupted),
        };
        if args.keep {
            cluster::look_around(&mut stage, &nodes);
            stop.await;
        }
        let dir = nodes.dir().display().to_string();
        nodes.end().await;
        stage.title("The end");
        stage.line(&format!("the nodes are stopped and {dir} is removed"));
        return Ok(Exit::Done);
    }
    let world = tokio::select! {
        world = play(&mut stage) => world?,
        () = &mut stop => return Ok(Exit::Interrupted),
    };
    if args.keep {
        look_around(&mut stage, &world);
        stop.await;
    }
    let dir = world.dir().display().to_string();
    world.end().await;
    stage.title("The end");
    stage.line(&format!("the node is stopped and {dir} is removed"));
    Ok(Exit::Done)
}

async fn play(stage: &mut Stage) -> Result<World, Failure> {
    stage.plain(
        "A node and two people on this machine: nothing is configured, nothing leaves loopback.",
    );
    let begin = Instant::now();
    let mut world = World::start().await?;
    stage.title("The node");
    stage.pair("zone", world.zone());
    stage.pair("DNS", &format!("{} (UDP and TCP)", world.dns()));
    stage.pair("HTTP", &world.http());
    stage.pair("database", &world.database().display().to_string());
    stage.pair("started in", &stage::time(begin.elapsed()));

    stage.title("Alice and Bob register: a signed challenge over HTTP gives a TSIG key");
    for name in ["alice", "bob"] {
        let begin = Instant::now();
        let (person, scope) = world.register(name).await?;
        stage.pair(
            name,
            &format!("{}, signing key {}...", person.address(), person.key()),
        );
        stage.pair(
            "",
            &format!(
                "{} name patterns to write at, {}",
                scope,
                stage::time(begin.elapsed())
            ),
        );
        world.people.push(person);
    }
    let [alice, bob] = world.people.as_slice() else {
        return Err(went_wrong("two people were to register"));
    };

    stage.title("They publish who they are");
    for person in [alice, bob] {
        person.publish(&PublishRequest::default()).await?;
        person
            .refresh_prekeys(&RefreshRequest {
                count: PREKEYS,
                lifetime: None,
            })
            .await?;
        stage.writes(&person.name, &person.witness().take());
    }

    stage.title("They look each other up and pin the keys");
    for (person, other) in [(alice, bob), (bob, alice)] {
        let place = Place::Address(person.zone().clone());
        let request = FetchRequest {
            user: other.name.clone(),
            place,
            accept: None,
        };
        let fingerprint = person.pin(&request).await?;
        let seen = person.witness().take();
        stage.pair(
            &person.name,
            &format!(
                "pins {}, fingerprint {fingerprint} ({})",
                other.address(),
                stage::questions(&seen)
            ),
        );
    }

    let mut read = Vec::new();
    for ((from, to), text) in [(alice, bob), (bob, alice)].into_iter().zip(TEXTS) {
        stage.title(&format!("{} writes to {}", from.title(), to.title()));
        stage.quote(text);
        from.send(&to.address(), text).await?;
        stage.writes(&from.name, &from.witness().take());
        let message = to.receive().await?;
        stage.writes(&to.name, &to.witness().take());
        stage.pair(&to.name, &format!("reads “{}”", message.text));
        stage.pair("", &provenance(from, &message));
        read.push((from, to, message));
    }

    stage.title("Both arrived");
    for (from, to, message) in &read {
        stage.pair(
            &format!("{} → {}", from.name, to.name),
            &format!("“{}”", message.text),
        );
    }
    if read
        .iter()
        .zip(TEXTS)
        .any(|((_, _, message), text)| message.text != text)
    {
        return Err(went_wrong("a text is not what was sent"));
    }
    Ok(world)
}

fn provenance(from: &Person, message: &Read) -> String {
    let key = match message.prekey {
        Some(id) => format!("one-time key {id}, which is gone now"),
        None => "the long-term key".to_owned(),
    };
    format!("opened with {key}; proven to come from {}", from.name)
}

fn look_around(stage: &mut Stage, world: &World) {
    let dns = world.dns();
    let dig = format!("dig @{} -p {} +short TXT", dns.ip(), dns.port());
    stage.title("Look around, from another terminal");
    for person in &world.people {
        for owner in person.owners() {
            stage.line(&format!("{dig} {owner}"));
        }
    }
    stage.line(&format!(
        "dig @{} -p {} +tcp SOA {}",
        dns.ip(),
        dns.port(),
        world.zone()
    ));
    stage.line(&format!("curl {}/health", world.http()));
    let program = std::env::args()
        .next()
        .unwrap_or_else(|| "dnsmesh".to_owned());
    if let [alice, bob] = world.people.as_slice() {
        let command = |person: &Person, verb: &str| {
            format!("{program} --config-home {} {verb}", person.dir().display())
        };
        stage.line(&command(alice, "identity show"));
        stage.line(&command(
            alice,
            &format!("send {} 'one more'", bob.address()),
        ));
        stage.line(&command(bob, "recv"));
    }
    stage.plain("");
    stage.plain("Ctrl-C stops the node and removes everything.");
}

fn went_wrong(what: &str) -> Failure {
    Failure::user("demo", format!("the demo went wrong: {what}"))
}
