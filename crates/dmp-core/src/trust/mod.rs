//! The receive decision: what becomes of a manifest, and of the text behind it (crypto.md 15.2-15.4, federation.md 6.5,
//! client.md 10.4, D2, D6, D11, D15, D22, D28). Asks no network: it says what it needs to know and waits to be told.
//!
//! A message passes two gates. [`Receiver::admit`] stands before any chunk is fetched, [`Receiver::judge`] between
//! decryption and the user. Both are pure; when they lack a fact they name the look-up, the caller makes it,
//! tells [`Rotations`] or [`Identities`], and asks again. A failed look-up is told too, so every question ends.
//!
//! **First gate.** The first row that fits decides.
//!
//! | State of the manifest | slot walk | claim |
//! |---|---|---|
//! | for somebody else, expired, or not the one the claim points to | drop | drop |
//! | key on the denylist, pinned or not, or successor of a contact's key that is | drop | drop |
//! | more than 256 shares | drop | drop |
//! | key pinned and revoked | drop | drop |
//! | key pinned for the zone (own zone: by anybody; other zone: by a contact of that zone) | `Pinned` | `Pinned` |
//! | rotation chain of a contact eligible for the zone ends at the key, chains are followed | `Rotated` | `Rotated` |
//! | nobody pinned, first use allowed | `FirstUse` | `Stranger` |
//! | anything else | drop | `Stranger` |
//!
//! A manifest without chunk hashes passes only as `Pinned` by a contact marked legacy (D2).
//!
//! **Second gate.** "Author" is the sender id inside the message, which must be the hash of the X25519 key that belongs
//! to the manifest's signing key. The first row that fits decides; a prekey is consumed only with the inbox (D15).
//!
//! | Standing | State of the text | becomes |
//! |---|---|---|
//! | `FirstUse` | any | inbox, unverified |
//! | other | author is another contact | quarantine, authorship not proven |
//! | other | claimed address resolves to another signing key | quarantine, authorship not proven |
//! | `Stranger`, key pinned nowhere | any | quarantine, not pinned |
//! | `Pinned`, X25519 key pinned | author matches it | inbox |
//! | `Pinned`, X25519 key pinned | author differs: final | quarantine, authorship not proven |
//! | `Pinned` by signing key only | author matches the record of this key at U@contact zone, else at the claimed address | inbox |
//! | `Rotated` | author matches the new key's record at U@contact zone | inbox, told as a followed rotation |
//! | `Pinned` by signing key only, `Rotated` | the record differs, or there is none | quarantine, authorship not proven |
//! | `Stranger`, key pinned for another zone | proven as if pinned here | quarantine, pinned elsewhere |
//!
//! A claimed address that cannot be asked for stops only a text whose author a record alone proves, unless it is the
//! contact's own address: a signer chooses what a record says, but not what was pinned. It may be proven on a later run.

mod authorship;
mod identities;
mod pinning;
mod rotations;

use std::collections::HashSet;

use thiserror::Error;

pub use authorship::{Author, Decision, Proof, Quarantine, Unproven};
pub use identities::{Finding, Identities, IdentityQuestion, Reach};
pub use pinning::{Holder, PinningRefused, TrustRefused, check_pinning};
pub use rotations::{RotationQuestion, Rotations};

use crate::id::{UnixTime, UserId};
use crate::keys::{AgreementPublicKey, SigningPublicKey};
use crate::name::Zone;
use crate::open::HashPolicy;
use crate::record::{Claim, Manifest};
use crate::seal::Wire;
use crate::signed::Verified;

/// A contact as far as trust is concerned (client.md 3.2).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Pin {
    /// What the user calls them.
    pub label: String,
    /// The pinned signing key.
    pub signing: Option<SigningPublicKey>,
    /// The pinned X25519 key.
    pub agreement: Option<AgreementPublicKey>,
    /// The protocol user name U, in its original case; without it there is nothing to look up.
    pub username: Option<String>,
    /// The zone they were fetched from; `None` counts as the own zone.
    pub zone: Option<Zone>,
    /// The zone their messages come from, where a person confirmed that it is another (client.md 6.4).
    pub mailbox_zone: Option<Zone>,
    /// Whether they were marked as a peer before 0.7 (D2).
    pub wire: Wire,
}

