//! How received messages look, as text and as JSON (cli.md 3.5). Fetches nothing.

use dmp_client::limits::PREKEYS_LOW;
use dmp_client::ops::{Dropped, ReceiveReport};
use dmp_client::store::{Authorship, InboxMessage, Intro, Store};
use dmp_core::id::UnixTime;
use serde::Serialize;

use crate::exit::{Exit, Failure};
use crate::report::{Body, Report, line};
use crate::screen;
use crate::time::{now, utc_of};

/// How much to tell.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Detail {
    /// Messages, and what the user has to know.
    Messages,
    /// Also what was dropped and why, and the state of the mailbox.
    Everything,
}

/// What one run found.
pub(super) struct Mail<'a> {
    pub(super) report: &'a ReceiveReport,
    /// Its messages, or none if a command has them.
    pub(super) messages: &'a [InboxMessage],
    pub(super) store: &'a Store,
    pub(super) detail: Detail,
}

impl Report for Mail<'_> {
    fn text(&self) -> String {
        let ReceiveReport { inbox, intros, .. } = self.report;
        let mut text: String = self.messages.iter().map(text_of).collect();
        text.push_str(&intros_line(intros));
        if inbox.is_empty() && intros.is_empty() {
            text.push_str("(no new messages)\n");
        }
        text
    }

    fn json(&self) -> String {
        let mut json: String = self.messages.iter().map(json_of).collect();
        json.extend(self.report.intros.iter().map(intro_json));
        if self.detail == Detail::Everything {
            json.extend(self.report.dropped.iter().map(dropped_json));
            json.push_str(&summary_json(self.report));
        }
        json
    }

    fn notes(&self) -> Vec<String> {
        let report = self.report;
        let mut notes = Vec::new();
        for zone in &report.unreachable {
            let how_much = if zone.partly {
                "could be asked only in part"
            } else {
                "could not be asked"
            };
            notes.push(format!(
                "warning: {} {how_much}: {}",
                zone.zone, zone.reason
            ));
        }
        if report.timed_out {
            notes.push(
                "warning: the run was ended by its deadline; run it again for the rest".to_owned(),
            );
        }
        if report.waiting > 0 {
            notes.push(format!(
                "note: {} message(s) are not complete yet; a later run tries again",
                report.waiting
            ));
        }
        notes.extend(standing_notes(report));
        if self.detail == Detail::Everything {
            notes.push(format!(
                "note: {} one-time key(s) are left for senders",
                report.live_prekeys
            ));
            // In JSON they are objects of the output.
            notes.extend(report.dropped.iter().map(dropped_text));
        }
        notes
    }

    fn printed(&self) -> Result<(), Failure> {
        let numbers: Vec<_> = self.messages.iter().map(|message| message.number).collect();
        Ok(self.store.mark_shown(&numbers, UnixTime::new(now()))?)
    }

    fn exit(&self) -> Exit {
        if self.report.is_cut_off() {
            Exit::Remote
        } else {
            Exit::Done
        }
    }
}

/// Notes that hold for a run of any kind.
pub(super) fn standing_notes(report: &ReceiveReport) -> Vec<String> {
    let mut notes = Vec::new();
    if report.walked_for_first_contact {
        notes.push("note: recv_secondary_disable has no effect while nobody is pinned".to_owned());
    }
    for succession in report
        .inbox
        .iter()
        .filter_map(|message| message.succession.as_ref())
    {
        notes.push(format!(
            "note: {0} replaced the key {1}... by {2}...; the pinned key stays until `dnsmesh contacts accept-key {0}`",
            succession.contact,
            succession.old.short(),
            succession.new.short()
        ));
    }
    if report.given_up > 0 {
        notes.push(format!(
            "note: {} waiting message(s) of strangers were given up: too many wait, or they waited too long",
            report.given_up
        ));
    }
    if report.live_prekeys < PREKEYS_LOW {
        notes.push(format!(
            "note: {} one-time key(s) are left for senders, without one a message has no forward secrecy; run `dnsmesh identity refresh-prekeys`",
            report.live_prekeys
        ));
    }
    notes
}

/// The line that counts new rows of the quarantine, if there are any.
pub(super) fn intros_line(intros: &[Intro]) -> String {
    if intros.is_empty() {
        return String::new();
    }
    format!(
        "({} new intro(s) from un-pinned senders — see `dnsmesh intro list`)\n",
        intros.len()
    )
}

