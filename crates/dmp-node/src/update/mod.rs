//! UPDATE on the server's side: from an authenticated message to one transaction and one answer (node.md 3, RFC 2136).
//!
//! It reads no socket: the caller has parsed and authenticated the message and gives a way to send the answer, which is
//! called once, when the change is durable or refused.

mod replay;

use std::sync::Arc;

use dmp_dns::answer::{Exchange, ExtendedError, Reply, Standing, respond, slipped};
use dmp_dns::query::Query;
use dmp_dns::tsig::{Authenticated, Authentication};
use dmp_dns::update::{self, Prerequisite, UpdateRequest};
use dmp_dns::{Name, Rcode, Rtype};

use crate::access::claims::{Address, ClaimRefusal, Source};
use crate::access::mailboxes::Mailboxes;
use crate::access::{Action, Author, TsigKey};
use crate::context::{Applied, Context, Operation, Refusal, apply};
use crate::limits::UDP_ANSWER_OCTETS;
use crate::metrics;
use crate::store::{Draft, Failure};
use crate::zone::Owner;

pub(crate) use replay::ReplayCache;
use replay::{Keep, Seen, Signature};

/// Sends one complete answer. It may be called on the writer thread and must not block for long.
pub(crate) type ReplyTo = Box<dyn FnOnce(Vec<u8>) + Send>;

/// Why an update is not applied.
#[derive(Clone, Debug)]
struct Denied {
    rcode: Rcode,
    reason: String,
    standing: Standing,
    /// How it is counted.
    result: metrics::Update,
    /// Whether a sender who proves its address may fare better.
    advice: Advice,
}

/// What to tell a sender whose claim found no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Advice {
    /// Nothing.
    None,
    /// How to come back with an address that is proven (W-11).
    ProveAddress,
}

/// A well-formed update of the served zone.
struct Wanted {
    prerequisites: Vec<Prerequisite>,
    operations: Vec<Operation>,
    author: Author,
}

/// What it takes to answer once the request itself is gone from the receive buffer.
struct Answering {
    message: Box<[u8]>,
    exchange: Exchange<'static>,
    address: Address,
    signed: Option<Authenticated<TsigKey>>,
}

/// Judges the update and, if it may be applied, queues it for the writer thread. `reply` is taken out once the judging is
/// done, so that a caller whose request breaks off before still has it.
pub(crate) fn handle(
    context: &Arc<Context>,
    query: &Query<'_>,
    authentication: Authentication<TsigKey>,
    exchange: Exchange<'_>,
    source: Source,
    reply: &mut Option<ReplyTo>,
) {
    let signed = match authentication {
        Authentication::Signed(signed) => Some(signed),
        Authentication::Unsigned => None,
    };
    let answering = Answering {
        message: query.message().into(),
        exchange: exchange.unidentified(),
        address: source.address,
        signed,
    };
    let author = answering
        .signed
        .as_ref()
        .map(|signed| signed.row().author());
    let wanted = judge(context, query, author, source, exchange.now);
    let Some(reply) = reply.take() else {
        return;
    };
    let updates = &context.metrics().updates;
    let wanted = match wanted {
        Ok(wanted) => wanted,
        Err(denied) => {
            updates.count(denied.result);
            return reply(answering.denied(&denied, exchange.now));
        }
    };
    let Some(signed) = &answering.signed else {
        return submit(context, wanted, answering, None, reply);
    };
    let key = signed.row().clone();
    let seen = context
        .replay()
        .begin(Signature::of(signed), query.id(), exchange.now, reply);
    match seen {
        Seen::First(reply) => submit(context, wanted, answering, Some(key), reply),
        Seen::InWork => updates.count(metrics::Update::Repeated),
        Seen::Applied(reply, at) => {
            updates.count(metrics::Update::Repeated);
            reply(answering.answer(Rcode::NOERROR, None, Standing::Authoritative, at));
        }
        Seen::Forgotten(reply) => {
            updates.count(metrics::Update::Notauth);
            if let Some(signed) = answering.signed {
                reply(signed.outdated(exchange.now).answer(query, exchange));
            }
        }
    }
}

