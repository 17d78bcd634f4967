//! What every verb starts from: where the home lies and what the environment says (cli.md 1.1, 2).
//!
//! It opens configuration, keys, store and connection, each only when a verb asks for it.

use std::env;
use std::ffi::OsString;
use std::fmt;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::sync::OnceLock;

use dmp_client::config::{Config, ConfigError};
use dmp_client::connect::{Aftermath, ConnectError, ConnectOptions, Connection, LookUps};
use dmp_client::error::{Obstacle, StoreError};
use dmp_client::home::{Home, HomeError, Locations};
use dmp_client::limits::CLUSTER_SETTLE;
use dmp_client::mesh::{SystemClock, Unwatched};
use dmp_client::ops::Session;
use dmp_client::passphrase::{self, PassphraseError, Tripwire};
use dmp_client::reader::Resolvers;
use dmp_client::store::{Damage, Opening, Store};
use dmp_client::takeover::{ReferenceHome, TakeoverError};
use dmp_core::id::UnixTime;
use dmp_core::keys::Identity;
use dmp_net::SystemFallback;
use zeroize::Zeroizing;

use crate::beside::Beside;
use crate::cmd::credential;
use crate::exit::Failure;
use crate::prompt::{self, StandardInput};
use crate::report::Format;
use crate::terminal::Counter;
use crate::time::now;

/// The home and the environment of one run.
#[derive(Debug)]
pub(crate) struct Context {
    /// Where the user's files are.
    pub(crate) home: Home,
    /// The variables that change what verbs do.
    pub(crate) environment: Environment,
    /// How to print.
    pub(crate) format: Format,
    /// What is done beside the verb.
    pub(crate) beside: Beside,
    /// What is left of writes, once the verb went online.
    aftermath: OnceLock<Aftermath>,
    /// Whom the verb asks, once it does.
    resolvers: OnceLock<Resolvers>,
    /// What the store has met of damaged rows, once it is open.
    damage: OnceLock<Damage>,
}

/// Variables of cli.md 1.1, read once.
pub(crate) struct Environment {
    /// Flags and variables that say where the files are.
    pub(crate) locations: Locations,
    passphrase: Option<OsString>,
    passphrase_fd: Option<OsString>,
    backup_passphrase: Option<OsString>,
    is_tripwire_overridden: bool,
    /// How update targets are reached.
    pub(crate) connect: ConnectOptions,
    /// Tokens stay in `~/.dmp` although the configuration is elsewhere: worth a warning when one is saved.
    pub(crate) tokens_stay_behind: bool,
}

impl Environment {
    /// Whether `DMP_PASSPHRASE` is set to something else than this.
    pub(crate) fn holds_other(&self, passphrase: &str) -> bool {
        self.passphrase
            .as_ref()
            .is_some_and(|variable| !variable.is_empty() && variable.as_os_str() != passphrase)
    }

    /// The passphrase of a backup.
    pub(crate) fn backup_passphrase(&self) -> Result<Option<String>, Failure> {
        text_of("DMP_BACKUP_PASSPHRASE", self.backup_passphrase.clone())
    }
}

/// A variable as text.
fn text_of(name: &str, value: Option<OsString>) -> Result<Option<String>, Failure> {
    value
        .map(OsString::into_string)
        .transpose()
        .map_err(|_| Failure::user("passphrase-encoding", format!("{name} is not UTF-8")))
}

impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Environment").finish_non_exhaustive()
    }
}

/// A configuration with the keys that belong to it.
pub(crate) struct Unlocked {
    /// As read, with `verify_pubkey` set.
    pub(crate) config: Config,
    /// Derived from passphrase and salt.
    pub(crate) identity: Identity,
}

/// Everything a networked verb works with.
pub(crate) struct Online {
    /// The configuration.
    pub(crate) config: Config,
    /// The keys.
    pub(crate) identity: Identity,
    /// The store, opened with them.
    pub(crate) store: Store,
    /// Reader, writer, claims and profile.
    pub(crate) connection: Connection,
}

