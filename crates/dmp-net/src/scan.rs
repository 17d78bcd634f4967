//! What a resolver can do, found out by asking it: reach, sizes, TXT, case, honesty about what does not exist, DNSSEC
//! (product.md "doctor network"; federation.md 7.3).
//!
//! It judges nothing but answers to its own questions, asks whom it is told to and keeps no memory.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use dmp_dns::message::{CaseMatch, QueryBuilder, Response};
use dmp_dns::{Name, Rcode, Rtype};
use futures_util::future::join_all;
use tokio::time::Instant;

use crate::channel::Channel;
use crate::exchange::{self, ExchangeError, random, random_id};
use crate::limits;
use crate::trust::Trust;
use crate::upstream::Upstream;

/// The well-known public resolvers that are looked at when nobody names others, in this order (federation.md 7.3).
pub const PUBLIC: [Ipv4Addr; 8] = [
    Ipv4Addr::new(8, 8, 8, 8),
    Ipv4Addr::new(8, 8, 4, 4),
    Ipv4Addr::new(1, 1, 1, 1),
    Ipv4Addr::new(1, 0, 0, 1),
    Ipv4Addr::new(9, 9, 9, 9),
    Ipv4Addr::new(149, 112, 112, 112),
    Ipv4Addr::new(208, 67, 222, 222),
    Ipv4Addr::new(208, 67, 220, 220),
];

/// DNSKEY (RFC 4034 2).
const DNSKEY: Rtype = Rtype(48);

/// The names that the questions are about, and whose word counts about encrypted resolvers.
#[derive(Clone, Debug)]
pub struct Probes {
    /// Has TXT values; random names below it do not exist.
    pub present: Name,
    /// Is signed; its DNSKEY set with signatures has between 513 and 1232 octets.
    pub signed: Name,
    /// Has a TXT set of more than 1232 octets.
    pub large: Name,
    /// Its signatures are wrong on purpose: who validates answers SERVFAIL.
    pub bogus: Name,
    /// Who may vouch for a resolver that is spoken to over TLS.
    pub trust: Trust,
}

impl Default for Probes {
    /// Authorities of the environment, and names of the public DNS: `google.com`, the root, `microsoft.com`, `dnssec-failed.org`.
    fn default() -> Self {
        let name = |text: &str| text.parse().unwrap_or_else(|_| Name::root());
        Self {
            present: name("google.com"),
            signed: Name::root(),
            large: name("microsoft.com"),
            bogus: name("dnssec-failed.org"),
            trust: Trust::of_environment(),
        }
    }
}

/// What was found out about one resolver.
#[derive(Clone, Debug)]
pub struct ResolverReport {
    /// Who was asked.
    pub upstream: Upstream,
    /// Whether it answers over TLS or HTTPS; not asked if it is a resolver of plain DNS, and the next two if it is not.
    pub encrypted: Reach,
    /// Whether it answers over UDP.
    pub udp: Reach,
    /// Whether it answers over TCP: large answers need that.
    pub tcp: Reach,
    /// Whether it takes queries with an OPT record (RFC 6891).
    pub edns: Verdict,
    /// The largest size class, in octets, of which an answer came whole over UDP: 512, 1232 or 4096.
    pub payload: Option<u16>,
    /// Whether TXT values come back.
    pub txt: Verdict,
    /// Whether it repeats the letters of a question in the case it was asked in (DNS-0x20).
    pub case: Verdict,
    /// Whether it denies what does not exist.
    pub nxdomain: Verdict,
    /// Whether it validates: AD on what is signed, SERVFAIL for what is signed wrongly.
    pub dnssec: Verdict,
}

impl ResolverReport {
    /// Whether look-ups through it can work.
    pub fn is_usable(&self) -> bool {
        let denied = |verdict: &Verdict| matches!(verdict, Verdict::No(_));
        self.latency().is_some() && self.txt == Verdict::Yes && !denied(&self.nxdomain)
    }

    /// How long its first answer took, the handshake included; over UDP if that works.
    pub fn latency(&self) -> Option<Duration> {
        let reaches = [&self.encrypted, &self.udp, &self.tcp];
        reaches.into_iter().find_map(Reach::latency)
    }
}

