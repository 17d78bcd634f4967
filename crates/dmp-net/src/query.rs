//! One question to one server over UDP and TCP, until there is an answer that nobody beside the path can have forged.
//!
//! Which server, and what its answer means, is decided elsewhere.

use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use dmp_dns::message::{CaseMatch, QueryBuilder, Response};
use dmp_dns::{Name, Rcode, Rtype};
use tokio::net::UdpSocket;
use tokio::time::{Instant, sleep_until};

use crate::channel::Channel;
use crate::exchange::{self, ExchangeError, connect, converse, random, random_id};
use crate::limits;
use crate::peers::{Form, Path, Peer, Peers};
use crate::trust::Trust;
use crate::upstream::Upstream;

/// Whether answers have to be validated by the server that gives them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Dnssec {
    /// Answers are taken as they come.
    Ignored,
    /// DO is set; the caller looks at AD.
    Requested,
}

/// How long a question may take, and what it asks for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct QueryPlan {
    /// One try.
    pub(crate) timeout: Duration,
    /// All tries together.
    pub(crate) total: Duration,
    /// Whether validation by the server is wanted.
    pub(crate) dnssec: Dnssec,
}

/// Asks over UDP with random case (DNS-0x20) and a cookie; over TCP if the answer is truncated, if its question came back
/// in other case or without the cookie it used to have, and beside UDP if that stays silent - a node whose rate limit is
/// reached is silent on UDP only (client.md 4.1).
///
/// A server that takes no cookies, or no EDNS, is asked in the simpler form. One that folds case is asked over TCP from
/// then on; if it has no TCP, two answers to independent questions must agree.
pub(crate) async fn query(
    server: SocketAddr,
    name: &Name,
    rtype: Rtype,
    plan: QueryPlan,
    peers: &Peers,
) -> Result<Response, ExchangeError> {
    let socket = connect(server).await?;
    let asker = Asker {
        server,
        name,
        rtype,
        plan,
        peers,
        path: (server, socket.local_addr()?.ip()),
        unused: Mutex::new(Some(socket)),
        deadline: Instant::now() + plan.total,
    };
    let known_to_fold = asker.peer()?.folds_case;
    if known_to_fold && let Ok(response) = asker.tcp().await {
        return Ok(response);
    }
    let doubtful = match asker.udp_with_tcp_beside().await {
        Ok(Heard::Answer(response)) => return Ok(*response),
        Ok(Heard::Unconfirmed) => None,
        Ok(Heard::Folded(response)) => Some(response),
        // An ICMP message about UDP says nothing about TCP, and is easily forged.
        Err(error @ ExchangeError::Network(_)) => return asker.tcp().await.map_err(|_| error),
        Err(error) => return Err(error),
    };
    match (asker.tcp().await, doubtful) {
        (Ok(response), _) => Ok(response),
        (Err(_), Some(first)) => match asker.udp().await? {
            Heard::Folded(second) if agree(&first, &second) => {
                asker.peers.folds_case(asker.path);
                Ok(*second)
            }
            Heard::Answer(second) => Ok(*second),
            Heard::Folded(_) | Heard::Unconfirmed => Err(ExchangeError::Garbage),
        },
        (Err(error), None) => Err(error),
    }
}

/// Asks one server by itself, outside any pool, and returns the whole answer: for whoever wants to see lifetimes and flags.
/// An encrypted one has a connection of its own, and the authorities of [`Trust::of_environment`].
pub async fn ask(
    upstream: &Upstream,
    name: &Name,
    rtype: Rtype,
    timeout: Duration,
) -> Result<Response, ExchangeError> {
    let plan = QueryPlan {
        timeout,
        total: timeout,
        dnssec: Dnssec::Ignored,
    };
    match Channel::to(upstream, &Trust::of_environment()) {
        Some(channel) => channel.query(name, rtype, plan).await,
        None => query(upstream.address(), name, rtype, plan, &Peers::default()).await,
    }
}

/// What an answer over UDP comes to.
enum Heard {
    /// It can be believed.
    Answer(Box<Response>),
    /// Its question is in other letters.
    Folded(Box<Response>),
    /// To be asked over TCP.
    Unconfirmed,
}

/// The same, or what to ask next.
enum Step {
    Heard(Heard),
    /// The same again, with the cookie that came.
    OtherCookie,
    /// A simpler question.
    Simpler,
}

struct Asker<'a> {
    server: SocketAddr,
    name: &'a Name,
    rtype: Rtype,
    plan: QueryPlan,
    peers: &'a Peers,
    path: Path,
    /// The socket that told the path, for the first datagram; every other has one of its own.
    unused: Mutex<Option<UdpSocket>>,
    deadline: Instant,
}

