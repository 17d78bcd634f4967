//! A contact as reports show it: `dmp.contact/1`, and the lines of `contacts show`.

use dmp_client::store::{Contact, KeyState, Method, Verification};
use dmp_core::name::Zone;
use serde::Serialize;

use crate::report::line;
use crate::screen;
use crate::time::utc_of;

/// The members of `dmp.contact/1`.
#[derive(Serialize)]
pub(super) struct Members<'a> {
    label: &'a str,
    public_key: Option<String>,
    signing_public_key: Option<String>,
    fingerprint: Option<String>,
    zone: Option<String>,
    mailbox_zone: Option<String>,
    remote_username: Option<&'a str>,
    wire: &'static str,
    added_at: String,
    verified_at: Option<String>,
    verified_by: Option<&'static str>,
    key_state: &'static str,
    key_state_since: Option<String>,
    replaced_by: Option<String>,
}

impl<'a> Members<'a> {
    pub(super) fn of(contact: &'a Contact) -> Self {
        let (verified_at, verified_by) = match contact.verification {
            Verification::Unverified => (None, None),
            Verification::Verified { at, by } => (Some(utc_of(at)), Some(method(by))),
        };
        let (key_state, since, replaced_by) = match contact.key {
            KeyState::Current => ("current", None, None),
            KeyState::Replaced { by, since } => ("replaced", Some(since), Some(by.to_string())),
            KeyState::Revoked { since } => ("revoked", Some(since), None),
        };
        Self {
            label: &contact.label,
            public_key: contact.agreement.map(|key| key.to_string()),
            signing_public_key: contact.signing.map(|key| key.to_string()),
            fingerprint: contact.keys().map(|keys| keys.fingerprint().to_string()),
            zone: contact.zone.as_ref().map(ToString::to_string),
            mailbox_zone: contact.mailbox_zone.as_ref().map(ToString::to_string),
            remote_username: contact.remote_username.as_deref(),
            wire: wire(contact),
            added_at: utc_of(contact.created),
            verified_at,
            verified_by,
            key_state,
            key_state_since: since.map(utc_of),
            replaced_by,
        }
    }
}

/// One object on one line.
pub(super) fn json(contact: &Contact) -> String {
    line("dmp.contact/1", &Members::of(contact))
}

/// One line a fact, the values aligned.
pub(super) fn text(contact: &Contact, own: &Zone) -> String {
    let key = |key: Option<String>| key.unwrap_or_else(|| "(not pinned)".to_owned());
    let zone = contact
        .zone
        .as_ref()
        .map_or_else(|| format!("{own} (own zone)"), ToString::to_string);
    let mut rows = vec![
        ("label:", contact.label.clone()),
        (
            "username:",
            contact.username().unwrap_or("(not known)").to_owned(),
        ),
        (
            "fingerprint:",
            key(contact.keys().map(|keys| keys.fingerprint().to_string())),
        ),
        (
            "public_key:",
            key(contact.agreement.map(|key| key.to_string())),
        ),
        (
            "signing_public_key:",
            key(contact.signing.map(|key| key.to_string())),
        ),
        ("zone:", zone),
        ("mailbox zone:", contact.mailbox_zone_or(own).to_string()),
        ("wire:", wire(contact).to_owned()),
        ("added:", utc_of(contact.created)),
        ("verified:", verification(contact)),
        ("key state:", key_state(contact)),
    ];
    if let Some(seen) = &contact.seen {
        let versions: Vec<String> = seen
            .versions
            .iter()
            .map(|version| version.to_string())
            .collect();
        rows.push((
            "identity record:",
            format!(
                "of {}, receives versions {}",
                utc_of(seen.ts),
                versions.join(", ")
            ),
        ));
    }
    rows.iter()
        .map(|(name, value)| format!("{name:<20}{}\n", screen::line(value)))
        .collect()
}

/// How the keys were compared, in words.
pub(super) fn verification(contact: &Contact) -> String {
    match contact.verification {
        Verification::Unverified => {
            "no — `dnsmesh contacts verify` shows how to compare the keys".to_owned()
        }
        Verification::Verified { at, by } => {
            format!("{}, by {}", utc_of(at), method(by).replace('-', " "))
        }
    }
}

fn key_state(contact: &Contact) -> String {
    match contact.key {
        KeyState::Current => "current".to_owned(),
        KeyState::Replaced { by, since } => format!(
            "replaced by {by} (signed over by the old key; known since {}) — `dnsmesh contacts accept-key`",
            utc_of(since)
        ),
        KeyState::Revoked { since } => {
            format!("revoked by its owner (known since {})", utc_of(since))
        }
    }
}

fn wire(contact: &Contact) -> &'static str {
    match contact.wire {
        dmp_core::seal::Wire::Current => "current",
        dmp_core::seal::Wire::Legacy => "legacy",
    }
}

const fn method(method: Method) -> &'static str {
    match method {
        Method::SafetyNumber => "safety-number",
        Method::Uri => "uri",
    }
}
