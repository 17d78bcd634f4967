//! One message of the outbox as text and as JSON. Its own text is not kept, so it is never shown.

use dmp_client::store::{MessageKey, OutboxEntry, OutboxState};
use dmp_core::owner::manifest_owner;
use serde::Serialize;

use super::state_in_words;
use crate::report::{Report, line};
use crate::screen;
use crate::time::utc_of;

/// Several messages, a line each.
pub(super) struct Listed {
    pub(super) entries: Vec<OutboxEntry>,
    /// How many are left out.
    pub(super) hidden: usize,
}

impl Report for Listed {
    fn text(&self) -> String {
        if self.entries.is_empty() {
            return "(the outbox is empty)\n".to_owned();
        }
        self.entries
            .iter()
            .map(|entry| {
                let next = match entry.due {
                    Some(due) => format!("  next attempt {}", utc_of(due)),
                    None => String::new(),
                };
                format!(
                    "{}  {}  {}  expires {}{next}\n",
                    entry.id.get(),
                    screen::line(&entry.item.contact),
                    screen::line(&state_in_words(&entry.state)),
                    utc_of(entry.item.expires)
                )
            })
            .collect()
    }

    fn json(&self) -> String {
        self.entries.iter().map(json).collect()
    }

    fn notes(&self) -> Vec<String> {
        if self.hidden > 0 {
            vec![format!(
                "note: {} expired message(s) are not shown; --all shows them",
                self.hidden
            )]
        } else {
            Vec::new()
        }
    }
}

/// One message with everything that is known of it.
pub(super) struct Shown(pub(super) OutboxEntry);

impl Report for Shown {
    fn text(&self) -> String {
        let OutboxEntry {
            id,
            created,
            state,
            attempts,
            due,
            item,
            delivery,
            worker,
        } = &self.0;
        let mut rows = vec![
            ("message", id.get().to_string()),
            ("to", item.contact.clone()),
            ("msg_id", item.msg_id.to_string()),
            ("state", state_in_words(state)),
            ("recorded", utc_of(*created)),
            ("expires", utc_of(item.expires)),
        ];
        if let Some(until) = delivery.kept_until {
            rows.push(("in the node until", utc_of(until)));
        }
        if let Some(due) = due {
            rows.push(("next attempt", utc_of(*due)));
        }
        rows.push(("attempts", attempts.to_string()));
        if let Some(process) = worker {
            rows.push(("in work by", format!("process {process}")));
        }
        rows.push((
            "chunks",
            format!(
                "{} of {} stored, {} needed",
                stored_chunks(&self.0),
                item.chunks.len(),
                item.needed
            ),
        ));
        rows.push(("slot", slot_owner(&self.0)));
        rows.push((
            "forward secrecy",
            match &item.key {
                MessageKey::LongTerm { reason } => format!("no: {reason}"),
                MessageKey::Prekey { expires, .. } if *expires < item.expires => {
                    format!("yes; surely opened until {}", utc_of(*expires))
                }
                MessageKey::Prekey { .. } => "yes".to_owned(),
            },
        ));
        rows.push((
            "read back",
            delivery.seen.map_or_else(|| "not yet".to_owned(), utc_of),
        ));
        for zone in &delivery.announced_in {
            rows.push(("told to", zone.to_string()));
        }
        for (zone, reason) in &delivery.refused_in {
            rows.push(("not told to", format!("{zone}: {reason}")));
        }
        if let Some(error) = &delivery.last_error {
            rows.push(("last error", error.clone()));
        }
        if let Some(at) = delivery.cancelled {
            rows.push(("cancelled", utc_of(at)));
        }
        rows.iter()
            .map(|(name, value)| format!("{:<19}{}\n", format!("{name}:"), screen::line(value)))
            .collect()
    }

    fn json(&self) -> String {
        json(&self.0)
    }
}

/// The message as `dmp.outbox/1`.
pub(super) fn json(entry: &OutboxEntry) -> String {
    #[derive(Serialize)]
    struct Refusal<'a> {
        zone: &'a str,
        reason: &'a str,
    }
    #[derive(Serialize)]
    struct Members<'a> {
        id: i64,
        to: &'a str,
        msg_id: String,
        state: &'static str,
        reason: Option<&'a str>,
        recorded_at: String,
        expires_at: String,
        kept_until: Option<String>,
        next_attempt_at: Option<String>,
        attempts: u32,
        process: Option<u32>,
        chunks: usize,
        chunks_stored: usize,
        chunks_needed: usize,
        slot_owner: String,
        fs: bool,
        no_fs_reason: Option<&'a str>,
        opens_until: Option<String>,
        read_back_at: Option<String>,
        announced_in: Vec<&'a str>,
        refused_in: Vec<Refusal<'a>>,
        last_error: Option<&'a str>,
        cancelled_at: Option<String>,
    }
    let OutboxEntry { item, delivery, .. } = entry;
    let (no_fs_reason, opens_until) = match &item.key {
        MessageKey::LongTerm { reason } => (Some(reason.as_str()), None),
        MessageKey::Prekey { expires, .. } => {
            (None, Some(*expires).filter(|until| *until < item.expires))
        }
    };
    let members = Members {
        id: entry.id.get(),
        to: &item.contact,
        msg_id: item.msg_id.to_string(),
        state: entry.state.name(),
        reason: match &entry.state {
            OutboxState::Failed { reason } => Some(reason),
            _ => None,
        },
        recorded_at: utc_of(entry.created),
        expires_at: utc_of(item.expires),
        kept_until: delivery.kept_until.map(utc_of),
        next_attempt_at: entry.due.map(utc_of),
        attempts: entry.attempts,
        process: entry.worker,
        chunks: item.chunks.len(),
        chunks_stored: stored_chunks(entry),
        chunks_needed: item.needed,
        slot_owner: slot_owner(entry),
        fs: item.prekey().is_some(),
        no_fs_reason,
        opens_until: opens_until.map(utc_of),
        read_back_at: delivery.seen.map(utc_of),
        announced_in: delivery
            .announced_in
            .iter()
            .map(|zone| zone.as_str())
            .collect(),
        refused_in: delivery
            .refused_in
            .iter()
            .map(|(zone, reason)| Refusal {
                zone: zone.as_str(),
                reason,
            })
            .collect(),
        last_error: delivery.last_error.as_deref(),
        cancelled_at: delivery.cancelled.map(utc_of),
    };
    line("dmp.outbox/1", &members)
}

/// Chunks that the node confirmed, as far as this side knows.
fn stored_chunks(entry: &OutboxEntry) -> usize {
    let chunks = entry.item.chunks.len();
    match (entry.delivery.kept_until, &entry.state) {
        (Some(_), _) => chunks - entry.delivery.missing,
        (None, OutboxState::Publishing { stored, .. }) => *stored.min(&chunks),
        (None, _) => 0,
    }
}

fn slot_owner(entry: &OutboxEntry) -> String {
    let item = &entry.item;
    manifest_owner(&item.recipient, item.slot, &item.zone).into_string()
}
