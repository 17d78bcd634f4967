//! The directory that holds everything one user has: configuration, store, tokens (client.md 2).
//!
//! It knows where the files lie, which modes they have and how they are replaced; what stands in them is other modules' business.

mod demotion;
mod private_file;
mod token;

pub use token::{SavedToken, TokenError, TokenFile, host_of_endpoint, token_host};

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::config::{Config, ConfigError};
use crate::error::Obstacle;
use crate::floors::FLOORS_FILE;

/// Files of a home that nobody else may read (client.md 2), the reference's included.
const PRIVATE_FILES: [&str; 14] = [
    "config.yaml",
    "config.yaml.bak",
    "dnsmesh.db",
    "dnsmesh.db-wal",
    "dnsmesh.db-shm",
    "resolvers.json",
    "prekeys.db",
    "prekeys.db-wal",
    "prekeys.db-shm",
    "intros.db",
    "intros.db-wal",
    "intros.db-shm",
    "replay_cache.json",
    FLOORS_FILE,
];

/// The signed text of the last cluster manifest that the user kept.
pub(crate) const MANIFEST_FILE: &str = "cluster_manifest.wire";

/// Why the home directory or a file in it cannot be used. Every message names the path.
#[derive(Debug, thiserror::Error)]
pub enum HomeError {
    /// There is no `config.yaml`.
    #[error("no config at {} — run `dnsmesh init <username>` first", .0.display())]
    NoConfig(PathBuf),
    /// `config.yaml` does not say what it should.
    #[error("{}: {reason}", path.display())]
    Config {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: ConfigError,
    },
    /// The file system refused.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// Neither a flag, a variable nor `HOME` says where the files are.
    #[error("no home directory: set HOME, DMP_CONFIG_HOME or --config-home")]
    Nowhere,
}

impl HomeError {
    /// The stable machine code (D32).
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::NoConfig(_) => "home-no-config",
            Self::Config { .. } => "home-config",
            Self::Io { source, .. } => {
                Obstacle::of_file(source).map_or("home-file", Obstacle::code)
            }
            Self::Nowhere => "home-nowhere",
        }
    }

    fn io(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { path, source }
    }
}

/// What decides where a home lies: flags and environment, passed in as values (cli.md 1.1).
#[derive(Debug, Clone, Default)]
pub struct Locations {
    /// Flag `--config-home`.
    pub config_flag: Option<PathBuf>,
    /// Flag `--tokens-home`.
    pub tokens_flag: Option<PathBuf>,
    /// Variable `DMP_CONFIG_HOME`; not `~`-expanded.
    pub config_variable: Option<OsString>,
    /// Variable `DMP_TOKENS_HOME`; `~`-expanded.
    pub tokens_variable: Option<OsString>,
    /// Variable `HOME`.
    pub user_home: Option<OsString>,
}

/// One user's directory. Cheap to clone; holds no handle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Home {
    dir: PathBuf,
    tokens: PathBuf,
    user_home: Option<PathBuf>,
}

impl Home {
    /// The home that flags and environment name. Empty variables count as unset.
    ///
    /// Tokens follow the flag `--config-home`, but not the variable (cli.md 1.1).
    pub fn locate(locations: &Locations) -> Result<Self, HomeError> {
        let path = |text: &Option<OsString>| {
            text.clone()
                .filter(|text| !text.is_empty())
                .map(PathBuf::from)
        };
        let user_home = path(&locations.user_home);
        let default = user_home.as_ref().map(|home| home.join(".dmp"));
        let dir = locations
            .config_flag
            .clone()
            .or_else(|| path(&locations.config_variable))
            .or_else(|| default.clone());
        let tokens = match (
            &locations.tokens_flag,
            path(&locations.tokens_variable),
            &locations.config_flag,
        ) {
            (Some(flag), _, _) => Some(flag.clone()),
            (None, Some(variable), _) => Some(expand_home(&variable, user_home.as_deref())),
            (None, None, Some(config)) => Some(config.join("tokens")),
            (None, None, None) => default
                .map(|home| home.join("tokens"))
                .or_else(|| dir.as_ref().map(|dir| dir.join("tokens"))),
        };
        Ok(Self {
            dir: dir.ok_or(HomeError::Nowhere)?,
            tokens: tokens.ok_or(HomeError::Nowhere)?,
            user_home,
        })
    }

    /// A home whose tokens lie inside it.
    pub fn at(dir: impl Into<PathBuf>) -> Self {
        let dir = dir.into();
        Self {
            tokens: dir.join("tokens"),
            dir,
            user_home: None,
        }
    }

    /// The directory itself.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Where bearer tokens are saved.
    pub fn tokens_dir(&self) -> &Path {
        &self.tokens
    }

    /// The configuration file.
    pub fn config_path(&self) -> PathBuf {
        self.dir.join("config.yaml")
    }

    /// What keeps files of this home from being written, as the system says when one tries; `None` if nothing does.
    #[must_use]
    pub fn obstacle(&self) -> Option<Obstacle> {
        let written = private_file::try_write(&self.dir.join("dnsmesh.probe"));
        written.err().as_ref().and_then(Obstacle::of_file)
    }

    /// The one transactional store (D17).
    pub fn store_path(&self) -> PathBuf {
        self.dir.join("dnsmesh.db")
    }

    /// The path a configuration value names, with a leading `~` replaced.
    pub fn expand(&self, path: &str) -> PathBuf {
        expand_home(Path::new(path), self.user_home.as_deref())
    }

    /// Whether `init` has been run here.
    pub fn has_config(&self) -> bool {
        self.config_path().exists()
    }

