//! One request, one answer: parse, judge its cookie, authenticate, limit, route, answer, sign (node.md 2.2).
//!
//! TCP has its limits before it. It knows no socket.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Instant;

use dmp_dns::Rcode;
use dmp_dns::answer::{
    AnswerClass, Exchange, Reply, Standing, Transport, answer, respond, slipped,
};
use dmp_dns::cookie::Proof;
use dmp_dns::query::Query;
use dmp_dns::tsig::{self, Authentication};

use super::guard::{AnswerKind, Fate, Guard, Sender};
use crate::access::{Keyring, TsigKey};
use crate::context::Context;
use crate::limits::{MESSAGE_OCTETS, NAME_OCTETS, UDP_ANSWER_OCTETS};
use crate::metrics::{DnsTally, Dropped, Kind, Outcome, Part, Request};
use crate::repeated::log_repeated;
use crate::update::{self, ReplyTo};
use crate::zone::{AnswerView, Reader};

/// Memory that one thread or connection uses again for each request.
#[derive(Default)]
pub(super) struct Buffers {
    /// Packed records of the name asked for.
    pub(super) records: Vec<u8>,
    answer: Vec<u8>,
}

/// Answers any request. `reply` is called at most once, at once or, for an UPDATE, from the writer thread; it is dropped
/// uncalled when nothing may go back. A bug on the way ends this request with SERVFAIL and no other.
pub(super) fn handle(
    guard: &Guard,
    reader: &Reader<'_>,
    message: &[u8],
    sender: Sender,
    buffers: &mut Buffers,
    reply: ReplyTo,
) {
    let started = Instant::now();
    let mut reply = Some(reply);
    let whole = catch_unwind(AssertUnwindSafe(|| {
        dispatch(guard, reader, message, sender, buffers, started, &mut reply);
    }));
    if whole.is_err() {
        let context = guard.context();
        context.metrics().panics.count(Part::Dns);
        let kind = AnswerKind::Query(AnswerClass::Error);
        if let Some(reply) = reply
            && guard.decide(kind, &sender, &Proof::Absent) == Fate::Answer
        {
            let answer = servfail(message, sender.transport);
            let request = Request::new(sender.transport, sender.peer, Kind::Unread);
            let tally = context.metrics().dns();
            tally.answer(request, Outcome::Answered, Rcode::SERVFAIL, answer.len());
            reply(answer);
        }
    }
}

/// Takes `reply` out when it is called or handed on.
fn dispatch(
    guard: &Guard,
    reader: &Reader<'_>,
    message: &[u8],
    sender: Sender,
    buffers: &mut Buffers,
    started: Instant,
    reply: &mut Option<ReplyTo>,
) {
    let Sender {
        transport, peer, ..
    } = sender;
    let context = guard.context();
    let tally = context.metrics().dns();
    let query = match Query::parse(message) {
        Ok(query) => query,
        Err(unreadable) => {
            let request = Request::new(transport, peer, Kind::Unread);
            tally.request(request, Outcome::Malformed);
            let mut header = [0; 12];
            let length = unreadable.answer(message, &mut header);
            if length == 0 {
                let dropped = context.metrics().dropped(transport);
                dropped.count(Dropped::Unanswerable);
            } else if guard.decide(AnswerKind::Unreadable, &sender, &Proof::Absent) == Fate::Answer
            {
                let rcode = Rcode(u16::from(header[3] & 15));
                tally.answer(request, Outcome::Malformed, rcode, length);
                send(reply, header[..length].to_vec());
            }
            return;
        }
    };
    #[cfg(test)]
    tests::break_off_if_asked(&query);
    let kind = Kind::of(&query);
    let request = Request::new(transport, peer, kind);
    let now = context.clock().seconds();
    let mut exchange = guard.exchange(transport, now);
    if let Some(cookie) = query.cookie() {
        exchange.cookie = guard.judge(cookie, peer, now);
    }
    let limited = |kind, reply: &mut Option<ReplyTo>| {
        let fate = guard.decide(kind, &sender, &exchange.cookie);
        if fate == Fate::Slip {
            let mut answer = vec![0; UDP_ANSWER_OCTETS];
            let written = slipped(&query, exchange, &mut answer);
            answer.truncate(written.len);
            tally.answer(request, Outcome::RateLimited, written.rcode, written.len);
            send(reply, answer);
        }
        fate != Fate::Answer
    };
    let authentication = match authenticate(guard, &query, exchange.now) {
        Ok(authentication) => authentication,
        Err(unauthentic) => {
            context.metrics().tsig_failed(unauthentic.error());
            tally.request(request, Outcome::TsigFailed);
            if limited(AnswerKind::Unauthentic, reply) {
                return;
            }
            let answer = unauthentic.answer(&query, exchange);
            let rcode = unauthentic.rcode();
            tally.answer(request, Outcome::TsigFailed, rcode, answer.len());
            return send(reply, answer);
        }
    };
    // An EDNS version that we do not speak is answered before anything else is looked at (RFC 6891 6.1.3).
    if kind == Kind::Update && query.edns().is_none_or(|edns| edns.version == 0) {
        // Before it can change anything. A signature proves the author, whose share is limited elsewhere (D13).
        if matches!(authentication, Authentication::Unsigned)
            && limited(AnswerKind::UnsignedUpdate, reply)
        {
            return tally.request(request, Outcome::RateLimited);
        }
        tally.request(request, Outcome::Answered);
        *reply = reply
            .take()
            .map(|reply| counted(context, request, started, reply));
        let source = guard.source(&sender, exchange.cookie);
        return update::handle(context, &query, authentication, exchange, source, reply);
    }
    if let Authentication::Signed(signed) = &authentication {
        exchange.reserve = signed.answer_room();
    }
    let mut name = [0; NAME_OCTETS + 1];
    let owner = query.lower_name(&mut name);
    let located = reader.search(owner, &mut buffers.records);
    let view = AnswerView::new(
        reader,
        guard.live().served(),
        owner,
        located,
        &buffers.records,
    );
    buffers.answer.resize(MESSAGE_OCTETS, 0);
    let answered = answer(&view, &query, exchange, &mut buffers.answer);
    if answered.rcode == Rcode::SERVFAIL {
        // Nothing else fails here (node.md 2.6).
        log_repeated!(warn, "a name holds more than a DNS message can carry");
    }
    let settled = guard.settle(&query, &exchange, &sender, answered, &mut buffers.answer);
    tally.request(request, settled.outcome);
    if settled.len == 0 {
        return;
    }
    let mut out = buffers.answer[..settled.len].to_vec();
    if let Authentication::Signed(signed) = &authentication {
        signed.sign_answer(&mut out, exchange.now);
    }
    tally.answer(request, settled.outcome, settled.rcode, out.len());
    tally.took(transport, kind, started.elapsed(), 1);
    send(reply, out);
}

