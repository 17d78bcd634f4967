//! The second gate: whether the person who signed the manifest also wrote the text (D6, crypto.md 15.4).

use thiserror::Error;

use super::{Finding, Identities, IdentityQuestion, Pin, Receiver, Standing};
use crate::address::Address;
use crate::id::UserId;
use crate::keys::{AgreementPublicKey, SigningPublicKey};
use crate::open::Opened;
use crate::record::Manifest;

/// Who stands behind a decrypted text, as the message says; what a quarantine row keeps for a later look.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Author {
    /// The key that signed the manifest.
    pub signing: SigningPublicKey,
    /// The sender id inside.
    pub sender_id: UserId,
    /// The address that the envelope claims.
    pub from: Option<Address>,
}

/// What becomes of a decrypted text.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Decision {
    /// Store it, record the replay entry and consume the prekey, in one transaction (D15).
    Inbox {
        /// The verified address to show; without it the key's fingerprint is shown (crypto.md 11.6).
        label: Option<Address>,
        /// What authorship rests on.
        proof: Proof,
    },
    /// Store it in the quarantine and record the replay entry; the prekey stays (D15).
    Quarantine {
        /// The verified address to show.
        label: Option<Address>,
        /// Why.
        reason: Quarantine,
    },
    /// Look these up, tell [`Identities`], ask again.
    NeedIdentities(Vec<IdentityQuestion>),
}

/// What authorship rests on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Proof {
    /// The pinned X25519 key.
    PinnedKey,
    /// The identity record of the pinned signing key, with this X25519 key.
    Record(AgreementPublicKey),
    /// The identity record of the key that a contact rotated to; the user is told.
    Rotation {
        /// The contact.
        label: String,
        /// The key that is still pinned.
        old: SigningPublicKey,
        /// The X25519 key of the record.
        agreement: AgreementPublicKey,
    },
    /// Nothing: nobody is pinned and the user wants everything.
    Unverified,
}

/// Why a text waits for the user.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum Quarantine {
    /// Nobody pinned the key.
    #[error("sender not pinned")]
    NotPinned,
    /// The contact is pinned for another zone than the message came from.
    #[error("{label} is pinned for another zone")]
    PinnedElsewhere {
        /// The contact.
        label: String,
    },
    /// Whoever signed the manifest did not prove to have written the text.
    #[error("authorship not proven: {0}")]
    AuthorshipNotProven(Unproven),
}

/// What is missing from the proof of authorship.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum Unproven {
    /// The sender id is another contact's.
    #[error("the text names {label} as its sender")]
    SenderIsContact {
        /// That contact.
        label: String,
    },
    /// The claimed address belongs to another signing key.
    #[error("the claimed address {0} belongs to another key")]
    AddressOfAnother(Address),
    /// The pinned X25519 key is another.
    #[error("the sender inside is not the pinned key")]
    PinnedKeyDiffers,
    /// The X25519 key in the signer's identity record is another.
    #[error("the sender inside is not the key in the identity record")]
    RecordKeyDiffers,
    /// There is no identity record of the signing key.
    #[error("no identity record of the signing key was found")]
    NoRecord,
    /// The claimed address could not be asked for.
    #[error("the claimed address {0} could not be looked up")]
    AddressUnreachable(Address),
}

impl Author {
    /// The author of an opened message.
    #[must_use]
    pub fn of(manifest: &Manifest, opened: &Opened) -> Self {
        Self {
            signing: manifest.sender,
            sender_id: opened.sender_id,
            from: opened.from.clone(),
        }
    }
}

impl Decision {
    /// Whether the prekey is used up with this decision (D15).
    #[must_use]
    pub const fn consumes_prekey(&self) -> bool {
        matches!(self, Self::Inbox { .. })
    }
}

impl Quarantine {
    /// The stable machine code.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::NotPinned => "not-pinned",
            Self::PinnedElsewhere { .. } => "pinned-elsewhere",
            Self::AuthorshipNotProven(_) => "authorship-not-proven",
        }
    }

    /// Whether the row waits only for a record that could not be fetched, and should be judged again on later runs.
    #[must_use]
    pub const fn is_provable_later(&self) -> bool {
        matches!(
            self,
            Self::AuthorshipNotProven(Unproven::NoRecord | Unproven::AddressUnreachable(_))
        )
    }
}

