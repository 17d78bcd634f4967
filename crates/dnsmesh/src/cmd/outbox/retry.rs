//! `outbox retry`: another attempt now, whatever the waits say.

use dmp_client::ops::outbox::{AdvanceReport, AdvanceRequest, Selection, advance};
use dmp_client::store::{OutboxEntry, OutboxId, OutboxState};

use super::entry::json;
use super::{Outcome, outcome, state_in_words, unknown};
use crate::context::{Context, Online};
use crate::exit::{Exit, Failure};
use crate::prompt::StandardInput;
use crate::report::Report;
use crate::screen;
use crate::time::utc_of;

/// Tries one message, all, or those whose time has come.
pub(super) async fn retry(context: &Context, id: Option<i64>, all: bool) -> Outcome {
    let online = context.go_online(StandardInput::Free).await?;
    let selection = match id {
        Some(id) => {
            check(&online, id)?;
            Selection::Entry(OutboxId::new(id))
        }
        None if all => Selection::All,
        None => Selection::Due,
    };
    let mut tried = Tried::default();
    loop {
        let request = AdvanceRequest {
            selection,
            ..AdvanceRequest::default()
        };
        let report = advance(&online.session(), &request).await?;
        // With --all the same entries would come again: what a pass leaves is for the next call.
        let again = selection == Selection::Due && report.left > 0 && !report.timed_out;
        tried.add(report);
        if !again {
            break;
        }
    }
    Ok(Box::new(tried))
}

/// Whether another attempt at this message makes sense.
fn check(online: &Online, id: i64) -> Result<(), Failure> {
    let entry = online.store.outbox_entry(OutboxId::new(id))?;
    let OutboxEntry {
        state,
        item,
        delivery,
        ..
    } = entry.ok_or_else(|| unknown(id))?;
    let over = |reason: String| {
        Err(Failure::user("outbox-over", reason).hint("nothing was published; send the text again"))
    };
    if delivery.cancelled.is_some() {
        return over(format!("message {id} was cancelled"));
    }
    if state == OutboxState::Expired {
        return over(format!("message {id} expired at {}", utc_of(item.expires)));
    }
    Ok(())
}

#[derive(Default)]
struct Tried {
    entries: Vec<OutboxEntry>,
    busy: Vec<(OutboxId, u32)>,
    left: usize,
    timed_out: bool,
}

impl Tried {
    fn add(&mut self, report: AdvanceReport) {
        self.entries
            .extend(report.entries.into_iter().map(|advanced| advanced.entry));
        self.busy = report.busy;
        self.left = report.left;
        self.timed_out |= report.timed_out;
    }
}

impl Report for Tried {
    fn text(&self) -> String {
        if self.entries.is_empty() {
            return "(nothing to do)\n".to_owned();
        }
        self.entries
            .iter()
            .map(|entry| {
                format!(
                    "{}  {}  {}\n",
                    entry.id.get(),
                    screen::line(&entry.item.contact),
                    screen::line(&state_in_words(&entry.state))
                )
            })
            .collect()
    }

    fn json(&self) -> String {
        self.entries.iter().map(json).collect()
    }

    fn notes(&self) -> Vec<String> {
        let mut notes: Vec<String> = self
            .entries
            .iter()
            .filter(|entry| !entry.state.is_over() && entry.delivery.last_error.is_some())
            .map(|entry| format!("note: {}", outcome(entry)))
            .collect();
        notes.extend(self.busy.iter().map(|(id, process)| {
            format!(
                "note: {} is being published by process {process} at this moment",
                id.get()
            )
        }));
        if self.left > 0 {
            notes.push(format!(
                "note: {} more wait; run it again for them",
                self.left
            ));
        }
        if self.timed_out {
            notes.push("warning: the run was ended by its deadline; run it again".to_owned());
        }
        notes
    }

    /// Done if every message that was tried is in its zone by now.
    fn exit(&self) -> Exit {
        let is_published =
            |entry: &OutboxEntry| !entry.state.is_over() && entry.delivery.kept_until.is_some();
        if self.timed_out || !self.busy.is_empty() || !self.entries.iter().all(is_published) {
            Exit::Remote
        } else {
            Exit::Done
        }
    }
}
