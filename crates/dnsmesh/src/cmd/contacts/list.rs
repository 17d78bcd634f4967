//! `contacts list|show` (cli.md 3.3).

use dmp_client::ops::{contacts_find, contacts_list};
use dmp_client::store::Contact;
use dmp_core::name::Zone;

use super::card;
use crate::args::contacts::NamedArgs;
use crate::cmd::Outcome;
use crate::context::{Context, Unlocked};
use crate::prompt::StandardInput;
use crate::report::Report;
use crate::screen;

/// Prints all contacts.
pub(super) fn list(context: &Context) -> Outcome {
    let (_, store) = context.unlock_store(StandardInput::Free)?;
    Ok(Box::new(Listed(contacts_list(&store)?)))
}

/// Prints what is known about one.
pub(super) fn show(context: &Context, args: NamedArgs) -> Outcome {
    let (Unlocked { config, .. }, store) = context.unlock_store(StandardInput::Free)?;
    let contact = contacts_find(&store, &args.name)?;
    let blocked = match &contact.signing {
        Some(signing) => store.is_blocked(signing)?,
        None => false,
    };
    let prekeys_used = store.used_prekeys(contact.id)?.len();
    Ok(Box::new(Shown {
        own: config.mesh_zone()?,
        contact,
        blocked,
        prekeys_used,
    }))
}

struct Listed(Vec<Contact>);

impl Report for Listed {
    fn text(&self) -> String {
        if self.0.is_empty() {
            return "(no contacts yet — dnsmesh identity fetch <user@host> --add)\n".to_owned();
        }
        let labels: Vec<_> = self
            .0
            .iter()
            .map(|contact| screen::line(&contact.label))
            .collect();
        let width = labels
            .iter()
            .map(|label| label.chars().count())
            .max()
            .unwrap_or_default();
        let rows = self.0.iter().zip(&labels).map(|(contact, label)| {
            let key = contact
                .agreement
                .map(|key| key.to_string())
                .unwrap_or_default();
            let mark = if contact.signing.is_some() {
                "(pinned)"
            } else {
                "(UNPINNED)"
            };
            format!("{label:<width$}  {key}  {mark}\n")
        });
        rows.collect()
    }

    fn json(&self) -> String {
        self.0.iter().map(card::json).collect()
    }
}

struct Shown {
    contact: Contact,
    own: Zone,
    blocked: bool,
    prekeys_used: usize,
}

impl Report for Shown {
    fn text(&self) -> String {
        let blocked = if self.blocked { "yes" } else { "no" };
        format!(
            "{}{:<20}{blocked}\n{:<20}{}\n",
            card::text(&self.contact, &self.own),
            "blocked:",
            "prekeys used:",
            self.prekeys_used
        )
    }

    fn json(&self) -> String {
        card::json(&self.contact)
    }
}
