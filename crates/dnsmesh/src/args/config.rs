//! The command line of `config` (cli.md 11, L3).

use clap::Subcommand;

/// `config`
#[derive(Debug, Subcommand)]
pub(crate) enum SettingCommand {
    /// Print the value of one key
    Get {
        /// The key; - counts as _
        key: String,
        /// Print secrets as they are
        #[arg(long)]
        show_secrets: bool,
    },
    /// Give a key a value
    Set {
        /// The key; - counts as _
        key: String,
        /// The value, a list with commas; - reads one line of standard input, which keeps secrets out of the list of processes
        #[arg(allow_hyphen_values = true)]
        value: String,
    },
    /// Give a key its default
    Unset {
        /// The key; - counts as _
        key: String,
    },
    /// Print all keys with their values
    List {
        /// Also say where each value comes from: flag, environment, file or default
        #[arg(long)]
        origin: bool,
        /// Print secrets as they are
        #[arg(long)]
        show_secrets: bool,
    },
    /// Print where the configuration file lies
    Path,
}
