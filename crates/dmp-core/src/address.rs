//! `user@host`, canonical or nonexistent (crypto.md 11.4), and the looser form that people type (records.md 4.3).

use core::fmt;
use core::str::FromStr;

use crate::error::{AddressError, LocalPartError, NameError};
use crate::limits::{ADDRESS_HOST_MAX, ADDRESS_LOCAL_MAX};
use crate::name::{check_labels, is_letter_digit_hyphen};

/// A canonical address: lower case, ASCII, nothing around it. Safe to compare, look up and display.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address {
    text: String,
    at: usize,
}

impl Address {
    /// Canonicalises: trims ASCII white space, lower-cases, drops the host's trailing dots.
    ///
    /// # Errors
    /// Text that has no canonical form; every character counts, so a line feed inside is refused (crypto.md 11.4).
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        let text = text.trim_matches(is_blank).to_ascii_lowercase();
        let (local, host) = text.split_once('@').ok_or(AddressError::Shape)?;
        let host = host.trim_end_matches('.');
        validate_local_part(local).map_err(AddressError::Local)?;
        if host.contains('@') {
            return Err(AddressError::Shape);
        }
        if host.len() > ADDRESS_HOST_MAX {
            return Err(NameError::TooLong(ADDRESS_HOST_MAX).into());
        }
        check_labels(host, is_letter_digit_hyphen)?;
        Ok(Self {
            at: local.len(),
            text: format!("{local}@{host}"),
        })
    }

    /// The address of a local part at a host.
    ///
    /// # Errors
    /// As [`Address::parse`].
    pub fn new(local: &str, host: &str) -> Result<Self, AddressError> {
        Self::parse(&format!("{local}@{host}"))
    }

    /// The part before the `@`.
    #[must_use]
    pub fn local(&self) -> &str {
        self.text
            .split_at_checked(self.at)
            .map_or("", |(local, _)| local)
    }

    /// The part behind the `@`, without trailing dot.
    #[must_use]
    pub fn host(&self) -> &str {
        self.text
            .split_at_checked(self.at.saturating_add(1))
            .map_or("", |(_, host)| host)
    }

    /// The whole text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl fmt::Display for Address {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Address({})", self.text)
    }
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        Self::parse(text)
    }
}

/// What a person typed to look somebody up: split at the first `@`, nothing validated (records.md 4.3).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LookupAddress {
    /// The user name, exactly as typed but for blanks around it: it is hashed byte by byte.
    pub user: String,
    /// The host without blanks around it and trailing dots.
    pub host: String,
}

impl LookupAddress {
    /// Splits the text; `None` if a half is empty or there is no `@`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (user, host) = text.split_once('@')?;
        let (user, host) = (user.trim(), host.trim().trim_end_matches('.'));
        (!user.is_empty() && !host.is_empty()).then(|| Self {
            user: user.to_owned(),
            host: host.to_owned(),
        })
    }
}

/// Checks the local part of a canonical address: `[a-z0-9][a-z0-9_.-]{0,63}`, no dot at the end, no two in a row.
///
/// # Errors
/// The first thing wrong with it; upper case is wrong here.
pub fn validate_local_part(local: &str) -> Result<(), LocalPartError> {
    let plain = |character: char| character.is_ascii_lowercase() || character.is_ascii_digit();
    let first = local.chars().next().ok_or(LocalPartError::Empty)?;
    if !plain(first) {
        return Err(LocalPartError::Character(first));
    }
    if let Some(other) = local
        .chars()
        .find(|character| !plain(*character) && !"_.-".contains(*character))
    {
        return Err(LocalPartError::Character(other));
    }
    if local.len() > ADDRESS_LOCAL_MAX {
        return Err(LocalPartError::TooLong);
    }
    if local.ends_with('.') || local.contains("..") {
        Err(LocalPartError::Dots)
    } else {
        Ok(())
    }
}

/// ASCII white space as crypto.md 11.4 lists it.
const fn is_blank(character: char) -> bool {
    matches!(character, '\u{09}'..='\u{0d}' | '\u{1c}'..='\u{20}')
}