/// What to do with messages while nobody is pinned.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum FirstUse {
    /// Drop them (claims still go to quarantine).
    #[default]
    Refuse,
    /// Deliver what the slot walk finds, unverified (`allow_tofu`).
    Deliver,
}

/// Whether contacts may be followed along their rotation chains; a revocation stops trust either way (D22).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum RotationPolicy {
    /// Follow and tell the user.
    #[default]
    Follow,
    /// Stay with the pinned keys.
    Ignore,
}

/// Everything the receiver knows before a message comes.
#[derive(Clone, Copy, Debug)]
pub struct Receiver<'a> {
    /// Who receives.
    pub user_id: UserId,
    /// The own mesh zone.
    pub zone: &'a Zone,
    /// The contacts.
    pub pins: &'a [Pin],
    /// Keys that the user blocked.
    pub denylist: &'a HashSet<SigningPublicKey>,
    /// What to do while nobody is pinned.
    pub first_use: FirstUse,
    /// Whether rotation chains are followed.
    pub rotation: RotationPolicy,
}

/// How a manifest was found.
#[derive(Clone, Copy, Debug)]
pub enum Origin<'a> {
    /// In a slot of a polled zone.
    SlotWalk(&'a Zone),
    /// Where a claim pointed.
    Claim(&'a Verified<Claim>),
}

impl<'a> Origin<'a> {
    /// The zone that holds the manifest and must hold the chunks.
    #[must_use]
    pub fn zone(&self) -> &'a Zone {
        match self {
            Self::SlotWalk(zone) => zone,
            Self::Claim(claim) => &claim.mailbox_zone,
        }
    }
}

/// Whose message it would be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Standing {
    /// The key is pinned for the zone.
    Pinned,
    /// A contact's rotation chain ends at the key.
    Rotated {
        /// The contact.
        label: String,
        /// The key that is still pinned.
        old: SigningPublicKey,
    },
    /// Nobody is pinned and the user wants everything.
    FirstUse,
    /// Only a claim vouches for it.
    Stranger {
        /// The contact that has this key pinned for another zone.
        pinned_as: Option<String>,
    },
}

/// The outcome of the first gate.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Admission {
    /// Claim it in the replay window and fetch its chunks.
    Fetch {
        /// Whose it would be.
        standing: Standing,
        /// What to demand of its chunks.
        hashes: HashPolicy,
    },
    /// Look these up, tell [`Rotations`], ask again.
    NeedRotations(Vec<RotationQuestion>),
    /// Nothing for us.
    Drop(DropReason),
}

/// Why a manifest or claim is dropped before anything is fetched.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum DropReason {
    /// Another recipient.
    #[error("addressed to somebody else")]
    OtherRecipient,
    /// `now > exp`.
    #[error("expired")]
    Expired,
    /// Not the message that the claim announced.
    #[error("not the message that the claim announced")]
    OtherMessage,
    /// Another signer than the claim's.
    #[error("signed by another key than the claim")]
    OtherSigner,
    /// The key is on the denylist.
    #[error("the sender is blocked")]
    Blocked,
    /// More shares than the code has.
    #[error("more shares than the code has")]
    TooManyShares,
    /// The contact revoked the key.
    #[error("the key was revoked")]
    Revoked,
    /// Nobody pinned the key.
    #[error("the sender is not pinned")]
    NotPinned,
    /// The key is pinned, but not for the zone that this was found in.
    #[error("the sender is pinned for another zone")]
    PinnedElsewhere,
    /// The manifest does not bind its chunks and its signer is no legacy contact.
    #[error("the manifest does not bind its chunks")]
    NoChunkHashes,
}

