//! Sending UPDATE messages, signed or not, and understanding what the server says to them (client.md 4.4, 4.5).
//!
//! An answer to a signed request counts only if it is signed as well; everything else is a failure with a reason.

use std::net::SocketAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use dmp_dns::message::{CaseMatch, Response};
use dmp_dns::tsig::{self, Key, RequestSignature, VerifyError};
use dmp_dns::update::{BuildError, UpdateBuilder};
use dmp_dns::{Name, Rcode};

use crate::exchange::{self, ExchangeError};
use crate::limits;

/// Sends UPDATE messages for one zone to one server.
#[derive(Clone, Debug)]
pub struct UpdateClient {
    server: SocketAddr,
    zone: Name,
    key: Option<Key>,
    timeout: Duration,
}

/// Why an UPDATE did not take effect, or cannot be known to have.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum UpdateError {
    /// The server says no. Signed if the request was, so it is the server's own word.
    #[error("{}", refusal(*rcode, reason.as_deref()))]
    Refused {
        /// Its response code.
        rcode: Rcode,
        /// What it adds in words (RFC 8914), if anything.
        reason: Option<String>,
    },
    /// NOTAUTH about the signature: key unknown, wrong secret, or clock off.
    #[error("{}", not_authenticated(*error, *server_time))]
    NotAuthenticated {
        /// The TSIG error, if the server told one.
        error: Option<tsig::TsigError>,
        /// The server's Unix time, signed by it, if the clocks are too far apart.
        server_time: Option<u64>,
    },
    /// An answer came that is not signed although the request was: nothing it says counts.
    #[error(
        "the answer ({rcode}) is not signed, so it proves nothing; the server may be too old or not the right one"
    )]
    Unsigned {
        /// What it claims.
        rcode: Rcode,
    },
    /// No answer in time, none that verifies.
    #[error(
        "no answer in time: the server is unreachable, or its limit for this address is used up"
    )]
    Timeout,
    /// The network failed.
    #[error("the server cannot be reached: {0}")]
    Unreachable(String),
    /// Something answered, but not to this request.
    #[error("the answer cannot be read or does not verify")]
    Garbage,
    /// The message could not be made.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// The machine lacks randomness or a usable clock.
    #[error("{0}")]
    Local(String),
}

impl UpdateClient {
    /// A client for `zone` at `server`; without a key its messages are unsigned (claims, client.md 4.5).
    pub fn new(server: SocketAddr, zone: Name, key: Option<Key>) -> Self {
        Self {
            server,
            zone,
            key,
            timeout: limits::UPDATE,
        }
    }

    /// With another deadline than 5 s for each transport.
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Where the messages go.
    pub fn server(&self) -> SocketAddr {
        self.server
    }

    /// The zone they are for.
    pub fn zone(&self) -> &Name {
        &self.zone
    }

    /// An empty message for the zone.
    pub fn message(&self) -> UpdateBuilder {
        UpdateBuilder::new(&self.zone)
    }

    /// Octets a message of this client has on the wire, its signature included: up to 1232 go over UDP.
    pub fn wire_len(&self, message: &UpdateBuilder) -> usize {
        message.message_len() + self.key.as_ref().map_or(0, Key::record_len)
    }

    /// Sends one message and returns when the server has confirmed it: over UDP up to 1232 octets (the identical datagram
    /// once more after 2 s, TCP if the answer is truncated), else over TCP. SERVFAIL is tried once more.
    pub async fn send(&self, message: &UpdateBuilder) -> Result<(), UpdateError> {
        match self.try_once(message).await {
            Err(UpdateError::Refused {
                rcode: Rcode::SERVFAIL,
                ..
            }) => {
                tokio::time::sleep(limits::update_retry(self.timeout)).await;
                // With a new id and time, so that a node's memory of answered requests does not answer it.
                self.try_once(message).await
            }
            outcome => outcome,
        }
    }

    async fn try_once(&self, message: &UpdateBuilder) -> Result<(), UpdateError> {
        let id = exchange::random_id().map_err(|error| UpdateError::Local(error.to_string()))?;
        let mut request = message.build(id);
        let signature = match &self.key {
            Some(key) => Some(
                tsig::sign_request(key, &mut request, unix_now()?).map_err(|_| BuildError::Full)?,
            ),
            None => None,
        };
        if request.len() <= limits::UPDATE_UDP {
            let answer = exchange::udp(self.server, &request, self.timeout, |answer| {
                judge(&request, signature.as_ref(), answer)
            });
            match answer.await.map_err(lost)? {
                Verdict::Truncated => {}
                Verdict::Done(outcome) => return outcome,
            }
        }
        let answer = exchange::tcp(self.server, &request, self.timeout)
            .await
            .map_err(lost)?;
        match judge(&request, signature.as_ref(), &answer) {
            Some(Verdict::Done(outcome)) => outcome,
            Some(Verdict::Truncated) | None => Err(UpdateError::Garbage),
        }
    }
}

