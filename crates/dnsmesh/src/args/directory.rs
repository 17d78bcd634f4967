//! The command line of `directory` (federation.md 2.13).

use std::path::PathBuf;

use clap::ValueEnum;
use dmp_net::Entry;

/// `directory`
#[derive(Debug, clap::Args)]
pub(crate) struct DirectoryArgs {
    /// A zone to ask, or a URL with its name as the host; may be given several times
    #[arg(long, value_name = "ZONE|URL")]
    pub(crate) seed: Vec<String>,
    /// A file with a zone or URL a line; empty lines and lines that begin with # are ignored
    #[arg(long, value_name = "FILE")]
    pub(crate) seeds_file: Option<PathBuf>,
    /// Where feed.json and index.html are written
    #[arg(long, value_name = "DIR", default_value = "./public")]
    pub(crate) out_dir: PathBuf,
    /// Ask this resolver, and show what it finds, instead of the well-known public ones; may be given several times
    #[arg(long, value_name = "RESOLVER")]
    pub(crate) resolver: Vec<Entry>,
    /// Do not look what each resolver finds
    #[arg(long)]
    pub(crate) no_resolver_matrix: bool,
    /// How much is told on standard error; the same as -v and -vv
    #[arg(long, value_name = "LEVEL", value_enum, ignore_case = true)]
    pub(crate) log_level: Option<LogLevel>,
}

/// `--log-level`
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogLevel {
    Debug,
    Info,
    Warning,
    Error,
    Critical,
}

impl DirectoryArgs {
    /// The level as a number of `-v`.
    pub(crate) fn verbosity(&self) -> u8 {
        match self.log_level {
            Some(LogLevel::Debug) => 2,
            Some(LogLevel::Info) => 1,
            Some(LogLevel::Warning | LogLevel::Error | LogLevel::Critical) | None => 0,
        }
    }
}