/// A new row of the quarantine.
pub(super) fn intro_json(intro: &Intro) -> String {
    #[derive(Serialize)]
    struct Members<'a> {
        id: i64,
        signing_public_key: String,
        reason: &'a str,
    }
    let members = Members {
        id: intro.id.get(),
        signing_public_key: intro.signer.to_string(),
        reason: &intro.reason.code,
    };
    line("dmp.intro/1", &members)
}

/// Something that was not delivered, for people.
pub(super) fn dropped_text(dropped: &Dropped) -> String {
    let whose = match (&dropped.signer, &dropped.msg_id) {
        (Some(signer), Some(msg_id)) => format!(" (message {msg_id} of {}...)", signer.short()),
        _ => String::new(),
    };
    format!(
        "dropped: {} in {}{whose} [{}]",
        dropped.reason, dropped.zone, dropped.code
    )
}

/// Something that was not delivered, for programs.
pub(super) fn dropped_json(dropped: &Dropped) -> String {
    #[derive(Serialize)]
    struct Members<'a> {
        code: &'a str,
        reason: &'a str,
        zone: String,
        signing_public_key: Option<String>,
        msg_id: Option<String>,
    }
    let members = Members {
        code: dropped.code,
        reason: &dropped.reason,
        zone: dropped.zone.to_string(),
        signing_public_key: dropped.signer.map(|key| key.to_string()),
        msg_id: dropped.msg_id.map(|id| id.to_string()),
    };
    line("dmp.dropped/1", &members)
}

/// The run in numbers.
fn summary_json(report: &ReceiveReport) -> String {
    #[derive(Serialize)]
    struct Members {
        messages: usize,
        intros: usize,
        dropped: usize,
        incomplete: usize,
        given_up: usize,
        zones_reached: usize,
        zones_unreachable: Vec<String>,
        prekeys_left: usize,
        queries: usize,
    }
    let members = Members {
        messages: report.inbox.len(),
        intros: report.intros.len(),
        dropped: report.dropped.len(),
        incomplete: report.waiting,
        given_up: report.given_up,
        zones_reached: report.answered.len(),
        zones_unreachable: report
            .unreachable
            .iter()
            .map(|zone| zone.zone.to_string())
            .collect(),
        prekeys_left: report.live_prekeys,
        queries: report.queries,
    };
    line("dmp.recv/1", &members)
}

/// One message for programs.
pub(super) fn json_of(message: &InboxMessage) -> String {
    line("dmp.message/1", &Message::of(message))
}

/// One message as cli.md 3.5 prints it; behind the key stand the names that are known for it.
pub(super) fn text_of(message: &InboxMessage) -> String {
    let mut names = String::new();
    if let Some(contact) = &message.contact {
        names.push_str(&format!("  {}", screen::line(contact)));
    }
    if let Some(address) = message
        .address
        .as_ref()
        .filter(|address| message.contact.as_deref() != Some(address.as_str()))
    {
        names.push_str(&format!("  <{address}>"));
    }
    if message.authorship != Authorship::Proven {
        names.push_str("  (unverified)");
    }
    let body = screen::indented_body(&message.body);
    format!(
        "from {}...{names}\n  ts={}\n{body}\n\n",
        message.signer.short(),
        message.ts.as_secs()
    )
}

#[derive(Serialize)]
struct Message<'a> {
    from: Sender<'a>,
    msg_id: String,
    sent_at: String,
    received_at: String,
    expires_at: String,
    fs: bool,
    #[serde(flatten)]
    body: Body<'a>,
}

#[derive(Serialize)]
struct Sender<'a> {
    contact: Option<&'a str>,
    address: Option<String>,
    signing_public_key: String,
    authorship: Authorship,
}

impl<'a> Message<'a> {
    fn of(message: &'a InboxMessage) -> Self {
        Self {
            from: Sender {
                contact: message.contact.as_deref(),
                address: message.address.as_ref().map(ToString::to_string),
                signing_public_key: message.signer.to_string(),
                authorship: message.authorship,
            },
            msg_id: message.msg_id.to_string(),
            sent_at: utc_of(message.ts),
            received_at: utc_of(message.received),
            expires_at: utc_of(message.expires),
            fs: message.prekey.is_some(),
            body: Body::of(&message.body),
        }
    }
}