/// Whether a resolver answers over one transport.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Reach {
    /// It does, this fast.
    Answers(Duration),
    /// It does not, and why.
    Fails(String),
    /// It is not that kind of resolver.
    NotAsked,
}

impl Reach {
    fn latency(&self) -> Option<Duration> {
        match self {
            Self::Answers(latency) => Some(*latency),
            Self::Fails(_) | Self::NotAsked => None,
        }
    }
}

/// One finding.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// As it should be.
    Yes,
    /// Not, and what was seen instead.
    No(String),
    /// The question was not answered.
    Unknown,
}

/// Looks at all of these resolvers side by side; the reports come in the order of the list. `timeout` is for one question.
pub async fn scan(
    upstreams: &[Upstream],
    probes: &Probes,
    timeout: Duration,
) -> Vec<ResolverReport> {
    join_all(
        upstreams
            .iter()
            .map(|upstream| examine(upstream, probes, timeout)),
    )
    .await
}

/// Those of the candidates that answer a TXT question about [`Probes::present`] with values or NXDOMAIN, in the order of
/// the list, each once (federation.md 7.3). All are asked at once; `timeout` is for the whole question.
pub async fn discover(
    candidates: &[Upstream],
    probes: &Probes,
    timeout: Duration,
) -> Vec<Upstream> {
    let mut once: Vec<&Upstream> = Vec::new();
    for candidate in candidates {
        if !once.contains(&candidate) {
            once.push(candidate);
        }
    }
    let answers = join_all(once.iter().map(|upstream| async {
        let question = Question::about(probes.present.clone(), Rtype::TXT);
        let channel = Channel::to(upstream, &probes.trust);
        let via = channel.as_ref().map_or(Via::Udp, Via::Channel);
        let asked = question.ask_whole(via, upstream.address(), timeout);
        match tokio::time::timeout(timeout, asked).await {
            Ok(Ok(Heard { response, .. })) => {
                response.rcode == Rcode::NXDOMAIN || !response.txt(&question.name).is_empty()
            }
            Ok(Err(_)) | Err(_) => false,
        }
    }))
    .await;
    let working = once
        .into_iter()
        .zip(answers)
        .filter(|(_, answers)| *answers);
    working.map(|(upstream, _)| upstream.clone()).collect()
}

async fn examine(upstream: &Upstream, probes: &Probes, timeout: Duration) -> ResolverReport {
    let server = upstream.address();
    let plain = Question::about(probes.present.clone(), Rtype::TXT).without_edns();
    let mut report = ResolverReport {
        upstream: upstream.clone(),
        encrypted: Reach::NotAsked,
        udp: Reach::NotAsked,
        tcp: Reach::NotAsked,
        edns: Verdict::Unknown,
        payload: None,
        txt: Verdict::Unknown,
        case: Verdict::Unknown,
        nxdomain: Verdict::Unknown,
        dnssec: Verdict::Unknown,
    };
    let channel = Channel::to(upstream, &probes.trust);
    let (via, udp) = match &channel {
        Some(channel) => {
            report.encrypted = reach(&plain.ask(Via::Channel(channel), server, timeout).await);
            (Via::Channel(channel), None)
        }
        None => {
            let (udp, tcp) = tokio::join!(
                plain.ask(Via::Udp, server, timeout),
                plain.ask(Via::Tcp, server, timeout)
            );
            (report.udp, report.tcp) = (reach(&udp), reach(&tcp));
            (if udp.is_ok() { Via::Udp } else { Via::Tcp }, udp.ok())
        }
    };
    if report.latency().is_none() {
        return report;
    }
    let examiner = Examiner {
        server,
        via,
        timeout,
    };
    let (edns, txt, nxdomain, (dnssec, signed), large) = tokio::join!(
        examiner.edns(probes),
        examiner.txt(probes),
        examiner.nxdomain(probes),
        examiner.dnssec(probes),
        examiner.large(probes),
    );
    (report.edns, report.txt, report.nxdomain, report.dnssec) = (edns, txt, nxdomain, dnssec);
    if let Some(udp) = udp {
        report.case = match udp.exact {
            true => Verdict::Yes,
            false => Verdict::No("the question comes back in other letters".to_owned()),
        };
        let largest = [Some(udp.octets), signed, large]
            .into_iter()
            .flatten()
            .max();
        report.payload = largest.map(size_class);
    }
    report
}

