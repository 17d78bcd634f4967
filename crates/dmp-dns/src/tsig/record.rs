//! The TSIG record on the wire and the MAC over the message it ends (RFC 8945 4.2, 4.3).

use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Sha256, Sha384, Sha512};
use subtle::ConstantTimeEq;

use super::{Algorithm, Key, TsigError};
use crate::limits;
use crate::name::Name;
use crate::query::Query;
use crate::rcode::{Class, Rtype};
use crate::wire::{Malformed, Reader};

/// Octets of a TSIG record beside key name, algorithm name, MAC and other data: type, class, TTL, RDLENGTH; time, fudge,
/// MAC size, original id, error, other length.
pub(super) const FIXED: usize = 10 + 16;

/// A TSIG record as it stands in a message.
pub(super) struct Record<'a> {
    pub(super) key_name: Name,
    pub(super) algorithm: Name,
    pub(super) mac: &'a [u8],
    pub(super) original_id: u16,
    pub(super) variables: Variables,
}

impl<'a> Record<'a> {
    pub(super) fn read(query: &Query<'a>) -> Result<Self, Malformed> {
        Self::read_at(query.message(), query.tsig_at().ok_or(Malformed::Kind)?)
    }

    pub(super) fn read_at(message: &'a [u8], start: usize) -> Result<Self, Malformed> {
        let key_name = Name::read(&mut Reader::new(message, start))?;
        let record = Reader::new(message, start).record()?;
        // RFC 8945 4.2: the MAC covers class ANY and TTL 0 whatever the record says, so nothing else may stand there.
        if record.class != Class::ANY || record.ttl != 0 {
            return Err(Malformed::Rdata);
        }
        let end = record.rdata_at + record.rdata.len();
        let mut reader = Reader::new(
            message.get(..end).ok_or(Malformed::Truncated)?,
            record.rdata_at,
        );
        let algorithm = Name::read(&mut reader)?;
        let [t0, t1, t2, t3, t4, t5] = reader.array::<6>()?;
        let time = u64::from_be_bytes([0, 0, t0, t1, t2, t3, t4, t5]);
        let fudge = reader.u16()?;
        let mac_len = usize::from(reader.u16()?);
        let mac = reader.take(mac_len)?;
        let original_id = reader.u16()?;
        let error = TsigError(reader.u16()?);
        let other = match reader.u16()? {
            0 => None,
            6 => {
                let [t0, t1, t2, t3, t4, t5] = reader.array::<6>()?;
                Some(u64::from_be_bytes([0, 0, t0, t1, t2, t3, t4, t5]))
            }
            _ => return Err(Malformed::Rdata),
        };
        if !reader.is_at_end() {
            return Err(Malformed::Trailing);
        }
        Ok(Self {
            key_name,
            algorithm,
            mac,
            original_id,
            variables: Variables {
                time,
                fudge,
                error,
                other,
            },
        })
    }
}

/// The fields of a TSIG record that its MAC covers beside names (RFC 8945 4.3.3).
pub(super) struct Variables {
    pub(super) time: u64,
    pub(super) fudge: u16,
    pub(super) error: TsigError,
    pub(super) other: Option<u64>,
}

impl Variables {
    pub(super) fn holds_at(&self, now: u64) -> bool {
        now.abs_diff(self.time) <= u64::from(self.fudge.min(limits::FUDGE))
    }
}

/// A MAC of at most 64 octets.
#[derive(Clone, Copy)]
pub(super) struct MacBytes {
    octets: [u8; 64],
    len: usize,
}

impl MacBytes {
    pub(super) fn copy(mac: &[u8]) -> Self {
        let mut octets = [0; 64];
        let len = mac.len().min(octets.len());
        if let (Some(to), Some(from)) = (octets.get_mut(..len), mac.get(..len)) {
            to.copy_from_slice(from);
        }
        Self { octets, len }
    }

    pub(super) fn as_slice(&self) -> &[u8] {
        self.octets.get(..self.len).unwrap_or_default()
    }

    /// Whether `prefix`, not empty, begins this MAC; in constant time for its length.
    pub(super) fn starts_with(&self, prefix: &[u8]) -> bool {
        match self.as_slice().get(..prefix.len()) {
            Some(own) if !prefix.is_empty() => own.ct_eq(prefix).into(),
            _ => false,
        }
    }
}

impl fmt::Debug for MacBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} octets", self.len)
    }
}

enum Digest {
    Sha256(Hmac<Sha256>),
    Sha384(Hmac<Sha384>),
    Sha512(Hmac<Sha512>),
    None,
}

