//! How a name server behaves towards what resolvers and strangers send: the payload sizes of EDNS, and too many questions.
//!
//! It asks and never writes.

use std::net::SocketAddr;
use std::time::Duration;

use dmp_dns::message::{CaseMatch, QueryBuilder, Response};
use dmp_dns::{Name, Rcode, Rtype};
use dmp_net::exchange::{random_id, udp};
use tokio::net::UdpSocket;
use tokio::time::timeout;

use super::online::PATIENCE;
use super::{Finding, Grade, advice};
use crate::config::Config;
use crate::limits::UDP_ANSWER_OCTETS;

/// Sizes that resolvers advertise: the least there is, what fits everywhere, and what used to be usual.
const SIZES: [u16; 3] = [512, 1232, 4096];
/// Most questions that are sent to find out whether there is a limit; a higher one is not looked for.
const MOST_QUESTIONS: f64 = 1_000.0;
/// A type that no apex of ours has.
const MX: Rtype = Rtype(15);
/// Silence after which no further answer is expected.
const SILENCE: Duration = Duration::from_millis(500);

/// Whether each size is understood and kept.
pub(super) async fn sizes(server: &str, address: SocketAddr, zone: &Name) -> Finding {
    for size in SIZES {
        if let Err(reason) = size_is_kept(address, zone, size).await {
            let text = format!("{server}: EDNS with {size} octets: {reason}");
            return Finding::new(Grade::Fail, text).advise(advice::EDNS_FAILS);
        }
    }
    let sizes = SIZES.map(|size| size.to_string()).join(", ");
    Finding::new(Grade::Ok, format!("{server}: EDNS with {sizes} octets"))
}

async fn size_is_kept(address: SocketAddr, zone: &Name, size: u16) -> Result<(), String> {
    let id = random_id().map_err(|error| error.to_string())?;
    let request = QueryBuilder::new(zone.clone(), Rtype::SOA)
        .with_payload(size)
        .build(id);
    let accept = |answer: &[u8]| {
        let response = Response::parse(answer).ok()?;
        let is_answer = response.is_answer_to(&request, CaseMatch::Exact);
        is_answer.then_some((response.rcode, answer.len()))
    };
    let answered = udp(address, &request, PATIENCE, accept).await;
    let (rcode, octets) = answered.map_err(|error| error.to_string())?;
    let most = usize::from(size).min(UDP_ANSWER_OCTETS);
    if rcode != Rcode::NOERROR {
        Err(format!("answered {rcode}"))
    } else if octets > most {
        Err(format!("an answer of {octets} octets"))
    } else {
        Ok(())
    }
}

/// Whether a flood of one question is answered in full. `None`: the settings allow more than is sent to find out.
pub(super) async fn limit(
    config: &Config,
    server: &str,
    address: SocketAddr,
    zone: &Name,
) -> Option<Finding> {
    let rate = config.dns.rate;
    let is_off = rate.per_second <= 0.0 || rate.burst <= 0.0;
    let told = |grade, text: &str| Finding::new(grade, format!("{server}: {text}"));
    if is_off {
        let text = "answers are not limited";
        return Some(told(Grade::Warn, text).advise(advice::NO_LIMIT));
    }
    let questions = rate.burst * 2.0 + rate.per_second;
    if questions > MOST_QUESTIONS {
        return None;
    }
    let finding = match answers_in_full(address, zone, questions as usize).await {
        Ok(true) => told(
            Grade::Warn,
            "a flood of one question is answered in full from here",
        )
        .advise(advice::NO_LIMIT),
        Ok(false) => told(Grade::Ok, "answers are limited"),
        Err(error) => told(Grade::Fail, &format!("a flood of one question: {error}")),
    };
    Some(finding)
}

/// Sends `questions` at once and counts what comes back.
async fn answers_in_full(
    address: SocketAddr,
    zone: &Name,
    questions: usize,
) -> std::io::Result<bool> {
    let any = if address.is_ipv4() {
        "0.0.0.0:0"
    } else {
        "[::]:0"
    };
    let socket = UdpSocket::bind(any).await?;
    socket.connect(address).await?;
    // A kind of answer that no other question of the check is charged to.
    let request = QueryBuilder::new(zone.clone(), MX).build(random_id()?);
    let (mut sent, mut answered) = (0, 0);
    let mut answer = [0; UDP_ANSWER_OCTETS];
    while sent < questions {
        socket.send(&request).await?;
        sent += 1;
        // In step with the answers as far as they come, so that none is lost for lack of room.
        while let Ok(length) = socket.try_recv(&mut answer) {
            answered += usize::from(is_full(&answer[..length]));
        }
    }
    while let Ok(received) = timeout(SILENCE, socket.recv(&mut answer)).await {
        answered += usize::from(is_full(&answer[..received?]));
    }
    Ok(answered == sent)
}

/// Whether the answer is not cut (TC).
fn is_full(answer: &[u8]) -> bool {
    answer.get(2).is_some_and(|flags| flags & 2 == 0)
}