impl Online {
    /// The operations' view of it.
    pub(crate) fn session(&self) -> Session<'_> {
        Session {
            profile: &self.connection.profile,
            identity: &self.identity,
            store: &self.store,
            reader: self.connection.reader.as_ref(),
            writer: self.connection.writer.as_ref(),
            claims: self.connection.claims.as_ref(),
            clock: &SystemClock,
            watcher: &Counter,
        }
    }

    /// The same for work beside the verb, which is not what the progress is about.
    pub(crate) fn session_aside(&self) -> Session<'_> {
        Session {
            watcher: &Unwatched,
            ..self.session()
        }
    }
}

impl Context {
    /// The context of this process.
    pub(crate) fn of_process(
        config_flag: Option<PathBuf>,
        tokens_flag: Option<PathBuf>,
        format: Format,
    ) -> Result<Self, Failure> {
        let locations = Locations {
            config_flag,
            tokens_flag,
            config_variable: env::var_os("DMP_CONFIG_HOME"),
            tokens_variable: env::var_os("DMP_TOKENS_HOME"),
            user_home: env::var_os("HOME"),
        };
        let home = Home::locate(&locations)?;
        let fallback = env::var("DMP_ALLOW_SYSTEM_DNS_FALLBACK").unwrap_or_default();
        let is_fallback_allowed = matches!(
            fallback.trim().to_ascii_lowercase().as_str(),
            "1" | "true" | "yes" | "on"
        );
        let port = env::var("DMP_PROVIDER_DNS_PORT")
            .ok()
            .and_then(|port| port.trim().parse().ok());
        let environment = Environment {
            passphrase: env::var_os("DMP_PASSPHRASE").filter(|text| !text.is_empty()),
            passphrase_fd: env::var_os("DMP_PASSPHRASE_FD").filter(|text| !text.is_empty()),
            backup_passphrase: env::var_os("DMP_BACKUP_PASSPHRASE"),
            is_tripwire_overridden: env::var_os("DMP_PASSPHRASE_OVERRIDE_VERIFY")
                .is_some_and(|value| value == "1"),
            connect: ConnectOptions {
                provider_dns_port: port.unwrap_or(53),
                system_fallback: if is_fallback_allowed {
                    SystemFallback::Allowed
                } else {
                    SystemFallback::Forbidden
                },
            },
            tokens_stay_behind: !home.tokens_dir().starts_with(home.dir())
                && locations.tokens_flag.is_none()
                && locations.tokens_variable.is_none(),
            locations,
        };
        Ok(Self {
            home,
            environment,
            format,
            beside: Beside::default(),
            aftermath: OnceLock::new(),
            resolvers: OnceLock::new(),
            damage: OnceLock::new(),
        })
    }

    /// Reads the configuration and tells what had to be made private.
    pub(crate) fn config(&self) -> Result<Config, Failure> {
        tracing::info!(path = %self.home.config_path().display(), "reading the configuration");
        let config = self.home.load_config()?;
        for path in self.home.tighten()? {
            self.format.note(&format!(
                "note: {} was open to others; it is private now",
                path.display()
            ));
        }
        Ok(config)
    }

    /// Whether the system may resolve hosts although resolvers are configured.
    pub(crate) fn system_fallback(&self) -> SystemFallback {
        self.environment.connect.system_fallback
    }

    /// Keeps for the next command which resolvers failed.
    pub(crate) fn remember_resolvers(&self) {
        if let Some(resolvers) = self.resolvers.get() {
            self.home
                .remember_demotions(resolvers, UnixTime::new(now()));
        }
    }

    /// Reads the configuration, obtains the passphrase, derives the keys and compares them with the ones remembered.
    pub(crate) fn unlock(&self, input: StandardInput) -> Result<Unlocked, Failure> {
        let config = self.config()?;
        let passphrase = self.passphrase(&config, input)?;
        self.unlock_with(config, &passphrase)
    }

