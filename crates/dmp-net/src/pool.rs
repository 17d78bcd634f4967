//! A pool of resolvers asked in order of trust and health (federation.md 7), and the system's resolvers as such a pool.
//!
//! Many queries may run at once. Each asks the next upstream as soon as one fails, denies, or stays silent for a moment,
//! paced so that a node among them is not driven into its rate limit. Nothing is cached.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use dmp_dns::message::Response;
use dmp_dns::{Name, Rcode, Rtype};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::time::{Instant, sleep_until};

use crate::channel::Channel;
use crate::exchange::ExchangeError;
use crate::health::{Fared, Health, Oracle, Said, Walk};
use crate::limits;
use crate::peers::Peers;
use crate::query::{Dnssec, QueryPlan, query};
use crate::trust::Trust;
use crate::upstream::{Entry, Upstream};

/// What a lookup found. "Absent" and "could not ask" are different things (client.md 4.1).
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Lookup<T = String> {
    /// At least one usable value, in the order of the answer.
    Found(Vec<T>),
    /// Somebody who could know says that there is none (or only values that are not UTF-8).
    Absent,
    /// Nobody could be asked; the text says why, upstream by upstream.
    Unreachable(String),
}

/// How a pool treats its upstreams. [`PoolOptions::default`] is federation.md 7.1 and 7.4.
#[derive(Clone, Copy, Debug)]
pub struct PoolOptions {
    /// One try at an upstream.
    pub timeout: Duration,
    /// All tries at an upstream for one query.
    pub total: Duration,
    /// How long an upstream may be silent before the next one is asked beside it.
    pub hedge: Duration,
    /// One query, whoever is asked.
    pub deadline: Duration,
    /// Failures in a row that put an upstream into cooldown; at least 1.
    pub failure_threshold: u32,
    /// How long it is asked last then.
    pub cooldown: Duration,
    /// Timeouts in a row after which an upstream is asked no more in a run; `None` for a pool that knows no runs.
    pub give_up_after_timeouts: Option<u32>,
    /// Whether answers and denials without AD are failures (`dnssec_required`).
    pub dnssec: Dnssec,
    /// Whether a TXT value may be one of those looked for. A resolver that has none of these has nothing: one that invents
    /// text neither hides what others know nor convicts them.
    pub plausible: fn(&str) -> bool,
}

impl Default for PoolOptions {
    fn default() -> Self {
        Self {
            timeout: limits::POOL_TRY,
            total: limits::POOL_TOTAL,
            hedge: limits::HEDGE,
            deadline: limits::LOOKUP,
            failure_threshold: 1,
            cooldown: limits::COOLDOWN,
            give_up_after_timeouts: Some(limits::TIMEOUTS_PER_RUN),
            dnssec: Dnssec::Ignored,
            plausible: |_| true,
        }
    }
}

impl PoolOptions {
    /// The deadlines of the single system resolver (client.md 4.1).
    pub fn system() -> Self {
        Self {
            timeout: limits::SYSTEM_TRY,
            total: limits::SYSTEM_TOTAL,
            ..Self::default()
        }
    }
}

/// A pool needs somebody to ask.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("a resolver pool needs at least one upstream")]
pub struct NoUpstream;

/// Resolvers in priority order, with their health.
#[derive(Debug)]
pub struct ResolverPool {
    entries: Vec<Entry>,
    options: PoolOptions,
    trust: Trust,
    members: Mutex<Arc<Members>>,
}

/// The resolvers that the entries stand for, and what is known of them.
#[derive(Debug)]
struct Members {
    upstreams: Vec<Upstream>,
    /// The connections to the encrypted ones.
    channels: Vec<Option<Channel>>,
    health: Mutex<Health>,
    peers: Peers,
}

impl ResolverPool {
    /// A pool of these, the first one preferred.
    pub fn new<E: Into<Entry>>(entries: Vec<E>, options: PoolOptions) -> Result<Self, NoUpstream> {
        let entries: Vec<Entry> = entries.into_iter().map(Into::into).collect();
        if entries.is_empty() {
            return Err(NoUpstream);
        }
        Ok(Self::of(entries, options))
    }

