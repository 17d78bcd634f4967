//! Replication of a running node: who its peers are, a task for each of them, and the manifest that changes who they are
//! (federation.md 4.8, 4.10, 4.12).

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use dmp_core::id::UnixTime;
use dmp_core::keys::SigningPublicKey;
use dmp_core::name::DomainName;
use dmp_core::record::ClusterManifest;
use tokio::sync::{Semaphore, watch};
use tokio::task::{AbortHandle, JoinSet, spawn_blocking};
use tokio::time::sleep;

use super::around::Around;
use super::client::Client;
use super::cluster_file::ClusterFile;
use super::marks;
use super::members::{Adopted, Member, Members, Own};
use super::round::{Exchange, Reason, Round, Terms};
use super::view::{ClusterView, PeerView};
use super::wire::Fault;
use crate::config::SyncConfig;
use crate::context::Context;
use crate::federation::with_jitter;
use crate::limits::SYNC_PEERS_AT_ONCE;
use crate::metrics::{SyncRefused, SyncRound, SyncValue};
use crate::store::WriterTag;
use crate::zone::Owner;

/// Replication, as long as the node runs; what it does follows the settings.
#[derive(Debug)]
pub(crate) struct Worker {
    context: Arc<Context>,
    view: Arc<ClusterView>,
}

/// What the settings, the file and the store say at the start.
struct Start {
    own: Own,
    members: Members,
}

impl Worker {
    pub(crate) fn new(context: &Arc<Context>) -> Self {
        Self {
            context: Arc::clone(context),
            view: Arc::default(),
        }
    }

    /// What is known of the cluster, from now on.
    pub(crate) fn view(&self) -> Arc<ClusterView> {
        Arc::clone(&self.view)
    }

    /// Replicates by the settings as they are, until it is told to stop.
    pub(crate) async fn run(
        self,
        mut settings: watch::Receiver<SyncConfig>,
        mut stop: watch::Receiver<bool>,
    ) {
        loop {
            let config = settings.borrow_and_update().clone();
            tokio::select! {
                () = self.replicate(&config) => {}
                changed = settings.changed() => if changed.is_err() { return },
                _ = stop.wait_for(|stop| *stop) => return,
            }
        }
    }

    /// Goes on for ever. Whoever drops it ends the conversations that are under way; what was stored stays.
    async fn replicate(&self, config: &SyncConfig) {
        self.view.set_peers(Vec::new());
        let start = self.start(config).await;
        self.view.set_base(start.own.base.clone());
        let client = match &config.token {
            Some(token) => Client::new(token, config.roots.as_deref()),
            None if start.members.list().is_empty() => return std::future::pending().await,
            None => Err("there is no token (DMP_SYNC_PEER_TOKEN)".to_owned()),
        };
        let client = match client {
            Ok(client) => client,
            Err(reason) => {
                tracing::warn!("this node replicates with nobody: {reason}");
                return std::future::pending().await;
            }
        };
        let mut cluster = Cluster {
            context: Arc::clone(&self.context),
            view: Arc::clone(&self.view),
            around: Arc::new(Around::new(Arc::clone(&self.context), client)),
            places: Arc::new(Semaphore::new(SYNC_PEERS_AT_ONCE)),
            interval: config.interval,
            own: start.own,
            members: start.members,
            turns: JoinSet::new(),
            handles: HashMap::new(),
        };
        cluster.run().await;
    }

    async fn start(&self, config: &SyncConfig) -> Start {
        let mut own = Own {
            id: config.node_id.clone(),
            endpoint: config.own_endpoint.clone(),
            operator: config.operator,
            base: config.base_domain.clone(),
        };
        let path = config.manifest.clone();
        let file = spawn_blocking(move || ClusterFile::read(&path)).await;
        let mut listed = Vec::new();
        let mut signed = None;
        match file.unwrap_or_else(|error| Err(error.to_string())) {
            Ok(None) => {}
            Ok(Some(ClusterFile::Nodes(nodes))) => listed = nodes,
            Ok(Some(ClusterFile::Manifest(wire))) => match self.check(&wire, &own) {
                Ok(manifest) => {
                    own.base.get_or_insert_with(|| manifest.name.clone());
                    self.keep(&wire, &manifest, &own).await;
                    signed = Some(manifest);
                }
                Err(reason) => {
                    tracing::error!("the manifest of DMP_CLUSTER_FILE is not used: {reason}");
                }
            },
            Err(reason) => tracing::error!("DMP_CLUSTER_FILE: {reason}"),
        }
        if let (None, Some(operator)) = (&own.base, own.operator) {
            own.base = self.find_base(operator).await;
        }
        let configured = config.peers.iter().cloned().map(Member::of_url);
        let mut members = Members::new(configured, &own);
        if members.list().is_empty() {
            members = Members::new(listed, &own);
        }
        if let Some(manifest) = signed.filter(|_| config.peers.is_empty()) {
            members.adopt(&manifest, &own);
        }
        Start { own, members }
    }