    /// Obtains the passphrase: from the environment, the file that the configuration names, or by asking (cli.md 2).
    pub(crate) fn passphrase(
        &self,
        config: &Config,
        input: StandardInput,
    ) -> Result<Zeroizing<String>, Failure> {
        let file = self.passphrase_file(config);
        let variable = self.passphrase_of_environment()?;
        let question = format!("Passphrase for {}: ", config.username);
        let passphrase = passphrase::obtain(variable, file.as_deref(), || {
            prompt::secret(&question, input)
        })?;
        if let Some(path) = passphrase.exposed_file {
            self.format.note(&format!(
                "warning: the passphrase file {} can be read by others",
                path.display()
            ));
        }
        Ok(passphrase.text)
    }

    /// Derives the keys from a passphrase that is at hand and compares them with the ones remembered.
    pub(crate) fn unlock_with(
        &self,
        mut config: Config,
        passphrase: &str,
    ) -> Result<Unlocked, Failure> {
        tracing::debug!("deriving the keys from passphrase and salt");
        let derived = Identity::derive(passphrase, &config.salt()?);
        let identity = derived.map_err(|error| Failure::user("passphrase-unusable", error))?;
        end_huge_pages();
        match passphrase::check_tripwire(&mut config, &identity.signing_public()) {
            Ok(Tripwire::Passed) => {}
            Ok(Tripwire::Armed) => self.remember(&config),
            Err(mismatch) => match Store::opening(self.home.dir(), &identity)? {
                // The store knows better: it is the first start after a rotation (client.md 13).
                Opening::Current => {
                    config.verify_pubkey = identity.signing_public().to_string();
                    self.remember(&config);
                    self.format.note(
                        "note: this passphrase is the new one of your rotation; the old one does not open this home any more",
                    );
                }
                // Without a store there is no better proof, so the user may insist; with one a wrong passphrase is wrong (D17).
                Opening::NoStore if self.environment.is_tripwire_overridden => {
                    self.format.note(&format!("warning: {mismatch}"));
                }
                _ => return Err(mismatch.into()),
            },
        }
        Ok(Unlocked { config, identity })
    }

    /// Whether there is a passphrase without asking for it: in the environment, or in the file that is configured.
    pub(crate) fn has_passphrase(&self, config: &Config) -> bool {
        self.environment.passphrase.is_some()
            || self.environment.passphrase_fd.is_some()
            || self
                .passphrase_file(config)
                .is_some_and(|file| file.exists())
    }

    fn passphrase_file(&self, config: &Config) -> Option<PathBuf> {
        let file = config.passphrase_file.as_ref();
        file.map(|path| self.home.expand(path))
    }

    /// `DMP_PASSPHRASE`, else what can be read from the open file that `DMP_PASSPHRASE_FD` numbers, to the end of its first line:
    /// a process's environment can be looked at by others, a pipe cannot (cli.md 11, L16).
    fn passphrase_of_environment(&self) -> Result<Option<String>, Failure> {
        if let Some(text) = &self.environment.passphrase {
            return text_of("DMP_PASSPHRASE", Some(text.clone()));
        }
        let Some(number) = &self.environment.passphrase_fd else {
            return Ok(None);
        };
        let number = number
            .to_str()
            .and_then(|number| number.parse::<u32>().ok());
        let number = number.ok_or_else(|| {
            Failure::user(
                "passphrase-fd",
                "DMP_PASSPHRASE_FD is not the number of an open file",
            )
        })?;
        let mut line = Zeroizing::new(String::new());
        File::open(format!("/dev/fd/{number}"))
            .and_then(|file| BufReader::new(file).read_line(&mut line))
            .map_err(|error| {
                Failure::user(
                    "passphrase-fd",
                    format!("DMP_PASSPHRASE_FD={number}: {error}"),
                )
            })?;
        let text = line.trim_end_matches(['\r', '\n']);
        if text.is_empty() {
            return Err(PassphraseError::Empty.into());
        }
        Ok(Some(text.to_owned()))
    }

