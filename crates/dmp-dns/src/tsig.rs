//! Transaction signatures (RFC 8945) over messages that lie in memory: signing and checking, for both sides.
//!
//! HMAC-SHA-256, -384 and -512 with full-length MACs only. Nothing is remembered here: replays are the caller's
//! ([`Authenticated::mac`]), and so is the choice of keys ([`Keyring`]).

use std::collections::HashMap;
use std::fmt;
use std::hash::BuildHasher;
use std::str::FromStr;
use std::sync::Arc;

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Sha256, Sha384, Sha512};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::answer::{Exchange, Reply, Standing, respond};
use crate::limits;
use crate::name::Name;
use crate::query::Query;
use crate::rcode::{Class, Rcode, Rtype};
use crate::wire::{Malformed, Reader};

/// The HMAC of a key.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Algorithm {
    /// `hmac-sha256`, 32 octets; what registration mints.
    HmacSha256,
    /// `hmac-sha384`, 48 octets.
    HmacSha384,
    /// `hmac-sha512`, 64 octets.
    HmacSha512,
}

impl Algorithm {
    const ALL: [Self; 3] = [Self::HmacSha256, Self::HmacSha384, Self::HmacSha512];

    /// The name in configuration and, as a domain name, on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::HmacSha256 => "hmac-sha256",
            Self::HmacSha384 => "hmac-sha384",
            Self::HmacSha512 => "hmac-sha512",
        }
    }

    /// Octets of a MAC.
    pub fn mac_len(self) -> usize {
        match self {
            Self::HmacSha256 => 32,
            Self::HmacSha384 => 48,
            Self::HmacSha512 => 64,
        }
    }

    fn wire(self) -> &'static [u8] {
        match self {
            Self::HmacSha256 => b"\x0bhmac-sha256\0",
            Self::HmacSha384 => b"\x0bhmac-sha384\0",
            Self::HmacSha512 => b"\x0bhmac-sha512\0",
        }
    }
}

impl FromStr for Algorithm {
    type Err = KeyError;

    /// Ignores case and one trailing dot. MD5, SHA-1 and truncated algorithms are refused.
    fn from_str(text: &str) -> Result<Self, KeyError> {
        let text = text.strip_suffix('.').unwrap_or(text);
        Self::ALL
            .into_iter()
            .find(|algorithm| algorithm.name().eq_ignore_ascii_case(text))
            .ok_or(KeyError::Algorithm)
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Why a key cannot be used.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum KeyError {
    /// Not hmac-sha256, hmac-sha384 or hmac-sha512.
    #[error("TSIG algorithm is none of hmac-sha256, hmac-sha384, hmac-sha512")]
    Algorithm,
    /// The key name is not a domain name.
    #[error("TSIG key name is not a domain name")]
    Name,
    /// A secret of no octets proves nothing.
    #[error("TSIG secret is empty")]
    EmptySecret,
}

/// A TSIG key. The secret is wiped when dropped and never printed.
#[derive(Clone)]
pub struct Key {
    name: Name,
    algorithm: Algorithm,
    secret: Zeroizing<Vec<u8>>,
}

impl Key {
    /// A key; its name is kept in lower case, as the MAC covers it (RFC 8945 4.3.3).
    pub fn new(name: &Name, algorithm: Algorithm, secret: &[u8]) -> Result<Self, KeyError> {
        if secret.is_empty() {
            return Err(KeyError::EmptySecret);
        }
        Ok(Self {
            name: name.to_lower(),
            algorithm,
            secret: Zeroizing::new(secret.to_vec()),
        })
    }

    /// Key name, lower case.
    pub fn name(&self) -> &Name {
        &self.name
    }

    /// The HMAC.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Octets of a TSIG record by this key, without other data: what a signed message must leave room for.
    pub fn record_len(&self) -> usize {
        self.name.as_wire().len()
            + RECORD_FIXED
            + self.algorithm.wire().len()
            + self.algorithm.mac_len()
    }

    fn mac(&self) -> Digest {
        // HMAC takes keys of any length, so the error never happens; a digest of nothing would then match no MAC.
        match self.algorithm {
            Algorithm::HmacSha256 => {
                Hmac::new_from_slice(&self.secret).map_or(Digest::None, Digest::Sha256)
            }
            Algorithm::HmacSha384 => {
                Hmac::new_from_slice(&self.secret).map_or(Digest::None, Digest::Sha384)
            }
            Algorithm::HmacSha512 => {
                Hmac::new_from_slice(&self.secret).map_or(Digest::None, Digest::Sha512)
            }
        }
    }
}

impl AsRef<Key> for Key {
    fn as_ref(&self) -> &Key {
        self
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({}, {})", self.name, self.algorithm)
    }
}

/// The keys a server accepts now. A row may carry more than the key (its scope); what is revoked or expired is not found.
pub trait Keyring {
    /// What is known of a key, cheap to clone.
    type Row: AsRef<Key>;

    /// The row of the key with this name (lower-cased wire form).
    fn row(&self, name: &[u8]) -> Option<Self::Row>;
}

impl<S: BuildHasher> Keyring for HashMap<Name, Arc<Key>, S> {
    type Row = Arc<Key>;

    fn row(&self, name: &[u8]) -> Option<Arc<Key>> {
        self.get(&Name::from_wire(name).ok()?).cloned()
    }
}

/// The TSIG error field (RFC 8945 3).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct TsigError(pub u16);

impl TsigError {
    /// No error.
    pub const NONE: Self = Self(0);
    /// The MAC does not verify.
    pub const BADSIG: Self = Self(16);
    /// The key is not known, or not with this algorithm.
    pub const BADKEY: Self = Self(17);
    /// The time lies outside the window.
    pub const BADTIME: Self = Self(18);
    /// The MAC is shorter than we accept.
    pub const BADTRUNC: Self = Self(22);
}

impl fmt::Display for TsigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::NONE => f.write_str("NOERROR"),
            Self::BADSIG => f.write_str("BADSIG"),
            Self::BADKEY => f.write_str("BADKEY"),
            Self::BADTIME => f.write_str("BADTIME"),
            Self::BADTRUNC => f.write_str("BADTRUNC"),
            Self(other) => write!(f, "TSIG error {other}"),
        }
    }
}

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
    pub fn answer(&self, query: &Query<'_>, exchange: Exchange) -> Vec<u8> {
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
    Ok(Authentication::Signed(Authenticated { row, mac }))
}

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

