//! Bounds on what a writer may store (node.md 3.3, D13).

use super::Author;
use crate::context::Refusal;
use crate::settings::Caps;
use crate::store::{Draft, WriterTag};
use crate::zone::Owner;

impl Caps {
    /// Checks one add against the state that `draft` has reached. Only values that would be new are counted.
    pub(crate) fn check(
        &self,
        draft: &mut Draft<'_>,
        author: &Author,
        owner: &Owner,
        value: &str,
        ttl: u64,
    ) -> Result<(), Refusal> {
        if let Some(limit) = self
            .max_value_bytes
            .filter(|limit| value.len() as u64 > *limit)
        {
            return Err(Refusal::ValueTooLong { limit });
        }
        if let Some(limit) = self.max_ttl.filter(|limit| ttl > *limit) {
            return Err(Refusal::Ttl { limit });
        }
        if self.max_values_per_name.is_none() && self.max_values_per_writer_per_mailbox.is_none() {
            return Ok(());
        }
        let (mut values, mut known) = (0, false);
        for live in draft.values(owner) {
            values += 1;
            known |= &*live.text == value;
        }
        if known {
            return Ok(());
        }
        if self
            .max_values_per_name
            .is_some_and(|limit| values >= limit)
        {
            return Err(Refusal::NameFull {
                owner: owner.clone(),
                values,
            });
        }
        match self.max_values_per_writer_per_mailbox {
            Some(limit) => check_mailbox(draft, author, owner, limit),
            None => Ok(()),
        }
    }
}

fn check_mailbox(
    draft: &mut Draft<'_>,
    author: &Author,
    owner: &Owner,
    limit: u64,
) -> Result<(), Refusal> {
    let Author::Subject { mailboxes, .. } = author else {
        return Ok(());
    };
    let Some((mailbox, base)) = slot_of_mailbox(owner) else {
        return Ok(());
    };
    if mailboxes.contains(&mailbox) {
        return Ok(());
    }
    let tag: WriterTag = author.tag();
    let mut held = 0;
    for slot in 0..10 {
        let Ok(slot) = Owner::parse(&format!("slot-{slot}.{base}")) else {
            continue;
        };
        held += draft
            .values(&slot)
            .filter(|value| value.writer == tag.0)
            .count() as u64;
    }
    if held >= limit {
        Err(Refusal::MailboxQuota { mailbox, limit })
    } else {
        Ok(())
    }
}

/// For `slot-<0-9>.mb-<hash>.<rest>`: the hash and `mb-<hash>.<rest>`.
fn slot_of_mailbox(owner: &Owner) -> Option<(String, Owner)> {
    let mut labels = owner.labels();
    let slot = labels.next()?.strip_prefix("slot-")?;
    let hash = labels.next()?.strip_prefix("mb-")?;
    let is_slot = slot.len() == 1 && slot.bytes().all(|digit| digit.is_ascii_digit());
    is_slot.then_some(())?;
    Some((hash.to_owned(), owner.parent()?))
}
