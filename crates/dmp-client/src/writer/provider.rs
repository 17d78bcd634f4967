//! Requests to a DNS provider's HTTP interface: one origin, bounded patience with throttling, no redirects (D18).
//!
//! What the requests say and what the answers mean is each provider's module's business.

use std::time::Duration;

use ureq::Agent;
use ureq::http::{Method, Request, Response};
use zeroize::Zeroizing;

use crate::agent::{agent_for, is_loopback};
use crate::error::WriteError;
use crate::home::host_of_endpoint;
use crate::limits::{
    HTTP_WRITE_TIMEOUT, PROVIDER_ANSWER_MAX, PROVIDER_TRIES, PROVIDER_WAIT, PROVIDER_WAIT_MAX,
};

/// One request to the configured origin.
pub(super) struct Call {
    pub(super) method: Method,
    /// Path and query behind the origin.
    pub(super) target: String,
    pub(super) headers: Vec<(&'static str, Zeroizing<String>)>,
    pub(super) body: Option<String>,
}

/// What came back.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: String,
    retry_after: Option<Duration>,
}

/// A provider's interface at one origin. Holds no credential.
#[derive(Clone, Debug)]
pub(super) struct Provider {
    agent: Agent,
    /// Scheme, authority and base path, without a slash at the end.
    origin: String,
}

impl Provider {
    /// # Errors
    /// [`WriteError::Misconfigured`]: credentials go over https, or to this machine.
    pub(super) fn new(origin: &str) -> Result<Self, WriteError> {
        let origin = origin.trim().trim_end_matches('/');
        let host = host_of_endpoint(origin).unwrap_or_default();
        let is_safe =
            origin.starts_with("https://") || (origin.starts_with("http://") && is_loopback(host));
        if host.is_empty() || !is_safe {
            return Err(WriteError::Misconfigured(format!(
                "api: `{origin}` is not an https:// address"
            )));
        }
        Ok(Self {
            agent: agent_for(origin, HTTP_WRITE_TIMEOUT),
            origin: origin.to_owned(),
        })
    }

    /// Host and port as the Host header names them.
    pub(super) fn authority(&self) -> &str {
        let behind = self.origin.split_once("://").map_or("", |(_, rest)| rest);
        behind.split('/').next().unwrap_or_default()
    }

    /// Asks, and asks again with a new request while the provider is throttling or busy: as long as it says, within bounds.
    ///
    /// # Errors
    /// No answer, or still busy after the last try.
    pub(super) async fn ask(
        &self,
        request: impl Fn() -> Result<Call, WriteError>,
        is_busy: impl Fn(&Answer) -> bool,
    ) -> Result<Answer, WriteError> {
        let mut pause = PROVIDER_WAIT;
        for _ in 1..PROVIDER_TRIES {
            let answer = self.once(request()?).await?;
            if !is_throttled(answer.status) && !is_busy(&answer) {
                return Ok(answer);
            }
            let wait = answer.retry_after.unwrap_or(pause);
            if wait > PROVIDER_WAIT_MAX {
                let seconds = wait.as_secs();
                return Err(WriteError::ServerFailure(format!(
                    "HTTP {}: the provider asks to wait {seconds} s",
                    answer.status
                )));
            }
            tokio::time::sleep(wait).await;
            pause *= 2;
        }
        self.once(request()?).await
    }

    async fn once(&self, call: Call) -> Result<Answer, WriteError> {
        let agent = self.agent.clone();
        let url = format!("{}{}", self.origin, call.target);
        tokio::task::spawn_blocking(move || send(&agent, &url, call))
            .await
            .unwrap_or_else(|error| Err(WriteError::ServerFailure(error.to_string())))
    }
}

/// Statuses of a provider that may take the same request later.
pub(super) const fn is_throttled(status: u16) -> bool {
    matches!(status, 429 | 500 | 502 | 503 | 504)
}

fn send(agent: &Agent, url: &str, call: Call) -> Result<Answer, WriteError> {
    let unreachable = |error: ureq::Error| WriteError::Unreachable(error.to_string());
    let mut request = Request::builder().method(call.method).uri(url);
    for (name, value) in &call.headers {
        request = request.header(*name, value.as_str());
    }
    // Never the request itself in words: it holds the credential.
    let unusable = |_| WriteError::Misconfigured("the request cannot be made".to_owned());
    let response = match call.body {
        Some(body) => agent.run(request.body(body).map_err(unusable)?),
        None => agent.run(request.body(()).map_err(unusable)?),
    };
    let mut response = response.map_err(unreachable)?;
    let retry_after = retry_after(&response);
    let body = response
        .body_mut()
        .with_config()
        .limit(PROVIDER_ANSWER_MAX)
        .read_to_string()
        .map_err(unreachable)?;
    Ok(Answer {
        status: response.status().as_u16(),
        body,
        retry_after,
    })
}

/// The header in its form of seconds; a date counts as unstated.
fn retry_after<B>(response: &Response<B>) -> Option<Duration> {
    let value = response.headers().get("retry-after")?.to_str().ok()?;
    value.trim().parse().ok().map(Duration::from_secs)
}
