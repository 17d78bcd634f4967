//! DNS cookies: the option both sides share, and the server cookie of RFC 9018 made and checked (RFC 7873).
//!
//! Secrets, addresses and times are arguments. Who draws and rotates secrets, and what a proven client is spared, is the
//! caller's.

use core::net::IpAddr;

use siphasher::sip::SipHasher24;
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::limits::{
    CLIENT_COOKIE, COOKIE_AHEAD, COOKIE_DATA, COOKIE_LIFE, COOKIE_RENEWAL, SERVER_COOKIE,
};
use crate::wire::Malformed;

/// The first octet of a server cookie in the form of RFC 9018.
const VERSION: u8 = 1;
/// Octets of a server cookie before its hash: version, reserved, time.
const PREFIX: usize = 8;
/// Octets of client cookie, prefix and an IPv6 address: the longest input of the hash.
const HASHED: usize = CLIENT_COOKIE + PREFIX + 16;

/// Data of the COOKIE option of an answer: client cookie, then server cookie.
pub type Pair = [u8; CLIENT_COOKIE + SERVER_COOKIE];

/// Data of a COOKIE option (RFC 7873 4).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Cookie<'a> {
    /// What the client chose.
    pub client: [u8; CLIENT_COOKIE],
    /// What the server gave it: 8 to 32 octets, or none yet.
    pub server: &'a [u8],
}

impl<'a> Cookie<'a> {
    /// Reads the data of the option. Any other length than 8 and 16 to 40 octets is malformed (RFC 7873 5.2.2).
    pub fn parse(data: &'a [u8]) -> Result<Self, Malformed> {
        match data.split_first_chunk() {
            Some((client, server))
                if server.is_empty()
                    || (8..=COOKIE_DATA - CLIENT_COOKIE).contains(&server.len()) =>
            {
                Ok(Self {
                    client: *client,
                    server,
                })
            }
            _ => Err(Malformed::Rdata),
        }
    }
}

/// What the cookie of a request proves about its sender (RFC 7873 5.2), with what goes back.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Proof {
    /// There is none, or nobody looked.
    Absent,
    /// The client speaks cookies and has none of ours yet.
    First(Pair),
    /// A server cookie that is not ours, not for this address, or too old.
    Wrong(Pair),
    /// Whoever sends this reads what is sent to its address.
    Valid(Pair),
}

impl Proof {
    /// Whether the sender has shown that its address is its own.
    #[inline]
    pub fn is_valid(&self) -> bool {
        matches!(self, Self::Valid(_))
    }

    /// Data of the COOKIE option that goes back.
    #[inline]
    pub fn answer(&self) -> Option<&[u8]> {
        match self {
            Self::Absent => None,
            Self::First(pair) | Self::Wrong(pair) | Self::Valid(pair) => Some(pair),
        }
    }
}

/// A server's secret of 128 bits.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct Secret([u8; 16]);

impl Secret {
    /// Sixteen random octets; the servers of an anycast set share them.
    pub fn new(octets: [u8; 16]) -> Self {
        Self(octets)
    }

    /// The server cookie for a client at `address`, dated `now` (Unix seconds), behind the client's own (RFC 9018 4).
    pub fn make(&self, client: &[u8; CLIENT_COOKIE], address: IpAddr, now: u64) -> Pair {
        let [time0, time1, time2, time3] = (now as u32).to_be_bytes();
        let prefix = [VERSION, 0, 0, 0, time0, time1, time2, time3];
        let mut pair = [0; CLIENT_COOKIE + SERVER_COOKIE];
        let hash = self.hash(client, &prefix, address);
        let octets = client.iter().chain(&prefix).chain(&hash);
        for (place, octet) in pair.iter_mut().zip(octets) {
            *place = *octet;
        }
        pair
    }

    /// The age in seconds, below zero when it lies ahead, of a server cookie that this secret made for `address` and
    /// that is good at `now`.
    fn age(&self, cookie: &Cookie<'_>, address: IpAddr, now: u64) -> Option<i32> {
        let server: &[u8; SERVER_COOKIE] = cookie.server.try_into().ok()?;
        let (prefix, hash) = server.split_first_chunk::<PREFIX>()?;
        // What another implementation keeps in the reserved octets is hashed as it stands (RFC 9018 4.2).
        let [VERSION, _, _, _, time @ ..] = *prefix else {
            return None;
        };
        // RFC 1982: the clock of cookies wraps in 2106.
        let age = (now as u32).wrapping_sub(u32::from_be_bytes(time)) as i32;
        let is_in_time = age <= COOKIE_LIFE as i32 && age >= -(COOKIE_AHEAD as i32);
        let is_ours: bool = self
            .hash(&cookie.client, prefix, address)
            .ct_eq(hash)
            .into();
        (is_in_time && is_ours).then_some(age)
    }

