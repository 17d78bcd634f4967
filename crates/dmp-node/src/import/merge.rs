//! Joins rows of the reference with what the own database holds: owner names in lower case, duplicates merged, the later
//! expiry kept (W-5), nothing of ours overwritten.

use std::path::Path;

use dmp_core::error::{RecordError, Rejected};
use dmp_core::id::UnixTime;
use dmp_core::record::heartbeat::{Heartbeat, Skew};
use dmp_dns::Name;
use dmp_dns::tsig::{self, Algorithm};
use rusqlite::{OptionalExtension, Transaction, params};

use super::ImportError;
use super::report::{Report, SourceReport};
use super::source::{HeartbeatRow, RecordRow, Source, TokenRow, TsigRow};
use crate::access::{Scope, ScopeKind};
use crate::credentials::pattern_rows;
use crate::federation::heartbeat;
use crate::store::intake::{Incoming, Intake, Taken, Written};
use crate::store::offline::Position;
use crate::zone::Owner;

/// One import in progress.
pub(super) struct Merge<'t> {
    sql: &'t Transaction<'t>,
    now: i64,
    intake: Intake<'t>,
    report: Report,
}

impl<'t> Merge<'t> {
    /// Reads what is there already.
    pub(super) fn new(
        sql: &'t Transaction<'t>,
        millis: u64,
        position: Position,
    ) -> rusqlite::Result<Self> {
        Ok(Self {
            sql,
            now: i64::try_from(millis / 1000).unwrap_or(i64::MAX),
            intake: Intake::new(sql, millis, position, Written::Unknown)?,
            report: Report::default(),
        })
    }

    /// Takes over every row of one file.
    pub(super) fn take(&mut self, source: &Source) -> Result<(), ImportError> {
        self.report.sources.push(SourceReport {
            file: source.path.clone(),
            tables: source.tables.clone(),
        });
        self.report.audit_rows_left += source.count("token_audit");
        let file = &source.path;
        source.records(&mut |row| match row {
            Ok(row) => self.record(file, row),
            Err(name) => {
                self.report.records.refused += 1;
                self.report.refuse(file, &name, WRONG_TYPES);
                Ok(())
            }
        })?;
        source.keys(&mut |row| match row {
            Ok(row) => self.key(file, row),
            Err(name) => {
                self.report.keys.refused += 1;
                self.report.refuse(file, &name, WRONG_TYPES);
                Ok(())
            }
        })?;
        source.tokens(&mut |row| match row {
            Ok(row) => self.token(file, row),
            Err(name) => {
                self.report.tokens.refused += 1;
                self.report.refuse(file, &name, WRONG_TYPES);
                Ok(())
            }
        })?;
        source.heartbeats(&mut |row| match row {
            Ok(row) => self.heartbeat(file, &row),
            Err(name) => {
                self.report.heartbeats.refused += 1;
                self.report.refuse(file, &name, WRONG_TYPES);
                Ok(())
            }
        })?;
        Ok(())
    }

    /// The outcome, and where the rows end.
    pub(super) fn finish(mut self) -> rusqlite::Result<(Report, Position)> {
        let mut statement = self.sql.prepare(
            "SELECT pattern FROM tsig_pattern JOIN tsig_key ON tsig_key.name = tsig_pattern.key
             WHERE revoked = 0 AND (expires_at = 0 OR expires_at > ?1) AND subject <> ''
             GROUP BY pattern HAVING count(DISTINCT subject) > 1 ORDER BY pattern",
        )?;
        let shared = statement.query_map([self.now], |row| row.get(0))?;
        self.report.shared_names = shared.collect::<Result<_, _>>()?;
        Ok((self.report, self.intake.position()))
    }

    fn record(&mut self, file: &Path, row: RecordRow) -> rusqlite::Result<()> {
        let (owner, taken) = match Owner::parse(row.name.trim_end_matches('.')) {
            // What has expired needs no name that this node takes.
            _ if row.expires_at <= self.now => (None, Taken::Expired),
            Err(reason) => {
                self.report.records.refused += 1;
                self.report.refuse(file, &row.name, reason);
                return Ok(());
            }
            Ok(owner) => {
                let incoming = Incoming {
                    owner: &owner,
                    value: &row.value,
                    ttl: row.ttl,
                    expires_at: row.expires_at,
                };
                let taken = self.intake.take(&incoming)?;
                (Some(owner), taken)
            }
        };
        self.report.records.count(taken);
        if let (Taken::Refused(reason), Some(owner)) = (taken, owner) {
            self.report.refuse(file, &owner.to_string(), reason);
        }
        Ok(())
    }

    /// Only what verifies counts; of two heartbeats of one node the newer.
    fn heartbeat(&mut self, file: &Path, row: &HeartbeatRow) -> rusqlite::Result<()> {
        let now = UnixTime::new(self.now.try_into().unwrap_or(0));
        let heartbeat = match Heartbeat::parse(&row.wire, Skew::Unlimited, now) {
            Ok(heartbeat) => heartbeat.into_inner(),
            Err(RecordError::Rejected(Rejected::Expired)) => {
                self.report.heartbeats.expired += 1;
                return Ok(());
            }
            Err(reason) => {
                self.report.heartbeats.refused += 1;
                self.report.refuse(file, &row.endpoint, reason);
                return Ok(());
            }
        };
        let known = heartbeat::newest(self.sql, &heartbeat, now)?;
        if known.is_some_and(|known| known >= heartbeat.ts) {
            self.report.heartbeats.present += 1;
        } else {
            heartbeat::store(self.sql, &heartbeat, &row.wire, row.received_at)?;
            self.report.heartbeats.added += 1;
        }
        Ok(())
    }

