//! Which names hold identity records for which mailbox: a hint for the claim policy (D11), nothing more.
//!
//! It verifies nothing: whoever uses a hint parses the live record at that name again.

use std::collections::HashMap;
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
    owners: HashMap<MailboxHash, Vec<Owner>>,
    mailboxes: HashMap<Owner, Vec<MailboxHash>>,
}

impl IdentityHints {
    /// Takes note of what `owner` holds from now on.
    pub(super) fn note(&self, owner: &Owner, values: &[Value]) {
        let mailboxes: Vec<MailboxHash> = values
            .iter()
            .filter_map(|value| mailbox_in(&value.text))
            .collect();
        if mailboxes.is_empty() && !self.read().mailboxes.contains_key(owner) {
            return;
        }
        let mut maps = self.0.write().unwrap_or_else(PoisonError::into_inner);
        for mailbox in maps.mailboxes.remove(owner).unwrap_or_default() {
            let left = maps.owners.get_mut(&mailbox).map_or(0, |owners| {
                owners.retain(|noted| noted != owner);
                owners.len()
            });
            if left == 0 {
                maps.owners.remove(&mailbox);
            }
        }
        for mailbox in &mailboxes {
            let owners = maps.owners.entry(*mailbox).or_default();
            if owners.len() < NAMES_PER_MAILBOX && !owners.contains(owner) {
                owners.push(owner.clone());
            }
        }
        if !mailboxes.is_empty() {
            maps.mailboxes.insert(owner.clone(), mailboxes);
        }
    }

    /// Names that may hold a record with the X25519 key behind `mailbox`.
    pub(super) fn owners(&self, mailbox: &MailboxHash) -> Vec<Owner> {
        self.read().owners.get(mailbox).cloned().unwrap_or_default()
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, Maps> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The mailbox of the X25519 key in what looks like an identity record: behind the user name and its length octet
/// (records.md 8).
fn mailbox_in(value: &str) -> Option<MailboxHash> {
    let blob = STANDARD.decode(value.strip_prefix(PREFIX)?).ok()?;
    let (&length, rest) = blob.split_first()?;
    let key: [u8; 32] = *rest.get(usize::from(length)..)?.first_chunk()?;
    Some(AgreementPublicKey::from_bytes(key).user_id().mailbox())
}
