//! Dynamic update (RFC 2136): building messages on the client's side, reading them on the server's.
//!
//! Nothing is authorised, looked up or applied here; caps, scopes and the transaction are the node's. The response is
//! [`crate::answer::respond`].

use crate::limits;
use crate::name::{self, Name};
use crate::query::Query;
use crate::rcode::{Class, Opcode, Rcode, Rtype};
use crate::txt;
use crate::wire::{Malformed, RawRecord, Reader};

/// One change, as a client asks for it and a server applies it. Owners read from the wire are lower-case (W-5).
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Operation {
    /// Append a value to the RRset, or refresh it if it is there.
    Add {
        /// Owner name.
        owner: Name,
        /// Seconds to live; from the wire never 0 and never above 2^31 - 1 (node.md 3.2).
        ttl: u32,
        /// The value, all strings joined.
        value: String,
    },
    /// Remove one value, if it is there.
    DeleteValue {
        /// Owner name.
        owner: Name,
        /// The value, byte for byte.
        value: String,
    },
    /// Remove all values at the owner.
    DeleteRrset {
        /// Owner name.
        owner: Name,
    },
}

impl Operation {
    /// The owner name the operation touches.
    pub fn owner(&self) -> &Name {
        match self {
            Self::Add { owner, .. }
            | Self::DeleteValue { owner, .. }
            | Self::DeleteRrset { owner } => owner,
        }
    }
}

/// A condition on the zone before the update (RFC 2136 2.4). Owners are lower-case and inside the zone.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Prerequisite {
    /// At least one record, of any type, at the owner; else NXDOMAIN.
    NameInUse(Name),
    /// No record of any type at the owner; else YXDOMAIN.
    NameNotInUse(Name),
    /// At least one record of this type at the owner; else NXRRSET.
    RrsetExists(Name, Rtype),
    /// No record of this type at the owner; else YXRRSET.
    RrsetAbsent(Name, Rtype),
    /// Exactly these values at the owner, in any order; else NXRRSET. TXT values are joined strings, others raw RDATA.
    RrsetEquals(Name, Rtype, Vec<Vec<u8>>),
}

impl Prerequisite {
    /// The response code when the condition does not hold (RFC 2136 3.2.5).
    pub fn rcode_if_false(&self) -> Rcode {
        match self {
            Self::NameInUse(_) => Rcode::NXDOMAIN,
            Self::NameNotInUse(_) => Rcode::YXDOMAIN,
            Self::RrsetExists(..) | Self::RrsetEquals(..) => Rcode::NXRRSET,
            Self::RrsetAbsent(..) => Rcode::YXRRSET,
        }
    }
}

/// Why an UPDATE is answered with something else than NOERROR before anything is looked up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Refusal {
    /// The response code.
    pub rcode: Rcode,
    /// Why, for people; goes out as extended error text.
    pub reason: &'static str,
}

/// An UPDATE whose zone section is in order. The other sections are read on demand, after authentication.
#[derive(Clone, Copy, Debug)]
pub struct UpdateRequest<'a> {
    query: Query<'a>,
}

impl<'a> UpdateRequest<'a> {
    /// Reads the zone section (RFC 2136 3.1.1): one entry of type SOA, else FORMERR; of class IN, else NOTAUTH.
    pub fn parse(query: &Query<'a>) -> Result<Self, Refusal> {
        if query.opcode() != Opcode::UPDATE {
            return Err(Refusal {
                rcode: Rcode::NOTIMP,
                reason: "not an update",
            });
        }
        if !query.has_question() || query.rtype() != Rtype::SOA {
            return Err(Refusal {
                rcode: Rcode::FORMERR,
                reason: "zone section is not one SOA",
            });
        }
        if query.class() != Class::IN {
            return Err(Refusal {
                rcode: Rcode::NOTAUTH,
                reason: "zone class is not IN",
            });
        }
        Ok(Self { query: *query })
    }

