//! Automatic certificates (RFC 8555): the HTTP listener's certificate is obtained from a CA, stored, and renewed in time.
//!
//! The node serves from its first second whatever the CA does: until there is a certificate the listener shows one that
//! nobody trusts, and a failed renewal leaves the former one in force. No CA is asked more often than [`schedule`]
//! allows, restarts included.

mod client;
mod files;
mod order;
mod proof;
mod schedule;

pub(crate) use client::trusting;

use crate::config::AcmeConfig;
use crate::context::Context;
use crate::http::{Certificate, ExpiryWarning, Tls};
use crate::limits::{ACME_ATTEMPT, ACME_LOOK, ACME_PATIENCE};
use crate::metrics::Renewal as Counted;
use client::Client;
use files::{Booking, Files};
use order::Failure;
use proof::Proofs;
use schedule::{renewal_at, wait_after, wait_as_told};
use serde::Serialize;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::{Notify, watch};
use tokio::time::{sleep, timeout};

/// Why automatic certificates cannot be begun with. One line that names the variable.
#[derive(Debug, thiserror::Error)]
pub enum AcmeError {
    /// The roots for the CA's server cannot be used.
    #[error("DMP_ACME_ROOTS: {0}")]
    Roots(String),
    /// The directory beside the database cannot be used.
    #[error("DMP_DB_PATH: {}: {error}", .path.display())]
    Files {
        /// The directory or file.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// No certificate of any kind can be made.
    #[error("DMP_ACME_NAMES: {0}")]
    Placeholder(String),
}

/// The renewal of one certificate.
#[derive(Debug)]
pub(crate) struct Renewal {
    config: AcmeConfig,
    client: Client,
    files: Files,
    tls: Arc<Tls>,
    context: Arc<Context>,
    state: Mutex<State>,
    wake: Notify,
}

#[derive(Debug)]
struct State {
    booking: Booking,
    /// Unix second of the next attempt.
    next_at: u64,
    /// Unix second of the last attempt of this process.
    last_at: u64,
    /// Whether no certificate of the CA is in force.
    is_placeholder: bool,
    /// Whether the last booked attempt is still being made.
    is_asking: bool,
    error: Option<String>,
}

/// What an operator is told.
#[derive(Debug, Serialize)]
pub(crate) struct Status {
    /// Whether no certificate of the CA is in force.
    #[serde(skip)]
    pub(crate) is_placeholder: bool,
    /// Unix second of the next attempt.
    pub(crate) renewal_at: u64,
    /// Attempts that failed since the last one that did not.
    pub(crate) renewal_failures: u32,
    /// Why the last one failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) renewal_error: Option<String>,
}

impl State {
    /// When the next attempt is. A clock that was wrong when it was booked does not put it off for ever.
    fn next_at(&self, now: u64) -> u64 {
        if self.booking.failures == 0 {
            return self.next_at;
        }
        self.next_at.min(now.saturating_add(ACME_PATIENCE))
    }
}

impl Renewal {
    /// Takes up what an earlier run left, without asking the CA.
    pub(crate) fn open(config: AcmeConfig, context: Arc<Context>) -> Result<Self, AcmeError> {
        let client = Client::new(&config).map_err(AcmeError::Roots)?;
        let database = context.store().path();
        let files = Files::open(database, &config.directory);
        let files = files.map_err(|error| AcmeError::Files {
            path: database.to_owned(),
            error,
        })?;
        let unreadable = |error| AcmeError::Files {
            path: files.directory().to_owned(),
            error,
        };
        let names: Vec<String> = config.names.iter().map(ToString::to_string).collect();
        let stored = files.certificate().map_err(unreadable)?;
        let stored = stored.and_then(|pem| match Certificate::from_pem(&pem, &pem) {
            Ok(certificate) => Some(certificate).filter(|found| found.covers(&names)),
            Err(fault) => {
                let reason = fault.into_reason();
                tracing::warn!("the stored certificate cannot be used: {reason}");
                None
            }
        });
        let wanted = Booking {
            names: names.clone(),
            challenge: config.challenge.as_str().to_owned(),
            ..Booking::default()
        };
        let booked = files.booking().unwrap_or_else(|error| {
            tracing::warn!("the booking of attempts cannot be read: {error}");
            None
        });
        let booking = booked
            .filter(|booked| {
                (&booked.names, &booked.challenge) == (&wanted.names, &wanted.challenge)
            })
            .unwrap_or(wanted);
        let due_at = stored.as_ref().map_or(0, |certificate| {
            renewal_at(certificate.validity(), chance())
        });
        let state = State {
            next_at: due_at.max(booking.next_at),
            booking,
            last_at: 0,
            is_placeholder: stored.is_none(),
            is_asking: false,
            error: None,
        };
        let in_force = match stored {
            Some(certificate) => certificate,
            None => Certificate::placeholder(&names).map_err(AcmeError::Placeholder)?,
        };
        let tls = Tls::new(in_force).map_err(|error| AcmeError::Placeholder(error.to_string()))?;
        Ok(Self {
            config,
            client,
            files,
            tls: Arc::new(tls),
            context,
            state: Mutex::new(state),
            wake: Notify::new(),
        })
    }

