//! Telling others about a published message, and looking whether it can be read. Nothing here fails a send.

use dmp_core::name::Zone;
use dmp_core::owner::{claim_owner, manifest_owner};
use dmp_core::record::Claim;
use futures_util::future::{join, join_all};

use super::super::providers::{Worked, learn};
use super::super::publish::record_ttl;
use super::super::{Provider, Session};
use crate::error::WriteError;
use crate::limits::{CLAIM_TTL_MAX, CLAIM_ZONE_MAX, READ_BACK_DEADLINE};
use crate::mesh::{ClaimNotice, Lookup, UpdateTarget};
use crate::store::{Delivery, OutboxItem};

/// What came of one attempt to tell others.
#[derive(Clone, Debug, Default)]
pub(in crate::ops) struct Announcement {
    /// Outcomes at the providers that were tried, in order.
    pub(in crate::ops) providers: Vec<(Zone, Result<(), WriteError>)>,
    /// The outcome at the recipient's zone; `None` if the user named none, or if it was told before.
    pub(in crate::ops) recipient: Option<Result<(), WriteError>>,
    /// Whether the manifest was read back.
    pub(in crate::ops) seen: bool,
}

/// Claims at providers and at the recipient's zone, and the look at the own manifest, all at once; what is done already is left out.
///
/// A provider in the recipient's own zone gets one claim for both purposes.
pub(super) async fn announce(
    session: &Session<'_>,
    item: &OutboxItem,
    delivery: &Delivery,
    providers: &[Provider],
) -> Announcement {
    let is_open = |zone: &Zone| {
        !delivery.announced_in.contains(zone)
            && !delivery
                .refused_in
                .iter()
                .any(|(refused, _)| refused == zone)
    };
    let notice = item.notice_zone.as_ref().filter(|zone| is_open(zone));
    let at_providers = join_all(
        providers
            .iter()
            .filter(|provider| is_open(&provider.zone))
            .map(async |provider| {
                let zone = &provider.zone;
                let mut outcome = leave_claim(session, item, zone, Some(provider.target())).await;
                if outcome.is_err() && notice == Some(zone) {
                    let target =
                        recipient_target(session, zone).filter(|own| *own != provider.target());
                    if target.is_some() {
                        outcome = leave_claim(session, item, zone, target).await;
                    }
                }
                (zone.clone(), outcome)
            }),
    );
    let at_recipient = async {
        let zone = notice?;
        if providers.iter().any(|provider| provider.zone == *zone) {
            return None;
        }
        Some(leave_claim(session, item, zone, recipient_target(session, zone)).await)
    };
    let seen = async { delivery.seen.is_some() || is_visible(session, item).await };
    let (providers, (recipient, seen)) = join(at_providers, join(at_recipient, seen)).await;
    let worked = providers
        .iter()
        .filter_map(|(zone, outcome)| match outcome {
            Ok(()) => Some((zone, Worked::Yes)),
            Err(WriteError::Misconfigured(_)) => None, // nobody was asked
            Err(_) => Some((zone, Worked::No)),
        });
    learn(session, worked, session.clock.now());
    let both = providers
        .iter()
        .find(|(zone, _)| notice == Some(zone))
        .map(|(_, outcome)| outcome.clone());
    Announcement {
        recipient: recipient.or(both),
        providers,
        seen,
    }
}

/// The server that takes claims for a recipient's zone: for the own zone the own node, if it is known (client.md 4.6).
fn recipient_target(session: &Session<'_>, zone: &Zone) -> Option<UpdateTarget> {
    if *zone == session.profile.mesh_zone {
        session.profile.own_node.clone()
    } else {
        Some(UpdateTarget {
            host: zone.as_str().to_owned(),
            port: None,
        })
    }
}

/// Signs a claim and leaves it at one server.
async fn leave_claim(
    session: &Session<'_>,
    item: &OutboxItem,
    zone: &Zone,
    target: Option<UpdateTarget>,
) -> Result<(), WriteError> {
    let Some(target) = target else {
        return Err(WriteError::Misconfigured(
            "the DNS listener of the own node is not configured".to_owned(),
        ));
    };
    if item.zone.as_str().len() > CLAIM_ZONE_MAX {
        return Err(WriteError::Misconfigured(format!(
            "a claim cannot name a zone of more than {CLAIM_ZONE_MAX} bytes"
        )));
    }
    let now = session.clock.now();
    let ttl = item.expires.saturating_sub(now).min(CLAIM_TTL_MAX);
    let claim = Claim {
        msg_id: item.msg_id,
        sender: item.signer,
        mailbox_zone: item.zone.clone(),
        slot: item.slot,
        ts: now,
        exp: now.saturating_add(ttl),
    };
    let value = claim
        .sign(session.identity)
        .map_err(|error| WriteError::Misconfigured(error.to_string()))?;
    let owner = claim_owner(&item.recipient, item.slot, zone);
    let notice = ClaimNotice {
        target,
        zone: zone.clone(),
        owner,
        ttl: record_ttl(ttl),
        value,
    };
    session.claims.send(&notice).await
}

/// Whether the manifest can be read through the resolver (D21).
async fn is_visible(session: &Session<'_>, item: &OutboxItem) -> bool {
    let owner = manifest_owner(&item.recipient, item.slot, &item.zone);
    tokio::select! {
        biased;
        answer = session.reader.txt(&owner) => {
            matches!(answer, Lookup::Found(values) if values.contains(&item.manifest))
        }
        () = session.clock.sleep(READ_BACK_DEADLINE) => false,
    }
}
