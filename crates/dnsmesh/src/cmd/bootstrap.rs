//! `bootstrap`: from a domain of users to the cluster that serves it, each step signed (cli.md 3.13, federation.md 5), and what the
//! domain's operator signs for that.

mod discover;
mod fetch;
mod pin;
mod sign;

pub(super) use self::discover::{find, host, move_to, no_cluster, told};
pub(super) use self::fetch::no_pin;
use super::Outcome;
use super::signing::{self, Role};
use crate::args::bootstrap::BootstrapCommand;
use crate::context::Context;

/// Does what the command line asks.
pub(super) async fn perform(context: &Context, command: BootstrapCommand) -> Outcome {
    const ROLE: Role = Role::ZoneSigner;
    match command {
        BootstrapCommand::Pin(args) => pin::pin(context, &args),
        BootstrapCommand::Fetch(args) => fetch::fetch(context, &args).await,
        BootstrapCommand::Discover(args) => discover::discover(context, &args).await,
        BootstrapCommand::Keygen(args) => signing::keygen(&args, ROLE),
        BootstrapCommand::Sign(args) => sign::sign(&args, ROLE),
        BootstrapCommand::Show(args) => signing::show(&args, ROLE),
        BootstrapCommand::Rotate(args) => signing::rotate(&args, ROLE),
        BootstrapCommand::Revoke(args) => signing::revoke(&args, ROLE),
        BootstrapCommand::Publish(args) => signing::publish(context, &args).await,
    }
}
