//! What stands between the node and strangers who can forge where they write from: cookies, response-rate limiting, and
//! the size of a datagram (D12, node.md 2.8).
//!
//! Over UDP every answer is charged to the prefix it would go to and its kind, unless the request proves its address
//! by a cookie or its author by a signature on an UPDATE. It decides; writing and sending are the listeners'.

use std::hash::BuildHasher;
use std::io;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::time::Instant;

use dmp_dns::Rcode;
use dmp_dns::answer::{AnswerClass, Answered, Exchange, Transport, slipped};
use dmp_dns::cookie::{Cookie, Proof};
use dmp_dns::query::Query;
use foldhash::quality::RandomState;

use super::cookies::CookieSecrets;
use super::prefix::Prefix;
use super::rate::{RateTable, Taken};
use crate::access::claims::{Address, Source, SourceLimit};
use crate::config;
use crate::context::{Context, Live};
use crate::metrics::{Dropped, Limited, Outcome};
use crate::settings::PrefixLengths;

/// What all listeners ask.
#[derive(Debug)]
pub(super) struct Guard {
    context: Arc<Context>,
    /// What it was made from.
    live: Arc<Live>,
    /// `None`: no limit.
    rates: Option<RateTable>,
    /// Seeded, so that nobody can choose who shares a bucket.
    hasher: RandomState,
    lengths: PrefixLengths,
    exempt: Vec<config::Prefix>,
    cookies: Arc<CookieSecrets>,
    nsid: Option<Vec<u8>>,
    payload: u16,
    start: Instant,
}

/// Where a request came from, how, and when.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sender {
    /// UDP or TCP; only over UDP the address may be forged.
    pub(super) transport: Transport,
    /// The address an answer goes to, IPv4 mapped into IPv6.
    pub(super) peer: Ipv6Addr,
    /// [`Guard::micros`] when it was received.
    pub(super) at: u64,
}

/// Kinds of answers that have a bucket each, so that a flood of one kind does not cost a client the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum AnswerKind {
    /// An answer to a query.
    Query(AnswerClass),
    /// FORMERR or NOTIMP to what cannot be read.
    Unreadable,
    /// The answer to an UPDATE without a signature.
    UnsignedUpdate,
    /// The answer to a signature that does not hold.
    Unauthentic,
}

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It is answered.
    Answer,
    /// It is told how to come through ([`slipped`]).
    Slip,
    /// Nothing goes back.
    Silence,
}

/// What goes back after all.
#[derive(Clone, Copy, Debug)]
pub(super) struct Settled {
    /// Octets at the start of the buffer; 0 for nothing.
    pub(super) len: usize,
    pub(super) rcode: Rcode,
    pub(super) outcome: Outcome,
}

impl Guard {
    /// The guard that the settings ask for.
    pub(super) fn new(context: &Arc<Context>) -> io::Result<Self> {
        let live = context.live();
        let settings = live.settings();
        let now = context.clock().seconds();
        let cookies = CookieSecrets::new(settings.cookie_secrets.as_ref(), now)?;
        let rates = RateTable::new(settings.dns_rate, settings.dns_burst);
        let hasher = RandomState::default();
        Ok(Self::of(
            context,
            live,
            rates,
            hasher,
            Arc::new(cookies),
            Instant::now(),
        ))
    }

    /// The guard that the settings in force now ask for. What this one has counted stays counted, and the cookies it
    /// gave out stay good.
    pub(super) fn renewed(&self) -> Self {
        let live = self.context.live();
        let settings = live.settings();
        let now = self.context.clock().seconds();
        self.cookies
            .configure(settings.cookie_secrets.as_ref(), now);
        let (rate, burst) = (settings.dns_rate, settings.dns_burst);
        let rates = match &self.rates {
            Some(rates) => rates.at(rate, burst),
            None => RateTable::new(rate, burst),
        };
        let cookies = Arc::clone(&self.cookies);
        Self::of(
            &self.context,
            live,
            rates,
            self.hasher.clone(),
            cookies,
            self.start,
        )
    }

    fn of(
        context: &Arc<Context>,
        live: Arc<Live>,
        rates: Option<RateTable>,
        hasher: RandomState,
        cookies: Arc<CookieSecrets>,
        start: Instant,
    ) -> Self {
        let settings = live.settings();
        Self {
            context: Arc::clone(context),
            rates,
            hasher,
            lengths: settings.dns_prefixes,
            exempt: settings.dns_rate_exempt.clone(),
            cookies,
            nsid: settings.nsid.clone(),
            payload: settings.udp_payload,
            start,
            live,
        }
    }

