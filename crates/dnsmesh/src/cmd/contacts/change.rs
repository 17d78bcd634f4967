//! `contacts set|remove` (cli.md 3.16).

use dmp_client::ops::{ContactChanges, contacts_find, contacts_remove, contacts_set};
use dmp_client::store::{Contact, Verification};
use dmp_core::name::Zone;
use dmp_core::seal::Wire;
use serde::Serialize;

use super::card;
use crate::args::contacts::{RemoveArgs, SetArgs, WireName};
use crate::cmd::Outcome;
use crate::context::{Context, Unlocked};
use crate::exit::Failure;
use crate::prompt::{self, StandardInput};
use crate::report::{Report, line};
use crate::screen;

/// Changes a contact's card.
pub(super) fn set(context: &Context, args: SetArgs) -> Outcome {
    let zone = |text: &String| match text.as_str() {
        "" => Ok(None),
        text => Zone::parse(text)
            .map(Some)
            .map_err(|error| Failure::user("contact-zone", format!("`{text}`: {error}"))),
    };
    let changes = ContactChanges {
        label: args.label.clone(),
        wire: args.wire.map(|wire| match wire {
            WireName::Current => Wire::Current,
            WireName::Legacy => Wire::Legacy,
        }),
        zone: args.zone.as_ref().map(zone).transpose()?,
        mailbox_zone: args.mailbox_zone.as_ref().map(zone).transpose()?,
        username: args
            .username
            .map(|name| Some(name).filter(|name| !name.is_empty())),
    };
    let (Unlocked { config, .. }, store) = context.unlock_store(StandardInput::Free)?;
    let contact = contacts_set(&store, &args.name, &changes)?;
    Ok(Box::new(Changed {
        own: config.mesh_zone()?,
        contact,
    }))
}

/// Forgets a contact, after saying what goes with it.
pub(super) fn remove(context: &Context, args: RemoveArgs) -> Outcome {
    let (_, store) = context.unlock_store(StandardInput::Free)?;
    let contact = contacts_find(&store, &args.name)?;
    if !args.yes {
        for loss in losses(&contact) {
            context.format.note(&loss);
        }
        let question = format!("Remove {}? [y/N] ", screen::line(&contact.label));
        prompt::agreed(&question)?;
    }
    let contact = contacts_remove(&store, &contact.label)?;
    Ok(Box::new(Removed(contact)))
}

/// What is gone afterwards.
fn losses(contact: &Contact) -> Vec<String> {
    let mut losses = vec![format!(
        "the pinned keys of {} are forgotten: messages of this sender then wait in the quarantine",
        contact.label
    )];
    if let Verification::Verified { .. } = contact.verification {
        losses.push("that you compared the keys is forgotten too".to_owned());
    }
    losses
}

struct Changed {
    contact: Contact,
    own: Zone,
}

impl Report for Changed {
    fn text(&self) -> String {
        card::text(&self.contact, &self.own)
    }

    fn json(&self) -> String {
        card::json(&self.contact)
    }
}

struct Removed(Contact);

impl Report for Removed {
    fn text(&self) -> String {
        format!("removed contact {}\n", screen::line(&self.0.label))
    }

    fn json(&self) -> String {
        #[derive(Serialize)]
        struct Members<'a> {
            label: &'a str,
            fingerprint: Option<String>,
        }
        line(
            "dmp.contact-removed/1",
            &Members {
                label: &self.0.label,
                fingerprint: self.0.keys().map(|keys| keys.fingerprint().to_string()),
            },
        )
    }
}
