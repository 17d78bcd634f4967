//! The client's side of a query: building one, reading what comes back.
//!
//! No sending, no waiting, no choice of servers; those are dmp-net's. A response is untrusted bytes: reading it never
//! panics and allocates no more than the bytes justify.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::cookie::Cookie;
use crate::limits;
use crate::name::Name;
use crate::query::{OPTION_COOKIE, OPTION_NSID, options};
use crate::rcode::{Class, Opcode, Rcode, Rtype};
use crate::reply::OPTION_EXTENDED_ERROR;
use crate::txt;
use crate::wire::{Malformed, Reader};

/// Code of the padding option (RFC 7830 3).
const OPTION_PADDING: u16 = 12;

/// A query in the making: one question of class IN.
#[derive(Clone, Debug)]
pub struct QueryBuilder {
    name: Name,
    rtype: Rtype,
    edns: Option<(u16, bool)>,
    /// Data of a COOKIE option; empty for none.
    cookie: Vec<u8>,
    /// Octets of which the message is to have a multiple.
    block: Option<usize>,
}

impl QueryBuilder {
    /// A recursive query for `name` with EDNS payload 1232 (client.md 4.1). Randomise the case with [`Name::with_case`] before.
    pub fn new(name: Name, rtype: Rtype) -> Self {
        Self {
            name,
            rtype,
            edns: Some((limits::UDP as u16, false)),
            cookie: Vec::new(),
            block: None,
        }
    }

    /// For TCP: advertises 65 535, because some servers let the EDNS payload limit TCP answers (records.md 5.2).
    pub fn for_tcp(mut self) -> Self {
        self.edns = self.edns.map(|(_, dnssec_ok)| (u16::MAX, dnssec_ok));
        self
    }

    /// Advertises another payload size.
    pub fn with_payload(mut self, octets: u16) -> Self {
        self.edns = self.edns.map(|(_, dnssec_ok)| (octets, dnssec_ok));
        self
    }

    /// Without an OPT record, for servers that take it for an error (RFC 6891 7).
    pub fn without_edns(mut self) -> Self {
        self.edns = None;
        self
    }

    /// With DO and payload 4096, as the AD bit of the answer is wanted (federation.md 7.2).
    pub fn with_dnssec(mut self) -> Self {
        self.edns = Some((4096, true));
        self
    }

    /// With a cookie: the client's own, and the server's once that is known (RFC 7873 5.1).
    pub fn with_cookie(mut self, cookie: Cookie<'_>) -> Self {
        self.cookie = [&cookie.client[..], cookie.server].concat();
        self
    }

    /// Padded to a multiple of [`limits::PADDING`], so that the length tells an observer of an encrypted connection little
    /// (RFC 8467 4.1). Needs EDNS.
    pub fn padded(mut self) -> Self {
        self.block = Some(limits::PADDING);
        self
    }

    /// The message.
    pub fn build(&self, id: u16) -> Vec<u8> {
        let bare = limits::HEADER + self.name.as_wire().len() + 15;
        let mut options = Vec::new();
        if !self.cookie.is_empty() {
            push_option(&mut options, OPTION_COOKIE, &self.cookie);
        }
        if let Some(block) = self.block {
            let length = bare + options.len() + 4;
            let padding = length.next_multiple_of(block) - length;
            push_option(&mut options, OPTION_PADDING, &vec![0; padding]);
        }
        let mut message = Vec::with_capacity(bare + options.len());
        message.extend_from_slice(&id.to_be_bytes());
        message.extend_from_slice(&[1, 0, 0, 1, 0, 0, 0, 0, 0, u8::from(self.edns.is_some())]);
        message.extend_from_slice(self.name.as_wire());
        message.extend_from_slice(&self.rtype.0.to_be_bytes());
        message.extend_from_slice(&Class::IN.0.to_be_bytes());
        if let Some((payload, dnssec_ok)) = self.edns {
            message.extend_from_slice(&[0, 0, 41]);
            message.extend_from_slice(&payload.to_be_bytes());
            message.extend_from_slice(&[0, 0, if dnssec_ok { 0x80 } else { 0 }, 0]);
            message.extend_from_slice(&(options.len() as u16).to_be_bytes());
            message.extend_from_slice(&options);
        }
        message
    }
}

