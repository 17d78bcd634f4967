//! A server's side: zone section, prerequisites and changes of a message, or the response code it earns.

use super::{Operation, Prerequisite};
use crate::limits;
use crate::name::{self, Name};
use crate::query::Query;
use crate::rcode::{Class, Opcode, Rcode, Rtype};
use crate::txt;
use crate::wire::{Malformed, RawRecord, Reader};

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
