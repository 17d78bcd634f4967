//! UDP: a batch of datagrams in, their answers out, in three passes so that memory accesses of different requests overlap.
//!
//! Plain queries are answered here without allocating; everything else goes to [`super::pipeline`].

use std::net::UdpSocket;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use dmp_dns::Opcode;
use dmp_dns::answer::{Transport, answer_located};
use dmp_dns::query::{NameBuffer, Query};

use super::entrance::Entrance;
use super::guard::{Guard, Sender};
use super::pipeline::{self, Buffers};
use super::socket::{Answers, Batch, Requests};
use crate::context::Context;
use crate::limits::{BATCH, NAME_OCTETS};
use crate::metrics::{DnsTally, Dropped, Kind, Request, ThreadTally};
use crate::repeated::log_repeated;
use crate::zone::{AnswerView, Candidate, Reader};

/// Pause after an error of the socket, so that an error that stays does not take a core.
const ERROR_PAUSE: Duration = Duration::from_millis(50);
/// A round of at most this many requests keeps its notes in a short array.
const FEW: usize = 4;

/// Serves `socket` until `stop` is set.
pub(super) fn serve(entrance: &Entrance, socket: &Arc<UdpSocket>, stop: &AtomicBool) {
    let context = entrance.context();
    let mut guards = entrance.guards();
    let mut batch = Batch::new();
    let mut thread = Thread {
        socket,
        reader: context.zone().reader(),
        names: vec![[0; NAME_OCTETS + 1]; BATCH].into_boxed_slice(),
        buffers: Buffers::default(),
        tally: context.metrics().dns_thread(),
        done: 0,
        plain: 0,
    };
    while !stop.load(Ordering::Relaxed) {
        match batch.receive(socket) {
            Ok(0) => continue,
            Ok(count) => {
                let received = Instant::now();
                let (requests, answers) = batch.split();
                thread.answer_all(guards.load(), count, requests, answers);
                sent(context, batch.send(socket));
                let plain = std::mem::take(&mut thread.plain);
                if plain > 0 {
                    let took = received.elapsed();
                    thread.tally.took(Transport::UDP, Kind::Txt, took, plain);
                }
            }
            Err(error) => {
                log_repeated!(error, %error, "receiving datagrams failed");
                std::thread::sleep(ERROR_PAUSE);
            }
        }
    }
}

fn sent(context: &Context, lost: usize) {
    if lost > 0 {
        context
            .metrics()
            .dropped(Transport::UDP)
            .add(Dropped::Unsent, lost);
        tracing::debug!(lost, "answers the system did not send");
    }
}

/// What one thread keeps from round to round.
struct Thread<'a> {
    socket: &'a Arc<UdpSocket>,
    reader: Reader<'a>,
    /// Lower-case names of the round's requests.
    names: Box<[NameBuffer]>,
    buffers: Buffers,
    tally: ThreadTally,
    /// Requests of the round that have been dealt with, from the first on.
    done: usize,
    /// How many of the round were answered here.
    plain: usize,
}

/// What the first pass finds out about a plain query.
#[derive(Clone, Copy)]
struct Plain<'r> {
    query: Query<'r>,
    name_octets: usize,
    hash: u64,
    found: Option<Candidate<'r>>,
}

