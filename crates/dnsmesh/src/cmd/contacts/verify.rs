//! `contacts verify`: show what both sides compare, or record that they did (cli.md 3.16).

use dmp_client::ops::{
    contacts_find, contacts_safety_number, contacts_verify_number, contacts_verify_uri,
};
use dmp_client::store::Contact;
use dmp_core::id::UnixTime;
use dmp_core::safety::SafetyNumber;
use dmp_core::uri::AddressUri;
use serde::Serialize;

use super::card;
use crate::args::contacts::VerifyArgs;
use crate::cmd::Outcome;
use crate::cmd::identity::own_uri;
use crate::context::{Context, Unlocked};
use crate::exit::Failure;
use crate::prompt::StandardInput;
use crate::qr;
use crate::report::{Report, line};
use crate::screen;
use crate::time::now;

/// Shows the safety number and the own QR code, or compares what the contact shows.
pub(super) fn verify(context: &Context, args: VerifyArgs) -> Outcome {
    let scanned = args.scan.as_deref().map(AddressUri::parse).transpose();
    let scanned =
        scanned.map_err(|error| Failure::user("contact-uri", format!("address URI: {error}")))?;
    let (Unlocked { config, identity }, store) = context.unlock_store(StandardInput::Free)?;
    let at = UnixTime::new(now());
    let verified = match (&args.number, &scanned) {
        (Some(number), _) => contacts_verify_number(&store, &identity, &args.name, number, at)?,
        (None, Some(uri)) => contacts_verify_uri(&store, &args.name, uri, at)?,
        (None, None) => {
            let contact = contacts_find(&store, &args.name)?;
            return Ok(Box::new(Numbers {
                number: contacts_safety_number(&identity, &contact)?,
                // Without a canonical address there is nothing to scan; the number does.
                uri: own_uri(&config, &identity).ok(),
                contact,
            }));
        }
    };
    Ok(Box::new(Verified(verified)))
}

struct Numbers {
    contact: Contact,
    number: SafetyNumber,
    uri: Option<AddressUri>,
}

impl Report for Numbers {
    fn text(&self) -> String {
        let groups: Vec<&str> = self.number.groups().collect();
        let rows: String = groups
            .chunks(4)
            .map(|row| format!("    {}\n", row.join(" ")))
            .collect();
        let label = screen::line(&self.contact.label);
        let scan = self.uri.as_ref().map(|uri| {
            format!(
                "\nor let the other side scan this (or paste it) with `dnsmesh contacts verify <you> --scan URI`:\n\n{}{uri}\n",
                qr::terminal(&uri.to_scannable()).unwrap_or_default()
            )
        });
        format!(
            "safety number of you and {label}, the same on both sides:\n\n{rows}\n\
             compare it over another channel, then: dnsmesh contacts verify {label} --number DIGITS\n\
             verified: {}\n{}",
            card::verification(&self.contact),
            scan.unwrap_or_default()
        )
    }

    fn json(&self) -> String {
        #[derive(Serialize)]
        struct Members<'a> {
            label: &'a str,
            number: &'a str,
            own_uri: Option<String>,
            verified: bool,
        }
        line(
            "dmp.safety-number/1",
            &Members {
                label: &self.contact.label,
                number: self.number.digits(),
                own_uri: self.uri.as_ref().map(ToString::to_string),
                verified: self.contact.verification != dmp_client::store::Verification::Unverified,
            },
        )
    }
}

struct Verified(Contact);

impl Report for Verified {
    fn text(&self) -> String {
        format!("verified contact {}\n", screen::line(&self.0.label))
    }

    fn json(&self) -> String {
        card::json(&self.0)
    }
}
