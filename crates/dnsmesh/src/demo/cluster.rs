//! The demo of a cluster: one of three nodes is killed while messages are on their way; all of them arrive, and it catches up.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use dmp_client::ops::{FetchRequest, Place, PublishRequest, RefreshRequest};
use dmp_core::owner::OwnerName;
use dmp_dns::message::RecordData;
use dmp_dns::{Name, Rtype};
use dmp_net::{Upstream, ask};
use tokio::time::sleep;

use super::nodes::{Node, Nodes};
use super::person::Person;
use super::stage::{self, Stage};
use super::went_wrong;
use crate::exit::Failure;

/// What alice writes to bob; the node dies during the second.
const TEXTS: [&str; 4] = [
    "One: three nodes have this.",
    "Two: a node dies while this is on its way.",
    "Three: nobody noticed.",
    "Four: and on it goes.",
];
/// What bob answers, while the node is still away.
const ANSWER: &str = "All four are here.";
/// The node that dies.
const VICTIM: usize = 1;
/// From the beginning of a message to the end of the node.
const MOMENT: Duration = Duration::from_millis(3);
/// One-time keys that each of them publishes.
const PREKEYS: usize = 8;
/// How long the node may take to catch up.
const CATCHING_UP: Duration = Duration::from_secs(30);
/// Between two looks whether it has.
const LOOK: Duration = Duration::from_millis(50);
/// How long a node may take to answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);

pub(super) async fn play(stage: &mut Stage) -> Result<Nodes, Failure> {
    stage.plain("Three nodes of one operator and two people on this machine: nothing is configured, nothing leaves loopback.");
    let mut nodes = Nodes::prepare()?;
    stage.title("The cluster: a manifest signed by the operator lists the nodes");
    stage.pair("operator", nodes.operator());
    for number in 0..nodes.nodes.len() {
        let begin = Instant::now();
        nodes.start(number).await?;
        if let Some(node) = nodes.nodes.get(number) {
            let text = format!(
                "DNS {}, {}, started in {}",
                node.dns,
                node.http(),
                stage::time(begin.elapsed())
            );
            stage.pair(&node.name, &text);
        }
    }

    stage.title("Alice and Bob pin the operator's key, and register at every node");
    for name in ["alice", "bob"] {
        let begin = Instant::now();
        let person = nodes.register(name).await?;
        let text = format!(
            "{}, a token of each node, {}",
            person.address(),
            stage::time(begin.elapsed())
        );
        stage.pair(name, &text);
        nodes.people.push(person);
    }
    let [alice, bob] = nodes.people.as_slice() else {
        return Err(went_wrong("two people were to register"));
    };
    for person in [alice, bob] {
        person.publish(&PublishRequest::default()).await?;
        let request = RefreshRequest {
            count: PREKEYS,
            lifetime: None,
        };
        person.refresh_prekeys(&request).await?;
    }
    for (person, other) in [(alice, bob), (bob, alice)] {
        let place = Place::Address(person.zone().clone());
        let request = FetchRequest {
            user: other.name.clone(),
            place,
            accept: None,
        };
        let fingerprint = person.pin(&request).await?;
        stage.pair(
            &person.name,
            &format!("pins {}, fingerprint {fingerprint}", other.address()),
        );
        person.witness().take();
        other.witness().take();
    }

    let Nodes {
        nodes: machines,
        people,
        ..
    } = &mut nodes;
    let [alice, bob] = people.as_slice() else {
        return Err(went_wrong("two people were to register"));
    };
    for (number, text) in TEXTS.iter().enumerate() {
        stage.title(&format!("Alice writes message {}", number + 1));
        stage.quote(text);
        if number == 1 {
            let Some(victim) = machines.get_mut(VICTIM) else {
                return Err(went_wrong("there is no such node"));
            };
            let killed = async {
                sleep(MOMENT).await;
                Nodes::kill(victim).await
            };
            let (sent, killed) = tokio::join!(send(stage, alice, bob, text), killed);
            sent?;
            killed?;
            stage.pair(
                &victim.name,
                "KILLED (SIGKILL) while the message was on its way",
            );
        } else {
            send(stage, alice, bob, text).await?;
        }
    }

    let victim = machines
        .get(VICTIM)
        .map(|node| node.name.clone())
        .unwrap_or_default();
    stage.title(&format!("Bob receives, {victim} is still dead"));
    let read = bob.receive_all().await?;
    for message in &read {
        stage.pair("bob", &format!("reads “{}”", message.text));
    }
    if !TEXTS
        .iter()
        .all(|text| read.iter().any(|message| message.text == *text))
        || read.len() != TEXTS.len()
    {
        return Err(went_wrong("not every message arrived exactly once"));
    }
    send(stage, bob, alice, ANSWER).await?;
    let answer = alice.receive().await?;
    stage.pair("alice", &format!("reads “{}”", answer.text));
    if answer.text != ANSWER {
        return Err(went_wrong("the answer is not what was sent"));
    }

    let names: BTreeSet<OwnerName> = [alice, bob]
        .iter()
        .flat_map(|person| person.witness().take().owners())
        .collect();
    let names: Vec<OwnerName> = names.into_iter().collect();
    stage.title(&format!("{victim} starts again"));
    catch_up(stage, &mut nodes, &names).await?;
    stage.title("Every message arrived, and the three nodes hold the same");
    Ok(nodes)
}

