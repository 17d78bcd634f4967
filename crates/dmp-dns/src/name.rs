//! Domain names in wire form: owned, at most 255 octets, case kept, compared without regard to ASCII case (RFC 4343).
//!
//! No protocol names are made here (owner-name formulas live in dmp-core); this is the DNS side only.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;

use crate::limits;
use crate::wire::{Malformed, Reader};

/// A fully qualified domain name. Equality, order of hashing and suffix tests ignore ASCII case; the bytes keep it.
#[derive(Clone)]
pub struct Name(Box<[u8]>);

impl Name {
    /// The root, `.`.
    pub fn root() -> Self {
        Self(Box::new([0]))
    }

    /// Takes an uncompressed wire form, all of it: labels, then the root label.
    ///
    /// Errors: anything after the root label, pointers, labels above 63 or names above 255 octets.
    pub fn from_wire(wire: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(wire, 0);
        reader.plain_name()?;
        if !reader.is_at_end() {
            return Err(Malformed::Trailing);
        }
        Ok(Self(wire.into()))
    }

    /// Reads a name in a message at `reader`, following compression pointers.
    pub(crate) fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let mut wire = Vec::with_capacity(64);
        reader.name_with(|label| push_label(&mut wire, label))?;
        wire.push(0);
        Ok(Self(wire.into()))
    }

    /// The wire form, root label included, case as given.
    pub fn as_wire(&self) -> &[u8] {
        &self.0
    }

    /// The same name with ASCII letters in lower case: the form under which owners are stored and looked up.
    pub fn to_lower(&self) -> Self {
        // Label lengths are below 64 and so never in the range of letters.
        Self(self.0.to_ascii_lowercase().into())
    }

    /// Labels from the left, the root label left out.
    pub fn labels(&self) -> Labels<'_> {
        Labels { rest: &self.0 }
    }

    /// Whether this name is `ancestor` or lies below it, label by label, ignoring ASCII case.
    pub fn is_under(&self, ancestor: &Self) -> bool {
        is_under(&self.0, &ancestor.0)
    }

    /// The name without its leftmost label; the root has none.
    pub fn parent(&self) -> Option<Self> {
        parent(&self.0).map(|wire| Self(wire.into()))
    }

    /// The same name with the case of each letter set by one bit of `bits` (DNS-0x20): a resolver echoes it, a blind forger cannot.
    pub fn with_case(&self, bits: &[u8; 32]) -> Self {
        let mut wire = self.0.clone();
        for (position, octet) in wire.iter_mut().enumerate() {
            let byte = bits.get(position / 8).copied().unwrap_or(0);
            if octet.is_ascii_alphabetic() && byte >> (position % 8) & 1 == 1 {
                *octet ^= 0x20;
            }
        }
        Self(wire)
    }
}

/// Labels of a name from the left; see [`Name::labels`].
#[derive(Clone)]
pub struct Labels<'a> {
    rest: &'a [u8],
}

impl<'a> Labels<'a> {
    /// Labels of an uncompressed wire form that [`Name::from_wire`] would take.
    pub fn of_wire(wire: &'a [u8]) -> Self {
        Self { rest: wire }
    }
}

impl<'a> Iterator for Labels<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let (&length, rest) = self.rest.split_first()?;
        if length == 0 {
            return None;
        }
        let (label, rest) = rest.split_at_checked(usize::from(length))?;
        self.rest = rest;
        Some(label)
    }
}

/// Whether wire form `name` is wire form `ancestor` or lies below it, ignoring ASCII case; compares whole labels only.
pub fn is_under(name: &[u8], ancestor: &[u8]) -> bool {
    let mut rest = Some(name);
    while let Some(suffix) = rest {
        if suffix.len() <= ancestor.len() {
            return suffix.eq_ignore_ascii_case(ancestor);
        }
        rest = parent(suffix);
    }
    false
}

/// The wire form without its leftmost label; `None` for the root.
pub fn parent(wire: &[u8]) -> Option<&[u8]> {
    let (&length, rest) = wire.split_first()?;
    if length == 0 {
        None
    } else {
        rest.get(usize::from(length)..)
    }
}

impl FromStr for Name {
    type Err = Malformed;

    /// Presentation form (RFC 1035 5.1): labels between dots, `\.` and `\DDD` escapes, one trailing dot optional, `.` is the root.
    fn from_str(text: &str) -> Result<Self, Malformed> {
        if text == "." {
            return Ok(Self::root());
        }
        let mut wire = Vec::with_capacity(text.len().saturating_add(2));
        let mut label = Vec::with_capacity(limits::LABEL);
        let mut octets = text.bytes();
        let mut after_dot = false;
        while let Some(octet) = octets.next() {
            after_dot = false;
            match octet {
                b'.' => {
                    finish_label(&mut wire, &mut label)?;
                    after_dot = true;
                }
                b'\\' => label.push(escaped(&mut octets)?),
                other => label.push(other),
            }
            if label.len() > limits::LABEL {
                return Err(Malformed::NameTooLong);
            }
        }
        if !after_dot {
            finish_label(&mut wire, &mut label)?;
        }
        wire.push(0);
        if wire.len() > limits::NAME {
            return Err(Malformed::NameTooLong);
        }
        Ok(Self(wire.into()))
    }
}

impl fmt::Display for Name {
    /// Presentation form without the trailing dot, as DMP writes names; the root is `.`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut labels = self.labels().peekable();
        if labels.peek().is_none() {
            return f.write_str(".");
        }
        let mut first = true;
        for label in labels {
            if !first {
                f.write_str(".")?;
            }
            first = false;
            for &octet in label {
                match octet {
                    b'.' | b'\\' | b'"' | b';' | b'(' | b')' | b'@' | b'$' => {
                        write!(f, "\\{}", char::from(octet))?
                    }
                    0x21..=0x7e => write!(f, "{}", char::from(octet))?,
                    other => write!(f, "\\{other:03}")?,
                }
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Name({self})")
    }
}

impl PartialEq for Name {
    fn eq(&self, other: &Self) -> bool {
        self.0.eq_ignore_ascii_case(&other.0)
    }
}

impl Eq for Name {}

impl Hash for Name {
    fn hash<H: Hasher>(&self, state: &mut H) {
        for octet in &self.0 {
            state.write_u8(octet.to_ascii_lowercase());
        }
    }
}

pub(crate) fn push_label(wire: &mut Vec<u8>, label: &[u8]) {
    // Labels handed in were read from a length octet below 64.
    wire.push(label.len() as u8);
    wire.extend_from_slice(label);
}

fn finish_label(wire: &mut Vec<u8>, label: &mut Vec<u8>) -> Result<(), Malformed> {
    if label.is_empty() {
        return Err(Malformed::NameText);
    }
    push_label(wire, label);
    label.clear();
    Ok(())
}

/// The octet after a backslash: three decimal digits, or any other character as itself.
fn escaped(octets: &mut impl Iterator<Item = u8>) -> Result<u8, Malformed> {
    let first = octets.next().ok_or(Malformed::NameText)?;
    if !first.is_ascii_digit() {
        return Ok(first);
    }
    let mut value = u16::from(first - b'0');
    for _ in 0..2 {
        let digit = octets
            .next()
            .filter(u8::is_ascii_digit)
            .ok_or(Malformed::NameText)?;
        value = value * 10 + u16::from(digit - b'0');
    }
    u8::try_from(value).map_err(|_| Malformed::NameText)
}
