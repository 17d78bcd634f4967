//! `identity publish` (cli.md 3.2).

use dmp_client::error::WriteError;
use dmp_client::ops::{PublishError, PublishRequest, Published, identity_publish};
use dmp_core::record::Versions;
use serde::Serialize;

use crate::args::identity::PublishArgs;
use crate::cmd::Outcome;
use crate::context::Context;
use crate::exit::Failure;
use crate::prompt::StandardInput;
use crate::report::{Report, line};

/// Publishes the own identity record.
pub(crate) async fn publish(context: &Context, args: PublishArgs) -> Outcome {
    let online = context.go_online(StandardInput::Free).await?;
    let versions = if args.advertise_v2 {
        Versions::new([1, 2]).unwrap_or_default()
    } else {
        Versions::default()
    };
    let published = identity_publish(
        &online.session(),
        &PublishRequest {
            ttl: args.ttl,
            versions,
        },
    )
    .await?;
    let address = online
        .connection
        .profile
        .address()
        .map(|address| address.to_string());
    Ok(Box::new(Done {
        published,
        address,
        wanted_ttl: args.ttl,
    }))
}

impl From<PublishError> for Failure {
    fn from(error: PublishError) -> Self {
        match &error {
            PublishError::Write { owner, error } => {
                let failure = Self::new(
                    error.fault(),
                    error.code(),
                    format!("publish to {owner} failed: {}", cause(error)),
                );
                advise(failure, error)
            }
            PublishError::Store(_) => Self::user(error.code(), error),
            PublishError::UserName => Self::user(error.code(), error),
        }
    }
}

/// What the node said, without our own words where it named its HTTP status.
pub(crate) fn cause(error: &WriteError) -> String {
    match error {
        WriteError::NotAuthorised(reason)
        | WriteError::ServerFailure(reason)
        | WriteError::Refused { reason, .. }
            if reason.starts_with("HTTP ") =>
        {
            reason.clone()
        }
        _ => error.to_string(),
    }
}

/// What to do about a write that was not taken.
pub(crate) fn advise(failure: Failure, error: &WriteError) -> Failure {
    match error {
        WriteError::NotAuthorised(reason) if reason.starts_with("HTTP 403") => failure.hint(
            "a user's token writes that user's names only; other names need the operator's token",
        ),
        WriteError::NotAuthorised(reason) if reason.starts_with("HTTP") => failure
            .hint("register at the node first: `dnsmesh register` or `dnsmesh tsig register`"),
        WriteError::NotAuthorised(_) => {
            failure.hint("check the clock of this machine, or run `dnsmesh tsig register` again")
        }
        WriteError::Refused { .. } => failure.hint(
            "the name is outside what the credential may write, or a limit of the node is reached",
        ),
        WriteError::NotZone => {
            failure.hint("tsig_zone in the configuration does not contain the own zone")
        }
        WriteError::Unreachable(_) => {
            failure.hint("nothing was lost; try again when the node answers")
        }
        _ => failure,
    }
}

struct Done {
    published: Published,
    address: Option<String>,
    wanted_ttl: u64,
}

impl Report for Done {
    fn text(&self) -> String {
        let fetch = self.address.as_ref().map(|address| {
            format!("others fetch it with: dnsmesh identity fetch {address} --add\n")
        });
        format!(
            "published identity to {}\n{}",
            self.published.owner,
            fetch.unwrap_or_default()
        )
    }

    fn json(&self) -> String {
        #[derive(Serialize)]
        struct Members<'a> {
            owner: String,
            address: Option<&'a str>,
            ttl: u64,
            replaced: usize,
        }
        let Published {
            owner,
            ttl,
            removed,
            ..
        } = &self.published;
        line(
            "dmp.identity-published/1",
            &Members {
                owner: owner.to_string(),
                address: self.address.as_deref(),
                ttl: *ttl,
                replaced: *removed,
            },
        )
    }

    fn notes(&self) -> Vec<String> {
        let ttl = self.published.ttl;
        if ttl < self.wanted_ttl {
            vec![format!(
                "note: the node keeps it for {ttl} seconds; publish again before that"
            )]
        } else {
            Vec::new()
        }
    }
}
