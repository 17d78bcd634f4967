//! `recv` (cli.md 3.5, client.md 10, 11).

use dmp_client::ops::{Phases, ReceiveError, ReceiveReport, ReceiveRequest, receive};
use dmp_client::store::{Authorship, InboxMessage, Store};
use dmp_core::id::UnixTime;
use serde::Serialize;

use super::Outcome;
use crate::args::mail::RecvArgs;
use crate::context::Context;
use crate::exit::{Exit, Failure};
use crate::prompt::StandardInput;
use crate::report::{Body, Report, line};
use crate::screen;
use crate::time::{now, utc_of};

/// Fetches and decrypts what waits for this user.
pub(crate) async fn recv(context: &Context, args: RecvArgs) -> Outcome {
    let online = context.go_online(StandardInput::Free)?;
    let phases = match (args.primary_only, args.skip_primary) {
        (true, _) => Phases::PrimaryOnly,
        (_, true) => Phases::SkipPrimary,
        _ if online.config.recv_secondary_disable => Phases::PrimaryOncePinned,
        _ => Phases::All,
    };
    let request = ReceiveRequest {
        phases,
        ..ReceiveRequest::default()
    };
    let report = receive(&online.session(), &request).await?;
    Ok(Box::new(Mail {
        report,
        store: online.store,
    }))
}

impl From<ReceiveError> for Failure {
    fn from(error: ReceiveError) -> Self {
        Self::user(error.code(), error)
    }
}

struct Mail {
    report: ReceiveReport,
    store: Store,
}

impl Report for Mail {
    fn text(&self) -> String {
        let ReceiveReport { inbox, intros, .. } = &self.report;
        let mut text: String = inbox.iter().map(shown).collect();
        if !intros.is_empty() {
            let count = intros.len();
            text.push_str(&format!(
                "({count} new intro(s) from un-pinned senders — see `dnsmesh intro list`)\n"
            ));
        }
        if text.is_empty() {
            text.push_str("(no new messages)\n");
        }
        text
    }

    fn json(&self) -> String {
        let messages = self
            .report
            .inbox
            .iter()
            .map(|message| line("dmp.message/1", &Message::of(message)));
        let intros = self.report.intros.iter().map(|intro| {
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
        });
        messages.chain(intros).collect()
    }

    fn notes(&self) -> Vec<String> {
        let report = &self.report;
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
        if report.walked_for_first_contact {
            notes.push(
                "note: recv_secondary_disable has no effect while nobody is pinned".to_owned(),
            );
        }
        for succession in report
            .inbox
            .iter()
            .filter_map(|message| message.succession.as_ref())
        {
            notes.push(format!(
                "note: {} replaced the key {}... by {}...; the pinned key stays until you accept the new one",
                succession.contact,
                succession.old.short(),
                succession.new.short()
            ));
        }
        notes
    }

    fn printed(&self) -> Result<(), Failure> {
        let numbers: Vec<_> = self
            .report
            .inbox
            .iter()
            .map(|message| message.number)
            .collect();
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

/// One message as cli.md 3.5 prints it; behind the key stand the names that are known for it.
fn shown(message: &InboxMessage) -> String {
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
