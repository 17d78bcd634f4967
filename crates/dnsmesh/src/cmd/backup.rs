//! `backup export|import|sheet|restore-sheet`: a home in one encrypted file, an identity on one page.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use dmp_client::backup::{BackupError, Bundle, Present, RecoverySheet, Restored, SheetError};
use dmp_client::config::Config;
use dmp_client::limits::BACKUP_WORK;
use dmp_client::mesh::system_random;
use dmp_client::passphrase;
use dmp_core::id::UnixTime;
use serde::Serialize;
use zeroize::Zeroizing;

use super::Outcome;
use crate::args::backup::BackupCommand;
use crate::context::{Context, Unlocked};
use crate::exit::Failure;
use crate::prompt::{self, StandardInput};
use crate::report::{Page, Report, line};
use crate::time::now;

/// Does what the command line asks.
pub(super) fn perform(context: &Context, command: BackupCommand) -> Outcome {
    match command {
        BackupCommand::Export {
            file,
            passphrase_file,
            sheet,
        } => export(context, file, passphrase_file.as_deref(), sheet),
        BackupCommand::Import {
            file,
            passphrase_file,
            force,
        } => {
            let present = if force {
                Present::SetAside
            } else {
                Present::Keep
            };
            import(context, &file, passphrase_file.as_deref(), present)
        }
        BackupCommand::Sheet { file } => sheet(context, file),
        BackupCommand::RestoreSheet { file } => restore_sheet(context, &file),
    }
}

fn export(
    context: &Context,
    file: PathBuf,
    passphrase_file: Option<&Path>,
    sheet: Option<PathBuf>,
) -> Outcome {
    for path in std::iter::once(&file).chain(&sheet) {
        if path.exists() {
            return Err(BackupError::Exists(path.clone()).into());
        }
    }
    let (unlocked, store) = context.unlock_store(StandardInput::Free)?;
    let page = sheet.as_ref().map(|_| page_of(&unlocked)).transpose()?;
    let bundle = Bundle::of(&context.home, &store)?;
    let passphrase = backup_passphrase(context, passphrase_file, Ask::Twice)?;
    let bytes = bundle.write(&file, &passphrase, BACKUP_WORK, &mut system_random())?;
    if let (Some(path), Some(page)) = (&sheet, page) {
        dmp_client::backup::write_new(path, page.as_bytes())?;
    }
    Ok(Box::new(Exported {
        file,
        sheet,
        bytes,
        tokens: bundle.token_count(),
    }))
}

fn import(
    context: &Context,
    file: &Path,
    passphrase_file: Option<&Path>,
    present: Present,
) -> Outcome {
    let read = fs::read(file).map_err(|source| BackupError::File {
        path: file.to_owned(),
        source,
    })?;
    let passphrase = backup_passphrase(context, passphrase_file, Ask::Once)?;
    let bundle = Bundle::open(&read, &passphrase)?;
    let restored = bundle.restore(&context.home, present, UnixTime::new(now()))?;
    Ok(Box::new(Imported {
        home: context.home.dir().to_owned(),
        address: address(&bundle.config()?),
        tokens: bundle.token_count(),
        restored,
    }))
}

fn sheet(context: &Context, file: Option<PathBuf>) -> Outcome {
    let page = page_of(&context.unlock(StandardInput::Free)?)?;
    match file {
        None => Ok(Box::new(Page::new("recovery-sheet", page))),
        Some(path) => {
            dmp_client::backup::write_new(&path, page.as_bytes())?;
            Ok(Box::new(SheetWritten(path)))
        }
    }
}

fn restore_sheet(context: &Context, file: &Path) -> Outcome {
    let (text, input) = if file == Path::new("-") {
        let mut text = String::new();
        let read = io::stdin().read_to_string(&mut text);
        (read.map(|_| text), StandardInput::Message)
    } else {
        (fs::read_to_string(file), StandardInput::Free)
    };
    let text = text.map_err(|source| BackupError::File {
        path: file.to_owned(),
        source,
    })?;
    if context.home.has_config() {
        return Err(BackupError::Occupied(context.home.dir().to_owned()).into());
    }
    let sheet = RecoverySheet::parse(&text)?;
    let mut config = Config {
        username: sheet.address.local().to_owned(),
        ..Config::default()
    };
    let identity = sheet.derive(&context.passphrase(&config, input)?)?;
    config = sheet.config(&identity);
    context.home.save_config(&config)?;
    Ok(Box::new(SheetRestored {
        home: context.home.dir().to_owned(),
        address: address(&config),
        fingerprint: identity.fingerprint().to_string(),
    }))
}

fn page_of(unlocked: &Unlocked) -> Result<String, Failure> {
    Ok(RecoverySheet::of(&unlocked.config, &unlocked.identity)?.to_string())
}

/// How often a passphrase is asked for: a new one twice, since a typing error would lock the backup for ever.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ask {
    Once,
    Twice,
}

