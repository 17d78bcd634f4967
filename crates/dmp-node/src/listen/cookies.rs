//! The secrets behind the node's DNS cookies: drawn and rotated here, or the operator's own (RFC 9018 5).
//!
//! What a cookie proves is `dmp_dns::cookie`'s to say.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;
use dmp_dns::cookie::{Secret, Secrets};
use zeroize::Zeroizing;

use crate::limits::COOKIE_ROTATION;

/// The secrets in force. Only their own randomness is ever replaced: servers of an anycast set must agree.
#[derive(Debug)]
pub(super) struct CookieSecrets {
    secrets: ArcSwap<Secrets>,
    /// Unix seconds of the next rotation.
    rotates_at: AtomicU64,
}

impl CookieSecrets {
    /// The configured secrets, or random ones from `now` (Unix seconds) on.
    pub(super) fn new(configured: Option<&Secrets>, now: u64) -> io::Result<Self> {
        let (secrets, rotates_at) = match configured {
            Some(secrets) => (secrets.clone(), u64::MAX),
            None => (Secrets::new(random()?, None), now + COOKIE_ROTATION),
        };
        Ok(Self {
            secrets: ArcSwap::from_pointee(secrets),
            rotates_at: AtomicU64::new(rotates_at),
        })
    }

    /// Other settings from `now` on. Random secrets stay as they are while nothing is configured.
    pub(super) fn configure(&self, configured: Option<&Secrets>, now: u64) {
        match configured {
            Some(secrets) => {
                self.secrets.store(Arc::new(secrets.clone()));
                self.rotates_at.store(u64::MAX, Ordering::Relaxed);
            }
            // Due at once: the secret that was configured is replaced and its cookies are accepted for a day.
            None if self.rotates_at.load(Ordering::Relaxed) == u64::MAX => {
                self.rotates_at.store(now, Ordering::Relaxed);
            }
            None => {}
        }
    }

    /// The secrets in force at `now`; the first to ask when a day is over replaces them.
    pub(super) fn at(&self, now: u64) -> arc_swap::Guard<Arc<Secrets>> {
        let due = self.rotates_at.load(Ordering::Relaxed);
        if now >= due {
            let next = now + COOKIE_ROTATION;
            let turn =
                self.rotates_at
                    .compare_exchange(due, next, Ordering::Relaxed, Ordering::Relaxed);
            if turn.is_ok() {
                match random() {
                    Ok(secret) => {
                        let rotated = self.secrets.load().rotated(secret);
                        self.secrets.store(Arc::new(rotated));
                    }
                    Err(error) => {
                        tracing::error!(%error, "no randomness for a new cookie secret; the old one stays");
                    }
                }
            }
        }
        self.secrets.load()
    }
}

fn random() -> io::Result<Secret> {
    let mut octets = Zeroizing::new([0; 16]);
    getrandom::fill(&mut *octets).map_err(|error| io::Error::other(error.to_string()))?;
    Ok(Secret::new(*octets))
}

#[cfg(test)]
mod tests {
    use super::*;
    use dmp_dns::cookie::Cookie;
    use std::net::IpAddr;

    const ADDRESS: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
    const START: u64 = 1_800_000_000;

    fn is_valid(secrets: &CookieSecrets, pair: &[u8], now: u64) -> bool {
        let cookie = Cookie::parse(pair).ok();
        secrets.at(now).judge(cookie, ADDRESS, now).is_valid()
    }

    fn cookie_of(secrets: &CookieSecrets, now: u64) -> Vec<u8> {
        let cookie = Cookie::parse(&[1; 8]).ok();
        let proof = secrets.at(now).judge(cookie, ADDRESS, now);
        proof.answer().unwrap().to_vec()
    }

    #[test]
    fn random_secrets_change_every_day_and_the_one_before_is_still_accepted() {
        let secrets = CookieSecrets::new(None, START).unwrap();
        let day = COOKIE_ROTATION;
        let pair = cookie_of(&secrets, START + day - 1);
        assert!(is_valid(&secrets, &pair, START + day), "just rotated");
        assert_ne!(
            cookie_of(&secrets, START + day)[16..],
            CookieSecrets::new(None, START)
                .map(|other| cookie_of(&other, START + day))
                .unwrap()[16..],
            "two nodes draw different secrets"
        );
        secrets.at(START + 2 * day);
        assert!(
            !is_valid(&secrets, &pair, START + day),
            "twice rotated, whatever the clock says"
        );
    }

    #[test]
    fn configured_secrets_stay() {
        let own = Secrets::new(Secret::new([1; 16]), Some(Secret::new([2; 16])));
        let secrets = CookieSecrets::new(Some(&own), START).unwrap();
        let now = START + 100 * COOKIE_ROTATION;
        let former = Secret::new([2; 16]).make(&[1; 8], ADDRESS, now);
        assert!(is_valid(&secrets, &former, now));
        assert_eq!(
            cookie_of(&secrets, now),
            Secret::new([1; 16]).make(&[1; 8], ADDRESS, now)
        );
    }
}
