//! The home node: HTTP, DNS listener, TSIG key, clocks (cli.md 3.7).

use std::net::IpAddr;

use futures_util::future::join3;

use dmp_core::id::UnixTime;

use super::{Check, Health, Instruments, SignatureTrouble};
use crate::config::Config;
use crate::home::host_of_endpoint;
use crate::limits::{CLOCK_OFF_BADLY, CLOCK_OFF_NOTABLY};

/// Resolvers that everybody uses and that take no updates (cli.md 3.7).
const PUBLIC_RESOLVERS: [&str; 8] = [
    "1.1.1.1",
    "1.0.0.1",
    "8.8.8.8",
    "8.8.4.4",
    "9.9.9.9",
    "149.112.112.112",
    "208.67.222.222",
    "208.67.220.220",
];

/// Judges what the home node answers, in the order of cli.md 3.7.
pub async fn check_node(
    config: &Config,
    instruments: &dyn Instruments,
    now: UnixTime,
) -> Vec<Check> {
    let health = async {
        if config.endpoint.is_empty() {
            None
        } else {
            Some(instruments.health(&config.endpoint).await)
        }
    };
    let (health, local, signature) = join3(
        health,
        local_dns(config, instruments),
        signature(config, instruments),
    )
    .await;
    let date = health
        .as_ref()
        .and_then(|health| health.as_ref().ok()?.date);
    let mut checks = vec![endpoint(config, health)];
    checks.extend(local);
    checks.extend(public_resolver(config));
    let (signature, server_time) = signature;
    checks.extend(signature);
    checks.extend(clock(server_time.or(date), now));
    checks
}

fn endpoint(config: &Config, health: Option<Result<Health, String>>) -> Check {
    let endpoint = &config.endpoint;
    match health {
        None if config.publisher.is_some() => Check::ok(
            "endpoint",
            "no endpoint is needed",
            "writes go through the configured publisher",
        ),
        None => Check::warn(
            "endpoint",
            "endpoint not configured",
            "there is no home node to write to over HTTP",
            "dnsmesh config set endpoint URL",
        ),
        Some(Ok(Health { status: 200, .. })) => {
            Check::ok("endpoint", "endpoint reachable", endpoint)
        }
        Some(Ok(Health { status, .. })) => Check::warn(
            "endpoint",
            "endpoint answers strangely",
            format!("{endpoint}/health: HTTP {status}"),
            "ask the operator of the node, or correct endpoint",
        ),
        Some(Err(reason)) => Check::fail(
            "endpoint",
            "endpoint unreachable",
            format!("{endpoint}: {reason}"),
            "check the URL and the network: dnsmesh config set endpoint URL",
        ),
    }
}

/// Nothing without an endpoint; then there is no host to look at.
async fn local_dns(config: &Config, instruments: &dyn Instruments) -> Vec<Check> {
    let Some(host) = host_of_endpoint(&config.endpoint) else {
        return Vec::new();
    };
    let code = "local-dns";
    let (server, port) = (&config.local_node_dns_server, config.local_node_dns_port);
    if server.is_empty() || port == 0 {
        return vec![match instruments.find_node(host).await {
            Some(found) => Check::warn(
                code,
                "local DNS endpoint not configured",
                format!(
                    "a node answers at {found}; messages inside your zone arrive faster through it"
                ),
                "dnsmesh doctor --repair",
            ),
            None => Check::warn(
                code,
                "local DNS endpoint not configured and not found",
                format!("no node answers DNS at the usual ports of {host}"),
                "dnsmesh config set local_node_dns_server HOST, and local_node_dns_port",
            ),
        }];
    }
    let Some(address) = instruments.node_at(server, port).await else {
        return vec![Check::fail(
            code,
            "local DNS endpoint does not answer as a node",
            format!("{server}:{port}"),
            "dnsmesh config unset local_node_dns_server, then dnsmesh doctor --repair",
        )];
    };
    let mut checks = vec![Check::ok(
        code,
        "local DNS endpoint answers",
        format!("{server}:{port}"),
    )];
    if let Ok(zone) = config.mesh_zone() {
        checks.push(if instruments.serves(address, &zone).await {
            Check::ok("own-zone", "node serves your zone", zone.as_str())
        } else {
            Check::warn(
                "own-zone",
                "server does not speak for your zone",
                format!("{server}:{port} gives no authoritative answer for {zone}"),
                "set local_node_dns_server to your node, or domain to its zone",
            )
        });
    }
    checks
}

