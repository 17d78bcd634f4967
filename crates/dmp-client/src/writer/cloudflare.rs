//! Zones at Cloudflare: one record a value, through its API of version 4 (client.md 14).
//!
//! Nothing of other people's records at a name is touched. Cloudflare has no expiry: what was published stays until it is deleted.

use std::fmt;

use dmp_core::name::Zone;
use dmp_core::owner::OwnerName;
use serde::Deserialize;
use serde_json::json;
use ureq::http::Method;
use zeroize::Zeroizing;

use super::check;
use super::presentation::{Digits, quote, unquote};
use super::provider::{Answer, Call, Provider, is_throttled};
use crate::error::WriteError;
use crate::limits::{CLOUDFLARE_PAGE, CLOUDFLARE_TTL, CONFLICT_TRIES};
use crate::mesh::{Applied, Capacity, Operation, Pending, Writer};

/// Where the interface is unless the configuration says otherwise.
pub const CLOUDFLARE_API: &str = "https://api.cloudflare.com/client/v4";

/// "A record with the same settings" and "an identical record" exist already.
const ALREADY_THERE: [i64; 2] = [81_057, 81_058];

/// Publishes in one zone of a Cloudflare account.
pub struct CloudflareWriter {
    provider: Provider,
    zone_id: String,
    zone: Zone,
    token: Zeroizing<String>,
}

impl fmt::Debug for CloudflareWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CloudflareWriter")
            .field("provider", &self.provider)
            .field("zone", &self.zone)
            .finish_non_exhaustive()
    }
}

/// A record of ours or somebody else's.
#[derive(Deserialize)]
struct Record {
    id: String,
    name: String,
    #[serde(rename = "type")]
    kind: String,
    content: String,
}

#[derive(Deserialize)]
struct Envelope<T> {
    #[serde(default)]
    success: bool,
    #[serde(default = "Vec::new")]
    errors: Vec<Complaint>,
    result: Option<T>,
    result_info: Option<Page>,
}

#[derive(Deserialize)]
struct Complaint {
    code: i64,
    #[serde(default)]
    message: String,
}

#[derive(Deserialize)]
struct Page {
    #[serde(default)]
    total_pages: u32,
}

/// What one request about a record came to.
enum Step {
    Done,
    /// Somebody changed the name meanwhile: look again.
    Stale,
}

/// The records at the name that was looked at last.
type Seen = Option<(OwnerName, Vec<Record>)>;

impl CloudflareWriter {
    /// A writer for the zone with this identifier. `api` is [`CLOUDFLARE_API`] except in tests and behind proxies.
    ///
    /// # Errors
    /// [`WriteError::Misconfigured`].
    pub fn new(
        api: &str,
        zone_id: &str,
        zone: Zone,
        token: Zeroizing<String>,
    ) -> Result<Self, WriteError> {
        if zone_id.is_empty() || !zone_id.bytes().all(|octet| octet.is_ascii_alphanumeric()) {
            return Err(WriteError::Misconfigured(
                "zone_id is not the identifier of a Cloudflare zone".to_owned(),
            ));
        }
        Ok(Self {
            provider: Provider::new(api)?,
            zone_id: zone_id.to_owned(),
            zone,
            token,
        })
    }

    async fn perform(&self, operation: &Operation, seen: &mut Seen) -> Result<(), WriteError> {
        check(operation, &self.zone)?;
        let owner = operation.owner();
        for _ in 0..CONFLICT_TRIES {
            let mut records = match seen.take() {
                Some((name, records)) if name == *owner => records,
                _ => self.list(owner).await?,
            };
            if let Step::Done = self.change(operation, &mut records).await? {
                *seen = Some((owner.clone(), records));
                return Ok(());
            }
        }
        Err(WriteError::ServerFailure(
            "somebody else keeps changing this name".to_owned(),
        ))
    }

    async fn change(
        &self,
        operation: &Operation,
        records: &mut Vec<Record>,
    ) -> Result<Step, WriteError> {
        match operation {
            Operation::Add { owner, ttl, value } => {
                let body = json!({
                    "type": "TXT",
                    "name": owner.as_str(),
                    "content": quote(value, Digits::Decimal),
                    "ttl": ttl.max(&CLOUDFLARE_TTL),
                    "proxied": false,
                });
                let known = records.iter().find(|record| record.holds(value));
                let (method, target) = match known {
                    Some(record) => (Method::PUT, self.record(&record.id)),
                    None => (Method::POST, self.records()),
                };
                let answer = self.ask(&method, &target, Some(body.to_string())).await?;
                if known.is_some() {
                    return match answer.status {
                        404 => Ok(Step::Stale),
                        _ => self.read::<Record>(&answer).map(|_| Step::Done),
                    };
                }
                if is_already_there(&answer) {
                    return Ok(Step::Stale);
                }
                records.extend(self.read::<Record>(&answer)?.result);
            }
            Operation::DeleteValue { value, .. } => {
                for record in records.iter().filter(|record| record.holds(value)) {
                    self.delete(record).await?;
                }
                records.retain(|record| !record.holds(value));
            }
            Operation::DeleteRrset { .. } => {
                for record in records.iter() {
                    self.delete(record).await?;
                }
                records.clear();
            }
        }
        Ok(Step::Done)
    }

