//! `intro`: messages of senders nobody pinned (cli.md 3.6, D6). No network.

mod denylist;

use dmp_client::connect;
use dmp_client::ops::{
    IntroError, intros_accept, intros_block, intros_list, intros_purge, intros_trust,
};
use dmp_client::store::{Contact, InboxMessage, Intro, IntroId, IntroPurge, Store};
use dmp_core::id::UnixTime;
use dmp_core::keys::SigningPublicKey;
use serde::Serialize;

use super::Outcome;
use crate::args::mail::{IntroCommand, TrustArgs};
use crate::context::Context;
use crate::exit::{Exit, Failure};
use crate::prompt::StandardInput;
use crate::report::{Body, Report, line};
use crate::screen;
use crate::time::{now, utc_of};

/// Characters of a message that the list shows.
const PREVIEW: usize = 120;

pub(super) use self::denylist::unblock;

/// Does what the command line asks.
pub(super) fn perform(context: &Context, command: IntroCommand) -> Outcome {
    match command {
        IntroCommand::List => list(context),
        IntroCommand::Accept { id } => accept(context, id),
        IntroCommand::Trust(args) => trust(context, args),
        IntroCommand::Block { id, note } => block(context, id, &note),
        IntroCommand::Denied => denylist::denied(context),
        IntroCommand::Unblock { sender } => denylist::unblock(context, &sender),
        IntroCommand::Purge { all, expired: _ } => {
            let which = if all {
                IntroPurge::All
            } else {
                IntroPurge::Expired
            };
            purge(context, which)
        }
    }
}

/// Prints what waits.
fn list(context: &Context) -> Outcome {
    let (_, store) = context.unlock_store(StandardInput::Free)?;
    Ok(Box::new(Waiting {
        intros: intros_list(&store)?,
        now: UnixTime::new(now()),
    }))
}

/// Takes one message without pinning its sender.
fn accept(context: &Context, id: i64) -> Outcome {
    let (_, store) = context.unlock_store(StandardInput::Free)?;
    let message = intros_accept(&store, IntroId::new(id), UnixTime::new(now()))?;
    Ok(Box::new(Taken {
        id,
        message,
        contact: None,
        store,
    }))
}

/// Takes a message and pins its sender's signing key.
fn trust(context: &Context, args: TrustArgs) -> Outcome {
    let (unlocked, store) = context.unlock_store(StandardInput::Free)?;
    let profile = connect::profile(&unlocked.config)?;
    let (id, label, username) = (
        IntroId::new(args.id),
        args.label.as_deref(),
        args.username.as_deref(),
    );
    let (contact, message) = intros_trust(
        &store,
        &profile,
        &unlocked.identity,
        id,
        label,
        username,
        UnixTime::new(now()),
    )?;
    Ok(Box::new(Taken {
        id: args.id,
        message,
        contact: Some(contact),
        store,
    }))
}

/// Drops a message and silences its sender.
fn block(context: &Context, id: i64, note: &str) -> Outcome {
    let (_, store) = context.unlock_store(StandardInput::Free)?;
    let signer = intros_block(&store, IntroId::new(id), note, UnixTime::new(now()))?;
    Ok(Box::new(Silenced { id, signer }))
}

/// Deletes waiting messages unread.
fn purge(context: &Context, which: IntroPurge) -> Outcome {
    let (_, store) = context.unlock_store(StandardInput::Free)?;
    let deleted = intros_purge(&store, which, UnixTime::new(now()))?;
    Ok(Box::new(Purged { deleted }))
}

impl From<IntroError> for Failure {
    fn from(error: IntroError) -> Self {
        Self::new(Exit::User, error.code(), error).hint("nothing was changed")
    }
}

/// The verified address of the sender, else a name made from the key.
fn label(intro: &Intro) -> String {
    let key = intro.signer.to_string();
    intro.address.as_ref().map_or_else(
        || format!("intro-{}", key.get(..12).unwrap_or(&key)),
        ToString::to_string,
    )
}

struct Waiting {
    intros: Vec<Intro>,
    now: UnixTime,
}

impl Waiting {
    fn state(&self, intro: &Intro) -> &'static str {
        if intro.expires > self.now {
            "fresh"
        } else {
            "EXPIRED"
        }
    }
}