/// Appends an option of an OPT record (RFC 6891 6.1.2).
fn push_option(options: &mut Vec<u8>, code: u16, data: &[u8]) {
    options.extend_from_slice(&code.to_be_bytes());
    options.extend_from_slice(&(data.len() as u16).to_be_bytes());
    options.extend_from_slice(data);
}

/// A response, whole and owned.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Response {
    /// Message id.
    pub id: u16,
    /// Opcode, as echoed.
    pub opcode: Opcode,
    /// Response code with its extended bits.
    pub rcode: Rcode,
    /// AA: the server speaks for the zone.
    pub authoritative: bool,
    /// TC: ask again over TCP.
    pub truncated: bool,
    /// RA: the server looks things up for others.
    pub recursion_available: bool,
    /// AD: a validating resolver vouches for it.
    pub authentic_data: bool,
    /// The question section, as raw bytes behind the header.
    question: Vec<u8>,
    /// Records of the answer section.
    pub answers: Vec<Record>,
    /// Records of the authority section.
    pub authority: Vec<Record>,
    /// Records of the additional section, without OPT and TSIG.
    pub additional: Vec<Record>,
    /// First extended error: INFO-CODE and EXTRA-TEXT (RFC 8914).
    pub extended_error: Option<(u16, String)>,
    /// Data of the first COOKIE option, whatever its length.
    cookie: Option<Vec<u8>>,
    /// The server's identifier (RFC 5001).
    pub nsid: Option<Vec<u8>>,
}

/// A record of a response.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Record {
    /// Owner name.
    pub owner: Name,
    /// TTL in seconds.
    pub ttl: u32,
    /// Class.
    pub class: Class,
    /// The data, as far as this project reads it.
    pub data: RecordData,
}

/// RDATA of the types this project reads.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum RecordData {
    /// Address.
    A(Ipv4Addr),
    /// Address.
    Aaaa(Ipv6Addr),
    /// Name server.
    Ns(Name),
    /// Alias.
    Cname(Name),
    /// Start of authority: SERIAL and MINIMUM.
    Soa {
        /// SERIAL.
        serial: u32,
        /// MINIMUM: how long a negative answer may be kept.
        minimum: u32,
    },
    /// One TXT value: all strings joined, any octets.
    Txt(Vec<u8>),
    /// Any other type, as bytes.
    Other(Rtype, Vec<u8>),
}

/// How strictly a response's question must repeat ours.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CaseMatch {
    /// Byte for byte: with random case (DNS-0x20) a blind forger fails.
    Exact,
    /// Letters in any case, for servers that fold them.
    Folded,
}

impl Response {
    /// Reads a whole message with QR=1.
    ///
    /// Errors: it is a query, ends early, has bytes behind its last record, or a record of a known type has the wrong form.
    /// With TC=1 only header and question must be whole; sections that cannot be read are empty then.
    pub fn parse(message: &[u8]) -> Result<Self, Malformed> {
        let header = message
            .first_chunk::<{ limits::HEADER }>()
            .ok_or(Malformed::Truncated)?;
        let [
            id0,
            id1,
            flags0,
            flags1,
            qd0,
            qd1,
            an0,
            an1,
            ns0,
            ns1,
            ar0,
            ar1,
        ] = *header;
        if flags0 & 0x80 == 0 {
            return Err(Malformed::Kind);
        }
        let mut reader = Reader::new(message, limits::HEADER);
        for _ in 0..u16::from_be_bytes([qd0, qd1]) {
            reader.name_with(|_| {})?;
            reader.take(4)?;
        }
        let question = message
            .get(limits::HEADER..reader.position())
            .unwrap_or_default()
            .to_vec();
        let truncated = flags0 & 2 != 0;
        let counts = [[an0, an1], [ns0, ns1], [ar0, ar1]].map(u16::from_be_bytes);
        let (sections, extra) = match read_sections(reader, message, counts) {
            Ok(read) => read,
            // Some servers cut where the limit falls, in the middle of a record; nothing of it is used (RFC 2181 9).
            Err(_) if truncated => Default::default(),
            Err(malformed) => return Err(malformed),
        };
        let [answers, authority, additional] = sections;
        Ok(Self {
            id: u16::from_be_bytes([id0, id1]),
            opcode: Opcode(flags0 >> 3 & 15),
            rcode: Rcode(u16::from(extra.rcode_high) << 4 | u16::from(flags1 & 15)),
            authoritative: flags0 & 4 != 0,
            truncated,
            recursion_available: flags1 & 0x80 != 0,
            authentic_data: flags1 & 0x20 != 0,
            question,
            answers,
            authority,
            additional,
            extended_error: extra.error,
            cookie: extra.cookie,
            nsid: extra.nsid,
        })
    }

