//! Why a record, name or key was refused, with stable machine codes. Prints and logs nothing.

use thiserror::Error;

/// A record was not accepted. Never fatal for its siblings (records.md 1, "reject").
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Error)]
pub enum RecordError {
    /// The text is not a record of this type.
    #[error("malformed record: {0}")]
    Malformed(Malformed),
    /// A well-formed record that is not acceptable here and now.
    #[error("record refused: {0}")]
    Rejected(Rejected),
}

impl RecordError {
    /// The stable machine code of the reason.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Malformed(reason) => reason.code(),
            Self::Rejected(reason) => reason.code(),
        }
    }
}

impl From<Malformed> for RecordError {
    fn from(reason: Malformed) -> Self {
        Self::Malformed(reason)
    }
}

impl From<Rejected> for RecordError {
    fn from(reason: Rejected) -> Self {
        Self::Rejected(reason)
    }
}

/// A value that breaks the layout or a field rule; the same rules hold when signing (records.md 3.4).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Error)]
pub enum Malformed {
    /// Another record type, or no DMP record at all.
    #[error("another record type")]
    Prefix,
    /// Longer than the type's wire cap.
    #[error("longer than its type allows")]
    TooLong,
    /// Not canonical base64 (D5).
    #[error("not canonical base64")]
    Base64,
    /// Too short, too long, or bytes behind the last field.
    #[error("wrong length")]
    Length,
    /// The body starts with another type's magic.
    #[error("wrong magic")]
    Magic,
    /// A text field is not UTF-8, or not ASCII where that is required.
    #[error("text in a wrong encoding")]
    Text,
    /// The named field breaks its rule.
    #[error("{0} is not valid")]
    Field(&'static str),
}

impl Malformed {
    /// The stable machine code of the reason.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Prefix => "malformed-prefix",
            Self::TooLong => "malformed-too-long",
            Self::Base64 => "malformed-base64",
            Self::Length => "malformed-length",
            Self::Magic => "malformed-magic",
            Self::Text => "malformed-text",
            Self::Field(_) => "malformed-field",
        }
    }
}

/// A well-formed record that its reader must not use.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Error)]
pub enum Rejected {
    /// The key has low order; a signing key is one of the 14 encodings of records.md 3.2.
    #[error("the key has low order")]
    LowOrderKey,
    /// The signature does not verify.
    #[error("the signature does not verify")]
    Signature,
    /// The proof of possession does not verify.
    #[error("the proof of possession does not verify")]
    Proof,
    /// The key in the record is not the expected one.
    #[error("signed for another key")]
    OtherKey,
    /// The name or subject in the record is not the expected one.
    #[error("bound to another name")]
    OtherName,
    /// `exp` has passed.
    #[error("expired")]
    Expired,
    /// `exp` lies further ahead than the type allows.
    #[error("expires too far ahead")]
    TooFarAhead,
    /// `ts` lies in the future by more than the tolerated skew.
    #[error("dated in the future")]
    Future,
    /// `ts` is older than the caller's maximum age or skew.
    #[error("too old")]
    TooOld,
}

impl Rejected {
    /// The stable machine code of the reason.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::LowOrderKey => "rejected-low-order-key",
            Self::Signature => "rejected-signature",
            Self::Proof => "rejected-proof",
            Self::OtherKey => "rejected-other-key",
            Self::OtherName => "rejected-other-name",
            Self::Expired => "rejected-expired",
            Self::TooFarAhead => "rejected-too-far-ahead",
            Self::Future => "rejected-future",
            Self::TooOld => "rejected-too-old",
        }
    }
}

/// A record could not be signed; the caller passed something that no reader would accept (misuse).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Error)]
pub enum EncodeError {
    /// A field or the whole breaks the record's rules.
    #[error("cannot sign: {0}")]
    Invalid(#[from] Malformed),
    /// The key offered is not the one the record names.
    #[error("cannot sign: the key is not the one in the record")]
    OtherKey,
}

/// Text that is not a DNS name of the wanted kind.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Error)]
pub enum NameError {
    /// Nothing but dots.
    #[error("the name is empty")]
    Empty,
    /// Longer than the kind of name allows.
    #[error("the name is longer than {0} characters")]
    TooLong(usize),
    /// An empty label: two dots in a row, or a dot in front.
    #[error("the name has an empty label")]
    EmptyLabel,
    /// A label of more than 63 characters.
    #[error("a label is longer than 63 characters")]
    LongLabel,
    /// A character that the rule does not allow.
    #[error("the character {0:?} is not allowed")]
    Character(char),
    /// A single label where a domain is wanted.
    #[error("the name has only one label")]
    OneLabel,
    /// A hyphen at either end of a label.
    #[error("a label starts or ends with a hyphen")]
    Hyphen,
}

/// Text that is not an address.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Error)]
pub enum AddressError {
    /// Not exactly one `@`, or nothing beside it.
    #[error("an address has the form user@host")]
    Shape,
    /// The part before the `@` breaks the rule.
    #[error("user name: {0}")]
    Local(LocalPartError),
    /// The part behind the `@` breaks the rule.
    #[error("host: {0}")]
    Host(#[from] NameError),
}

/// Text that is not an address URI.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Error)]
pub enum UriError {
    /// Longer than any address URI.
    #[error("longer than {0} characters")]
    TooLong(usize),
    /// Another scheme, or none.
    #[error("an address URI begins with `dmp:`")]
    Scheme,
    /// The part before the `?`.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// Not `name=value` pairs of the allowed characters.
    #[error("expected dmp:user@host?x=KEY&s=KEY and nothing else")]
    Form,
    /// A parameter that occurs twice.
    #[error("the parameter `{0}` occurs twice")]
    Twice(String),
    /// A key that is not there.
    #[error("the parameter `{0}` is missing")]
    Missing(&'static str),
    /// A key that is not 32 bytes of base32.
    #[error("the parameter `{0}` is not a key of 52 characters")]
    Key(&'static str),
    /// The mailbox zone breaks the rule for names.
    #[error("mailbox zone: {0}")]
    Mailbox(NameError),
    /// A condition that this reader does not know.
    #[error("the parameter `{0}` demands something that this version does not know")]
    Required(String),
}

/// Text that is not a local part.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Error)]
pub enum LocalPartError {
    /// Nothing there.
    #[error("it is empty")]
    Empty,
    /// More than 64 characters.
    #[error("it is longer than 64 characters")]
    TooLong,
    /// A character that is not allowed at its place.
    #[error("the character {0:?} is not allowed there")]
    Character(char),
    /// A dot at the end, or two in a row.
    #[error("a dot at its end or two in a row")]
    Dots,
}

/// Text or bytes that are not a key, salt or identifier.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Error)]
pub enum KeyError {
    /// Not hex digits of the exact length.
    #[error("expected {0} hexadecimal digits")]
    Hex(usize),
    /// A salt of fewer than 8 bytes (crypto.md 2).
    #[error("a salt has at least 8 bytes, written as hexadecimal digits")]
    Salt,
    /// A peer's key of low order, which gives everybody the same secret.
    #[error("the other side's key has low order")]
    LowOrder,
    /// The key derivation refused its input.
    #[error("the passphrase or salt is too long for the key derivation")]
    Derivation,
}
