//! `node config`: every setting with its default, the settings that hold, and an environment file as a settings file.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use dmp_node::config::{self, Config, Migrated, SECRETS_DIRECTORY, Secret, Shown};
use serde::Serialize;

use super::check;
use crate::args::{ConfigCommand, ConfigMigrateArgs, ConfigShowArgs, NodeConfigArgs};
use crate::exit::{Exit, Failure};
use crate::report::{Format, Page, Report, line};
use crate::screen;

/// Does what the command line asks.
pub(super) async fn config(args: NodeConfigArgs, format: Format) -> Result<Exit, Failure> {
    match args.action {
        None if args.markdown => {
            Ok(format.print(&Page::new("node-settings-page", config::reference())))
        }
        None => Ok(format.print(&Page::new("node-settings", config::example()))),
        Some(ConfigCommand::Check(args)) => Ok(format.print(&check::check(args).await)),
        Some(ConfigCommand::Show(args)) => Ok(format.print(&show(args)?)),
        Some(ConfigCommand::Migrate(args)) => Ok(format.print(&migrate(&args)?)),
    }
}

/// The settings that hold.
struct Settings {
    rows: Vec<Shown>,
    with_origin: bool,
}

fn show(args: ConfigShowArgs) -> Result<Settings, Failure> {
    let with_origin = args.origin;
    let config = Config::of_process(&args.run.into())
        .map_err(|error| Failure::user("node-config", error))?;
    Ok(Settings {
        rows: config.shown(),
        with_origin,
    })
}

impl Report for Settings {
    fn text(&self) -> String {
        let rows = self.rows.iter().map(|Shown { key, value, origin }| {
            let row = match value {
                Some(value) => format!("{key} = {value}"),
                None if origin == "default" => format!("# {key} is not set"),
                None => format!("# {key} is set and secret"),
            };
            let row = if self.with_origin {
                format!("{row:<60} # {origin}")
            } else {
                row
            };
            screen::line(&row).into_owned() + "\n"
        });
        rows.collect()
    }

    fn json(&self) -> String {
        let rows = self.rows.iter();
        rows.map(|row| line("dmp.node-setting/1", row)).collect()
    }
}

fn migrate(args: &ConfigMigrateArgs) -> Result<File, Failure> {
    let path = &args.from_env;
    let wrong = |error: &dyn std::fmt::Display| {
        Failure::user("node-config", format!("{}: {error}", path.display()))
    };
    let text = fs::read_to_string(path).map_err(|error| wrong(&error))?;
    let text = zeroize::Zeroizing::new(text);
    let directory = args.secrets.as_deref();
    let directory = directory.unwrap_or(Path::new(SECRETS_DIRECTORY));
    let migrated = config::migrate(&text, directory).map_err(|error| wrong(&error))?;
    if args.secrets.is_some() {
        for secret in &migrated.secrets {
            write(secret).map_err(|error| {
                let file = secret.file.display();
                Failure::user("node-config", format!("{file}: {error}"))
            })?;
        }
    }
    Ok(File {
        migrated,
        are_secrets_written: args.secrets.is_some(),
    })
}

/// Writes a secret to a new file that only its owner reads.
fn write(secret: &Secret) -> std::io::Result<()> {
    let mut options = OpenOptions::new();
    let mut file = options
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&secret.file)?;
    file.write_all(secret.text.as_bytes())?;
    file.write_all(b"\n")
}

/// A settings file made from an environment file.
struct File {
    migrated: Migrated,
    are_secrets_written: bool,
}

impl Report for File {
    fn text(&self) -> String {
        self.migrated.toml.clone()
    }

    fn json(&self) -> String {
        #[derive(Serialize)]
        struct Members<'a> {
            toml: &'a str,
            secrets: Vec<SecretFile<'a>>,
        }
        #[derive(Serialize)]
        struct SecretFile<'a> {
            variable: &'a str,
            file: &'a Path,
            written: bool,
        }
        let secrets = self.migrated.secrets.iter().map(|secret| SecretFile {
            variable: secret.variable,
            file: &secret.file,
            written: self.are_secrets_written,
        });
        line(
            "dmp.node-settings-migrated/1",
            &Members {
                toml: &self.migrated.toml,
                secrets: secrets.collect(),
            },
        )
    }

    fn notes(&self) -> Vec<String> {
        let secrets = self.migrated.secrets.iter().map(|secret| {
            let (variable, file) = (secret.variable, secret.file.display());
            if self.are_secrets_written {
                format!("the value of {variable} was written to {file}; the node's user has to be able to read it")
            } else {
                format!("write the value of {variable} to {file}, which only the node's user reads")
            }
        });
        secrets.chain(self.migrated.notes.iter().cloned()).collect()
    }
}
