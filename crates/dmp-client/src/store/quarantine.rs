//! Bounds of the quarantine: how much strangers may leave in the store, and whose message gives way. Judges no message.
//!
//! Rows of keys that a contact has pinned count nowhere and never give way. Among strangers the one who fills most loses first: a
//! key with too many rows its own oldest; and where all of them together are too many, the heaviest network of zones, in it the
//! heaviest key. Of equals the newest key loses, so that a flood of fresh keys displaces itself and not what waited before it came.

use std::collections::{BTreeMap, HashSet};

use dmp_core::id::{MsgId, UnixTime};
use dmp_core::keys::SigningPublicKey;
use dmp_core::name::Zone;
use rusqlite::{OptionalExtension, Transaction};

use super::vault::Tag;
use super::{Intro, IntroId, Store, stamp};
use crate::error::StoreError;
use crate::limits::{
    QUARANTINE_AGE, QUARANTINE_BYTES, QUARANTINE_ROWS, QUARANTINE_ROWS_PER_SENDER,
};

/// A stranger's message that gave way because the quarantine was full.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Displaced {
    /// The row that it had.
    pub id: IntroId,
    /// Whose key signed it.
    pub signer: SigningPublicKey,
    /// The message.
    pub msg_id: MsgId,
    /// The zone that it came from.
    pub zone: Zone,
}

/// A row as far as bounds are concerned.
struct Weight {
    id: i64,
    sender: Tag,
    octets: usize,
}

/// Which bound is exceeded.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Excess {
    Rows,
    Octets,
}

impl Store {
    /// Deletes the rows of strangers that have waited too long; says how many.
    ///
    /// # Errors
    /// Failures of the database.
    pub fn expire_intros(&self, now: UnixTime) -> Result<usize, StoreError> {
        let before = stamp(UnixTime::new(now.as_secs().saturating_sub(QUARANTINE_AGE)));
        let is_any = self
            .connection()
            .query_row("SELECT 1 FROM intros WHERE received < ?1", [before], |_| {
                Ok(())
            })
            .optional()?;
        if is_any.is_none() {
            return Ok(0);
        }
        let pinned = self.pinned_senders()?;
        self.write(|transaction| {
            let mut statement =
                transaction.prepare("SELECT id, sender FROM intros WHERE received < ?1")?;
            let old = statement
                .query_map([before], |row| {
                    Ok((row.get::<_, i64>(0)?, row.get::<_, Tag>(1)?))
                })?
                .collect::<Result<Vec<_>, _>>()?;
            let mut gone = 0;
            for (id, _) in old.iter().filter(|(_, sender)| !pinned.contains(sender)) {
                gone += transaction.execute("DELETE FROM intros WHERE id = ?1", [id])?;
            }
            Ok(gone)
        })
    }

    /// The senders whose rows never give way.
    pub(super) fn pinned_senders(&self) -> Result<HashSet<Tag>, StoreError> {
        Ok(self
            .contacts()?
            .iter()
            .filter_map(|contact| contact.signing.as_ref())
            .map(|signing| self.sender_tag(signing))
            .collect())
    }

