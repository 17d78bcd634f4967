//! The index of live values that every query reads: from lower-case wire name to answer records ready to be copied.
//!
//! Readers take no lock and never wait for the writer ([`table`]). It holds no file and takes no decision about who may
//! write; the store's writer thread is its only mutator.

mod arena;
mod entry;
mod expiry;
mod foreign;
mod identities;
mod owner;
mod reader;
mod table;
mod view;
mod writer;

use std::hash::BuildHasher;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use arc_swap::ArcSwap;
use dmp_core::id::MailboxHash;

pub(crate) use identities::IdentityOwners;
pub use owner::{Labels, Owner, OwnerError};
pub use reader::{Candidate, Located, Reader};
pub use view::{AnswerView, Served};

use arena::Arena;
use table::Table;
use writer::IndexWriter;

/// One TXT value of an owner name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Value {
    /// The value.
    pub text: Box<str>,
    /// Unix second at which it stops being visible.
    pub expires_at: u64,
    /// Its row in the store.
    pub row: i64,
    /// Mark of its writer; 0 for those that no quota counts.
    pub writer: u64,
}

/// The in-memory zone.
#[derive(Debug)]
pub struct ZoneIndex {
    hasher: foldhash::quality::RandomState,
    arena: Arena,
    table: ArcSwap<Table>,
    writer: Mutex<IndexWriter>,
    foreign: foreign::ForeignBases,
    identities: identities::IdentityHints,
    apex: Option<Owner>,
    live: AtomicU64,
    serial: AtomicU32,
}

impl ZoneIndex {
    /// An empty index of a node that serves `apex`, or no zone.
    pub fn new(apex: Option<Owner>) -> Self {
        Self {
            hasher: foldhash::quality::RandomState::default(),
            arena: Arena::new(),
            table: ArcSwap::from_pointee(Table::for_names(0)),
            writer: Mutex::new(IndexWriter::new()),
            foreign: foreign::ForeignBases::default(),
            identities: identities::IdentityHints::default(),
            apex,
            live: AtomicU64::new(0),
            serial: AtomicU32::new(0),
        }
    }

    /// The served zone.
    pub fn apex(&self) -> Option<&Owner> {
        self.apex.as_ref()
    }

    /// Values of `owner` visible at `now` (Unix seconds), oldest first.
    pub fn values(&self, owner: &Owner, now: u64) -> Vec<String> {
        let values = self
            .entry(owner, now)
            .into_iter()
            .filter(|value| value.expires_at > now);
        values.map(|value| value.text.into()).collect()
    }

    /// How many values the index holds; expired ones leave it within a tick.
    pub fn live_values(&self) -> u64 {
        self.live.load(Ordering::Relaxed)
    }

    /// SOA serial of the served content.
    pub fn serial(&self) -> u32 {
        self.serial.load(Ordering::Relaxed)
    }

    pub(crate) fn set_serial(&self, serial: u32) {
        self.serial.store(serial, Ordering::Relaxed);
    }

    /// All values of `owner` that have not left the index, expired ones included.
    pub(crate) fn entry(&self, owner: &Owner, now: u64) -> Vec<Value> {
        self.entry_at(owner.as_wire(), now)
    }

    /// [`ZoneIndex::entry`] of a lower-case wire name.
    pub(crate) fn entry_at(&self, name: &[u8], now: u64) -> Vec<Value> {
        let read = |block: &[AtomicU64]| entry::read_values(block, now);
        let values = self.reader().read(name, self.hash(name), read);
        values.flatten().unwrap_or_default()
    }

    /// Puts `values` in the place of all that `owner` has.
    pub(crate) fn replace(&self, owner: &Owner, values: &[Value], now: u64) {
        self.writer
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .replace(self, owner, values, now);
    }

    /// Makes room for `values` values that are about to be [appended](Self::append), so that the table need not grow
    /// while they come.
    pub(crate) fn reserve(&self, values: usize) {
        self.writer
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .reserve(self, values);
    }

    /// Adds values while the store is being loaded, each to those that its owner has.
    pub(crate) fn append(&self, values: impl IntoIterator<Item = (Owner, Value)>, now: u64) {
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        for (owner, value) in values {
            writer.append(self, &owner, value, now);
        }
    }

