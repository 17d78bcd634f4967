//! Brings settings that changed into force while the node runs: everything is read and checked first, then replaced
//! without a step that could fail.
//!
//! What a change means is decided in `config`; who asks for a reload, and who hears of it, is the caller's.

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use serde::Serialize;
use tokio::sync::watch;

use crate::config::{Config, ConfigError, Reload, SyncConfig};
use crate::context::Context;
use crate::http::{Keeper, Service, TlsError};
use crate::listen::Entrance;
use crate::supervise;

#[cfg(test)]
mod tests;

/// The way to a node's settings while it runs.
pub struct Reloader {
    running: Mutex<Config>,
    context: Arc<Context>,
    entrance: Arc<Entrance>,
    service: Arc<Service>,
    keeper: Option<Arc<Keeper>>,
    sync: watch::Sender<SyncConfig>,
    observer: OnceLock<Observer>,
}

type Observer = Box<dyn Fn(Event<'_>) + Send + Sync>;

/// What an observer is told.
#[derive(Debug)]
pub enum Event<'a> {
    /// A reload begins.
    Begins,
    /// It is done; these settings are in force.
    Applied(&'a Config),
    /// Nothing has changed, for this reason.
    Refused(&'a str),
}

/// What a reload did, by key of the settings.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Reloaded {
    /// In force from now on.
    pub changed: Vec<&'static str>,
    /// Changed, and waiting for the next start.
    pub restart: Vec<&'static str>,
}

/// Why a reload changed nothing. One line.
#[derive(Debug, thiserror::Error)]
pub enum ReloadError {
    /// The node was started with settings that were given to it and not read.
    #[error("it is not known where the settings come from")]
    NoSource,
    /// A setting is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A variable names a file of the reference (node.md 5.4).
    #[error("{variable}: {} is a database of the reference node", .path.display())]
    ForeignDatabase {
        /// The variable.
        variable: &'static str,
        /// The file it names.
        path: PathBuf,
    },
    /// The certificate of the HTTP listener cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

impl Reloader {
    pub(crate) fn new(
        config: Config,
        context: Arc<Context>,
        entrance: Arc<Entrance>,
        service: Arc<Service>,
        keeper: Option<Arc<Keeper>>,
        sync: watch::Sender<SyncConfig>,
    ) -> Arc<Self> {
        Arc::new(Self {
            running: Mutex::new(config),
            context,
            entrance,
            service,
            keeper,
            sync,
            observer: OnceLock::new(),
        })
    }

    /// Tells `observer` of every reload from now on; only the first observer is kept.
    pub fn observe(&self, observer: impl Fn(Event<'_>) + Send + Sync + 'static) {
        // A second one is a mistake of the caller's that harms nobody.
        let _ = self.observer.set(Box::new(observer));
    }

    /// Reads all settings again and brings into force what a running node can change. It reads files and so blocks.
    ///
    /// # Errors
    /// Anything is wrong with the settings, as at a start. Then everything stays as it was.
    pub fn reload(&self) -> Result<Reloaded, ReloadError> {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        self.tell(Event::Begins);
        match self.apply(&mut running) {
            Ok(reloaded) => {
                for warning in &running.warnings {
                    tracing::warn!("{warning}");
                }
                tracing::info!("settings read again: {}", told(&reloaded.changed));
                if !reloaded.restart.is_empty() {
                    tracing::warn!(
                        "these settings changed and need a restart: {}",
                        told(&reloaded.restart)
                    );
                }
                self.tell(Event::Applied(&running));
                Ok(reloaded)
            }
            Err(error) => {
                tracing::error!("the settings stay as they were: {error}");
                self.tell(Event::Refused(&error.to_string()));
                Err(error)
            }
        }
    }

    fn apply(&self, running: &mut Config) -> Result<Reloaded, ReloadError> {
        let environment = running
            .source()
            .ok_or(ReloadError::NoSource)?
            .environment()?;
        let Reload {
            config,
            changed,
            waiting,
        } = running.reload(&environment)?;
        if let Some((variable, path)) = supervise::foreign_database(&config) {
            return Err(ReloadError::ForeignDatabase { variable, path });
        }
        // The last step that may fail; it leaves the former certificate in force then.
        if let Some(keeper) = &self.keeper {
            keeper.reload()?;
        }
        let before = self.context.settings();
        self.context
            .configure(supervise::settings(&config, &before.database, before.dns));
        self.entrance.configure();
        self.service.configure(&config);
        self.sync.send_if_modified(|sync| {
            let is_new = *sync != config.sync;
            sync.clone_from(&config.sync);
            is_new
        });
        *running = config;
        Ok(Reloaded {
            changed,
            restart: waiting,
        })
    }

    fn tell(&self, event: Event<'_>) {
        if let Some(observer) = self.observer.get() {
            observer(event);
        }
    }
}

impl fmt::Debug for Reloader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reloader")
            .field("running", &self.running)
            .finish_non_exhaustive()
    }
}

fn told(keys: &[&str]) -> String {
    if keys.is_empty() {
        "nothing changed".to_owned()
    } else {
        keys.join(", ")
    }
}
