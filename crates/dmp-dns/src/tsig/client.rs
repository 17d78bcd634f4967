//! A client's side: signing a request, and proving that an answer belongs to it.

use super::record::{MacBytes, Record, Variables, compute, sign};
use super::{Key, TsigError};
use crate::limits;
use crate::query::Query;
use crate::rcode::Rtype;
use crate::wire::{Malformed, Reader};

/// Signs a request: appends the TSIG record with fudge 300 (client.md 4.4). Keep what it returns to check the answer.
///
/// Errors: `message` is not a whole message without TSIG, or would grow past 65 535 octets; it is unchanged then.
pub fn sign_request<'k>(
    key: &'k Key,
    message: &mut Vec<u8>,
    now: u64,
) -> Result<RequestSignature<'k>, Malformed> {
    let query = Query::parse(message).map_err(|_| Malformed::Kind)?;
    if query.is_signed() || message.len() + key.record_len() > limits::MESSAGE {
        return Err(Malformed::Kind);
    }
    let variables = Variables {
        time: now,
        fudge: limits::FUDGE,
        error: TsigError::NONE,
        other: None,
    };
    let mac = sign(key, None, &variables, message);
    Ok(RequestSignature { key, mac })
}

/// What a client keeps of a signed request.
#[derive(Debug)]
pub struct RequestSignature<'k> {
    key: &'k Key,
    mac: MacBytes,
}

/// Why an answer to a signed request proves nothing, or what a proven one complains about.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum VerifyError {
    /// No TSIG record; nodes answer so when they do not know the key.
    #[error("the answer is not signed")]
    Unsigned,
    /// An unsigned complaint about the signature: BADKEY, BADSIG. Anybody could have sent it.
    #[error("the server did not accept the signature: {0}")]
    Rejected(TsigError),
    /// A signed complaint: the server's clock says this.
    #[error("the server's clock is at {server}, ours is too far from it")]
    Time {
        /// The server's Unix time.
        server: u64,
    },
    /// The server accepts the key, but complains (BADTRUNC or an unknown code), signed.
    #[error("the server complains about the signature: {0}")]
    Complaint(TsigError),
    /// The answer's signature is wrong, by another key, or too old: not from the server we asked.
    #[error("the answer's signature does not verify")]
    Forged,
    /// The answer cannot be read.
    #[error("the answer cannot be read")]
    Malformed,
}

impl RequestSignature<'_> {
    /// Proves that `answer` comes from a holder of the key and belongs to this request (RFC 8945 5.4).
    ///
    /// The message id is not looked at here beyond what the signature covers.
    pub fn verify_answer(&self, answer: &[u8], now: u64) -> Result<(), VerifyError> {
        let start = last_record(answer)
            .map_err(|_| VerifyError::Malformed)?
            .ok_or(VerifyError::Unsigned)?;
        let record = Record::read_at(answer, start).map_err(|_| VerifyError::Malformed)?;
        let error = record.variables.error;
        if record.mac.is_empty() && error != TsigError::NONE {
            return Err(VerifyError::Rejected(error));
        }
        let ours = record.key_name == self.key.name
            && record
                .algorithm
                .as_wire()
                .eq_ignore_ascii_case(self.key.algorithm.wire());
        let expected = compute(
            self.key,
            Some(self.mac.as_slice()),
            answer,
            start,
            record.original_id,
            &record.variables,
        );
        if !ours
            || record.mac.len() != self.key.algorithm.mac_len()
            || !expected.starts_with(record.mac)
        {
            return Err(VerifyError::Forged);
        }
        match (error, record.variables.other) {
            (TsigError::NONE, None) if record.variables.holds_at(now) => Ok(()),
            (TsigError::NONE, _) => Err(VerifyError::Forged),
            (TsigError::BADTIME, Some(server)) => Err(VerifyError::Time { server }),
            _ => Err(VerifyError::Complaint(error)),
        }
    }
}

/// Offset of the TSIG record that ends a response; `None` without one.
fn last_record(answer: &[u8]) -> Result<Option<usize>, Malformed> {
    let header = answer
        .first_chunk::<{ limits::HEADER }>()
        .ok_or(Malformed::Truncated)?;
    let [_, _, _, _, qd0, qd1, counts @ ..] = *header;
    let mut reader = Reader::new(answer, limits::HEADER);
    for _ in 0..u16::from_be_bytes([qd0, qd1]) {
        reader.name_with(|_| {})?;
        reader.take(4)?;
    }
    let records: u32 = counts
        .as_chunks::<2>()
        .0
        .iter()
        .map(|count| u32::from(u16::from_be_bytes(*count)))
        .sum();
    let mut found = None;
    for _ in 0..records {
        if found.is_some() {
            return Err(Malformed::Kind);
        }
        let record = reader.record()?;
        found = (record.rtype == Rtype::TSIG).then_some(record.start);
    }
    if reader.is_at_end() {
        Ok(found)
    } else {
        Err(Malformed::Trailing)
    }
}
