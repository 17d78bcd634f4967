//! What a running node makes of settings that are read anew: what comes into force, and what waits for the next start.
//!
//! It decides and applies nothing.

use super::environment::{ConfigError, Environment};
use super::table::{self, Effect};
use super::{AuthMode, Config, ConfigFile, Overrides};

/// Where the settings of a node are read from, again at every reload.
#[derive(Debug, Clone)]
pub struct Source {
    /// `None`: those of the process, and the file where it usually is.
    variables: Option<Environment>,
    overrides: Overrides,
}

/// The settings for a running node after everything was read again and found right.
#[derive(Debug)]
pub struct Reload {
    /// All settings; those that only a restart can change are as before.
    pub config: Config,
    /// Settings that differ and come into force, by key.
    pub changed: Vec<&'static str>,
    /// Settings that differ and wait for the next start, by key.
    pub waiting: Vec<&'static str>,
}

impl Source {
    /// The variables of this process, and the file that the command line names or the usual one.
    pub fn of_process(overrides: Overrides) -> Self {
        Self {
            variables: None,
            overrides,
        }
    }

    /// These variables, and the file that the command line names.
    pub fn fixed(variables: Environment, overrides: Overrides) -> Self {
        Self {
            variables: Some(variables),
            overrides,
        }
    }

    /// Reads and checks everything.
    pub fn read(&self) -> Result<Config, ConfigError> {
        let config = Config::read(&self.environment()?, &self.overrides)?;
        Ok(Config {
            source: Some(self.clone()),
            ..config
        })
    }

    /// The variables, completed from the file.
    pub(crate) fn environment(&self) -> Result<Environment, ConfigError> {
        let file = match (&self.overrides.config, &self.variables) {
            (Some(path), _) => Some(ConfigFile::read(path)?),
            (None, None) => ConfigFile::read_default()?,
            (None, Some(_)) => None,
        };
        let variables = self.variables.clone();
        let variables = variables.unwrap_or_else(Environment::of_process);
        variables.with_file(file.as_ref())
    }
}

impl Config {
    /// What a node that runs with these settings makes of `environment`.
    ///
    /// # Errors
    /// Whatever would stop a start with `environment`, and what would be wrong with the mixture of settings that come into
    /// force and settings that wait.
    pub fn reload(&self, environment: &Environment) -> Result<Reload, ConfigError> {
        let wanted = Self::read(environment, &self.overrides)?;
        let (mut changed, mut waiting) = (Vec::new(), Vec::new());
        let mut kept = environment.clone();
        for (key, variable, default, effect) in table::all() {
            if wanted.given.told(variable, default) == self.given.told(variable, default) {
                continue;
            }
            match effect {
                Effect::Live => changed.push(key),
                Effect::Restart => {
                    waiting.push(key);
                    kept.copy(variable, &self.given);
                }
            }
        }
        let mut config = Self::read(&kept, &self.overrides)?;
        config.keep_places(self, &kept, &mut waiting)?;
        config.source.clone_from(&self.source);
        Ok(Reload {
            config,
            changed,
            waiting,
        })
    }

    /// Keeps what follows from several settings and is taken at the start: where the node listens and stores.
    fn keep_places(
        &mut self,
        running: &Self,
        kept: &Environment,
        waiting: &mut Vec<&'static str>,
    ) -> Result<(), ConfigError> {
        let is_open = self.http.auth == AuthMode::Open && !self.http.allow_open_public_bind;
        let host = &running.http.host;
        if is_open && running.http.is_public() {
            let reason = format!(
                "everybody could write records over HTTP, which listens for others (http.host is {host}) until the node is started again"
            );
            return Err(kept.locate(ConfigError::new("DMP_AUTH_MODE", reason)));
        }
        let differs = [
            ("http.host", self.http.host != running.http.host),
            ("dns.host", self.dns.host != running.dns.host),
            ("database", self.database != running.database),
        ];
        for (key, differs) in differs {
            if differs && !waiting.contains(&key) {
                waiting.push(key);
            }
        }
        self.http.host.clone_from(&running.http.host);
        self.http.passed = running.http.passed;
        self.dns.host.clone_from(&running.dns.host);
        self.database.clone_from(&running.database);
        Ok(())
    }
}
