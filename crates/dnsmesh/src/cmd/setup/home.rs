//! The first two steps of `setup`: a configuration, and keys from a passphrase. No network is used.

use std::fs::OpenOptions;
use std::io::{IsTerminal, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use dmp_client::config::Config;
use zeroize::Zeroizing;

use super::Done;
use crate::args::init::{DEFAULT_DOMAIN, InitArgs};
use crate::args::setup::SetupArgs;
use crate::cmd::init;
use crate::context::{Context, Unlocked};
use crate::exit::Failure;
use crate::prompt::{self, StandardInput};
use crate::terminal;

/// Name of the passphrase file that is offered.
const PASSPHRASE_FILE: &str = "passphrase";

/// The configuration as it is, or a new one for the address.
pub(super) fn configuration(context: &Context, args: &SetupArgs) -> Result<Done<Config>, Failure> {
    let path = context.home.config_path();
    if context.home.has_config() {
        let config = context.config()?;
        let own = format!("{}@{}", config.username, config.domain);
        let is_other = |address: &str| {
            let typed = address.to_ascii_lowercase();
            typed != own.to_ascii_lowercase()
                && config
                    .own_address()
                    .ok()
                    .flatten()
                    .is_none_or(|address| address.to_string() != typed)
        };
        if let Some(address) = args.address.as_deref().filter(|address| is_other(address)) {
            return Err(Failure::user(
                "setup-other-address",
                format!("{} belongs to {own}, not to {address}", path.display()),
            )
            .hint("--config-home DIR sets up another address beside it"));
        }
        return Done::already(config, format!("{own} in {}", path.display()));
    }
    let address = match &args.address {
        Some(address) => address.clone(),
        None if is_interactive() => prompt::line("Address to set up (user@host): ")
            .map_err(|error| Failure::user("setup-address", error))?,
        None => {
            return Err(Failure::user(
                "setup-address",
                "no address is given, and there is nobody to ask",
            )
            .hint("dnsmesh setup user@host"));
        }
    };
    if !address.contains('@') {
        return Err(Failure::user(
            "setup-address",
            format!("`{address}` is no address: expected user@host"),
        ));
    }
    let mut notes = Vec::new();
    let config = init::compose(
        InitArgs {
            username: address,
            domain: DEFAULT_DOMAIN.to_owned(),
            endpoint: None,
            http_token: None,
            dns_host: None,
            dns_port: 5353,
            dns_resolvers: args.dns_resolvers.clone(),
            no_default_resolvers: false,
            identity_domain: String::new(),
            bootstrap_signer: None,
            force: false,
            no_probe_local_dns: true,
            allow_tofu: false,
            require_dnssec: false,
        },
        &mut notes,
    )?;
    for note in notes {
        context.format.note(&note);
    }
    context.home.save_config(&config)?;
    let detail = format!(
        "{}@{} in {}",
        config.username,
        config.domain,
        path.display()
    );
    Done::now(config, detail)
}

/// The keys of this home: those it was used with, or new ones from a passphrase that is not mistyped.
pub(super) fn passphrase(
    context: &Context,
    args: &SetupArgs,
    config: Config,
) -> Result<Done<Unlocked>, Failure> {
    let is_new = config.verify_pubkey.is_empty();
    let file = args.passphrase_file.as_deref().map(absolute).transpose()?;
    if let Some(file) = file.as_ref().filter(|file| file.exists()) {
        let text = file.display().to_string();
        if config.passphrase_file.as_ref() != Some(&text) {
            context
                .home
                .update_config(|config| config.passphrase_file = Some(text))?;
        }
    }
    if !is_new || context.has_passphrase(&context.config()?) {
        let unlocked = context.unlock(StandardInput::Free)?;
        let detail = format!("signing key {}", unlocked.identity.signing_public());
        return if is_new {
            Done::now(unlocked, detail)
        } else {
            Done::already(unlocked, detail)
        };
    }
    if !is_interactive() {
        return Err(Failure::user(
            "passphrase-none",
            "no passphrase, and there is nobody to ask for one",
        )
        .hint("set DMP_PASSPHRASE, or name a file that holds it with --passphrase-file"));
    }
    let text = new_passphrase()?;
    if let Some(file) = wanted_file(context, args, file)? {
        write_private(&file, &text)?;
        let path = file.display().to_string();
        context
            .home
            .update_config(|config| config.passphrase_file = Some(path))?;
    }
    let unlocked = context.unlock_with(context.config()?, &text)?;
    let detail = format!("signing key {}", unlocked.identity.signing_public());
    Done::now(unlocked, detail)
}

/// Whether there is somebody who can be asked.
fn is_interactive() -> bool {
    terminal::may_ask() && std::io::stdin().is_terminal()
}

/// Twice, because a mistyped passphrase would be an identity that nobody can open again.
fn new_passphrase() -> Result<Zeroizing<String>, Failure> {
    let ask = |question: &str| {
        prompt::secret(question, StandardInput::Message)
            .map_err(|error| Failure::user("passphrase-prompt", format!("no passphrase: {error}")))
    };
    let first = ask("New passphrase: ")?;
    if first.is_empty() {
        return Err(Failure::user("passphrase-empty", "the passphrase is empty"));
    }
    if *ask("The same again: ")? != *first {
        return Err(Failure::user(
            "passphrase-differs",
            "the two passphrases differ",
        ));
    }
    Ok(first)
}

/// Where the typed passphrase is to be kept, if it is.
fn wanted_file(
    context: &Context,
    args: &SetupArgs,
    named: Option<PathBuf>,
) -> Result<Option<PathBuf>, Failure> {
    if named.is_some() || args.yes {
        return Ok(named);
    }
    let path = context.home.dir().join(PASSPHRASE_FILE);
    if path.exists() {
        return Ok(None);
    }
    let question = format!(
        "Keep it in {} (readable by you only), so that you are not asked again? [y/N] ",
        path.display()
    );
    let answer = prompt::line(&question).map_err(|error| Failure::user("prompt", error))?;
    let agreed = matches!(answer.to_ascii_lowercase().as_str(), "y" | "yes");
    Ok(agreed.then_some(path))
}

/// A new file that only its owner reads; nothing that is there is overwritten.
fn write_private(path: &Path, text: &str) -> Result<(), Failure> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(0o600);
    let written = options.open(path).and_then(|mut file| {
        writeln!(file, "{text}")?;
        file.sync_all()
    });
    written
        .map_err(|error| Failure::user("passphrase-file", format!("{}: {error}", path.display())))
}

/// The configuration keeps the path, and is read from anywhere.
fn absolute(path: &Path) -> Result<PathBuf, Failure> {
    std::path::absolute(path)
        .map_err(|error| Failure::user("passphrase-file", format!("{}: {error}", path.display())))
}
