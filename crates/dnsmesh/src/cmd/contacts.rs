//! `contacts add|list` (cli.md 3.3).

use dmp_client::ops::{ContactError, Taken, contacts_add, contacts_list};
use dmp_client::store::Contact;
use dmp_core::id::UnixTime;
use dmp_core::keys::{AgreementPublicKey, SigningPublicKey};
use serde::Serialize;

use super::Outcome;
use crate::args::contacts::{ContactArgs, ContactsCommand};
use crate::context::Context;
use crate::exit::Failure;
use crate::prompt::StandardInput;
use crate::report::{Report, line};
use crate::screen;
use crate::time::now;

/// Does what the command line asks.
pub(super) fn perform(context: &Context, command: ContactsCommand) -> Outcome {
    match command {
        ContactsCommand::Add(args) => add(context, args),
        ContactsCommand::List => list(context),
    }
}

/// Pins keys that the user typed in.
fn add(context: &Context, args: ContactArgs) -> Outcome {
    context.config()?;
    let wrong = |what: &str| {
        Failure::user(
            "contact-key",
            format!("{what} is not 64 hex digits of a key"),
        )
    };
    let agreement =
        AgreementPublicKey::from_hex(&args.pubkey).map_err(|_| wrong("the public key"))?;
    let signing = args
        .signing_key
        .as_deref()
        .map(SigningPublicKey::from_hex)
        .transpose();
    let signing = signing.map_err(|_| wrong("the signing key"))?;
    let (_, store) = context.unlock_store(StandardInput::Free)?;
    let taken = if args.force {
        Taken::Replace
    } else {
        Taken::Keep
    };
    let contact = contacts_add(
        &store,
        &args.name,
        agreement,
        signing,
        taken,
        UnixTime::new(now()),
    )?;
    Ok(Box::new(Added(contact)))
}

/// Prints all contacts.
fn list(context: &Context) -> Outcome {
    let (_, store) = context.unlock_store(StandardInput::Free)?;
    Ok(Box::new(Listed(contacts_list(&store)?)))
}

impl From<ContactError> for Failure {
    fn from(error: ContactError) -> Self {
        let failure = Self::user(error.code(), &error);
        match error {
            ContactError::Taken(_) => {
                failure.hint("nothing was changed; --force replaces its keys")
            }
            _ => failure,
        }
    }
}

struct Added(Contact);

impl Report for Added {
    fn text(&self) -> String {
        if self.0.signing.is_some() {
            format!(
                "added contact {} (pinned signing key)\n",
                screen::line(&self.0.label)
            )
        } else {
            String::new()
        }
    }

    fn json(&self) -> String {
        line("dmp.contact/1", &Members::of(&self.0))
    }

    fn notes(&self) -> Vec<String> {
        if self.0.signing.is_some() {
            return Vec::new();
        }
        vec![
            format!("added contact {}", self.0.label),
            "warning: no signing key is pinned, so messages of this contact are not delivered to the inbox; \
             `dnsmesh identity fetch <user@host> --add` pins both keys"
                .to_owned(),
        ]
    }
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
        self.0
            .iter()
            .map(|contact| line("dmp.contact/1", &Members::of(contact)))
            .collect()
    }
}

#[derive(Serialize)]
struct Members<'a> {
    label: &'a str,
    public_key: Option<String>,
    signing_public_key: Option<String>,
    zone: Option<String>,
    remote_username: Option<&'a str>,
}

impl<'a> Members<'a> {
    fn of(contact: &'a Contact) -> Self {
        Self {
            label: &contact.label,
            public_key: contact.agreement.map(|key| key.to_string()),
            signing_public_key: contact.signing.map(|key| key.to_string()),
            zone: contact.zone.as_ref().map(ToString::to_string),
            remote_username: contact.remote_username.as_deref(),
        }
    }
}
