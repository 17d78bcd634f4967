//! `setup`: what others need to find, and the proof that they do.

use std::time::Duration;

use dmp_client::doctor::{ConfiguredResolvers, OwnRecords, Standing, own_records};
use dmp_client::limits::PREKEYS_LOW;
use dmp_client::mesh::system_random;
use dmp_client::ops::{
    PublishRequest, RefreshRequest, SelfTestError, identity_publish, refresh_prekeys,
    self_test as message_to_oneself,
};
use dmp_core::id::UnixTime;
use dmp_core::name::Zone;
use dmp_core::record::Versions;

use super::{Done, Shown, State, Step};
use crate::args::setup::SetupArgs;
use crate::cmd::identity::cause;
use crate::context::{Context, Online};
use crate::exit::{Exit, Failure};
use crate::time::now;

/// One-time keys of a full pool (cli.md 3.2).
const PREKEYS: usize = 25;
/// How long resolvers may go on denying a record that they were asked for before it was there.
const PATIENCE: Duration = Duration::from_secs(90);
/// Between two looks.
const INTERVAL: Duration = Duration::from_secs(3);

/// The identity record, visible through the configured resolvers.
///
/// After a new registration nobody is asked first: a resolver that is asked too early denies the record for a while.
pub(super) async fn identity(
    context: &Context,
    online: &Online,
    args: &SetupArgs,
    fresh: bool,
) -> Result<Done<()>, Failure> {
    let owner = online.connection.profile.identity_owner();
    if !fresh && is_visible(&look(online).await, online) {
        return Done::already((), format!("visible at {owner}"));
    }
    let versions = if args.advertise_v2 {
        Versions::new([1, 2]).unwrap_or_default()
    } else {
        Versions::default()
    };
    let request = PublishRequest {
        versions,
        ..PublishRequest::default()
    };
    identity_publish(&online.session(), &request).await?;
    let mut waited = Duration::ZERO;
    while !is_visible(&look(online).await, online) {
        if waited.is_zero() {
            context.format.print(&Shown {
                step: Step::Identity,
                state: State::Waiting,
                changed: true,
                detail: format!("published; the resolvers do not show {owner} yet"),
            });
        }
        if waited >= PATIENCE {
            return Err(Failure::new(
                Exit::Remote,
                "setup-not-visible",
                format!("{owner} is published, but the resolvers do not show it"),
            )
            .hint("`dnsmesh doctor network` says whether resolvers answer for your zone"));
        }
        tokio::time::sleep(INTERVAL).await;
        waited += INTERVAL;
    }
    Done::now((), format!("published at {owner}"))
}

/// A pool of one-time keys, here and in the zone.
pub(super) async fn prekeys(online: &Online, fresh: bool) -> Result<Done<()>, Failure> {
    let here = online.store.live_prekeys(UnixTime::new(now()))?;
    if !fresh && here >= PREKEYS_LOW {
        let visible = look(online)
            .await
            .prekeys
            .map_or(0, |prekeys| prekeys.len());
        if visible >= PREKEYS_LOW {
            return Done::already((), format!("{visible} visible"));
        }
    }
    let request = RefreshRequest {
        count: PREKEYS,
        lifetime: None,
    };
    let report = refresh_prekeys(&online.session(), &request, &mut system_random()).await?;
    match report.failure {
        Some(error) if report.published == 0 => Err(Failure::new(
            error.fault(),
            error.code(),
            format!("no prekey could be published: {}", cause(&error)),
        )),
        _ => Done::now((), format!("{} published", report.published)),
    }
}

/// The whole way of a message.
pub(super) async fn self_test(online: &Online) -> Result<Done<()>, Failure> {
    let took = message_to_oneself(&online.session(), PATIENCE, &mut system_random()).await?;
    Done::already(
        (),
        format!("a message to yourself came back after {} s", took.as_secs()),
    )
}

/// The zone of the own address.
pub(super) fn zone_of(online: &Online) -> &Zone {
    let profile = &online.connection.profile;
    profile.identity_zone.as_ref().unwrap_or(&profile.mesh_zone)
}

async fn look(online: &Online) -> OwnRecords {
    let witness = ConfiguredResolvers(online.connection.reader.as_ref());
    own_records(
        &witness,
        &online.connection.profile,
        &online.identity.signing_public(),
        UnixTime::new(now()),
    )
    .await
}

fn is_visible(records: &OwnRecords, online: &Online) -> bool {
    match &records.identity {
        Standing::Published { record, .. } => {
            record.agreement == online.identity.agreement_public()
        }
        Standing::OtherKeys | Standing::Absent | Standing::Unreachable(_) => false,
    }
}

impl From<SelfTestError> for Failure {
    fn from(error: SelfTestError) -> Self {
        let failure = Self::new(error.fault(), error.code(), format!("self-test: {error}"));
        match error {
            SelfTestError::NotSeen { .. } => {
                failure.hint("`dnsmesh doctor network` says whether resolvers answer for your zone")
            }
            _ => failure.hint("`dnsmesh doctor` says what is wrong"),
        }
    }
}