    /// The resolvers of `/etc/resolv.conf`, or the one on loopback if it names none or cannot be read.
    pub fn system(options: PoolOptions) -> Self {
        Self::of(vec![Entry::System], options)
    }

    fn of(entries: Vec<Entry>, options: PoolOptions) -> Self {
        let trust = Trust::of_environment();
        let members = Members::new(upstreams(&entries), options, &trust);
        Self {
            entries,
            options,
            trust,
            members: Mutex::new(Arc::new(members)),
        }
    }

    /// With these authorities for encrypted upstreams, instead of [`Trust::of_environment`].
    #[must_use]
    pub fn trusting(self, trust: Trust) -> Self {
        let members = Members::new(self.upstreams(), self.options, &trust);
        Self {
            trust,
            members: Mutex::new(Arc::new(members)),
            ..self
        }
    }

    /// Begins a new run of a process that makes several: upstreams that timed out in the last one are asked again, and
    /// `system` stands for what the system uses now.
    pub fn begin_run(&self) {
        let upstreams = upstreams(&self.entries);
        let mut members = lock(&self.members);
        if members.upstreams == upstreams {
            lock(&members.health).begin_run();
        } else {
            *members = Arc::new(Members::new(upstreams, self.options, &self.trust));
        }
    }

    /// The upstreams in priority order, at least one, each once.
    pub fn upstreams(&self) -> Vec<Upstream> {
        lock(&self.members).upstreams.clone()
    }

    /// The upstreams that are asked last for now, and how long ago each failed: another process may go on from there
    /// (federation.md W19).
    pub fn demotions(&self) -> Vec<(Upstream, Duration)> {
        let members = Arc::clone(&lock(&self.members));
        let cooling = lock(&members.health).cooling(Instant::now());
        cooling
            .into_iter()
            .filter_map(|(index, ago)| Some((members.upstreams.get(index)?.clone(), ago)))
            .collect()
    }

    /// Asks an upstream last that failed so long ago, until it has cooled down. One that is not in the pool changes nothing.
    pub fn demote(&self, upstream: &Upstream, ago: Duration) {
        let members = Arc::clone(&lock(&self.members));
        let index = members.upstreams.iter().position(|own| own == upstream);
        if let Some(index) = index {
            lock(&members.health).demote(index, ago, Instant::now());
        }
    }

    /// TXT values of `name`: the strings of one record joined; a value that is not UTF-8 is left out alone (records.md 5.1).
    pub async fn txt(&self, name: &Name) -> Lookup {
        let plausible = self.options.plausible;
        let values = move |response: &Response, name: &Name| -> Vec<String> {
            let values = response.txt(name).into_iter();
            let texts = values.filter_map(|value| String::from_utf8(value.to_vec()).ok());
            texts.filter(|text| plausible(text)).collect()
        };
        self.lookup(Oracle::Judges, name, Rtype::TXT, values).await
    }

    /// Addresses of `name`: A, and AAAA if there is no A.
    pub async fn addresses(&self, name: &Name) -> Lookup<IpAddr> {
        let values = |response: &Response, name: &Name| response.addresses(name);
        match self.lookup(Oracle::Silent, name, Rtype::A, values).await {
            Lookup::Found(addresses) => Lookup::Found(addresses),
            without => match self.lookup(Oracle::Silent, name, Rtype::AAAA, values).await {
                Lookup::Absent => without,
                other => other,
            },
        }
    }

    /// Name servers of `name`.
    pub async fn name_servers(&self, name: &Name) -> Lookup<Name> {
        let values = |response: &Response, name: &Name| {
            response.name_servers(name).into_iter().cloned().collect()
        };
        self.lookup(Oracle::Silent, name, Rtype::NS, values).await
    }

