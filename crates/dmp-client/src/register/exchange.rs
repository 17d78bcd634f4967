//! The two HTTP requests of a registration and their JSON (node.md 6.5). It signs and checks nothing.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use ureq::http::Response;
use ureq::{Agent, Body};

use super::NodeAddress;
use crate::agent::agent_for;
use crate::limits::{HTTP_ANSWER_MAX, HTTP_REASON_MAX, HTTP_WRITE_TIMEOUT};

/// The requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Route {
    /// Ask for a challenge.
    Challenge,
    /// Get a bearer token.
    Token,
    /// Get a TSIG key.
    Tsig,
}

impl Route {
    const fn path(self) -> &'static str {
        match self {
            Self::Challenge => "/v1/registration/challenge",
            Self::Token => "/v1/registration/confirm",
            Self::Tsig => "/v1/registration/tsig-confirm",
        }
    }
}

/// Why a request gave nothing.
#[derive(Debug)]
pub(super) enum Refusal {
    /// No answer.
    Unreachable(String),
    /// A status other than 200.
    Status {
        route: Route,
        status: u16,
        reason: String,
    },
    /// 200, but not the promised JSON.
    Shape(String),
}

/// What the node offers to sign.
#[derive(Debug, Deserialize)]
pub(super) struct Offer {
    pub(super) challenge: String,
    pub(super) node: String,
    #[serde(default)]
    pub(super) server_x25519_pub: Option<String>,
}

/// What the client answers.
#[derive(Debug, Serialize)]
pub(super) struct Confirmation {
    pub(super) subject: String,
    pub(super) ed25519_spk: String,
    pub(super) challenge: String,
    pub(super) signature: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) x25519_pub: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) x25519_pop: Option<String>,
}

/// A bearer token as granted.
#[derive(Deserialize)]
pub(super) struct Token {
    pub(super) token: String,
    pub(super) subject: String,
    #[serde(default)]
    pub(super) expires_at: Option<i64>,
}

/// A TSIG key as granted.
#[derive(Deserialize)]
pub(super) struct TsigKey {
    pub(super) tsig_key_name: String,
    pub(super) tsig_secret_hex: String,
    pub(super) tsig_algorithm: String,
    #[serde(default)]
    pub(super) allowed_suffixes: Vec<String>,
    pub(super) subject: String,
    pub(super) zone: String,
    #[serde(default)]
    pub(super) expires_at: Option<i64>,
}

/// Asks the node for a challenge.
pub(super) async fn challenge(node: &NodeAddress) -> Result<Offer, Refusal> {
    request(node, Route::Challenge, |agent, url| agent.get(url).call()).await
}

/// Answers the challenge and takes the credential.
pub(super) async fn confirm<T: DeserializeOwned + Send + 'static>(
    node: &NodeAddress,
    route: Route,
    body: Confirmation,
) -> Result<T, Refusal> {
    request(node, route, move |agent, url| {
        agent.post(url).send_json(&body)
    })
    .await
}

async fn request<T, F>(node: &NodeAddress, route: Route, send: F) -> Result<T, Refusal>
where
    T: DeserializeOwned + Send + 'static,
    F: FnOnce(&Agent, &str) -> Result<Response<Body>, ureq::Error> + Send + 'static,
{
    let url = format!("{node}{}", route.path());
    let agent = agent_for(&url, HTTP_WRITE_TIMEOUT);
    let exchange = move || {
        let mut response =
            send(&agent, &url).map_err(|error| Refusal::Unreachable(error.to_string()))?;
        let status = response.status().as_u16();
        let text = response
            .body_mut()
            .with_config()
            .limit(HTTP_ANSWER_MAX)
            .read_to_string();
        let text = text.map_err(|error| Refusal::Unreachable(error.to_string()))?;
        if status == 200 {
            serde_json::from_str(&text).map_err(|error| {
                Refusal::Shape(format!("HTTP 200 without the promised members: {error}"))
            })
        } else {
            Err(Refusal::Status {
                route,
                status,
                reason: reason(&text),
            })
        }
    };
    tokio::task::spawn_blocking(exchange)
        .await
        .unwrap_or_else(|error| Err(Refusal::Unreachable(error.to_string())))
}

/// The member `error` of a JSON answer, else the beginning of the text.
fn reason(text: &str) -> String {
    let stated = serde_json::from_str::<serde_json::Value>(text).ok();
    let stated = stated
        .as_ref()
        .and_then(|body| body.get("error"))
        .and_then(serde_json::Value::as_str);
    stated
        .unwrap_or(text)
        .chars()
        .take(HTTP_REASON_MAX)
        .collect()
}
