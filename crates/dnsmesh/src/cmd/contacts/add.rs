//! `contacts add`: by hand, by an address that is looked up, or by an address URI (cli.md 3.3).

use dmp_client::ops::{
    ContactError, Saved, Taken, contacts_add, contacts_add_fetched, contacts_add_uri,
    contacts_replace_fetched, identity_fetch,
};
use dmp_client::store::Contact;
use dmp_core::id::UnixTime;
use dmp_core::keys::{AgreementPublicKey, SigningPublicKey};
use dmp_core::uri::AddressUri;

use super::card;
use crate::args::contacts::ContactArgs;
use crate::args::identity::FetchArgs;
use crate::cmd::Outcome;
use crate::cmd::identity::fetch_request;
use crate::context::{Context, Unlocked};
use crate::exit::Failure;
use crate::prompt::StandardInput;
use crate::report::Report;
use crate::screen;
use crate::time::now;

/// Pins keys: typed in, looked up or scanned.
pub(super) async fn add(context: &Context, args: ContactArgs) -> Outcome {
    if let Some(pubkey) = &args.pubkey {
        by_hand(context, &args, pubkey)
    } else if AddressUri::is_meant(&args.name) {
        by_uri(context, &args)
    } else {
        by_address(context, args).await
    }
}

const fn taken(args: &ContactArgs) -> Taken {
    if args.force {
        Taken::Replace
    } else {
        Taken::Keep
    }
}

fn by_hand(context: &Context, args: &ContactArgs, pubkey: &str) -> Outcome {
    context.config()?;
    let wrong = |what: &str| {
        Failure::user(
            "contact-key",
            format!("{what} is not 64 hex digits of a key"),
        )
    };
    let agreement = AgreementPublicKey::from_hex(pubkey).map_err(|_| wrong("the public key"))?;
    let signing = args
        .signing_key
        .as_deref()
        .map(SigningPublicKey::from_hex)
        .transpose();
    let signing = signing.map_err(|_| wrong("the signing key"))?;
    let (_, store) = context.unlock_store(StandardInput::Free)?;
    let contact = contacts_add(
        &store,
        &args.name,
        agreement,
        signing,
        taken(args),
        UnixTime::new(now()),
    )?;
    Ok(Box::new(Added(contact)))
}

fn by_uri(context: &Context, args: &ContactArgs) -> Outcome {
    context.config()?;
    let uri = AddressUri::parse(&args.name)
        .map_err(|error| Failure::user("contact-uri", format!("address URI: {error}")))?;
    let (_, store) = context.unlock_store(StandardInput::Free)?;
    let label = args.label.as_deref();
    let contact = contacts_add_uri(&store, &uri, label, taken(args), UnixTime::new(now()))?;
    Ok(Box::new(Added(contact)))
}

async fn by_address(context: &Context, args: ContactArgs) -> Outcome {
    let (Unlocked { config, .. }, store) = context.unlock_store(StandardInput::Free)?;
    let fetch = FetchArgs {
        user: args.name.clone(),
        domain: None,
        add: true,
        accept_fingerprint: args.accept_fingerprint.clone(),
        via_bootstrap: false,
    };
    let request = fetch_request(&config, &fetch)?;
    let reader = context.look_ups(&config).await?.reader;
    let now = UnixTime::new(now());
    let mut fetched = identity_fetch(&reader, &request, now).await?;
    if let Some(label) = &args.label {
        fetched.label.clone_from(label);
    }
    let saved = if args.force {
        contacts_replace_fetched(&store, &fetched, now)?
    } else {
        contacts_add_fetched(&store, &fetched, now)?
    };
    let label = match saved {
        Saved::Kept { label } => return Err(ContactError::Taken(label).into()),
        Saved::Added { label } | Saved::Upgraded { label } | Saved::Replaced { label } => label,
    };
    let contact = store.contact(&label)?.ok_or(ContactError::Unknown(label))?;
    Ok(Box::new(Added(contact)))
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
        card::json(&self.0)
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