    /// Verifies the file's manifest under the pinned key, or where none is pinned under the key that it names itself (W8).
    fn check(&self, wire: &str, own: &Own) -> Result<ClusterManifest, String> {
        let fault = |error: dmp_core::error::RecordError| error.to_string();
        let operator = match own.operator {
            Some(operator) => operator,
            None => ClusterManifest::claimed_operator(wire).map_err(fault)?,
        };
        let now = UnixTime::new(self.context.clock().seconds());
        let manifest = ClusterManifest::parse(wire, &operator, own.base.as_ref(), now);
        manifest
            .map(|manifest| manifest.into_inner())
            .map_err(fault)
    }

    /// Puts the file's manifest into the zone, unless it is there or a newer one is.
    async fn keep(&self, wire: &str, manifest: &ClusterManifest, own: &Own) {
        let Some(owner) = owner_of(&manifest.name) else {
            return;
        };
        let values = self.context.values(&owner);
        let now = self.context.clock().seconds();
        let newest = own.operator.and_then(|operator| {
            let values = values.iter().map(String::as_str);
            ClusterManifest::choose(values, &operator, Some(&manifest.name), UnixTime::new(now))
        });
        if newest.is_some_and(|newest| newest.seq >= manifest.seq)
            || values.iter().any(|value| value == wire)
        {
            return;
        }
        let (wire, ttl) = (wire.to_owned(), life(manifest, now));
        let kept = self.context.store().transact(move |draft| {
            draft.publish(&owner, &wire, ttl, WriterTag::NOBODY);
            Ok::<_, std::convert::Infallible>(())
        });
        if let Err(error) = kept.await {
            tracing::error!(%error, "the manifest of DMP_CLUSTER_FILE is not in the zone");
        }
    }

    /// The one cluster whose manifest lies in the store and verifies under the key.
    async fn find_base(&self, operator: SigningPublicKey) -> Option<DomainName> {
        let context = Arc::clone(&self.context);
        let found = spawn_blocking(move || bases(&context, &operator)).await;
        let found = found.unwrap_or_else(|error| Err(error.to_string()));
        let found = found.unwrap_or_else(|error| {
            tracing::error!(%error, "manifests in the store cannot be looked for");
            Vec::new()
        });
        match found.as_slice() {
            [] => None,
            [base] => Some(base.clone()),
            several => {
                tracing::warn!(
                    "the store holds manifests of {} clusters: set DMP_CLUSTER_BASE_DOMAIN",
                    several.len()
                );
                None
            }
        }
    }
}

/// The peers of now and what goes on with them.
struct Cluster {
    context: Arc<Context>,
    view: Arc<ClusterView>,
    around: Arc<Around>,
    places: Arc<Semaphore>,
    interval: Duration,
    own: Own,
    members: Members,
    turns: JoinSet<(Exchange, Round)>,
    handles: HashMap<String, AbortHandle>,
}

impl Cluster {
    async fn run(&mut self) {
        self.show();
        for member in self.members.list().to_vec() {
            self.begin(member);
        }
        loop {
            self.adopt_stored().await;
            tokio::select! {
                Some(turn) = self.turns.join_next() => match turn {
                    Ok((exchange, round)) => self.took(exchange, round).await,
                    Err(error) if error.is_panic() => self.begin_anew(),
                    // It was ended because its peer has left.
                    Err(_) => {}
                },
                () = sleep(with_jitter(self.interval)) => {}
            }
        }
    }

    /// Starts with a peer, where an earlier process has left off.
    fn begin(&mut self, member: Member) {
        let mark = marks::recall(&self.context, &member).unwrap_or_else(|error| {
            tracing::warn!(%error, "a peer is read from the beginning");
            Default::default()
        });
        let exchange = Exchange::new(member, mark, self.context.clock().millis());
        self.turn(exchange, Duration::ZERO);
    }

    /// Begins again with peers whose task broke off.
    fn begin_anew(&mut self) {
        tracing::error!("a conversation with a peer broke off with a bug of the node");
        for member in self.members.list().to_vec() {
            let handle = self.handles.get(member.url.as_str());
            if handle.is_none_or(AbortHandle::is_finished) {
                self.begin(member);
            }
        }
    }

