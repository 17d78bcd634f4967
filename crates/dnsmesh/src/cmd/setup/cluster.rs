//! `setup`: the cluster that serves the domain of the address, where its operator publishes one (federation.md 5). Nothing of it is
//! believed without the operator's key, which the user has from elsewhere.

use dmp_client::bootstrap::{Anchor, Hearsay, hearsay};
use dmp_client::config::{Config, normalize_endpoint};
use dmp_client::connect::{self, ClusterInUse};
use dmp_client::credential::{Credential, CredentialKind, Life};
use dmp_client::home::host_of_endpoint;
use dmp_client::register::{NodeAddress, RegisterRequest, register};
use dmp_core::id::UnixTime;
use dmp_core::keys::Identity;
use dmp_core::name::DomainName;
use dmp_core::record::{ClusterManifest, ClusterNode};
use futures_util::future::join_all;

use super::Done;
use crate::args::setup::SetupArgs;
use crate::cmd::bootstrap::{find, move_to, no_cluster, told};
use crate::cmd::register::own_addresses;
use crate::context::Context;
use crate::exit::{Exit, Failure};
use crate::time::now;

/// Moves the home to the cluster of its domain if the user says whose word counts there; `None` where no cluster is concerned.
pub(super) async fn cluster(
    context: &Context,
    args: &SetupArgs,
    config: &Config,
) -> Result<Option<Done<Config>>, Failure> {
    let pinned = Anchor::of_config(config)?;
    let asked = match &args.bootstrap_signer {
        Some(signer) => Some(Anchor::parse(&config.domain, signer)?),
        None => None,
    };
    if config.cluster_active() && (asked.is_none() || asked == pinned) {
        let base = config.cluster_base_domain.clone();
        return Done::already(config.clone(), base).map(Some);
    }
    // Whoever has a way to write already, or has switched the cluster off, is not moved without being asked.
    let is_settled = !config.endpoint.is_empty()
        || !config.tsig_key_name.is_empty()
        || !config.cluster_base_domain.is_empty()
        || config.publisher.is_some()
        || args.node.is_some()
        || args.endpoint.is_some();
    let domain = DomainName::parse(&config.domain).ok();
    let own = pinned.filter(|pinned| !is_settled && Some(&pinned.domain) == domain.as_ref());
    if let Some(anchor) = asked.or(own) {
        return adopt(context, config, &anchor).await.map(Some);
    }
    let Some(domain) = domain.filter(|_| !is_settled) else {
        return Ok(None);
    };
    let reader = connect::reader(config, context.system_fallback())?;
    match hearsay(&reader, &domain, UnixTime::new(now())).await {
        None => Ok(None),
        Some(hearsay) => Err(needs_key(config, &domain, &hearsay)),
    }
}

async fn adopt(
    context: &Context,
    config: &Config,
    anchor: &Anchor,
) -> Result<Done<Config>, Failure> {
    let found = find(context, config, anchor).await?;
    let Some((entry, _)) = &found.discovery.usable else {
        return Err(no_cluster(anchor, &found));
    };
    let detail = format!("{}, by the word of {}", entry.base, anchor.domain);
    let adopted = move_to(context, anchor, &found)?;
    for note in told(&adopted) {
        context.format.note(&note);
    }
    Done::now(context.home.load_config()?, detail)
}

/// What is published, and why it is not enough. The key is not shown whole, so that nobody copies it from where it proves nothing.
fn needs_key(config: &Config, domain: &DomainName, hearsay: &Hearsay) -> Failure {
    let signers: Vec<String> = hearsay
        .signers
        .iter()
        .map(|signer| format!("{}...", signer.short()))
        .collect();
    Failure::user(
        "setup-bootstrap-key",
        format!("{domain} is served by a cluster, and nobody said whose word counts for it"),
    )
    .hint(format!(
        "published at {}, signed by {}: anybody on the way could have put that there",
        hearsay.owner,
        signers.join(", ")
    ))
    .hint(format!(
        "ask the operator of {domain} for the key over another channel (their web page, a call), compare its beginning, then: \
         dnsmesh setup {}@{domain} --bootstrap-signer KEY",
        config.username
    ))
    .hint(format!(
        "a single node instead: dnsmesh setup {}@{domain} --node HOST",
        config.username
    ))
}