    /// Asks upstreams in order until one has values (federation.md 7.2): the first one alone, another one each time somebody
    /// fails or [`PoolOptions::hedge`] has passed, and all that are left once somebody denies, since all have to agree to that.
    async fn lookup<T>(
        &self,
        oracle: Oracle,
        name: &Name,
        rtype: Rtype,
        values: impl Fn(&Response, &Name) -> Vec<T> + Copy,
    ) -> Lookup<T> {
        let members = Arc::clone(&lock(&self.members));
        let PoolOptions {
            hedge, deadline, ..
        } = self.options;
        let begun = Instant::now();
        let mut walk = Walk::new(oracle, lock(&members.health).order(begun));
        let mut asked = FuturesUnordered::new();
        let (mut width, mut widen_at) = (1, begun + hedge);
        loop {
            while asked.len() < width {
                let next = walk.next(&mut lock(&members.health), Instant::now());
                let Some((index, due)) = next else { break };
                let said = members.ask(index, due, name, rtype, self.options, values);
                asked.push(async move { (index, said.await) });
            }
            tokio::select! {
                answered = asked.next() => {
                    // Nobody was left to ask.
                    let Some((index, said)) = answered else { break };
                    if matches!(said, Said::Absent) {
                        width = limits::HEDGED;
                    }
                    let mut health = lock(&members.health);
                    if let Some(values) = walk.note(index, said, hedge, &mut health, Instant::now()) {
                        return Lookup::Found(values);
                    }
                }
                () = sleep_until(widen_at), if width < limits::HEDGED && walk.has_more() => {
                    width += 1;
                    widen_at += hedge;
                }
                () = sleep_until(begun + deadline) => break,
            }
        }
        walk.finish(&mut lock(&members.health), Instant::now())
    }
}

impl Members {
    fn new(upstreams: Vec<Upstream>, options: PoolOptions, trust: &Trust) -> Self {
        let health = Health::new(
            upstreams.len(),
            options.failure_threshold,
            options.cooldown,
            options.give_up_after_timeouts,
            Instant::now(),
        );
        let channels = upstreams
            .iter()
            .map(|upstream| Channel::to(upstream, trust));
        Self {
            channels: channels.collect(),
            upstreams,
            health: Mutex::new(health),
            peers: Peers::default(),
        }
    }

    async fn ask<T>(
        &self,
        index: usize,
        due: Instant,
        name: &Name,
        rtype: Rtype,
        options: PoolOptions,
        values: impl Fn(&Response, &Name) -> Vec<T>,
    ) -> Said<T> {
        let Some(upstream) = self.upstreams.get(index) else {
            return Said::Absent;
        };
        sleep_until(due).await;
        let plan = QueryPlan {
            timeout: options.timeout,
            total: options.total,
            dnssec: options.dnssec,
        };
        let answered = match self.channels.get(index) {
            Some(Some(channel)) => channel.query(name, rtype, plan).await,
            _ => query(upstream.address(), name, rtype, plan, &self.peers).await,
        };
        let response = match answered {
            Ok(response) => response,
            Err(ExchangeError::Timeout) => {
                return Said::Failed(Fared::TimedOut, format!("{upstream}: no answer in time"));
            }
            Err(error) => return Said::Failed(Fared::Badly, format!("{upstream}: {error}")),
        };
        let has_cookie = matches!(response.cookie(), Ok(Some(cookie)) if !cookie.server.is_empty());
        let pace = match (response.recursion_available, has_cookie) {
            (true, _) => Some(limits::RESOLVER_PACE_PER_SECOND),
            (false, true) => Some(limits::PROVEN_PACE_PER_SECOND),
            (false, false) => None,
        };
        if let Some(pace) = pace {
            lock(&self.health).quicken(index, pace, Instant::now());
        }
        if response.rcode != Rcode::NOERROR && response.rcode != Rcode::NXDOMAIN {
            return Said::Failed(Fared::Badly, format!("{upstream}: {}", response.rcode));
        }
        if options.dnssec == Dnssec::Requested && !response.authentic_data {
            tracing::warn!(%upstream, "answer dropped: the resolver did not validate it");
            let why = format!(
                "{upstream}: the resolver did not validate the answer (DNSSEC is required)"
            );
            return Said::Failed(Fared::Badly, why);
        }
        let values = values(&response, name);
        if values.is_empty() {
            Said::Absent
        } else {
            Said::Values(values)
        }
    }
}

/// What the entries stand for now, each once.
fn upstreams(entries: &[Entry]) -> Vec<Upstream> {
    let mut upstreams: Vec<Upstream> = Vec::new();
    for upstream in entries.iter().flat_map(Entry::upstreams) {
        if !upstreams.contains(&upstream) {
            upstreams.push(upstream);
        }
    }
    upstreams
}

/// What is behind these locks stays meaningful whoever panicked while holding one.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
