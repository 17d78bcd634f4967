//! A client's side: changes packed into one message (client.md 4.4).

use super::Operation;
use crate::limits;
use crate::name::Name;
use crate::rcode::{Class, Opcode, Rtype};
use crate::txt;

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