    /// Deletes rows of strangers until all bounds hold, inside the transaction that added some.
    pub(super) fn make_room(
        &self,
        transaction: &Transaction<'_>,
        pinned: &HashSet<Tag>,
    ) -> Result<Vec<Displaced>, StoreError> {
        let mut statement = transaction
            .prepare_cached("SELECT id, sender, length(sealed) FROM intros ORDER BY id")?;
        let mut rows = statement
            .query_map((), |row| {
                Ok(Weight {
                    id: row.get(0)?,
                    sender: row.get(1)?,
                    octets: usize::try_from(row.get::<_, i64>(2)?).unwrap_or(0),
                })
            })?
            .collect::<Result<Vec<_>, _>>()?;
        rows.retain(|row| !pinned.contains(&row.sender));

        let mut leaving = over_sender_bound(&rows);
        rows.retain(|row| !leaving.contains(&row.id));
        if excess(&rows).is_some() {
            let mut networks = BTreeMap::new();
            for row in &rows {
                if let Some(intro) = self.waiting(transaction, row.id)? {
                    networks.insert(row.id, network(&intro.zone));
                }
            }
            rows.retain(|row| networks.contains_key(&row.id));
            while let Some(excess) = excess(&rows) {
                let Some(id) = heaviest(&rows, &networks, excess) else {
                    break;
                };
                rows.retain(|row| row.id != id);
                leaving.push(id);
            }
        }
        let mut displaced = Vec::new();
        for id in leaving {
            let Some(intro) = self.waiting(transaction, id)? else {
                continue;
            };
            transaction.execute("DELETE FROM intros WHERE id = ?1", [id])?;
            displaced.push(Displaced {
                id: intro.id,
                signer: intro.signer,
                msg_id: intro.msg_id,
                zone: intro.zone.clone(),
            });
        }
        Ok(displaced)
    }

    /// A row that was there a moment ago; a damaged one counts nowhere and stays, since nobody can say whose it is.
    fn waiting(&self, transaction: &Transaction<'_>, id: i64) -> Result<Option<Intro>, StoreError> {
        let row = self.intro_in(transaction, IntroId::new(id));
        Ok(self.unless_damaged(id.to_be_bytes(), row)?.flatten())
    }
}

/// The oldest rows of every key that has too many.
fn over_sender_bound(rows: &[Weight]) -> Vec<i64> {
    let mut of_sender: BTreeMap<Tag, Vec<i64>> = BTreeMap::new();
    for row in rows {
        of_sender.entry(row.sender).or_default().push(row.id);
    }
    of_sender
        .into_values()
        .flat_map(|ids| {
            let too_many = ids.len().saturating_sub(QUARANTINE_ROWS_PER_SENDER);
            ids.into_iter().take(too_many)
        })
        .collect()
}

fn excess(rows: &[Weight]) -> Option<Excess> {
    if rows.len() > QUARANTINE_ROWS {
        Some(Excess::Rows)
    } else if rows.iter().map(|row| row.octets).sum::<usize>() > QUARANTINE_BYTES {
        Some(Excess::Octets)
    } else {
        None
    }
}

/// The oldest row of the heaviest key of the heaviest network; of equally heavy ones the newest comer's.
fn heaviest(rows: &[Weight], networks: &BTreeMap<i64, String>, excess: Excess) -> Option<i64> {
    let weight = |row: &Weight| match excess {
        Excess::Rows => 1,
        Excess::Octets => row.octets,
    };
    let network_of = |row: &Weight| networks.get(&row.id).map_or("", String::as_str);
    // Rows come oldest first, so a group's first entry is its oldest row.
    let mut by_network: BTreeMap<&str, (usize, i64)> = BTreeMap::new();
    for row in rows {
        let group = by_network.entry(network_of(row)).or_insert((0, row.id));
        group.0 += weight(row);
    }
    let (network, _) = by_network.into_iter().max_by_key(|(_, group)| *group)?;
    let mut by_sender: BTreeMap<Tag, (usize, i64)> = BTreeMap::new();
    for row in rows.iter().filter(|row| network_of(row) == network) {
        let group = by_sender.entry(row.sender).or_insert((0, row.id));
        group.0 += weight(row);
    }
    let (_, (_, oldest)) = by_sender.into_iter().max_by_key(|(_, group)| *group)?;
    Some(oldest)
}

/// The last two labels of a zone: who owns a name can make any number of zones below it, but every such name costs something.
fn network(zone: &Zone) -> String {
    let mut labels = zone.as_str().rsplit('.');
    match (labels.next(), labels.next()) {
        (Some(last), Some(second)) => format!("{second}.{last}"),
        _ => zone.as_str().to_owned(),
    }
}
