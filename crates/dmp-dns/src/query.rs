//! A request as a server meets it: one pass over borrowed bytes, nothing allocated, nothing answered.
//!
//! Any opcode is read here; [`crate::answer`] answers queries, [`crate::update`] reads the rest of an UPDATE.

use crate::cookie::Cookie;
use crate::limits;
use crate::name::Labels;
use crate::rcode::{Class, Opcode, Rcode, Rtype};
use crate::wire::{Malformed, RawRecord, Reader, Writer};

/// Room for the lower-cased wire form of one name: what a caller keeps per slot of a batch.
pub type NameBuffer = [u8; limits::NAME];

/// Name server identifier (RFC 5001).
pub(crate) const OPTION_NSID: u16 = 3;
/// COOKIE (RFC 7873).
pub(crate) const OPTION_COOKIE: u16 = 10;
/// Client subnet (RFC 7871).
const OPTION_CLIENT_SUBNET: u16 = 8;

/// A well-formed request (QR=0), borrowed from the datagram.
#[derive(Clone, Copy)]
pub struct Query<'a> {
    message: &'a [u8],
    question: Option<Question>,
    question_end: usize,
    edns: Option<Edns<'a>>,
    tsig_at: Option<usize>,
}

/// The one question; its name lies uncompressed at offset 12.
#[derive(Clone, Copy)]
struct Question {
    name_len: usize,
    rtype: Rtype,
    class: Class,
}

/// What the OPT record of a request says (RFC 6891 6.1).
#[derive(Clone, Copy, Debug)]
pub struct Edns<'a> {
    /// EDNS version; only 0 exists.
    pub version: u8,
    /// UDP payload the sender can take, as written.
    pub payload: u16,
    /// DNSSEC OK (RFC 3225).
    pub dnssec_ok: bool,
    /// The first COOKIE option; later ones do not count (RFC 7873 4).
    pub cookie: Option<Cookie<'a>>,
    /// Whether the server's identifier is asked for (RFC 5001 2.1); data in the option is ignored.
    pub wants_nsid: bool,
}

/// Why bytes are not a request one can look at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unreadable {
    /// Fewer than 12 octets, or a response (QR=1): not one octet goes back.
    Silent,
    /// A header, then garbage: FORMERR, header only.
    Malformed(Malformed),
    /// An opcode whose messages have another form (DSO, the unassigned ones): NOTIMP, header only.
    NotImplemented,
}

impl<'a> Query<'a> {
    /// Reads a whole message: header, questions, records, OPT and the place of a TSIG record.
    ///
    /// Accepts any opcode and any count of questions; [`Query::has_question`] tells whether there is exactly one. TSIG is located, not verified.
    ///
    /// Errors: see [`Unreadable`]; its [`answer`](Unreadable::answer) writes what goes back.
    pub fn parse(message: &'a [u8]) -> Result<Self, Unreadable> {
        let Some(header) = message.first_chunk::<{ limits::HEADER }>() else {
            return Err(Unreadable::Silent);
        };
        if header[2] & 0x80 != 0 {
            return Err(Unreadable::Silent);
        }
        let opcode = Opcode(header[2] >> 3 & 15);
        // RFC 8490 5.4: no questions, no records, something else behind the header.
        if opcode == Opcode::DSO {
            return Err(Unreadable::NotImplemented);
        }
        Self::read(message, header).map_err(|malformed| match opcode {
            Opcode::QUERY | Opcode::UPDATE | Opcode::NOTIFY | Opcode::STATUS | Opcode::IQUERY => {
                Unreadable::Malformed(malformed)
            }
            _ => Unreadable::NotImplemented,
        })
    }

