//! One of the two: a home in the demo's directory, and what the verbs do with it.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use dmp_client::config::Config;
use dmp_client::connect::{ConnectOptions, Connection};
use dmp_client::home::Home;
use dmp_client::mesh::{SystemClock, Unwatched, system_random};
use dmp_client::ops::{
    FetchRequest, Profile, PublishRequest, ReceiveRequest, RefreshRequest, SendRequest, Session,
    clear_away, contacts_add_fetched, identity_fetch, identity_publish, receive, refresh_prekeys,
    send,
};
use dmp_client::store::Store;
use dmp_core::id::{Fingerprint, UnixTime};
use dmp_core::keys::{Identity, Salt};
use dmp_core::name::Zone;
use dmp_core::owner::OwnerName;
use dmp_net::SystemFallback;

use super::went_wrong;
use super::witness::Witness;
use crate::exit::Failure;
use crate::time::now;

/// A user of the demo.
pub(super) struct Person {
    pub(super) name: String,
    home: Home,
    identity: Identity,
    store: Store,
    profile: Profile,
    witness: Witness,
}

/// A message as it was read.
pub(super) struct Read {
    pub(super) text: String,
    pub(super) prekey: Option<u32>,
}

/// Makes a home for somebody, with a new identity and the rest of its configuration.
///
/// The passphrase lies in a private file of the home, so that other commands can use the home while it exists.
pub(super) fn settle(dir: &Path, name: &str, config: Config) -> Result<(Home, Identity), Failure> {
    let home = Home::at(dir.join(name));
    let (passphrase, salt) = (random_text(), Salt::generate(&mut system_random()));
    let passphrase_file = home.dir().join("passphrase");
    let identity =
        Identity::derive(&passphrase, &salt).map_err(|error| Failure::user("demo-keys", error))?;
    home.save_config(&Config {
        username: name.to_owned(),
        provider_seeds: Some(Vec::new()),
        kdf_salt: salt.to_hex(),
        verify_pubkey: identity.signing_public().to_string(),
        passphrase_file: Some(passphrase_file.to_string_lossy().into_owned()),
        ..config
    })?;
    let file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&passphrase_file);
    file.and_then(|mut file| file.write_all(passphrase.as_bytes()))
        .map_err(file_failure)?;
    Ok((home, identity))
}

/// 256 random bits as text.
pub(super) fn random_text() -> String {
    Salt::generate(&mut system_random()).to_hex()
}

pub(super) fn file_failure(error: std::io::Error) -> Failure {
    Failure::user("demo-files", error)
}

impl Person {
    /// Opens store and connection of a home that is configured and registered.
    pub(super) async fn open(name: &str, home: Home, identity: Identity) -> Result<Self, Failure> {
        let config = home.load_config()?;
        let store = Store::open(home.dir(), &identity, UnixTime::new(now()))?;
        let options = ConnectOptions {
            provider_dns_port: 53,
            system_fallback: SystemFallback::Forbidden,
        };
        let Connection {
            profile,
            reader,
            writer,
            claims,
            ..
        } = Connection::open(&config, &home, options, now()).await?;
        let witness = Witness::new(Box::new(reader), writer, claims);
        Ok(Self {
            name: name.to_owned(),
            home,
            identity,
            store,
            profile,
            witness,
        })
    }

    /// The name at the beginning of a sentence.
    pub(super) fn title(&self) -> String {
        let mut letters = self.name.chars();
        letters
            .next()
            .map(|first| first.to_ascii_uppercase().to_string() + letters.as_str())
            .unwrap_or_default()
    }

    pub(super) fn address(&self) -> String {
        format!("{}@{}", self.name, self.profile.mesh_zone)
    }

    /// The beginning of the signing key.
    pub(super) fn key(&self) -> String {
        self.identity.signing_public().short()
    }

    pub(super) fn zone(&self) -> &Zone {
        &self.profile.mesh_zone
    }

    pub(super) fn dir(&self) -> &Path {
        self.home.dir()
    }

    /// Where this person's records are.
    pub(super) fn owners(&self) -> [OwnerName; 2] {
        [self.profile.identity_owner(), self.profile.prekey_owner()]
    }

    pub(super) fn witness(&self) -> &Witness {
        &self.witness
    }

    pub(super) async fn publish(&self, request: &PublishRequest) -> Result<(), Failure> {
        identity_publish(&self.session(), request).await?;
        Ok(())
    }

    pub(super) async fn refresh_prekeys(&self, request: &RefreshRequest) -> Result<(), Failure> {
        let report = refresh_prekeys(&self.session(), request, &mut system_random()).await?;
        if report.published == request.count {
            Ok(())
        } else {
            Err(went_wrong("the node did not take every prekey"))
        }
    }

    /// Looks somebody up and pins what is found.
    pub(super) async fn pin(&self, request: &FetchRequest) -> Result<Fingerprint, Failure> {
        let now = UnixTime::new(now());
        let fetched = identity_fetch(&self.witness, request, now).await?;
        contacts_add_fetched(&self.store, &fetched, now)?;
        Ok(fetched.record.fingerprint())
    }

    pub(super) async fn send(&self, recipient: &str, text: &str) -> Result<(), Failure> {
        send(
            &self.session(),
            &SendRequest::new(recipient, text.as_bytes()),
            &mut system_random(),
        )
        .await?;
        Ok(())
    }

    /// Receives the one message that is waiting.
    pub(super) async fn receive(&self) -> Result<Read, Failure> {
        let mut messages = self.receive_all().await?;
        match (messages.pop(), messages.is_empty()) {
            (Some(message), true) => Ok(message),
            _ => Err(went_wrong("the message did not arrive")),
        }
    }

    /// Receives what is waiting.
    pub(super) async fn receive_all(&self) -> Result<Vec<Read>, Failure> {
        let report = receive(&self.session(), &ReceiveRequest::default()).await?;
        let read = report.inbox.iter().map(|message| {
            let text = String::from_utf8(message.body.clone());
            Ok(Read {
                text: text.map_err(|_| went_wrong("the message is no text"))?,
                prekey: message.prekey.map(|id| id.get()),
            })
        });
        let read = read.collect::<Result<_, Failure>>()?;
        let numbers: Vec<_> = report.inbox.iter().map(|message| message.number).collect();
        self.store.mark_shown(&numbers, UnixTime::new(now()))?;
        clear_away(&self.session(), &report).await?;
        Ok(read)
    }

    fn session(&self) -> Session<'_> {
        Session {
            profile: &self.profile,
            identity: &self.identity,
            store: &self.store,
            reader: &self.witness,
            writer: &self.witness,
            claims: &self.witness,
            clock: &SystemClock,
            watcher: &Unwatched,
        }
    }
}