    /// Unlocks and opens the store: the verbs that need no network.
    pub(crate) fn unlock_store(&self, input: StandardInput) -> Result<(Unlocked, Store), Failure> {
        let unlocked = self.unlock(input)?;
        let store = self.open_store(&unlocked)?;
        Ok((unlocked, store))
    }

    /// Opens the store; where there is none yet, what the reference left in the home is taken over and told (D4).
    fn open_store(&self, unlocked: &Unlocked) -> Result<Store, Failure> {
        let store = self.open_or_take_over(unlocked)?;
        self.damage.get_or_init(|| store.damage());
        Ok(store)
    }

    fn open_or_take_over(
        &self,
        Unlocked { config, identity }: &Unlocked,
    ) -> Result<Store, Failure> {
        let dir = self.home.dir();
        let now = UnixTime::new(now());
        if Store::exists(dir) {
            return Ok(Store::open(dir, identity, now)?);
        }
        let found = ReferenceHome::read(&self.home, config, now)?;
        let (store, taken) = Store::take_over(dir, identity, now, &found)?;
        if let Some(taken) = taken.filter(|_| !found.is_empty()) {
            for skipped in &found.skipped {
                self.format
                    .note(&format!("warning: not taken over: {skipped}"));
            }
            self.format.note(&format!(
                "note: taken over from the files of the reference: {} contact(s), {} prekey(s), {} quarantined message(s), \
                 {} blocked key(s), {} message(s) known as received; those files stay as they are and are not read again",
                taken.contacts, taken.prekeys, taken.intros, taken.denylist, taken.replays
            ));
        }
        Ok(store)
    }

    /// Unlocks, opens the store and makes ready for the network. Only the manifest of a cluster that is in use is looked up yet.
    pub(crate) async fn go_online(&self, input: StandardInput) -> Result<Online, Failure> {
        let Unlocked { config, identity } = self.unlock(input)?;
        self.online(config, identity).await
    }

    /// The same with keys that are at hand.
    pub(crate) async fn online(
        &self,
        config: Config,
        identity: Identity,
    ) -> Result<Online, Failure> {
        let unlocked = Unlocked { config, identity };
        let store = self.open_store(&unlocked)?;
        let Unlocked { config, identity } = unlocked;
        if let Some(warning) = credential::warning(&config, &self.home, now()) {
            self.format.note(&warning);
        }
        let connection = self.connection(&config).await?;
        if !config.cluster_active() && !config.cluster_base_domain.is_empty() {
            self.format.note(
                "note: a cluster is pinned but not enabled; the mesh zone is the configured domain",
            );
        }
        Ok(Online {
            config,
            identity,
            store,
            connection,
        })
    }

    /// Tells which rows of the store do not open, each time that more have been met.
    pub(crate) fn note_damage(&self) {
        for damaged in self.damage.get().map(Damage::news).unwrap_or_default() {
            self.format.note(&format!(
                "warning: {} row(s) of the table {} in {} are damaged and were passed over; the others are as they were. \
                 To have them back, restore a backup (`dnsmesh backup import`)",
                damaged.rows,
                damaged.table,
                self.home.store_path().display()
            ));
        }
    }

    /// The failure with what to do about a disk that takes no changes. A database does not pass on why it could not write; trying it does.
    pub(crate) fn explain(&self, mut failure: Failure) -> Failure {
        let Some(told) = Obstacle::of_code(failure.code) else {
            return failure;
        };
        let obstacle = match told {
            Obstacle::Broken | Obstacle::ReadOnly => self.home.obstacle().unwrap_or(told),
            told => told,
        };
        failure.code = obstacle.code();
        failure.hint(obstacle.remedy())
    }