    fn read(message: &'a [u8], header: &[u8; limits::HEADER]) -> Result<Self, Malformed> {
        let [_, _, _, _, qd0, qd1, an0, an1, ns0, ns1, ar0, ar1] = *header;
        let questions = u16::from_be_bytes([qd0, qd1]);
        let before_additional =
            u32::from(u16::from_be_bytes([an0, an1])) + u32::from(u16::from_be_bytes([ns0, ns1]));
        let additional = u16::from_be_bytes([ar0, ar1]);

        let mut reader = Reader::new(message, limits::HEADER);
        let question = if questions == 1 {
            let name = reader.plain_name()?;
            let (rtype, class) = (Rtype(reader.u16()?), Class(reader.u16()?));
            Some(Question {
                name_len: name.len(),
                rtype,
                class,
            })
        } else {
            for _ in 0..questions {
                reader.name_with(|_| {})?;
                reader.take(4)?;
            }
            None
        };
        let question_end = reader.position();

        for _ in 0..before_additional {
            let record = reader.record()?;
            // RFC 6891 6.1.1 and RFC 8945 5.1: both belong into the additional section.
            if record.rtype == Rtype::OPT || record.rtype == Rtype::TSIG {
                return Err(Malformed::Kind);
            }
        }
        let (mut edns, mut tsig_at) = (None, None);
        for _ in 0..additional {
            // RFC 8945 5.1: TSIG is the last record, so nothing may follow it, not even another one.
            if tsig_at.is_some() {
                return Err(Malformed::Kind);
            }
            let record = reader.record()?;
            if record.rtype == Rtype::TSIG {
                tsig_at = Some(record.start);
            } else if record.rtype == Rtype::OPT {
                // RFC 6891 6.1.1: one OPT, owned by the root.
                if edns.is_some() || message.get(record.start) != Some(&0) {
                    return Err(Malformed::Kind);
                }
                edns = Some(Edns::read(&record)?);
            }
        }
        if !reader.is_at_end() {
            return Err(Malformed::Trailing);
        }
        Ok(Self {
            message,
            question,
            question_end,
            edns,
            tsig_at,
        })
    }

    /// The whole message.
    #[inline]
    pub fn message(&self) -> &'a [u8] {
        self.message
    }

    /// The message id.
    #[inline]
    pub fn id(&self) -> u16 {
        u16::from_be_bytes(self.header_octets::<2>(0))
    }

    /// What the sender wants.
    #[inline]
    pub fn opcode(&self) -> Opcode {
        Opcode(self.header_octets::<1>(2)[0] >> 3 & 15)
    }

    /// Whether there is exactly one question (RFC 9619).
    #[inline]
    pub fn has_question(&self) -> bool {
        self.question.is_some()
    }

    /// Whether this asks for nothing but a server cookie: a query without a question that has a COOKIE option (RFC 7873 5.4).
    pub fn is_cookie_query(&self) -> bool {
        self.opcode() == Opcode::QUERY
            && self.header_octets::<2>(4) == [0, 0]
            && self.cookie().is_some()
    }

    /// QNAME, or the zone name of an UPDATE, as it stands in the message; empty without exactly one question.
    #[inline]
    pub fn name(&self) -> &'a [u8] {
        let length = self.question.map_or(0, |question| question.name_len);
        self.message
            .get(limits::HEADER..limits::HEADER + length)
            .unwrap_or_default()
    }

    /// QTYPE, or the zone type of an UPDATE; 0 without exactly one question.
    #[inline]
    pub fn rtype(&self) -> Rtype {
        self.question.map_or(Rtype(0), |question| question.rtype)
    }

    /// QCLASS, or the zone class of an UPDATE; 0 without exactly one question.
    #[inline]
    pub fn class(&self) -> Class {
        self.question.map_or(Class(0), |question| question.class)
    }

    /// The name in lower case, in the caller's buffer: the key of every lookup. Empty without exactly one question.
    #[inline]
    pub fn lower_name<'b>(&self, buffer: &'b mut NameBuffer) -> &'b [u8] {
        let name = self.name();
        match buffer.get_mut(..name.len()) {
            Some(key) => {
                key.copy_from_slice(name);
                // Label lengths are below 64 and so never in the range of letters.
                key.make_ascii_lowercase();
                key
            }
            None => &[],
        }
    }

    /// The OPT record, if there is one.
    #[inline]
    pub fn edns(&self) -> Option<&Edns<'a>> {
        self.edns.as_ref()
    }

    /// The COOKIE option, if there is one.
    #[inline]
    pub fn cookie(&self) -> Option<Cookie<'a>> {
        self.edns.as_ref().and_then(|edns| edns.cookie)
    }

    /// Whether a TSIG record ends the message. Nothing is known yet about its truth.
    pub fn is_signed(&self) -> bool {
        self.tsig_at.is_some()
    }

    /// Offset of the TSIG record.
    pub(crate) fn tsig_at(&self) -> Option<usize> {
        self.tsig_at
    }

    /// Offset behind the question section.
    #[inline]
    pub(crate) fn question_end(&self) -> usize {
        self.question_end
    }

    /// The message up to the end of the question section, to be echoed byte for byte; only the header if there is not exactly one question.
    #[inline]
    pub(crate) fn echo(&self) -> &'a [u8] {
        let end = if self.has_question() {
            self.question_end
        } else {
            limits::HEADER
        };
        self.message.get(..end).unwrap_or_default()
    }

    #[inline]
    fn header_octets<const N: usize>(&self, at: usize) -> [u8; N] {
        self.message
            .get(at..)
            .and_then(|rest| rest.first_chunk())
            .copied()
            .unwrap_or([0; N])
    }
}