impl Receiver<'_> {
    /// The second gate: what becomes of a text. Also judges quarantine rows again ([`Quarantine::is_provable_later`]).
    #[must_use]
    pub fn judge(&self, author: &Author, standing: &Standing, identities: &Identities) -> Decision {
        let claimed = author
            .from
            .as_ref()
            .and_then(|address| self.question_at(address, author.signing));
        let mut questions: Vec<_> = claimed.iter().cloned().collect();
        if self.needs_record(author, standing) {
            questions.extend(self.own_addresses(author, standing));
        }
        questions.retain(|question| identities.finding(question).is_none());
        if !questions.is_empty() {
            return Decision::NeedIdentities(questions);
        }

        let claimed = claimed
            .as_ref()
            .and_then(|question| identities.finding(question));
        let label = author
            .from
            .clone()
            .filter(|_| matches!(claimed, Some(Finding::Wanted(_))));
        if *standing == Standing::FirstUse {
            return Decision::Inbox {
                label,
                proof: Proof::Unverified,
            };
        }
        match self.prove(author, standing, claimed, identities) {
            Err(reason) => Decision::Quarantine { label, reason },
            Ok(proof) => match standing {
                Standing::Stranger {
                    pinned_as: Some(contact),
                } => {
                    let reason = Quarantine::PinnedElsewhere {
                        label: contact.clone(),
                    };
                    Decision::Quarantine { label, reason }
                }
                _ => Decision::Inbox { label, proof },
            },
        }
    }

    fn prove(
        &self,
        author: &Author,
        standing: &Standing,
        claimed: Option<&Finding>,
        identities: &Identities,
    ) -> Result<Proof, Quarantine> {
        let unproven = |reason| Err(Quarantine::AuthorshipNotProven(reason));
        if let Some(contact) = self.other_contact(author, standing) {
            return unproven(Unproven::SenderIsContact {
                label: contact.label.clone(),
            });
        }
        if let (Some(Finding::Other(_)), Some(address)) = (claimed, &author.from) {
            return unproven(Unproven::AddressOfAnother(address.clone()));
        }
        if let Standing::Stranger { pinned_as: None } = standing {
            return Err(Quarantine::NotPinned);
        }
        if let Some(matches) = self.pinned_key_matches(author, standing) {
            return if matches {
                Ok(Proof::PinnedKey)
            } else {
                unproven(Unproven::PinnedKeyDiffers)
            };
        }

        let own_addresses = self.own_addresses(author, standing);
        let at_contact = own_addresses
            .iter()
            .filter_map(|question| identities.finding(question));
        // The claimed address is a source for pinned keys only; a rotation is proven in the contact's zone.
        let at_claimed = claimed.filter(|_| !matches!(standing, Standing::Rotated { .. }));
        let agreement = at_contact
            .chain(at_claimed)
            .find_map(|finding| match finding {
                Finding::Wanted(record) => Some(record.agreement),
                _ => None,
            });
        let Some(agreement) = agreement else {
            return unproven(Unproven::NoRecord);
        };
        if agreement.user_id() != author.sender_id {
            return unproven(Unproven::RecordKeyDiffers);
        }
        if let (Some(Finding::Unreachable), Some(address)) = (claimed, &author.from) {
            let own = self
                .question_at(address, author.signing)
                .is_some_and(|asked| own_addresses.contains(&asked));
            if !own {
                return unproven(Unproven::AddressUnreachable(address.clone()));
            }
        }
        Ok(match standing {
            Standing::Rotated { label, old } => Proof::Rotation {
                label: label.clone(),
                old: *old,
                agreement,
            },
            _ => Proof::Record(agreement),
        })
    }

    /// The contact whose sender id the text carries although it is not the signer.
    ///
    /// A contact without signing key counts too, unless the signer's own pinned key is the same: then it is one
    /// person under two labels. The key that a contact rotated from is the signer's own.
    fn other_contact(&self, author: &Author, standing: &Standing) -> Option<&Pin> {
        let own_pin_matches = self.pinned_key_matches(author, standing) == Some(true);
        let own_signing = |signing| match standing {
            Standing::Rotated { old, .. } => signing == author.signing || signing == *old,
            _ => signing == author.signing,
        };
        self.pins
            .iter()
            .filter(|pin| {
                pin.agreement
                    .is_some_and(|key| key.user_id() == author.sender_id)
            })
            .find(|pin| match pin.signing {
                Some(signing) => !own_signing(signing),
                None => !own_pin_matches,
            })
    }

    /// Whether the sender id is that of an X25519 key pinned together with the signing key; `None` if none is pinned.
    fn pinned_key_matches(&self, author: &Author, standing: &Standing) -> Option<bool> {
        // For a rotated key only the record counts.
        if matches!(standing, Standing::Rotated { .. }) {
            return None;
        }
        let mut keys = self
            .pins
            .iter()
            .filter(|pin| pin.holds(&author.signing))
            .filter_map(|pin| pin.agreement);
        let first = keys.next()?;
        Some(
            std::iter::once(first)
                .chain(keys)
                .any(|key| key.user_id() == author.sender_id),
        )
    }

    /// Whether only an identity record can prove authorship, so that the contact's addresses are worth asking.
    fn needs_record(&self, author: &Author, standing: &Standing) -> bool {
        let of_contact = !matches!(
            standing,
            Standing::FirstUse | Standing::Stranger { pinned_as: None }
        );
        of_contact
            && self.other_contact(author, standing).is_none()
            && self.pinned_key_matches(author, standing).is_none()
    }

    /// U@contact zone of every contact that the signing key stands for.
    fn own_addresses(&self, author: &Author, standing: &Standing) -> Vec<IdentityQuestion> {
        let stands_for = |pin: &&Pin| match standing {
            Standing::Rotated { label, .. } => pin.label == *label,
            _ => pin.holds(&author.signing),
        };
        let mut questions = Vec::new();
        for pin in self.pins.iter().filter(stands_for) {
            let Some(user) = pin.username.clone() else {
                continue;
            };
            let question = IdentityQuestion {
                user,
                host: self.zone_of(pin).clone(),
                wanted: author.signing,
            };
            if !questions.contains(&question) {
                questions.push(question);
            }
        }
        questions
    }

    /// The question about a claimed address, in the case in which a contact of that name writes it: records of
    /// mixed-case users live under the hash of the original.
    fn question_at(&self, address: &Address, wanted: SigningPublicKey) -> Option<IdentityQuestion> {
        let mut question = IdentityQuestion::at(address, wanted)?;
        let same_user = |user: &&String| user.to_lowercase() == question.user;
        if let Some(user) = self
            .pins
            .iter()
            .filter_map(|pin| pin.username.as_ref())
            .find(same_user)
        {
            question.user.clone_from(user);
        }
        Some(question)
    }
}
