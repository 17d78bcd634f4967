//! What a home of the reference holds: contacts, prekeys, quarantine, denylist and replay cache, read once before the own store is
//! made (D4, client.md 2, 5). Its files are only read; what was taken from them is stored by [`Store::take_over`].
//!
//! What cannot be used is left out and told, one reason each. What cannot be read at all is an error, because nothing is read twice.
//!
//! [`Store::take_over`]: crate::store::Store::take_over

mod source;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use dmp_core::address::Address;
use dmp_core::id::{MsgId, PrekeyId, UnixTime};
use dmp_core::keys::{AgreementPublicKey, AgreementSecret, SigningPublicKey};
use dmp_core::name::Zone;
use dmp_core::trust::{Holder, Quarantine};
use rusqlite::Row;
use zeroize::{Zeroize, Zeroizing};

use self::source::Source;
use crate::config::{Config, ContactEntry};
use crate::error::Fault;
use crate::home::{Home, HomeError};
use crate::limits::PREKEY_GRACE;
use crate::store::{Blocked, NewContact, NewIntro, Reason};

/// Newest schema of `prekeys.db` that is known (client.md 5.1).
const PREKEYS_VERSION: i64 = 2;
/// Newest schema of `intros.db` that is known (client.md 5.2).
const INTROS_VERSION: i64 = 1;

/// Why a home of the reference could not be read. Nothing was created then.
#[derive(Debug, thiserror::Error)]
pub enum TakeoverError {
    /// A newer version of the reference wrote the file.
    #[error("{} has schema version {found}; this program knows versions up to {known}", path.display())]
    FutureSchema {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: i64,
        /// The newest version known here.
        known: i64,
    },
    /// The file is no database, or not a whole one.
    #[error("{} cannot be read as a database: {reason}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What SQLite said.
        reason: String,
    },
    /// The file changed while it was copied.
    #[error("{} changed while it was read; is the reference client running?", .0.display())]
    Changed(PathBuf),
    /// The file system refused.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The home could not be used.
    #[error(transparent)]
    Home(#[from] HomeError),
}

impl TakeoverError {
    /// Whose fault it is.
    #[must_use]
    pub const fn fault(&self) -> Fault {
        match self {
            Self::FutureSchema { .. } | Self::Changed(_) | Self::Home(_) => Fault::Misuse,
            Self::Damaged { .. } => Fault::Malformed,
            Self::File { .. } => Fault::Unavailable,
        }
    }

    /// The stable machine code (D32).
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::FutureSchema { .. } => "takeover-future-schema",
            Self::Damaged { .. } => "takeover-damaged",
            Self::Changed(_) => "takeover-changed",
            Self::File { .. } => "takeover-file",
            Self::Home(error) => error.code(),
        }
    }
}

/// A prekey as the reference kept it.
pub struct ReferencePrekey {
    /// Its number.
    pub id: PrekeyId,
    /// Its private half.
    pub secret: AgreementSecret,
    /// When to stop using it.
    pub expires: UnixTime,
    /// When it was made.
    pub created: UnixTime,
    /// The text that was published; empty if none is known.
    pub wire: String,
}

/// A row of the reference's quarantine.
#[derive(Debug)]
pub struct ReferenceIntro {
    /// Its number, by which the user knows it.
    pub number: i64,
    /// When it was stored.
    pub received: UnixTime,
    /// The message. Nothing is known of its sender but the key, so it can be accepted but proves nobody's authorship (D6).
    pub message: NewIntro,
}

/// Everything that a home of the reference holds and that can be used.
#[derive(Default)]
pub struct ReferenceHome {
    /// The contacts map of `config.yaml`, in its order.
    pub contacts: Vec<NewContact>,
    /// Prekeys that a message may still be sealed to.
    pub prekeys: Vec<ReferencePrekey>,
    /// Messages that were delivered or quarantined, while their manifests live.
    pub replays: Vec<(SigningPublicKey, MsgId, UnixTime)>,
    /// The quarantine, oldest number first.
    pub intros: Vec<ReferenceIntro>,
    /// The highest number that the quarantine ever gave.
    pub last_intro: i64,
    /// Keys whose messages are dropped.
    pub denylist: Vec<Blocked>,
    /// What was left out, one line each.
    pub skipped: Vec<String>,
}

