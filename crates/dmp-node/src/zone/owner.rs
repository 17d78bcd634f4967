//! Owner names as the node stores them: lower case, label-wise, of the publishable octets only (W-12).
//!
//! Names in queries may hold any octets and never become an [`Owner`]; they are looked up as wire octets.

use std::borrow::Borrow;
use std::fmt;

use thiserror::Error;

use crate::limits::{LABEL_OCTETS, NAME_OCTETS};

/// A lower-case owner name in uncompressed wire form, its octets limited to `[a-z0-9_-]` and the label lengths.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Owner(Box<[u8]>);

/// Why a text or wire name is not a storable owner name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum OwnerError {
    /// No label at all, an empty label, or a label above 63 octets.
    #[error("a label is empty or longer than 63 octets")]
    Label,
    /// More than 255 octets in wire form.
    #[error("the name is longer than 255 octets")]
    Length,
    /// An octet outside `[A-Za-z0-9_-]` (W-12).
    #[error("the name holds an octet outside A-Z a-z 0-9 _ -")]
    Octet,
}

impl Owner {
    /// Parses `a.b.c`, with or without a trailing dot, in any letter case.
    pub fn parse(text: &str) -> Result<Self, OwnerError> {
        Self::parse_octets(text.as_bytes())
    }

    /// [`Owner::parse`] of text that is not known to be UTF-8.
    pub(crate) fn parse_octets(text: &[u8]) -> Result<Self, OwnerError> {
        let text = text.strip_suffix(b".").unwrap_or(text);
        let mut wire = [0; NAME_OCTETS];
        let octets = text.len() + 2; // a length octet for each dot and for the first label, and the root
        let place = wire.get_mut(..octets).ok_or(OwnerError::Length)?;
        let (mut length_at, mut length) = (0, 0);
        for (at, octet) in text.iter().enumerate() {
            if *octet == b'.' {
                place[length_at] = label_length(length)?;
                (length_at, length) = (at + 1, 0);
            } else {
                place[at + 1] = storable(*octet)?;
                length += 1;
            }
        }
        place[length_at] = label_length(length)?;
        Ok(Self(Box::from(&*place)))
    }

    /// Takes an uncompressed wire name, ending in its root label, in any letter case.
    pub fn from_wire(name: &[u8]) -> Result<Self, OwnerError> {
        let mut wire = Vec::with_capacity(name.len());
        let mut rest = name;
        while let Some((&length, tail)) = rest.split_first() {
            if length == 0 {
                if !tail.is_empty() || wire.is_empty() {
                    return Err(OwnerError::Label);
                }
                return Self::finish(wire);
            }
            let label = tail.get(..usize::from(length)).ok_or(OwnerError::Label)?;
            push_label(&mut wire, label)?;
            rest = &tail[label.len()..];
        }
        Err(OwnerError::Label)
    }

    /// The wire form, root label included.
    pub fn as_wire(&self) -> &[u8] {
        &self.0
    }

    /// The labels from left to right, without the root.
    pub fn labels(&self) -> Labels<'_> {
        Labels(&self.0)
    }

    /// How many labels there are, the root not counted.
    pub fn label_count(&self) -> usize {
        self.labels().count()
    }

    /// Whether this name equals `zone` or is below it, label by label.
    pub fn is_under(&self, zone: &Owner) -> bool {
        let mut rest = self.as_wire();
        while rest.len() > zone.0.len() {
            let Some(above) = parent_wire(rest) else {
                return false;
            };
            rest = above;
        }
        rest == zone.as_wire()
    }

    /// The name one label up; `None` from a single label, since the root owns nothing here.
    pub fn parent(&self) -> Option<Owner> {
        let rest = parent_wire(&self.0)?;
        (rest.len() > 1).then(|| Self(rest.into()))
    }

    /// Appends the presentation form without the trailing dot to `text`.
    pub(crate) fn write(&self, text: &mut String) {
        for (index, label) in self.labels().enumerate() {
            if index > 0 {
                text.push('.');
            }
            text.push_str(label);
        }
    }

    fn finish(mut wire: Vec<u8>) -> Result<Self, OwnerError> {
        wire.push(0);
        if wire.len() > NAME_OCTETS {
            return Err(OwnerError::Length);
        }
        Ok(Self(wire.into_boxed_slice()))
    }
}

