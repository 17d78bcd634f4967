//! Whose a mailbox is: the one place that tells which mailboxes are a credential's own (node.md 4.5, D11, D13).
//!
//! It looks at what is live at its moment and keeps nothing, so that a record or credential that ends takes effect at once.

use dmp_core::id::MailboxHash;
use dmp_core::keys::SigningPublicKey;
use dmp_core::record::IdentityRecord;
use sha2::{Digest, Sha256};

use super::keyring::Keyring;
use crate::limits::IDENTITIES_PER_MAILBOX;
use crate::zone::{IdentityOwners, Owner, ZoneIndex};

/// The credentials and identity records of one moment.
pub(crate) struct Mailboxes<'a> {
    pub(crate) zone: &'a ZoneIndex,
    pub(crate) apex: &'a Owner,
    pub(crate) keyring: &'a Keyring,
    /// Unix seconds.
    pub(crate) now: u64,
}

/// An identity record that verifies: where it stands and who signed it.
type Verified<'o> = (&'o Owner, SigningPublicKey);

impl Mailboxes<'_> {
    /// Whether the mailbox belongs to somebody registered here: by a TSIG key (node.md 4.5), or by a verifying identity
    /// record that the holder of a live credential keeps at a name of their own subject (D11). Who else claims its key
    /// does not matter: a borrower must not be able to keep claims from its owner.
    pub(crate) fn is_registered(&self, mailbox: &str) -> bool {
        if self.keyring.has_recipient(mailbox, self.apex, self.now) {
            return true;
        }
        let Ok(mailbox) = MailboxHash::parse(mailbox) else {
            return false;
        };
        let owners = self.zone.identity_owners(&mailbox).listed;
        let mut records = self.claiming(&owners, mailbox).filter_map(verified);
        records.any(|record| self.subjects(&record).next().is_some())
    }

    /// Whether a live, verifying identity record makes the mailbox the subject's own: signed with a key that a live
    /// credential of the subject registered, at a name of the subject in the zone.
    ///
    /// An identity record proves possession of its signing key only, so anybody can publish one with the X25519 key of
    /// somebody else. One X25519 key belongs to one signing key (D6): where a live TSIG key holds the mailbox, which is
    /// granted for a proof of possession only, it belongs to the signing key that registered it and to no other, whatever
    /// records say; where none does and records of two signing keys claim it, it is nobody's. It is also nobody's where
    /// more records claim it than are looked at, since a rival could be among the rest.
    pub(crate) fn is_own(&self, mailbox: &str, subject: &str) -> bool {
        let Ok(hash) = MailboxHash::parse(mailbox) else {
            return false;
        };
        let IdentityOwners { listed, unlisted } = self.zone.identity_owners(&hash);
        let is_name_of = |owner| is_identity_owner_of(owner, subject, self.apex);
        // Nothing is read for the many who only write to this mailbox.
        if unlisted > 0 || !listed.iter().any(is_name_of) {
            return false;
        }
        let claiming = self.claiming(&listed, hash);
        let claiming: Vec<_> = claiming.take(IDENTITIES_PER_MAILBOX + 1).collect();
        if claiming.len() > IDENTITIES_PER_MAILBOX {
            return false;
        }
        let records: Vec<Verified<'_>> = claiming.into_iter().filter_map(verified).collect();
        let mut own = records
            .iter()
            .filter(|record| self.subjects(record).any(|of| of == subject))
            .map(|(_, signing)| signing.as_bytes());
        let proven: Vec<[u8; 32]> = self.keyring.registrants_of(mailbox, self.now).collect();
        if proven.is_empty() {
            own.next()
                .is_some_and(|own| records.iter().all(|(_, signing)| signing.as_bytes() == own))
        } else {
            own.any(|own| proven.contains(own))
        }
    }

    /// What looks like identity records for the mailbox, read name by name as asked for.
    fn claiming<'o>(
        &self,
        owners: &'o [Owner],
        mailbox: MailboxHash,
    ) -> impl Iterator<Item = (&'o Owner, String)> {
        owners.iter().flat_map(move |owner| {
            let values = self.zone.identities(owner, mailbox, self.now);
            values.map(move |value| (owner, value))
        })
    }

    /// The subjects whose own record this is.
    fn subjects(&self, (owner, signing): &Verified<'_>) -> impl Iterator<Item = &str> {
        self.keyring
            .subjects_of(signing.as_bytes(), self.now)
            .filter(move |subject| {
                owner.is_under(self.apex) && is_identity_owner_of(owner, subject, self.apex)
            })
    }
}

/// The value as an identity record, if it is one.
fn verified((owner, value): (&Owner, String)) -> Option<Verified<'_>> {
    let record = IdentityRecord::parse(&value).ok()?;
    Some((owner, record.signing))
}

/// Whether `owner` is where the subject `user@host` publishes an identity: hashed under the zone or the host, or anchored
/// at `dmp.<host>` or `dmp.<user>.<host>` (records.md 4.1, node.md 6.6).
fn is_identity_owner_of(owner: &Owner, subject: &str, zone: &Owner) -> bool {
    let Some((user, host)) = subject.split_once('@') else {
        return false;
    };
    let hash = hex::encode(&Sha256::digest(user.as_bytes())[..8]);
    let names = [
        format!("id-{hash}.{zone}"),
        format!("id-{hash}.{host}"),
        format!("dmp.{host}"),
        format!("dmp.{user}.{host}"),
    ];
    names
        .iter()
        .any(|name| Owner::parse(name).is_ok_and(|name| name == *owner))
}