    /// The zone to update, as it stands in the message (wire form, any case); compare without regard to case.
    pub fn zone(&self) -> &'a [u8] {
        self.query.name()
    }

    /// The prerequisite section (RFC 2136 3.2): conditions in order, the records of one RRset joined into one condition.
    ///
    /// Errors: NOTZONE for an owner outside the zone, FORMERR for a TTL, class, type or RDATA that has no meaning there.
    pub fn prerequisites(&self) -> Result<Vec<Prerequisite>, Refusal> {
        let mut conditions: Vec<Prerequisite> = Vec::new();
        self.section(Section::Prerequisites, |owner, record| {
            if record.ttl != 0 {
                return Err(formerr("prerequisite with a TTL"));
            }
            match (record.class, record.rtype, record.rdata) {
                (Class::ANY, Rtype::ANY, []) => conditions.push(Prerequisite::NameInUse(owner)),
                (Class::ANY, rtype, []) => conditions.push(Prerequisite::RrsetExists(owner, rtype)),
                (Class::NONE, Rtype::ANY, []) => conditions.push(Prerequisite::NameNotInUse(owner)),
                (Class::NONE, rtype, []) => {
                    conditions.push(Prerequisite::RrsetAbsent(owner, rtype))
                }
                (Class::IN, rtype, rdata) if !is_meta(rtype) => {
                    let value = match rtype {
                        Rtype::TXT => txt::decode_rdata(rdata)
                            .map_err(|_| formerr("TXT data has the wrong form"))?,
                        _ => rdata.to_vec(),
                    };
                    let same = conditions.iter_mut().find_map(|condition| match condition {
                        Prerequisite::RrsetEquals(name, of, values)
                            if *name == owner && *of == rtype =>
                        {
                            Some(values)
                        }
                        _ => None,
                    });
                    match same {
                        Some(values) => values.push(value),
                        None => {
                            conditions.push(Prerequisite::RrsetEquals(owner, rtype, vec![value]))
                        }
                    }
                }
                _ => return Err(formerr("prerequisite of no known kind")),
            }
            Ok(())
        })?;
        Ok(conditions)
    }

    /// The update section (RFC 2136 3.4.1; node.md 3.1, 3.2): changes in wire order.
    ///
    /// Deletions of types that are never stored are left out: they change nothing. Errors: NOTZONE, FORMERR (classes, types,
    /// RDATA, text that is not UTF-8); REFUSED for adding a type that is never stored, if nothing worse is found in the section.
    pub fn operations(&self) -> Result<Vec<Operation>, Refusal> {
        let mut operations = Vec::new();
        let mut refused = None;
        self.section(Section::Updates, |owner, record| {
            match (record.class, record.rtype, record.rdata) {
                (Class::IN, Rtype::TXT, rdata) => {
                    operations.push(Operation::Add {
                        owner,
                        ttl: stored_ttl(record.ttl),
                        value: text(rdata)?,
                    });
                }
                (Class::IN, rtype, _) if !is_meta(rtype) => {
                    refused.get_or_insert(Refusal {
                        rcode: Rcode::REFUSED,
                        reason: "only TXT records are stored here",
                    });
                }
                (Class::ANY, Rtype::TXT | Rtype::ANY, []) => {
                    operations.push(Operation::DeleteRrset { owner })
                }
                (Class::ANY, rtype, []) if !is_meta(rtype) => {}
                (Class::NONE, Rtype::TXT, rdata) => operations.push(Operation::DeleteValue {
                    owner,
                    value: text(rdata)?,
                }),
                (Class::NONE, rtype, _) if !is_meta(rtype) => {}
                _ => return Err(formerr("update record of no known kind")),
            }
            Ok(())
        })?;
        refused.map_or(Ok(operations), Err)
    }

    /// Calls `each` with owner (lower case, inside the zone) and record of one section.
    fn section(
        &self,
        section: Section,
        mut each: impl FnMut(Name, RawRecord<'a>) -> Result<(), Refusal>,
    ) -> Result<(), Refusal> {
        let unreadable = |_: Malformed| formerr("message cannot be read");
        let message = self.query.message();
        let [prerequisites, updates] = [6, 8].map(|at| {
            let count = message.get(at..).and_then(|rest| rest.first_chunk::<2>());
            count.map_or(0, |octets| u16::from_be_bytes(*octets))
        });
        let mut reader = Reader::new(message, self.query.question_end());
        let count = match section {
            Section::Prerequisites => prerequisites,
            Section::Updates => {
                for _ in 0..prerequisites {
                    reader.record().map_err(unreadable)?;
                }
                updates
            }
        };
        for _ in 0..count {
            let owner = Name::read(&mut reader.clone())
                .map_err(unreadable)?
                .to_lower();
            let record = reader.record().map_err(unreadable)?;
            if !name::is_under(owner.as_wire(), self.zone()) {
                return Err(Refusal {
                    rcode: Rcode::NOTZONE,
                    reason: "owner lies outside the zone",
                });
            }
            each(owner, record)?;
        }
        Ok(())
    }
}

#[derive(Clone, Copy)]
enum Section {
    Prerequisites,
    Updates,
}

fn formerr(reason: &'static str) -> Refusal {
    Refusal {
        rcode: Rcode::FORMERR,
        reason,
    }
}

/// Types that are questions, never data (RFC 6895 3.1), and the reserved 0.
fn is_meta(rtype: Rtype) -> bool {
    matches!(rtype.0, 0 | 128..=255) || rtype == Rtype::OPT
}

/// RFC 2181 8: a TTL has 31 bits; 0 would expire at once.
fn stored_ttl(ttl: u32) -> u32 {
    if ttl == 0 || ttl > i32::MAX as u32 {
        limits::DEFAULT_TTL
    } else {
        ttl
    }
}

fn text(rdata: &[u8]) -> Result<String, Refusal> {
    let value = txt::decode_rdata(rdata).map_err(|_| formerr("TXT data has the wrong form"))?;
    String::from_utf8(value).map_err(|_| formerr("TXT value is not UTF-8"))
}

