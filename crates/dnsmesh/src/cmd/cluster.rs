//! `cluster`: the nodes of one operator as one (cli.md 3.12, federation.md 4), and what that operator signs.

mod manifest;
mod pin;
mod sign;
mod status;

use dmp_client::cluster::Anchor;
use dmp_client::config::Config;

use super::Outcome;
use super::signing::{self, Role};
use crate::args::cluster::ClusterCommand;
use crate::context::Context;
use crate::exit::Failure;

/// Does what the command line asks.
pub(super) async fn perform(context: &Context, command: ClusterCommand) -> Outcome {
    const ROLE: Role = Role::ClusterOperator;
    match command {
        ClusterCommand::Pin(args) => pin::pin(context, &args),
        ClusterCommand::Fetch(args) => manifest::fetch(context, &args).await,
        ClusterCommand::Enable => manifest::enable(context).await,
        ClusterCommand::Disable => pin::disable(context),
        ClusterCommand::Status => status::status(context).await,
        ClusterCommand::Keygen(args) => signing::keygen(&args, ROLE),
        ClusterCommand::Sign(args) => sign::sign(&args, ROLE),
        ClusterCommand::Show(args) => signing::show(&args, ROLE),
        ClusterCommand::Rotate(args) => signing::rotate(&args, ROLE),
        ClusterCommand::Revoke(args) => signing::revoke(&args, ROLE),
        ClusterCommand::Publish(args) => signing::publish(context, &args).await,
    }
}

/// The cluster that a configuration pins.
fn pinned(config: &Config) -> Result<Anchor, Failure> {
    Anchor::of_config(config)?.ok_or_else(|| {
        Failure::user("cluster-not-pinned", "no cluster is pinned")
            .hint("nothing was asked; `dnsmesh cluster pin <operator_spk> <base_domain>` pins one")
    })
}