/// Everything that can be decided without the state that earlier writes leave (node.md 3.1, steps 1 to 6).
fn judge(
    context: &Context,
    query: &Query<'_>,
    author: Option<&Author>,
    source: Source,
    now: u64,
) -> Result<Wanted, Denied> {
    let settings = context.settings();
    if !settings.update {
        return Err(Denied::refused("updates are switched off here").not_authoritative());
    }
    let request =
        UpdateRequest::parse(query).map_err(|refusal| Denied::from(refusal).not_authoritative())?;
    let apex = context
        .zone()
        .apex()
        .filter(|apex| request.zone().eq_ignore_ascii_case(apex.as_wire()));
    let Some(apex) = apex else {
        return Err(Denied::new(Rcode::NOTAUTH, "this zone is not served here").not_authoritative());
    };
    let prerequisites = request.prerequisites()?;
    let operations: Vec<Operation> = request
        .operations()?
        .into_iter()
        .map(to_operation)
        .collect::<Result<_, _>>()?;
    let caps = settings.caps;
    for operation in &operations {
        if let Operation::Publish { value, ttl, .. } = operation {
            caps.check_value(value, *ttl)
                .map_err(|refusal| Denied::over_a_cap(&refusal))?;
        }
    }
    if let Some(author) = author {
        return Ok(Wanted {
            prerequisites,
            operations,
            author: author.clone(),
        });
    }
    let keyring = context.access().keyring();
    let view = Mailboxes {
        zone: context.zone(),
        apex,
        keyring: &keyring,
        now,
    };
    let accepted = context.access().claims().accept(&view, source, operations);
    let result = accepted.as_ref().map_or_else(
        |refusal| match refusal {
            ClaimRefusal::Refused(_) => metrics::Claim::Refused,
            ClaimRefusal::Unregistered => metrics::Claim::Unregistered,
            ClaimRefusal::TooMany => metrics::Claim::Limited,
        },
        |_| metrics::Claim::Accepted,
    );
    context.metrics().claims.count(result);
    let (operations, claimant) = accepted.map_err(|refusal| match refusal {
        ClaimRefusal::Refused(reason) => Denied::refused(reason),
        ClaimRefusal::Unregistered => Denied::refused("the recipient is not registered here"),
        ClaimRefusal::TooMany => Denied::crowded_out("too many claims at the moment"),
    })?;
    Ok(Wanted {
        prerequisites,
        operations,
        author: Author::Claimant(claimant),
    })
}

/// Hands the update to the writer thread and answers after the commit.
fn submit(
    context: &Arc<Context>,
    wanted: Wanted,
    answering: Answering,
    key: Option<TsigKey>,
    reply: ReplyTo,
) {
    let (drafting, done) = (Arc::clone(context), Arc::clone(context));
    let work = move |draft: &mut Draft<'_>| {
        if let Some(key) = &key {
            authorise(&drafting, key, &wanted.operations, draft.now())?;
        }
        for prerequisite in &wanted.prerequisites {
            check_prerequisite(&drafting, draft, prerequisite)?;
        }
        drafting
            .store()
            .check_admission()
            .map_err(|failure| Denied::failed(&failure))?;
        let caps = drafting.settings().caps;
        let access = drafting.access();
        let applied = apply(draft, &caps, access, &wanted.author, &wanted.operations);
        applied.map_err(|refusal| match key {
            Some(_) => Denied::over_a_cap(&refusal),
            None => Denied::crowded_out(&refusal.to_string()),
        })
    };
    context
        .store()
        .transact_then(work, move |result: Result<Applied, Failure<Denied>>| {
            let now = done.clock().seconds();
            let denied = match result {
                Ok(applied) => {
                    done.metrics().claims_evicted(applied.evicted);
                    None
                }
                Err(Failure::Refused(denied)) => Some(denied),
                Err(failure) => Some(Denied::failed(&failure)),
            };
            let result = denied
                .as_ref()
                .map_or(metrics::Update::Applied, |denied| denied.result);
            done.metrics().updates.count(result);
            let (answer, keep) = match denied {
                None => (
                    answering.answer(Rcode::NOERROR, None, Standing::Authoritative, now),
                    Keep::Since(now),
                ),
                Some(denied) => (answering.denied(&denied, now), Keep::No),
            };
            if let Some(signed) = &answering.signed {
                done.replay().finish(Signature::of(signed), &answer, keep);
            }
            reply(answer);
        });
}

