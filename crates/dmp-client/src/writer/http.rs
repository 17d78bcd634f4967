//! The bearer-token writer (client.md 4.3). Follows no redirect and reads no `.netrc`: the token goes to the configured origin only.

use std::sync::Arc;

use dmp_core::owner::OwnerName;
use ureq::Agent;
use ureq::http::Response;
use zeroize::Zeroizing;

use super::named_ttl_cap;
use crate::agent::agent_for;
use crate::config::normalize_endpoint;
use crate::error::WriteError;
use crate::limits::{HTTP_REASON_MAX, HTTP_WRITE_TIMEOUT};
use crate::mesh::{Applied, Capacity, Message, Operation, Pending, Writer};

/// Publishes and deletes single values at a node's HTTP interface.
#[derive(Clone)]
pub struct HttpWriter {
    inner: Arc<Inner>,
}

struct Inner {
    agent: Agent,
    /// Scheme and authority, without a slash at the end.
    endpoint: String,
    /// The whole header value.
    authorization: Option<Zeroizing<String>>,
}

impl HttpWriter {
    /// A writer for an endpoint as the configuration states it, with the token of that origin if there is one.
    ///
    /// Proxies come from the environment (`http_proxy`, `https_proxy`, `no_proxy`); TLS is verified.
    #[must_use]
    pub fn new(endpoint: &str, token: Option<&str>) -> Self {
        let endpoint = normalize_endpoint(endpoint);
        let agent = agent_for(&endpoint, HTTP_WRITE_TIMEOUT);
        let authorization = token.map(|token| Zeroizing::new(format!("Bearer {token}")));
        Self {
            inner: Arc::new(Inner {
                agent,
                endpoint,
                authorization,
            }),
        }
    }
}

impl Writer for HttpWriter {
    fn capacity(&self) -> Capacity {
        Capacity::One
    }

    fn apply<'a>(&'a self, operations: &'a [Operation]) -> Pending<'a, Applied> {
        Box::pin(async move {
            let mut applied = Applied::default();
            for (index, operation) in operations.iter().enumerate() {
                let (inner, operation) = (Arc::clone(&self.inner), operation.clone());
                let outcome = tokio::task::spawn_blocking(move || inner.perform(&operation))
                    .await
                    .unwrap_or_else(|error| Err(WriteError::ServerFailure(error.to_string())));
                let failed = outcome.is_err();
                applied.messages.push(Message {
                    operations: index..index + 1,
                    bytes: 0,
                    outcome,
                });
                if failed {
                    break;
                }
            }
            applied
        })
    }
}

impl Inner {
    /// One request. 201 is the only success of a publication, 204 of a deletion, and what is absent needs no deletion.
    fn perform(&self, operation: &Operation) -> Result<(), WriteError> {
        let unreachable = |error: ureq::Error| WriteError::Unreachable(error.to_string());
        let url = |owner: &OwnerName| format!("{}/v1/records/{owner}", self.endpoint);
        let (response, wanted) = match operation {
            Operation::Add { owner, ttl, value } => {
                let body = serde_json::json!({ "value": value, "ttl": ttl });
                let request = self.authorised(self.agent.post(url(owner)));
                (request.send_json(body).map_err(unreachable)?, &[201][..])
            }
            Operation::DeleteValue { owner, value } => {
                let body = serde_json::json!({ "value": value });
                let request = self
                    .authorised(self.agent.delete(url(owner)))
                    .force_send_body();
                (
                    request.send_json(body).map_err(unreachable)?,
                    &[204, 404][..],
                )
            }
            Operation::DeleteRrset { owner } => {
                let request = self.authorised(self.agent.delete(url(owner)));
                (request.call().map_err(unreachable)?, &[204, 404][..])
            }
        };
        if wanted.contains(&response.status().as_u16()) {
            Ok(())
        } else {
            Err(refusal(response))
        }
    }

    fn authorised<B>(&self, request: ureq::RequestBuilder<B>) -> ureq::RequestBuilder<B> {
        match &self.authorization {
            Some(value) => request.header("Authorization", value.as_str()),
            None => request,
        }
    }
}

/// A failure with the node's reason: the member `error`, else the beginning of the body.
fn refusal(mut response: Response<ureq::Body>) -> WriteError {
    let status = response.status().as_u16();
    let body = response
        .body_mut()
        .with_config()
        .limit(64 * 1024)
        .read_to_string()
        .unwrap_or_default();
    let stated = serde_json::from_str::<serde_json::Value>(&body).ok();
    let stated = stated
        .as_ref()
        .and_then(|body| body.get("error"))
        .and_then(serde_json::Value::as_str);
    let words = stated.map_or_else(
        || body.chars().take(HTTP_REASON_MAX).collect(),
        ToOwned::to_owned,
    );
    let reason = if words.is_empty() {
        format!("HTTP {status}")
    } else {
        format!("HTTP {status} — {words}")
    };
    match status {
        401 | 403 => WriteError::NotAuthorised(reason),
        429 | 500..=599 => WriteError::ServerFailure(reason),
        _ => WriteError::Refused {
            ttl_cap: named_ttl_cap(&words),
            reason,
        },
    }
}
