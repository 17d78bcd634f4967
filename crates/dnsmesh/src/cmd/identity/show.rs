//! `identity show`: the own keys, without any network (cli.md 3.2).

use serde::Serialize;

use crate::cmd::Outcome;
use crate::context::{Context, Unlocked};
use crate::prompt::StandardInput;
use crate::report::{Report, document};

/// Prints who this home belongs to.
pub(crate) fn show(context: &Context) -> Outcome {
    let Unlocked { config, identity } = context.unlock(StandardInput::Free)?;
    Ok(Box::new(Shown {
        domain: config.mesh_zone()?.to_string(),
        username: config.username,
        public_key: identity.agreement_public().to_string(),
        signing_public_key: identity.signing_public().to_string(),
        user_id: identity.user_id().to_string(),
    }))
}

#[derive(Serialize)]
struct Shown {
    username: String,
    domain: String,
    public_key: String,
    signing_public_key: String,
    user_id: String,
}

impl Report for Shown {
    fn text(&self) -> String {
        let Self {
            username,
            domain,
            public_key,
            signing_public_key,
            user_id,
        } = self;
        format!(
            "username: {username}\ndomain: {domain}\npublic_key: {public_key}\nsigning_public_key: {signing_public_key}\nuser_id: {user_id}\n"
        )
    }

    fn json(&self) -> String {
        document("dmp.identity/1", self)
    }
}