    /// The settings it was made from, and what is served by them.
    pub(super) fn live(&self) -> &Live {
        &self.live
    }

    /// What the node is made of.
    pub(super) fn context(&self) -> &Arc<Context> {
        &self.context
    }

    /// Microseconds of a clock that does not run backwards.
    pub(super) fn micros(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    /// UDP with this node's limit.
    pub(super) fn udp(&self) -> Transport {
        Transport::Udp {
            payload: self.payload,
        }
    }

    /// How many bits of an address count.
    pub(super) fn lengths(&self) -> PrefixLengths {
        self.lengths
    }

    /// Whether nothing is limited for this address.
    #[inline]
    pub(super) fn is_exempt(&self, address: Ipv6Addr) -> bool {
        let address = IpAddr::V6(address);
        self.exempt.iter().any(|prefix| prefix.contains(address))
    }

    /// An exchange by `transport` at `now` (Unix seconds) that no cookie begins.
    pub(super) fn exchange(&self, transport: Transport, now: u64) -> Exchange<'_> {
        let mut exchange = Exchange::new(transport, now);
        exchange.nsid = self.nsid.as_deref();
        exchange
    }

    /// What the cookie of a request from `peer` proves at `now` (Unix seconds).
    pub(super) fn judge(&self, cookie: Cookie<'_>, peer: Ipv6Addr, now: u64) -> Proof {
        let secrets = self.cookies.at(now);
        secrets.judge(Some(cookie), peer.to_canonical(), now)
    }

    /// Where an unsigned UPDATE comes from, as the claim policy counts it (W-11).
    pub(super) fn source(&self, sender: &Sender, proof: Proof) -> Source {
        let is_proven = sender.transport == Transport::Tcp || proof.is_valid();
        Source {
            network: Prefix::of(sender.peer, self.lengths).address(),
            address: if is_proven {
                Address::Proven
            } else {
                Address::Claimed
            },
            limit: if self.is_exempt(sender.peer) {
                SourceLimit::Exempt
            } else {
                SourceLimit::Applies
            },
        }
    }

    /// Whether an answer of this kind may go to `sender`, whose request proves what `proof` says.
    #[inline]
    pub(super) fn decide(&self, kind: AnswerKind, sender: &Sender, proof: &Proof) -> Fate {
        let Some(rates) = &self.rates else {
            return Fate::Answer;
        };
        // Who is exempt takes nothing from the others of its network.
        if sender.transport == Transport::Tcp || proof.is_valid() || self.is_exempt(sender.peer) {
            return Fate::Answer;
        }
        self.charge(rates, kind, sender, proof)
    }

    /// Takes a token of the sender's network for an answer of this kind.
    #[inline(never)]
    fn charge(&self, rates: &RateTable, kind: AnswerKind, sender: &Sender, proof: &Proof) -> Fate {
        let key = (kind, Prefix::of(sender.peer, self.lengths));
        let metrics = self.context.metrics();
        match rates.take(self.hasher.hash_one(key), sender.at) {
            Taken::Granted => Fate::Answer,
            // There is no shorter answer to it.
            Taken::Slipped if kind != AnswerKind::Unreadable => {
                let cookie = proof.answer().map_or(Limited::Slip, |_| Limited::Cookie);
                metrics.limited.count(cookie);
                Fate::Slip
            }
            Taken::Slipped | Taken::Dropped => {
                metrics.limited.count(Limited::Drop);
                metrics
                    .dropped(sender.transport)
                    .count(Dropped::RateLimited);
                Fate::Silence
            }
        }
    }

    /// What goes to `sender` after an answer to `query` was written to `out`: that, a shorter one written over it, or
    /// nothing.
    #[inline]
    pub(super) fn settle(
        &self,
        query: &Query<'_>,
        exchange: &Exchange<'_>,
        sender: &Sender,
        answered: Answered,
        out: &mut [u8],
    ) -> Settled {
        let kind = AnswerKind::Query(answered.class);
        let (answered, outcome) = match self.decide(kind, sender, &exchange.cookie) {
            Fate::Answer => (answered, Outcome::Answered),
            Fate::Slip => (slipped(query, *exchange, out), Outcome::RateLimited),
            Fate::Silence => (Answered { len: 0, ..answered }, Outcome::RateLimited),
        };
        Settled {
            len: answered.len,
            rcode: answered.rcode,
            outcome,
        }
    }
}
