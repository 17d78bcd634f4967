//! Which names hold identity records for which mailbox: a hint for the claim policy (D11), nothing more.
//!
//! It verifies nothing: whoever uses a hint parses the live record at that name again.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{PoisonError, RwLock};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use dmp_core::id::MailboxHash;
use dmp_core::keys::AgreementPublicKey;

use super::{Owner, Value};

/// What every identity record begins with (records.md 2).
const PREFIX: &str = "v=dmp1;t=identity;d=";
/// Names remembered for one mailbox; a person has one or two, strangers may copy the key into records of their own.
const NAMES_PER_MAILBOX: usize = 16;

/// Owner names by mailbox, and the way back.
#[derive(Debug, Default)]
pub(super) struct IdentityHints(RwLock<Maps>);

#[derive(Debug, Default)]
struct Maps {
    owners: HashMap<MailboxHash, IdentityOwners>,
    mailboxes: HashMap<Owner, Vec<MailboxHash>>,
}

/// The names that hold what looks like identity records for one mailbox.
#[derive(Clone, Debug, Default)]
pub(crate) struct IdentityOwners {
    /// The first few.
    pub(crate) listed: Vec<Owner>,
    /// How many more there are.
    pub(crate) unlisted: usize,
}

impl IdentityHints {
    /// Takes note of what `owner` holds from now on.
    pub(super) fn note(&self, owner: &Owner, values: &[Value]) {
        let mut mailboxes: Vec<MailboxHash> = values
            .iter()
            .filter_map(|value| mailbox_in(&value.text))
            .collect();
        mailboxes.sort_unstable();
        mailboxes.dedup();
        if mailboxes.is_empty() && !self.read().mailboxes.contains_key(owner) {
            return;
        }
        let mut maps = self.0.write().unwrap_or_else(PoisonError::into_inner);
        for mailbox in maps.mailboxes.remove(owner).unwrap_or_default() {
            if let Entry::Occupied(mut owners) = maps.owners.entry(mailbox)
                && !owners.get_mut().remove(owner)
            {
                owners.remove();
            }
        }
        for mailbox in &mailboxes {
            maps.owners.entry(*mailbox).or_default().add(owner);
        }
        if !mailboxes.is_empty() {
            maps.mailboxes.insert(owner.clone(), mailboxes);
        }
    }

    /// Names that may hold a record with the X25519 key behind `mailbox`.
    pub(super) fn owners(&self, mailbox: &MailboxHash) -> IdentityOwners {
        self.read().owners.get(mailbox).cloned().unwrap_or_default()
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, Maps> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl IdentityOwners {
    fn add(&mut self, owner: &Owner) {
        if self.listed.len() < NAMES_PER_MAILBOX {
            self.listed.push(owner.clone());
        } else {
            self.unlisted += 1;
        }
    }

    /// Takes out a name that was added, and tells whether others remain.
    fn remove(&mut self, owner: &Owner) -> bool {
        match self.listed.iter().position(|listed| listed == owner) {
            Some(place) => drop(self.listed.remove(place)),
            None => self.unlisted -= 1,
        }
        !self.listed.is_empty() || self.unlisted > 0
    }
}

/// The mailbox of the X25519 key in what looks like an identity record: behind the user name and its length octet
/// (records.md 8).
pub(super) fn mailbox_in(value: &str) -> Option<MailboxHash> {
    let blob = STANDARD.decode(value.strip_prefix(PREFIX)?).ok()?;
    let (&length, rest) = blob.split_first()?;
    let key: [u8; 32] = *rest.get(usize::from(length)..)?.first_chunk()?;
    Some(AgreementPublicKey::from_bytes(key).user_id().mailbox())
}
