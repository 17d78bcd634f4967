//! A server's side: who signed a request, and the answers that say so or why not.

use super::record::{MacBytes, Record, Variables, append, compute, sign};
use super::{Key, Keyring, TsigError};
use crate::limits;
use crate::query::Query;
use crate::rcode::Rcode;
use crate::reply::{Exchange, Reply, Standing, respond};

/// What a server knows after [`authenticate`].
#[derive(Debug)]
pub enum Authentication<R> {
    /// No TSIG record.
    Unsigned,
    /// Signed by a key of the ring, now.
    Signed(Authenticated<R>),
}

/// A request whose signature holds.
#[derive(Debug)]
pub struct Authenticated<R> {
    row: R,
    mac: MacBytes,
    signed_at: u64,
}

impl<R: AsRef<Key>> Authenticated<R> {
    /// The key's row, as the ring gave it.
    pub fn row(&self) -> &R {
        &self.row
    }

    /// The request's MAC: the same again within the window is the same request again (D13).
    pub fn mac(&self) -> &[u8] {
        self.mac.as_slice()
    }

    /// Unix second at which it was signed, by the signer's clock.
    pub fn signed_at(&self) -> u64 {
        self.signed_at
    }

    /// The request refused as signed too long ago, though the window allows it (RFC 8945 5.2.3).
    pub fn outdated(self, now: u64) -> Unauthentic<R> {
        Unauthentic {
            rcode: Rcode::NOTAUTH,
            error: TsigError::BADTIME,
            signer: Some((self.row, self.mac)),
            server_time: now,
        }
    }

    /// Octets that [`Authenticated::sign_answer`] appends.
    pub fn answer_room(&self) -> usize {
        self.row.as_ref().record_len()
    }

    /// Appends the TSIG record to a complete answer (RFC 8945 5.3); every response code is signed.
    pub fn sign_answer(&self, answer: &mut Vec<u8>, now: u64) {
        let variables = Variables {
            time: now,
            fudge: limits::FUDGE,
            error: TsigError::NONE,
            other: None,
        };
        sign(
            self.row.as_ref(),
            Some(self.mac.as_slice()),
            &variables,
            answer,
        );
    }
}

/// A request whose signature does not hold. Everything goes back by [`Unauthentic::answer`].
#[derive(Debug)]
pub struct Unauthentic<R> {
    rcode: Rcode,
    error: TsigError,
    /// The key that signs the answer: only when the MAC was right (RFC 8945 5.3.2).
    signer: Option<(R, MacBytes)>,
    server_time: u64,
}

impl<R: AsRef<Key>> Unauthentic<R> {
    /// NOTAUTH, or FORMERR for a record that cannot be read.
    pub fn rcode(&self) -> Rcode {
        self.rcode
    }

    /// The TSIG error told to the client.
    pub fn error(&self) -> TsigError {
        self.error
    }

    /// The whole answer: question echoed, and, except for FORMERR, a TSIG record that says why - unsigned with an empty
    /// MAC for BADKEY and BADSIG, signed for BADTIME (with the server's time) and BADTRUNC (RFC 8945 5.2, 5.3.2).
    pub fn answer(&self, query: &Query<'_>, exchange: Exchange<'_>) -> Vec<u8> {
        let mut answer = vec![0; limits::UDP_PLAIN];
        let reply = Reply {
            rcode: self.rcode,
            standing: Standing::NotAuthoritative,
            error: None,
        };
        let written = respond(query, reply, exchange, &mut answer);
        answer.truncate(written.len);
        if self.rcode != Rcode::NOTAUTH {
            return answer;
        }
        let Ok(request) = Record::read(query) else {
            return answer;
        };
        let other = (self.error == TsigError::BADTIME).then_some(self.server_time);
        let variables = Variables {
            time: request.variables.time,
            fudge: request.variables.fudge,
            error: self.error,
            other,
        };
        match &self.signer {
            Some((row, mac)) => {
                sign(row.as_ref(), Some(mac.as_slice()), &variables, &mut answer);
            }
            None => append(
                request.key_name.as_wire(),
                request.algorithm.as_wire(),
                &variables,
                &[],
                query.id(),
                &mut answer,
            ),
        }
        answer
    }
}

/// Checks the signature of a request in the order key, MAC, time, truncation (RFC 8945 5.2).
///
/// `now` is Unix seconds. The window is the client's fudge, at most 300 s.
pub fn authenticate<K: Keyring + ?Sized>(
    query: &Query<'_>,
    keyring: &K,
    now: u64,
) -> Result<Authentication<K::Row>, Unauthentic<K::Row>> {
    let failed = |rcode, error, signer| {
        Err(Unauthentic {
            rcode,
            error,
            signer,
            server_time: now,
        })
    };
    let Some(start) = query.tsig_at() else {
        return Ok(Authentication::Unsigned);
    };
    let Ok(record) = Record::read(query) else {
        return failed(Rcode::FORMERR, TsigError::NONE, None);
    };

    let row = keyring.row(record.key_name.to_lower().as_wire());
    let Some(row) = row.filter(|row| {
        record
            .algorithm
            .as_wire()
            .eq_ignore_ascii_case(row.as_ref().algorithm.wire())
    }) else {
        return failed(Rcode::NOTAUTH, TsigError::BADKEY, None);
    };
    let key = row.as_ref();
    let full = key.algorithm.mac_len();
    // RFC 8945 5.2.2.1: longer than the algorithm's, or below half of it, is no MAC at all.
    if record.mac.len() > full || record.mac.len() < full / 2 {
        return failed(Rcode::FORMERR, TsigError::NONE, None);
    }
    let expected = compute(
        key,
        None,
        query.message(),
        start,
        record.original_id,
        &record.variables,
    );
    if !expected.starts_with(record.mac) {
        return failed(Rcode::NOTAUTH, TsigError::BADSIG, None);
    }
    let mac = MacBytes::copy(record.mac);
    if !record.variables.holds_at(now) {
        return failed(Rcode::NOTAUTH, TsigError::BADTIME, Some((row, mac)));
    }
    if record.mac.len() < full {
        return failed(Rcode::NOTAUTH, TsigError::BADTRUNC, Some((row, mac)));
    }
    Ok(Authentication::Signed(Authenticated {
        row,
        mac,
        signed_at: record.variables.time,
    }))
}
