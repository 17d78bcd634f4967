//! `send` (cli.md 3.4, 3.16, D15, D20, D21).

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use dmp_client::limits::{PREKEYS_LOW, SEND_WAIT};
use dmp_client::mesh::system_random;
use dmp_client::ops::outbox::{Milestone, wait_for};
use dmp_client::ops::{
    ClaimCount, ForwardSecrecyPolicy, SendError, SendRequest, Stock, prekeys_stock, send as publish,
};
use dmp_client::store::{MessageKey, OutboxEntry, OutboxId, OutboxState};
use dmp_core::id::UnixTime;
use serde::Serialize;

use super::Outcome;
use super::identity::{advise, cause};
use super::outbox::{aside, state_in_words};
use crate::args::mail::{SendArgs, WaitFor};
use crate::context::{Context, Online};
use crate::exit::{Exit, Failure};
use crate::prompt::StandardInput;
use crate::report::{Report, line};
use crate::screen;
use crate::time::{now, utc_of};

/// The message argument that means standard input.
const STANDARD_INPUT: &str = "-";
/// More than any message can carry (crypto.md 10): reading stops here and the size is refused where it is computed.
const INPUT_MAX: u64 = 64 * 1024;

/// Encrypts a text and publishes it.
pub(crate) async fn send(context: &Context, args: SendArgs) -> Outcome {
    let is_piped = args.file.is_none() && args.message.as_deref() == Some(STANDARD_INPUT);
    // Before anything is asked: a file that cannot be read is no reason for a passphrase.
    let from_file = args.file.as_deref().map(read_file).transpose()?;
    let input = if is_piped {
        StandardInput::Message
    } else {
        StandardInput::Free
    };
    let online = Arc::new(context.go_online(input).await?);
    let body = match from_file {
        Some(body) => body,
        None if is_piped => read(io::stdin().lock(), "standard input")?,
        None => args.message.unwrap_or_default().into_bytes(),
    };
    let mut request = SendRequest::new(&args.recipient, &body);
    request.ttl = args
        .ttl
        .unwrap_or_else(|| online.config.default_message_ttl());
    request.max_value_bytes = online.config.max_value_bytes();
    if args.require_fs || online.config.requires_forward_secrecy() {
        request.forward_secrecy = ForwardSecrecyPolicy::Required;
    }
    aside(context, &online);
    let outcome = publish(&online.session(), &request, &mut system_random()).await;
    let wait = args.wait.map(|wait| match wait {
        WaitFor::Published => Milestone::Published,
        WaitFor::Announced => Milestone::Announced,
    });
    let (outbox, claims, recipient_error, prekeys_left) = match outcome {
        Ok(report) => (
            report.outbox,
            report.provider_claims,
            report.recipient_claim.and_then(Result::err),
            Some(report.prekeys_left),
        ),
        // Who waits gives the node time to come back.
        Err(SendError::Publish {
            outbox,
            again: Some(_),
            ..
        }) if wait.is_some() => (outbox, ClaimCount::default(), None, None),
        Err(error) => return Err(error.into()),
    };
    if let Some(milestone) = wait {
        let timeout = args.wait_timeout.map_or(SEND_WAIT, Duration::from_secs);
        wait_for(&online.session(), outbox, milestone, timeout).await?;
    }
    let entry = entry(&online, outbox)?;
    let unreached = wait.filter(|wait| !wait.is_reached(&entry.state));
    if entry.delivery.kept_until.is_none() {
        return Err(not_published(&entry));
    }
    Ok(Box::new(Sent {
        entry,
        claims,
        recipient_error: recipient_error.map(|error| cause(&error)),
        recipient: args.recipient,
        prekeys_left,
        stock: prekeys_stock(&online.store, &online.identity, UnixTime::new(now()))?,
        unreached,
    }))
}

fn entry(online: &Online, outbox: OutboxId) -> Result<OutboxEntry, Failure> {
    let entry = online.store.outbox_entry(outbox)?;
    entry.ok_or_else(|| {
        Failure::user(
            "outbox-unknown",
            "the message is not in the outbox any more",
        )
    })
}

