//! `contacts accept-key`: show what speaks for a contact's new keys, ask, and pin them (cli.md 3.16, federation.md 6.5).

use dmp_client::ops::{KeyChangeError, KeyOffer, KeyProof, contacts_accept_key, contacts_new_key};
use dmp_client::store::{Contact, Verification};
use dmp_core::id::{Fingerprint, UnixTime};
use serde::Serialize;

use crate::args::contacts::AcceptKeyArgs;
use crate::cmd::Outcome;
use crate::context::{Context, Unlocked};
use crate::exit::Failure;
use crate::prompt::{self, StandardInput};
use crate::report::{Report, line};
use crate::screen;
use crate::time::{now, utc_of};

/// Looks the new keys up and pins them if the user agrees.
pub(super) async fn accept_key(context: &Context, args: AcceptKeyArgs) -> Outcome {
    let accept = args
        .accept_fingerprint
        .as_deref()
        .map(Fingerprint::parse)
        .transpose();
    let accept = accept.map_err(|error| {
        Failure::user(
            "fetch-fingerprint",
            format!("--accept-fingerprint: {error}"),
        )
    })?;
    let (Unlocked { config, .. }, store) = context.unlock_store(StandardInput::Free)?;
    let own = config.mesh_zone()?;
    let reader = context.look_ups(&config).await?.reader;
    let now = UnixTime::new(now());
    let offer = contacts_new_key(&store, &reader, &own, &args.name, accept, now).await?;
    for fact in facts(&offer) {
        context.format.note(&fact);
    }
    // Whoever compared the fingerprint has answered; a script must have, where nothing else speaks for the keys.
    if accept.is_none() {
        if !args.yes {
            prompt::agreed("Pin the new keys? [y/N] ")?;
        } else if offer.proof == KeyProof::None {
            return Err(KeyChangeError::Unproven {
                label: offer.contact.label.clone(),
                fingerprint: offer.record.fingerprint(),
            }
            .into());
        }
    }
    let contact = contacts_accept_key(&store, &offer)?;
    Ok(Box::new(Accepted { offer, contact }))
}

/// What the user has to know before answering.
fn facts(offer: &KeyOffer) -> Vec<String> {
    let old = offer.contact.keys().map_or_else(
        || {
            let key = offer.contact.signing.map(|key| key.to_string());
            format!("signing key {}", key.unwrap_or_default())
        },
        |keys| keys.fingerprint().to_string(),
    );
    let mut facts = vec![
        format!("contact:      {}", offer.contact.label),
        format!("pinned keys:  {old}"),
        format!("new keys:     {}", offer.record.fingerprint()),
        format!(
            "proof:        {}",
            match offer.proof {
                KeyProof::Chain => "the old key signed the new one".to_owned(),
                KeyProof::EarlierChain { since } => format!(
                    "the old key signed the new one (seen {}; not published any more)",
                    utc_of(since)
                ),
                KeyProof::None =>
                    "none: anybody may have published the new keys; compare the fingerprint over another channel"
                        .to_owned(),
            }
        ),
    ];
    if offer.is_old_revoked {
        facts.push("the owner of the pinned key has revoked it".to_owned());
    }
    if let Verification::Verified { .. } = offer.contact.verification {
        facts.push("you verified the old keys; the new ones count as not verified".to_owned());
    }
    facts
}

impl From<KeyChangeError> for Failure {
    fn from(error: KeyChangeError) -> Self {
        match error {
            KeyChangeError::Contact(error) => error.into(),
            KeyChangeError::Fetch(error) => error.into(),
            KeyChangeError::Unproven { .. } => Self::user(error.code(), &error)
                .hint("compare it over another channel, then add --accept-fingerprint <it>"),
            KeyChangeError::NothingPinned(_) => Self::user(error.code(), &error)
                .hint("`dnsmesh identity fetch user@host --add` pins both keys"),
            KeyChangeError::NoRecord { .. } => Self::new(error.fault(), error.code(), &error)
                .hint("nothing was changed; the contact has to run `dnsmesh identity publish`"),
            _ => Self::user(error.code(), &error).hint("nothing was changed"),
        }
    }
}

struct Accepted {
    offer: KeyOffer,
    contact: Contact,
}

impl Report for Accepted {
    fn text(&self) -> String {
        let label = screen::line(&self.contact.label);
        format!(
            "pinned the new keys of {label}: {}\nnot verified yet: dnsmesh contacts verify {label}\n",
            self.offer.record.fingerprint()
        )
    }

    fn json(&self) -> String {
        #[derive(Serialize)]
        struct Members<'a> {
            label: &'a str,
            old_fingerprint: Option<String>,
            fingerprint: String,
            proof: &'static str,
            old_revoked: bool,
        }
        line(
            "dmp.key-accepted/1",
            &Members {
                label: &self.contact.label,
                old_fingerprint: self
                    .offer
                    .contact
                    .keys()
                    .map(|keys| keys.fingerprint().to_string()),
                fingerprint: self.offer.record.fingerprint().to_string(),
                proof: match self.offer.proof {
                    KeyProof::Chain => "chain",
                    KeyProof::EarlierChain { .. } => "earlier-chain",
                    KeyProof::None => "none",
                },
                old_revoked: self.offer.is_old_revoked,
            },
        )
    }
}
