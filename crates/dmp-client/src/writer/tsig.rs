//! The UPDATE writer: many records per message, signed, confirmed by a signed answer (client.md 4.4, 14, D13, D30).
//!
//! It serves nodes and any other authoritative server that takes RFC 2136, and makes no difference between them.

use std::net::SocketAddr;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use dmp_core::name::Zone;
use dmp_core::owner::OwnerName;
use dmp_dns::tsig::{Algorithm, Key};
use dmp_dns::update::{self, BuildError, UpdateBuilder};
use dmp_dns::{Name, Rcode};
use dmp_net::{UpdateClient, UpdateError};
use zeroize::Zeroizing;

use super::key_file::read_key;
use super::named_ttl_cap;
use crate::error::WriteError;
use crate::mesh::{Applied, Message, Operation, Pending, Writer};

/// A TSIG credential and the zone that it writes to.
#[derive(Clone, Debug)]
pub struct TsigCredential {
    key: Key,
    zone: Name,
}

impl TsigCredential {
    /// A credential as the configuration states it: `tsig_key_name`, `tsig_secret_hex`, `tsig_algorithm`, `tsig_zone`.
    ///
    /// # Errors
    /// [`WriteError::Misconfigured`], naming the setting. Algorithms weaker than hmac-sha256 are refused.
    pub fn parse(
        key_name: &str,
        secret_hex: &str,
        algorithm: &str,
        zone: &Zone,
    ) -> Result<Self, WriteError> {
        let wrong = |setting: &str, reason: &dyn std::fmt::Display| {
            WriteError::Misconfigured(format!("{setting}: {reason}"))
        };
        let name: Name = key_name
            .parse()
            .map_err(|error| wrong("tsig_key_name", &error))?;
        let secret = Zeroizing::new(
            hex::decode(secret_hex).map_err(|error| wrong("tsig_secret_hex", &error))?,
        );
        let algorithm: Algorithm = algorithm
            .parse()
            .map_err(|error| wrong("tsig_algorithm", &error))?;
        let key = Key::new(&name, algorithm, &secret)
            .map_err(|error| wrong("tsig_secret_hex", &error))?;
        let zone = zone
            .as_str()
            .parse()
            .map_err(|error| wrong("tsig_zone", &error))?;
        Ok(Self { key, zone })
    }

    /// A credential as other name servers' tools write it: the secret in base64.
    ///
    /// # Errors
    /// [`WriteError::Misconfigured`] without any part of the secret. Algorithms weaker than hmac-sha256 are refused.
    pub fn from_base64(
        key_name: &str,
        secret: &str,
        algorithm: &str,
        zone: &Zone,
    ) -> Result<Self, WriteError> {
        let wrong = |reason: &dyn std::fmt::Display| {
            WriteError::Misconfigured(format!("TSIG key {key_name}: {reason}"))
        };
        let secret = BASE64_STANDARD
            .decode(secret.trim())
            .map(Zeroizing::new)
            .map_err(|_| wrong(&"the secret is not base64"))?;
        let name: Name = key_name.parse().map_err(|error| wrong(&error))?;
        let algorithm: Algorithm = algorithm.parse().map_err(|error| wrong(&error))?;
        Ok(Self {
            key: Key::new(&name, algorithm, &secret).map_err(|error| wrong(&error))?,
            zone: zone.as_str().parse().map_err(|error| wrong(&error))?,
        })
    }

    /// The credential in the text of a BIND key file: its only key, or the one named.
    ///
    /// # Errors
    /// [`WriteError::Misconfigured`] without any part of the text.
    pub fn from_key_file(
        text: &str,
        key_name: Option<&str>,
        zone: &Zone,
    ) -> Result<Self, WriteError> {
        let key = read_key(text, key_name)
            .map_err(|reason| WriteError::Misconfigured(format!("key file: {reason}")))?;
        Self::from_base64(&key.name, &key.secret, &key.algorithm, zone)
    }
}

/// Writes to one zone at one server.
#[derive(Clone, Debug)]
pub struct TsigWriter {
    client: UpdateClient,
}

impl TsigWriter {
    /// A writer for a server whose address is known ([`Resolvers::server`](crate::reader::Resolvers::server)).
    #[must_use]
    pub fn new(server: SocketAddr, credential: TsigCredential) -> Self {
        Self {
            client: UpdateClient::new(server, credential.zone, Some(credential.key)),
        }
    }

    /// Sends a signed message without operations: it changes nothing, and the answer tells whether the key is good.
    ///
    /// # Errors
    /// What the server says about it.
    pub async fn try_key(&self) -> Result<(), UpdateError> {
        self.client.send(&self.client.message()).await
    }