    /// Reads `config.yaml`.
    pub fn load_config(&self) -> Result<Config, HomeError> {
        let path = self.config_path();
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(HomeError::NoConfig(path));
            }
            Err(source) => return Err(HomeError::Io { path, source }),
        };
        Config::from_yaml(&text).map_err(|reason| HomeError::Config { path, reason })
    }

    /// Replaces `config.yaml` in one step, mode 0600. A file with another salt is kept beside it as `config.yaml.bak`,
    /// because without its salt an identity is lost (client.md 2).
    pub fn save_config(&self, config: &Config) -> Result<(), HomeError> {
        let path = self.config_path();
        let text = config.to_yaml().map_err(|reason| HomeError::Config {
            path: path.clone(),
            reason,
        })?;
        self.create()?;
        if let Ok(old) = fs::read(&path) {
            let old_salt = std::str::from_utf8(&old)
                .ok()
                .and_then(|text| Config::from_yaml(text).ok())
                .map(|old| old.kdf_salt);
            if old_salt.as_ref() != Some(&config.kdf_salt) {
                private_file::replace(&self.dir.join("config.yaml.bak"), &old)?;
            }
        }
        private_file::replace(&path, text.as_bytes())
    }

    /// Makes the directory, mode 0700, if it is not there yet.
    pub fn create(&self) -> Result<(), HomeError> {
        private_file::create_dir(&self.dir)
    }

    /// Takes from group and others what they may do with the directory and the files in it that hold secrets; returns what was changed, to be told.
    ///
    /// A directory with the sticky bit is shared by intent and stays as it is.
    pub fn tighten(&self) -> Result<Vec<PathBuf>, HomeError> {
        let mut tightened = Vec::new();
        let mut paths = vec![self.dir.clone()];
        paths.extend(PRIVATE_FILES.map(|name| self.dir.join(name)));
        if let Ok(entries) = fs::read_dir(&self.tokens) {
            paths.push(self.tokens.clone());
            let mut tokens: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
            tokens.retain(|path| {
                path.extension()
                    .is_some_and(|extension| extension == "json")
            });
            tokens.sort();
            paths.extend(tokens);
        }
        for path in paths {
            let Ok(metadata) = fs::symlink_metadata(&path) else {
                continue;
            };
            let mode = metadata.mode();
            if metadata.is_symlink() || mode & 0o1000 != 0 || mode & 0o077 == 0 {
                continue;
            }
            fs::set_permissions(&path, fs::Permissions::from_mode(mode & 0o700))
                .map_err(HomeError::io(&path))?;
            tightened.push(path);
        }
        Ok(tightened)
    }

    /// Changes `config.yaml` as it stands now, under an advisory lock, so that two processes do not undo each other's change (client.md 2).
    pub fn update_config(&self, change: impl FnOnce(&mut Config)) -> Result<Config, HomeError> {
        let _lock = self.lock_files()?;
        let mut config = self.load_config()?;
        change(&mut config);
        self.save_config(&config)?;
        Ok(config)
    }

    /// Replaces a file of the home in one step, mode 0600.
    pub(crate) fn replace_file(&self, name: &str, content: &[u8]) -> Result<(), HomeError> {
        private_file::replace(&self.dir.join(name), content)
    }

    /// Keeps the signed text of a cluster manifest, as the reference does (client.md 2).
    pub fn save_manifest(&self, wire: &str) -> Result<PathBuf, HomeError> {
        self.replace_file(MANIFEST_FILE, wire.as_bytes())?;
        Ok(self.dir.join(MANIFEST_FILE))
    }

    /// Waits for the lock under which files of the home are changed or copied; it ends with the value.
    pub(crate) fn lock_files(&self) -> Result<fs::File, HomeError> {
        let path = self.dir.join("config.lock");
        let lock = private_file::options()
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(HomeError::io(&path))?;
        lock.lock().map_err(HomeError::io(&path))?;
        Ok(lock)
    }

    /// Stores a bearer token for its host, mode 0600 in a directory of mode 0700 (client.md 5.4).
    pub fn save_token(&self, token: &SavedToken) -> Result<PathBuf, TokenError> {
        let path = self.token_path(&token.node)?;
        self.prepare_tokens_dir()?;
        private_file::replace(&path, token.to_json().as_bytes())?;
        Ok(path)
    }

    /// Proves that a token for `host` could be saved, before a node mints one that would be lost (client.md 4.8).
    pub fn check_token_writable(&self, host: &str) -> Result<(), TokenError> {
        let path = self.token_path(host)?;
        self.prepare_tokens_dir()?;
        Ok(private_file::probe(&path)?)
    }

    /// The saved token to send to `endpoint`: none if the file is missing, damaged or expired by more than 300 s (client.md 5.4).
    pub fn token_for_endpoint(&self, endpoint: &str, now: u64) -> Option<SavedToken> {
        let path = self.token_path(host_of_endpoint(endpoint)?).ok()?;
        SavedToken::from_json(&fs::read_to_string(path).ok()?)
            .filter(|token| token.is_worth_sending(now))
    }

    fn token_path(&self, host: &str) -> Result<PathBuf, TokenError> {
        Ok(self.tokens.join(format!("{}.json", token_host(host)?)))
    }

    fn prepare_tokens_dir(&self) -> Result<(), HomeError> {
        private_file::create_dir(&self.tokens)?;
        let mode = fs::metadata(&self.tokens)
            .map_err(HomeError::io(&self.tokens))?
            .mode();
        if mode & 0o077 != 0 {
            fs::set_permissions(&self.tokens, fs::Permissions::from_mode(0o700))
                .map_err(HomeError::io(&self.tokens))?;
        }
        Ok(())
    }
}

fn expand_home(path: &Path, user_home: Option<&Path>) -> PathBuf {
    match (path.strip_prefix("~"), user_home) {
        (Ok(rest), Some(home)) => home.join(rest),
        _ => path.to_owned(),
    }
}
