//! Bounds on what a writer may store (node.md 3.3, D13).

use super::crowding::{self, ClaimName};
use super::{Access, Author};
use crate::context::Refusal;
use crate::limits::{CLAIM_SHARE, MAILBOX_NAME_OCTETS, NAME_CONTENT, VALUE_OCTETS, VALUE_OVERHEAD};
use crate::repeated::log_repeated;
use crate::settings::Caps;
use crate::store::{Draft, WriterTag};
use crate::zone::Owner;

/// The mailboxes that identity records have turned out to make the author's own, so that many adds of one submission verify
/// them once.
pub(crate) struct Exemptions<'a> {
    access: &'a Access,
    own: Vec<String>,
}

impl<'a> Exemptions<'a> {
    /// None yet.
    pub(crate) fn new(access: &'a Access) -> Self {
        Self {
            access,
            own: Vec::new(),
        }
    }

    fn cover(&mut self, draft: &Draft<'_>, mailbox: &str, subject: &str) -> bool {
        if self.own.iter().any(|own| own == mailbox) {
            return true;
        }
        let (zone, now) = (draft.zone(), draft.now());
        let is_own = self.access.is_own(zone, mailbox, subject, now);
        if is_own {
            self.own.push(mailbox.to_owned());
        }
        is_own
    }
}

impl Caps {
    /// Checks what can be said of one add by itself.
    pub(crate) fn check_value(&self, value: &str, ttl: u64) -> Result<(), Refusal> {
        // A value must fit the RDATA of one record whatever the operator allows.
        let limit = self
            .max_value_bytes
            .map_or(VALUE_OCTETS, |limit| limit.min(VALUE_OCTETS));
        if value.len() as u64 > limit {
            return Err(Refusal::ValueTooLong { limit });
        }
        match self.max_ttl.filter(|limit| ttl > *limit) {
            Some(limit) => Err(Refusal::Ttl { limit }),
            None => Ok(()),
        }
    }

    /// Checks what the store holds after a new value of `author` was added to the draft (node.md 5.3). Strangers' claims
    /// stop where half of it is taken, so that they never leave registered writers without room.
    pub(crate) fn check_ceilings(
        &self,
        draft: &mut Draft<'_>,
        author: &Author,
    ) -> Result<(), Refusal> {
        let share = match author {
            Author::Claimant(_) => CLAIM_SHARE,
            _ => 1,
        };
        let full = |limit, unit| {
            log_repeated!(
                warn,
                limit,
                unit,
                "a ceiling of the store is reached: new values are refused"
            );
            Err(Refusal::StoreFull { limit, unit })
        };
        let records = self.max_records.map(|limit| limit / share);
        if let Some(limit) = records.filter(|limit| draft.rows() > *limit) {
            return full(limit, "records");
        }
        match self.max_database_bytes.map(|limit| limit / share) {
            Some(limit) if draft.octets_in_use() > limit => full(limit, "bytes"),
            _ => Ok(()),
        }
    }

    /// Checks one add against the state that `draft` has reached. Only values that would be new are counted. At a claim
    /// name room is made (W-11): tells how many claims went for it.
    pub(crate) fn check_room(
        &self,
        draft: &mut Draft<'_>,
        author: &Author,
        tag: WriterTag,
        owner: &Owner,
        value: &str,
        exemptions: &mut Exemptions<'_>,
    ) -> Result<usize, Refusal> {
        if draft.values(owner).any(|live| &*live.text == value) {
            return Ok(0);
        }
        let mut evicted = match author {
            Author::Claimant(claimant) => {
                crowding::bound_sender(draft, *claimant, owner, self.max_values_per_name)?
            }
            _ => 0,
        };
        let makes_room = ClaimName::of(owner).is_some() && crowding::may_displace(author);
        while let Some(full) = self.full(draft, owner, value) {
            let displaced = makes_room
                .then(|| crowding::displaced(draft, owner, tag))
                .flatten();
            let Some(displaced) = displaced else {
                return Err(full);
            };
            evicted += usize::from(draft.displace(owner, &displaced));
        }
        self.check_mailbox(draft, author, tag, owner, value, exemptions)?;
        Ok(evicted)
    }

