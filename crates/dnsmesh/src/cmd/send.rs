//! `send` (cli.md 3.4, D15, D20).

use std::io::{self, Read};

use dmp_client::mesh::system_random;
use dmp_client::ops::{
    ForwardSecrecy, ForwardSecrecyPolicy, SendError, SendReport, SendRequest, send as publish,
};
use serde::Serialize;

use super::Outcome;
use super::identity::{advise, cause};
use crate::args::mail::SendArgs;
use crate::context::Context;
use crate::exit::{Exit, Failure};
use crate::prompt::StandardInput;
use crate::report::{Report, line};
use crate::screen;
use crate::time::utc_of;

/// The message argument that means standard input.
const STANDARD_INPUT: &str = "-";
/// More than any message can carry (crypto.md 10): reading stops here and the size is refused where it is computed.
const INPUT_MAX: u64 = 64 * 1024;

/// Encrypts a text and publishes it.
pub(crate) async fn send(context: &Context, args: SendArgs) -> Outcome {
    let is_piped = args.message == STANDARD_INPUT;
    let online = context.go_online(if is_piped {
        StandardInput::Message
    } else {
        StandardInput::Free
    })?;
    let body = if is_piped {
        read_input()?
    } else {
        args.message.clone().into_bytes()
    };
    let mut request = SendRequest::new(&args.recipient, &body);
    request.ttl = args
        .ttl
        .unwrap_or_else(|| online.config.default_message_ttl());
    if args.require_fs || online.config.requires_forward_secrecy() {
        request.forward_secrecy = ForwardSecrecyPolicy::Required;
    }
    let report = publish(&online.session(), &request, &mut system_random()).await?;
    Ok(Box::new(Sent {
        report,
        recipient: args.recipient,
    }))
}

fn read_input() -> Result<Vec<u8>, Failure> {
    let mut body = Vec::new();
    let read = io::stdin().lock().take(INPUT_MAX).read_to_end(&mut body);
    read.map_err(|error| Failure::user("send-input", format!("standard input: {error}")))?;
    Ok(body)
}

impl From<SendError> for Failure {
    fn from(error: SendError) -> Self {
        let code = error.code();
        match &error {
            SendError::UnknownContact(_) => {
                Self::user(code, &error).hint("`dnsmesh contacts list` shows yours; `dnsmesh identity fetch <user@host> --add` adds one")
            }
            SendError::NoEncryptionKey(_) => Self::user(code, &error).hint("`dnsmesh identity fetch <user@host> --add` fills it in"),
            SendError::Store(_) => Self::user(code, &error),
            SendError::Publish { error: write, step, stored, total, .. } => {
                let reason = format!("send failed: publishing the {step} ({stored} of {total} values stored): {}", cause(write));
                advise(Self::new(Exit::Remote, code, reason), write)
            }
            SendError::Seal(_) => Self::new(error.fault(), code, format!("send failed: {error}")).hint("nothing was published"),
            _ => Self::new(Exit::Remote, code, format!("send failed: {error}")).hint("nothing was published"),
        }
    }
}

struct Sent {
    report: SendReport,
    recipient: String,
}

impl Report for Sent {
    fn text(&self) -> String {
        let claims = &self.report.provider_claims;
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
            fs: bool,
            chunks: u32,
            chunks_needed: u32,
            expires_at: String,
            claims_sent: usize,
            claims_tried: usize,
            announced: Option<bool>,
            read_back: bool,
        }
        let report = &self.report;
        line(
            "dmp.sent/1",
            &Members {
                to: &report.contact,
                msg_id: report.msg_id.to_string(),
                fs: matches!(report.forward_secrecy, ForwardSecrecy::Prekey { .. }),
                chunks: report.chunks.1,
                chunks_needed: report.chunks.0,
                expires_at: utc_of(report.expires),
                claims_sent: report.provider_claims.sent,
                claims_tried: report.provider_claims.tried,
                announced: report.recipient_claim.as_ref().map(Result::is_ok),
                read_back: report.read_back,
            },
        )
    }

    fn notes(&self) -> Vec<String> {
        let report = &self.report;
        let mut notes = Vec::new();
        match &report.forward_secrecy {
            ForwardSecrecy::None(reason) => {
                notes.push(format!("note: sent without forward secrecy: {reason}"))
            }
            ForwardSecrecy::Prekey {
                opens_until: Some(until),
                ..
            } => {
                notes.push(format!(
                    "note: the recipient can surely open it until {}",
                    utc_of(*until)
                ));
            }
            ForwardSecrecy::Prekey {
                opens_until: None, ..
            } => {}
        }
        let claims = &report.provider_claims;
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
        if let Some(Err(error)) = &report.recipient_claim {
            notes.push(format!(
                "note: the recipient's node took no notice of it ({}); it is found when the recipient looks through your zone",
                cause(error)
            ));
        }
        if !report.read_back {
            notes.push("note: the resolvers do not show the message yet".to_owned());
        }
        notes
    }
}