impl Thread<'_> {
    /// Answers the `count` requests of a round. If a bug ends that half way, each of the rest is answered by itself, so
    /// that the one that causes it takes no other with it.
    fn answer_all(
        &mut self,
        guard: &Guard,
        count: usize,
        requests: Requests<'_>,
        answers: Answers<'_>,
    ) {
        self.done = 0;
        let whole = catch_unwind(AssertUnwindSafe(|| {
            if count <= FEW {
                self.answer::<FEW>(guard, count, requests, answers);
            } else {
                self.answer::<BATCH>(guard, count, requests, answers);
            }
        }));
        if whole.is_err() {
            let at = guard.micros();
            for index in self.done..count {
                self.answer_other(guard, requests, index, at);
            }
        }
    }

    /// Answers the `count` requests of a round, at most `N`.
    fn answer<const N: usize>(
        &mut self,
        guard: &Guard,
        count: usize,
        requests: Requests<'_>,
        mut answers: Answers<'_>,
    ) {
        self.reader.refresh();
        let (now, at) = (guard.context().clock().seconds(), guard.micros());
        let served = guard.live().served();
        let without_cookie = guard.exchange(guard.udp(), now);
        let mut plain: [Option<Plain<'_>>; N] = [None; N];

        // Read all requests and set their slots on the way from memory.
        for (index, (plain, name)) in plain
            .iter_mut()
            .zip(self.names.iter_mut())
            .enumerate()
            .take(count)
        {
            let Ok(query) = Query::parse(requests.datagram(index)) else {
                continue;
            };
            if query.opcode() != Opcode::QUERY || query.is_signed() {
                continue;
            }
            #[cfg(test)]
            pipeline::tests::break_off_if_asked(&query);
            let name = query.lower_name(name);
            let hash = self.reader.hash(name);
            self.reader.fetch(hash);
            *plain = Some(Plain {
                query,
                name_octets: name.len(),
                hash,
                found: None,
            });
        }
        // Set the entries that the slots lead to on the way.
        for plain in plain.iter_mut().take(count).flatten() {
            plain.found = self.reader.find(plain.hash);
        }
        // Answer; what is needed is in the cache by now.
        for (index, plain) in plain.iter().enumerate().take(count) {
            let Some(Plain {
                query,
                name_octets,
                found,
                ..
            }) = plain
            else {
                self.answer_other(guard, requests, index, at);
                self.done = index + 1;
                continue;
            };
            let owner = &self.names[index][..*name_octets];
            let records = &mut self.buffers.records;
            let located = self.reader.locate(*found, owner, records);
            let view = AnswerView::new(&self.reader, served, owner, located, &self.buffers.records);
            let sender = sender(guard, requests, index, at);
            let mut with_cookie;
            let exchange = match query.cookie() {
                None => &without_cookie,
                Some(cookie) => {
                    with_cookie = without_cookie;
                    with_cookie.cookie = guard.judge(cookie, sender.peer, now);
                    &with_cookie
                }
            };
            let out = answers.buffer();
            let answered = answer_located(&view, query, owner, view.located(), exchange, out);
            let settled = guard.settle(query, exchange, &sender, answered, out);
            let request = Request::new(sender.transport, sender.peer, Kind::of(query));
            self.tally.request(request, settled.outcome);
            if settled.len > 0 {
                answers.queue(index, settled.len);
                self.tally
                    .answer(request, settled.outcome, settled.rcode, settled.len);
            }
            self.plain += 1;
            self.done = index + 1;
        }
    }

    /// UPDATE, signed requests, and what cannot be read: each is answered by itself.
    fn answer_other(&mut self, guard: &Guard, requests: Requests<'_>, index: usize, at: u64) {
        let (origin, socket) = (requests.origin(index), Arc::clone(self.socket));
        let context = Arc::clone(guard.context());
        let reply = Box::new(move |answer: Vec<u8>| {
            if let Err(error) = origin.send(&socket, &answer) {
                let dropped = context.metrics().dropped(Transport::UDP);
                dropped.count(Dropped::Unsent);
                tracing::debug!(%error, "an answer was not sent");
            }
        });
        let message = requests.datagram(index);
        let sender = sender(guard, requests, index, at);
        let buffers = &mut self.buffers;
        pipeline::handle(guard, &self.reader, message, sender, buffers, reply);
    }
}

/// Who sent request `index`, received at `at`.
#[inline]
fn sender(guard: &Guard, requests: Requests<'_>, index: usize, at: u64) -> Sender {
    Sender {
        transport: guard.udp(),
        peer: requests.peer(index),
        at,
    }
}
