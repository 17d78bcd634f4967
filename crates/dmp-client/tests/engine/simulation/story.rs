//! One story: who is who, what happens in which order, and what must hold at every moment and at the end.

use std::collections::BTreeMap;
use std::ops::AddAssign;
use std::time::Duration;

use dmp_client::limits;
use dmp_client::ops::outbox::{AdvanceRequest, Selection, advance};
use dmp_client::ops::{self, ReceiveRequest, SendError, SendRequest, Session};
use dmp_client::store::InboxMessage;
use rand_core::Rng as _;

use super::adversary;
use super::network::{Network, Weather};
use crate::world::{CountingRng, Person, World, run};

/// Steps of a story.
const STEPS: usize = 40;
/// One-time keys of each person.
const PREKEYS: usize = 12;
/// Rounds in good weather at the end, in each of which everybody sends what is left and reads.
const LAST_ROUNDS: usize = 4;

/// What happened in one story or many.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tally {
    pub(super) sent: usize,
    pub(super) read: usize,
    pub(super) quarantined: usize,
    pub(super) attacks: usize,
    pub(super) faults: u64,
    /// Sealed to a one-time key that somebody else had chosen as well, and that was used up first: nobody can read these (F8).
    pub(super) collided: usize,
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.sent += other.sent;
        self.read += other.read;
        self.quarantined += other.quarantined;
        self.attacks += other.attacks;
        self.faults += other.faults;
        self.collided += other.collided;
    }
}

pub(super) struct Dice(CountingRng);

impl Dice {
    /// A number below `sides`.
    pub(super) fn below(&mut self, sides: usize) -> usize {
        (self.0.next_u64() % sides as u64) as usize
    }

    fn percent(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }
}

/// A text on its way.
struct Letter {
    from: usize,
    to: usize,
    /// The one-time key that it was sealed to.
    prekey: Option<u32>,
    reads: usize,
}

struct Story {
    people: Vec<Person>,
    networks: Vec<Network>,
    /// Row: who knows; column: whom.
    knows: Vec<Vec<bool>>,
    letters: BTreeMap<String, Letter>,
    tally: Tally,
}

pub(super) fn tell(seed: u64) -> Tally {
    run(async {
        let mut dice = Dice(CountingRng(seed ^ 0x51a7_0000_0000_0000));
        let mut story = Story::begin(&mut dice).await;
        for step in 0..STEPS {
            story.step(seed, step, &mut dice).await;
        }
        story.end().await;
        story.tally
    })
}

impl Story {
    async fn begin(dice: &mut Dice) -> Self {
        let world = World::new();
        *world.latency.lock().unwrap() = Duration::from_millis(20);
        let names = [
            ("alice", "alpha.test"),
            ("bob", "alpha.test"),
            ("carol", "beta.test"),
            ("dave", "gamma.test"),
            // The adversary is a person like the others, whom some of them know.
            ("mallory", "evil.test"),
        ];
        let mut people: Vec<Person> = names
            .iter()
            .map(|(name, zone)| world.person(name, zone))
            .collect();
        for person in &mut people {
            person.rng = CountingRng(dice.0.next_u64());
            person.publish(PREKEYS).await;
        }
        let mut knows = vec![vec![false; people.len()]; people.len()];
        for (one, row) in knows.iter_mut().enumerate() {
            for (other, known) in row.iter_mut().enumerate() {
                // Who writes needs the keys; who reads may not know the writer.
                if one != other && dice.percent(85) {
                    people[one].pin(&people[other]);
                    *known = true;
                }
            }
        }
        let networks = people
            .iter()
            .map(|_| Network::new(&world, dice.0.next_u64()))
            .collect();
        Self {
            people,
            networks,
            knows,
            letters: BTreeMap::new(),
            tally: Tally::default(),
        }
    }

    async fn step(&mut self, seed: u64, step: usize, dice: &mut Dice) {
        tokio::time::sleep(Duration::from_secs(dice.below(300) as u64)).await;
        let one = dice.below(self.people.len());
        match dice.below(100) {
            0..40 => {
                let to = dice.below(self.people.len());
                if self.knows[one][to] {
                    let length = [0, 10, 400, 3_000][dice.below(4)];
                    let text = format!("{seed}/{step} from {one} to {to} {}", "x".repeat(length));
                    self.send(one, to, text).await;
                }
            }
            40..65 => self.receive(one).await,
            65..75 => self.advance(one, Selection::Due).await,
            75..85 => {
                if let Some((mallory, people)) = self.people.split_last() {
                    adversary::act(mallory, people, dice);
                    self.tally.attacks += 1;
                }
            }
            85..95 => {
                let mut chance = |most: usize| dice.below(most) as u64;
                let weather = Weather {
                    lost: chance(60),
                    lies: chance(40),
                    stale: chance(60),
                    refused: chance(50),
                    silent: chance(30),
                };
                self.networks[one].turn(weather);
            }
            _ => tokio::time::sleep(Duration::from_secs(dice.below(3_600) as u64)).await,
        }
    }

