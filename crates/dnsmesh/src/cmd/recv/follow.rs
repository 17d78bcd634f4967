//! `recv --follow`: looks again and again, hands messages over as they come, tells changes of the network once.
//!
//! Whatever ends it, nothing is lost: a message is in the store before it is printed, and counts as shown only after the write.

use std::collections::BTreeSet;
use std::time::Duration;

use dmp_client::cluster::{RefreshError, Refreshed};
use dmp_client::error::StoreError;
use dmp_client::limits::{CLUSTER_SETTLE, FOLLOW_RUN_MIN, RECEIVE_DEADLINE};
use dmp_client::mesh::system_random;
use dmp_client::ops::outbox::{self, AdvanceRequest};
use dmp_client::ops::{ReceiveError, ReceiveReport, ReceiveRequest, Rhythm, clear_away, receive};
use dmp_core::id::UnixTime;
use tokio::time::{Instant, sleep_until};

use super::mail::{
    Detail, dropped_json, dropped_text, intro_json, intros_line, json_of, standing_notes, text_of,
};
use super::outages::Outages;
use super::{detail, hand_over, phases};
use crate::args::mail::RecvArgs;
use crate::cmd::identity::upkeep;
use crate::context::{Context, Online};
use crate::exit::{Exit, Failure};
use crate::report::Format;
use crate::terminal;
use crate::time::now;

/// What a run tells besides messages, remembered so that it is told when it changes.
#[derive(Default)]
struct Told {
    outages: Outages,
    notes: Vec<String>,
    is_waiting_for_other: bool,
    cluster: String,
    /// Publishers and nodes that did not take everything.
    failing: BTreeSet<String>,
}

/// Runs until the time is over, the reader of the output is gone, or the store fails. Ctrl-C ends the process from outside.
pub(super) async fn follow(
    context: &Context,
    online: Online,
    args: &RecvArgs,
) -> Result<Exit, Failure> {
    let interval = |seconds: i64| Duration::from_secs(u64::try_from(seconds).unwrap_or(0));
    let mut rhythm = Rhythm::new(
        phases(args, &online),
        interval(online.config.recv_primary_interval_seconds),
        interval(online.config.recv_secondary_interval_seconds),
    );
    let end = args
        .span
        .map(|seconds| Instant::now() + Duration::from_secs(seconds));
    let mut told = Told::default();
    let mut turn = rhythm.first();
    loop {
        let due = Instant::now() + turn.wait;
        if let Some(end) = end.filter(|end| *end <= due) {
            sleep_until(end).await;
            return Ok(Exit::Done);
        }
        sleep_until(due).await;
        // Resolvers that were given up for one run deserve another try, and a cluster may have changed.
        if let Some(found) = online.connection.begin_run().await {
            tell_cluster(context.format, found, &mut told);
        }
        let left = end.map_or(RECEIVE_DEADLINE, |end| {
            end.saturating_duration_since(Instant::now())
        });
        let request = ReceiveRequest {
            phases: turn.phases,
            deadline: left.clamp(FOLLOW_RUN_MIN, RECEIVE_DEADLINE),
            work: "dnsmesh recv --follow",
        };
        let report = match receive(&online.session(), &request).await {
            Ok(report) => {
                told.is_waiting_for_other = false;
                report
            }
            Err(ReceiveError::Store(locked @ StoreError::Locked { .. })) => {
                if !std::mem::replace(&mut told.is_waiting_for_other, true) {
                    context.format.note(&format!("note: {locked}; waiting"));
                }
                turn = rhythm.next(&ReceiveReport::default(), &mut system_random());
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        turn = rhythm.next(&report, &mut system_random());
        tell_notes(context.format, &report, &mut told, detail(args));
        context.note_damage();
        if !hand_out(context, &online, args, report).await? {
            return Ok(Exit::Done);
        }
        send_due(&online).await?;
        let failures = online.connection.aftermath.take_failures(CLUSTER_SETTLE);
        for (name, failure) in failures.await {
            let note = format!("warning: {name}: {failure}");
            if told.failing.insert(name) {
                context.format.note(&note);
            }
        }
    }
}

/// Sends on what is due in the outbox; `outbox list` tells how it stands.
async fn send_due(online: &Online) -> Result<(), Failure> {
    let due = online.store.next_outbox_due()?;
    if due.is_some_and(|due| due.as_secs() <= now()) {
        outbox::advance(&online.session(), &AdvanceRequest::default()).await?;
    }
    Ok(())
}

/// Tells that a cluster has other nodes now, or once why that cannot be known.
fn tell_cluster(format: Format, found: Result<Refreshed, RefreshError>, told: &mut Told) {
    let note = match found {
        Ok(Refreshed::Kept) => String::new(),
        Ok(Refreshed::Moved { seq }) => format!("note: the cluster's manifest has seq {seq} now"),
        Err(error) => format!("warning: the cluster goes on with the manifest it has: {error}"),
    };
    if !note.is_empty() && note != told.cluster {
        format.note(&note);
    }
    told.cluster = note;
}

/// Tells what has changed since the last run.
fn tell_notes(format: Format, report: &ReceiveReport, told: &mut Told, detail: Detail) {
    for line in told.outages.note(report) {
        format.note(&line);
    }
    let notes = standing_notes(report);
    for note in notes.iter().filter(|note| !told.notes.contains(note)) {
        format.note(note);
    }
    told.notes = notes;
    if detail == Detail::Everything && format == Format::Text {
        for dropped in &report.dropped {
            format.note(&dropped_text(dropped));
        }
    }
}

/// Hands over what came and clears it away; `false` if nobody reads the output any more.
async fn hand_out(
    context: &Context,
    online: &Online,
    args: &RecvArgs,
    report: ReceiveReport,
) -> Result<bool, Failure> {
    if args.exec.is_some() {
        hand_over(context, online, args, &report).await?;
    } else {
        for message in &report.inbox {
            let text = match context.format {
                Format::Text => text_of(message),
                Format::Json => json_of(message),
            };
            // An interrupt in between would show the message twice; a crash may.
            let _undivided = terminal::undivided();
            if !context.format.put(&text)? {
                return Ok(false);
            }
            online
                .store
                .mark_shown(&[message.number], UnixTime::new(now()))?;
        }
    }
    let rest = match context.format {
        Format::Text => intros_line(&report.intros),
        Format::Json => {
            let mut json: String = report.intros.iter().map(intro_json).collect();
            if detail(args) == Detail::Everything {
                json.extend(report.dropped.iter().map(dropped_json));
            }
            json
        }
    };
    if !context.format.put(&rest)? {
        return Ok(false);
    }
    clear_away(&online.session(), &report).await?;
    upkeep(context, online).await?;
    Ok(true)
}