fn send(reply: &mut Option<ReplyTo>, answer: Vec<u8>) {
    if let Some(reply) = reply.take() {
        reply(answer);
    }
}

/// `reply` for an UPDATE, whose answer comes when its change is durable, and is counted then.
fn counted(context: &Arc<Context>, request: Request, started: Instant, reply: ReplyTo) -> ReplyTo {
    let context = Arc::clone(context);
    Box::new(move |answer: Vec<u8>| {
        let rcode = Rcode(answer.get(3).map_or(2, |flags| u16::from(flags & 15)));
        let tally = context.metrics().dns();
        tally.answer(request, Outcome::Answered, rcode, answer.len());
        tally.took(request.transport(), Kind::Update, started.elapsed(), 1);
        reply(answer);
    })
}

/// SERVFAIL with the question echoed, unless reading it is what broke off (node.md 2.2).
fn servfail(message: &[u8], transport: Transport) -> Vec<u8> {
    let reply = Reply {
        rcode: Rcode::SERVFAIL,
        standing: Standing::NotAuthoritative,
        error: None,
    };
    let exchange = Exchange::new(transport, 0);
    let with_question = catch_unwind(|| {
        let mut answer = vec![0; UDP_ANSWER_OCTETS];
        let query = Query::parse(message).ok()?;
        let written = respond(&query, reply, exchange, &mut answer);
        answer.truncate(written.len);
        Some(answer)
    });
    with_question.ok().flatten().unwrap_or_else(|| {
        let [id0, id1, flags] = message.first_chunk().copied().unwrap_or_default();
        vec![id0, id1, 0x80 | flags & 0x79, 2, 0, 0, 0, 0, 0, 0, 0, 0]
    })
}

/// TSIG of any opcode, against the keys in force now. Without UPDATE there are no keys (node.md 3).
fn authenticate(
    guard: &Guard,
    query: &Query<'_>,
    now: u64,
) -> Result<Authentication<TsigKey>, tsig::Unauthentic<TsigKey>> {
    if !query.is_signed() {
        return Ok(Authentication::Unsigned);
    }
    if guard.live().settings().update {
        tsig::authenticate(query, &guard.context().access().keyring().live(now), now)
    } else {
        tsig::authenticate(query, &Keyring::default().live(now), now)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Stands for a bug that a certain request finds: the name begins with the label `panic`.
    pub(in crate::listen) fn break_off_if_asked(query: &Query<'_>) {
        assert!(!query.name().starts_with(b"\x05panic"), "a bug");
    }

    #[test]
    fn servfail_echoes_the_question_or_at_least_the_id() {
        let query = b"\x12\x34\x01\x00\0\x01\0\0\0\0\0\0\x01a\0\0\x10\0\x01";
        let answer = servfail(query, Transport::UDP);
        assert_eq!(answer[..6], [0x12, 0x34, 0x81, 2, 0, 1]);
        assert_eq!(answer[12..], query[12..]);
        let answer = servfail(&query[..15], Transport::UDP);
        assert_eq!(answer, [0x12, 0x34, 0x81, 2, 0, 0, 0, 0, 0, 0, 0, 0]);
    }
}