/// The nodes of the cluster in use, by its verified manifest.
pub(super) async fn nodes(
    context: &Context,
    config: &Config,
) -> Result<Done<ClusterManifest>, Failure> {
    let look_ups = context.look_ups(config).await?;
    let Some(ClusterInUse { cluster, .. }) = look_ups.cluster else {
        return Err(Failure::user(
            "setup-no-node",
            "no cluster is in use after all",
        ));
    };
    let manifest = cluster.manifest();
    let ids: Vec<&str> = manifest.nodes.iter().map(|node| node.id.as_str()).collect();
    let detail = format!("{} (seq {})", ids.join(", "), manifest.seq);
    Done::already(manifest, detail)
}

/// A credential for enough nodes to write: each gives its own token.
pub(super) async fn credentials(
    context: &Context,
    config: &Config,
    manifest: &ClusterManifest,
    identity: &Identity,
) -> Result<Done<()>, Failure> {
    if let Some(kept) = shared(context, config) {
        return Done::already((), kept);
    }
    let own = own_addresses(config)?;
    let outcomes = join_all(manifest.nodes.iter().map(async |node| {
        let outcome = token(context, node, &own, identity).await;
        (node, outcome)
    }))
    .await;
    let (mut held, mut fresh, mut failures) = (0, false, Vec::new());
    for (node, outcome) in outcomes {
        match outcome {
            Ok(Token::Kept) => held += 1,
            Ok(Token::New) => {
                held += 1;
                fresh = true;
            }
            Err(failure) => failures.push((node, failure)),
        }
    }
    let all = manifest.nodes.len();
    let quorum = all.div_ceil(2);
    if held < quorum {
        let failure = Failure::new(
            Exit::Remote,
            "setup-no-quorum",
            format!("{held} of {all} nodes gave a token, and a write needs {quorum}"),
        );
        return Err(failures.iter().fold(failure, |failure, (node, why)| {
            failure.hint(format!("{}: {}", node.id, why.reason))
        }));
    }
    for (node, why) in failures {
        context.format.note(&format!(
            "warning: node {} gave no token ({}); the others are enough, and running setup again asks it once more",
            node.id, why.reason
        ));
    }
    let detail = format!("bearer tokens for {held} of {all} nodes");
    if fresh {
        Done::now((), detail)
    } else {
        Done::already((), detail)
    }
}

/// One credential for the whole cluster.
fn shared(context: &Context, config: &Config) -> Option<String> {
    if !config.cluster_node_token.is_empty() {
        return Some("cluster_node_token of the configuration".to_owned());
    }
    let credential = Credential::of_home(config, &context.home, now())?;
    let is_shared = matches!(
        credential.kind,
        CredentialKind::Tsig(_) | CredentialKind::Publisher
    );
    (is_shared && credential.life(now()) == Life::Fine).then(|| credential.kind.to_string())
}

enum Token {
    Kept,
    New,
}

async fn token(
    context: &Context,
    node: &ClusterNode,
    own: &[String],
    identity: &Identity,
) -> Result<Token, Failure> {
    let endpoint = normalize_endpoint(&node.http_endpoint);
    if let Some(host) = host_of_endpoint(&endpoint) {
        let saved = context.home.token_for_endpoint(&endpoint, now());
        let credential = saved.map(|saved| Credential {
            kind: CredentialKind::SavedToken(host.to_owned()),
            expires_at: saved.expires_at.and_then(|time| u64::try_from(time).ok()),
        });
        if credential.is_some_and(|credential| credential.life(now()) == Life::Fine) {
            return Ok(Token::Kept);
        }
    }
    let address = NodeAddress::parse(&endpoint, None)?;
    // The manifest is no user who asked for it (D7).
    if !address.is_confidential() {
        return Err(Failure::user(
            "setup-plain-http",
            format!("{address} has no TLS, and a token would cross the network in the clear"),
        ));
    }
    let request = RegisterRequest::new(address, None, None, own)?;
    register(&request, identity, &context.home, now()).await?;
    Ok(Token::New)
}