impl std::fmt::Debug for Query<'_> {
    /// Type and size only: what somebody asked for does not belong into a log (design.md 5.5).
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "Query({}, {}, {} octets)",
            self.opcode(),
            self.rtype(),
            self.message.len()
        )
    }
}

impl<'a> Edns<'a> {
    /// RFC 6891 6.1.2 for the frame; RFC 7873 5.2.2 and RFC 7871 7.1.2 for the two options whose wrong form is a FORMERR.
    fn read(record: &RawRecord<'a>) -> Result<Self, Malformed> {
        let [_, version, flags, _] = record.ttl.to_be_bytes();
        let mut edns = Self {
            version,
            payload: record.class.0,
            dnssec_ok: flags & 0x80 != 0,
            cookie: None,
            wants_nsid: false,
        };
        for option in options(record.rdata) {
            match option? {
                (OPTION_COOKIE, data) => {
                    let cookie = Cookie::parse(data)?;
                    edns.cookie.get_or_insert(cookie);
                }
                (OPTION_CLIENT_SUBNET, data) if !check_client_subnet(data) => {
                    return Err(Malformed::Rdata);
                }
                (OPTION_NSID, _) => edns.wants_nsid = true,
                _ => {}
            }
        }
        Ok(edns)
    }
}

impl Unreadable {
    /// Writes what goes back: nothing when silent, else the header alone with id and opcode echoed. Returns its length.
    pub fn answer(self, message: &[u8], out: &mut [u8]) -> usize {
        let rcode = match self {
            Self::Silent => return 0,
            Self::Malformed(_) => Rcode::FORMERR,
            Self::NotImplemented => Rcode::NOTIMP,
        };
        let Some(&[id0, id1, flags, ..]) = message.first_chunk::<{ limits::HEADER }>() else {
            return 0;
        };
        let mut writer = Writer::new(out);
        let header = [
            id0,
            id1,
            0x80 | flags & 0x79,
            rcode.0 as u8,
            0,
            0,
            0,
            0,
            0,
            0,
            0,
            0,
        ];
        writer.put(&header).map_or(0, |()| limits::HEADER)
    }
}

/// Whether a label is `mb-` and twelve lower-case hexadecimal digits: the mailbox itself, which is never NXDOMAIN (D23). `key` is lower-cased wire form.
pub(crate) fn starts_with_mailbox(key: &[u8]) -> bool {
    let label = Labels::of_wire(key).next().unwrap_or_default();
    label.len() == 15
        && label
            .strip_prefix(b"mb-")
            .is_some_and(|hash| hash.iter().all(|c| matches!(c, b'0'..=b'9' | b'a'..=b'f')))
}

/// The options of an OPT record, front to back; the first that does not fit its frame ends them.
pub(crate) fn options(data: &[u8]) -> impl Iterator<Item = Result<(u16, &[u8]), Malformed>> {
    let mut reader = Reader::new(data, 0);
    std::iter::from_fn(move || {
        if reader.is_at_end() {
            return None;
        }
        let mut option = || {
            let code = reader.u16()?;
            let length = reader.u16()?;
            Ok((code, reader.take(usize::from(length))?))
        };
        let option = option();
        if option.is_err() {
            reader = Reader::new(&[], 0);
        }
        Some(option)
    })
}

/// FAMILY, SOURCE PREFIX-LENGTH, SCOPE PREFIX-LENGTH (0 in a query), as many address octets as the prefix needs.
fn check_client_subnet(data: &[u8]) -> bool {
    let Some((&[family0, family1, source, scope], address)) = data.split_first_chunk() else {
        return false;
    };
    let widest = match u16::from_be_bytes([family0, family1]) {
        0 => 0,
        1 => 32,
        2 => 128,
        _ => return false,
    };
    source <= widest && scope == 0 && address.len() == usize::from(source).div_ceil(8)
}
