//! What an import did, in numbers and, where a row was left out, in words.

use std::path::PathBuf;

use serde::Serialize;

use crate::limits::REPORTED_ROWS;
use crate::store::intake::Taken;

/// What became of the rows of all files.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The database of this node.
    pub database: PathBuf,
    /// Whether nothing was written.
    pub dry_run: bool,
    /// Each file with what it was recognised as.
    pub sources: Vec<SourceReport>,
    /// Values of records.
    pub records: Counts,
    /// TSIG keys.
    pub keys: Counts,
    /// Bearer tokens.
    pub tokens: Counts,
    /// Nodes that were heard of.
    pub heartbeats: Counts,
    /// Rows of the token audit. They stay in their file.
    pub audit_rows_left: u64,
    /// Owner names on which keys of different subjects have rights in full (W-2): the operator has to decide who keeps them.
    pub shared_names: Vec<String>,
    /// Rows that were left out, at most [`REPORTED_ROWS`] of them; the counts tell how many there are.
    pub refused: Vec<Refused>,
    /// SOA serial of the content.
    pub serial: u32,
}

/// One file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SourceReport {
    /// Its path.
    pub file: PathBuf,
    /// Tables of the reference that it holds, with the number of rows.
    pub tables: Vec<(&'static str, u64)>,
}

/// What became of the rows of one kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Taken over.
    pub added: u64,
    /// Already there, with an earlier expiry that was moved to the later one (records only).
    pub extended: u64,
    /// Already there.
    pub present: u64,
    /// No longer live, so left out.
    pub expired: u64,
    /// Not usable, or another of that name is there: left out.
    pub refused: u64,
}

impl Counts {
    pub(crate) fn count(&mut self, taken: Taken) {
        let counter = match taken {
            Taken::Added => &mut self.added,
            Taken::Extended => &mut self.extended,
            Taken::Present => &mut self.present,
            Taken::Expired => &mut self.expired,
            Taken::Refused(_) => &mut self.refused,
        };
        *counter += 1;
    }
}

/// One row that was left out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Refused {
    /// Its file.
    pub file: PathBuf,
    /// Owner name, key name or subject; never a secret or a value.
    pub row: String,
    /// Why.
    pub reason: String,
}

impl Report {
    pub(super) fn refuse(&mut self, file: &std::path::Path, row: &str, reason: impl ToString) {
        if self.refused.len() < REPORTED_ROWS {
            self.refused.push(Refused {
                file: file.to_owned(),
                row: row.to_owned(),
                reason: reason.to_string(),
            });
        }
    }
}
