//! `bootstrap pin`: the one key of a domain that everything else is verified from.

use dmp_core::keys::SigningPublicKey;
use dmp_core::name::DomainName;
use serde::Serialize;

use crate::args::bootstrap::PinArgs;
use crate::cmd::Outcome;
use crate::cmd::signing::parse_domain;
use crate::context::Context;
use crate::exit::Failure;
use crate::report::{Report, line};

/// Stores domain and key; nobody is asked.
pub(super) fn pin(context: &Context, args: &PinArgs) -> Outcome {
    let domain = parse_domain(&args.user_domain)?;
    let signer = parse_signer(&args.signer)?;
    context.config()?;
    context.home.update_config(|config| {
        config.bootstrap_user_domain = domain.as_str().to_owned();
        config.bootstrap_signer_spk = signer.to_string();
    })?;
    Ok(Box::new(Pinned { domain, signer }))
}

/// A key that signs for a domain, as the user has it from the operator.
pub(crate) fn parse_signer(text: &str) -> Result<SigningPublicKey, Failure> {
    SigningPublicKey::from_hex(text)
        .map_err(|error| Failure::user("bootstrap-key", format!("signer key: {error}")))
}

struct Pinned {
    domain: DomainName,
    signer: SigningPublicKey,
}

impl Report for Pinned {
    fn text(&self) -> String {
        format!(
            "pinned bootstrap signer for {}\nNext: dnsmesh bootstrap fetch, then dnsmesh bootstrap discover user@{} --auto-pin\n",
            self.domain, self.domain
        )
    }

    fn json(&self) -> String {
        #[derive(Serialize)]
        struct Members<'a> {
            user_domain: &'a str,
            signer_spk: String,
        }
        line(
            "dmp.bootstrap-pinned/1",
            &Members {
                user_domain: self.domain.as_str(),
                signer_spk: self.signer.to_string(),
            },
        )
    }
}
