//! Whose key a rotation or revocation speaks of (records.md 12.1), and how a reader binds it. Proves nothing itself.

use core::fmt;

use crate::codec::{Reader, Writer};
use crate::error::{EncodeError, Malformed, Rejected};
use crate::keys::{Signer, SigningPublicKey};
use crate::limits::USER_SUBJECT_MAX;
use crate::name::{DomainName, Zone, validate_publishable};
use crate::owner::{
    OwnerName, rotation_owner_anchored, rotation_owner_bootstrap, rotation_owner_cluster,
    rotation_owner_hashed,
};

/// What kind of key is rotated or revoked.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum SubjectKind {
    /// A person, `user@host`.
    User = 1,
    /// A cluster's operator, by the cluster's base domain.
    ClusterOperator = 2,
    /// A zone's bootstrap signer, by the user domain.
    BootstrapSigner = 3,
}

/// A key's role. Equal as records.md 12.2 compares: hosts and domains without regard to case and one trailing dot,
/// user names exactly.
#[derive(Clone)]
pub struct Subject {
    kind: SubjectKind,
    text: String,
}

impl Subject {
    /// A subject from its text.
    ///
    /// # Errors
    /// A user subject that is not `user@host` with a publishable host in at most 255 bytes; another that is not a
    /// publishable name of at most 64 bytes. Two trailing dots are refused.
    pub fn parse(kind: SubjectKind, text: &str) -> Result<Self, Malformed> {
        let valid = match kind {
            SubjectKind::User => {
                text.len() <= USER_SUBJECT_MAX
                    && halves(text).is_some_and(|(user, host)| {
                        !user.is_empty() && validate_publishable(host).is_ok()
                    })
            }
            // The dot counts against the 64 bytes here, unlike in a cluster manifest.
            SubjectKind::ClusterOperator | SubjectKind::BootstrapSigner => {
                text.len() <= crate::limits::DOMAIN_MAX && validate_publishable(text).is_ok()
            }
        };
        if valid {
            Ok(Self {
                kind,
                text: text.to_owned(),
            })
        } else {
            Err(Malformed::Field("subject"))
        }
    }

    /// The person `user` at `host`, a mesh or identity zone.
    ///
    /// # Errors
    /// As [`Subject::parse`].
    pub fn user(user: &str, host: &str) -> Result<Self, Malformed> {
        Self::parse(SubjectKind::User, &format!("{user}@{host}"))
    }

    /// What kind of key it is.
    #[must_use]
    pub const fn kind(&self) -> SubjectKind {
        self.kind
    }

    /// The text as it is signed.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Where its rotations and revocations are: two names for a user, one for the others, none that DNS could not ask for.
    #[must_use]
    pub fn owner_names(&self) -> Vec<OwnerName> {
        match self.kind {
            SubjectKind::User => halves(&self.text)
                .and_then(|(user, host)| Some((user, Zone::parse(host).ok()?)))
                .map(|(user, zone)| {
                    vec![
                        rotation_owner_anchored(&zone),
                        rotation_owner_hashed(user, &zone),
                    ]
                })
                .unwrap_or_default(),
            SubjectKind::ClusterOperator => self
                .domain()
                .map(|base| rotation_owner_cluster(&base))
                .into_iter()
                .collect(),
            SubjectKind::BootstrapSigner => self
                .domain()
                .map(|domain| rotation_owner_bootstrap(&domain))
                .into_iter()
                .collect(),
        }
    }

    /// A person's keys sign for a person, an operator's for an operator.
    pub(crate) fn check_signer(&self, signer: &Signer<'_>) -> Result<(), EncodeError> {
        match (self.kind, signer) {
            (SubjectKind::User, Signer::Person(_)) => Ok(()),
            (SubjectKind::ClusterOperator | SubjectKind::BootstrapSigner, Signer::Operator(_)) => {
                Ok(())
            }
            _ => Err(EncodeError::OtherKey),
        }
    }

    pub(crate) fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let kind = match reader.u8()? {
            1 => SubjectKind::User,
            2 => SubjectKind::ClusterOperator,
            3 => SubjectKind::BootstrapSigner,
            _ => return Err(Malformed::Field("subject type")),
        };
        Self::parse(kind, reader.text8()?)
    }

    pub(crate) fn write(&self, body: &mut Writer) -> Result<(), Malformed> {
        body.u8(self.kind as u8).text8(&self.text)?;
        Ok(())
    }

    fn domain(&self) -> Option<DomainName> {
        DomainName::parse(&self.text).ok()
    }

    /// The parts that are compared: the exact one and the one compared as a DNS name.
    fn compared(&self) -> (&str, &str) {
        let (user, host) = match self.kind {
            SubjectKind::User => halves(&self.text).unwrap_or_default(),
            SubjectKind::ClusterOperator | SubjectKind::BootstrapSigner => ("", self.text.as_str()),
        };
        (user, host.strip_suffix('.').unwrap_or(host))
    }
}

impl PartialEq for Subject {
    fn eq(&self, other: &Self) -> bool {
        let ((user, host), (other_user, other_host)) = (self.compared(), other.compared());
        self.kind == other.kind && user == other_user && host.eq_ignore_ascii_case(other_host)
    }
}

impl Eq for Subject {}

impl fmt::Display for Subject {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}

impl fmt::Debug for Subject {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:?}({})", self.kind, self.text)
    }
}

/// What the reader of a rotation or revocation expects it to be about; `None` expects nothing.
#[derive(Clone, Copy, Default, Debug)]
pub struct Binding<'a> {
    /// The rotated or revoked key.
    pub key: Option<&'a SigningPublicKey>,
    /// Whose key it is.
    pub subject: Option<&'a Subject>,
}

impl Binding<'_> {
    pub(crate) fn check(&self, key: &SigningPublicKey, subject: &Subject) -> Result<(), Rejected> {
        if self.key.is_some_and(|expected| expected != key) {
            return Err(Rejected::OtherKey);
        }
        if self.subject.is_some_and(|expected| expected != subject) {
            return Err(Rejected::OtherName);
        }
        Ok(())
    }
}

/// User and host without the blanks around them, split at the first `@`.
fn halves(text: &str) -> Option<(&str, &str)> {
    text.split_once('@')
        .map(|(user, host)| (user.trim(), host.trim()))
}