    fn hash(&self, client: &[u8; 8], prefix: &[u8; PREFIX], address: IpAddr) -> [u8; 8] {
        let mut input = [0; HASHED];
        let (v4, v6);
        let address: &[u8] = match address.to_canonical() {
            IpAddr::V4(ip) => {
                v4 = ip.octets();
                &v4
            }
            IpAddr::V6(ip) => {
                v6 = ip.octets();
                &v6
            }
        };
        let octets = client.iter().chain(prefix).chain(address);
        for (place, octet) in input.iter_mut().zip(octets) {
            *place = *octet;
        }
        let length = CLIENT_COOKIE + PREFIX + address.len();
        let input = input.get(..length).unwrap_or_default();
        SipHasher24::new_with_key(&self.0).hash(input).to_le_bytes()
    }
}

impl core::fmt::Debug for Secret {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// The secrets in force: one makes cookies, and one more is accepted while it is replaced (RFC 9018 5).
#[derive(Clone, Debug)]
pub struct Secrets {
    current: Secret,
    other: Option<Secret>,
}

impl Secrets {
    /// `current` makes cookies; those of `other` are accepted too.
    pub fn new(current: Secret, other: Option<Secret>) -> Self {
        Self { current, other }
    }

    /// `next` makes cookies from now on; those of the secret in its place so far are still accepted.
    pub fn rotated(&self, next: Secret) -> Self {
        Self::new(next, Some(self.current.clone()))
    }

