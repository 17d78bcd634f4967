//! Zones at Amazon Route 53 (client.md 14): many values in one change, which takes effect as a whole or not at all.
//!
//! Route 53 has no expiry: what was published stays until it is deleted.

mod document;
mod signature;

use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

use dmp_core::name::Zone;
use ureq::http::Method;
use zeroize::Zeroizing;

use self::document::{Change, RecordSet, change_request, read_complaint, read_set};
pub use self::signature::AwsCredentials;
use self::signature::{Request, Scope, authorization, timestamp};
use super::check;
use super::presentation::{Digits, quote, unquote};
use super::provider::{Answer, Call, Provider, is_throttled};
use crate::error::WriteError;
use crate::limits::{CONFLICT_TRIES, ROUTE53_CHARACTERS, ROUTE53_RECORDS};
use crate::mesh::{Applied, Operation, Pending, Writer};

/// Where the interface is unless the configuration says otherwise.
pub const ROUTE53_API: &str = "https://route53.amazonaws.com";

/// Words of an InvalidChangeBatch that mean: the set is not as it was read.
const CONFLICTS: [&str; 3] = [
    "already exists",
    "not found",
    "do not match the current values",
];

/// Publishes in one hosted zone.
pub struct Route53Writer {
    provider: Provider,
    zone_id: String,
    zone: Zone,
    region: String,
    credentials: AwsCredentials,
}

impl fmt::Debug for Route53Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Route53Writer")
            .field("provider", &self.provider)
            .field("zone", &self.zone)
            .finish_non_exhaustive()
    }
}

/// A name that operations touch: its set as it was read, and as it shall be.
struct Touched<'a> {
    name: &'a str,
    before: RecordSet,
    after: RecordSet,
}

/// What a change came to.
enum Step {
    Done,
    /// Somebody changed one of the sets meanwhile.
    Conflict,
}

impl Route53Writer {
    /// A writer for the hosted zone with this identifier. `api` is [`ROUTE53_API`] and `region` `us-east-1` outside of China and
    /// the other partitions.
    ///
    /// # Errors
    /// [`WriteError::Misconfigured`].
    pub fn new(
        api: &str,
        region: &str,
        zone_id: &str,
        zone: Zone,
        credentials: AwsCredentials,
    ) -> Result<Self, WriteError> {
        let zone_id = zone_id.trim_start_matches("/hostedzone/");
        if zone_id.is_empty() || !zone_id.bytes().all(|octet| octet.is_ascii_alphanumeric()) {
            return Err(WriteError::Misconfigured(
                "zone_id is not the identifier of a hosted zone".to_owned(),
            ));
        }
        Ok(Self {
            provider: Provider::new(api)?,
            zone_id: zone_id.to_owned(),
            zone,
            region: region.to_owned(),
            credentials,
        })
    }

    /// Applies as many operations from the front as one change holds; how many that were.
    async fn step(&self, operations: &[Operation]) -> (usize, Result<(), WriteError>) {
        let mut count = operations.len();
        for _ in 0..CONFLICT_TRIES {
            let touched = match self.plan(&operations[..count]).await {
                Ok((taken, touched)) => {
                    count = taken;
                    touched
                }
                Err((failed, error)) => return (failed, Err(error)),
            };
            match self.submit(&touched).await {
                Ok(Step::Done) => return (count, Ok(())),
                Ok(Step::Conflict) => {}
                Err(error) => return (count, Err(error)),
            }
        }
        let busy = "somebody else keeps changing these names".to_owned();
        (count, Err(WriteError::ServerFailure(busy)))
    }