    /// The COOKIE option, if there is one. An option of a wrong length is an error: such a response is to be discarded
    /// (RFC 7873 5.3).
    pub fn cookie(&self) -> Result<Option<Cookie<'_>>, Malformed> {
        self.cookie.as_deref().map(Cookie::parse).transpose()
    }

    /// Whether this answers `request`: same id and opcode, and the same question. A header-only error (no question at all) passes too,
    /// as servers send it when they could not read the request; it never carries data.
    pub fn is_answer_to(&self, request: &[u8], case: CaseMatch) -> bool {
        let Some(&[id0, id1, flags, _, qd0, qd1, ..]) = request.first_chunk::<{ limits::HEADER }>()
        else {
            return false;
        };
        if self.id != u16::from_be_bytes([id0, id1]) || self.opcode != Opcode(flags >> 3 & 15) {
            return false;
        }
        if self.question.is_empty() {
            return self.rcode != Rcode::NOERROR && self.answers.is_empty();
        }
        let mut reader = Reader::new(request, limits::HEADER);
        for _ in 0..u16::from_be_bytes([qd0, qd1]) {
            if reader
                .name_with(|_| {})
                .and_then(|()| reader.take(4))
                .is_err()
            {
                return false;
            }
        }
        let asked = request
            .get(limits::HEADER..reader.position())
            .unwrap_or_default();
        match case {
            CaseMatch::Exact => asked == self.question,
            CaseMatch::Folded => fold(asked) == fold(&self.question),
        }
    }

    /// Data of the answer section for `name`, following aliases (RFC 1034 3.6.2). Records of other owners are not looked at.
    pub fn data_for(&self, name: &Name) -> impl Iterator<Item = &RecordData> {
        let mut target = name;
        // As many steps as records, so a ring of aliases ends.
        for _ in 0..self.answers.len() {
            let alias = self.answers.iter().find_map(|record| match &record.data {
                RecordData::Cname(next) if record.owner == *target => Some(next),
                _ => None,
            });
            match alias {
                Some(next) => target = next,
                None => break,
            }
        }
        let target = target.clone();
        self.answers
            .iter()
            .filter(move |record| record.class == Class::IN && record.owner == target)
            .map(|record| &record.data)
    }

    /// TXT values for `name`, aliases followed: joined bytes, one per record (records.md 5.1).
    pub fn txt(&self, name: &Name) -> Vec<&[u8]> {
        self.data_for(name)
            .filter_map(|data| {
                if let RecordData::Txt(value) = data {
                    Some(value.as_slice())
                } else {
                    None
                }
            })
            .collect()
    }

    /// Addresses for `name`, aliases followed.
    pub fn addresses(&self, name: &Name) -> Vec<IpAddr> {
        let address = |data: &RecordData| match data {
            RecordData::A(address) => Some(IpAddr::V4(*address)),
            RecordData::Aaaa(address) => Some(IpAddr::V6(*address)),
            _ => None,
        };
        self.data_for(name).filter_map(address).collect()
    }

    /// Name servers of `name`, aliases followed.
    pub fn name_servers(&self, name: &Name) -> Vec<&Name> {
        self.data_for(name)
            .filter_map(|data| {
                if let RecordData::Ns(server) = data {
                    Some(server)
                } else {
                    None
                }
            })
            .collect()
    }
}

