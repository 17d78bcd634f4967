//! The highest sequence number seen of each signed list of nodes or clusters, so that nobody can show an older one again
//! (federation.md W22). It judges nothing else about a record.
//!
//! The numbers lie in a file of their own: the verbs that look such records up need no passphrase, so they cannot open the store.
//! A number is remembered for one owner name and one key, whatever was pinned in between, and never becomes lower.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use dmp_core::keys::SigningPublicKey;
use dmp_core::owner::OwnerName;
use serde::{Deserialize, Serialize};

use crate::error::Fault;
use crate::home::{Home, HomeError};

/// Name of the file inside a home.
pub const FLOORS_FILE: &str = "floors.json";

/// Why a verified record is not taken.
#[derive(Debug, thiserror::Error)]
pub enum FloorError {
    /// A newer one was seen before.
    #[error("it has seq {seq}, but seq {floor} of the same key was seen there before")]
    RolledBack {
        /// Of the record at hand.
        seq: u64,
        /// The highest seen.
        floor: u64,
    },
    /// The file is not what this program wrote.
    #[error("{}: {reason}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The file cannot be read or written.
    #[error(transparent)]
    Home(#[from] HomeError),
}

impl FloorError {
    /// Whose fault it is.
    #[must_use]
    pub const fn fault(&self) -> Fault {
        match self {
            Self::RolledBack { .. } => Fault::Rejected,
            Self::Damaged { .. } | Self::Home(_) => Fault::Misuse,
        }
    }

    /// The stable machine code (D32).
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::RolledBack { .. } => "floor-rolled-back",
            Self::Damaged { .. } => "floor-damaged",
            Self::Home(error) => error.code(),
        }
    }
}

/// What was seen, by owner name and key.
pub struct Floors(Place);

enum Place {
    Home(Home),
    Memory(Mutex<Seen>),
}

type Seen = BTreeMap<(String, String), u64>;

impl Floors {
    /// Those of a home. The file appears with the first record.
    #[must_use]
    pub fn of_home(home: &Home) -> Self {
        Self(Place::Home(home.clone()))
    }

    /// Some that end with the process: for tests, and for whoever has no home.
    #[must_use]
    pub fn in_memory() -> Self {
        Self(Place::Memory(Mutex::default()))
    }

    /// Takes a record whose signature and expiry were verified, unless a newer one of this key was seen at this name. A higher
    /// number is on the disk when this returns.
    ///
    /// # Errors
    /// [`FloorError::RolledBack`], and a file that cannot be read or written.
    pub fn accept(
        &self,
        owner: &OwnerName,
        key: &SigningPublicKey,
        seq: u64,
    ) -> Result<(), FloorError> {
        let place = (owner.to_string(), key.to_string());
        match &self.0 {
            Place::Memory(seen) => {
                let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
                raise(&mut seen, place, seq).map(drop)
            }
            Place::Home(home) => {
                home.create()?;
                let _lock = home.lock_files()?;
                let mut seen = read(home)?;
                if raise(&mut seen, place, seq)? {
                    home.replace_file(FLOORS_FILE, &write(&seen))?;
                }
                Ok(())
            }
        }
    }
}

/// Whether the number is a new one.
fn raise(seen: &mut Seen, place: (String, String), seq: u64) -> Result<bool, FloorError> {
    match seen.get(&place) {
        Some(floor) if *floor > seq => Err(FloorError::RolledBack { seq, floor: *floor }),
        Some(floor) if *floor == seq => Ok(false),
        _ => {
            seen.insert(place, seq);
            Ok(true)
        }
    }
}

/// The file.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Rows {
    floors: Vec<Row>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    owner: String,
    key: String,
    seq: u64,
}

fn read(home: &Home) -> Result<Seen, FloorError> {
    let path = home.dir().join(FLOORS_FILE);
    let content = match fs::read(&path) {
        Ok(content) => content,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Seen::new()),
        Err(source) => return Err(HomeError::Io { path, source }.into()),
    };
    match serde_json::from_slice::<Rows>(&content) {
        Ok(rows) => {
            let rows = rows.floors.into_iter();
            Ok(rows.map(|row| ((row.owner, row.key), row.seq)).collect())
        }
        Err(error) => Err(FloorError::Damaged {
            path,
            reason: error.to_string(),
        }),
    }
}

fn write(seen: &Seen) -> Vec<u8> {
    let floors = seen.iter().map(|((owner, key), seq)| Row {
        owner: owner.clone(),
        key: key.clone(),
        seq: *seq,
    });
    let rows = Rows {
        floors: floors.collect(),
    };
    let mut text = serde_json::to_vec_pretty(&rows).unwrap_or_default();
    text.push(b'\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use dmp_core::name::DomainName;
    use dmp_core::owner::{bootstrap_owner, cluster_owner};

    fn refused(outcome: Result<(), FloorError>) -> (u64, u64) {
        match outcome {
            Err(FloorError::RolledBack { seq, floor }) => (seq, floor),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_floor_is_kept_for_each_name_and_key_and_never_becomes_lower() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::at(dir.path().join("home"));
        let name = DomainName::parse("Mesh.test").unwrap();
        let [cluster, bootstrap] = [cluster_owner(&name), bootstrap_owner(&name)];
        let [one, other] = [[1; 32], [2; 32]].map(SigningPublicKey::from_bytes);
        for floors in [Floors::of_home(&home), Floors::in_memory()] {
            floors.accept(&cluster, &one, 7).unwrap();
            floors.accept(&cluster, &one, 7).unwrap();
            assert_eq!(refused(floors.accept(&cluster, &one, 6)), (6, 7));
            floors.accept(&cluster, &other, 1).unwrap();
            floors.accept(&bootstrap, &one, 2).unwrap();
            floors.accept(&cluster, &one, u64::MAX).unwrap();
        }
        let later = Floors::of_home(&home);
        assert_eq!(refused(later.accept(&cluster, &one, 8)), (8, u64::MAX));
        assert_eq!(refused(later.accept(&bootstrap, &one, 1)), (1, 2));
    }

    #[test]
    fn a_damaged_file_accepts_nothing_and_stays_as_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::at(dir.path());
        let path = dir.path().join(FLOORS_FILE);
        fs::write(&path, "{\"floors\": [").unwrap();
        let owner = cluster_owner(&DomainName::parse("mesh.test").unwrap());
        let key = SigningPublicKey::from_bytes([1; 32]);
        let refused = Floors::of_home(&home).accept(&owner, &key, 9);
        assert!(matches!(refused, Err(FloorError::Damaged { .. })));
        assert_eq!(fs::read_to_string(path).unwrap(), "{\"floors\": [");
    }
}