/// The key must be in force at this moment and cover every operation (node.md 3.4).
fn authorise(
    context: &Context,
    key: &TsigKey,
    operations: &[Operation],
    now: u64,
) -> Result<(), Denied> {
    if !context.access().keyring().holds(key, now) {
        return Err(Denied::refused("the key is no longer valid"));
    }
    let covered = operations.iter().all(|operation| match operation {
        Operation::Publish { owner, .. } => key.scope().covers(owner, Action::Add),
        Operation::DeleteValue { owner, .. } | Operation::DeleteAll { owner } => {
            key.scope().covers(owner, Action::Delete)
        }
    });
    if covered {
        Ok(())
    } else {
        Err(Denied::refused("outside the scope of this key"))
    }
}

/// RFC 2136 3.2, against the state that earlier requests of the same group leave.
fn check_prerequisite(
    context: &Context,
    draft: &mut Draft<'_>,
    prerequisite: &Prerequisite,
) -> Result<(), Denied> {
    let mut texts = |name: &Name| -> Vec<Box<str>> {
        let owner = Owner::from_wire(name.as_wire());
        owner
            .map(|owner| {
                draft
                    .values(&owner)
                    .map(|value| value.text.clone())
                    .collect()
            })
            .unwrap_or_default()
    };
    let live = context.live();
    let served = |name: &Name, rtype| live.served().has(name.as_wire(), rtype);
    let mut exists = |name: &Name, rtype: Rtype| match rtype {
        Rtype::TXT => !texts(name).is_empty(),
        Rtype::ANY => !texts(name).is_empty() || served(name, rtype),
        _ => served(name, rtype),
    };
    let holds = match prerequisite {
        Prerequisite::NameInUse(name) => exists(name, Rtype::ANY),
        Prerequisite::NameNotInUse(name) => !exists(name, Rtype::ANY),
        Prerequisite::RrsetExists(name, rtype) => exists(name, *rtype),
        Prerequisite::RrsetAbsent(name, rtype) => !exists(name, *rtype),
        Prerequisite::RrsetEquals(name, Rtype::TXT, wanted) => {
            let mut present: Vec<Vec<u8>> = texts(name)
                .iter()
                .map(|text| text.as_bytes().to_vec())
                .collect();
            let mut wanted = wanted.clone();
            for values in [&mut present, &mut wanted] {
                values.sort();
                values.dedup();
            }
            present == wanted
        }
        // Configured records are not under the control of updates, and nobody has a use for comparing them.
        Prerequisite::RrsetEquals(..) => false,
    };
    if holds {
        Ok(())
    } else {
        Err(Denied::new(
            prerequisite.rcode_if_false(),
            "a prerequisite does not hold",
        ))
    }
}

/// The operation with its owner as a storable name; a name that cannot be stored is refused (W-12).
fn to_operation(operation: update::Operation) -> Result<Operation, Denied> {
    let owner = Owner::from_wire(operation.owner().as_wire())
        .map_err(|error| Denied::refused(&error.to_string()))?;
    Ok(match operation {
        update::Operation::Add { ttl, value, .. } => Operation::Publish {
            owner,
            value,
            ttl: u64::from(ttl),
        },
        update::Operation::DeleteValue { value, .. } => Operation::DeleteValue { owner, value },
        update::Operation::DeleteRrset { .. } => Operation::DeleteAll { owner },
    })
}

