//! `contacts`: the people a user knows (cli.md 3.3, 3.16).

mod accept_key;
mod add;
mod block;
mod card;
mod change;
mod list;
mod verify;

use dmp_client::ops::ContactError;

use super::{Outcome, intro};
use crate::args::contacts::ContactsCommand;
use crate::context::Context;
use crate::exit::Failure;

/// Does what the command line asks.
pub(super) async fn perform(context: &Context, command: ContactsCommand) -> Outcome {
    match command {
        ContactsCommand::Add(args) => add::add(context, args).await,
        ContactsCommand::List => list::list(context),
        ContactsCommand::Show(args) => list::show(context, args),
        ContactsCommand::Set(args) => change::set(context, args),
        ContactsCommand::Remove(args) => change::remove(context, args),
        ContactsCommand::Verify(args) => verify::verify(context, args),
        ContactsCommand::AcceptKey(args) => accept_key::accept_key(context, args).await,
        ContactsCommand::Block(args) => block::block(context, args),
        ContactsCommand::Unblock(args) => intro::unblock(context, &args.who),
    }
}

impl From<ContactError> for Failure {
    fn from(error: ContactError) -> Self {
        let failure = Self::user(error.code(), &error);
        match error {
            ContactError::Taken(_) => {
                failure.hint("nothing was changed; --force replaces its keys")
            }
            ContactError::Unknown(_) => {
                failure.hint("`dnsmesh contacts list` shows all; `dnsmesh contacts add user@host` adds one")
            }
            ContactError::KeysIncomplete(_) => failure
                .hint("`dnsmesh identity fetch user@host --add` fills in the other key"),
            ContactError::NumberDiffers(_) | ContactError::KeysDiffer(_) => failure
                .hint("nothing was changed; write nothing secret until you know why")
                .hint("if the contact has new keys: `dnsmesh contacts accept-key`, then compare again"),
            _ => failure,
        }
    }
}
