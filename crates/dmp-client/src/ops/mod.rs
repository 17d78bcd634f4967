//! What a user does: publish an identity and prekeys, fetch one, keep contacts, send, receive. Each operation returns a report
//! and prints nothing; sockets, files and clocks are behind the traits of [`crate::mesh`] and the [`crate::store::Store`].

mod contacts;
mod identity;
mod intros;
mod key_change;
mod lookup;
pub mod outbox;
mod prekeys;
mod providers;
mod publish;
mod receive;
mod rotation;
mod self_test;
mod send;
mod upkeep;

use dmp_core::address::Address;
use dmp_core::keys::Identity;
use dmp_core::name::Zone;
use dmp_core::owner::{OwnerName, identity_owner_anchored, identity_owner_hashed, prekey_owner};
pub use dmp_core::trust::{FirstUse, RotationPolicy};

pub use self::contacts::{
    ContactChanges, ContactError, Saved, Taken, contacts_add, contacts_add_fetched,
    contacts_add_uri, contacts_find, contacts_list, contacts_remove, contacts_replace_fetched,
    contacts_safety_number, contacts_set, contacts_verify_number, contacts_verify_uri,
};
pub use self::identity::{
    Candidate, FetchError, FetchRequest, Fetched, Place, PublishError, PublishRequest, Published,
    Unpublished, identity_fetch, identity_publish, identity_unpublish,
};
pub use self::intros::{
    IntroError, intros_accept, intros_block, intros_list, intros_purge, intros_trust, sender_block,
    sender_named, sender_unblock, senders_blocked,
};
pub use self::key_change::{
    KeyChangeError, KeyOffer, KeyProof, contacts_accept_key, contacts_new_key,
};
pub use self::outbox::SendStep;
pub use self::prekeys::{
    RefreshError, RefreshReport, RefreshRequest, Stock, prekeys_stock, refresh_prekeys,
};
pub use self::providers::{Provider, ProviderConfig, providers_find};
pub(crate) use self::providers::{url_host, zone_of_host};
pub(crate) use self::publish::publish_capped;
pub use self::receive::{
    Dropped, Phases, ReceiveError, ReceiveReport, ReceiveRequest, Rhythm, Turn, UnreachableZone,
    clear_away, receive,
};
pub use self::rotation::{
    Revoked, RotateError, RotateRequest, Rotated, RotationReason, check_rotation, identity_revoke,
    identity_rotate,
};
pub use self::self_test::{SelfTestError, self_test};
pub use self::send::{
    ClaimCount, ForwardSecrecy, ForwardSecrecyPolicy, NoForwardSecrecy, SendError, SendReport,
    SendRequest, send,
};
pub use self::upkeep::{Upkeep, UpkeepFailure, maintain};
use crate::mesh::{ClaimSender, Clock, Reader, UpdateTarget, Watcher, Writer};
use crate::store::Store;

/// Who the user is and how the client is to behave: the parts of the configuration that the operations need (client.md 1, 3).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Profile {
    /// Local part, lower case.
    pub username: String,
    /// The zone of mailbox, chunks, prekeys and hashed identity ("own zone").
    pub mesh_zone: Zone,
    /// The zone of the identity record if it is not the mesh zone.
    pub identity_zone: Option<Zone>,
    /// What happens to messages that the slot walk finds while nobody is pinned.
    pub first_use: FirstUse,
    /// Which contacts are written to and delivered from.
    pub contacts: KeysTrusted,
    /// Whether rotation chains are followed.
    pub rotation: RotationPolicy,
    /// What happens to claims of keys that nobody pinned.
    pub strangers: Strangers,
    /// Where claims are left for strangers to find.
    pub providers: ProviderConfig,
    /// The DNS listener of the own node, for notifications inside the own zone (client.md 4.6).
    pub own_node: Option<UpdateTarget>,
}

/// Which keys of contacts are trusted.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum KeysTrusted {
    /// Those that are pinned.
    #[default]
    Pinned,
    /// Those that the user compared: nothing is sent to others, and what they send waits in the quarantine (`trust_policy: verified-only`).
    Verified,
}

/// What happens to claims of keys that nobody pinned (client.md 10.3).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Strangers {
    /// Their messages are fetched and wait in the quarantine.
    #[default]
    Quarantine,
    /// Nothing is asked for them, so nobody unknown learns that this mailbox is read (`accept_strangers: false`).
    Ignore,
}

impl Profile {
    /// A profile with the defaults and no claim provider.
    #[must_use]
    pub fn new(username: impl Into<String>, mesh_zone: Zone) -> Self {
        Self {
            username: username.into(),
            mesh_zone,
            identity_zone: None,
            first_use: FirstUse::default(),
            contacts: KeysTrusted::default(),
            rotation: RotationPolicy::default(),
            strangers: Strangers::default(),
            providers: ProviderConfig::default(),
            own_node: None,
        }
    }

    /// The own address; `None` if it has no canonical form, in which case no envelope is ever written (client.md 1).
    #[must_use]
    pub fn address(&self) -> Option<Address> {
        Address::new(
            &self.username,
            self.identity_zone
                .as_ref()
                .unwrap_or(&self.mesh_zone)
                .as_str(),
        )
        .ok()
    }

    /// Where the own identity record is published (records.md 8.3).
    #[must_use]
    pub fn identity_owner(&self) -> OwnerName {
        self.identity_zone.as_ref().map_or_else(
            || identity_owner_hashed(&self.username, &self.mesh_zone),
            identity_owner_anchored,
        )
    }

    /// Where the own prekeys are published.
    #[must_use]
    pub fn prekey_owner(&self) -> OwnerName {
        prekey_owner(&self.username, &self.mesh_zone)
    }
}

/// Everything an operation works with.
#[derive(Clone, Copy)]
pub struct Session<'a> {
    /// Who the user is.
    pub profile: &'a Profile,
    /// The user's keys.
    pub identity: &'a Identity,
    /// The local store, opened with that identity.
    pub store: &'a Store,
    /// Look-ups.
    pub reader: &'a dyn Reader,
    /// Changes to the own zone.
    pub writer: &'a dyn Writer,
    /// Claims in other people's zones.
    pub claims: &'a dyn ClaimSender,
    /// Time.
    pub clock: &'a dyn Clock,
    /// Who is told how far long work has come.
    pub watcher: &'a dyn Watcher,
}
