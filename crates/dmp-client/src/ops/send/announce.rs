//! Telling others about a published message, and looking whether it can be read. Nothing here fails a send.

use dmp_core::name::Zone;
use dmp_core::owner::{claim_owner, manifest_owner};
use dmp_core::record::Claim;
use futures_util::future::{join, join_all};

use super::super::publish::record_ttl;
use super::super::{Provider, Session};
use super::ClaimCount;
use crate::error::WriteError;
use crate::limits::{CLAIM_TTL_MAX, CLAIM_ZONE_MAX, READ_BACK_DEADLINE};
use crate::mesh::{ClaimNotice, Lookup, UpdateTarget};
use crate::store::{Contact, OutboxItem};

/// Claims at providers and at the recipient's zone, and the look at the own manifest, all at once. None of them fails the send.
pub(super) async fn announce(
    session: &Session<'_>,
    item: &OutboxItem,
    contact: &Contact,
    providers: &[Provider],
) -> (ClaimCount, Option<Result<(), WriteError>>, bool) {
    let at_providers = join_all(providers.iter().map(async |provider| {
        let outcome = leave_claim(session, item, &provider.zone, provider.target()).await;
        (provider.zone.clone(), outcome)
    }));
    let at_recipient = async {
        let zone = contact
            .zone
            .as_ref()
            .map(|zone| contact.mailbox_zone.as_ref().unwrap_or(zone))?;
        let target = if *zone == session.profile.mesh_zone {
            session.profile.own_node.clone()
        } else {
            Some(UpdateTarget {
                host: zone.as_str().to_owned(),
                port: None,
            })
        };
        match target {
            Some(target) => Some(leave_claim(session, item, zone, target).await),
            None => Some(Err(WriteError::Misconfigured(
                "the DNS listener of the own node is not configured".to_owned(),
            ))),
        }
    };
    let (at_providers, (at_recipient, read_back)) =
        join(at_providers, join(at_recipient, is_visible(session, item))).await;
    let mut count = ClaimCount {
        tried: at_providers.len(),
        ..ClaimCount::default()
    };
    for (zone, outcome) in at_providers {
        match outcome {
            Ok(()) => count.sent += 1,
            Err(error) => count.failures.push((zone, error)),
        }
    }
    (count, at_recipient, read_back)
}

/// Signs a claim and leaves it at one server.
async fn leave_claim(
    session: &Session<'_>,
    item: &OutboxItem,
    zone: &Zone,
    target: UpdateTarget,
) -> Result<(), WriteError> {
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