    fn turn(&mut self, mut exchange: Exchange, wait: Duration) {
        let (around, places) = (Arc::clone(&self.around), Arc::clone(&self.places));
        let terms = Terms {
            operator: self.own.operator,
            base: self.own.base.clone(),
            max_ttl: self.context.settings().caps.max_ttl.unwrap_or(u64::MAX),
        };
        let url = exchange.member().url.as_str().to_owned();
        let handle = self.turns.spawn(async move {
            sleep(wait).await;
            let _place = places.acquire().await;
            let round = exchange.round(&*around, &terms).await;
            (exchange, round)
        });
        self.handles.insert(url, handle);
    }

    /// Tells what came of a round, writes down how far it got, and lets the next one begin.
    async fn took(&mut self, mut exchange: Exchange, round: Round) {
        let member = exchange.member().clone();
        self.count(&round);
        self.tell(&member, &round);
        if let Err(error) = marks::remember(&self.context, &member, exchange.mark()).await {
            tracing::warn!(%error, "how far a peer has been read is not stored");
        }
        if round.brought_manifest && self.own.base.is_none() {
            self.learn_base().await;
        }
        if let Some((wire, manifest)) = &round.manifest {
            self.install(wire, manifest).await;
        }
        self.adopt_stored().await;
        let current = self.members.list().iter();
        let Some(current) = current.clone().find(|one| one.url == member.url).cloned() else {
            return;
        };
        if !member.is_continued_by(&current) {
            return self.begin(current);
        }
        exchange.rename(current);
        let wait = match round.has_more {
            true => Duration::ZERO,
            false => with_jitter(self.interval),
        };
        self.turn(exchange, wait);
    }

    fn count(&self, round: &Round) {
        let metrics = self.context.metrics();
        metrics.sync_rounds.count(match &round.fault {
            None => SyncRound::Complete,
            Some(Fault::Unreachable(_)) => SyncRound::Unreachable,
            Some(Fault::Slow) => SyncRound::Slow,
            Some(Fault::Status(_)) => SyncRound::Status,
            Some(Fault::TooLong | Fault::Body(_)) => SyncRound::Malformed,
            Some(Fault::Store(_)) => SyncRound::Store,
        });
        for (value, count) in [
            (SyncValue::New, round.new),
            (SyncValue::Refreshed, round.refreshed),
            (SyncValue::Deleted, round.buried),
        ] {
            metrics.sync_values.add(value, count as usize);
        }
        for (reason, label) in [
            (Reason::Malformed, SyncRefused::Malformed),
            (Reason::Unsolicited, SyncRefused::Unsolicited),
            (Reason::Hash, SyncRefused::Hash),
            (Reason::Life, SyncRefused::Life),
            (Reason::Record, SyncRefused::Record),
            (Reason::Missing, SyncRefused::Missing),
            (Reason::Full, SyncRefused::Full),
        ] {
            metrics
                .sync_refused
                .add(label, round.refused(reason) as usize);
        }
    }

    fn tell(&self, member: &Member, round: &Round) {
        let now = self.context.clock().seconds();
        let fault = round.fault.as_ref().map(ToString::to_string);
        let id = &member.id;
        tracing::debug!(
            peer = %member.url,
            pages = round.pages,
            new = round.new,
            refreshed = round.refreshed,
            deleted = round.buried,
            refused = ?round.refused,
            fault = fault.as_deref(),
            "a round with a peer"
        );
        self.view.update(member.url.as_str(), |peer| {
            match (&peer.fault, &fault) {
                (None, Some(reason)) => tracing::warn!("peer {id} cannot be read: {reason}"),
                (Some(_), None) => tracing::info!("peer {id} is read again"),
                _ => {}
            }
            if fault.is_none() && !round.has_more {
                peer.complete_at = Some(now);
            }
            peer.fault = fault;
        });
    }

    /// Stores a manifest that a peer has and this node has not, if it is the newest (federation.md 4.12).
    async fn install(&mut self, wire: &str, manifest: &ClusterManifest) {
        let stored = self.stored().map(|stored| stored.seq);
        if !self.members.is_news(manifest, stored) {
            return;
        }
        let Some(owner) = owner_of(&manifest.name) else {
            return;
        };
        let now = self.context.clock().seconds();
        let (wire, ttl) = (wire.to_owned(), life(manifest, now));
        let stored = self.context.store().transact(move |draft| {
            draft.replicate(&owner, &wire, ttl, None);
            Ok::<_, std::convert::Infallible>(())
        });
        if let Err(error) = stored.await {
            tracing::warn!(%error, "a newer manifest of the cluster is not stored");
        }
    }