/// The size class that an answer over UDP proves.
fn size_class(octets: usize) -> u16 {
    let classes = [dmp_dns::limits::UDP_PLAIN, dmp_dns::limits::UDP];
    let class = classes.into_iter().find(|class| octets <= *class);
    class.map_or(limits::LARGE_PAYLOAD, |class| class as u16)
}

fn reach(heard: &Result<Heard, ExchangeError>) -> Reach {
    match heard {
        Ok(heard) => Reach::Answers(heard.took),
        Err(error) => Reach::Fails(error.to_string()),
    }
}

/// One resolver that answers, and the transport to ask over.
struct Examiner<'a> {
    server: SocketAddr,
    via: Via<'a>,
    timeout: Duration,
}

impl Examiner<'_> {
    async fn ask(&self, question: &Question) -> Option<Heard> {
        question.ask(self.via, self.server, self.timeout).await.ok()
    }

    /// The answer, over TCP if it does not come whole.
    async fn ask_whole(&self, question: &Question) -> Option<Heard> {
        let heard = question.ask_whole(self.via, self.server, self.timeout);
        heard.await.ok()
    }

    async fn edns(&self, probes: &Probes) -> Verdict {
        let question = Question::about(probes.present.clone(), Rtype::TXT);
        match self.ask(&question).await.map(|heard| heard.response.rcode) {
            Some(rcode @ (Rcode::FORMERR | Rcode::NOTIMP | Rcode::BADVERS)) => {
                Verdict::No(format!("{rcode} to a query with EDNS"))
            }
            Some(_) => Verdict::Yes,
            None => Verdict::No("no answer to a query with EDNS".to_owned()),
        }
    }

    async fn txt(&self, probes: &Probes) -> Verdict {
        let question = Question::about(probes.present.clone(), Rtype::TXT).without_edns();
        match self.ask_whole(&question).await {
            Some(heard) if !heard.response.txt(&question.name).is_empty() => Verdict::Yes,
            Some(heard) => Verdict::No(format!("{} without TXT values", heard.response.rcode)),
            None => Verdict::No("no whole answer".to_owned()),
        }
    }

    /// A name that nobody can have made up before is asked for its address and for text.
    async fn nxdomain(&self, probes: &Probes) -> Verdict {
        let Ok(name) = absent_below(&probes.present) else {
            return Verdict::Unknown;
        };
        let [address, text] =
            [Rtype::A, Rtype::TXT].map(|rtype| Question::about(name.clone(), rtype).without_edns());
        let (address, text) = tokio::join!(self.ask(&address), self.ask(&text));
        let (Some(address), Some(text)) = (address, text) else {
            return Verdict::Unknown;
        };
        let invented = address.response.addresses(&name);
        if let Some(invented) = invented.first() {
            return Verdict::No(format!("invents {invented} for a name that does not exist"));
        }
        if !text.response.txt(&name).is_empty() {
            return Verdict::No("invents text for a name that does not exist".to_owned());
        }
        match (address.response.rcode, text.response.rcode) {
            (Rcode::NXDOMAIN, Rcode::NXDOMAIN) => Verdict::Yes,
            (Rcode::NXDOMAIN, other) | (other, _) => {
                Verdict::No(format!("{other} for a name that does not exist"))
            }
        }
    }

    /// The verdict, and the octets of the signed answer if it came whole over UDP.
    async fn dnssec(&self, probes: &Probes) -> (Verdict, Option<usize>) {
        let payload = dmp_dns::limits::UDP as u16;
        let signed = Question::about(probes.signed.clone(), DNSKEY).with_dnssec(payload);
        let bogus = Question::about(probes.bogus.clone(), Rtype::A).with_dnssec(payload);
        let (signed, bogus) = tokio::join!(self.ask(&signed), self.ask_whole(&bogus));
        let Some(signed) = signed else {
            return (Verdict::Unknown, None);
        };
        let verdict = match (signed.response.authentic_data, bogus) {
            (false, _) => Verdict::No("AD is missing on what is signed".to_owned()),
            (true, Some(bogus)) if bogus.response.rcode == Rcode::SERVFAIL => Verdict::Yes,
            (true, Some(_)) => Verdict::No("answers what is signed wrongly".to_owned()),
            (true, None) => Verdict::Unknown,
        };
        (verdict, self.whole(&signed))
    }

    /// The octets of a large answer if it came whole over UDP.
    async fn large(&self, probes: &Probes) -> Option<usize> {
        let question =
            Question::about(probes.large.clone(), Rtype::TXT).with_payload(limits::LARGE_PAYLOAD);
        self.whole(&self.ask(&question).await?)
    }

    fn whole(&self, heard: &Heard) -> Option<usize> {
        (matches!(self.via, Via::Udp) && !heard.response.truncated).then_some(heard.octets)
    }
}

