//! The values in a file, with what a change does to them. Knows neither form of the file.

use dmp_core::id::UnixTime;

use crate::mesh::Operation;

/// One value at one name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Entry {
    /// Lower case, without a dot at the end.
    pub(super) owner: String,
    pub(super) ttl: u32,
    pub(super) expires: u64,
    pub(super) value: String,
}

/// All of them, in the order of publication.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Entries(pub(super) Vec<Entry>);

impl Entries {
    /// Drops what has outlived its TTL: a value lives while its expiry lies ahead.
    pub(super) fn expire(&mut self, now: UnixTime) {
        self.0.retain(|entry| entry.expires > now.as_secs());
    }

    /// Appends, or removes exactly what is named; an identical value lives on from now.
    pub(super) fn change(&mut self, operation: &Operation, now: UnixTime) {
        let owner = operation.owner().as_str();
        match operation {
            Operation::Add { ttl, value, .. } => {
                let entry = Entry {
                    owner: owner.to_owned(),
                    ttl: *ttl,
                    expires: now.as_secs().saturating_add(u64::from(*ttl)),
                    value: value.clone(),
                };
                let same = |known: &&mut Entry| known.owner == owner && known.value == *value;
                match self.0.iter_mut().find(same) {
                    Some(known) => *known = entry,
                    None => self.0.push(entry),
                }
            }
            Operation::DeleteValue { value, .. } => self
                .0
                .retain(|entry| entry.owner != owner || entry.value != *value),
            Operation::DeleteRrset { .. } => self.0.retain(|entry| entry.owner != owner),
        }
    }
}
