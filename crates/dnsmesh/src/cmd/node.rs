//! `node`: the DNS node in the foreground (cli.md 3.15, D25). It prints the node's log and nothing else.

use dmp_node::config::{Config, Overrides};
use dmp_node::metrics::log_panics;
use dmp_node::supervise::{Node, stop_signal};

use crate::args::NodeRunArgs;
use crate::exit::{Exit, Failure};
use crate::logging;

/// Runs the node until SIGTERM or SIGINT.
pub(crate) async fn run(args: NodeRunArgs) -> Result<Exit, Failure> {
    let NodeRunArgs {
        db_path,
        dns_port,
        http_port,
    } = args;
    let config = Config::of_process(&Overrides {
        db_path,
        dns_port,
        http_port,
    })
    .map_err(|error| Failure::user("node-config", error))?;
    logging::show_node_log(&config.log);
    log_panics();
    let stop = stop_signal().map_err(|error| Failure::user("node-signals", error))?;
    let node = Node::start(config)
        .await
        .map_err(|error| Failure::user("node-start", error))?;
    node.run_until(stop).await;
    Ok(Exit::Done)
}