fn read_file(path: &Path) -> Result<Vec<u8>, Failure> {
    let name = path.display().to_string();
    let file = File::open(path)
        .map_err(|error| Failure::user("send-input", format!("{name}: {error}")))?;
    read(file, &name)
}

fn read(input: impl Read, name: &str) -> Result<Vec<u8>, Failure> {
    let mut body = Vec::new();
    let read = input.take(INPUT_MAX).read_to_end(&mut body);
    read.map_err(|error| Failure::user("send-input", format!("{name}: {error}")))?;
    Ok(body)
}

/// What a send that gave up waiting says.
fn not_published(entry: &OutboxEntry) -> Failure {
    let reason = entry.delivery.last_error.as_deref().unwrap_or("no answer");
    let state = state_in_words(&entry.state);
    let failure = Failure::new(
        Exit::Remote,
        "send-not-published",
        format!("send failed: not published in time, {state}: {reason}"),
    );
    kept(failure, entry.id, entry.due.is_some())
}

/// What was not harmed, and what becomes of the message.
fn kept(failure: Failure, outbox: OutboxId, is_tried_again: bool) -> Failure {
    let number = outbox.get();
    let failure = failure.hint("what is stored so far cannot be read without the rest");
    if is_tried_again {
        failure.hint(format!(
            "the message is number {number} of the outbox and is tried again with your next `send` or `recv`, or now by \
             `dnsmesh outbox retry {number}`; do not send it a second time"
        ))
    } else {
        failure.hint(format!(
            "the message is kept as number {number} of the outbox: once that is mended, `dnsmesh outbox retry {number}` publishes it"
        ))
    }
}

impl From<SendError> for Failure {
    fn from(error: SendError) -> Self {
        let code = error.code();
        match &error {
            SendError::UnknownContact(_) => {
                Self::user(code, &error).hint("`dnsmesh contacts list` shows yours; `dnsmesh identity fetch <user@host> --add` adds one")
            }
            SendError::NoEncryptionKey(_) => Self::user(code, &error).hint("`dnsmesh identity fetch <user@host> --add` fills it in"),
            SendError::NotVerified(label) => Self::user(code, &error).hint(format!(
                "nothing was published; compare keys by `dnsmesh contacts verify {label}`, or `dnsmesh config set trust_policy notify`"
            )),
            SendError::LifetimeTooLong(_) => Self::user(code, &error).hint("nothing was published"),
            SendError::Store(_) => Self::user(code, &error),
            SendError::Publish { error: write, step, stored, total, outbox, again } => {
                let reason = format!("send failed: publishing the {step} ({stored} of {total} values stored): {}", cause(write));
                let failure = kept(Self::new(Exit::Remote, code, reason), *outbox, again.is_some());
                if again.is_some() { failure } else { advise(failure, write) }
            }
            SendError::Seal(_) => Self::new(error.fault(), code, format!("send failed: {error}")).hint("nothing was published"),
            _ => Self::new(Exit::Remote, code, format!("send failed: {error}")).hint("nothing was published"),
        }
    }
}

struct Sent {
    entry: OutboxEntry,
    claims: ClaimCount,
    /// Why the recipient's zone took no claim.
    recipient_error: Option<String>,
    /// As typed.
    recipient: String,
    /// Unused prekeys that the recipient has left for this user, if they were looked up.
    prekeys_left: Option<usize>,
    /// Own prekeys.
    stock: Stock,
    /// What was waited for in vain.
    unreached: Option<Milestone>,
}

impl Report for Sent {
    fn text(&self) -> String {
        let claims = &self.claims;
        let providers = if claims.tried > 0 {
            format!(" (+ {}/{} claim publishes)", claims.sent, claims.tried)
        } else {
            String::new()
        };
        format!("sent → {}{providers}\n", screen::line(&self.recipient))
    }