impl Denied {
    fn new(rcode: Rcode, reason: &str) -> Self {
        Self {
            rcode,
            reason: reason.into(),
            standing: Standing::Authoritative,
            result: counted_as(rcode),
            advice: Advice::None,
        }
    }

    /// A claim for which there is no room at the moment (node.md C8).
    fn crowded_out(reason: &str) -> Self {
        Self {
            result: metrics::Update::Quota,
            advice: Advice::ProveAddress,
            ..Self::new(Rcode::SERVFAIL, reason)
        }
    }

    fn refused(reason: &str) -> Self {
        Self::new(Rcode::REFUSED, reason)
    }

    fn over_a_cap(refusal: &Refusal) -> Self {
        Self {
            result: metrics::Update::Quota,
            ..Self::refused(&refusal.to_string())
        }
    }

    fn failed(failure: &Failure<Denied>) -> Self {
        let reason = match failure {
            // What the disk said is for the operator's log.
            Failure::Unavailable(_) => "the store failed".to_owned(),
            other => other.to_string(),
        };
        Self::new(Rcode::SERVFAIL, &reason)
    }

    fn not_authoritative(self) -> Self {
        Self {
            standing: Standing::NotAuthoritative,
            ..self
        }
    }
}

/// How an update with this answer is counted.
fn counted_as(rcode: Rcode) -> metrics::Update {
    match rcode {
        Rcode::FORMERR => metrics::Update::Formerr,
        Rcode::NOTIMP => metrics::Update::Notimp,
        Rcode::REFUSED => metrics::Update::Refused,
        Rcode::NOTAUTH => metrics::Update::Notauth,
        Rcode::NOTZONE => metrics::Update::Notzone,
        Rcode::NXDOMAIN | Rcode::YXDOMAIN | Rcode::NXRRSET | Rcode::YXRRSET => {
            metrics::Update::Prerequisite
        }
        _ => metrics::Update::Servfail,
    }
}

impl From<update::Refusal> for Denied {
    fn from(refusal: update::Refusal) -> Self {
        Self::new(refusal.rcode, refusal.reason)
    }
}

impl std::fmt::Display for Denied {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.reason)
    }
}

impl Answering {
    fn denied(&self, denied: &Denied, now: u64) -> Vec<u8> {
        if (denied.advice, self.address) == (Advice::ProveAddress, Address::Claimed) {
            return self.advised();
        }
        self.answer(denied.rcode, Some(&denied.reason), denied.standing, now)
    }

    /// The short answer that sends the client to TCP, or gives it a cookie to come back with.
    fn advised(&self) -> Vec<u8> {
        let mut answer = vec![0; UDP_ANSWER_OCTETS];
        let written = Query::parse(&self.message)
            .map_or(0, |query| slipped(&query, self.exchange, &mut answer).len);
        answer.truncate(written);
        answer
    }

    /// The whole answer, signed if the request was (node.md 3.7).
    fn answer(&self, rcode: Rcode, reason: Option<&str>, standing: Standing, now: u64) -> Vec<u8> {
        let mut answer = vec![0; UDP_ANSWER_OCTETS];
        let error = reason.map(|text| ExtendedError {
            code: ExtendedError::OTHER,
            text,
        });
        let reserve = self.signed.as_ref().map_or(0, Authenticated::answer_room);
        let exchange = Exchange {
            reserve,
            now,
            ..self.exchange
        };
        // The message was read once already; it reads the same again.
        let written = Query::parse(&self.message).map_or(0, |query| {
            respond(
                &query,
                Reply {
                    rcode,
                    standing,
                    error,
                },
                exchange,
                &mut answer,
            )
            .len
        });
        answer.truncate(written);
        if let Some(signed) = &self.signed {
            signed.sign_answer(&mut answer, now);
        }
        answer
    }
}
