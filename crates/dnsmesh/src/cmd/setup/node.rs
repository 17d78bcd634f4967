//! `setup`: the home node and a credential for it. A TSIG key if the node takes updates from here, else a bearer token.

use dmp_client::config::{Config, normalize_endpoint};
use dmp_client::connect;
use dmp_client::credential::{Credential, CredentialKind, Life};
use dmp_client::doctor::{Instruments, NetworkInstruments, SignatureTrouble};
use dmp_client::home::host_of_endpoint;
use dmp_client::mesh::{Lookup, Reader};
use dmp_client::reader::Resolvers;
use dmp_client::register::{NodeAddress, RegisterError, RegisterRequest, register, tsig_register};
use dmp_core::id::UnixTime;
use dmp_core::keys::Identity;
use dmp_core::name::Zone;
use dmp_core::owner::heartbeat_owner;
use dmp_core::record::{Heartbeat, Skew};

use super::Done;
use crate::args::setup::SetupArgs;
use crate::cmd::register::own_addresses;
use crate::context::Context;
use crate::exit::{Exit, Failure};
use crate::time::{now, utc};

/// Port of a server that takes updates where none is known.
const UPDATE_PORT: u16 = 53;

/// Finds the node over HTTP and, if it can be seen, its DNS listener.
pub(super) async fn node(
    context: &Context,
    args: &SetupArgs,
    config: Config,
) -> Result<Done<Config>, Failure> {
    if config.publisher.is_some() && config.endpoint.is_empty() {
        return Done::already(config, "writes go through the configured publisher");
    }
    let resolvers = connect::reader(&config, context.system_fallback())?;
    let instruments = NetworkInstruments::new(&config, resolvers.clone());
    let endpoint = endpoint(args, &config, &instruments, &resolvers).await?;
    let host = host_of_endpoint(&endpoint).unwrap_or_default();
    let is_local_known =
        !config.local_node_dns_server.is_empty() && config.local_node_dns_port != 0;
    let local = match (&args.dns_server, is_local_known) {
        (_, true) => None,
        (Some(server), false) => {
            let port = args.dns_port.unwrap_or(UPDATE_PORT);
            let answers = instruments.node_at(server, port).await;
            answers.map(|_| (server.clone(), port))
        }
        (None, false) => {
            let found = instruments.find_node(host).await;
            found.map(|found| (found.ip().to_string(), found.port()))
        }
    };
    if endpoint == config.endpoint && local.is_none() {
        return Done::already(config, endpoint);
    }
    let saved = context.home.update_config(|config| {
        config.endpoint.clone_from(&endpoint);
        if let Some((server, port)) = &local {
            config.local_node_dns_server.clone_from(server);
            config.local_node_dns_port = *port;
        }
    })?;
    Done::now(saved, endpoint)
}

/// The endpoint that is named, configured, usual or announced; one that answers.
async fn endpoint(
    args: &SetupArgs,
    config: &Config,
    instruments: &NetworkInstruments<'_>,
    resolvers: &Resolvers,
) -> Result<String, Failure> {
    let named = args.endpoint.as_ref().or(args.node.as_ref());
    let stated = match named {
        // Also checks what it is made of.
        Some(text) => Some(NodeAddress::parse(&normalize_endpoint(text), None)?.to_string()),
        None => Some(config.endpoint.clone()).filter(|endpoint| !endpoint.is_empty()),
    };
    let candidates = match stated {
        Some(endpoint) => vec![endpoint],
        None => announced(config, resolvers).await?,
    };
    let mut reasons = Vec::new();
    for candidate in candidates {
        match instruments.health(&candidate).await {
            Ok(health) if health.status == 200 => return Ok(candidate),
            Ok(health) => reasons.push(format!("{candidate}: HTTP {}", health.status)),
            Err(reason) => reasons.push(format!("{candidate}: {reason}")),
        }
    }
    Err(Failure::new(
        Exit::Remote,
        "setup-no-node",
        format!("no node answers: {}", reasons.join("; ")),
    )
    .hint("name it: dnsmesh setup --node HOST"))
}

/// The host of the address itself, then what its zone says about the endpoint; only with TLS.
async fn announced(config: &Config, resolvers: &Resolvers) -> Result<Vec<String>, Failure> {
    let zone: Zone = config.mesh_zone()?;
    let beats = match resolvers.txt(&heartbeat_owner(&zone)).await {
        Lookup::Found(values) => values,
        Lookup::Absent | Lookup::Unreachable(_) => Vec::new(),
    };
    let beat = beats
        .iter()
        .filter_map(|value| Heartbeat::parse(value, Skew::Unlimited, UnixTime::new(now())).ok())
        .map(|beat| beat.into_inner())
        .max_by_key(|beat| beat.ts);
    let announced = beat
        .map(|beat| normalize_endpoint(beat.endpoint.as_str()))
        .filter(|endpoint| endpoint.starts_with("https://"));
    let usual = format!("https://{zone}");
    // Anybody may sign a heartbeat: it is asked only where the host itself does not answer.
    Ok([usual].into_iter().chain(announced).collect())
}

/// Keeps a credential that works, else registers.
pub(super) async fn credential(
    context: &Context,
    args: &SetupArgs,
    config: &Config,
    identity: &Identity,
) -> Result<Done<Config>, Failure> {
    let resolvers = connect::reader(config, context.system_fallback())?;
    let instruments = NetworkInstruments::new(config, resolvers);
    if let Some(kept) = kept(context, config, &instruments).await {
        return Done::already(config.clone(), kept);
    }
    let own = own_addresses(config)?;
    let node = NodeAddress::parse(&config.endpoint, None)?;
    let host = node.host().to_owned();
    let request = RegisterRequest::new(node, args.node_name.clone(), None, &own)?;
    let (server, port) = match &args.dns_server {
        Some(server) => (server.clone(), args.dns_port.unwrap_or(UPDATE_PORT)),
        None if config.local_node_dns_port != 0 => (
            config.local_node_dns_server.clone(),
            config.local_node_dns_port,
        ),
        None => (host.clone(), UPDATE_PORT),
    };
    // A key that cannot be used from here would stop all writing.
    if instruments.node_at(&server, port).await.is_some() {
        match tsig_register(&request, identity).await {
            Ok(grant) => {
                grant.save(&context.home, &server, port)?;
                let detail = format!("TSIG key {}, updates to {server}:{port}", grant.key_name);
                return Done::now(context.home.load_config()?, detail);
            }
            Err(RegisterError::UpdateDisabled(_)) => {}
            Err(error) => return Err(error.into()),
        }
    }
    let grant = register(&request, identity, &context.home, now()).await?;
    // Without this the old key would go on being used.
    let saved = context.home.update_config(|config| {
        config.tsig_key_name.clear();
        config.tsig_secret_hex.clear();
    })?;
    let until = grant
        .expires_at
        .map_or_else(String::new, |time| format!(", until {}", utc(time)));
    Done::now(saved, format!("bearer token for {host}{until}"))
}

/// The credential that is there, if there is nothing against it.
async fn kept(
    context: &Context,
    config: &Config,
    instruments: &NetworkInstruments<'_>,
) -> Option<String> {
    let credential = Credential::of_home(config, &context.home, now())?;
    if credential.life(now()) != Life::Fine {
        return None;
    }
    if let CredentialKind::Tsig(_) = credential.kind {
        match instruments.signed_update().await {
            Ok(()) => {}
            Err(SignatureTrouble::Rejected {
                server_time: Some(_),
                ..
            }) => {}
            Err(_) => return None,
        }
    }
    Some(credential.kind.to_string())
}
