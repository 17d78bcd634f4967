//! The owner of a zone who wants honest nodes forgotten: new keys without end, dates in the future, long lives, zones that answer
//! for any name below them, names of others, damaged copies, junk, far more values than anybody looks at.

use dmp_core::endpoint::Endpoint;
use dmp_core::id::UnixTime;
use dmp_core::keys::OperatorKey;
use dmp_core::record::heartbeat::Heartbeat;
use dmp_node::zone::Owner;

use super::world::{dice, key, zone};

/// New keys that a liar makes for each of its names in an interval.
const INVENTED: usize = 40;
/// Values beside them that mean nothing.
const JUNK: usize = 60;

/// One of them.
pub(crate) struct Liar {
    number: usize,
    zone: Owner,
    own: Vec<String>,
    seen: Vec<String>,
    made: usize,
}

impl Liar {
    pub(crate) fn new(number: usize) -> Self {
        Self {
            number,
            zone: zone("h", number),
            own: Vec::new(),
            seen: Vec::new(),
            made: 0,
        }
    }

    /// What it tells in the next interval.
    pub(crate) fn think(&mut self, now: u64) {
        let own = self.zone.to_string();
        let first = key("first", self.number);
        let junk = (0..JUNK).map(|_| "v=dmp1;t=heartbeat;AAAA".to_owned());
        self.own = vec![beat(&first, &own, now, now + 86_400)];
        for _ in 0..INVENTED {
            let key = self.invent();
            self.own
                .push(beat(&key, &own, now + 300, now + 29 * 86_400));
        }
        self.own.extend(junk.clone());
        self.seen.clear();
        for turn in 0..INVENTED {
            let key = self.invent();
            let claimed = match turn % 4 {
                // Below its own name, where it answers.
                0 | 1 => format!("w{}.{own}", self.made),
                // Names that nobody has.
                2 => format!("mesh.x{}y{}.test", self.number, self.made),
                // Names that others have.
                _ => zone(
                    "n",
                    dice(self.number as u64, self.made as u64) as usize % 1_000,
                )
                .to_string(),
            };
            self.seen
                .push(beat(&key, &claimed, now + 300, now + 29 * 86_400));
        }
        let damaged: Vec<String> = self
            .seen
            .iter()
            .take(3)
            .map(|wire| wire.replacen('A', "B", 1))
            .collect();
        self.seen.extend(damaged);
        self.seen.extend(junk);
    }

    /// What its name servers say; `None` if the name is not theirs.
    pub(crate) fn answer(&self, name: &str, now: u64) -> Option<Vec<String>> {
        let below = name.strip_suffix(&self.zone.to_string())?;
        match below {
            "_dnsmesh-heartbeat." => Some(self.own.clone()),
            "_dnsmesh-seen." => Some(self.seen.clone()),
            _ => {
                // Any name below answers for itself, and tells the same as its owner's.
                let (label, claimed) = name.split_once('.')?;
                if label == "_dnsmesh-seen" {
                    return Some(self.seen.clone());
                }
                let number = claimed
                    .bytes()
                    .fold(0, |sum, octet| sum * 31 % 1_000_003 + usize::from(octet));
                Some(vec![beat(
                    &key("w", number),
                    claimed,
                    now,
                    now + 29 * 86_400,
                )])
            }
        }
    }

    fn invent(&mut self) -> OperatorKey {
        self.made += 1;
        key("i", self.number * 10_000_000 + self.made)
    }
}

fn beat(key: &OperatorKey, zone: &str, ts: u64, exp: u64) -> String {
    let heartbeat = Heartbeat {
        endpoint: Endpoint::parse(&format!("https://{zone}")).unwrap(),
        operator: key.public(),
        version: "0.7.5".to_owned(),
        capabilities: Heartbeat::CLAIM_PROVIDER,
        claim_provider_zone: Some(zone.to_owned()),
        ts: UnixTime::new(ts),
        exp: UnixTime::new(exp),
    };
    heartbeat.sign(key).unwrap()
}
