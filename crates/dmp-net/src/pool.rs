//! A pool of resolvers asked in order of trust and health (federation.md 7), and the system's resolvers as such a pool.
//!
//! Many queries may run at once; each walks the upstreams one after the other, paced so that a node among them is not
//! driven into its rate limit. Nothing is cached.

use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use dmp_dns::message::Response;
use dmp_dns::{Name, Rcode, Rtype};
use tokio::time::{Instant, sleep_until};

use crate::cookies::CookieJar;
use crate::exchange::{self, Dnssec, ExchangeError, QueryPlan};
use crate::health::{Fared, Health, Oracle, Said, Walk};
use crate::limits;
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
    /// Failures in a row that put an upstream into cooldown; at least 1.
    pub failure_threshold: u32,
    /// How long it is asked last then.
    pub cooldown: Duration,
    /// Timeouts in a row after which this pool asks an upstream no more; `None` for a pool that outlives a run.
    pub give_up_after_timeouts: Option<u32>,
    /// Whether answers and denials without AD are failures (`dnssec_required`).
    pub dnssec: Dnssec,
}

impl Default for PoolOptions {
    fn default() -> Self {
        Self {
            timeout: limits::POOL_TRY,
            total: limits::POOL_TOTAL,
            failure_threshold: 1,
            cooldown: limits::COOLDOWN,
            give_up_after_timeouts: Some(limits::TIMEOUTS_PER_RUN),
            dnssec: Dnssec::Ignored,
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
    upstreams: Vec<Upstream>,
    options: PoolOptions,
    health: Mutex<Health>,
    cookies: CookieJar,
}

impl ResolverPool {
    /// A pool of these, the first one preferred; `system` stands for what the system uses now.
    pub fn new<E: Into<Entry>>(entries: Vec<E>, options: PoolOptions) -> Result<Self, NoUpstream> {
        let mut upstreams: Vec<Upstream> = Vec::new();
        for upstream in entries
            .into_iter()
            .flat_map(|entry| entry.into().upstreams())
        {
            if !upstreams.contains(&upstream) {
                upstreams.push(upstream);
            }
        }
        if upstreams.is_empty() {
            return Err(NoUpstream);
        }
        Ok(Self::of(upstreams, options))
    }

    /// The resolvers of `/etc/resolv.conf`, or the one on loopback if it names none or cannot be read.
    pub fn system(options: PoolOptions) -> Self {
        Self::of(Entry::System.upstreams(), options)
    }

    fn of(upstreams: Vec<Upstream>, options: PoolOptions) -> Self {
        let health = Health::new(
            upstreams.len(),
            options.failure_threshold,
            options.cooldown,
            options.give_up_after_timeouts,
            Instant::now(),
        );
        Self {
            upstreams,
            options,
            health: Mutex::new(health),
            cookies: CookieJar::default(),
        }
    }

    /// The upstreams in priority order, at least one, each once.
    pub fn upstreams(&self) -> &[Upstream] {
        &self.upstreams
    }

    /// TXT values of `name`: the strings of one record joined; a value that is not UTF-8 is left out alone (records.md 5.1).
    pub async fn txt(&self, name: &Name) -> Lookup {
        let values = |response: &Response, name: &Name| {
            response.txt(name).into_iter().map(<[u8]>::to_vec).collect()
        };
        match self.lookup(Oracle::Judges, name, Rtype::TXT, values).await {
            Lookup::Found(values) => {
                let values: Vec<String> = values
                    .into_iter()
                    .filter_map(|value| String::from_utf8(value).ok())
                    .collect();
                if values.is_empty() {
                    Lookup::Absent
                } else {
                    Lookup::Found(values)
                }
            }
            Lookup::Absent => Lookup::Absent,
            Lookup::Unreachable(why) => Lookup::Unreachable(why),
        }
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

    /// Asks upstreams in order until one has values (federation.md 7.2).
    async fn lookup<T>(
        &self,
        oracle: Oracle,
        name: &Name,
        rtype: Rtype,
        values: fn(&Response, &Name) -> Vec<T>,
    ) -> Lookup<T> {
        let mut walk = Walk::new(oracle, self.health().order(Instant::now()));
        while let Some(index) = walk.next() {
            let said = self.ask(index, name, rtype, values).await;
            if let Some(values) = walk.note(index, said, &mut self.health(), Instant::now()) {
                return Lookup::Found(values);
            }
        }
        walk.finish(&mut self.health(), Instant::now())
    }

    async fn ask<T>(
        &self,
        index: usize,
        name: &Name,
        rtype: Rtype,
        values: fn(&Response, &Name) -> Vec<T>,
    ) -> Said<T> {
        let Some(server) = self.upstreams.get(index).map(Upstream::address) else {
            return Said::Absent;
        };
        let due = self.health().reserve(index, Instant::now());
        sleep_until(due).await;
        let plan = QueryPlan {
            timeout: self.options.timeout,
            total: self.options.total,
            dnssec: self.options.dnssec,
        };
        let response = match exchange::query(server, name, rtype, plan, &self.cookies).await {
            Ok(response) => response,
            Err(ExchangeError::Timeout) => {
                return Said::Failed(Fared::TimedOut, format!("{server}: no answer in time"));
            }
            Err(error) => return Said::Failed(Fared::Badly, format!("{server}: {error}")),
        };
        if response.rcode != Rcode::NOERROR && response.rcode != Rcode::NXDOMAIN {
            return Said::Failed(Fared::Badly, format!("{server}: {}", response.rcode));
        }
        if self.options.dnssec == Dnssec::Requested && !response.authentic_data {
            tracing::warn!(upstream = %server, "answer without AD dropped");
            return Said::Failed(
                Fared::Badly,
                format!("{server}: answer is not validated (AD missing)"),
            );
        }
        let values = values(&response, name);
        if values.is_empty() {
            Said::Absent
        } else {
            Said::Values(values)
        }
    }

    fn health(&self) -> MutexGuard<'_, Health> {
        // Counters stay meaningful whoever panicked while holding them.
        self.health.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
