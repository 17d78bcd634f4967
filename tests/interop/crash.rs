//! Real processes killed in the middle: `strace` ends `send` and `recv` at the n-th system call that writes to disk or network, and
//! the next runs find each message in the other's inbox exactly once (D15, D21).

use crate::Program::Ours;
use crate::node::Node;
use crate::proxy;
use crate::user::{Credential, Outcome, User};

const ZONE: &str = "alpha.test";
/// What takes effect outside of the process.
const CALLS: [&str; 4] = ["fdatasync", "pwrite64", "sendto", "connect"];
/// Calls of one kind that are tried; further ones come from the same few places.
const TRIES: usize = 6;

/// Two users of our node who know each other.
fn people(node: &Node) -> (User, User) {
    let proxy = proxy::start(&[node]);
    let user = |name| User::init(Ours, name, node, &[node], proxy);
    let alice = user("alice").join(Credential::Tsig, node);
    let bob = user("bob").join(Credential::Tsig, node);
    alice.pin(&bob);
    bob.pin(&alice);
    (alice, bob)
}

/// Runs a command that is killed at its n-th call of a kind; without one it comes to its end.
fn killed_at(user: &User, call: &str, number: usize, arguments: &[&str]) -> Outcome {
    let injection = format!("inject={call}:signal=SIGKILL:when={number}");
    let strace = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", &injection];
    user.run_under(&strace, arguments)
}

#[test]
fn a_send_that_is_killed_anywhere_arrives_once() {
    let node = Node::start(Ours, ZONE);
    let (alice, bob) = people(&node);
    let mut killed = 0;
    for call in CALLS {
        for number in 1..=TRIES {
            let text = format!("{call} {number}");
            let known = alice.ok(&["outbox", "list", "--json"]).lines().count();
            let sent = killed_at(&alice, call, number, &["send", &bob.address, &text]);
            if sent.code == 0 {
                assert_eq!(texts(&bob), [text]);
                break;
            }
            killed += 1;
            if alice.ok(&["outbox", "list", "--json"]).lines().count() == known {
                alice.ok(&["send", &bob.address, &text]);
            } else {
                alice.run(&["outbox", "retry"]);
            }
            assert_eq!(texts(&bob), [text]);
            bob.ok(&["identity", "refresh-prekeys", "--count", "5"]);
        }
    }
    assert!(killed > 5, "only {killed} runs were killed");
}

#[test]
fn a_receipt_that_is_killed_anywhere_is_made_up_for() {
    let node = Node::start(Ours, ZONE);
    let (alice, bob) = people(&node);
    let mut killed = 0;
    for call in CALLS {
        for number in 1..=TRIES {
            let text = format!("{call} {number}");
            alice.ok(&["send", &bob.address, &text]);
            let received = killed_at(&bob, call, number, &["recv"]);
            let is_shown = received.stdout.contains(&text);
            let mut later = texts(&bob);
            later.extend(texts(&bob));
            if received.code == 0 {
                assert!(is_shown && later.is_empty(), "{later:?}");
                break;
            }
            killed += 1;
            // What was shown and noted does not come again; what was not noted does, once.
            assert!(
                later == [text] || (is_shown && later.is_empty()),
                "{later:?}"
            );
            bob.ok(&["identity", "refresh-prekeys", "--count", "5"]);
        }
    }
    assert!(killed > 5, "only {killed} runs were killed");
}

fn texts(user: &User) -> Vec<String> {
    let messages = user.receive().into_iter();
    messages.map(|message| message.text).collect()
}