    /// Reads the sets that operations touch and works out how they shall be; an error says how many operations it concerns.
    async fn plan<'a>(
        &self,
        operations: &'a [Operation],
    ) -> Result<(usize, Vec<Touched<'a>>), (usize, WriteError)> {
        let mut touched: Vec<Touched<'a>> = Vec::new();
        for (index, operation) in operations.iter().enumerate() {
            check(operation, &self.zone).map_err(|error| (index + 1, error))?;
            let name = operation.owner().as_str();
            let at = match touched.iter().position(|known| known.name == name) {
                Some(at) => at,
                None => {
                    let set = self.read(name).await.map_err(|error| (index + 1, error))?;
                    touched.push(Touched {
                        name,
                        before: set.clone(),
                        after: set,
                    });
                    touched.len() - 1
                }
            };
            let previous = touched[at].after.clone();
            touched[at].after.change(operation);
            if index > 0 && !fits(&touched) {
                touched[at].after = previous;
                return Ok((index, touched));
            }
        }
        Ok((operations.len(), touched))
    }

    async fn read(&self, name: &str) -> Result<RecordSet, WriteError> {
        let path = format!("/2013-04-01/hostedzone/{}/rrset", self.zone_id);
        let query = format!("maxitems=1&name={name}.&type=TXT");
        let answer = self.ask(&Method::GET, &path, &query, "").await?;
        if answer.status == 200 {
            read_set(&answer.body, name)
        } else {
            Err(refusal(&answer))
        }
    }

    async fn submit(&self, touched: &[Touched<'_>]) -> Result<Step, WriteError> {
        let Some(body) = change_of(touched) else {
            return Ok(Step::Done);
        };
        let path = format!("/2013-04-01/hostedzone/{}/rrset/", self.zone_id);
        let answer = self.ask(&Method::POST, &path, "", &body).await?;
        if answer.status == 200 {
            return Ok(Step::Done);
        }
        let complaint = read_complaint(&answer.body);
        let is_conflict = complaint.code == "InvalidChangeBatch"
            && CONFLICTS
                .iter()
                .any(|words| complaint.message.contains(words));
        if is_conflict {
            Ok(Step::Conflict)
        } else {
            Err(refusal(&answer))
        }
    }

    /// One signed request; each try is signed anew, because a signature holds for minutes only.
    async fn ask(
        &self,
        method: &Method,
        path: &str,
        query: &str,
        body: &str,
    ) -> Result<Answer, WriteError> {
        let request = || {
            let scope = Scope {
                region: &self.region,
                service: "route53",
                time: unix_now()?,
            };
            let date = timestamp(scope.time);
            let mut headers: Vec<(&'static str, &str)> =
                vec![("host", self.provider.authority()), ("x-amz-date", &date)];
            if let Some(token) = &self.credentials.session_token {
                headers.push(("x-amz-security-token", token));
            }
            let signed = Request {
                method: method.as_str(),
                path,
                query,
                headers: &headers,
                body,
            };
            let authorization = authorization(&signed, &self.credentials, &scope);
            let mut headers: Vec<_> = headers
                .into_iter()
                .map(|(name, value)| (name, Zeroizing::new(value.to_owned())))
                .collect();
            headers.push(("authorization", Zeroizing::new(authorization)));
            let target = if query.is_empty() {
                path.to_owned()
            } else {
                format!("{path}?{query}")
            };
            let body = (!body.is_empty()).then(|| body.to_owned());
            Ok(Call {
                method: method.clone(),
                target,
                headers,
                body,
            })
        };
        self.provider.ask(request, is_busy).await
    }
}

impl RecordSet {
    fn change(&mut self, operation: &Operation) {
        let holds = |shown: &String, value: &str| {
            unquote(shown, Digits::Octal).as_deref() == Some(value.as_bytes())
        };
        match operation {
            Operation::Add { ttl, value, .. } => {
                self.ttl = self.ttl.max(*ttl);
                if !self.values.iter().any(|shown| holds(shown, value)) {
                    self.values.push(quote(value, Digits::Octal));
                }
            }
            Operation::DeleteValue { value, .. } => {
                self.values.retain(|shown| !holds(shown, value))
            }
            Operation::DeleteRrset { .. } => self.values.clear(),
        }
        if self.values.is_empty() {
            self.ttl = 0;
        }
    }
}

impl Writer for Route53Writer {
    fn apply<'a>(&'a self, operations: &'a [Operation]) -> Pending<'a, Applied> {
        Box::pin(async move {
            let mut applied = Applied::default();
            let mut done = 0;
            while done < operations.len() {
                let (count, outcome) = self.step(&operations[done..]).await;
                if !applied.push(done..done + count, outcome) {
                    break;
                }
                done += count;
            }
            applied
        })
    }
}

/// The request that makes the sets what they shall be; `None` if they are.
fn change_of(touched: &[Touched<'_>]) -> Option<String> {
    let changes: Vec<Change<'_>> = touched
        .iter()
        .filter(|set| set.before != set.after)
        .map(|set| Change {
            name: set.name,
            before: &set.before,
            after: &set.after,
        })
        .collect();
    (!changes.is_empty()).then(|| change_request(changes.into_iter()))
}

/// Whether one change may hold all of it.
fn fits(touched: &[Touched<'_>]) -> bool {
    let values = || {
        touched
            .iter()
            .filter(|set| set.before != set.after)
            .flat_map(|set| set.before.values.iter().chain(&set.after.values))
    };
    values().count() <= ROUTE53_RECORDS
        && values().map(String::len).sum::<usize>() <= ROUTE53_CHARACTERS
}

/// Whether the same request may be taken later: too many of them, or one for this zone that is not finished.
fn is_busy(answer: &Answer) -> bool {
    answer.status == 400
        && matches!(
            read_complaint(&answer.body).code.as_str(),
            "Throttling" | "PriorRequestNotComplete"
        )
}

fn refusal(answer: &Answer) -> WriteError {
    let complaint = read_complaint(&answer.body);
    let reason = format!(
        "Route 53 answered HTTP {}: {} {}",
        answer.status, complaint.code, complaint.message
    );
    match answer.status {
        401 | 403 => WriteError::NotAuthorised(reason),
        status if is_throttled(status) || is_busy(answer) => WriteError::ServerFailure(reason),
        _ => WriteError::Refused {
            reason,
            ttl_cap: None,
        },
    }
}

fn unix_now() -> Result<u64, WriteError> {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since
        .map(|time| time.as_secs())
        .map_err(|_| WriteError::Misconfigured("the clock stands before 1970".to_owned()))
}
