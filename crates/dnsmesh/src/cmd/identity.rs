//! `identity`: the own keys, what is published of them, and other people's (cli.md 3.2).

mod fetch;
mod prekeys;
mod publish;
mod revoke;
mod rotate;
mod show;
mod unpublish;
mod uri;

use super::Outcome;
use crate::args::identity::IdentityCommand;
use crate::context::Context;

pub(super) use self::fetch::request as fetch_request;
pub(super) use self::prekeys::upkeep;
pub(super) use self::publish::{advise, cause};
pub(super) use self::uri::own_uri;

/// Does what the command line asks.
pub(super) async fn perform(context: &Context, command: IdentityCommand) -> Outcome {
    match command {
        IdentityCommand::Show(args) if args.uri => uri::show(context),
        IdentityCommand::Show(_) => show::show(context),
        IdentityCommand::Qr => uri::qr(context),
        IdentityCommand::Publish(args) => publish::publish(context, args).await,
        IdentityCommand::RefreshPrekeys(args) => prekeys::refresh(context, args).await,
        IdentityCommand::Fetch(args) => fetch::fetch(context, args).await,
        IdentityCommand::Rotate(args) => rotate::rotate(context, args).await,
        IdentityCommand::Revoke(args) => revoke::revoke(context, args).await,
        IdentityCommand::Unpublish => unpublish::unpublish(context).await,
    }
}