fn backup_passphrase(
    context: &Context,
    file: Option<&Path>,
    ask: Ask,
) -> Result<Zeroizing<String>, Failure> {
    let question = || {
        let first = prompt::secret("Passphrase of the backup: ", StandardInput::Free)?;
        if ask == Ask::Twice && *first != *prompt::secret("Once more: ", StandardInput::Free)? {
            return Err(io::Error::other("the two are not the same"));
        }
        Ok(first)
    };
    // A file that was named and is missing must not turn into a question.
    if let Some(path) = file.filter(|path| !path.exists()) {
        return Err(BackupError::File {
            path: path.to_owned(),
            source: io::ErrorKind::NotFound.into(),
        }
        .into());
    }
    // A file that was named wins over the environment.
    let variable = match file {
        Some(_) => None,
        None => context.environment.backup_passphrase()?,
    };
    Ok(passphrase::obtain(variable, file, question)?.text)
}

fn address(config: &Config) -> String {
    format!("{}@{}", config.username, config.domain)
}

impl From<BackupError> for Failure {
    fn from(error: BackupError) -> Self {
        let failure = Self::user(error.code(), &error);
        match error {
            BackupError::Occupied(_) => failure
                .hint("nothing was changed; `backup import --force` moves what is there aside, whole"),
            BackupError::Exists(_) => failure.hint("nothing was changed; name a new file"),
            BackupError::WrongPassphrase => failure.hint(
                "nothing was changed; it is the passphrase that was chosen for the backup, not the one of the identity",
            ),
            BackupError::Home(_) | BackupError::Store(_) | BackupError::File { .. } => failure,
            _ => failure.hint("nothing was changed"),
        }
    }
}

impl From<SheetError> for Failure {
    fn from(error: SheetError) -> Self {
        Self::user(error.code(), error).hint("nothing was written")
    }
}

#[derive(Serialize)]
struct Exported {
    file: PathBuf,
    sheet: Option<PathBuf>,
    bytes: usize,
    tokens: usize,
}

impl Report for Exported {
    fn text(&self) -> String {
        let sheet = self
            .sheet
            .as_ref()
            .map(|path| format!("wrote the recovery sheet to {}\n", path.display()));
        format!(
            "wrote the backup to {} ({} bytes)\n{}",
            self.file.display(),
            self.bytes,
            sheet.unwrap_or_default()
        )
    }

    fn json(&self) -> String {
        line("dmp.backup-written/1", self)
    }

    fn notes(&self) -> Vec<String> {
        vec![
            "note: to use it you need its passphrase and the one of your identity; neither is in it".to_owned(),
        ]
    }
}

struct Imported {
    home: PathBuf,
    address: String,
    tokens: usize,
    restored: Restored,
}

impl Report for Imported {
    fn text(&self) -> String {
        format!("restored {} in {}\n", self.address, self.home.display())
    }

    fn json(&self) -> String {
        #[derive(Serialize)]
        struct Members<'a> {
            home: &'a Path,
            address: &'a str,
            tokens: usize,
            set_aside: Option<&'a Path>,
        }
        line(
            "dmp.backup-restored/1",
            &Members {
                home: &self.home,
                address: &self.address,
                tokens: self.tokens,
                set_aside: self.restored.set_aside.as_deref(),
            },
        )
    }

    fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        if let Some(path) = &self.restored.set_aside {
            notes.push(format!("note: the former home is now {}", path.display()));
        }
        for host in &self.restored.kept_tokens {
            notes.push(format!("note: the saved token of {host} was left as it is"));
        }
        notes.push(
            "note: run `dnsmesh identity refresh-prekeys` next; messages that came after the backup was made may come once more"
                .to_owned(),
        );
        notes
    }
}

struct SheetWritten(PathBuf);

impl Report for SheetWritten {
    fn text(&self) -> String {
        format!("wrote the recovery sheet to {}\n", self.0.display())
    }

    fn json(&self) -> String {
        #[derive(Serialize)]
        struct Members<'a> {
            file: &'a Path,
        }
        line("dmp.sheet-written/1", &Members { file: &self.0 })
    }
}

#[derive(Serialize)]
struct SheetRestored {
    home: PathBuf,
    address: String,
    fingerprint: String,
}

impl Report for SheetRestored {
    fn text(&self) -> String {
        format!(
            "restored the keys of {} in {}\n",
            self.address,
            self.home.display()
        )
    }

    fn json(&self) -> String {
        line("dmp.sheet-restored/1", self)
    }

    fn notes(&self) -> Vec<String> {
        vec![
            "note: contacts, messages and credentials are not on the sheet; next: `dnsmesh register` or `dnsmesh tsig register`, \
             `dnsmesh identity publish`, `dnsmesh identity refresh-prekeys`"
                .to_owned(),
        ]
    }
}
