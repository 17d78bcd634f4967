//! DNS names as text: the publishable-name rule and the zones that owner names are built under. Knows no wire form.

use core::fmt;
use core::str::FromStr;

use crate::error::NameError;
use crate::limits::{DOMAIN_MAX, LABEL_MAX, ZONE_MAX};

/// Checks the publishable-name rule of records.md 4.1: letters, digits and hyphens, at most one trailing dot, no total length.
///
/// # Errors
/// The first thing wrong with it.
pub fn validate_publishable(text: &str) -> Result<(), NameError> {
    let name = text.strip_suffix('.').unwrap_or(text);
    check_labels(name, is_letter_digit_hyphen)
}

/// A zone: lower case, no trailing dot, short enough that every owner name under it fits (records.md 4.2).
///
/// Labels are those of records.md 4.1 and may also hold underscores.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Zone(String);

impl Zone {
    /// Lower-cases the text and drops its trailing dots.
    ///
    /// # Errors
    /// A name that is empty, longer than 226 characters, or breaks the label rule.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        let name = text.trim_end_matches('.');
        if name.len() > ZONE_MAX {
            return Err(NameError::TooLong(ZONE_MAX));
        }
        check_labels(name, |character| {
            is_letter_digit_hyphen(character) || character == '_'
        })?;
        Ok(Self(name.to_ascii_lowercase()))
    }

    /// The canonical text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether `name` is the zone itself or lies below it, label by label, whatever its case and one trailing dot.
    #[must_use]
    pub fn contains(&self, name: &str) -> bool {
        let name = name.strip_suffix('.').unwrap_or(name);
        name.len()
            .checked_sub(self.0.len())
            .and_then(|start| name.split_at_checked(start))
            .is_some_and(|(below, tail)| {
                tail.eq_ignore_ascii_case(&self.0) && (below.is_empty() || below.ends_with('.'))
            })
    }
}

/// A publishable name of at most 64 bytes is a zone.
impl From<&DomainName> for Zone {
    fn from(name: &DomainName) -> Self {
        Self(name.0.to_ascii_lowercase())
    }
}

impl fmt::Display for Zone {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl fmt::Debug for Zone {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Zone({})", self.0)
    }
}

impl FromStr for Zone {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        Self::parse(text)
    }
}

/// A publishable name of at most 64 bytes in the case it was written in: cluster names, bootstrap domains and
/// operator subjects (records.md 4.1, 10-12). Equal means equal ignoring ASCII case.
#[derive(Clone)]
pub struct DomainName(String);

impl DomainName {
    /// Drops one trailing dot.
    ///
    /// # Errors
    /// A name that breaks the publishable-name rule or is longer than 64 bytes without the dot.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        validate_publishable(text)?;
        let name = text.strip_suffix('.').unwrap_or(text);
        if name.len() > DOMAIN_MAX {
            Err(NameError::TooLong(DOMAIN_MAX))
        } else {
            Ok(Self(name.to_owned()))
        }
    }

    /// The text as written, without the dot.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl PartialEq for DomainName {
    fn eq(&self, other: &Self) -> bool {
        self.0.eq_ignore_ascii_case(&other.0)
    }
}

impl Eq for DomainName {}

impl fmt::Display for DomainName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl fmt::Debug for DomainName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "DomainName({})", self.0)
    }
}

impl FromStr for DomainName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        Self::parse(text)
    }
}

/// The label rule shared by all kinds of names; `name` has no trailing dot any more.
pub(crate) fn check_labels(name: &str, allowed: impl Fn(char) -> bool) -> Result<(), NameError> {
    if name.is_empty() {
        return Err(NameError::Empty);
    }
    for label in name.split('.') {
        if label.is_empty() {
            return Err(NameError::EmptyLabel);
        }
        if let Some(character) = label.chars().find(|character| !allowed(*character)) {
            return Err(NameError::Character(character));
        }
        if label.len() > LABEL_MAX {
            return Err(NameError::LongLabel);
        }
        if label.starts_with('-') || label.ends_with('-') {
            return Err(NameError::Hyphen);
        }
    }
    Ok(())
}

pub(crate) const fn is_letter_digit_hyphen(character: char) -> bool {
    character.is_ascii_alphanumeric() || character == '-'
}