async fn send(stage: &mut Stage, from: &Person, to: &Person, text: &str) -> Result<(), Failure> {
    let begin = Instant::now();
    from.send(&to.address(), text).await?;
    stage.pair(
        &from.name,
        &format!("sent, {}", stage::time(begin.elapsed())),
    );
    Ok(())
}

/// Starts the node and shows how it comes to answer what the others answer at every name that changed meanwhile.
async fn catch_up(
    stage: &mut Stage,
    nodes: &mut Nodes,
    names: &[OwnerName],
) -> Result<(), Failure> {
    let begin = Instant::now();
    nodes.start(VICTIM).await?;
    let (Some(victim), Some(other)) = (nodes.nodes.get(VICTIM), nodes.nodes.first()) else {
        return Err(went_wrong("there is no such node"));
    };
    let mut first = true;
    loop {
        let mut same = 0;
        for name in names {
            let expected = values(other, name).await;
            same += usize::from(expected.is_some() && values(victim, name).await == expected);
        }
        if first || same == names.len() {
            let text = format!(
                "answers like {} at {same} of {} names, {} after its start",
                other.name,
                names.len(),
                stage::time(begin.elapsed())
            );
            stage.pair(&victim.name, &text);
        }
        if same == names.len() {
            return Ok(());
        }
        if begin.elapsed() > CATCHING_UP {
            return Err(went_wrong("the node does not catch up"));
        }
        first = false;
        sleep(LOOK).await;
    }
}

/// The values that one node answers with, in an order of their own; none while it does not answer.
async fn values(node: &Node, name: &OwnerName) -> Option<Vec<Vec<u8>>> {
    let name: Name = name.as_str().parse().ok()?;
    let upstream = Upstream::from(node.dns);
    let response = ask(&upstream, &name, Rtype::TXT, ANSWER_WITHIN)
        .await
        .ok()?;
    let records = response.answers.into_iter();
    let values = records.filter_map(|record| match record.data {
        RecordData::Txt(value) => Some(value),
        _ => None,
    });
    let mut values: Vec<Vec<u8>> = values.collect();
    values.sort();
    Some(values)
}

pub(super) fn look_around(stage: &mut Stage, nodes: &Nodes) {
    stage.title("Look around, from another terminal");
    for node in &nodes.nodes {
        stage.line(&format!(
            "dig @{} -p {} +short TXT cluster.mesh.test",
            node.dns.ip(),
            node.dns.port()
        ));
    }
    let program = std::env::args()
        .next()
        .unwrap_or_else(|| "dnsmesh".to_owned());
    if let [alice, bob] = nodes.people.as_slice() {
        let command = |person: &Person, verb: &str| {
            format!("{program} --config-home {} {verb}", person.dir().display())
        };
        stage.line(&command(alice, "cluster status"));
        stage.line(&command(
            alice,
            &format!("send {} 'one more'", bob.address()),
        ));
        stage.line(&command(bob, "recv"));
    }
    stage.plain("");
    stage.plain("Ctrl-C stops the nodes and removes everything.");
}