/// What pseudo records add to a response.
#[derive(Default)]
struct Extra {
    rcode_high: u8,
    error: Option<(u16, String)>,
    cookie: Option<Vec<u8>>,
    nsid: Option<Vec<u8>>,
}

/// The three sections behind the question, and nothing behind them.
fn read_sections(
    mut reader: Reader<'_>,
    message: &[u8],
    counts: [u16; 3],
) -> Result<([Vec<Record>; 3], Extra), Malformed> {
    let mut sections = <[Vec<Record>; 3]>::default();
    let mut extra = Extra::default();
    for (section, count) in sections.iter_mut().zip(counts) {
        *section = records(&mut reader, message, count, &mut extra)?;
    }
    if reader.is_at_end() {
        Ok((sections, extra))
    } else {
        Err(Malformed::Trailing)
    }
}

fn records(
    reader: &mut Reader<'_>,
    message: &[u8],
    count: u16,
    extra: &mut Extra,
) -> Result<Vec<Record>, Malformed> {
    let mut records = Vec::new();
    for _ in 0..count {
        let owner = Name::read(&mut reader.clone())?;
        let record = reader.record()?;
        let name = |within: &mut Reader<'_>| {
            let name = Name::read(within)?;
            Ok::<_, Malformed>(name)
        };
        let end = record.rdata_at + record.rdata.len();
        let mut rdata = Reader::new(message.get(..end).unwrap_or_default(), record.rdata_at);
        let data = match record.rtype {
            Rtype::OPT => {
                let [high, ..] = record.ttl.to_be_bytes();
                extra.rcode_high = high;
                extra.read_options(record.rdata);
                continue;
            }
            Rtype::TSIG => continue,
            Rtype::A => RecordData::A(rdata.array::<4>()?.into()),
            Rtype::AAAA => RecordData::Aaaa(rdata.array::<16>()?.into()),
            Rtype::NS => RecordData::Ns(name(&mut rdata)?),
            Rtype::CNAME => RecordData::Cname(name(&mut rdata)?),
            Rtype::SOA => {
                name(&mut rdata)?;
                name(&mut rdata)?;
                let serial = rdata.u32()?;
                rdata.take(12)?;
                RecordData::Soa {
                    serial,
                    minimum: rdata.u32()?,
                }
            }
            Rtype::TXT => {
                rdata.take(record.rdata.len())?;
                RecordData::Txt(txt::decode_rdata(record.rdata)?)
            }
            other => {
                rdata.take(record.rdata.len())?;
                RecordData::Other(other, record.rdata.to_vec())
            }
        };
        if !rdata.is_at_end() {
            return Err(Malformed::Rdata);
        }
        records.push(Record {
            owner,
            ttl: record.ttl,
            class: record.class,
            data,
        });
    }
    Ok(records)
}

impl Extra {
    /// The first of each option we know; one that does not fit its frame ends them, and all behind it says nothing.
    fn read_options(&mut self, data: &[u8]) {
        for (code, data) in options(data).map_while(Result::ok) {
            match code {
                OPTION_EXTENDED_ERROR => {
                    let error = data.split_first_chunk::<2>().map(|(info, text)| {
                        let text = String::from_utf8_lossy(text).into_owned();
                        (u16::from_be_bytes(*info), text)
                    });
                    self.error = self.error.take().or(error);
                }
                OPTION_COOKIE => {
                    self.cookie.get_or_insert_with(|| data.to_vec());
                }
                OPTION_NSID => {
                    self.nsid.get_or_insert_with(|| data.to_vec());
                }
                _ => {}
            }
        }
    }
}

/// ASCII letters in lower case; type and class octets are folded on both sides alike, which cannot make two questions of one name equal
/// that ask for types this project uses.
fn fold(question: &[u8]) -> Vec<u8> {
    question.to_ascii_lowercase()
}