    async fn send(&mut self, from: usize, to: usize, text: String) {
        let mut rng = CountingRng(self.people[from].rng.0);
        let address = self.people[to].address();
        let request = SendRequest::new(&address, text.as_bytes());
        let sent = ops::send(&self.session(from), &request, &mut rng).await;
        self.people[from].rng = rng;
        let outbox = match sent {
            Ok(report) => report.outbox,
            // Recorded, and tried again until it expires.
            Err(SendError::Publish { outbox, .. }) => outbox,
            // Nothing was recorded, and the writer was told.
            Err(_) => return,
        };
        self.tally.sent += 1;
        let entry = self.people[from].store.outbox_entry(outbox);
        let letter = Letter {
            from,
            to,
            prekey: entry.unwrap().unwrap().item.prekey().map(|id| id.get()),
            reads: 0,
        };
        self.letters.insert(text, letter);
    }

    async fn advance(&self, one: usize, selection: Selection) {
        let request = AdvanceRequest {
            selection,
            ..AdvanceRequest::default()
        };
        advance(&self.session(one), &request).await.unwrap();
    }

    async fn receive(&mut self, one: usize) {
        let report = ops::receive(&self.session(one), &ReceiveRequest::default())
            .await
            .unwrap();
        for message in &report.inbox {
            self.read(one, message);
        }
        let person = &self.people[one];
        let numbers: Vec<_> = report.inbox.iter().map(|message| message.number).collect();
        person.store.mark_shown(&numbers, person.now()).unwrap();
        // The own zone may refuse; the next run tries again.
        let _ = ops::clear_away(&self.session(one), &report).await;
        self.tally.quarantined += report.intros.len();
        assert!(
            person.store.intros().unwrap().len() <= limits::QUARANTINE_ROWS,
            "a quarantine without bounds"
        );
    }

    /// What is read was written so, by whom it says, to the reader, and was not read before.
    fn read(&mut self, reader: usize, message: &InboxMessage) {
        let text = String::from_utf8(message.body.clone()).expect("the text of somebody");
        let letter = self
            .letters
            .get_mut(&text)
            .unwrap_or_else(|| panic!("nobody wrote {text:?}"));
        assert_eq!(letter.to, reader, "{text}: to somebody else");
        let author = self.people[letter.from].identity.signing_public();
        assert_eq!(message.signer, author, "{text}: under another's name");
        letter.reads += 1;
        assert_eq!(letter.reads, 1, "{text}: twice");
        self.tally.read += 1;
    }

    /// The weather clears; whatever was written to somebody who knows the writer is read now.
    async fn end(&mut self) {
        self.networks
            .iter()
            .for_each(|network| network.turn(Weather::default()));
        for _ in 0..LAST_ROUNDS {
            for one in 0..self.people.len() {
                self.advance(one, Selection::All).await;
            }
            tokio::time::sleep(Duration::from_secs(120)).await;
            for one in 0..self.people.len() {
                self.receive(one).await;
            }
        }
        let mut chosen: BTreeMap<(usize, u32), usize> = BTreeMap::new();
        for letter in self.letters.values() {
            if let Some(prekey) = letter.prekey {
                *chosen.entry((letter.to, prekey)).or_default() += 1;
            }
        }
        for (text, letter) in &self.letters {
            let known = self.knows[letter.to][letter.from];
            let shared = letter
                .prekey
                .is_some_and(|prekey| chosen[&(letter.to, prekey)] > 1);
            if known && letter.reads == 0 && shared {
                self.tally.collided += 1;
            } else {
                assert!(!known || letter.reads == 1, "{text}: lost");
            }
        }
        self.tally.faults = self
            .networks
            .iter()
            .map(|network| network.faults.load(std::sync::atomic::Ordering::Relaxed))
            .sum();
    }

    fn session(&self, one: usize) -> Session<'_> {
        let (person, network) = (&self.people[one], &self.networks[one]);
        Session {
            reader: network,
            writer: network,
            claims: network,
            ..person.session()
        }
    }
}
