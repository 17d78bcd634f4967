//! `identity rotate`: a new passphrase, and with it new keys that the old one signs over to (cli.md 3.2, client.md 13).

use std::path::{self, Path, PathBuf};

use dmp_client::error::WriteError;
use dmp_client::home::HomeError;
use dmp_client::ops::{
    RotateError, RotateRequest, Rotated, RotationReason, check_rotation, identity_rotate,
};
use dmp_client::passphrase;
use dmp_core::keys::Identity;
use dmp_core::record::Versions;
use serde::Serialize;
use zeroize::Zeroizing;

use super::{advise, cause};
use crate::args::identity::{RotateArgs, RotateReason};
use crate::cmd::Outcome;
use crate::context::Context;
use crate::exit::{Exit, Failure};
use crate::prompt::{self, StandardInput};
use crate::report::{Format, Report, line};
use crate::time::milliseconds;

/// What is said before anything is asked.
const WARNINGS: [&str; 3] = [
    "warning: a rotation replaces your keys; contacts follow it as far as their programs do, the others must pin the new keys by hand",
    "receive everything first: messages to the old key go to a mailbox that is not polled any more",
    "the old passphrase stops opening this home once the new one is in use",
];

/// Publishes the successor of the own keys and switches this home to it as far as it can.
pub(crate) async fn rotate(context: &Context, args: RotateArgs) -> Outcome {
    for warning in WARNINGS {
        context.format.note(warning);
    }
    let online = context.go_online(StandardInput::Free).await?;
    let session = online.session();
    let passphrase = new_passphrase(context, args.new_passphrase_file.as_deref())?;
    let new = Identity::derive(&passphrase, &online.config.salt()?)
        .map_err(|error| Failure::user("passphrase-unusable", error))?;
    let request = RotateRequest {
        ttl: args.ttl,
        lifetime: args.exp_seconds,
        reason: match args.reason {
            RotateReason::Routine => RotationReason::Routine,
            RotateReason::Compromise => RotationReason::Compromise,
            RotateReason::LostKey => RotationReason::LostKey,
        },
        versions: if args.advertise_v2 {
            Versions::new([1, 2]).unwrap_or_default()
        } else {
            Versions::default()
        },
        milliseconds: milliseconds(),
    };
    check_rotation(&session, &new, &request)?;
    let keys = format!(
        "current signing key: {}\nnew signing key:     {}\n",
        session.identity.signing_public(),
        new.signing_public()
    );
    if !args.yes {
        // The keys are to be seen before the question, not with the result.
        if context.format == Format::Text {
            context.format.put(&keys)?;
        }
        prompt::agreed("Publish RotationRecord? [y/N] ")?;
    }
    let rotated = identity_rotate(&session, &new, &request).await?;
    let switched = match args.new_passphrase_file.filter(|_| args.yes) {
        None => None,
        Some(file) => match switch(context, &file, &new) {
            Ok(file) => Some(file),
            // The rotation is out: that must be told, whatever happens here.
            Err(error) => {
                context.format.note(&format!(
                    "warning: the configuration could not be switched to the new passphrase: {error}"
                ));
                None
            }
        },
    };
    let is_environment_stale = switched.is_some() && context.environment.holds_other(&passphrase);
    Ok(Box::new(Done {
        keys: if args.yes { keys } else { String::new() },
        rotated,
        reason: args.reason,
        switched,
        is_environment_stale,
    }))
}

/// The new passphrase: of the file, else of the environment, else typed twice.
fn new_passphrase(context: &Context, file: Option<&Path>) -> Result<Zeroizing<String>, Failure> {
    if let Some(file) = file {
        let read = passphrase::from_file(file)?;
        if let Some(path) = read.exposed_file {
            context.format.note(&format!(
                "warning: the passphrase file {} can be read by others",
                path.display()
            ));
        }
        return Ok(read.text);
    }
    let variable = std::env::var("DMP_NEW_PASSPHRASE").map(Zeroizing::new);
    if let Some(text) = variable.ok().filter(|text| !text.is_empty()) {
        return Ok(text);
    }
    let ask = |question: &str| {
        prompt::secret(question, StandardInput::Free).map_err(|error| {
            Failure::user("passphrase-prompt", format!("no new passphrase: {error}"))
                .hint("set DMP_NEW_PASSPHRASE, or give --new-passphrase-file")
        })
    };
    let text = ask("New passphrase: ")?;
    if text.is_empty() {
        return Err(Failure::user(
            "passphrase-empty",
            "the new passphrase is empty",
        ));
    }
    if *ask("New passphrase again: ")? != *text {
        return Err(Failure::user(
            "passphrase-differs",
            "the two passphrases differ",
        ));
    }
    Ok(text)
}

