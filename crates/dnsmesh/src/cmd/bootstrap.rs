//! `bootstrap`: from a domain of users to the cluster that serves it, each step signed (cli.md 3.13, federation.md 5), and what the
//! domain's operator signs for that.

mod pin;
mod sign;

use super::Outcome;
use super::signing::{self, Role};
use crate::args::bootstrap::BootstrapCommand;
use crate::context::Context;

/// Does what the command line asks.
pub(super) async fn perform(context: &Context, command: BootstrapCommand) -> Outcome {
    const ROLE: Role = Role::ZoneSigner;
    match command {
        BootstrapCommand::Pin(args) => pin::pin(context, &args),
        BootstrapCommand::Keygen(args) => signing::keygen(&args, ROLE),
        BootstrapCommand::Sign(args) => sign::sign(&args, ROLE),
        BootstrapCommand::Show(args) => signing::show(&args, ROLE),
        BootstrapCommand::Rotate(args) => signing::rotate(&args, ROLE),
        BootstrapCommand::Revoke(args) => signing::revoke(&args, ROLE),
        BootstrapCommand::Publish(args) => signing::publish(context, &args).await,
    }
}