    /// Every TXT record at a name, all pages.
    async fn list(&self, owner: &OwnerName) -> Result<Vec<Record>, WriteError> {
        let mut records = Vec::new();
        for page in 1.. {
            let target = format!(
                "{}?type=TXT&name={owner}&per_page={CLOUDFLARE_PAGE}&page={page}",
                self.records()
            );
            let answer = self.ask(&Method::GET, &target, None).await?;
            let envelope = self.read::<Vec<Record>>(&answer)?;
            records.extend(envelope.result.into_iter().flatten());
            if envelope
                .result_info
                .is_none_or(|info| page >= info.total_pages)
            {
                break;
            }
        }
        records.retain(|record: &Record| {
            record.kind == "TXT" && record.name.eq_ignore_ascii_case(owner.as_str())
        });
        Ok(records)
    }

    async fn delete(&self, record: &Record) -> Result<(), WriteError> {
        let target = self.record(&record.id);
        let answer = self.ask(&Method::DELETE, &target, None).await?;
        if answer.status == 404 {
            return Ok(());
        }
        self.read::<serde_json::Value>(&answer).map(drop)
    }

    async fn ask(
        &self,
        method: &Method,
        target: &str,
        body: Option<String>,
    ) -> Result<Answer, WriteError> {
        let request = || {
            Ok(Call {
                method: method.clone(),
                target: target.to_owned(),
                headers: vec![
                    (
                        "Authorization",
                        Zeroizing::new(format!("Bearer {}", *self.token)),
                    ),
                    (
                        "Content-Type",
                        Zeroizing::new("application/json".to_owned()),
                    ),
                ],
                body: body.clone(),
            })
        };
        self.provider.ask(request, |_| false).await
    }

    /// The content of a successful answer: status and `success` must both say so.
    fn read<T: for<'de> Deserialize<'de>>(
        &self,
        answer: &Answer,
    ) -> Result<Envelope<T>, WriteError> {
        let envelope = serde_json::from_str::<Envelope<T>>(&answer.body);
        match envelope {
            Ok(envelope) if envelope.success && (200..300).contains(&answer.status) => Ok(envelope),
            Ok(envelope) => Err(self.refusal(answer.status, &envelope.errors)),
            // An error page of something in between, or a result that is no record.
            Err(_) => Err(self.refusal(answer.status, &complaints(&answer.body))),
        }
    }

    fn refusal(&self, status: u16, errors: &[Complaint]) -> WriteError {
        let words: Vec<String> = errors
            .iter()
            .map(|error| format!("{} ({})", error.message, error.code))
            .collect();
        let words = words.join("; ").replace(self.token.as_str(), "…");
        let reason = format!("Cloudflare answered HTTP {status}: {words}");
        match status {
            401 | 403 => WriteError::NotAuthorised(reason),
            status if is_throttled(status) => WriteError::ServerFailure(reason),
            _ => WriteError::Refused {
                reason,
                ttl_cap: None,
            },
        }
    }

    fn records(&self) -> String {
        format!("/zones/{}/dns_records", self.zone_id)
    }

    fn record(&self, id: &str) -> String {
        let id: String = id.chars().filter(char::is_ascii_alphanumeric).collect();
        format!("{}/{id}", self.records())
    }
}

impl Record {
    /// Whether this is the value: Cloudflare shows content quoted, or as it was typed.
    fn holds(&self, value: &str) -> bool {
        self.content == value
            || unquote(&self.content, Digits::Decimal).as_deref() == Some(value.as_bytes())
    }
}

fn complaints(body: &str) -> Vec<Complaint> {
    serde_json::from_str::<Envelope<serde_json::Value>>(body)
        .map_or_else(|_| Vec::new(), |envelope| envelope.errors)
}

fn is_already_there(answer: &Answer) -> bool {
    answer.status >= 400
        && complaints(&answer.body)
            .iter()
            .any(|error| ALREADY_THERE.contains(&error.code))
}

impl Writer for CloudflareWriter {
    fn capacity(&self) -> Capacity {
        Capacity::One
    }

    fn apply<'a>(&'a self, operations: &'a [Operation]) -> Pending<'a, Applied> {
        Box::pin(async move {
            let mut applied = Applied::default();
            let mut seen = None;
            for (index, operation) in operations.iter().enumerate() {
                let outcome = self.perform(operation, &mut seen).await;
                if !applied.push(index..index + 1, outcome) {
                    break;
                }
            }
            applied
        })
    }
}
