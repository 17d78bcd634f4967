//! A zone in memory: reader, writer and claim target at once, for tests and simulations (client.md 14, first row).

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use dmp_core::id::UnixTime;
use dmp_core::owner::OwnerName;

use crate::error::WriteError;
use crate::mesh::{
    Applied, ClaimNotice, ClaimSender, Clock, Lookup, Message, Operation, Pending, Reader, Writer,
};

/// Every name of an imagined DNS. Cloning shares the content.
#[derive(Clone)]
pub struct MemoryZone {
    names: Arc<Mutex<BTreeMap<String, Vec<Entry>>>>,
    clock: Arc<dyn Clock>,
}

/// One value and when it disappears.
#[derive(Clone)]
struct Entry {
    value: String,
    expires: UnixTime,
}

impl MemoryZone {
    /// An empty world on this clock.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            names: Arc::default(),
            clock,
        }
    }

    /// Appends a value; an identical one lives on from now.
    pub fn publish(&self, name: &str, value: &str, ttl: u64) {
        let expires = self.clock.now().saturating_add(ttl);
        let mut names = self.names();
        let entries = names.entry(name.to_ascii_lowercase()).or_default();
        entries.retain(|entry| entry.value != value);
        entries.push(Entry {
            value: value.to_owned(),
            expires,
        });
    }

    /// Removes one value; `false` if nobody ever published at that name.
    pub fn delete_value(&self, name: &str, value: &str) -> bool {
        let mut names = self.names();
        let Some(entries) = names.get_mut(&name.to_ascii_lowercase()) else {
            return false;
        };
        entries.retain(|entry| entry.value != value);
        if entries.is_empty() {
            names.remove(&name.to_ascii_lowercase());
        }
        true
    }

    /// Removes a name; `false` if nobody ever published there.
    pub fn delete_name(&self, name: &str) -> bool {
        self.names().remove(&name.to_ascii_lowercase()).is_some()
    }

    /// The live values at a name, in the order of publication: a value lives while its expiry lies ahead.
    #[must_use]
    pub fn query(&self, name: &str) -> Vec<String> {
        let now = self.clock.now();
        let names = self.names();
        let entries = names
            .get(&name.to_ascii_lowercase())
            .map(Vec::as_slice)
            .unwrap_or_default();
        entries
            .iter()
            .filter(|entry| entry.expires > now)
            .map(|entry| entry.value.clone())
            .collect()
    }

    /// Every name that holds a live value.
    #[must_use]
    pub fn live_names(&self) -> Vec<String> {
        let now = self.clock.now();
        let live = |entries: &Vec<Entry>| entries.iter().any(|entry| entry.expires > now);
        self.names()
            .iter()
            .filter(|(_, entries)| live(entries))
            .map(|(name, _)| name.clone())
            .collect()
    }

    fn names(&self) -> MutexGuard<'_, BTreeMap<String, Vec<Entry>>> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Reader for MemoryZone {
    fn txt<'a>(&'a self, owner: &'a OwnerName) -> Pending<'a, Lookup> {
        Box::pin(async move {
            let values = self.query(owner.as_str());
            if values.is_empty() {
                Lookup::Absent
            } else {
                Lookup::Found(values)
            }
        })
    }
}

impl Writer for MemoryZone {
    fn apply<'a>(&'a self, operations: &'a [Operation]) -> Pending<'a, Applied> {
        Box::pin(async move {
            for operation in operations {
                match operation {
                    Operation::Add { owner, ttl, value } => {
                        self.publish(owner.as_str(), value, u64::from(*ttl))
                    }
                    Operation::DeleteValue { owner, value } => {
                        self.delete_value(owner.as_str(), value);
                    }
                    Operation::DeleteRrset { owner } => {
                        self.delete_name(owner.as_str());
                    }
                }
            }
            Applied {
                messages: vec![Message {
                    operations: 0..operations.len(),
                    bytes: 0,
                    outcome: Ok(()),
                }],
            }
        })
    }
}

impl ClaimSender for MemoryZone {
    fn send<'a>(&'a self, notice: &'a ClaimNotice) -> Pending<'a, Result<(), WriteError>> {
        Box::pin(async move {
            self.publish(notice.owner.as_str(), &notice.value, u64::from(notice.ttl));
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::time::Duration;

    use super::*;

    /// A clock that stands still until it is set.
    struct SetClock(Mutex<u64>);

    impl Clock for SetClock {
        fn now(&self) -> UnixTime {
            UnixTime::new(*self.0.lock().unwrap())
        }

        fn sleep(&self, _: Duration) -> Pending<'_, ()> {
            Box::pin(async {})
        }
    }

    #[test]
    fn values_are_appended_refreshed_and_expire_at_their_second() {
        let clock = Arc::new(SetClock(Mutex::new(100)));
        let zone = MemoryZone::new(clock.clone());
        assert!(zone.query("a.example").is_empty());
        zone.publish("A.example", "one", 10);
        zone.publish("a.example", "two", 10);
        assert_eq!(zone.query("a.EXAMPLE"), ["one", "two"]);
        *clock.0.lock().unwrap() = 105;
        zone.publish("a.example", "one", 10);
        *clock.0.lock().unwrap() = 110;
        assert_eq!(
            zone.query("a.example"),
            ["one"],
            "a value lives while its expiry lies ahead"
        );
        assert_eq!(zone.live_names(), ["a.example"]);
        *clock.0.lock().unwrap() = 115;
        assert!(zone.query("a.example").is_empty() && zone.live_names().is_empty());
    }

    #[test]
    fn deleting_a_value_leaves_the_others_and_says_whether_the_name_was_known() {
        let zone = MemoryZone::new(Arc::new(SetClock(Mutex::new(100))));
        assert!(!zone.delete_value("a.example", "one") && !zone.delete_name("a.example"));
        zone.publish("a.example", "one", 10);
        zone.publish("a.example", "two", 10);
        assert!(zone.delete_value("a.example", "unknown"));
        assert!(zone.delete_value("a.example", "one"));
        assert_eq!(zone.query("a.example"), ["two"]);
        assert!(zone.delete_value("a.example", "two"));
        assert!(
            !zone.delete_value("a.example", "two"),
            "a name without values is gone"
        );
        zone.publish("a.example", "three", 10);
        assert!(zone.delete_name("a.example"));
        assert!(zone.query("a.example").is_empty());
    }
}