    /// What the cookie of a request from `address` proves at `now` (Unix seconds). A young cookie of the current secret
    /// goes back as it is; everybody else is given a new one (RFC 9018 4.3).
    pub fn judge(&self, cookie: Option<Cookie<'_>>, address: IpAddr, now: u64) -> Proof {
        let Some(cookie) = cookie else {
            return Proof::Absent;
        };
        let age = self.current.age(&cookie, address, now);
        if age.is_some_and(|age| age <= COOKIE_RENEWAL as i32) {
            let mut pair = [0; CLIENT_COOKIE + SERVER_COOKIE];
            let octets = cookie.client.iter().chain(cookie.server);
            for (place, octet) in pair.iter_mut().zip(octets) {
                *place = *octet;
            }
            return Proof::Valid(pair);
        }
        let fresh = self.current.make(&cookie.client, address, now);
        let others = || {
            let other = self.other.as_ref();
            other.and_then(|other| other.age(&cookie, address, now))
        };
        if age.or_else(others).is_some() {
            Proof::Valid(fresh)
        } else if cookie.server.is_empty() {
            Proof::First(fresh)
        } else {
            Proof::Wrong(fresh)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "e5e973e5a6b2a43f48e7dc849e37bfcf";

    fn secret(text: &str) -> Secret {
        Secret::new(hex::decode(text).unwrap().try_into().unwrap())
    }

    /// What goes back for a COOKIE option of these octets, and how it was judged.
    fn judge(secrets: &Secrets, option: &str, address: &str, now: u64) -> (Proof, String) {
        let option = hex::decode(option).unwrap();
        let cookie = Cookie::parse(&option).unwrap();
        let proof = secrets.judge(Some(cookie), address.parse().unwrap(), now);
        (proof, hex::encode(proof.answer().unwrap()))
    }

    #[test]
    fn the_vectors_of_rfc_9018_appendix_a() {
        let secrets = Secrets::new(secret(SECRET), None);
        // A.1: a client learns a server cookie.
        let first = "2464c4abcf10c957010000005cf79f111f8130c3eee29480";
        let (proof, answer) = judge(
            &secrets,
            "2464c4abcf10c957",
            "198.51.100.100",
            1_559_731_985,
        );
        assert!(matches!(proof, Proof::First(_)));
        assert_eq!(answer, first);
        // A.2: forty minutes later it gets a new one.
        let (proof, answer) = judge(&secrets, first, "198.51.100.100", 1_559_734_385);
        assert!(proof.is_valid());
        assert_eq!(answer, "2464c4abcf10c957010000005cf7a871d4a564a1442aca77");
        // A.3: another implementation has used the reserved octets.
        let foreign = "fc93fc62807ddb8601abcdef5cf78f71a314227b6679ebf5";
        let (proof, _) = judge(&secrets, foreign, "203.0.113.203", 0x5cf7_8f71 + 1800);
        assert!(proof.is_valid());
        let (_, answer) = judge(&secrets, foreign, "203.0.113.203", 0x5cf7_a9ac);
        assert_eq!(answer, "fc93fc62807ddb86010000005cf7a9acf73a7810aca2381e");
        // A.4: IPv6, and a secret that has been replaced.
        let secrets = Secrets::new(secret("dd3bdf9344b678b185a6f5cb60fca715"), None);
        let rolled = secrets.rotated(secret("445536bcd2513298075a5d379663c962"));
        let (proof, answer) = judge(
            &rolled,
            "22681ab97d52c298010000005cf7c57926556bd0934c72f8",
            "2001:db8:220:1:59de:d0f4:8769:82b8",
            0x5cf7_c609,
        );
        assert!(proof.is_valid());
        assert_eq!(answer, "22681ab97d52c298010000005cf7c609a6bb79d16625507a");
    }

    #[test]
    fn a_cookie_is_good_for_an_hour_and_five_minutes_ahead_also_across_the_wrap_of_its_clock() {
        let secrets = Secrets::new(secret(SECRET), None);
        let address: IpAddr = "192.0.2.1".parse().unwrap();
        for made in [1_800_000_000, u64::from(u32::MAX) - 100] {
            let pair = secrets.current.make(&[7; 8], address, made);
            let cookie = Cookie::parse(&pair).unwrap();
            for (at, renewed, valid) in [
                (made, false, true),
                (made + 1800, false, true),
                (made + 1801, true, true),
                (made + 3600, true, true),
                (made + 3601, true, false),
                (made - 300, false, true),
                (made - 301, true, false),
            ] {
                let proof = secrets.judge(Some(cookie), address, at);
                assert_eq!(proof.is_valid(), valid, "{at}");
                assert_eq!(proof.answer() != Some(&pair[..]), renewed, "{at}");
            }
        }
    }

    #[test]
    fn a_cookie_proves_one_client_at_one_address_under_one_secret() {
        let secrets = Secrets::new(secret(SECRET), None);
        let address: IpAddr = "192.0.2.1".parse().unwrap();
        let pair = secrets.current.make(&[7; 8], address, 1000);
        for bit in 0..pair.len() * 8 {
            let mut other = pair;
            other[bit / 8] ^= 1 << (bit % 8);
            let cookie = Cookie::parse(&other).unwrap();
            let proof = secrets.judge(Some(cookie), address, 1000);
            assert!(matches!(proof, Proof::Wrong(_)), "bit {bit}");
            assert_eq!(proof.answer().unwrap()[..8], other[..8]);
        }
        let cookie = Cookie::parse(&pair);
        let at = |address: &str| secrets.judge(cookie.ok(), address.parse().unwrap(), 1000);
        assert!(at("::ffff:192.0.2.1").is_valid(), "the same address");
        assert!(!at("192.0.2.2").is_valid());
        let replaced = secrets.rotated(Secret::new([1; 16]));
        assert!(replaced.judge(cookie.ok(), address, 1000).is_valid());
        let gone = replaced.rotated(Secret::new([2; 16]));
        assert!(!gone.judge(cookie.ok(), address, 1000).is_valid());
        for length in [8, 15, 17, 32] {
            let data = [&pair[..8], &vec![1; length]].concat();
            let proof = secrets.judge(Cookie::parse(&data).ok(), address, 1000);
            assert!(matches!(proof, Proof::Wrong(_)), "{length} octets");
        }
        assert_eq!(secrets.judge(None, address, 1000), Proof::Absent);
    }

    #[test]
    fn only_the_lengths_of_rfc_7873_are_a_cookie() {
        for length in 0..=64 {
            let well_formed = Cookie::parse(&vec![0; length]).is_ok();
            assert_eq!(well_formed, matches!(length, 8 | 16..=40), "{length}");
        }
    }

    #[test]
    fn a_secret_does_not_show_itself() {
        let secrets = Secrets::new(Secret::new([0xab; 16]), None);
        assert!(!format!("{secrets:?}").contains("171"));
        assert!(!format!("{secrets:?}").contains("ab, "));
    }
}