    /// Removes what has expired by `now` and gives the rows.
    pub(crate) fn reap(&self, now: u64) -> Vec<i64> {
        self.writer
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .reap(self, now)
    }

    /// Names that may hold an identity record for `mailbox`.
    pub(crate) fn identity_owners(&self, mailbox: &MailboxHash) -> IdentityOwners {
        self.identities.owners(mailbox)
    }

    /// What looks like identity records for `mailbox` at `owner`, visible at `now`; still to be verified.
    pub(crate) fn identities(
        &self,
        owner: &Owner,
        mailbox: MailboxHash,
        now: u64,
    ) -> impl Iterator<Item = String> {
        let values = self.values(owner, now).into_iter();
        values.filter(move |value| identities::mailbox_in(value) == Some(mailbox))
    }

    pub(crate) fn hash(&self, name: &[u8]) -> u64 {
        self.hasher.hash_one(name)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;

    use super::*;

    const NOW: u64 = 1_800_000_000;

    fn owner(text: &str) -> Owner {
        Owner::parse(text).unwrap()
    }

    fn value(text: &str, expires_at: u64, row: i64) -> Value {
        Value {
            text: text.into(),
            expires_at,
            row,
            writer: 0,
        }
    }

    fn is_below(zone: &ZoneIndex, name: &str, now: u64) -> bool {
        zone.reader().has_below(owner(name).as_wire(), now)
    }

    #[test]
    fn values_come_back_in_order_until_they_expire() {
        let zone = ZoneIndex::new(None);
        let name = owner("a.mesh.test");
        let long = "x".repeat(600);
        let values = [
            value("one", NOW + 10, 1),
            value("", NOW + 20, 2),
            value(&long, NOW + 30, 3),
        ];
        zone.replace(&name, &values, NOW);
        assert_eq!(zone.entry(&name, NOW), values);
        assert_eq!(zone.values(&name, NOW), ["one", "", &long]);
        assert_eq!(
            zone.values(&name, NOW + 10),
            ["", &long],
            "dead at the second it expires, without any tick"
        );
        assert_eq!(zone.live_values(), 3);
        assert_eq!(zone.reap(NOW + 9), Vec::<i64>::new());
        assert_eq!(zone.reap(NOW + 20), [1, 2]);
        assert_eq!(zone.live_values(), 1);
        assert_eq!(zone.reap(NOW + 30), [3]);
        assert_eq!(
            zone.reader().search(name.as_wire(), &mut Vec::new()),
            Located::NOTHING
        );
    }

    #[test]
    fn a_refreshed_value_outlives_its_first_expiry() {
        let zone = ZoneIndex::new(None);
        let name = owner("a.mesh.test");
        zone.replace(&name, &[value("v", NOW + 10, 1)], NOW);
        zone.replace(&name, &[value("v", NOW + 50, 2)], NOW);
        assert!(zone.reap(NOW + 10).is_empty());
        zone.replace(&name, &[value("v", NOW + 20, 3)], NOW + 10);
        assert_eq!(zone.reap(NOW + 20), [3]);
        assert!(zone.reap(NOW + 60).is_empty());
    }

    #[test]
    fn every_ancestor_of_a_live_name_exists_and_no_other() {
        let zone = ZoneIndex::new(Some(owner("mesh.test")));
        zone.replace(&owner("a.b.c.mesh.test"), &[value("v", NOW + 10, 1)], NOW);
        zone.replace(&owner("d.c.mesh.test"), &[value("v", NOW + 20, 2)], NOW);
        assert!(is_below(&zone, "b.c.mesh.test", NOW) && is_below(&zone, "c.mesh.test", NOW));
        assert!(!is_below(&zone, "a.b.c.mesh.test", NOW) && !is_below(&zone, "x.c.mesh.test", NOW));
        assert!(
            !is_below(&zone, "b.c.mesh.test", NOW + 10),
            "what is below expired, though no tick came yet"
        );
        assert!(is_below(&zone, "c.mesh.test", NOW + 10));
        zone.replace(&owner("d.c.mesh.test"), &[], NOW + 10);
        zone.reap(NOW + 10);
        assert!(!is_below(&zone, "c.mesh.test", NOW + 10));
        assert_eq!(zone.live_values(), 0);
    }

    #[test]
    fn a_foreign_base_is_covered_while_something_lives_under_it() {
        let zone = ZoneIndex::new(Some(owner("mesh.test")));
        let name = owner("dmp.alice.example");
        zone.replace(&name, &[value("v", NOW + 10, 1)], NOW);
        assert!(zone.foreign.cover(owner("else.alice.example").as_wire()));
        assert!(!zone.foreign.cover(owner("example").as_wire()) && !zone.foreign.cover(b"\0"));
        zone.replace(&name, &[], NOW);
        assert!(!zone.foreign.cover(name.as_wire()));
    }

    #[test]
    fn many_names_survive_growth_deletion_and_reuse() {
        let zone = ZoneIndex::new(Some(owner("mesh.test")));
        let name = |i: usize| owner(&format!("slot-{}.mb-{i:012x}.mesh.test", i % 10));
        for round in 0..3 {
            for i in 0..5_000 {
                let text = format!("{round}-{i}").repeat(1 + i % 40);
                zone.replace(&name(i), &[value(&text, NOW + 100, i as i64)], NOW);
            }
            for i in 0..5_000 {
                assert_eq!(
                    zone.values(&name(i), NOW),
                    [format!("{round}-{i}").repeat(1 + i % 40)]
                );
            }
            for i in (0..5_000).step_by(2) {
                zone.replace(&name(i), &[], NOW);
                assert!(zone.values(&name(i), NOW).is_empty());
            }
            assert_eq!(zone.live_values(), 2_500);
        }
        assert_eq!(zone.reap(NOW + 100).len(), 2_500);
        assert_eq!(
            zone.writer.lock().unwrap().reap(&zone, u64::MAX),
            Vec::<i64>::new()
        );
        assert!(!is_below(&zone, "mb-000000000001.mesh.test", NOW));
    }

    #[test]
    fn readers_see_whole_entries_while_the_writer_rewrites_and_grows() {
        let zone = ZoneIndex::new(Some(owner("mesh.test")));
        let names: Vec<Owner> = (0..64).map(|i| owner(&format!("n{i}.mesh.test"))).collect();
        let text = |i: usize, round: usize| format!("{i}:{}", "z".repeat((round * 7 + i) % 300));
        for (i, name) in names.iter().enumerate() {
            zone.replace(name, &[value(&text(i, 0), NOW + 100, 0)], NOW);
        }
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    let mut reader = zone.reader();
                    let mut scratch = Vec::new();
                    while !done.load(Ordering::Relaxed) {
                        reader.refresh();
                        let found: Vec<_> = names
                            .iter()
                            .map(|name| reader.find(zone.hash(name.as_wire())))
                            .collect();
                        for (i, (name, found)) in names.iter().zip(found).enumerate() {
                            let located = match i % 2 {
                                0 => reader.locate(found, name.as_wire(), &mut scratch),
                                _ => reader.search(name.as_wire(), &mut scratch),
                            };
                            let packed = located.packed(&scratch);
                            let packed = packed.expect("a name that is always there was not found");
                            let rdata = packed.rdata(NOW).next().unwrap();
                            let text = dmp_dns::txt::decode_rdata(rdata).unwrap();
                            let text = std::str::from_utf8(&text).unwrap();
                            let rest = text.strip_prefix(&format!("{i}:")).unwrap();
                            assert!(rest.bytes().all(|octet| octet == b'z'), "a torn value");
                        }
                    }
                });
            }
            for round in 0..300 {
                for (i, name) in names.iter().enumerate() {
                    zone.replace(name, &[value(&text(i, round), NOW + 100, 0)], NOW);
                }
                for more in 0..20 {
                    let name = owner(&format!("more-{round}-{more}.mesh.test"));
                    zone.replace(&name, &[value("x", NOW + 100, 0)], NOW);
                }
            }
            done.store(true, Ordering::Relaxed);
        });
    }
}
