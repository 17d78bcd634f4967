//! The way to a contact and back: the very look-ups that both clients make to find each other's messages (product.md 5.5).

use dmp_core::id::{Slot, UnixTime, UserId};
use dmp_core::keys::Identity;
use dmp_core::name::Zone;
use dmp_core::owner::{claim_owner, manifest_owner, prekey_owner};
use dmp_core::record::Manifest;
use dmp_core::trust::{RotationQuestion, Rotations};
use futures_util::future::{join, join_all, join4};

use super::published::{live_prekeys, own_records, values_at};
use super::{Check, ConfiguredResolvers, Instruments, Sight, Standing, Witness};
use crate::mesh::{Reader, UpdateTarget};
use crate::ops::{FetchError, FetchRequest, Place, Profile, identity_fetch};
use crate::store::{KeyState, NewContact};

/// Who it is about, and who asks.
#[derive(Debug, Clone, Copy)]
pub struct ContactQuestion<'a> {
    /// The contact as it is pinned.
    pub contact: &'a NewContact,
    /// The own keys.
    pub identity: &'a Identity,
    /// Port of servers of other zones that take claims.
    pub claim_port: u16,
}

/// Follows both ways and judges every step.
pub async fn check_contact(
    question: &ContactQuestion<'_>,
    profile: &Profile,
    reader: &dyn Reader,
    instruments: &dyn Instruments,
    now: UnixTime,
) -> Vec<Check> {
    let way = Way {
        question,
        profile,
        reader,
        witness: ConfiguredResolvers(reader),
        instruments,
        now,
    };
    let mut checks = way.pinned();
    let ((identity, key), (prekeys, claims, waiting, back)) = join(
        join(way.identity(), way.key()),
        join4(
            way.prekeys(),
            way.claim_target(),
            way.my_messages(),
            way.back(),
        ),
    )
    .await;
    checks.push(identity);
    checks.extend(key);
    checks.push(prekeys);
    checks.push(claims);
    checks.extend(waiting);
    checks.extend(back);
    checks
}

struct Way<'a> {
    question: &'a ContactQuestion<'a>,
    profile: &'a Profile,
    reader: &'a dyn Reader,
    witness: ConfiguredResolvers<'a>,
    instruments: &'a dyn Instruments,
    now: UnixTime,
}

