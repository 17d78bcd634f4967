//! `identity revoke`: the end of the own key without a successor, for whoever cannot rotate to one (records.md 12).

use dmp_client::ops::{Revoked, identity_revoke};
use dmp_core::record::Reason;
use serde::Serialize;

use crate::args::identity::{RevokeArgs, RevokeReason};
use crate::cmd::Outcome;
use crate::context::Context;
use crate::prompt::{self, StandardInput};
use crate::report::{Report, line};

/// Publishes the revocation, after asking.
pub(crate) async fn revoke(context: &Context, args: RevokeArgs) -> Outcome {
    let online = context.go_online(StandardInput::Free).await?;
    for warning in [
        "warning: a revocation is for ever: everybody who pinned this key stops trusting it, and nobody is told of another one",
        "to go on under a new key that your contacts can follow, use `dnsmesh identity rotate` instead",
    ] {
        context.format.note(warning);
    }
    if !args.yes {
        prompt::agreed("Publish RevocationRecord? [y/N] ")?;
    }
    let reason = match args.reason {
        RevokeReason::Compromise => Reason::Compromise,
        RevokeReason::LostKey => Reason::LostKey,
        RevokeReason::Other => Reason::Other,
    };
    Ok(Box::new(Done(
        identity_revoke(&online.session(), reason, args.ttl).await?,
    )))
}

struct Done(Revoked);

impl Report for Done {
    fn text(&self) -> String {
        let Revoked { owner, key, .. } = &self.0;
        format!("published RevocationRecord to {owner}\nrevoked signing key: {key}\n")
    }

    fn json(&self) -> String {
        #[derive(Serialize)]
        struct Members {
            owner: String,
            signing_public_key: String,
            identity_records_removed: usize,
        }
        let Revoked {
            owner,
            key,
            identity,
        } = &self.0;
        line(
            "dmp.identity-revoked/1",
            &Members {
                owner: owner.to_string(),
                signing_public_key: key.to_string(),
                identity_records_removed: identity.removed,
            },
        )
    }
}
