//! The files of a home as one tar archive in memory. Encrypts nothing and decides not where a home lies.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder};
use std::io::Read;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use zeroize::Zeroizing;

use super::{BackupError, read_private, write_new};
use crate::config::Config;
use crate::floors::FLOORS_FILE;
use crate::home::{Home, MANIFEST_FILE, SavedToken, token_host};
use crate::store::{STORE_FILE, Store};

const CONFIG: &str = "config.yaml";
/// In front of the host names of tokens.
const TOKENS: &str = "tokens/";

/// The files of a home. Nothing else can be in it.
pub struct Bundle {
    config: Zeroizing<Vec<u8>>,
    store: Option<Zeroizing<Vec<u8>>>,
    cluster: Option<Zeroizing<Vec<u8>>>,
    floors: Option<Zeroizing<Vec<u8>>>,
    /// By host.
    tokens: BTreeMap<String, Zeroizing<Vec<u8>>>,
}

impl Bundle {
    /// What a home holds now; the store as it was at one moment.
    ///
    /// # Errors
    /// A file that is there and cannot be read, failures of the store.
    pub fn of(home: &Home, store: &Store) -> Result<Self, BackupError> {
        let _lock = home.lock_files()?;
        let config = read_private(&home.config_path())?;
        let mut tokens = BTreeMap::new();
        for entry in fs::read_dir(home.tokens_dir()).into_iter().flatten() {
            let path = entry.map_err(BackupError::file(home.tokens_dir()))?.path();
            let host = path
                .file_name()
                .and_then(|name| name.to_str()?.strip_suffix(".json"));
            let Some(host) = host.filter(|host| token_host(host).is_ok_and(|safe| safe == *host))
            else {
                continue;
            };
            if let Some(content) = read_private(&path)? {
                tokens.insert(host.to_owned(), content);
            }
        }
        Ok(Self {
            config: config.unwrap_or_default(),
            store: Some(Zeroizing::new(store.snapshot()?)),
            cluster: read_private(&home.dir().join(MANIFEST_FILE))?,
            floors: read_private(&home.dir().join(FLOORS_FILE))?,
            tokens,
        })
    }

    /// The configuration in it.
    ///
    /// # Errors
    /// [`BackupError::Content`] for one that this program does not read.
    pub fn config(&self) -> Result<Config, BackupError> {
        let unreadable = |reason: String| BackupError::Content(format!("{CONFIG}: {reason}"));
        let text =
            std::str::from_utf8(&self.config).map_err(|error| unreadable(error.to_string()))?;
        Config::from_yaml(text).map_err(|error| unreadable(error.to_string()))
    }

    /// How many saved tokens are in it.
    #[must_use]
    pub fn token_count(&self) -> usize {
        self.tokens.len()
    }

    /// Writes the archive, always in the same order.
    pub(super) fn to_tar(&self) -> Result<Zeroizing<Vec<u8>>, BackupError> {
        let mut files = vec![(CONFIG.to_owned(), &self.config)];
        files.extend(
            self.store
                .iter()
                .map(|store| (STORE_FILE.to_owned(), store)),
        );
        for (name, content) in [(MANIFEST_FILE, &self.cluster), (FLOORS_FILE, &self.floors)] {
            files.extend(content.iter().map(|content| (name.to_owned(), content)));
        }
        let tokens = self.tokens.iter();
        files.extend(tokens.map(|(host, token)| (format!("{TOKENS}{host}.json"), token)));
        // One allocation: what a growing buffer leaves behind would not be zeroised.
        let room = files
            .iter()
            .map(|(_, content)| content.len() + 1024)
            .sum::<usize>()
            + 1024;
        let mut buffer = Zeroizing::new(Vec::with_capacity(room));
        let mut tar = tar::Builder::new(&mut *buffer);
        for (name, content) in files {
            let mut header = tar::Header::new_ustar();
            header.set_size(content.len() as u64);
            header.set_mode(0o600);
            header.set_cksum();
            tar.append_data(&mut header, name, content.as_slice())
                .map_err(|_| BackupError::TooLarge)?;
        }
        tar.into_inner().map_err(|_| BackupError::TooLarge)?;
        Ok(buffer)
    }

    /// Reads an archive, and only what belongs into one.
    pub(super) fn from_tar(tar: &[u8]) -> Result<Self, BackupError> {
        let broken = |error: std::io::Error| BackupError::Content(error.to_string());
        let mut bundle = Self {
            config: Zeroizing::default(),
            store: None,
            cluster: None,
            floors: None,
            tokens: BTreeMap::new(),
        };
        let mut seen = Vec::new();
        for entry in tar::Archive::new(tar).entries().map_err(broken)? {
            let mut entry = entry.map_err(broken)?;
            let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
            let mut content = Zeroizing::new(Vec::new());
            entry.read_to_end(&mut content).map_err(broken)?;
            let foreign = || BackupError::Content(format!("`{name}`"));
            if !entry.header().entry_type().is_file() || seen.contains(&name) {
                return Err(foreign());
            }
            match name.as_str() {
                CONFIG => bundle.config = content,
                STORE_FILE => bundle.store = Some(content),
                MANIFEST_FILE => bundle.cluster = Some(content),
                FLOORS_FILE => bundle.floors = Some(content),
                other => {
                    let host = other
                        .strip_prefix(TOKENS)
                        .and_then(|token| token.strip_suffix(".json"))
                        .filter(|host| token_host(host).is_ok_and(|safe| safe == *host))
                        .ok_or_else(foreign)?;
                    bundle.tokens.insert(host.to_owned(), content);
                }
            }
            seen.push(name);
        }
        if !seen.iter().any(|name| name == CONFIG) {
            return Err(BackupError::Content(format!("{CONFIG} is missing")));
        }
        bundle.config()?;
        Ok(bundle)
    }

    /// Writes a new home to `dir`, and the tokens below `tokens` if that is where they belong.
    pub(super) fn lay_out(&self, dir: &Path, tokens: Option<&Path>) -> Result<(), BackupError> {
        let create = |path: &Path| {
            DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(path)
                .map_err(BackupError::file(path))
        };
        create(dir)?;
        if let Some(tokens) = tokens.filter(|_| !self.tokens.is_empty()) {
            create(tokens)?;
            for (host, token) in &self.tokens {
                write_new(&tokens.join(format!("{host}.json")), token)?;
            }
        }
        if let Some(store) = &self.store {
            write_new(&dir.join(STORE_FILE), store)?;
            Store::check_file(&dir.join(STORE_FILE))?;
        }
        for (name, content) in [(MANIFEST_FILE, &self.cluster), (FLOORS_FILE, &self.floors)] {
            if let Some(content) = content {
                write_new(&dir.join(name), content)?;
            }
        }
        write_new(&dir.join(CONFIG), &self.config)
    }

    /// Saves tokens outside of the home; one that is there already stays, and its host is returned.
    pub(super) fn add_tokens(&self, home: &Home) -> Result<Vec<String>, BackupError> {
        let mut kept = Vec::new();
        for (host, content) in &self.tokens {
            let token = std::str::from_utf8(content)
                .ok()
                .and_then(SavedToken::from_json);
            let is_there = home.tokens_dir().join(format!("{host}.json")).exists();
            match token.filter(|_| !is_there) {
                Some(token) => {
                    home.save_token(&token)?;
                }
                None => kept.push(host.clone()),
            }
        }
        Ok(kept)
    }
}

impl std::fmt::Debug for Bundle {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Bundle")
            .field("tokens", &self.tokens.len())
            .finish_non_exhaustive()
    }
}
