//! `node`: running the DNS node in the foreground, and what its operator does beside that (cli.md 3.15, 3.16, D25).

pub(crate) mod admin;
mod check;
mod config;
pub(crate) mod ctl;
mod import;
mod key;
mod load;
mod service;
mod setup;
mod zone;

use std::sync::Arc;

use dmp_node::config::{Config, Overrides};
use dmp_node::listen::Inherited;
use dmp_node::metrics::log_panics;
use dmp_node::reload::Event;
use dmp_node::supervise::{Node, reload_signal, stop_signal};

use crate::args::{NodeArgs, NodeCommand, NodeRunArgs, NodeSettingsArgs};
use crate::exit::{Exit, Failure};
use crate::logging;
use crate::report::Format;

/// Does what the command line asks.
pub(crate) async fn perform(args: NodeArgs, format: Format) -> Result<Exit, Failure> {
    match args.into_command() {
        NodeCommand::Run(args) => run(args).await,
        NodeCommand::Setup(args) => setup::setup(args, format).await,
        NodeCommand::Check(args) => Ok(format.print(&check::check(args).await)),
        NodeCommand::Health(args) => Ok(format.print(&check::health(args).await?)),
        NodeCommand::Config(args) => config::config(args, format).await,
        NodeCommand::Ctl(args) => ctl::ctl(args, format).await,
        NodeCommand::Admin(args) => admin::admin(args, format).await,
        NodeCommand::Import(args) => Ok(format.print(&import::import(args)?)),
        NodeCommand::Load(args) => Ok(format.print(&load::load(args)?)),
    }
}

/// Runs the node until SIGTERM or SIGINT. It prints the node's log and nothing else.
async fn run(args: NodeRunArgs) -> Result<Exit, Failure> {
    let config =
        Config::of_process(&args.into()).map_err(|error| Failure::user("node-config", error))?;
    let log = logging::show_node_log(&config.log);
    log_panics();
    let signals = |error| Failure::user("node-signals", error);
    let stop = stop_signal().map_err(signals)?;
    let mut hangups = reload_signal().map_err(signals)?;
    let inherited =
        Inherited::of_process().map_err(|error| Failure::user("node-sockets", error))?;
    let node = Node::start_on(inherited, config)
        .await
        .map_err(|error| Failure::user("node-start", error))?;
    let service = Arc::new(service::Service::of_process());
    let status = format!("answering on {}", node.dns_address());
    service.ready(&status);
    let told = Arc::clone(&service);
    node.reloader().observe(move |event| match event {
        Event::Begins => told.reloading(),
        Event::Applied(config) => {
            log.configure(&config.log);
            told.ready(&status);
        }
        Event::Refused(reason) => told.ready(&format!("{status}; reload refused: {reason}")),
    });
    let reloader = Arc::clone(node.reloader());
    let reloads = tokio::spawn(async move {
        while hangups.recv().await.is_some() {
            let reloader = Arc::clone(&reloader);
            // What comes of it is logged, and told to the observer.
            let _ = tokio::task::spawn_blocking(move || reloader.reload()).await;
        }
    });
    let watchdog = service.watch(node.context());
    node.run_until(async {
        stop.await;
        service.say("STOPPING=1");
    })
    .await;
    watchdog.abort();
    reloads.abort();
    Ok(Exit::Done)
}

impl From<NodeRunArgs> for Overrides {
    fn from(args: NodeRunArgs) -> Self {
        Self {
            dns_port: args.dns_port,
            http_port: args.http_port,
            ..args.settings.into()
        }
    }
}

impl From<NodeSettingsArgs> for Overrides {
    fn from(args: NodeSettingsArgs) -> Self {
        Self {
            config: args.config,
            db_path: args.db_path,
            ..Self::default()
        }
    }
}