/// A change that cannot be put into a message.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BuildError {
    /// The message would exceed 65 535 octets, or the value alone does.
    #[error("update message is full")]
    Full,
    /// The owner is not inside the zone the message is for.
    #[error("owner name is outside the zone")]
    OutsideZone,
}

/// An UPDATE message in the making: changes in wire order, the size known at each step (client.md 4.4).
#[derive(Clone, Debug)]
pub struct UpdateBuilder {
    zone: Name,
    /// Header (id and counts still zero) and zone section, then the update section.
    message: Vec<u8>,
    updates: u16,
}

impl UpdateBuilder {
    /// An empty UPDATE for `zone`.
    pub fn new(zone: &Name) -> Self {
        let mut message = vec![0; limits::HEADER];
        message.extend_from_slice(zone.as_wire());
        message.extend_from_slice(&Rtype::SOA.0.to_be_bytes());
        message.extend_from_slice(&Class::IN.0.to_be_bytes());
        Self {
            zone: zone.clone(),
            message,
            updates: 0,
        }
    }

    /// The zone the message is for.
    pub fn zone(&self) -> &Name {
        &self.zone
    }

    /// How many changes it holds.
    pub fn operations(&self) -> u16 {
        self.updates
    }

    /// Octets of the message as [`UpdateBuilder::build`] makes it, without a TSIG record.
    pub fn message_len(&self) -> usize {
        self.message.len() + OPT.len()
    }

    /// Octets that [`UpdateBuilder::push`] would add for this change.
    pub fn operation_len(&self, operation: &Operation) -> usize {
        let rdata = match operation {
            Operation::Add { value, .. } | Operation::DeleteValue { value, .. } => {
                txt::rdata_len(value.len())
            }
            Operation::DeleteRrset { .. } => 0,
        };
        let owner = operation.owner();
        // A suffix equal to the zone becomes a pointer of two octets, unless the zone is the root.
        let shared = self.zone.as_wire().len();
        let owner_len = if shared > 1 && owner.is_under(&self.zone) {
            owner.as_wire().len() - shared + 2
        } else {
            owner.as_wire().len()
        };
        owner_len.saturating_add(10).saturating_add(rdata)
    }

    /// Appends one change.
    ///
    /// Errors: the owner is not under the zone; the message would grow past 65 535 octets. The builder is unchanged then.
    pub fn push(&mut self, operation: &Operation) -> Result<(), BuildError> {
        let owner = operation.owner();
        if !owner.is_under(&self.zone) {
            return Err(BuildError::OutsideZone);
        }
        if self
            .message_len()
            .saturating_add(self.operation_len(operation))
            > limits::MESSAGE
        {
            return Err(BuildError::Full);
        }
        let (class, ttl, rdata) = match operation {
            Operation::Add { ttl, value, .. } => {
                (Class::IN, *ttl, txt::encode_rdata(value.as_bytes()))
            }
            Operation::DeleteValue { value, .. } => {
                (Class::NONE, 0, txt::encode_rdata(value.as_bytes()))
            }
            Operation::DeleteRrset { .. } => (Class::ANY, 0, Vec::new()),
        };
        let prefix = owner.as_wire().len() - self.zone.as_wire().len();
        self.message
            .extend_from_slice(owner.as_wire().get(..prefix).unwrap_or_default());
        if self.zone.as_wire().len() > 1 {
            self.message
                .extend_from_slice(&[0xc0, limits::HEADER as u8]);
        } else {
            self.message.push(0);
        }
        self.message.extend_from_slice(&Rtype::TXT.0.to_be_bytes());
        self.message.extend_from_slice(&class.0.to_be_bytes());
        self.message.extend_from_slice(&ttl.to_be_bytes());
        // Below 65 535, as the whole message is.
        self.message
            .extend_from_slice(&(rdata.len() as u16).to_be_bytes());
        self.message.extend_from_slice(&rdata);
        self.updates += 1;
        Ok(())
    }

    /// The message, unsigned: opcode UPDATE, no flags, an OPT record so that the server may say why it refuses (RFC 8914).
    pub fn build(&self, id: u16) -> Vec<u8> {
        let mut message = self.message.clone();
        let [id0, id1] = id.to_be_bytes();
        let [count0, count1] = self.updates.to_be_bytes();
        let header = [
            id0,
            id1,
            Opcode::UPDATE.0 << 3,
            0,
            0,
            1,
            0,
            0,
            count0,
            count1,
            0,
            1,
        ];
        message.splice(..limits::HEADER, header);
        message.extend_from_slice(&OPT);
        message
    }
}

/// OPT of a client: EDNS 0, payload 1232, nothing else.
const OPT: [u8; 11] = [
    0,
    0,
    41,
    (limits::UDP >> 8) as u8,
    (limits::UDP & 255) as u8,
    0,
    0,
    0,
    0,
    0,
    0,
];