    pub(crate) fn tls(&self) -> &Arc<Tls> {
        &self.tls
    }

    pub(crate) fn status(&self) -> Status {
        let state = self.state();
        Status {
            is_placeholder: state.is_placeholder,
            renewal_at: state.next_at(self.now()),
            renewal_failures: state.booking.failures - u32::from(state.is_asking),
            renewal_error: state.error.clone(),
        }
    }

    /// Tries again now after a failure, as an operator asks who has removed its cause; but neither twice a minute nor before
    /// the CA said.
    pub(crate) fn hurry(&self) {
        {
            let mut state = self.state();
            if state.booking.failures > 0 {
                let earliest = state
                    .booking
                    .held_until
                    .max(state.last_at + ACME_LOOK.as_secs());
                state.next_at = state.next_at.min(earliest);
            }
        }
        self.wake.notify_one();
    }

    /// Obtains and renews until it is told to stop.
    pub(crate) async fn run(&self, mut stop: watch::Receiver<bool>) {
        let mut warning = ExpiryWarning::default();
        loop {
            let now = self.now();
            let next_at = self.state().next_at(now);
            if now >= next_at {
                self.attempt(&mut stop).await;
            } else {
                if !self.state().is_placeholder {
                    warning.check(&self.tls.certificate(), now);
                }
                let wait = ACME_LOOK.min(std::time::Duration::from_secs(next_at - now));
                tokio::select! {
                    () = sleep(wait) => {}
                    () = self.wake.notified() => {}
                    _ = stop.wait_for(|stop| *stop) => {}
                }
            }
            // Whoever could stop it may be gone.
            if *stop.borrow() || stop.has_changed().is_err() {
                return;
            }
        }
    }

    /// Asks the CA once. It is booked as failed before it begins, so that a node that does not survive it does not begin
    /// again at once.
    async fn attempt(&self, stop: &mut watch::Receiver<bool>) {
        let before = self.state().booking.clone();
        if let Err(error) = self.book() {
            return self.failed(&format!("{}: {error}", self.files.directory().display()));
        }
        let challenge = self.config.challenge;
        tracing::info!("asking the CA for a certificate by {}", challenge.as_str());
        let mut proofs = Proofs::new(challenge, &self.context, &self.tls);
        let obtained = order::obtain(&self.config, &self.client, &self.files, &mut proofs);
        let outcome = tokio::select! {
            outcome = timeout(ACME_ATTEMPT, obtained) => Some(outcome.unwrap_or(Err(Failure::Deadline))),
            _ = stop.wait_for(|stop| *stop) => None,
        };
        proofs.withdraw().await;
        let outcome = match outcome {
            Some(outcome) => outcome.and_then(|pem| self.accept(pem.as_bytes())),
            None => {
                // Nobody failed. What cannot be written stays as it was booked.
                let _ = self.files.save_booking(&before);
                return;
            }
        };
        if let Err(failure) = outcome {
            let told = self.client.take_retry_after();
            let is_limit = failure.is_limit();
            if (told.is_some() || is_limit) && self.rebook(told, is_limit).is_err() {
                tracing::warn!("how long the CA wants to be left alone is not on disk");
            }
            self.failed(&failure.to_string());
        }
    }