    /// Live keys, and revoked ones, which must stay dead (D9).
    fn key(&mut self, file: &Path, row: TsigRow) -> rusqlite::Result<()> {
        let is_expired = row.expires_at != 0 && row.expires_at <= self.now;
        if is_expired && !row.revoked {
            self.report.keys.expired += 1;
            return Ok(());
        }
        let name = format!("{}.", row.name.trim_end_matches('.').to_ascii_lowercase());
        let suffixes = suffixes(&row.allowed_suffixes);
        if let Err(reason) = check_key(&name, &row, &suffixes) {
            self.report.keys.refused += 1;
            self.report.refuse(file, &name, reason);
            return Ok(());
        }
        let same =
            "SELECT secret = ?2 AND algorithm = ?3 AND revoked = ?4 FROM tsig_key WHERE name = ?1";
        let algorithm = row.algorithm.to_ascii_lowercase();
        let known: Option<bool> = self
            .sql
            .query_row(
                same,
                params![name, *row.secret, algorithm, row.revoked],
                |row| row.get(0),
            )
            .optional()?;
        match known {
            Some(true) => self.report.keys.present += 1,
            Some(false) => {
                self.report.keys.refused += 1;
                let reason = "this node has another key of that name, which stays";
                self.report.refuse(file, &name, reason);
            }
            None => {
                self.sql
                    .prepare_cached(
                        "INSERT INTO tsig_key (name, algorithm, secret, allowed_suffixes, created_at, expires_at,
                             revoked, subject, registered_spk, registered_x25519_pub)
                         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
                    )?
                    .execute(params![
                        name,
                        algorithm,
                        *row.secret,
                        suffixes.join("\n"),
                        row.created_at,
                        row.expires_at,
                        row.revoked,
                        row.subject,
                        row.registered_spk.to_ascii_lowercase(),
                        row.registered_x25519_pub.to_ascii_lowercase(),
                    ])?;
                pattern_rows(self.sql, &name, &suffixes)?;
                self.report.keys.added += 1;
            }
        }
        Ok(())
    }

    /// Live tokens, and revoked ones for the operator's list.
    fn token(&mut self, file: &Path, row: TokenRow) -> rusqlite::Result<()> {
        let is_expired = row.expires_at.is_some_and(|expiry| expiry <= self.now);
        if is_expired && row.revoked_at.is_none() {
            self.report.tokens.expired += 1;
            return Ok(());
        }
        let hash = row.token_hash.to_ascii_lowercase();
        let is_hash = hash.len() == 64 && hash.bytes().all(|digit| digit.is_ascii_hexdigit());
        if !is_hash || row.subject_type != 1 || row.subject.is_empty() {
            self.report.tokens.refused += 1;
            let reason = "the row is not that of a user's token";
            self.report.refuse(file, &row.subject, reason);
            return Ok(());
        }
        let added = self
            .sql
            .prepare_cached(
                "INSERT OR IGNORE INTO token (token_hash, subject, subject_hash12, rate_per_sec, rate_burst, issued_at,
                     expires_at, revoked_at, issuer, note, registered_spk)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
            )?
            .execute(params![
                hash,
                row.subject,
                row.subject_hash12,
                row.rate_per_sec,
                row.rate_burst,
                row.issued_at,
                row.expires_at,
                row.revoked_at,
                row.issuer,
                row.note,
                row.registered_spk.to_ascii_lowercase(),
            ])?;
        if added > 0 {
            self.report.tokens.added += 1;
        } else {
            self.report.tokens.present += 1;
        }
        Ok(())
    }
}

const WRONG_TYPES: &str = "a column holds a value of the wrong type";

/// What keeps a key from ever being used; a revoked one needs no more than its name.
fn check_key(name: &str, row: &TsigRow, suffixes: &[String]) -> Result<(), &'static str> {
    let name: Name = name.parse().map_err(|_| "the key name is no DNS name")?;
    let algorithm: Algorithm = row
        .algorithm
        .parse()
        .map_err(|_| "the algorithm is not supported")?;
    tsig::Key::new(&name, algorithm, &row.secret).map_err(|_| "the secret cannot be used")?;
    let kind = if row.subject.is_empty() {
        ScopeKind::Administrative
    } else {
        ScopeKind::SelfService
    };
    Scope::new(suffixes, kind)
        .map(drop)
        .ok_or("the key has no usable scope pattern")
}

/// Patterns as the column holds them: lower case, sorted, each once (node.md 4.1).
fn suffixes(column: &str) -> Vec<String> {
    let mut suffixes: Vec<String> = column
        .lines()
        .map(|pattern| pattern.trim().trim_matches('.').to_ascii_lowercase())
        .filter(|pattern| !pattern.is_empty())
        .collect();
    suffixes.sort_unstable();
    suffixes.dedup();
    suffixes
}