/// Octets of a TSIG record beside key name, algorithm name, MAC and other data: type, class, TTL, RDLENGTH; time, fudge,
/// MAC size, original id, error, other length.
const RECORD_FIXED: usize = 10 + 16;

/// A TSIG record as it stands in a message.
struct Record<'a> {
    key_name: Name,
    algorithm: Name,
    mac: &'a [u8],
    original_id: u16,
    variables: Variables,
}

impl<'a> Record<'a> {
    fn read(query: &Query<'a>) -> Result<Self, Malformed> {
        Self::read_at(query.message(), query.tsig_at().ok_or(Malformed::Kind)?)
    }

    fn read_at(message: &'a [u8], start: usize) -> Result<Self, Malformed> {
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
struct Variables {
    time: u64,
    fudge: u16,
    error: TsigError,
    other: Option<u64>,
}

impl Variables {
    fn holds_at(&self, now: u64) -> bool {
        now.abs_diff(self.time) <= u64::from(self.fudge.min(limits::FUDGE))
    }
}

/// A MAC of at most 64 octets.
#[derive(Clone, Copy)]
struct MacBytes {
    octets: [u8; 64],
    len: usize,
}

impl MacBytes {
    fn copy(mac: &[u8]) -> Self {
        let mut octets = [0; 64];
        let len = mac.len().min(octets.len());
        if let (Some(to), Some(from)) = (octets.get_mut(..len), mac.get(..len)) {
            to.copy_from_slice(from);
        }
        Self { octets, len }
    }

    fn as_slice(&self) -> &[u8] {
        self.octets.get(..self.len).unwrap_or_default()
    }

    /// Whether `prefix`, not empty, begins this MAC; in constant time for its length.
    fn starts_with(&self, prefix: &[u8]) -> bool {
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
fn compute(
    key: &Key,
    request_mac: Option<&[u8]>,
    message: &[u8],
    tsig_at: usize,
    id: u16,
    variables: &Variables,
) -> MacBytes {
    let mut mac = key.mac();
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
fn sign(
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

fn append(
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
