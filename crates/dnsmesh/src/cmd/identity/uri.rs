//! `identity show --uri` and `identity qr`: the own address with both keys, for others to paste or scan.

use dmp_client::config::Config;
use dmp_core::keys::Identity;
use dmp_core::uri::AddressUri;
use serde::Serialize;

use crate::cmd::Outcome;
use crate::context::{Context, Unlocked};
use crate::exit::Failure;
use crate::prompt::StandardInput;
use crate::qr;
use crate::report::{Report, line};

/// Prints the URI alone.
pub(crate) fn show(context: &Context) -> Outcome {
    let Unlocked { config, identity } = context.unlock(StandardInput::Free)?;
    Ok(Box::new(Shown {
        uri: own_uri(&config, &identity)?,
        code: None,
    }))
}

/// Prints the QR code, and the URI as text below it.
pub(crate) fn qr(context: &Context) -> Outcome {
    let Unlocked { config, identity } = context.unlock(StandardInput::Free)?;
    let uri = own_uri(&config, &identity)?;
    let code = qr::terminal(&uri.to_scannable());
    Ok(Box::new(Shown {
        uri,
        code: Some(code.unwrap_or_default()),
    }))
}

/// The own address URI. Records hash the user name byte for byte, so only a canonical one can stand in it.
pub(crate) fn own_uri(config: &Config, identity: &Identity) -> Result<AddressUri, Failure> {
    let address = config
        .own_address()?
        .filter(|address| address.local() == config.username)
        .ok_or_else(|| {
            Failure::user(
                "identity-no-address",
                format!("`{}` has no canonical address", config.username),
            )
            .hint(
                "lower-case letters, digits, `.`, `_` and `-` only; others must fetch the identity",
            )
        })?;
    let mailbox_zone = config.mesh_zone()?;
    Ok(AddressUri {
        mailbox_zone: Some(mailbox_zone).filter(|zone| zone.as_str() != address.host()),
        address,
        keys: identity.public_keys(),
    })
}

struct Shown {
    uri: AddressUri,
    code: Option<String>,
}

impl Report for Shown {
    fn text(&self) -> String {
        format!("{}{}\n", self.code.as_deref().unwrap_or_default(), self.uri)
    }

    fn json(&self) -> String {
        #[derive(Serialize)]
        struct Members {
            address: String,
            uri: String,
            fingerprint: String,
        }
        line(
            "dmp.address-uri/1",
            &Members {
                address: self.uri.address.to_string(),
                uri: self.uri.to_string(),
                fingerprint: self.uri.keys.fingerprint().to_string(),
            },
        )
    }
}