    /// Checks, stores and puts in force what the CA issued.
    fn accept(&self, pem: &[u8]) -> Result<(), Failure> {
        let certificate = Certificate::from_pem(pem, pem).map_err(|fault| {
            let reason = fault.into_reason();
            Failure::Own(format!("what the CA issued cannot be used: {reason}"))
        })?;
        let validity = certificate.validity();
        let names = self.state().booking.names.clone();
        if !certificate.covers(&names) || validity.not_after <= self.now() {
            let reason = "what the CA issued is for other names, or has expired".to_owned();
            return Err(Failure::Own(reason));
        }
        let stored = self.files.save_certificate(pem);
        {
            let mut state = self.state();
            state.is_asking = false;
            state.booking.failures = 0;
            state.booking.next_at = 0;
            state.booking.held_until = 0;
            state.is_placeholder = false;
            state.error = None;
            // Not before the next look, however short the life is.
            let earliest = self.now() + ACME_LOOK.as_secs();
            state.next_at = renewal_at(validity, chance()).max(earliest);
            if let Err(error) = stored.and_then(|()| self.files.save_booking(&state.booking)) {
                let place = self.files.directory().display();
                tracing::error!("the new certificate is not stored: {place}: {error}");
            }
        }
        self.context.metrics().renewals.count(Counted::Success);
        self.tls.install(certificate);
        let days = validity.not_after.saturating_sub(self.now()) / 86_400;
        tracing::info!("a new certificate is in force for {days} days");
        Ok(())
    }

    /// Counts one more attempt as failed and writes down when the next may be.
    fn book(&self) -> io::Result<()> {
        {
            let mut state = self.state();
            state.booking.failures = state.booking.failures.saturating_add(1);
            state.last_at = self.now();
            state.is_asking = true;
        }
        self.rebook(None, false)
    }

    fn rebook(&self, told: Option<u64>, is_limit: bool) -> io::Result<()> {
        let now = self.now();
        let mut state = self.state();
        let wait = wait_as_told(wait_after(state.booking.failures, chance()), told, is_limit);
        if told.is_some() || is_limit {
            state.booking.held_until = now + wait_as_told(0, told, is_limit);
        }
        state.booking.next_at = now + wait;
        state.next_at = now + wait;
        let booking = state.booking.clone();
        drop(state);
        self.files.save_booking(&booking)
    }

    fn failed(&self, reason: &str) {
        // A CA's words are shown on a terminal.
        let reason: String = reason
            .chars()
            .map(|c| if c.is_control() { ' ' } else { c })
            .take(1_000)
            .collect();
        self.context.metrics().renewals.count(Counted::Failure);
        let mut state = self.state();
        let wait = state.next_at.saturating_sub(self.now());
        tracing::error!(
            "no certificate from the CA, next attempt in {} minutes: {reason}",
            wait / 60
        );
        state.error = Some(reason);
        state.is_asking = false;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> u64 {
        self.context.clock().seconds()
    }
}

/// Without randomness every node would ask at the same moment, which is no reason to stop.
fn chance() -> schedule::Chance {
    let mut chance = [0];
    if getrandom::fill(&mut chance).is_err() {
        tracing::warn!("the system gives no randomness");
    }
    chance[0]
}