    /// What a configuration reads and writes with. What is left of writes is told when the verb has said what it has to.
    pub(crate) async fn connection(&self, config: &Config) -> Result<Connection, Failure> {
        let options = self.environment.connect;
        let connection = Connection::open(config, &self.home, options, now()).await?;
        self.aftermath.get_or_init(|| connection.aftermath.clone());
        self.resolvers.get_or_init(|| connection.resolvers.clone());
        Ok(connection)
    }

    /// How a configuration looks things up, for the verbs that only read: in cluster mode its manifest is looked up first.
    pub(crate) async fn look_ups(&self, config: &Config) -> Result<LookUps, Failure> {
        let look_ups = LookUps::open(config, &self.home, self.system_fallback(), now()).await?;
        self.resolvers.get_or_init(|| look_ups.resolvers.clone());
        Ok(look_ups)
    }

    /// Tells which of several publishers or nodes did not take everything, although the verb may have succeeded through the others.
    pub(crate) async fn note_failures(&self) {
        let Some(aftermath) = self.aftermath.get() else {
            return;
        };
        for (name, failure) in aftermath.take_failures(CLUSTER_SETTLE).await {
            self.format.note(&format!("warning: {name}: {failure}"));
        }
    }

    /// Stores the signing key for the next run; not being able to is no reason to stop (client.md 3.1).
    fn remember(&self, config: &Config) {
        let key = &config.verify_pubkey;
        if let Err(error) = self
            .home
            .update_config(|stored| stored.verify_pubkey.clone_from(key))
        {
            self.format.note(&format!(
                "warning: the signing key could not be remembered: {error}"
            ));
        }
    }
}

/// The derivation works on 32 MiB, for which huge pages pay. What follows is small and spread over threads: a huge page for each would cost
/// memory, and the time to clear it.
fn end_huge_pages() {
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::thread::disable_transparent_huge_pages(true) {
        tracing::debug!(%error, "huge pages stay in use");
    }
}

impl From<HomeError> for Failure {
    fn from(error: HomeError) -> Self {
        Self::user(error.code(), error)
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self::user(error.code(), error)
    }
}

impl From<TakeoverError> for Failure {
    fn from(error: TakeoverError) -> Self {
        let failure = Self::user(error.code(), &error);
        match error {
            TakeoverError::FutureSchema { .. } => {
                failure.hint("nothing was changed; a newer version of this program may know it")
            }
            TakeoverError::Damaged { path, .. } => failure.hint(format!(
                "nothing was changed; to go on without it, move {} elsewhere",
                path.display()
            )),
            _ => failure.hint("nothing was changed"),
        }
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::WrongPassphrase => {
                Self::user(error.code(), format!("passphrase mismatch: {error}"))
            }
            StoreError::Damaged(_) | StoreError::Corrupt(_) => Self::user(error.code(), error)
                .hint("nothing was deleted; restore a backup (`dnsmesh backup import`)"),
            _ => Self::user(error.code(), error),
        }
    }
}

impl From<ConnectError> for Failure {
    fn from(error: ConnectError) -> Self {
        let failure = Self::new(error.fault(), error.code(), &error);
        match error {
            ConnectError::Manifest { .. } | ConnectError::Cluster { .. } => failure
                .hint("nothing was sent, and no single node is used instead of the cluster")
                .hint(
                    "`dnsmesh cluster status` looks at it; `dnsmesh cluster disable` goes back to the endpoint and your own domain",
                ),
            ConnectError::NoEndpoint => {
                failure.hint("set endpoint in the configuration, or run `dnsmesh tsig register`")
            }
            _ => failure,
        }
    }
}

impl From<PassphraseError> for Failure {
    fn from(error: PassphraseError) -> Self {
        let failure = Self::user(error.code(), &error);
        match error {
            PassphraseError::Mismatch { .. } => failure.hint(
                "nothing was changed; DMP_PASSPHRASE_OVERRIDE_VERIFY=1 goes on with the other keys",
            ),
            PassphraseError::Prompt(_) => {
                failure.hint("set DMP_PASSPHRASE, or passphrase_file in the configuration")
            }
            _ => failure,
        }
    }
}