impl Report for Waiting {
    fn text(&self) -> String {
        if self.intros.is_empty() {
            return "(no pending intros)\n".to_owned();
        }
        let rows = self.intros.iter().map(|intro| {
            format!(
                "#{}  {}  [{}]\n  sender_spk: {}\n  from zone:  {}\n  received:   {}\n  message:    {}\n  reason:     {}\n\n",
                intro.id.get(),
                label(intro),
                self.state(intro),
                intro.signer,
                intro.zone,
                intro.received.as_secs(),
                preview(&intro.body),
                screen::line(&intro.reason.text),
            )
        });
        rows.collect()
    }

    fn json(&self) -> String {
        #[derive(Serialize)]
        struct Members<'a> {
            id: i64,
            label: String,
            state: &'a str,
            signing_public_key: String,
            zone: String,
            received_at: String,
            reason: &'a str,
            #[serde(flatten)]
            body: Body<'a>,
        }
        let rows = self.intros.iter().map(|intro| {
            let members = Members {
                id: intro.id.get(),
                label: label(intro),
                state: self.state(intro),
                signing_public_key: intro.signer.to_string(),
                zone: intro.zone.to_string(),
                received_at: utc_of(intro.received),
                reason: &intro.reason.code,
                body: Body::of(&intro.body),
            };
            line("dmp.intro/1", &members)
        });
        rows.collect()
    }
}

/// The beginning of a text on one line.
fn preview(body: &[u8]) -> String {
    let Ok(text) = std::str::from_utf8(body) else {
        return format!("(binary, {} bytes)", body.len());
    };
    let beginning: String = text.chars().take(PREVIEW).collect();
    let more = if beginning.len() < text.len() {
        "…"
    } else {
        ""
    };
    format!("{}{more}", screen::line(&beginning))
}

struct Taken {
    id: i64,
    message: InboxMessage,
    contact: Option<Contact>,
    store: Store,
}

impl Report for Taken {
    fn text(&self) -> String {
        let body = screen::indented_body(&self.message.body);
        match &self.contact {
            None => format!(
                "accepted intro #{}\n{body}\n(nothing was pinned: the next message of this sender waits here again)\n",
                self.id
            ),
            Some(contact) => {
                let label = screen::line(&contact.label);
                let advice = match &contact.agreement {
                    Some(_) => String::new(),
                    None => "to answer, fetch the sender's keys: dnsmesh identity fetch <user@host> --add\n".to_owned(),
                };
                format!("trusted intro #{} as `{label}`\n{body}\n{advice}", self.id)
            }
        }
    }

    fn json(&self) -> String {
        #[derive(Serialize)]
        struct Members<'a> {
            id: i64,
            contact: Option<&'a str>,
            signing_public_key: String,
            #[serde(flatten)]
            body: Body<'a>,
        }
        let members = Members {
            id: self.id,
            contact: self.contact.as_ref().map(|contact| contact.label.as_str()),
            signing_public_key: self.message.signer.to_string(),
            body: Body::of(&self.message.body),
        };
        line("dmp.intro-taken/1", &members)
    }

    fn printed(&self) -> Result<(), Failure> {
        Ok(self
            .store
            .mark_shown(&[self.message.number], UnixTime::new(now()))?)
    }
}

struct Silenced {
    id: i64,
    signer: SigningPublicKey,
}

impl Report for Silenced {
    fn text(&self) -> String {
        format!(
            "blocked intro #{}\n  sender_spk: {}\nnothing this key signs is shown any more\n",
            self.id, self.signer
        )
    }

    fn json(&self) -> String {
        #[derive(Serialize)]
        struct Members {
            id: i64,
            signing_public_key: String,
        }
        line(
            "dmp.intro-blocked/1",
            &Members {
                id: self.id,
                signing_public_key: self.signer.to_string(),
            },
        )
    }
}

#[derive(Serialize)]
struct Purged {
    deleted: usize,
}

impl Report for Purged {
    fn text(&self) -> String {
        format!("deleted {} waiting message(s)\n", self.deleted)
    }

    fn json(&self) -> String {
        line("dmp.intro-purged/1", self)
    }
}
