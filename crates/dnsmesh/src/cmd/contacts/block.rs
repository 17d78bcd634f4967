//! `contacts block`: a contact or key onto the denylist (cli.md 3.16). The way back is that of `intro unblock`.

use dmp_client::ops::{sender_block, sender_named};
use dmp_core::id::UnixTime;
use dmp_core::keys::SigningPublicKey;
use serde::Serialize;

use crate::args::contacts::BlockArgs;
use crate::cmd::Outcome;
use crate::context::Context;
use crate::prompt::StandardInput;
use crate::report::{Report, line};
use crate::screen;
use crate::time::now;

/// Drops every message of a key from now on.
pub(super) fn block(context: &Context, args: BlockArgs) -> Outcome {
    let (_, store) = context.unlock_store(StandardInput::Free)?;
    let signer = sender_named(&store, &args.who)?;
    sender_block(&store, &signer, &args.note, UnixTime::new(now()))?;
    Ok(Box::new(Blocked { args, signer }))
}

struct Blocked {
    args: BlockArgs,
    signer: SigningPublicKey,
}

impl Report for Blocked {
    fn text(&self) -> String {
        format!(
            "blocked {}\n  sender_spk: {}\nnothing this key signs is shown any more\n",
            screen::line(&self.args.who),
            self.signer
        )
    }

    fn json(&self) -> String {
        #[derive(Serialize)]
        struct Members<'a> {
            signing_public_key: String,
            note: &'a str,
        }
        line(
            "dmp.blocked/1",
            &Members {
                signing_public_key: self.signer.to_string(),
                note: &self.args.note,
            },
        )
    }
}
