//! `outbox` (cli.md 3.16, D21): what became of messages on their way, try again, take back. And the work on it beside other verbs.

mod entry;
mod retry;

use std::sync::Arc;
use std::time::Duration;

use dmp_client::ops::outbox::{AdvanceRequest, CancelError, Cancelled, Deletion, advance, cancel};
use dmp_client::store::{OutboxEntry, OutboxId, OutboxState};
use dmp_core::id::UnixTime;
use serde::Serialize;

use self::entry::{Listed, Shown};
use super::Outcome;
use super::identity::cause;
use crate::args::mail::OutboxCommand;
use crate::context::{Context, Online};
use crate::exit::{Exit, Failure};
use crate::prompt::StandardInput;
use crate::report::{Report, line};
use crate::screen;
use crate::time::{now, utc_of};

/// Time for earlier messages beside a verb: two transports of an UPDATE to a node that does not answer are cut off.
const ASIDE_DEADLINE: Duration = Duration::from_secs(5);

/// Does what the command line asks.
pub(super) async fn perform(context: &Context, command: OutboxCommand) -> Outcome {
    match command {
        OutboxCommand::List { all } => {
            let (_, store) = context.unlock_store(StandardInput::Free)?;
            let mut entries = store.outbox()?;
            let total = entries.len();
            if !all {
                entries.retain(|entry| entry.item.expires >= UnixTime::new(now()));
            }
            Ok(Box::new(Listed {
                hidden: total - entries.len(),
                entries,
            }))
        }
        OutboxCommand::Show { id } => {
            let (_, store) = context.unlock_store(StandardInput::Free)?;
            let entry = store.outbox_entry(OutboxId::new(id))?;
            Ok(Box::new(Shown(entry.ok_or_else(|| unknown(id))?)))
        }
        OutboxCommand::Retry { id, all } => retry::retry(context, id, all).await,
        OutboxCommand::Cancel { id } => {
            let online = context.go_online(StandardInput::Free).await?;
            let cancelled = cancel(&online.session(), OutboxId::new(id)).await?;
            Ok(Box::new(Taken(cancelled)))
        }
    }
}

/// Takes up what is due beside a verb. What it did is told in one line once the verb has said its own; a failure here is none of the
/// verb's: the entries wait for another time.
pub(super) fn aside(context: &Context, online: &Arc<Online>) {
    let due = online.store.next_outbox_due().ok().flatten();
    if due.is_none_or(|due| due > UnixTime::new(now())) {
        return;
    }
    let online = Arc::clone(online);
    context.beside.start(async move || {
        let request = AdvanceRequest {
            deadline: ASIDE_DEADLINE,
            ..AdvanceRequest::default()
        };
        let report = advance(&online.session_aside(), &request).await.ok()?;
        let outcomes: Vec<String> = report
            .entries
            .iter()
            .map(|advanced| outcome(&advanced.entry))
            .collect();
        let more = if report.left > 0 {
            format!("; {} more wait", report.left)
        } else {
            String::new()
        };
        (!outcomes.is_empty()).then(|| format!("note: outbox: {}{more}", outcomes.join("; ")))
    });
}

/// `7 to bob: announced`.
fn outcome(entry: &OutboxEntry) -> String {
    let mut words = format!(
        "{} to {}: {}",
        entry.id.get(),
        entry.item.contact,
        state_in_words(&entry.state)
    );
    if let (false, Some(error)) = (entry.state.is_over(), &entry.delivery.last_error) {
        words.push_str(&format!(" ({error})"));
    }
    words
}

/// The state as people read it.
pub(super) fn state_in_words(state: &OutboxState) -> String {
    match state {
        OutboxState::Publishing { stored, total } => format!("publishing {stored}/{total}"),
        OutboxState::Failed { reason } => format!("failed ({reason})"),
        state => state.name().to_owned(),
    }
}

fn unknown(id: i64) -> Failure {
    Failure::user(
        "outbox-unknown",
        format!("no message with number {id} in the outbox"),
    )
    .hint("`dnsmesh outbox list --all` shows all of them")
}

impl From<CancelError> for Failure {
    fn from(error: CancelError) -> Self {
        match &error {
            CancelError::Unknown(id) => unknown(id.get()),
            CancelError::Busy { .. } => Self::new(error.fault(), error.code(), &error)
                .hint("nothing was changed; try again in a moment"),
            _ => Self::new(error.fault(), error.code(), &error).hint("nothing was changed"),
        }
    }
}

/// The outcome of `outbox cancel`.
struct Taken(Cancelled);

impl Report for Taken {
    fn text(&self) -> String {
        let OutboxEntry { id, item, .. } = &self.0.entry;
        format!(
            "cancelled message {} to {}\n",
            id.get(),
            screen::line(&item.contact)
        )
    }

    fn json(&self) -> String {
        #[derive(Serialize)]
        struct Members<'a> {
            id: i64,
            to: &'a str,
            msg_id: String,
            before: &'static str,
            deleted: bool,
            readable_until: Option<String>,
        }
        let entry = &self.0.entry;
        let readable_until = match &self.0.deletion {
            Deletion::Done => None,
            Deletion::Refused { readable_until, .. } => Some(utc_of(*readable_until)),
        };
        line(
            "dmp.outbox-cancelled/1",
            &Members {
                id: entry.id.get(),
                to: &entry.item.contact,
                msg_id: entry.item.msg_id.to_string(),
                before: self.0.before.name(),
                deleted: readable_until.is_none(),
                readable_until,
            },
        )
    }

    fn notes(&self) -> Vec<String> {
        match &self.0.deletion {
            Deletion::Done => vec![
                "note: its records are deleted from the node; resolvers may remember them for a while, and who has read it has read it"
                    .to_owned(),
            ],
            Deletion::Refused {
                error,
                readable_until,
            } => vec![format!(
                "note: it is not published any more, but what was published may still be read until {} ({})",
                utc_of(*readable_until),
                cause(error)
            )],
        }
    }

    fn exit(&self) -> Exit {
        Exit::Done
    }
}