#[derive(Clone, Copy)]
enum Via<'a> {
    Udp,
    Tcp,
    Channel(&'a Channel),
}

/// A question in random case.
struct Question {
    name: Name,
    builder: QueryBuilder,
}

/// An answer to it.
struct Heard {
    response: Response,
    /// Its size; of one over an encrypted channel nobody needs it.
    octets: usize,
    took: Duration,
    /// The question came back in the very same letters.
    exact: bool,
}

impl Heard {
    /// What came back for a request that went out at `begun`; `None` if it is no answer to it.
    fn read(answer: &[u8], request: &[u8], begun: Instant) -> Option<Self> {
        let response = Response::parse(answer).ok()?;
        response
            .is_answer_to(request, CaseMatch::Folded)
            .then(|| Self {
                octets: answer.len(),
                took: begun.elapsed(),
                exact: response.is_answer_to(request, CaseMatch::Exact),
                response,
            })
    }
}

impl Question {
    fn about(name: Name, rtype: Rtype) -> Self {
        // Without randomness the case is constant; asking fails then, since the message needs an id.
        let cased = name.with_case(&random().unwrap_or([0; 32]));
        Self {
            name,
            builder: QueryBuilder::new(cased, rtype),
        }
    }

    fn without_edns(mut self) -> Self {
        self.builder = self.builder.without_edns();
        self
    }

    fn with_payload(mut self, octets: u16) -> Self {
        self.builder = self.builder.with_payload(octets);
        self
    }

    fn with_dnssec(mut self, octets: u16) -> Self {
        self.builder = self.builder.with_dnssec().with_payload(octets);
        self
    }

    async fn ask(
        &self,
        via: Via<'_>,
        server: SocketAddr,
        timeout: Duration,
    ) -> Result<Heard, ExchangeError> {
        let begun = Instant::now();
        match via {
            Via::Udp => {
                let request = self.builder.build(random_id()?);
                let read = |answer: &[u8]| Heard::read(answer, &request, begun);
                exchange::udp(server, &request, timeout, read).await
            }
            Via::Tcp => {
                let request = self.builder.clone().for_tcp().build(random_id()?);
                let answer = exchange::tcp(server, &request, timeout).await?;
                Heard::read(&answer, &request, begun).ok_or(ExchangeError::Garbage)
            }
            Via::Channel(channel) => Ok(Heard {
                response: channel.ask(&self.builder, timeout).await?,
                octets: 0,
                took: begun.elapsed(),
                exact: true,
            }),
        }
    }

    /// The same, then over TCP if the answer over UDP is truncated.
    async fn ask_whole(
        &self,
        via: Via<'_>,
        server: SocketAddr,
        timeout: Duration,
    ) -> Result<Heard, ExchangeError> {
        let heard = self.ask(via, server, timeout).await?;
        if matches!(via, Via::Udp) && heard.response.truncated {
            return self.ask(Via::Tcp, server, timeout).await;
        }
        Ok(heard)
    }
}

/// A name below `name` that does not exist: 80 random bits as a label.
fn absent_below(name: &Name) -> io::Result<Name> {
    let label: String = random::<10>()?
        .iter()
        .map(|octet| format!("{octet:02x}"))
        .collect();
    format!("{label}.{name}")
        .parse()
        .map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))
}