    /// The newest manifest in the store that verifies under key and name.
    fn stored(&self) -> Option<ClusterManifest> {
        let (operator, base) = self.own.anchor()?;
        let values = self.context.values(&owner_of(base)?);
        let now = UnixTime::new(self.context.clock().seconds());
        let values = values.iter().map(String::as_str);
        let newest = ClusterManifest::choose(values, operator, Some(base), now)?;
        Some(newest.into_inner())
    }

    /// Looks for the cluster's name once a manifest came that could tell.
    async fn learn_base(&mut self) {
        let Some(operator) = self.own.operator else {
            return;
        };
        let worker = Worker {
            context: Arc::clone(&self.context),
            view: Arc::clone(&self.view),
        };
        self.own.base = worker.find_base(operator).await;
        self.view.set_base(self.own.base.clone());
    }

    /// Takes the nodes of the newest stored manifest for its peers, however it came into the store (W1).
    async fn adopt_stored(&mut self) {
        let Some(manifest) = self.stored() else {
            return;
        };
        let Some(adopted) = self.members.adopt(&manifest, &self.own) else {
            return;
        };
        announce(&adopted);
        for member in &adopted.dropped {
            if let Some(handle) = self.handles.remove(member.url.as_str()) {
                handle.abort();
            }
            self.around.client().forget(&member.url);
            if let Err(error) = marks::forget(&self.context, member).await {
                tracing::warn!(%error, "a peer that has left is not forgotten");
            }
        }
        self.show();
        for member in adopted.added {
            self.begin(member);
        }
    }

    /// Tells who the peers are, with what is known of those that stay.
    fn show(&self) {
        let known = self.view.peers();
        let now = self.context.clock().seconds();
        let peers = self.members.list().iter().map(|member| {
            let url = member.url.as_str();
            let known = known.iter().find(|peer| peer.url == url);
            PeerView {
                id: member.id.clone(),
                url: url.to_owned(),
                known_at: known.map_or(now, |peer| peer.known_at),
                complete_at: known.and_then(|peer| peer.complete_at),
                fault: known.and_then(|peer| peer.fault.clone()),
            }
        });
        self.view.set_peers(peers.collect());
    }
}

/// An operator reads which nodes came and went.
fn announce(adopted: &Adopted) {
    let ids = |members: &[Member]| {
        let ids: Vec<&str> = members.iter().map(|member| member.id.as_str()).collect();
        match ids.as_slice() {
            [] => "nobody".to_owned(),
            ids => ids.join(", "),
        }
    };
    tracing::info!(
        "the cluster's manifest {} is adopted: {} added, {} dropped",
        adopted.seq,
        ids(&adopted.added),
        ids(&adopted.dropped)
    );
    for endpoint in &adopted.unusable {
        tracing::warn!("the cluster's manifest names {endpoint:?}, which is no http or https URL");
    }
    if !adopted.names_us {
        tracing::warn!("the cluster's manifest does not name this node: the others do not read it");
    }
}

fn owner_of(base: &DomainName) -> Option<Owner> {
    Owner::parse(&format!("cluster.{base}")).ok()
}

/// Seconds that a manifest still lives, at least 1.
fn life(manifest: &ClusterManifest, now: u64) -> u64 {
    manifest.exp.as_secs().saturating_sub(now).max(1)
}

/// The clusters that manifests in the store speak for under the key, each once.
fn bases(context: &Context, operator: &SigningPublicKey) -> Result<Vec<DomainName>, String> {
    let now = UnixTime::new(context.clock().seconds());
    let mut bases: Vec<DomainName> = Vec::new();
    let read = context.store().read_apart(|sql| {
        let mut statement =
            sql.prepare("SELECT owner, value FROM record WHERE owner LIKE 'cluster.%'")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let (owner, value): (String, String) = (row.get(0)?, row.get(1)?);
            let Ok(name) = DomainName::parse(owner.strip_prefix("cluster.").unwrap_or_default())
            else {
                continue;
            };
            let verified = ClusterManifest::parse(&value, operator, Some(&name), now);
            if verified.is_ok() && !bases.contains(&name) {
                bases.push(name);
            }
        }
        Ok(())
    });
    read.map_err(|error| error.to_string())?;
    Ok(bases)
}