/// An owner name is found by its wire form.
impl Borrow<[u8]> for Owner {
    fn borrow(&self) -> &[u8] {
        &self.0
    }
}

/// The wire name one label up; `None` at the root.
pub(crate) fn parent_wire(wire: &[u8]) -> Option<&[u8]> {
    let length = usize::from(*wire.first()?);
    if length == 0 {
        return None;
    }
    wire.get(1 + length..)
}

fn push_label(wire: &mut Vec<u8>, label: &[u8]) -> Result<(), OwnerError> {
    wire.push(label_length(label.len())?);
    for octet in label {
        wire.push(storable(*octet)?);
    }
    Ok(())
}

fn label_length(octets: usize) -> Result<u8, OwnerError> {
    match u8::try_from(octets) {
        Ok(length @ 1..) if octets <= LABEL_OCTETS => Ok(length),
        _ => Err(OwnerError::Label),
    }
}

/// The octet in lower case, if it may be stored.
fn storable(octet: u8) -> Result<u8, OwnerError> {
    match octet {
        b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-' => Ok(octet),
        b'A'..=b'Z' => Ok(octet.to_ascii_lowercase()),
        _ => Err(OwnerError::Octet),
    }
}

/// The labels of an [`Owner`].
#[derive(Clone, Debug)]
pub struct Labels<'a>(&'a [u8]);

impl<'a> Iterator for Labels<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        let (&length, tail) = self.0.split_first()?;
        if length == 0 {
            return None;
        }
        let (label, rest) = tail.split_at_checked(usize::from(length))?;
        self.0 = rest;
        std::str::from_utf8(label).ok() // ASCII by construction
    }
}

impl fmt::Display for Owner {
    /// The presentation form without the trailing dot; no octet needs escaping.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, label) in self.labels().enumerate() {
            if index > 0 {
                f.write_str(".")?;
            }
            f.write_str(label)?;
        }
        Ok(())
    }
}

impl fmt::Debug for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_wire_give_one_lower_case_name() {
        let name = Owner::parse("Slot-1.MB-aa.Mesh.Test.").unwrap();
        assert_eq!(name.to_string(), "slot-1.mb-aa.mesh.test");
        assert_eq!(
            Owner::from_wire(b"\x06SLOT-1\x05mb-aa\x04mesh\x04test\0").unwrap(),
            name
        );
        assert_eq!(name.label_count(), 4);
        assert_eq!(name.parent().unwrap().to_string(), "mb-aa.mesh.test");
        assert_eq!(Owner::parse("test").unwrap().parent(), None);
    }

    #[test]
    fn suffixes_are_compared_on_labels_never_on_text() {
        let zone = Owner::parse("mesh.test").unwrap();
        assert!(zone.is_under(&zone));
        assert!(Owner::parse("a.mesh.test").unwrap().is_under(&zone));
        assert!(!Owner::parse("amesh.test").unwrap().is_under(&zone));
        assert!(!Owner::parse("test").unwrap().is_under(&zone));
        // A literal dot inside a label is an octet that no stored name may hold (W-12).
        assert_eq!(
            Owner::from_wire(b"\x10chunk-1-2.mesh.x\x04test\0"),
            Err(OwnerError::Octet)
        );
    }

    #[test]
    fn what_is_not_a_publishable_name_is_refused() {
        for text in ["", ".", "a..b", "*.a", "a b", "ä.test"] {
            assert!(Owner::parse(text).is_err(), "{text:?}");
        }
        assert_eq!(Owner::parse(&"a".repeat(64)), Err(OwnerError::Label));
        assert_eq!(Owner::parse(&["a"; 128].join(".")), Err(OwnerError::Length));
        assert!(Owner::parse(&["a"; 127].join(".")).is_ok());
        for wire in [&b""[..], b"\0", b"\x01a", b"\x02a\0", b"\x01a\0\0"] {
            assert!(Owner::from_wire(wire).is_err());
        }
    }
}