impl ReferenceHome {
    /// Reads a home that has no store of its own yet. Leaves every file as it is, byte for byte.
    ///
    /// # Errors
    /// [`TakeoverError`]: a file that is there but cannot be read.
    pub fn read(home: &Home, config: &Config, now: UnixTime) -> Result<Self, TakeoverError> {
        let mut found = Self::default();
        let files = ["prekeys.db", "intros.db"].map(|name| home.dir().join(name));
        if files.iter().any(|path| path.exists()) {
            let _lock = home.lock_files()?;
            let [prekeys, intros] = &files;
            let prekeys = Source::open(prekeys, PREKEYS_VERSION)?;
            let intros = Source::open(intros, INTROS_VERSION)?;
            if let Some(source) = prekeys {
                found.read_prekeys(&source, now)?;
            }
            if let Some(source) = intros {
                found.read_intros(&source)?;
            }
        }
        found.read_replays(&home.dir().join("replay_cache.json"), now)?;
        found.read_contacts(&config.contacts);
        Ok(found)
    }

    /// Whether there is nothing to take and nothing to tell.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.contacts.is_empty()
            && self.prekeys.is_empty()
            && self.replays.is_empty()
            && self.intros.is_empty()
            && self.denylist.is_empty()
            && self.skipped.is_empty()
    }

    fn read_prekeys(&mut self, source: &Source, now: UnixTime) -> Result<(), TakeoverError> {
        let wire = source.column_or("prekeys", "wire_record", "''")?;
        let sql = format!(
            "SELECT prekey_id, private_key, exp, created_at, {wire} FROM prekeys ORDER BY prekey_id"
        );
        source.each("prekeys", &sql, |row| {
            let number: i64 = row.get(0).unwrap_or_default();
            match prekey(row, number) {
                // Id 0 means "no prekey" on the wire and is never used (client.md 5.1).
                _ if number == 0 => {}
                Some(prekey) if prekey.expires.saturating_add(PREKEY_GRACE) < now => {}
                Some(prekey) => self.prekeys.push(prekey),
                None => self.skip(format!("prekey {number}: its row is damaged")),
            }
        })
    }

    fn read_intros(&mut self, source: &Source) -> Result<(), TakeoverError> {
        let sql = "SELECT id, sender_spk, msg_id, plaintext, sender_mailbox_domain, sender_label, received_at, msg_exp
                   FROM intros ORDER BY id";
        source.each("intros", sql, |row| {
            let number: i64 = row.get(0).unwrap_or_default();
            match intro(row, number) {
                Some(intro) => {
                    let message = &intro.message;
                    self.replays
                        .push((message.signer, message.msg_id, message.expires));
                    self.intros.push(intro);
                }
                None => self.skip(format!("quarantined message #{number}: its row is damaged")),
            }
        })?;
        self.last_intro = source.last_number("intros")?;
        let sql = "SELECT sender_spk, blocked_at, note FROM denylist ORDER BY blocked_at, rowid";
        source.each("denylist", sql, |row| match blocked(row) {
            Some(blocked) => self.denylist.push(blocked),
            None => self.skip("a blocked key: its row is damaged".to_owned()),
        })
    }

    /// A damaged file counts as none (client.md 5.3), and so does a damaged entry; an entry that expires now still counts
    /// (crypto.md 13).
    fn read_replays(&mut self, path: &Path, now: UnixTime) -> Result<(), TakeoverError> {
        let content = match fs::read(path) {
            Ok(content) => content,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(source) => {
                return Err(TakeoverError::File {
                    path: path.to_owned(),
                    source,
                });
            }
        };
        let Ok(entries) = serde_json::from_slice::<Vec<serde_json::Value>>(&content) else {
            self.skip("replay_cache.json: it is damaged".to_owned());
            return Ok(());
        };
        let mut damaged = 0_usize;
        for entry in entries {
            match replay(entry) {
                Some(entry) if entry.2 < now => {}
                Some(entry) => self.replays.push(entry),
                None => damaged += 1,
            }
        }
        if damaged > 0 {
            self.skip(format!("{damaged} damaged entries of replay_cache.json"));
        }
        Ok(())
    }

    fn read_contacts(&mut self, entries: &BTreeMap<String, ContactEntry>) {
        let mut contacts = Vec::new();
        for (label, entry) in entries {
            match contact(label, entry) {
                Ok(contact) => contacts.push(contact),
                Err(reason) => self.skip(format!("contact {label}: {reason}")),
            }
        }
        // Nobody can tell here whose the key is, so neither gets it (D6).
        let disputed = disputes(&contacts);
        for (label, other) in &disputed {
            self.skip(format!(
                "contact {label}: it shows the same encryption key as {other} under another signing key; find out whose it is \
                 and add that contact anew"
            ));
        }
        contacts.retain(|contact| !disputed.contains_key(&contact.label));
        self.contacts = contacts;
    }

    fn skip(&mut self, what: String) {
        self.skipped.push(what);
    }
}

