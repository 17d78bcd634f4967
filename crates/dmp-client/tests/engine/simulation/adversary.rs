//! Somebody with a zone, an account at everybody's node, and every record in sight: copies, signs anew, puts things elsewhere, floods.

use dmp_core::id::Slot;
use dmp_core::owner::{chunk_owner, claim_owner, manifest_owner};
use dmp_core::record::{Claim, Manifest};

use super::story::Dice;
use crate::world::Person;

/// Values of junk at one name: as many as the quota of one writer leaves.
const JUNK: usize = 8;
/// Life of what the adversary publishes, seconds.
const LIFE: u64 = 86_400;

/// Does one bad thing, to one of the people.
pub(super) fn act(mallory: &Person, people: &[Person], dice: &mut Dice) {
    let zone = &mallory.world.zone;
    let victim = &people[dice.below(people.len())];
    let recipient = victim.identity.user_id();
    let slot = Slot::new(dice.below(10) as u8).unwrap();
    let manifests = mallory.world.names("slot-");
    let some_manifest = (!manifests.is_empty()).then(|| &manifests[dice.below(manifests.len())]);
    match dice.below(6) {
        // Somebody's words under the adversary's own signature (D6).
        0 => {
            let Some(name) = some_manifest else { return };
            for manifest in zone
                .query(name)
                .iter()
                .filter_map(|value| Manifest::parse(value, mallory.now()).ok())
            {
                steal(mallory, people, &manifest.into_inner());
            }
        }
        // A manifest somewhere else: another slot, another mailbox, another zone.
        1 => {
            let Some(name) = some_manifest else { return };
            for home in [victim, mallory] {
                let owner = manifest_owner(&recipient, slot, home.zone());
                for value in zone.query(name) {
                    zone.publish(owner.as_str(), &value, LIFE);
                }
            }
        }
        // Claims in other mailboxes.
        2 => {
            let claims = mallory.world.names("claim-");
            let Some(name) = claims.get(dice.below(claims.len().max(1))) else {
                return;
            };
            let owner = claim_owner(&recipient, slot, victim.zone());
            for value in zone.query(name) {
                zone.publish(owner.as_str(), &value, LIFE);
            }
        }
        // A claim for a message that is not there, or is somebody else's.
        3 => {
            let found = some_manifest
                .map(|name| zone.query(name))
                .unwrap_or_default();
            let manifest = found
                .iter()
                .find_map(|value| Manifest::parse(value, mallory.now()).ok());
            let Some(manifest) = manifest else { return };
            let msg_id = manifest.into_inner().msg_id;
            let claim = Claim {
                msg_id,
                sender: mallory.identity.signing_public(),
                mailbox_zone: victim.zone().clone(),
                slot: msg_id.slot(),
                ts: mallory.now(),
                exp: mallory.now().saturating_add(600),
            };
            let owner = claim_owner(&recipient, claim.slot, victim.zone());
            zone.publish(owner.as_str(), &claim.sign(&mallory.identity).unwrap(), 600);
        }
        // Junk where manifests stand.
        4 => {
            let owner = manifest_owner(&recipient, slot, victim.zone());
            for number in 0..JUNK {
                let junk = format!(
                    "v=dmp1;t=manifest;d={}{number}",
                    "A".repeat(dice.below(400))
                );
                zone.publish(owner.as_str(), &junk, LIFE);
            }
        }
        // Chunks of one message in place of another's: appended, for nobody else's value can be taken away.
        _ => {
            let chunks = mallory.world.names("chunk-");
            if chunks.len() < 2 {
                return;
            }
            let (from, to) = (
                &chunks[dice.below(chunks.len())],
                &chunks[dice.below(chunks.len())],
            );
            for value in zone.query(from) {
                zone.publish(to, &value, LIFE);
            }
        }
    }
}

/// Publishes the message again, signed by the adversary, in the adversary's zone and in the recipient's.
fn steal(mallory: &Person, people: &[Person], manifest: &Manifest) {
    let zone = &mallory.world.zone;
    let own = Manifest {
        sender: mallory.identity.signing_public(),
        ..manifest.clone()
    };
    let (msg_id, recipient) = (&own.msg_id, &own.recipient);
    let Ok(value) = own.sign(&mallory.identity) else {
        return;
    };
    let victim = people
        .iter()
        .find(|person| person.identity.user_id() == *recipient);
    let zones = [Some(mallory.zone()), victim.map(Person::zone)];
    for home in zones.into_iter().flatten() {
        for index in 0..own.plan.n() as u16 {
            let to = chunk_owner(msg_id, recipient, &own.sender, index, home);
            for author in people {
                let from = chunk_owner(msg_id, recipient, &manifest.sender, index, author.zone());
                for value in zone.query(from.as_str()) {
                    zone.publish(to.as_str(), &value, LIFE);
                }
            }
        }
        let owner = manifest_owner(recipient, msg_id.slot(), home);
        zone.publish(owner.as_str(), &value, LIFE);
    }
}
