//! The command line of `backup`.

use std::path::PathBuf;

use clap::Subcommand;

/// `backup`
#[derive(Debug, Subcommand)]
pub(crate) enum BackupCommand {
    /// Write the whole home to a new file, encrypted with a passphrase of its own (age format)
    Export {
        /// The file to write; an existing one is never replaced
        file: PathBuf,
        /// File with the passphrase of the backup [default: DMP_BACKUP_PASSPHRASE, or ask]
        #[arg(long, value_name = "FILE")]
        passphrase_file: Option<PathBuf>,
        /// Write the recovery sheet too, to this new file
        #[arg(long, value_name = "FILE")]
        sheet: Option<PathBuf>,
    },
    /// Make a backup the home
    Import {
        /// The file to read
        file: PathBuf,
        /// File with the passphrase of the backup [default: DMP_BACKUP_PASSPHRASE, or ask]
        #[arg(long, value_name = "FILE")]
        passphrase_file: Option<PathBuf>,
        /// Move a home that is not empty aside first, whole
        #[arg(long)]
        force: bool,
    },
    /// Print the recovery sheet: what makes your keys besides the passphrase, for paper
    Sheet {
        /// A new file to write it to [default: standard output]
        file: Option<PathBuf>,
    },
    /// Bring an identity back from a recovery sheet that was typed into a file
    RestoreSheet {
        /// The file, or - for standard input
        file: PathBuf,
    },
}
