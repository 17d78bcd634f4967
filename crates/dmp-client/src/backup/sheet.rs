//! The recovery sheet: what besides the passphrase makes an identity, on one printed page (client.md 1). Holds no secret.
//!
//! What stands behind a known word and a colon at the start of a line counts; everything else is for people. So the page may be
//! typed in from paper, in any order, with blanks anywhere in the digits.

use std::collections::BTreeMap;
use std::fmt;

use dmp_core::address::Address;
use dmp_core::error::KeyError;
use dmp_core::id::Fingerprint;
use dmp_core::keys::{Identity, Salt};
use dmp_core::name::Zone;

use crate::config::{Config, ConfigError};

/// Why a text is not a usable recovery sheet.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum SheetError {
    /// A line is missing.
    #[error("the line `{0}:` is missing")]
    Missing(&'static str),
    /// A line cannot be read.
    #[error("the line `{0}:` cannot be read; compare it with the sheet")]
    Unreadable(&'static str),
    /// Passphrase and salt give other keys than those of the sheet.
    #[error(
        "passphrase and salt give the fingerprint {derived}, the sheet says {expected}: one of the two is mistyped"
    )]
    Mismatch {
        /// The fingerprint of the keys derived.
        derived: Fingerprint,
        /// The fingerprint on the sheet.
        expected: Fingerprint,
    },
    /// No keys can be made.
    #[error("{0}")]
    Key(KeyError),
}

impl SheetError {
    /// The stable machine code (D32).
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Missing(_) => "sheet-missing",
            Self::Unreadable(_) => "sheet-unreadable",
            Self::Mismatch { .. } => "sheet-mismatch",
            Self::Key(_) => "sheet-key",
        }
    }
}

/// Everything that a sheet says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RecoverySheet {
    /// `username@mesh zone`.
    pub address: Address,
    /// The salt of the key derivation.
    pub salt: Salt,
    /// Tells whether passphrase and salt were typed rightly.
    pub fingerprint: Fingerprint,
    /// The zone of the identity record where it is another one.
    pub identity_zone: Option<Zone>,
    /// The home node's URL.
    pub node: Option<String>,
}

impl RecoverySheet {
    /// The sheet of an identity.
    ///
    /// # Errors
    /// A configuration whose address has no canonical form.
    pub fn of(config: &Config, identity: &Identity) -> Result<Self, ConfigError> {
        let zone = config.mesh_zone()?;
        let address = Address::parse(&format!("{}@{zone}", config.username)).map_err(|error| {
            ConfigError::Unusable {
                key: "username",
                reason: error.to_string(),
            }
        })?;
        Ok(Self {
            address,
            salt: config.salt()?,
            fingerprint: identity.fingerprint(),
            identity_zone: config.identity_zone()?,
            node: Some(config.endpoint.clone()).filter(|node| !node.is_empty()),
        })
    }

    /// Reads a sheet, printed or typed in.
    ///
    /// # Errors
    /// [`SheetError`] names the line.
    pub fn parse(text: &str) -> Result<Self, SheetError> {
        let lines: BTreeMap<String, String> = text
            .lines()
            .filter_map(|line| line.split_once(':'))
            .map(|(word, value)| (word.trim().to_ascii_lowercase(), value.trim().to_owned()))
            .filter(|(_, value)| !value.is_empty())
            .collect();
        let line = |word: &'static str| lines.get(word).ok_or(SheetError::Missing(word));
        let digits = |word| {
            line(word).map(|value| value.replace(char::is_whitespace, "").to_ascii_lowercase())
        };
        let identity_zone = lines.get("identity zone").map(|zone| Zone::parse(zone));
        Ok(Self {
            address: Address::parse(line("address")?)
                .map_err(|_| SheetError::Unreadable("address"))?,
            salt: Salt::from_hex(&digits("salt")?).map_err(|_| SheetError::Unreadable("salt"))?,
            fingerprint: Fingerprint::parse(&digits("fingerprint")?)
                .map_err(|_| SheetError::Unreadable("fingerprint"))?,
            identity_zone: identity_zone
                .transpose()
                .map_err(|_| SheetError::Unreadable("identity zone"))?,
            node: lines.get("node").cloned(),
        })
    }

    /// Derives the identity and makes sure that it is the one of the sheet.
    ///
    /// # Errors
    /// [`SheetError::Mismatch`] if a character of passphrase, salt or fingerprint is wrong.
    pub fn derive(&self, passphrase: &str) -> Result<Identity, SheetError> {
        let identity = Identity::derive(passphrase, &self.salt).map_err(SheetError::Key)?;
        let derived = identity.fingerprint();
        if derived == self.fingerprint {
            Ok(identity)
        } else {
            Err(SheetError::Mismatch {
                derived,
                expected: self.fingerprint,
            })
        }
    }

    /// The configuration that brings the identity back.
    #[must_use]
    pub fn config(&self, identity: &Identity) -> Config {
        Config {
            username: self.address.local().to_owned(),
            domain: self.address.host().to_owned(),
            endpoint: self.node.clone().unwrap_or_default(),
            identity_domain: self
                .identity_zone
                .as_ref()
                .map(ToString::to_string)
                .unwrap_or_default(),
            kdf_salt: self.salt.to_hex(),
            verify_pubkey: identity.signing_public().to_string(),
            ..Config::default()
        }
    }
}

/// The page.
impl fmt::Display for RecoverySheet {
    fn fmt(&self, page: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(page, "DNSMESH RECOVERY SHEET\n")?;
        writeln!(page, "address:       {}", self.address)?;
        writeln!(
            page,
            "fingerprint:   {}",
            groups(&self.fingerprint.to_string(), 4)
        )?;
        let salt = self.salt.to_hex();
        let (first, second) = salt.split_at_checked(salt.len() / 2).unwrap_or((&salt, ""));
        writeln!(
            page,
            "salt:          {} {}",
            groups(first, 8),
            groups(second, 8)
        )?;
        if let Some(zone) = &self.identity_zone {
            writeln!(page, "identity zone: {zone}")?;
        }
        if let Some(node) = &self.node {
            writeln!(page, "node:          {node}")?;
        }
        page.write_str(
            "
passphrase     ______________________________________________________________
               (by hand, or kept elsewhere; whoever has this page and the
               passphrase is you)

Keep two copies of this page, apart from each other. It is no secret by
itself. Passphrase and salt together make your keys; neither does alone.

WHAT BRINGS BACK WHAT
  this page and the passphrase             your keys and your address
  a backup file, its passphrase and yours  contacts, messages and settings too,
                                           as they were on the day of the backup

TO RESTORE
  with a backup     dnsmesh backup import FILE
  without           type the lines above, each with its word and colon, into a
                    text file, then: dnsmesh backup restore-sheet FILE
  then              dnsmesh register, or dnsmesh tsig register
                    dnsmesh identity publish
                    dnsmesh identity refresh-prekeys
",
        )
    }
}

/// Digits in groups, so that people can copy them.
fn groups(digits: &str, size: usize) -> String {
    let characters: Vec<char> = digits.chars().collect();
    let groups: Vec<String> = characters
        .chunks(size)
        .map(|group| group.iter().collect())
        .collect();
    groups.join(" ")
}
