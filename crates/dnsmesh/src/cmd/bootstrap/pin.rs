//! `bootstrap pin`: the one key of a domain that everything else is verified from.

use dmp_client::bootstrap::Anchor;
use serde::Serialize;

use crate::args::bootstrap::PinArgs;
use crate::cmd::Outcome;
use crate::context::Context;
use crate::report::{Report, line};

/// Stores domain and key; nobody is asked.
pub(super) fn pin(context: &Context, args: &PinArgs) -> Outcome {
    let anchor = Anchor::parse(&args.user_domain, &args.signer)?;
    context.config()?;
    context.home.update_config(|config| {
        config.bootstrap_user_domain = anchor.domain.as_str().to_owned();
        config.bootstrap_signer_spk = anchor.signer.to_string();
    })?;
    Ok(Box::new(Pinned(anchor)))
}

struct Pinned(Anchor);

impl Report for Pinned {
    fn text(&self) -> String {
        let domain = &self.0.domain;
        format!(
            "pinned bootstrap signer for {domain}\nNext: dnsmesh bootstrap fetch, then dnsmesh bootstrap discover user@{domain} --auto-pin\n"
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
                user_domain: self.0.domain.as_str(),
                signer_spk: self.0.signer.to_string(),
            },
        )
    }
}
