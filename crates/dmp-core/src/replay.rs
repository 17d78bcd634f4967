//! The replay window: each message is delivered once (crypto.md 13).
//! Persists nothing and knows no clock; whoever keeps it stores [`ReplayWindow::entries`] with the message.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::id::{MsgId, UnixTime};
use crate::keys::SigningPublicKey;
use crate::limits::IN_FLIGHT_MAX_AGE;

/// What makes two sightings the same message.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ReplayKey {
    /// The key that signed the manifest.
    pub sender: SigningPublicKey,
    /// The message.
    pub msg_id: MsgId,
}

/// Messages that were delivered or quarantined, and those being worked on.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ReplayWindow {
    seen: BTreeMap<ReplayKey, UnixTime>,
    in_flight: BTreeMap<ReplayKey, UnixTime>,
}

impl ReplayWindow {
    /// Takes the message in hand; false if it was seen, or is in hand since no more than 300 s.
    ///
    /// Follow with [`ReplayWindow::finalize`] or [`ReplayWindow::release`].
    #[must_use]
    pub fn claim(&mut self, key: ReplayKey, now: UnixTime) -> bool {
        self.purge(now);
        let taken = self.is_seen(&key, now) || self.in_flight.contains_key(&key);
        if !taken {
            self.in_flight.insert(key, now);
        }
        !taken
    }

    /// Remembers the message until `exp`, its manifest's.
    pub fn finalize(&mut self, key: ReplayKey, exp: UnixTime) {
        self.in_flight.remove(&key);
        self.seen.insert(key, exp);
    }

    /// Gives the message back unseen: a lost chunk must not blacklist a live manifest.
    pub fn release(&mut self, key: &ReplayKey) {
        self.in_flight.remove(key);
    }

    /// Whether the message was seen and its manifest could still be live.
    #[must_use]
    pub fn is_seen(&self, key: &ReplayKey, now: UnixTime) -> bool {
        self.seen.get(key).is_some_and(|&exp| now <= exp)
    }

    /// Forgets what has expired, and marks left behind by a worker that crashed.
    pub fn purge(&mut self, now: UnixTime) {
        self.seen.retain(|_, exp| now <= *exp);
        self.in_flight
            .retain(|_, since| now.saturating_sub(*since) <= IN_FLIGHT_MAX_AGE);
    }

    /// What must survive a restart: the seen messages with their expiry, in key order.
    pub fn entries(&self) -> impl Iterator<Item = (ReplayKey, UnixTime)> + '_ {
        self.seen.iter().map(|(key, exp)| (*key, *exp))
    }

    /// Reads the reference's `replay_cache.json`, skipping entries that are malformed or expired; not an array: empty.
    ///
    /// An entry whose expiry is `now` is kept, since its manifest is still live.
    #[must_use]
    pub fn from_json(text: &str, now: UnixTime) -> Self {
        let Ok(Value::Array(entries)) = serde_json::from_str(text) else {
            return Self::default();
        };
        entries
            .iter()
            .filter_map(read_entry)
            .filter(|(_, exp)| now <= *exp)
            .collect()
    }

    /// Writes the reference's `replay_cache.json`.
    #[must_use]
    pub fn to_json(&self) -> String {
        let entries: Vec<String> = self
            .entries()
            .map(|(ReplayKey { sender, msg_id }, exp)| {
                format!("[\"{sender}\", \"{msg_id}\", {exp}]")
            })
            .collect();
        format!("[{}]", entries.join(", "))
    }
}

impl FromIterator<(ReplayKey, UnixTime)> for ReplayWindow {
    fn from_iter<I: IntoIterator<Item = (ReplayKey, UnixTime)>>(entries: I) -> Self {
        Self {
            seen: entries.into_iter().collect(),
            in_flight: BTreeMap::new(),
        }
    }
}

fn read_entry(entry: &Value) -> Option<(ReplayKey, UnixTime)> {
    let [sender, msg_id, exp] = entry.as_array()?.as_slice() else {
        return None;
    };
    // The reference also takes digits in quotes.
    let exp = exp.as_u64().or_else(|| exp.as_str()?.parse().ok())?;
    let sender = SigningPublicKey::from_hex(sender.as_str()?).ok()?;
    let msg_id = MsgId::from_hex(msg_id.as_str()?).ok()?;
    Some((ReplayKey { sender, msg_id }, UnixTime::new(exp)))
}