impl Way<'_> {
    /// What is known here.
    fn pinned(&self) -> Vec<Check> {
        let contact = self.question.contact;
        let label = &contact.label;
        let fetch = format!("dnsmesh identity fetch {label} --add");
        vec![match (contact.agreement, contact.signing) {
            (Some(_), Some(signing)) => Check::ok(
                "contact-keys",
                "both keys are pinned",
                format!("{label}: {signing}"),
            ),
            (None, _) => Check::fail(
                "contact-keys",
                "no encryption key is known",
                format!("nothing can be sent to {label}"),
                fetch,
            ),
            (_, None) => Check::warn(
                "contact-keys",
                "no signing key is pinned",
                format!(
                    "messages of {label} wait in the quarantine, yours have no forward secrecy"
                ),
                fetch,
            ),
        }]
    }

    /// The record that strangers find under the address, against the pinned keys.
    async fn identity(&self) -> Check {
        let code = "contact-identity";
        let contact = self.question.contact;
        let Some(user) = contact.username() else {
            return Check::warn(
                code,
                "the user name is not known",
                "their identity and prekeys cannot be looked up",
                "dnsmesh identity fetch user@host --add",
            );
        };
        let host = self.zone();
        let request = FetchRequest {
            user: user.to_owned(),
            place: Place::Address(host.clone()),
            accept: None,
        };
        let address = format!("{user}@{host}");
        match identity_fetch(self.reader, &request, self.now).await {
            Ok(found) => {
                let is_pinned = contact
                    .signing
                    .is_none_or(|key| key == found.record.signing)
                    && contact
                        .agreement
                        .is_none_or(|key| key == found.record.agreement);
                if is_pinned {
                    Check::ok(
                        code,
                        "identity record carries the pinned keys",
                        format!("{address}, fingerprint {}", found.record.fingerprint()),
                    )
                } else {
                    Check::fail(
                        code,
                        "identity record carries other keys than the pinned ones",
                        format!("{address}, fingerprint {}", found.record.fingerprint()),
                        "compare fingerprints over another channel, then dnsmesh contacts accept-key",
                    )
                }
            }
            Err(error @ FetchError::Unreachable { .. }) => Check::fail(
                code,
                "their zone does not answer",
                error.to_string(),
                "dnsmesh doctor network",
            ),
            Err(error @ (FetchError::Ambiguous { .. } | FetchError::AllRevoked { .. })) => {
                Check::warn(
                    code,
                    "identity record does not tell one key",
                    error.to_string(),
                    "compare fingerprints over another channel",
                )
            }
            Err(error) => Check::warn(
                code,
                "no identity record",
                error.to_string(),
                "ask them to run dnsmesh identity publish",
            ),
        }
    }

    /// Whether the pinned key still holds.
    async fn key(&self) -> Option<Check> {
        let code = "contact-key";
        let contact = self.question.contact;
        let (user, signing) = contact.username().zip(contact.signing)?;
        let question = RotationQuestion::new(user, self.zone(), signing)?;
        let values = values_at(&self.witness, &question.owner_names()).await;
        let mut rotations = Rotations::default();
        rotations.learn(&question, values.iter().map(String::as_str), self.now);
        // What was seen once counts also when the zone hides it now.
        if rotations.is_revoked(&question) || matches!(contact.key, KeyState::Revoked { .. }) {
            return Some(Check::fail(
                code,
                "the pinned key is revoked",
                signing.to_string(),
                "ask for the new key over another channel",
            ));
        }
        let known = match contact.key {
            KeyState::Replaced { by, .. } => Some(by),
            KeyState::Current | KeyState::Revoked { .. } => None,
        };
        Some(match rotations.successor(&question).or(known) {
            Some(successor) => Check::fail(
                code,
                "the pinned key was replaced",
                format!("a rotation leads to {successor}"),
                format!("dnsmesh contacts accept-key {}", contact.label),
            ),
            None => Check::ok(code, "the pinned key is current", signing.to_string()),
        })
    }

    /// What a send finds to seal with.
    async fn prekeys(&self) -> Check {
        let code = "contact-prekeys";
        let contact = self.question.contact;
        let none = |detail: &str| {
            Check::warn(
                code,
                "your messages get no forward secrecy",
                detail,
                "ask them to run dnsmesh identity refresh-prekeys",
            )
        };
        let Some((user, signing)) = contact.username().zip(contact.signing) else {
            return none("without user name and signing key no prekey can be found");
        };
        let zones = contact.zones(&self.profile.mesh_zone);
        let sights = join_all(
            zones
                .into_iter()
                .map(async |zone| self.witness.look(&prekey_owner(user, zone)).await),
        )
        .await;
        let mut values = Vec::new();
        for sight in sights {
            match sight {
                Sight::Values { values: found, .. } => values.extend(found),
                Sight::Absent => {}
                Sight::Unreachable(reason) => {
                    return Check::fail(
                        code,
                        "their prekeys cannot be asked for",
                        reason,
                        "dnsmesh doctor network",
                    );
                }
            }
        }
        let prekeys = live_prekeys(&values, &signing, self.now);
        match prekeys.iter().map(|prekey| prekey.exp).max() {
            None => none("no usable prekey is published"),
            last => Check::ok(code, "prekeys are published", prekeys.len().to_string()).until(last),
        }
    }

    /// Where a send leaves the notice that brings the message at once.
    async fn claim_target(&self) -> Check {
        let code = "contact-claims";
        let slow = "without a notice the message is found only once they look through your zone";
        let contact = self.question.contact;
        let Some(zone) = contact.zone.as_ref() else {
            return Check::warn(
                code,
                "their zone is not stated, so no notice is left there",
                slow,
                format!(
                    "dnsmesh identity fetch {}@host --add",
                    contact.username().unwrap_or("user")
                ),
            );
        };
        let zone = contact.mailbox_zone.as_ref().unwrap_or(zone);
        let target = if *zone == self.profile.mesh_zone {
            self.profile.own_node.clone()
        } else {
            Some(UpdateTarget {
                host: zone.as_str().to_owned(),
                port: None,
            })
        };
        let Some(target) = target else {
            return Check::warn(
                code,
                "the DNS listener of your node is not known",
                slow,
                "dnsmesh doctor --repair",
            );
        };
        let port = target.port.unwrap_or(self.question.claim_port);
        match self.instruments.node_at(&target.host, port).await {
            Some(address) => Check::ok(code, "a notice reaches their node", address.to_string()),
            None => Check::warn(
                code,
                "their node does not answer",
                format!("{}:{port}; {slow}", target.host),
                "nothing to do here: it is their node",
            ),
        }
    }

    /// What their client sees: claims in their zone, then the slots of ours.
    async fn my_messages(&self) -> Vec<Check> {
        let Some(recipient) = self.question.contact.agreement.map(|key| key.user_id()) else {
            return Vec::new();
        };
        let own = &self.profile.mesh_zone;
        let theirs = self.question.contact.mailbox_zone_or(own);
        let (claims, slots) = join(
            self.zone_answers(
                "contact-their-zone",
                "their zone, where their client looks first",
                &recipient,
                theirs,
            ),
            join_all(Slot::all().map(async |slot| {
                self.witness
                    .look(&manifest_owner(&recipient, slot, own))
                    .await
            })),
        )
        .await;
        let me = self.question.identity.signing_public();
        let mut waiting = 0;
        for slot in slots {
            match slot {
                Sight::Values { values, .. } => {
                    waiting += values
                        .iter()
                        .filter_map(|value| Manifest::parse(value, self.now).ok())
                        .filter(|manifest| manifest.sender == me && manifest.recipient == recipient)
                        .count();
                }
                Sight::Absent => {}
                Sight::Unreachable(reason) => {
                    let check = Check::fail(
                        "contact-slots",
                        "your zone does not answer for their mailbox",
                        reason,
                        "dnsmesh doctor network",
                    );
                    return vec![claims, check];
                }
            }
        }
        let visible = Check::ok(
            "contact-slots",
            "your zone answers for their mailbox",
            format!("{waiting} of your messages to them can be seen"),
        );
        vec![claims, visible]
    }

    /// What their client needs to write here.
    async fn back(&self) -> Vec<Check> {
        let identity = self.question.identity;
        let me = identity.signing_public();
        let (records, answers) = join(
            own_records(&self.witness, self.profile, &me, self.now),
            self.zone_answers(
                "contact-own-zone",
                "your zone, where they leave notices",
                &identity.user_id(),
                &self.profile.mesh_zone,
            ),
        )
        .await;
        let findable = match records.identity {
            Standing::Published { .. } => Check::ok(
                "contact-back",
                "they can look you up",
                format!(
                    "{} prekeys",
                    records.prekeys.map_or(0, |prekeys| prekeys.len())
                ),
            ),
            Standing::Unreachable(reason) => Check::fail(
                "contact-back",
                "your own zone does not answer",
                reason,
                "dnsmesh doctor network",
            ),
            Standing::Absent | Standing::OtherKeys => Check::warn(
                "contact-back",
                "they cannot look you up",
                "your identity record is not visible",
                "dnsmesh identity publish",
            ),
        };
        vec![findable, answers]
    }

    async fn zone_answers(
        &self,
        code: &'static str,
        which: &str,
        recipient: &UserId,
        zone: &Zone,
    ) -> Check {
        let first = Slot::all()
            .next()
            .map(|slot| claim_owner(recipient, slot, zone));
        let sight = match &first {
            Some(owner) => self.witness.look(owner).await,
            None => Sight::Absent,
        };
        match sight {
            Sight::Unreachable(reason) => Check::fail(
                code,
                format!("{which}, does not answer"),
                format!("{zone}: {reason}"),
                "dnsmesh doctor network",
            ),
            Sight::Values { .. } | Sight::Absent => {
                Check::ok(code, format!("{which}, answers"), zone.as_str())
            }
        }
    }

    fn zone(&self) -> &Zone {
        self.question.contact.zone_or(&self.profile.mesh_zone)
    }
}
