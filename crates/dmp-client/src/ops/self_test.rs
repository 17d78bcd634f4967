//! A message to oneself, sent and received as any other, which leaves nothing behind (product.md 5.1): proof that an address works.
//!
//! Both ends work on stores in memory, so neither the outbox nor the inbox of the user ever sees it.

use std::time::Duration;

use dmp_core::id::{MsgId, UnixTime};
use dmp_core::seal::Wire;
use rand_core::CryptoRng;
use thiserror::Error;

use super::{
    KeysTrusted, Phases, ProviderConfig, ReceiveError, ReceiveRequest, SendError, SendRequest,
    Session, receive, send,
};
use crate::error::{Fault, StoreError};
use crate::limits::{SELF_TEST_INTERVAL, SELF_TEST_TTL};
use crate::store::{NewContact, Store};

/// The name that the test goes by in the stores in memory.
const LABEL: &str = "self-test";

/// Why a message to oneself did not come back.
#[derive(Debug, Error)]
pub enum SelfTestError {
    /// It could not be sent.
    #[error("{0}")]
    Send(#[from] SendError),
    /// Receiving failed.
    #[error("{0}")]
    Receive(#[from] ReceiveError),
    /// The resolvers did not show it in time.
    #[error("the message was published, but the resolvers do not show it after {} seconds{}", .waited.as_secs(), reasons(.unreachable))]
    NotSeen {
        /// How long was waited.
        waited: Duration,
        /// Why zones could not be asked.
        unreachable: Vec<String>,
    },
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl SelfTestError {
    /// Whose fault it is.
    #[must_use]
    pub const fn fault(&self) -> Fault {
        match self {
            Self::Send(error) => error.fault(),
            Self::Receive(error) => error.fault(),
            Self::NotSeen { .. } => Fault::Unavailable,
            Self::Store(error) => error.fault(),
        }
    }

    /// The stable machine code (D32).
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Send(error) => error.code(),
            Self::Receive(error) => error.code(),
            Self::NotSeen { .. } => "self-test-not-seen",
            Self::Store(error) => error.code(),
        }
    }
}

/// Sends a short-lived message to the own mailbox through the session's writer and reads it back through its reader; returns how long
/// that took. The user's store only notes that the message is not to be delivered, should a later run still find it.
///
/// Prekeys are left alone: the message is sealed to the long-term key, and consuming one would cost somebody forward secrecy.
///
/// # Errors
/// [`SelfTestError`].
pub async fn self_test(
    session: &Session<'_>,
    patience: Duration,
    rng: &mut (dyn CryptoRng + Send),
) -> Result<Duration, SelfTestError> {
    let begun = session.clock.now();
    let mut profile = session.profile.clone();
    // Nobody else needs to hear of it.
    profile.providers = ProviderConfig::default();
    // The own key needs no comparing.
    profile.contacts = KeysTrusted::Pinned;

    let mut card = NewContact::new(LABEL);
    card.agreement = Some(session.identity.agreement_public());
    card.wire = Wire::Current;
    // Without a signing key the sender looks for no prekey.
    let sender = store_with(session, &card)?;
    card.signing = Some(session.identity.signing_public());
    let receiver = store_with(session, &card)?;
    let [from, to] = [&sender, &receiver].map(|store| Session {
        profile: &profile,
        store,
        ..*session
    });

    let msg_id = MsgId::generate(rng);
    let dead = begun.saturating_add(2 * SELF_TEST_TTL);
    let seen = [(session.identity.signing_public(), msg_id, dead)];
    session.store.record_replays(&seen)?;
    let mut request = SendRequest::new(LABEL, LABEL.as_bytes());
    request.ttl = SELF_TEST_TTL;
    request.msg_id = Some(msg_id);
    send(&from, &request, rng).await?;

    let search = ReceiveRequest {
        phases: Phases::SkipPrimary,
        ..ReceiveRequest::default()
    };
    loop {
        let report = receive(&to, &search).await?;
        if report.inbox.iter().any(|message| message.msg_id == msg_id) {
            return Ok(elapsed(begun, session.clock.now()));
        }
        let waited = elapsed(begun, session.clock.now());
        if waited >= patience {
            let unreachable = report.unreachable.into_iter().map(|zone| zone.reason);
            return Err(SelfTestError::NotSeen {
                waited,
                unreachable: unreachable.collect(),
            });
        }
        session.clock.sleep(SELF_TEST_INTERVAL).await;
    }
}

fn store_with(session: &Session<'_>, card: &NewContact) -> Result<Store, StoreError> {
    let now = session.clock.now();
    let store = Store::in_memory(session.identity, now)?;
    store.insert_contact(card, now)?;
    Ok(store)
}

fn elapsed(begun: UnixTime, now: UnixTime) -> Duration {
    Duration::from_secs(now.saturating_sub(begun))
}

fn reasons(unreachable: &[String]) -> String {
    if unreachable.is_empty() {
        String::new()
    } else {
        format!(": {}", unreachable.join("; "))
    }
}
