//! Which resolvers failed a short while ago, kept for the next command: it asks them last, as this one did (federation.md W19).
//!
//! The file tells nothing that the configuration does not, needs no passphrase, and may be deleted at any time.

use std::fs::File;
use std::io::Read;
use std::time::Duration;

use dmp_core::id::UnixTime;
use serde::{Deserialize, Serialize};

use super::{Home, private_file};
use crate::limits::{DEMOTIONS_BYTES, DEMOTIONS_KEPT};
use crate::reader::Resolvers;

const FILE: &str = "resolvers.json";

#[derive(Serialize, Deserialize, Default)]
struct Demotions {
    demoted: Vec<Demotion>,
}

#[derive(Serialize, Deserialize)]
struct Demotion {
    resolver: String,
    /// Unix seconds.
    failed_at: u64,
}

impl Home {
    /// Asks the resolvers last that an earlier command saw fail, until they have cooled down. What cannot be read counts for nothing.
    pub fn recall_demotions(&self, resolvers: &Resolvers, now: UnixTime) {
        for Demotion {
            resolver,
            failed_at,
        } in self.demotions()
        {
            // A clock that was set back makes no failure of the future.
            if let Some(ago) = now.as_secs().checked_sub(failed_at) {
                resolvers.demote(&resolver, Duration::from_secs(ago));
            }
        }
    }

    /// Keeps for the next command which resolvers failed; those of other configurations are forgotten. Writes only what has changed,
    /// and a home that cannot be written is no failure.
    pub fn remember_demotions(&self, resolvers: &Resolvers, now: UnixTime) {
        let mut demoted: Vec<Demotion> = Vec::new();
        for (resolver, ago) in resolvers.standing() {
            if let Some(ago) = ago {
                demoted.push(Demotion {
                    resolver,
                    failed_at: now.as_secs().saturating_sub(ago.as_secs()),
                });
            }
        }
        demoted.truncate(DEMOTIONS_KEPT);
        let before = self.demotions();
        let is_same = |(old, new): (&Demotion, &Demotion)| {
            old.resolver == new.resolver && old.failed_at.abs_diff(new.failed_at) <= 1
        };
        if before.len() == demoted.len() && before.iter().zip(&demoted).all(is_same) {
            return;
        }
        let written = serde_json::to_vec(&Demotions { demoted })
            .map(|content| private_file::replace(&self.dir.join(FILE), &content));
        if !matches!(written, Ok(Ok(()))) {
            tracing::debug!("the resolvers that failed are not kept");
        }
    }

    fn demotions(&self) -> Vec<Demotion> {
        let mut text = Vec::new();
        let read = File::open(self.dir.join(FILE))
            .and_then(|file| file.take(DEMOTIONS_BYTES).read_to_end(&mut text));
        let kept: Option<Demotions> = read.ok().and_then(|_| serde_json::from_slice(&text).ok());
        let mut demoted = kept.unwrap_or_default().demoted;
        demoted.truncate(DEMOTIONS_KEPT);
        demoted
    }
}