enum Verdict {
    /// TC=1: the same over TCP.
    Truncated,
    Done(Result<(), UpdateError>),
}

/// What an answer means; `None` if it is not an answer to this request by who it should come from.
fn judge(
    request: &[u8],
    signature: Option<&RequestSignature<'_>>,
    answer: &[u8],
) -> Option<Verdict> {
    let response = Response::parse(answer)
        .ok()
        .filter(|response| response.is_answer_to(request, CaseMatch::Folded))?;
    let rcode = response.rcode;
    let refused = || UpdateError::Refused {
        rcode,
        reason: response
            .extended_error
            .as_ref()
            .map(|(_, text)| text.clone())
            .filter(|text| !text.is_empty()),
    };
    let plain = || {
        if rcode == Rcode::NOERROR {
            Ok(())
        } else {
            Err(refused())
        }
    };
    let not_authenticated =
        |error, server_time| Err(UpdateError::NotAuthenticated { error, server_time });
    let Some(signature) = signature else {
        return Some(if response.truncated {
            Verdict::Truncated
        } else {
            Verdict::Done(plain())
        });
    };
    let outcome = match signature.verify_answer(answer, unix_now().ok()?) {
        Ok(()) if response.truncated => return Some(Verdict::Truncated),
        Ok(()) => plain(),
        Err(VerifyError::Rejected(error) | VerifyError::Complaint(error)) => {
            not_authenticated(Some(error), None)
        }
        Err(VerifyError::Time { server }) => {
            not_authenticated(Some(tsig::TsigError::BADTIME), Some(server))
        }
        Err(VerifyError::Unsigned) if response.truncated => return Some(Verdict::Truncated),
        Err(VerifyError::Unsigned) if rcode == Rcode::NOTAUTH => not_authenticated(None, None),
        Err(VerifyError::Unsigned) => Err(UpdateError::Unsigned { rcode }),
        Err(VerifyError::Forged | VerifyError::Malformed) => return None,
    };
    Some(Verdict::Done(outcome))
}

fn lost(error: ExchangeError) -> UpdateError {
    match error {
        ExchangeError::Timeout => UpdateError::Timeout,
        ExchangeError::Network(error) => UpdateError::Unreachable(error.to_string()),
        ExchangeError::Garbage | ExchangeError::Status(_) => UpdateError::Garbage,
    }
}

/// The response code with what it usually means (client.md 4.4).
fn refusal(rcode: Rcode, reason: Option<&str>) -> String {
    let cause = match (reason, rcode) {
        (Some(reason), _) => reason,
        (None, Rcode::REFUSED) => {
            "the owner is outside the key's scope, or a limit on values, their size or their lifetime is reached"
        }
        (None, Rcode::NOTAUTH) => "the server does not serve this zone, or does not know the key",
        (None, Rcode::NOTZONE) => "an owner name lies outside the zone of the update",
        (None, Rcode::SERVFAIL) => {
            "storage failed or a rate limit is reached; to a delete also: it was absent already"
        }
        (None, _) => "no reason given",
    };
    format!("the server answered {rcode}: {cause}")
}

fn not_authenticated(error: Option<tsig::TsigError>, server_time: Option<u64>) -> String {
    match (error, server_time) {
        (Some(tsig::TsigError::BADKEY), _) => {
            "the server does not know the TSIG key (BADKEY)".to_owned()
        }
        (Some(tsig::TsigError::BADSIG), _) => "the TSIG secret is wrong (BADSIG)".to_owned(),
        (_, Some(time)) => {
            format!("the clocks are too far apart (BADTIME): the server's is at {time}")
        }
        (Some(error), None) => format!("the server did not accept the signature ({error})"),
        (None, None) => {
            "the server answered NOTAUTH: key unknown, wrong secret or clock off".to_owned()
        }
    }
}

fn unix_now() -> Result<u64, UpdateError> {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since
        .map(|time| time.as_secs())
        .map_err(|_| UpdateError::Local("the clock stands before 1970".to_owned()))
}