fn prekey(row: &Row<'_>, number: i64) -> Option<ReferencePrekey> {
    let private = Zeroizing::new(row.get::<_, Vec<u8>>(1).ok()?);
    let mut bytes: [u8; 32] = private.as_slice().try_into().ok()?;
    let secret = AgreementSecret::from_bytes(bytes);
    bytes.zeroize();
    Some(ReferencePrekey {
        id: PrekeyId::new(u32::try_from(number).ok()?)?,
        secret,
        expires: seconds(row, 2)?,
        created: seconds(row, 3)?,
        wire: row.get::<_, Option<String>>(4).ok()?.unwrap_or_default(),
    })
}

fn intro(row: &Row<'_>, number: i64) -> Option<ReferenceIntro> {
    let received = seconds(row, 6)?;
    let label: String = row.get(5).ok()?;
    let address = Address::parse(&label).ok();
    Some(ReferenceIntro {
        number: (number > 0).then_some(number)?,
        received,
        message: NewIntro {
            signer: SigningPublicKey::from_bytes(bytes(row, 1)?),
            msg_id: MsgId::from_bytes(bytes(row, 2)?),
            body: row.get(3).ok()?,
            // The reference delivers an accepted message with the time at which it came (client.md 5.2).
            ts: received,
            zone: Zone::parse(&row.get::<_, String>(4).ok()?).ok()?,
            claimed: address.clone(),
            address,
            sender_id: None,
            reason: Reason {
                code: Quarantine::NotPinned.code().to_owned(),
                text: Quarantine::NotPinned.to_string(),
            },
            prekey: None,
            expires: seconds(row, 7)?,
        },
    })
}

fn blocked(row: &Row<'_>) -> Option<Blocked> {
    Some(Blocked {
        signer: SigningPublicKey::from_bytes(bytes(row, 0)?),
        blocked: seconds(row, 1)?,
        note: row.get(2).ok()?,
    })
}

fn replay(entry: serde_json::Value) -> Option<(SigningPublicKey, MsgId, UnixTime)> {
    let (signer, msg_id, expires): (String, String, u64) = serde_json::from_value(entry).ok()?;
    Some((
        SigningPublicKey::from_hex(&signer).ok()?,
        MsgId::from_hex(&msg_id).ok()?,
        UnixTime::new(expires),
    ))
}

/// A contact in any of the forms of client.md 3.1 and 3.2, or why there is none.
fn contact(label: &str, entry: &ContactEntry) -> Result<NewContact, &'static str> {
    let mut card = NewContact::new(label);
    if !entry.agreement.is_empty() {
        let key = AgreementPublicKey::from_hex(&entry.agreement);
        card.agreement = Some(key.map_err(|_| "pub is not 64 hex digits")?);
    }
    if !entry.signing.is_empty() {
        let key = SigningPublicKey::from_hex(&entry.signing);
        card.signing = Some(key.map_err(|_| "spk is not 64 hex digits")?);
    }
    if card.agreement.is_none() && card.signing.is_none() {
        return Err("it has no key");
    }
    if !entry.domain.is_empty() {
        card.zone = Some(Zone::parse(&entry.domain).map_err(|_| "domain is not a zone")?);
    }
    card.remote_username = entry
        .remote_username
        .clone()
        .filter(|name| !name.is_empty());
    Ok(card)
}

/// Contacts that show an X25519 key which another one shows under another signing key, each with that other one.
fn disputes(contacts: &[NewContact]) -> BTreeMap<String, String> {
    let holders: Vec<Holder<'_>> = contacts
        .iter()
        .filter_map(|contact| {
            contact.agreement.map(|key| Holder {
                name: &contact.label,
                signing: contact.signing,
                user_id: key.user_id(),
            })
        })
        .collect();
    let mut disputed = BTreeMap::new();
    for candidate in &holders {
        if let Err(refused) = dmp_core::trust::check_pinning(candidate, holders.iter().copied()) {
            disputed.insert(refused.wanted, refused.held_by);
        }
    }
    disputed
}

/// A time; the reference writes whole seconds, and negative ones never.
fn seconds(row: &Row<'_>, column: usize) -> Option<UnixTime> {
    let seconds: i64 = row.get(column).ok()?;
    Some(UnixTime::new(u64::try_from(seconds).ok()?))
}

fn bytes<const LENGTH: usize>(row: &Row<'_>, column: usize) -> Option<[u8; LENGTH]> {
    row.get::<_, Vec<u8>>(column).ok()?.try_into().ok()
}