/// Makes the file the source of the passphrase and remembers the new key, in one save (client.md 13).
fn switch(context: &Context, file: &Path, new: &Identity) -> Result<PathBuf, HomeError> {
    let file = path::absolute(file).unwrap_or_else(|_| file.to_owned());
    context.home.update_config(|config| {
        config.passphrase_file = Some(file.display().to_string());
        config.verify_pubkey = new.signing_public().to_string();
    })?;
    Ok(file)
}

impl From<RotateError> for Failure {
    fn from(error: RotateError) -> Self {
        match &error {
            RotateError::Write {
                owner,
                error: write,
            } => {
                let failure = Self::new(
                    Exit::Remote,
                    error.code(),
                    format!("publish to {owner} failed: {}", cause(write)),
                );
                let failure = match write {
                    WriteError::NotAuthorised(reason) if reason.starts_with("HTTP ") => failure.hint(
                        "over HTTP only the operator's token may write this name; a key of `dnsmesh tsig register` may",
                    ),
                    _ => advise(failure, write),
                };
                failure.hint("nothing was changed here: your keys are the old ones")
            }
            _ => Self::user(error.code(), &error),
        }
    }
}

struct Done {
    /// Both keys, unless they were shown with the question.
    keys: String,
    rotated: Rotated,
    reason: RotateReason,
    /// The file that is the source of the passphrase now.
    switched: Option<PathBuf>,
    is_environment_stale: bool,
}

impl Report for Done {
    fn text(&self) -> String {
        let Rotated {
            owner,
            revocation,
            identity,
            ..
        } = &self.rotated;
        let mut text = format!("{}published RotationRecord to {owner}\n", self.keys);
        let reason = match self.reason {
            RotateReason::Routine => "routine",
            RotateReason::Compromise => "compromise",
            RotateReason::LostKey => "lost_key",
        };
        match revocation {
            Some(Ok(())) => text.push_str(&format!(
                "published RevocationRecord (old key, reason={reason}) to {owner}\n"
            )),
            Some(Err(_)) => {}
            None => text.push_str(
                "no RevocationRecord is published for a routine rotation: it would stop everybody who follows the chain\n",
            ),
        }
        if let Ok(published) = identity {
            text.push_str(&format!("published identity to {}\n", published.owner));
        }
        text.push('\n');
        match &self.switched {
            Some(file) => text.push_str(&format!(
                "local identity swapped atomically (passphrase_file: {})\n",
                file.display()
            )),
            None => text.push_str(
                "use the new passphrase from now on (DMP_PASSPHRASE, passphrase_file or the prompt): its first use ends the old one here\n",
            ),
        }
        text.push_str(
            "next:\n  dnsmesh identity refresh-prekeys    one-time keys of the new key; those of the old key are removed\n  \
             dnsmesh tsig register (or register)  your credential still covers the mailbox of the old key only\n  \
             dnsmesh identity qr                  tell your contacts the new fingerprint; they run `dnsmesh contacts accept-key`\n",
        );
        text
    }

    fn json(&self) -> String {
        #[derive(Serialize)]
        struct Members {
            owner: String,
            old_signing_public_key: String,
            signing_public_key: String,
            sequence: u64,
            expires_at: String,
            revoked: bool,
            identity_published: bool,
            switched: bool,
        }
        let Rotated {
            owner,
            rotation,
            revocation,
            identity,
            ..
        } = &self.rotated;
        line(
            "dmp.identity-rotated/1",
            &Members {
                owner: owner.to_string(),
                old_signing_public_key: rotation.old.to_string(),
                signing_public_key: rotation.new.to_string(),
                sequence: rotation.seq,
                expires_at: crate::time::utc_of(rotation.exp),
                revoked: matches!(revocation, Some(Ok(()))),
                identity_published: identity.is_ok(),
                switched: self.switched.is_some(),
            },
        )
    }

    fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        if let Some(Err(error)) = &self.rotated.revocation {
            notes.push(format!(
                "warning: the revocation of the old key was not published: {}; run `dnsmesh identity rotate` with a reason again, or revoke it \
                 with the old passphrase",
                cause(error)
            ));
        }
        if let Err(error) = &self.rotated.identity {
            notes.push(format!(
                "warning: the identity record of the new key was not published: {error}; run `dnsmesh identity publish` with the new passphrase"
            ));
        }
        if self.is_environment_stale {
            notes.push(
                "warning: DMP_PASSPHRASE still holds the old passphrase and is used before the file: unset it or set it to the new one"
                    .to_owned(),
            );
        }
        notes
    }

    fn exit(&self) -> Exit {
        if self.is_environment_stale {
            Exit::OldPassphrase
        } else {
            Exit::Done
        }
    }
}