impl Asker<'_> {
    fn peer(&self) -> Result<Peer, ExchangeError> {
        Ok(self.peers.at(self.path)?)
    }

    /// The end of a try that begins now.
    fn end(&self) -> Instant {
        self.deadline.min(Instant::now() + self.plan.timeout)
    }

    fn builder(&self, form: Form) -> Result<QueryBuilder, ExchangeError> {
        let builder = QueryBuilder::new(self.name.with_case(&random()?), self.rtype);
        Ok(match (self.plan.dnssec, form) {
            (Dnssec::Requested, _) => builder.with_dnssec(),
            (Dnssec::Ignored, Form::Plain) => builder.without_edns(),
            (Dnssec::Ignored, Form::Edns | Form::Cookie) => builder,
        })
    }

    /// The form to fall back to; what is to be validated needs EDNS.
    fn simpler(&self, form: Form) -> Option<Form> {
        form.simpler()
            .filter(|form| self.plan.dnssec == Dnssec::Ignored || *form != Form::Plain)
    }

    async fn udp_with_tcp_beside(&self) -> Result<Heard, ExchangeError> {
        let begun = Instant::now();
        let udp = self.udp();
        tokio::pin!(udp);
        tokio::select! {
            heard = &mut udp => heard,
            () = sleep_until(begun + limits::tcp_beside(self.plan.timeout)) => tokio::select! {
                Ok(response) = self.tcp() => Ok(Heard::Answer(Box::new(response))),
                Ok(Heard::Answer(response)) = &mut udp => Ok(Heard::Answer(response)),
                // Who is silent on UDP and does not answer over TCP did not answer in time.
                else => Err(ExchangeError::Timeout),
            },
        }
    }

    async fn udp(&self) -> Result<Heard, ExchangeError> {
        let known = self.peer()?.form;
        let (mut form, mut is_cookie_renewed) = (known, false);
        let end = self.end();
        loop {
            match self.udp_once(form, end).await? {
                Step::Heard(heard) => {
                    if form != known
                        && matches!(&heard, Heard::Answer(answer) if !is_about_form(answer))
                    {
                        self.peers.settle(self.path, form);
                    }
                    return Ok(heard);
                }
                Step::OtherCookie if is_cookie_renewed => return Ok(Heard::Unconfirmed),
                Step::OtherCookie => is_cookie_renewed = true,
                Step::Simpler => match self.simpler(form) {
                    Some(simpler) => form = simpler,
                    None => return Ok(Heard::Unconfirmed),
                },
            }
        }
    }

    async fn udp_once(&self, form: Form, end: Instant) -> Result<Step, ExchangeError> {
        let unused = self
            .unused
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        let socket = match unused {
            Some(socket) => socket,
            None => connect(self.server).await?,
        };
        let peer = self.peer()?;
        let own = peer.cookies(form);
        let builder = self.builder(form)?;
        let builder = match own {
            Some(own) => builder.with_cookie(own.as_cookie()),
            None => builder,
        };
        let request = builder.build(random_id()?);
        let mut accept = |datagram: &[u8]| {
            let response = Response::parse(datagram).ok()?;
            if !response.is_answer_to(&request, CaseMatch::Folded) {
                return None;
            }
            // RFC 7873 5.3: an answer with another client's cookie, or with what is none, is not for us.
            let theirs = response.cookie().ok()?;
            if let (Some(own), Some(theirs)) = (own, theirs) {
                if theirs.client != own.client {
                    return None;
                }
                self.peers.learn(self.path, theirs);
            }
            let has_cookie = theirs.is_some();
            Some(if response.truncated {
                Step::Heard(Heard::Unconfirmed)
            } else if response.rcode == Rcode::BADCOOKIE && has_cookie {
                Step::OtherCookie
            } else if is_about_form(&response) && !has_cookie && self.simpler(form).is_some() {
                Step::Simpler
            } else if own.is_some_and(|own| !own.server.is_empty()) && !has_cookie {
                // Forged, or from a server that has stopped sending cookies; only TCP can tell.
                self.peers.forget(self.path);
                Step::Heard(Heard::Unconfirmed)
            } else if !response.is_answer_to(&request, CaseMatch::Exact) {
                Step::Heard(Heard::Folded(Box::new(response)))
            } else {
                Step::Heard(Heard::Answer(Box::new(response)))
            })
        };
        let retransmit = Instant::now() + limits::retransmit_query(self.plan.timeout);
        converse(&socket, &request, retransmit, end, &mut accept).await
    }

    async fn tcp(&self) -> Result<Response, ExchangeError> {
        let mut form = self.peer()?.form;
        loop {
            let request = self.builder(form)?.for_tcp().build(random_id()?);
            let left = self.end().saturating_duration_since(Instant::now());
            let answer = exchange::tcp(self.server, &request, left).await?;
            let response = Response::parse(&answer).map_err(|_| ExchangeError::Garbage)?;
            if !response.is_answer_to(&request, CaseMatch::Folded) {
                return Err(ExchangeError::Garbage);
            }
            match self.simpler(form) {
                // There are no cookies over TCP: without EDNS is the next simpler form.
                Some(_) if is_about_form(&response) && self.plan.dnssec == Dnssec::Ignored => {
                    form = Form::Plain;
                }
                _ => {
                    if !response.is_answer_to(&request, CaseMatch::Exact) {
                        self.peers.folds_case(self.path);
                    }
                    return Ok(response);
                }
            }
        }
    }
}

/// Whether a server says that it could not read the query (RFC 6891 7, 6.1.3).
fn is_about_form(response: &Response) -> bool {
    matches!(
        response.rcode,
        Rcode::FORMERR | Rcode::NOTIMP | Rcode::BADVERS
    )
}

/// Whether two answers say the same, in whatever order and for whatever time.
fn agree(one: &Response, other: &Response) -> bool {
    let covers = |all: &Response, some: &Response| {
        some.answers.iter().all(|record| {
            all.answers
                .iter()
                .any(|known| known.owner == record.owner && known.data == record.data)
        })
    };
    one.rcode == other.rcode && covers(one, other) && covers(other, one)
}