fn public_resolver(config: &Config) -> Option<Check> {
    let host = config.dns_host.as_deref()?.trim();
    let address: IpAddr = host.parse().ok()?;
    if !PUBLIC_RESOLVERS.contains(&address.to_string().as_str()) {
        return None;
    }
    let code = "public-resolver";
    Some(
        if config.local_node_dns_server.is_empty() || config.local_node_dns_port == 0 {
            Check::warn(
                code,
                "dns_host is a public resolver and no local DNS endpoint is set",
                format!("{host} takes no updates"),
                "dnsmesh doctor --repair",
            )
        } else {
            Check::ok(
                code,
                "dns_host is a public resolver, used for look-ups only",
                host,
            )
        },
    )
}

/// The finding, and the server's clock if the key was refused for its time.
async fn signature(config: &Config, instruments: &dyn Instruments) -> (Vec<Check>, Option<u64>) {
    let code = "tsig";
    if config.publisher.is_some() {
        let check = Check::ok(
            code,
            "no TSIG key is needed",
            "writes go through the configured publisher",
        );
        return (vec![check], None);
    }
    if config.tsig_key_name.is_empty() || config.tsig_secret_hex.is_empty() {
        let check = Check::warn(
            code,
            "TSIG not registered",
            "writes go over HTTP",
            "dnsmesh tsig register --node HOST",
        );
        return (vec![check], None);
    }
    let name = &config.tsig_key_name;
    let present = Check::ok(code, "TSIG key configured", name);
    let (check, time) = match instruments.signed_update().await {
        Ok(()) => (
            Check::ok("tsig-accepted", "node accepts the TSIG key", name),
            None,
        ),
        Err(SignatureTrouble::Unusable(reason)) => (
            Check::fail(
                "tsig-accepted",
                "TSIG settings make no key",
                reason,
                "dnsmesh tsig register --node HOST",
            ),
            None,
        ),
        Err(SignatureTrouble::Rejected {
            reason,
            server_time,
        }) => {
            let remedy = match server_time {
                Some(_) => "set the clock of this machine",
                None => "dnsmesh tsig register --node HOST",
            };
            (
                Check::fail(
                    "tsig-accepted",
                    "node does not accept the TSIG key",
                    reason,
                    remedy,
                ),
                server_time,
            )
        }
        Err(SignatureTrouble::Unreachable(reason)) => (
            Check::fail(
                "tsig-accepted",
                "update server does not answer",
                reason,
                "check tsig_dns_server and tsig_dns_port: dnsmesh tsig show",
            ),
            None,
        ),
    };
    (vec![present, check], time)
}

/// Signatures hold for five minutes in both directions.
fn clock(theirs: Option<u64>, now: UnixTime) -> Option<Check> {
    let theirs = theirs?;
    let off = theirs.abs_diff(now.as_secs());
    let direction = if theirs > now.as_secs() {
        "behind"
    } else {
        "ahead"
    };
    let detail = format!("{off} seconds {direction} of the node");
    Some(if off > CLOCK_OFF_BADLY {
        Check::fail(
            "clock",
            "clock is off",
            detail,
            "set the clock of this machine",
        )
    } else if off > CLOCK_OFF_NOTABLY {
        Check::warn(
            "clock",
            "clock is a little off",
            detail,
            "set the clock of this machine",
        )
    } else {
        Check::ok(
            "clock",
            "clock agrees with the node's",
            format!("within {CLOCK_OFF_NOTABLY} seconds"),
        )
    })
}
