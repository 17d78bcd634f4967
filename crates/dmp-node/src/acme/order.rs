//! One conversation with a CA: account, order, proofs, certificate (RFC 8555 7).
//!
//! When it is held, and what becomes of its outcome, is decided elsewhere.

use super::client::Client;
use super::files::{Files, StoredAccount};
use super::proof::Proofs;
use crate::config::AcmeConfig;
use instant_acme::{
    Account, AuthorizationStatus, Error, Identifier, NewAccount, NewOrder, Order, OrderStatus,
    RetryPolicy,
};
use std::time::Duration;
use zeroize::Zeroizing;

/// How a state of the order is waited for.
const POLLING: RetryPolicy = RetryPolicy::new()
    .initial_delay(Duration::from_millis(250))
    .backoff(1.5)
    .timeout(Duration::from_secs(180));

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// The CA refused, or could not be spoken to.
    #[error(transparent)]
    Ca(#[from] Error),
    /// A name was not proven.
    #[error("{0}")]
    Unproven(String),
    /// Something of our own does not work.
    #[error("{0}")]
    Own(String),
    /// It took too long.
    #[error("the CA was not done within ten minutes")]
    Deadline,
}

impl Failure {
    /// Whether the CA says that it is asked too much (RFC 8555 6.6).
    pub(super) fn is_limit(&self) -> bool {
        self.is("rateLimited")
    }

    /// Whether the CA does not know the account.
    fn is_lost_account(&self) -> bool {
        self.is("accountDoesNotExist")
    }

    fn is(&self, kind: &str) -> bool {
        let Self::Ca(Error::Api(problem)) = self else {
            return false;
        };
        let found = problem.r#type.as_deref();
        found.and_then(|found| found.strip_prefix("urn:ietf:params:acme:error:")) == Some(kind)
    }
}

/// Obtains a certificate: key and chain, PEM. An account that the CA does not know is forgotten here too.
pub(super) async fn obtain(
    config: &AcmeConfig,
    client: &Client,
    files: &Files,
    proofs: &mut Proofs<'_>,
) -> Result<Zeroizing<String>, Failure> {
    let ordered = async {
        let account = account(config, client, files).await?;
        order(config, &account, proofs).await
    };
    ordered.await.inspect_err(|failure| {
        if failure.is_lost_account() && files.forget_account().is_ok() {
            tracing::warn!("the CA does not know the account; the next attempt makes a new one");
        }
    })
}

async fn order(
    config: &AcmeConfig,
    account: &Account,
    proofs: &mut Proofs<'_>,
) -> Result<Zeroizing<String>, Failure> {
    let names = config.names.iter();
    let names: Vec<_> = names
        .map(|name| Identifier::Dns(name.to_string()))
        .collect();
    let mut order = account.new_order(&NewOrder::new(&names)).await?;
    prove(&mut order, proofs).await?;
    let key = Zeroizing::new(order.finalize().await?);
    let chain = order.poll_certificate(&POLLING).await?;
    Ok(Zeroizing::new(format!("{}\n{chain}", key.trim_end())))
}

/// The account on file, or a new one.
async fn account(config: &AcmeConfig, client: &Client, files: &Files) -> Result<Account, Failure> {
    let own =
        |error: std::io::Error| Failure::Own(format!("{}: {error}", files.directory().display()));
    let builder = Account::builder_with_http(Box::new(client.clone()));
    let contact = config
        .contact
        .as_ref()
        .map(|address| format!("mailto:{address}"));
    let contacts: Vec<&str> = contact.as_deref().into_iter().collect();
    let (account, credentials) = match files.account().map_err(own)? {
        Some(stored) => {
            let StoredAccount {
                contact,
                credentials,
            } = stored;
            if contact == config.contact {
                return Ok(builder.from_credentials(credentials).await?);
            }
            let copy = serde_json::to_value(&credentials).map_err(Error::from)?;
            let account = builder.from_credentials(credentials).await?;
            account.update_contacts(&contacts).await?;
            (account, serde_json::from_value(copy).map_err(Error::from)?)
        }
        None => {
            let new = NewAccount {
                contact: &contacts,
                terms_of_service_agreed: true, // the configuration does not open without it
                only_return_existing: false,
            };
            builder
                .create(&new, config.directory.to_string(), None)
                .await?
        }
    };
    let stored = StoredAccount {
        contact: config.contact.clone(),
        credentials,
    };
    files.save_account(&stored).map_err(own)?;
    Ok(account)
}

/// Answers one challenge for each name that is not proven yet, and waits for the CA's word.
async fn prove(order: &mut Order, proofs: &mut Proofs<'_>) -> Result<(), Failure> {
    let mut authorizations = order.authorizations();
    while let Some(authorization) = authorizations.next().await {
        let mut authorization = authorization?;
        match authorization.status {
            AuthorizationStatus::Pending => {}
            AuthorizationStatus::Valid => continue,
            status => {
                let name = authorization.identifier();
                return Err(Failure::Unproven(format!("{name}: {status:?}")));
            }
        }
        let name = authorization.identifier().to_string();
        let kind = proofs.challenge();
        let challenge = authorization.challenge(kind.clone());
        let mut challenge = challenge
            .ok_or_else(|| Failure::Unproven(format!("{name}: the CA does not offer {kind:?}")))?;
        let key = challenge.key_authorization();
        proofs.put_up(&name, &key).await.map_err(Failure::Own)?;
        challenge.set_ready().await?;
    }
    match order.poll_ready(&POLLING).await {
        Ok(OrderStatus::Invalid) => Err(reason(order).await),
        Ok(_) => Ok(()),
        Err(Error::Api(problem)) if order.state().status == OrderStatus::Invalid => {
            let told = reason(order).await;
            match told {
                Failure::Unproven(_) => Err(told),
                _ => Err(Error::Api(problem).into()),
            }
        }
        Err(error) => Err(error.into()),
    }
}

/// What the CA found wrong with the proofs.
async fn reason(order: &mut Order) -> Failure {
    let mut reasons = Vec::new();
    let mut authorizations = order.authorizations();
    while let Some(Ok(mut authorization)) = authorizations.next().await {
        let name = authorization.identifier().to_string();
        let Ok(state) = authorization.refresh().await else {
            continue;
        };
        let problems = state
            .challenges
            .iter()
            .filter_map(|challenge| challenge.error.as_ref());
        reasons.extend(problems.map(|problem| format!("{name}: {problem}")));
    }
    if reasons.is_empty() {
        Failure::Own("the CA rejects the order and does not say why".to_owned())
    } else {
        Failure::Unproven(reasons.join("; "))
    }
}