    /// Checks the share of a writer in somebody else's mailbox (D13). Whether it is somebody else's is looked into only
    /// once the share is used up.
    fn check_mailbox(
        &self,
        draft: &mut Draft<'_>,
        author: &Author,
        tag: WriterTag,
        owner: &Owner,
        value: &str,
        exemptions: &mut Exemptions<'_>,
    ) -> Result<(), Refusal> {
        let Author::Subject { subject, mailboxes } = author else {
            return Ok(());
        };
        let Some(mailbox) = mailbox_of_slot(owner) else {
            return Ok(());
        };
        if mailboxes.iter().any(|own| own == mailbox) {
            return Ok(());
        }
        match self.over_share(draft, tag, owner, mailbox, value) {
            Some(over) if !exemptions.cover(draft, mailbox, subject) => Err(over),
            _ => Ok(()),
        }
    }

    /// Why one more value is more than a writer's share of a mailbox: a number over its ten slot names, and of one name
    /// half of what it may hold and half of what an answer carries, so that one writer alone can never fill it.
    fn over_share(
        &self,
        draft: &mut Draft<'_>,
        writer: WriterTag,
        owner: &Owner,
        mailbox: &str,
        value: &str,
    ) -> Option<Refusal> {
        let limit = self.max_values_per_writer_per_mailbox?;
        let own = draft.values(owner).filter(|live| live.writer == writer.0);
        let octets: u64 = own.map(|live| live.text.len() as u64).sum();
        if octets + value.len() as u64 > MAILBOX_NAME_OCTETS {
            return Some(Refusal::MailboxOctets {
                mailbox: mailbox.to_owned(),
                limit: MAILBOX_NAME_OCTETS,
            });
        }
        let over = |limit| {
            let mailbox = mailbox.to_owned();
            Some(Refusal::MailboxQuota { mailbox, limit })
        };
        let per_name = self.max_values_per_name.map(|values| values.div_ceil(2));
        if let Some(limit) =
            per_name.filter(|limit| draft.held_by(owner.as_wire(), writer) >= *limit)
        {
            return over(limit);
        }
        let mut slot = owner.as_wire().to_vec();
        // Most often the mailbox was empty, which one look tells.
        let parent = &owner.as_wire()[SLOT_DIGIT + 1..];
        let was_empty = !draft.zone().reader().has_below(parent, draft.now());
        let mut held = 0;
        for digit in b'0'..=b'9' {
            slot[SLOT_DIGIT] = digit;
            if !was_empty || draft.knows(&slot) {
                held += draft.held_by(&slot, writer);
            }
        }
        if held >= limit { over(limit) } else { None }
    }

    /// Why one more value does not fit at `owner`.
    fn full(&self, draft: &mut Draft<'_>, owner: &Owner, value: &str) -> Option<Refusal> {
        let (mut values, mut octets) = (0, value.len() as u64);
        for live in draft.values(owner) {
            values += 1;
            octets += live.text.len() as u64 + VALUE_OVERHEAD;
        }
        let many = self
            .max_values_per_name
            .is_some_and(|limit| values >= limit);
        (many || octets > NAME_CONTENT).then(|| Refusal::NameFull {
            owner: owner.clone(),
            values,
        })
    }
}

/// Where the digit stands in the wire form of `slot-<0-9>.mb-<hash>.<rest>`: behind a length octet and `slot-`.
const SLOT_DIGIT: usize = 6;

/// The hash in `slot-<0-9>.mb-<hash>.<rest>`.
fn mailbox_of_slot(owner: &Owner) -> Option<&str> {
    let mut labels = owner.labels();
    let slot = labels.next()?.strip_prefix("slot-")?;
    let hash = labels.next()?.strip_prefix("mb-")?;
    let is_slot = slot.len() == 1 && slot.bytes().all(|digit| digit.is_ascii_digit());
    is_slot.then_some(hash)
}
