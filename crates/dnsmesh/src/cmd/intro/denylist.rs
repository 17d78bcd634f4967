//! `intro denied|unblock`: keys whose messages are dropped unseen (cli.md 3.6). No network.

use dmp_client::ops::{sender_named, sender_unblock, senders_blocked};
use dmp_client::store::Blocked;
use dmp_core::keys::SigningPublicKey;
use serde::Serialize;

use crate::cmd::Outcome;
use crate::context::Context;
use crate::exit::Failure;
use crate::prompt::StandardInput;
use crate::report::{Report, line};
use crate::screen;
use crate::time::utc_of;

/// Prints the denylist.
pub(super) fn denied(context: &Context) -> Outcome {
    let (_, store) = context.unlock_store(StandardInput::Free)?;
    Ok(Box::new(Denied(senders_blocked(&store)?)))
}

/// Takes a key off the denylist.
pub(in crate::cmd) fn unblock(context: &Context, sender: &str) -> Outcome {
    let (_, store) = context.unlock_store(StandardInput::Free)?;
    let signer = sender_named(&store, sender)?;
    if !sender_unblock(&store, &signer)? {
        let reason = format!("{sender} is not blocked");
        return Err(Failure::user("sender-not-blocked", reason)
            .hint("`dnsmesh intro denied` lists the blocked keys"));
    }
    Ok(Box::new(Unblocked(signer)))
}

struct Denied(Vec<Blocked>);

impl Report for Denied {
    fn text(&self) -> String {
        if self.0.is_empty() {
            return "(nobody is blocked)\n".to_owned();
        }
        let rows = self.0.iter().map(|blocked| {
            let note = match blocked.note.as_str() {
                "" => String::new(),
                note => format!("  {}", screen::line(note)),
            };
            format!("{}  {}{note}\n", blocked.signer, utc_of(blocked.blocked))
        });
        rows.collect()
    }

    fn json(&self) -> String {
        #[derive(Serialize)]
        struct Members<'a> {
            signing_public_key: String,
            blocked_at: String,
            note: &'a str,
        }
        let rows = self.0.iter().map(|blocked| {
            let members = Members {
                signing_public_key: blocked.signer.to_string(),
                blocked_at: utc_of(blocked.blocked),
                note: &blocked.note,
            };
            line("dmp.denied/1", &members)
        });
        rows.collect()
    }
}

struct Unblocked(SigningPublicKey);

impl Report for Unblocked {
    fn text(&self) -> String {
        format!(
            "unblocked {}\nwhat it signs from now on is shown again\n",
            self.0
        )
    }

    fn json(&self) -> String {
        #[derive(Serialize)]
        struct Members {
            signing_public_key: String,
        }
        let members = Members {
            signing_public_key: self.0.to_string(),
        };
        line("dmp.unblocked/1", &members)
    }
}
