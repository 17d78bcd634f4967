//! One attempt at one message: publish what has to be published, tell others, look whether it shows. Decides nothing about when.

use super::super::{Provider, Session};
use super::announce::{Announcement, announce};
use super::publish::{PublishFailure, publish};
use super::schedule;
use crate::error::StoreError;
use crate::limits::NODE_MAX_TTL;
use crate::mesh::Message;
use crate::store::{LeasedEntry, OutboxEntry, OutboxState, Store};

/// An entry in work. Dropped unfinished, it keeps what was reached and gives the entry free.
pub(in crate::ops) struct Work<'a> {
    store: &'a Store,
    leased: LeasedEntry,
    is_finished: bool,
}

/// What one attempt came to.
#[derive(Debug, Default)]
pub(in crate::ops) struct Attempt {
    /// The requests to the own node, in order.
    pub(in crate::ops) messages: Vec<Message>,
    /// Why the values are not published.
    pub(in crate::ops) failure: Option<PublishFailure>,
    /// What others were told.
    pub(in crate::ops) announcement: Announcement,
}

impl<'a> Work<'a> {
    pub(in crate::ops) const fn new(store: &'a Store, leased: LeasedEntry) -> Self {
        Self {
            store,
            leased,
            is_finished: false,
        }
    }

    pub(in crate::ops) const fn entry(&self) -> &OutboxEntry {
        &self.leased.entry
    }

    pub(super) const fn entry_mut(&mut self) -> &mut OutboxEntry {
        &mut self.leased.entry
    }

    /// Makes the outcome durable and gives the entry free.
    pub(in crate::ops) fn finish(mut self) -> Result<OutboxEntry, StoreError> {
        self.is_finished = true;
        self.leased.entry.worker = None;
        self.store.release_outbox(&self.leased)?;
        Ok(self.leased.entry.clone())
    }
}

impl Drop for Work<'_> {
    fn drop(&mut self) {
        if !self.is_finished {
            // A store that fails here leaves the lease to its end; the same bytes are published then.
            let _ = self.store.release_outbox(&self.leased);
        }
    }
}

/// Tries once.
pub(in crate::ops) async fn deliver(
    session: &Session<'_>,
    work: &mut Work<'_>,
    providers: &[Provider],
) -> Attempt {
    let mut attempt = Attempt::default();
    let entry = &mut work.leased.entry;
    let now = session.clock.now();
    if entry.item.expires < now {
        entry.state = OutboxState::Expired;
        entry.due = None;
        return attempt;
    }
    if schedule::needs_publication(entry, now) {
        entry.attempts = entry.attempts.saturating_add(1);
        // One second at least: 0 is no lifetime.
        let mut ttl = entry
            .item
            .expires
            .saturating_sub(now)
            .clamp(1, NODE_MAX_TTL);
        if entry.delivery.ttl > 0 {
            ttl = ttl.min(entry.delivery.ttl);
        }
        match publish(session, &mut entry.item, ttl).await {
            Err(failure) => {
                schedule::after_failure(entry, &failure, session.clock.now());
                attempt.failure = Some(failure);
                return attempt;
            }
            Ok(publication) => {
                let delivery = &mut entry.delivery;
                delivery.ttl = publication.ttl;
                delivery.kept_until = Some(now.saturating_add(publication.ttl));
                delivery.missing = publication.missing;
                delivery.seen = None;
                delivery.announced_in.clear();
                delivery.setbacks = 0;
                attempt.messages = publication.messages;
            }
        }
    }
    attempt.announcement = announce(session, &entry.item, &entry.delivery, providers).await;
    let undone = learn(entry, &attempt.announcement, session);
    schedule::after_publication(entry, undone, session.clock.now());
    attempt
}

/// Keeps what was reached; what is worth another attempt, in words.
fn learn(
    entry: &mut OutboxEntry,
    announcement: &Announcement,
    session: &Session<'_>,
) -> Option<String> {
    let mut undone = Vec::new();
    let delivery = &mut entry.delivery;
    if delivery.missing > 0 {
        undone.push(format!("{} chunk(s) are not stored", delivery.missing));
    }
    if announcement.seen {
        delivery.seen = delivery.seen.or_else(|| Some(session.clock.now()));
    } else {
        undone.push("the resolvers do not show it yet".to_owned());
    }
    let notice = entry.item.notice_zone.clone();
    let at_recipient = notice.into_iter().zip(announcement.recipient.clone());
    for (zone, outcome) in announcement.providers.iter().cloned().chain(at_recipient) {
        match outcome {
            Ok(()) if delivery.announced_in.contains(&zone) => {}
            Ok(()) => delivery.announced_in.push(zone),
            Err(error) if schedule::is_claim_retried(&error) => {
                let words = format!("{zone} was not told: {error}");
                if !undone.contains(&words) {
                    undone.push(words);
                }
            }
            Err(error) => {
                if !delivery.refused_in.iter().any(|(known, _)| *known == zone) {
                    delivery.refused_in.push((zone, error.to_string()));
                }
            }
        }
    }
    (!undone.is_empty()).then(|| undone.join("; "))
}
