//! A request as a server meets it: one pass over borrowed bytes, nothing allocated, nothing answered.
//!
//! Any opcode is read here; [`crate::answer`] answers queries, [`crate::update`] reads the rest of an UPDATE.

use core::num::{NonZeroU8, NonZeroU16};

use crate::cookie::Cookie;
use crate::limits;
use crate::name::Labels;
use crate::rcode::{Class, Opcode, Rcode, Rtype};
use crate::wire::{Malformed, RawRecord, Reader, Writer};

/// Room for the lower-cased wire form of one name: what a caller keeps per slot of a batch. One octet longer than any
/// name, so that it divides into [`STRIDE`]s.
pub type NameBuffer = [u8; limits::NAME + 1];

/// Octets turned into lower case in one step, whether the name ends among them or not.
const STRIDE: usize = 32;

/// Name server identifier (RFC 5001).
pub(crate) const OPTION_NSID: u16 = 3;
/// COOKIE (RFC 7873).
pub(crate) const OPTION_COOKIE: u16 = 10;
/// Octets of QTYPE and QCLASS.
const QUESTION_TAIL: usize = 4;
/// Octets of an option's code and length.
const OPTION_HEAD: usize = 4;
/// Client subnet (RFC 7871).
const OPTION_CLIENT_SUBNET: u16 = 8;

/// A well-formed request (QR=0), borrowed from the datagram. Small, since a server keeps a batch of them: offsets into a
/// message fit 16 bits.
#[derive(Clone, Copy)]
pub struct Query<'a> {
    message: &'a [u8],
    question: Option<Question>,
    question_end: u16,
    edns: Option<Edns>,
    cookie: Option<CookieAt>,
    tsig_at: Option<NonZeroU16>,
}

/// The one question; its name lies uncompressed at offset 12.
#[derive(Clone, Copy)]
struct Question {
    name_len: NonZeroU8,
    rtype: Rtype,
    class: Class,
}

/// Where the data of the COOKIE option lies, checked.
#[derive(Clone, Copy)]
struct CookieAt {
    start: NonZeroU16,
    len: u8,
}

/// What the OPT record of a request says (RFC 6891 6.1).
#[derive(Clone, Copy, Debug)]
pub struct Edns {
    /// EDNS version; only 0 exists.
    pub version: u8,
    /// UDP payload the sender can take, as written.
    pub payload: u16,
    /// DNSSEC OK (RFC 3225).
    pub dnssec_ok: bool,
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
    #[inline(always)] // so that a batch gets what nearly every query is without a copy
    pub fn parse(message: &'a [u8]) -> Result<Self, Unreadable> {
        let Some(header) = message.first_chunk::<{ limits::HEADER }>() else {
            return Err(Unreadable::Silent);
        };
        if header[2] & 0x80 != 0 {
            return Err(Unreadable::Silent);
        }
        match Self::read_plain(message, header) {
            Some(query) => Ok(query),
            None => Self::read_any(message, header),
        }
    }