    fn json(&self) -> String {
        #[derive(Serialize)]
        struct Members<'a> {
            to: &'a str,
            msg_id: String,
            outbox: i64,
            state: &'static str,
            fs: bool,
            chunks: usize,
            chunks_needed: usize,
            expires_at: String,
            claims_sent: usize,
            claims_tried: usize,
            announced: Option<bool>,
            read_back: bool,
            recipient_prekeys_left: Option<usize>,
            own_prekeys_left: usize,
        }
        let OutboxEntry { item, delivery, .. } = &self.entry;
        let notice = item.notice_zone.as_ref();
        line(
            "dmp.sent/1",
            &Members {
                to: &item.contact,
                msg_id: item.msg_id.to_string(),
                outbox: self.entry.id.get(),
                state: self.entry.state.name(),
                fs: item.prekey().is_some(),
                chunks: item.chunks.len(),
                chunks_needed: item.needed,
                expires_at: utc_of(item.expires),
                claims_sent: self.claims.sent,
                claims_tried: self.claims.tried,
                announced: notice.map(|zone| delivery.announced_in.contains(zone)),
                read_back: delivery.seen.is_some(),
                recipient_prekeys_left: self.prekeys_left,
                own_prekeys_left: self.stock.live,
            },
        )
    }

    fn notes(&self) -> Vec<String> {
        let OutboxEntry { item, delivery, .. } = &self.entry;
        let mut notes = Vec::new();
        match &item.key {
            MessageKey::LongTerm { reason } => {
                notes.push(format!("note: sent without forward secrecy: {reason}"))
            }
            MessageKey::Prekey { expires, .. } if *expires < item.expires => {
                notes.push(format!(
                    "note: the recipient can surely open it until {}",
                    utc_of(*expires)
                ));
            }
            MessageKey::Prekey { .. } => {}
        }
        if let (MessageKey::Prekey { .. }, Some(left @ 0..PREKEYS_LOW)) =
            (&item.key, self.prekeys_left)
        {
            notes.push(format!(
                "note: {left} one-time key(s) of the recipient are left for you; without one a message has no forward secrecy, until the \
                 recipient publishes new ones"
            ));
        }
        if self.stock.is_low() {
            notes.push(format!(
                "note: {} of your own one-time key(s) are left for senders; `dnsmesh recv` publishes new ones, so does \
                 `dnsmesh identity refresh-prekeys`",
                self.stock.live
            ));
        }
        let claims = &self.claims;
        if claims.tried > 0 && claims.sent == 0 {
            let reasons: Vec<String> = claims
                .failures
                .iter()
                .map(|(zone, error)| format!("{zone}: {}", cause(error)))
                .collect();
            notes.push(format!(
                "warning: no claim provider took the notice, so somebody who has not pinned you will not find the message ({})",
                reasons.join("; ")
            ));
        }
        let is_told = |zone| delivery.announced_in.contains(zone);
        if let Some(error) = &self.recipient_error
            && !item.notice_zone.as_ref().is_some_and(is_told)
        {
            notes.push(format!(
                "note: the recipient's node took no notice of it ({error}); it is found when the recipient looks through your zone"
            ));
        }
        if delivery.missing > 0 {
            notes.push(format!(
                "note: {} of {} chunks are not stored yet; the message can be read without them",
                delivery.missing,
                item.chunks.len()
            ));
        }
        if delivery.seen.is_none() {
            notes.push("note: the resolvers do not show the message yet".to_owned());
        }
        if self.unreached.is_some() {
            notes.push(format!(
                "warning: that is as far as it came in time: {} (number {} of the outbox)",
                state_in_words(&self.entry.state),
                self.entry.id.get()
            ));
        }
        notes
    }

    fn exit(&self) -> Exit {
        match (&self.unreached, &self.entry.state) {
            (Some(_), _) | (_, OutboxState::Failed { .. }) => Exit::Remote,
            _ => Exit::Done,
        }
    }
}