    /// The next message: as many operations from the front as fit, up to `most`, and how many that is.
    fn fill(
        &self,
        operations: &[Operation],
        most: usize,
    ) -> Result<(UpdateBuilder, usize), WriteError> {
        let mut message = self.client.message();
        let mut count = 0;
        for operation in operations.iter().take(most) {
            let operation = to_update(operation)?;
            let bytes = self.client.wire_len(&message) + message.operation_len(&operation);
            if bytes > dmp_dns::limits::MESSAGE {
                if count == 0 {
                    return Err(WriteError::TooLarge { bytes });
                }
                break;
            }
            message.push(&operation).map_err(|error| match error {
                BuildError::OutsideZone => WriteError::NotZone,
                BuildError::Full => WriteError::TooLarge { bytes },
            })?;
            count += 1;
        }
        Ok((message, count))
    }
}

impl Writer for TsigWriter {
    fn apply<'a>(&'a self, operations: &'a [Operation]) -> Pending<'a, Applied> {
        Box::pin(async move {
            let mut applied = Applied::default();
            let (mut done, mut most) = (0, usize::MAX);
            while done < operations.len() {
                let (message, count) = match self.fill(&operations[done..], most) {
                    Ok(filled) => filled,
                    Err(error) => {
                        applied.messages.push(Message {
                            operations: done..done + 1,
                            bytes: 0,
                            outcome: Err(error),
                        });
                        break;
                    }
                };
                let outcome = self.client.send(&message).await;
                // Some servers take short messages only; nothing of a malformed one was applied (RFC 2136 3.1).
                if count > 1 && is_format_error(&outcome) {
                    most = count / 2;
                    continue;
                }
                let outcome = outcome.map_err(write_error);
                let failed = outcome.is_err();
                applied.messages.push(Message {
                    operations: done..done + count,
                    bytes: self.client.wire_len(&message),
                    outcome,
                });
                if failed {
                    break;
                }
                done += count;
            }
            applied
        })
    }
}

/// Whether the server could not read the message.
const fn is_format_error(outcome: &Result<(), UpdateError>) -> bool {
    matches!(
        outcome,
        Err(UpdateError::Refused {
            rcode: Rcode::FORMERR,
            ..
        })
    )
}

/// What an UPDATE failure means to the user.
pub(super) fn write_error(error: UpdateError) -> WriteError {
    let words = error.to_string();
    match error {
        UpdateError::Refused {
            rcode: Rcode::REFUSED,
            reason,
        } => {
            let reason = reason.unwrap_or_default();
            WriteError::Refused {
                ttl_cap: named_ttl_cap(&reason),
                reason,
            }
        }
        UpdateError::Refused {
            rcode: Rcode::NOTZONE,
            ..
        } => WriteError::NotZone,
        UpdateError::Refused {
            rcode: Rcode::NOTAUTH,
            ..
        }
        | UpdateError::NotAuthenticated { .. } => WriteError::NotAuthorised(words),
        UpdateError::Refused {
            rcode: Rcode::SERVFAIL,
            ..
        } => WriteError::ServerFailure(words),
        UpdateError::Refused { .. } => WriteError::Refused {
            reason: words,
            ttl_cap: None,
        },
        UpdateError::Unsigned { .. } | UpdateError::Garbage => WriteError::Unverified(words),
        UpdateError::Timeout | UpdateError::Unreachable(_) => WriteError::Unreachable(words),
        UpdateError::Build(BuildError::OutsideZone) => WriteError::NotZone,
        UpdateError::Build(BuildError::Full) | UpdateError::Local(_) => {
            WriteError::Misconfigured(words)
        }
    }
}

/// The operation in wire names.
fn to_update(operation: &Operation) -> Result<update::Operation, WriteError> {
    Ok(match operation {
        Operation::Add { owner, ttl, value } => update::Operation::Add {
            owner: to_name(owner)?,
            ttl: *ttl,
            value: value.clone(),
        },
        Operation::DeleteValue { owner, value } => update::Operation::DeleteValue {
            owner: to_name(owner)?,
            value: value.clone(),
        },
        Operation::DeleteRrset { owner } => update::Operation::DeleteRrset {
            owner: to_name(owner)?,
        },
    })
}

pub(super) fn to_name(owner: &OwnerName) -> Result<Name, WriteError> {
    owner
        .as_str()
        .parse()
        .map_err(|_| WriteError::Misconfigured(format!("{owner} is not a DNS name")))
}
