//! One request, one answer: parse, authenticate, route, answer, sign (node.md 2.2).
//!
//! Rate limits come before it (TCP) or will stand between parsing and answering (UDP: response-rate limiting needs to know
//! what would be answered). It knows no socket.

use std::sync::Arc;

use dmp_dns::Opcode;
use dmp_dns::answer::{Exchange, Transport, answer};
use dmp_dns::query::Query;
use dmp_dns::tsig::{self, Authentication};

use crate::access::{Keyring, TsigKey};
use crate::context::Context;
use crate::limits::{MESSAGE_OCTETS, NAME_OCTETS};
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
/// uncalled when nothing may go back.
pub(super) fn handle(
    context: &Arc<Context>,
    reader: &Reader<'_>,
    message: &[u8],
    transport: Transport,
    buffers: &mut Buffers,
    reply: ReplyTo,
) {
    let query = match Query::parse(message) {
        Ok(query) => query,
        Err(unreadable) => {
            let mut header = [0; 12];
            let length = unreadable.answer(message, &mut header);
            if length > 0 {
                reply(header[..length].to_vec());
            }
            return;
        }
    };
    let mut exchange = Exchange {
        transport,
        now: context.clock().seconds(),
        reserve: 0,
    };
    let authentication = match authenticate(context, &query, exchange.now) {
        Ok(authentication) => authentication,
        Err(unauthentic) => return reply(unauthentic.answer(&query, exchange)),
    };
    // An EDNS version that we do not speak is answered before anything else is looked at (RFC 6891 6.1.3).
    if query.opcode() == Opcode::UPDATE && query.edns().is_none_or(|edns| edns.version == 0) {
        return update::handle(context, &query, authentication, exchange, reply);
    }
    if let Authentication::Signed(signed) = &authentication {
        exchange.reserve = signed.answer_room();
    }
    let mut name = [0; NAME_OCTETS];
    let owner = query.lower_name(&mut name);
    let located = reader.locate(owner, reader.hash(owner), &mut buffers.records);
    let view = AnswerView::new(reader, context.served(), owner, located, &buffers.records);
    buffers.answer.resize(MESSAGE_OCTETS, 0);
    let answered = answer(&view, &query, exchange, &mut buffers.answer);
    let mut out = buffers.answer[..answered.len].to_vec();
    if let Authentication::Signed(signed) = &authentication {
        signed.sign_answer(&mut out, exchange.now);
    }
    if !out.is_empty() {
        reply(out);
    }
}

/// TSIG of any opcode, against the keys in force now. Without UPDATE there are no keys (node.md 3).
fn authenticate(
    context: &Context,
    query: &Query<'_>,
    now: u64,
) -> Result<Authentication<TsigKey>, tsig::Unauthentic<TsigKey>> {
    if !query.is_signed() {
        return Ok(Authentication::Unsigned);
    }
    if context.settings().update {
        tsig::authenticate(query, &context.access().keyring().live(now), now)
    } else {
        tsig::authenticate(query, &Keyring::default().live(now), now)
    }
}