impl DropReason {
    /// The stable machine code; those of federation.md 3.8 where it has one.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::OtherRecipient => "manifest-recipient-mismatch",
            Self::Expired => "manifest-expired",
            Self::OtherMessage => "manifest-not-found",
            Self::OtherSigner => "manifest-spk-mismatch",
            Self::Blocked => "denylisted",
            Self::TooManyShares => "too-many-shares",
            Self::Revoked => "revoked",
            Self::NotPinned => "not-pinned",
            Self::PinnedElsewhere => "pinned-elsewhere",
            Self::NoChunkHashes => "no-chunk-hashes",
        }
    }
}

impl Receiver<'_> {
    /// The first gate: whether a manifest is worth fetching its chunks.
    ///
    /// The replay window is the caller's, between this and the first chunk.
    #[must_use]
    pub fn admit(
        &self,
        manifest: &Verified<Manifest>,
        origin: Origin<'_>,
        rotations: &Rotations,
        now: UnixTime,
    ) -> Admission {
        if let Err(reason) = self.screen(manifest, origin, now) {
            return Admission::Drop(reason);
        }
        let claimed = matches!(origin, Origin::Claim(_));
        let standing = match self.standing(&manifest.sender, origin.zone(), claimed, rotations) {
            Ok(standing) => standing,
            Err(admission) => return admission,
        };
        let hashes = self.hash_policy(&manifest.sender, &standing, origin.zone());
        if manifest.chunk_hashes.is_empty() && hashes == HashPolicy::Required {
            return Admission::Drop(DropReason::NoChunkHashes);
        }
        Admission::Fetch { standing, hashes }
    }

    /// Where a quarantined sender stands now, before [`Receiver::judge`] looks at the row again.
    ///
    /// # Errors
    /// [`Admission::NeedRotations`], or [`Admission::Drop`] of a key that was blocked or revoked since.
    pub fn reconsider(
        &self,
        signing: &SigningPublicKey,
        zone: &Zone,
        rotations: &Rotations,
    ) -> Result<Standing, Admission> {
        if self.denylist.contains(signing) {
            return Err(Admission::Drop(DropReason::Blocked));
        }
        self.standing(signing, zone, true, rotations)
    }

    /// What needs no look-up and no contact.
    fn screen(
        &self,
        manifest: &Manifest,
        origin: Origin<'_>,
        now: UnixTime,
    ) -> Result<(), DropReason> {
        if let Origin::Claim(claim) = origin {
            if claim.msg_id != manifest.msg_id {
                return Err(DropReason::OtherMessage);
            }
            if claim.sender != manifest.sender {
                return Err(DropReason::OtherSigner);
            }
        }
        if manifest.recipient != self.user_id {
            return Err(DropReason::OtherRecipient);
        }
        if !manifest.is_live(now) {
            return Err(DropReason::Expired);
        }
        if self.denylist.contains(&manifest.sender) {
            return Err(DropReason::Blocked);
        }
        if !manifest.plan.is_decodable() {
            return Err(DropReason::TooManyShares);
        }
        Ok(())
    }

    fn standing(
        &self,
        sender: &SigningPublicKey,
        zone: &Zone,
        claimed: bool,
        rotations: &Rotations,
    ) -> Result<Standing, Admission> {
        let pinned_here = self.eligible(zone).any(|pin| pin.holds(sender));
        let pinned = self.pins.iter().find(|pin| pin.holds(sender));
        if pinned_here || claimed {
            let asked = self.pins.iter().filter(|pin| pin.holds(sender));
            let questions: Vec<_> = asked
                .filter_map(|pin| self.rotation_question(pin))
                .collect();
            if questions
                .iter()
                .any(|question| rotations.is_revoked(question))
            {
                return Err(Admission::Drop(DropReason::Revoked));
            }
            need(questions, rotations)?;
        }
        if pinned_here {
            return Ok(Standing::Pinned);
        }
        if pinned.is_none() {
            self.check_predecessors(sender, rotations)?;
        }
        if self.rotation == RotationPolicy::Follow {
            let mut questions = Vec::new();
            for pin in self.eligible(zone) {
                let Some(question) = self.rotation_question(pin) else {
                    continue;
                };
                if rotations.successor(&question) == Some(*sender) {
                    return Ok(Standing::Rotated {
                        label: pin.label.clone(),
                        old: question.pinned,
                    });
                }
                questions.push(question);
            }
            need(questions, rotations)?;
        }
        if claimed {
            return Ok(Standing::Stranger {
                pinned_as: pinned.map(|pin| pin.label.clone()),
            });
        }
        if pinned.is_some() {
            return Err(Admission::Drop(DropReason::PinnedElsewhere));
        }
        let nobody_pinned = self.pins.iter().all(|pin| pin.signing.is_none());
        if nobody_pinned && self.first_use == FirstUse::Deliver {
            Ok(Standing::FirstUse)
        } else {
            Err(Admission::Drop(DropReason::NotPinned))
        }
    }

    /// A blocked contact stays blocked under the keys that follow, whether or not chains are followed for delivery.
    fn check_predecessors(
        &self,
        sender: &SigningPublicKey,
        rotations: &Rotations,
    ) -> Result<(), Admission> {
        let is_blocked = |pin: &&Pin| pin.signing.is_some_and(|key| self.denylist.contains(&key));
        let questions: Vec<_> = self
            .pins
            .iter()
            .filter(is_blocked)
            .filter_map(|pin| self.rotation_question(pin))
            .collect();
        if questions
            .iter()
            .any(|question| rotations.successor(question) == Some(*sender))
        {
            return Err(Admission::Drop(DropReason::Blocked));
        }
        need(questions, rotations)
    }

    fn hash_policy(
        &self,
        sender: &SigningPublicKey,
        standing: &Standing,
        zone: &Zone,
    ) -> HashPolicy {
        let legacy = *standing == Standing::Pinned
            && self
                .eligible(zone)
                .any(|pin| pin.holds(sender) && pin.wire == Wire::Legacy);
        if legacy {
            HashPolicy::LegacyAllowed
        } else {
            HashPolicy::Required
        }
    }

    /// The contacts whose keys count in `zone`: everywhere but at home one contact could replay another's messages.
    fn eligible(&self, zone: &Zone) -> impl Iterator<Item = &Pin> {
        let own = zone == self.zone;
        self.pins.iter().filter(move |pin| {
            own || self.zone_of(pin) == zone || pin.mailbox_zone.as_ref() == Some(zone)
        })
    }

    fn zone_of<'p>(&'p self, pin: &'p Pin) -> &'p Zone {
        pin.zone.as_ref().unwrap_or(self.zone)
    }

    /// What to ask about a contact's key: nothing without a key or a user name.
    fn rotation_question(&self, pin: &Pin) -> Option<RotationQuestion> {
        RotationQuestion::new(pin.username.as_deref()?, self.zone_of(pin), pin.signing?)
    }
}

impl Pin {
    fn holds(&self, signing: &SigningPublicKey) -> bool {
        self.signing.as_ref() == Some(signing)
    }

    /// This contact as the holder of an X25519 key, for [`check_pinning`].
    #[must_use]
    pub fn holder(&self) -> Option<Holder<'_>> {
        let user_id = self.agreement?.user_id();
        Some(Holder {
            name: &self.label,
            signing: self.signing,
            user_id,
        })
    }
}

/// Fails with those questions that have no answer yet.
fn need(mut questions: Vec<RotationQuestion>, rotations: &Rotations) -> Result<(), Admission> {
    questions.retain(|question| !rotations.is_answered(question));
    if questions.is_empty() {
        Ok(())
    } else {
        Err(Admission::NeedRotations(questions))
    }
}