impl Digest {
    fn new(key: &Key) -> Self {
        // HMAC takes keys of any length, so the error never happens; a digest of nothing would then match no MAC.
        match key.algorithm {
            Algorithm::HmacSha256 => {
                Hmac::new_from_slice(&key.secret).map_or(Self::None, Self::Sha256)
            }
            Algorithm::HmacSha384 => {
                Hmac::new_from_slice(&key.secret).map_or(Self::None, Self::Sha384)
            }
            Algorithm::HmacSha512 => {
                Hmac::new_from_slice(&key.secret).map_or(Self::None, Self::Sha512)
            }
        }
    }

    fn update(&mut self, octets: &[u8]) {
        match self {
            Self::Sha256(mac) => mac.update(octets),
            Self::Sha384(mac) => mac.update(octets),
            Self::Sha512(mac) => mac.update(octets),
            Self::None => {}
        }
    }

    fn finish(self) -> MacBytes {
        match self {
            Self::Sha256(mac) => MacBytes::copy(&mac.finalize().into_bytes()),
            Self::Sha384(mac) => MacBytes::copy(&mac.finalize().into_bytes()),
            Self::Sha512(mac) => MacBytes::copy(&mac.finalize().into_bytes()),
            Self::None => MacBytes::copy(&[]),
        }
    }
}

/// The MAC over a message whose TSIG record begins at `tsig_at` (or which ends there), as RFC 8945 4.3 orders it.
pub(super) fn compute(
    key: &Key,
    request_mac: Option<&[u8]>,
    message: &[u8],
    tsig_at: usize,
    id: u16,
    variables: &Variables,
) -> MacBytes {
    let mut mac = Digest::new(key);
    if let Some(request) = request_mac {
        mac.update(&(request.len() as u16).to_be_bytes());
        mac.update(request);
    }
    // The message as it was before the record was added: original id, one additional record less.
    let counted = u16::from(message.len() > tsig_at);
    let additional = message
        .get(10..)
        .and_then(|rest| rest.first_chunk::<2>())
        .map_or(0, |count| u16::from_be_bytes(*count));
    mac.update(&id.to_be_bytes());
    mac.update(message.get(2..10).unwrap_or_default());
    mac.update(&additional.saturating_sub(counted).to_be_bytes());
    mac.update(message.get(limits::HEADER..tsig_at).unwrap_or_default());

    mac.update(key.name.as_wire());
    mac.update(&Class::ANY.0.to_be_bytes());
    mac.update(&[0; 4]);
    mac.update(key.algorithm.wire());
    mac.update(&time48(variables.time));
    mac.update(&variables.fudge.to_be_bytes());
    mac.update(&variables.error.0.to_be_bytes());
    match variables.other {
        Some(time) => {
            mac.update(&6u16.to_be_bytes());
            mac.update(&time48(time));
        }
        None => mac.update(&[0; 2]),
    }
    mac.finish()
}

/// Signs a complete message and appends the record.
pub(super) fn sign(
    key: &Key,
    request_mac: Option<&[u8]>,
    variables: &Variables,
    message: &mut Vec<u8>,
) -> MacBytes {
    let id = message
        .first_chunk::<2>()
        .map_or(0, |id| u16::from_be_bytes(*id));
    let mac = compute(key, request_mac, message, message.len(), id, variables);
    append(
        key.name.as_wire(),
        key.algorithm.wire(),
        variables,
        mac.as_slice(),
        id,
        message,
    );
    mac
}

pub(super) fn append(
    key_name: &[u8],
    algorithm: &[u8],
    variables: &Variables,
    mac: &[u8],
    id: u16,
    message: &mut Vec<u8>,
) {
    let other = variables.other.map(time48);
    let other = other.as_ref().map_or(&[][..], |time| time.as_slice());
    message.extend_from_slice(key_name);
    message.extend_from_slice(&Rtype::TSIG.0.to_be_bytes());
    message.extend_from_slice(&Class::ANY.0.to_be_bytes());
    message.extend_from_slice(&[0; 4]);
    message.extend_from_slice(
        &((algorithm.len() + 16 + mac.len() + other.len()) as u16).to_be_bytes(),
    );
    message.extend_from_slice(algorithm);
    message.extend_from_slice(&time48(variables.time));
    message.extend_from_slice(&variables.fudge.to_be_bytes());
    message.extend_from_slice(&(mac.len() as u16).to_be_bytes());
    message.extend_from_slice(mac);
    message.extend_from_slice(&id.to_be_bytes());
    message.extend_from_slice(&variables.error.0.to_be_bytes());
    message.extend_from_slice(&(other.len() as u16).to_be_bytes());
    message.extend_from_slice(other);
    if let Some(count) = message
        .get_mut(10..)
        .and_then(|rest| rest.first_chunk_mut::<2>())
    {
        *count = u16::from_be_bytes(*count).saturating_add(1).to_be_bytes();
    }
}

/// The low 48 bits of a time, as the wire carries it.
fn time48(time: u64) -> [u8; 6] {
    let [_, _, t0, t1, t2, t3, t4, t5] = time.to_be_bytes();
    [t0, t1, t2, t3, t4, t5]
}
