//! The tables of `dnsmesh.db` and their versions. Holds no query.
//!
//! Clear columns are only what must be searched, ordered or purged: counters, times, states, keyed tags. Everything that names a
//! person or carries text lies in `sealed`, a JSON object under the data key, so that new fields need no new schema (D17).

use rusqlite::Connection;

use crate::error::StoreError;

/// The schema that this program writes.
pub(super) const VERSION: i64 = 1;
/// "DMSH": tells our file from any other SQLite database.
const APPLICATION_ID: i64 = 0x444d_5348;

const TABLES: &str = "
CREATE TABLE wraps (                 -- the data key, wrapped once per identity that may open it (two while a rotation is under way)
    id         INTEGER PRIMARY KEY,
    created    INTEGER NOT NULL,  -- 0 until the rotation that it is for is published
    wrapped    BLOB NOT NULL
) STRICT;
CREATE TABLE meta (                  -- single facts: what was taken over from a reference home, credential expiry
    name       TEXT PRIMARY KEY,
    sealed     BLOB NOT NULL
) STRICT;
CREATE TABLE contacts (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    tag        BLOB NOT NULL UNIQUE, -- of the label
    created    INTEGER NOT NULL,
    sealed     BLOB NOT NULL
) STRICT;
CREATE TABLE used_prekeys (          -- whose prekeys were used for sending (client.md 9.2)
    contact    INTEGER NOT NULL REFERENCES contacts ON DELETE CASCADE,
    prekey     INTEGER NOT NULL,
    expires    INTEGER NOT NULL,
    PRIMARY KEY (contact, prekey)
) STRICT, WITHOUT ROWID;
CREATE TABLE prekeys (               -- own private halves (D15)
    id         INTEGER PRIMARY KEY,
    expires    INTEGER NOT NULL,
    created    INTEGER NOT NULL,
    published  INTEGER NOT NULL DEFAULT 0,
    held_until INTEGER,              -- used, but another message is still waiting for it
    sealed     BLOB NOT NULL
) STRICT;
CREATE INDEX prekeys_by_expiry ON prekeys (expires);
CREATE TABLE withdrawals (           -- published values that are to be removed from the zone
    id         INTEGER PRIMARY KEY,
    expires    INTEGER NOT NULL,
    sealed     BLOB NOT NULL
) STRICT;
CREATE TABLE replay (
    tag        BLOB PRIMARY KEY,     -- of signer and message id
    expires    INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE inbox (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    tag        BLOB NOT NULL UNIQUE, -- of signer and message id
    received   INTEGER NOT NULL,
    shown      INTEGER,              -- when it was handed to the user
    sealed     BLOB NOT NULL
) STRICT;
CREATE TABLE intros (                -- the quarantine
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    tag        BLOB NOT NULL UNIQUE, -- of signer and message id
    sender     BLOB NOT NULL,        -- tag of the signer
    received   INTEGER NOT NULL,
    expires    INTEGER NOT NULL,
    sealed     BLOB NOT NULL
) STRICT;
CREATE INDEX intros_by_sender ON intros (sender);
CREATE TABLE denylist (
    sender     BLOB PRIMARY KEY,     -- tag of the signer
    blocked    INTEGER NOT NULL,
    sealed     BLOB NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE outbox (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    tag        BLOB NOT NULL UNIQUE, -- of the message id
    created    INTEGER NOT NULL,
    expires    INTEGER NOT NULL,
    state      TEXT NOT NULL CHECK (state IN ('queued', 'publishing', 'published', 'announced', 'expired', 'failed')),
    stored     INTEGER NOT NULL DEFAULT 0, -- values that the node has stored
    total      INTEGER NOT NULL,           -- values of the whole message
    attempts   INTEGER NOT NULL DEFAULT 0,
    due        INTEGER,                    -- when the next attempt or re-publication is due
    sealed     BLOB NOT NULL
) STRICT;
CREATE INDEX outbox_by_due ON outbox (due);
";

/// What a file is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    /// A store of this schema.
    Store,
    /// An empty file.
    Nothing,
}

/// Creates the tables in an empty file, accepts a file of this schema, refuses everything else untouched. The caller holds a
/// transaction.
pub(super) fn prepare(connection: &Connection, file: &str) -> Result<Found, StoreError> {
    let found = check(connection, file)?;
    if found == Found::Nothing {
        connection.execute_batch(TABLES)?;
        connection.pragma_update(None, "user_version", VERSION)?;
        connection.pragma_update(None, "application_id", APPLICATION_ID)?;
    }
    Ok(found)
}

/// Accepts an empty file and one of this schema.
pub(super) fn check(connection: &Connection, file: &str) -> Result<Found, StoreError> {
    let found: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let application: i64 =
        connection.pragma_query_value(None, "application_id", |row| row.get(0))?;
    let tables: i64 =
        connection.query_row("SELECT count(*) FROM sqlite_schema", (), |row| row.get(0))?;
    match (found, application, tables) {
        (0, 0, 0) => Ok(Found::Nothing),
        (VERSION, APPLICATION_ID, _) => Ok(Found::Store),
        (found, APPLICATION_ID, _) if found > VERSION => Err(StoreError::FutureSchema {
            file: file.to_owned(),
            found,
            known: VERSION,
        }),
        _ => Err(StoreError::NotAStore(file.to_owned())),
    }
}