    fn read_any(message: &'a [u8], header: &[u8; limits::HEADER]) -> Result<Self, Unreadable> {
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

    /// What nearly every query is: one question, then nothing or an OPT record without options. `None`: anything else,
    /// well-formed or not; what this reads, [`Query::read`] would read the same.
    #[inline(always)]
    fn read_plain(message: &'a [u8], header: &[u8; limits::HEADER]) -> Option<Self> {
        let [_, _, flags, _, 0, 1, 0, 0, 0, 0, 0, additional @ 0..=1] = *header else {
            return None;
        };
        if flags >> 3 & 15 == Opcode::DSO.0 {
            return None;
        }
        let question = message.get(limits::HEADER..)?;
        let mut name_len = 1usize;
        loop {
            match *question.get(name_len - 1)? {
                0 => break,
                length @ 1..=63 => name_len += usize::from(length) + 1,
                _ => return None,
            }
            if name_len > limits::NAME {
                return None;
            }
        }
        let (&[type0, type1, class0, class1], rest) =
            question.get(name_len..)?.split_first_chunk()?;
        let edns = match (additional, rest) {
            (0, []) => None,
            (1, &[0, 0, 41, payload0, payload1, _, version, flags, _, 0, 0]) => Some(Edns {
                version,
                payload: u16::from_be_bytes([payload0, payload1]),
                dnssec_ok: flags & 0x80 != 0,
                wants_nsid: false,
            }),
            _ => return None,
        };
        Some(Self {
            message,
            question: Some(Question {
                name_len: NonZeroU8::new(name_len as u8)?,
                rtype: Rtype(u16::from_be_bytes([type0, type1])),
                class: Class(u16::from_be_bytes([class0, class1])),
            }),
            question_end: (limits::HEADER + name_len + QUESTION_TAIL) as u16,
            edns,
            cookie: None,
            tsig_at: None,
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
            let [type0, type1, class0, class1] = reader.array()?;
            let name_len = u8::try_from(name.len()).ok().and_then(NonZeroU8::new);
            Some(Question {
                name_len: name_len.ok_or(Malformed::NameTooLong)?,
                rtype: Rtype(u16::from_be_bytes([type0, type1])),
                class: Class(u16::from_be_bytes([class0, class1])),
            })
        } else {
            for _ in 0..questions {
                reader.name_with(|_| {})?;
                reader.take(4)?;
            }
            None
        };
        let question_end = reader.position16()?;

        for _ in 0..before_additional {
            let record = reader.record()?;
            // RFC 6891 6.1.1 and RFC 8945 5.1: both belong into the additional section.
            if record.rtype == Rtype::OPT || record.rtype == Rtype::TSIG {
                return Err(Malformed::Kind);
            }
        }
        let (mut edns, mut cookie, mut tsig_at) = (None, None, None);
        for _ in 0..additional {
            // RFC 8945 5.1: TSIG is the last record, so nothing may follow it, not even another one.
            if tsig_at.is_some() {
                return Err(Malformed::Kind);
            }
            let record = reader.record()?;
            if record.rtype == Rtype::TSIG {
                tsig_at = Some(offset(record.start)?);
            } else if record.rtype == Rtype::OPT {
                // RFC 6891 6.1.1: one OPT, owned by the root.
                if edns.is_some() || message.get(record.start) != Some(&0) {
                    return Err(Malformed::Kind);
                }
                edns = Some(Edns::read(&record, &mut cookie)?);
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
            cookie,
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
        let length = self.question.map_or(0, |question| question.name_len.get());
        self.message
            .get(limits::HEADER..limits::HEADER + usize::from(length))
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
        let Some(key) = buffer.get_mut(..name.len()) else {
            return &[];
        };
        key.copy_from_slice(name);
        // Label lengths are below 64 and so never in the range of letters; what follows the name does not matter.
        let (strides, _) = buffer.as_chunks_mut::<STRIDE>();
        for stride in strides.iter_mut().take(name.len().div_ceil(STRIDE)) {
            stride.make_ascii_lowercase();
        }
        buffer.get(..name.len()).unwrap_or_default()
    }

    /// The OPT record, if there is one.
    #[inline]
    pub fn edns(&self) -> Option<&Edns> {
        self.edns.as_ref()
    }

    /// The first COOKIE option, if there is one; later ones do not count (RFC 7873 4).
    #[inline]
    pub fn cookie(&self) -> Option<Cookie<'a>> {
        let CookieAt { start, len } = self.cookie?;
        let start = usize::from(start.get());
        let data = self.message.get(start..start + usize::from(len))?;
        Cookie::parse(data).ok()
    }

    /// Whether a TSIG record ends the message. Nothing is known yet about its truth.
    #[inline]
    pub fn is_signed(&self) -> bool {
        self.tsig_at.is_some()
    }

    /// Offset of the TSIG record.
    pub(crate) fn tsig_at(&self) -> Option<usize> {
        self.tsig_at.map(|at| usize::from(at.get()))
    }

    /// Offset behind the question section.
    #[inline]
    pub(crate) fn question_end(&self) -> usize {
        usize::from(self.question_end)
    }

    /// The message up to the end of the question section, to be echoed byte for byte; only the header if there is not exactly one question.
    #[inline]
    pub(crate) fn echo(&self) -> &'a [u8] {
        let end = if self.has_question() {
            self.question_end()
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

impl Edns {
    /// RFC 6891 6.1.2 for the frame; RFC 7873 5.2.2 and RFC 7871 7.1.2 for the two options whose wrong form is a FORMERR.
    #[inline]
    fn read(record: &RawRecord<'_>, cookie: &mut Option<CookieAt>) -> Result<Self, Malformed> {
        let [_, version, flags, _] = record.ttl.to_be_bytes();
        let mut edns = Self {
            version,
            payload: record.class.0,
            dnssec_ok: flags & 0x80 != 0,
            wants_nsid: false,
        };
        if !record.rdata.is_empty() {
            edns.read_options(record, cookie)?;
        }
        Ok(edns)
    }

    fn read_options(
        &mut self,
        record: &RawRecord<'_>,
        cookie: &mut Option<CookieAt>,
    ) -> Result<(), Malformed> {
        let mut at = record.rdata_at;
        for option in options(record.rdata) {
            let (code, data) = option?;
            let start = at.saturating_add(OPTION_HEAD);
            at = start.saturating_add(data.len());
            match code {
                OPTION_COOKIE => {
                    Cookie::parse(data)?;
                    cookie.get_or_insert(CookieAt {
                        start: offset(start)?,
                        len: data.len() as u8, // 40 at most, or it would be no cookie
                    });
                }
                OPTION_CLIENT_SUBNET if !check_client_subnet(data) => {
                    return Err(Malformed::Rdata);
                }
                OPTION_NSID => self.wants_nsid = true,
                _ => {}
            }
        }
        Ok(())
    }
}

/// An offset behind the header. Only what is longer than any message has others.
fn offset(at: usize) -> Result<NonZeroU16, Malformed> {
    let at = u16::try_from(at).ok().and_then(NonZeroU16::new);
    at.ok_or(Malformed::Trailing)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::answer::{Exchange, Transport};
    use crate::reply::{Counts, Head, write, write_records};
    use crate::txt;
    use proptest::prelude::*;

    /// Messages that are plain, or nearly.
    fn nearly_plain() -> impl Strategy<Value = Vec<u8>> {
        let labels = prop::collection::vec(prop::collection::vec(any::<u8>(), 1..=64), 0..6);
        let opt = prop::sample::select(vec![0, 1, 1, 1, 2]);
        let header = (any::<u16>(), any::<u16>());
        let change = prop::option::weighted(0.3, (any::<prop::sample::Index>(), any::<u8>()));
        (
            labels,
            opt,
            header,
            any::<[u8; 4]>(),
            any::<[u8; 6]>(),
            change,
        )
            .prop_map(|(labels, opts, (id, flags), tail, opt, change)| {
                let mut message = id.to_be_bytes().to_vec();
                message.extend((flags & 0x7fff).to_be_bytes());
                message.extend([0, 1, 0, 0, 0, 0, 0, opts]);
                for label in labels {
                    message.push(label.len() as u8);
                    message.extend(label);
                }
                message.push(0);
                message.extend(tail);
                for _ in 0..opts {
                    message.extend([0, 0, 41]);
                    message.extend(opt);
                    message.extend([0, 0]);
                }
                if let Some((at, octet)) = change {
                    let at = at.index(message.len());
                    message[at] = octet;
                }
                message
            })
    }

    proptest! {
        #[test]
        fn the_short_way_reads_what_the_long_one_does(message in nearly_plain()) {
            let header = message.first_chunk().unwrap();
            if let Some(short) = Query::read_plain(&message, header) {
                let long = Query::read(&message, header).unwrap();
                prop_assert_eq!(short.message, long.message);
                prop_assert_eq!((short.name(), short.rtype(), short.class()), (long.name(), long.rtype(), long.class()));
                prop_assert_eq!(short.question_end, long.question_end);
                prop_assert_eq!(format!("{:?}", short.edns()), format!("{:?}", long.edns()));
                prop_assert!(long.cookie().is_none() && !long.is_signed());
            }
        }

        #[test]
        fn the_short_way_writes_what_the_long_one_does(
            message in nearly_plain(),
            values in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..400), 1..5),
            ttl in any::<u32>(),
            is_tcp in any::<bool>(),
        ) {
            let Ok(query) = Query::parse(&message) else { return Ok(()) };
            let transport = if is_tcp { Transport::Tcp } else { Transport::UDP };
            let exchange = Exchange::new(transport, 0);
            let mut packed = Vec::new();
            for value in &values {
                txt::pack(&mut packed, value, 1).unwrap();
            }
            let rrset = txt::PackedRrset::new(&packed);
            let records = || rrset.live_records(0).map(|(record, _)| record);
            let (mut short, mut long) = ([0; 4096], [0; 4096]);
            let Some(answered) = write_records(&query, &exchange, &mut short, packed.len(), ttl, records()) else {
                return Ok(());
            };
            let written = write(&query, &exchange, &mut long, Head::NOERROR, |writer| {
                for record in records() {
                    let at = writer.position();
                    writer.put(record)?;
                    writer.patch(at + txt::TTL_AT, &ttl.to_be_bytes())?;
                }
                Some(Counts { answer: values.len() as u16, ..Counts::default() })
            });
            prop_assert_eq!(answered, written);
            prop_assert_eq!(&short[..answered.len], &long[..written.len]);
        }
    }

    #[test]
    fn a_plain_query_takes_the_short_way() {
        let message =
            b"\0\x07\x01\0\0\x01\0\0\0\0\0\x01\x01a\0\0\x10\0\x01\0\0\x29\x04\xd0\0\0\0\0\0\0";
        let header = message.first_chunk().unwrap();
        assert!(Query::read_plain(message, header).is_some());
    }
}
