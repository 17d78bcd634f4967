//! When a certificate is valid: the one field of X.509 that rustls does not tell (RFC 5280 4.1.2.5).
//!
//! It reads certificates of our own only and verifies nothing.

/// Tags of ASN.1 (X.690 8.1.2) that are met on the way to the field.
const SEQUENCE: u8 = 0x30;
const EXPLICIT_VERSION: u8 = 0xa0;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;

/// First and last second of a certificate's life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Validity {
    /// Unix seconds.
    pub(crate) not_before: u64,
    /// Unix seconds.
    pub(crate) not_after: u64,
}

impl Validity {
    /// Reads the field of a certificate in DER; `None` if it is not where it has to be.
    pub(crate) fn of(certificate: &[u8]) -> Option<Self> {
        let (certificate, _) = content(certificate, SEQUENCE)?;
        let (mut fields, _) = content(certificate, SEQUENCE)?;
        if fields.first() == Some(&EXPLICIT_VERSION) {
            fields = element(fields)?.2;
        }
        // Serial number, signature algorithm and issuer come before.
        for _ in 0..3 {
            fields = element(fields)?.2;
        }
        let (validity, _) = content(fields, SEQUENCE)?;
        let (kind, not_before, rest) = element(validity)?;
        let not_before = seconds(kind, not_before)?;
        let (kind, not_after, _) = element(rest)?;
        let not_after = seconds(kind, not_after)?;
        Some(Self {
            not_before,
            not_after,
        })
    }

    /// Seconds from first to last.
    pub(crate) fn life(self) -> u64 {
        self.not_after.saturating_sub(self.not_before)
    }
}

/// Content of the first element, which has this tag, and what follows it.
fn content(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (found, content, rest) = element(der)?;
    (found == tag).then_some((content, rest))
}

/// Tag and content of the first element, and what follows it (X.690 8.1.3; DER has no indefinite lengths).
fn element(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = der.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        0x81..=0x84 => {
            let (octets, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            let length = octets
                .iter()
                .fold(0_u64, |sum, octet| sum << 8 | u64::from(*octet));
            (usize::try_from(length).ok()?, rest)
        }
        _ => return None,
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((tag, content, rest))
}

/// `YYMMDDHHMMSSZ` of the years 1950 to 2049, or `YYYYMMDDHHMMSSZ` (RFC 5280 4.1.2.5.1, 4.1.2.5.2), as Unix seconds; what
/// lies before 1970 is its beginning.
fn seconds(kind: u8, text: &[u8]) -> Option<u64> {
    let digits = text.strip_suffix(b"Z")?;
    let (year, rest) = match kind {
        UTC_TIME => {
            let (year, rest) = digits.split_at_checked(2)?;
            let year = number(year)?;
            (if year < 50 { 2000 + year } else { 1900 + year }, rest)
        }
        GENERALIZED_TIME => {
            let (year, rest) = digits.split_at_checked(4)?;
            (number(year)?, rest)
        }
        _ => return None,
    };
    if rest.len() != 10 {
        return None;
    }
    let mut fields = rest.chunks_exact(2).map(number);
    let mut field = || fields.next().flatten();
    let (month, day, hour, minute, second) = (field()?, field()?, field()?, field()?, field()?);
    let is_time = (1..=12).contains(&month)
        && (1..=31).contains(&day)
        && hour < 24
        && minute < 60
        && second <= 60;
    if !is_time {
        return None;
    }
    let seconds = days(year, month, day) * 86_400 + hour * 3_600 + minute * 60 + second;
    Some(u64::try_from(seconds).unwrap_or(0))
}

/// Days from 1970-01-01 to a day of the Gregorian calendar; years begin in March here, so that leap days end them.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month < 3 {
        (year - 1, month + 9)
    } else {
        (year, month - 3)
    };
    let leap_days = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    year * 365 + leap_days + (153 * month + 2) / 5 + day - 719_469
}

fn number(digits: &[u8]) -> Option<i64> {
    if !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_of_time_are_read() {
        assert_eq!(seconds(UTC_TIME, b"700101000000Z"), Some(0));
        assert_eq!(seconds(UTC_TIME, b"261123183000Z"), Some(1_795_458_600));
        assert_eq!(seconds(UTC_TIME, b"000229235959Z"), Some(951_868_799));
        assert_eq!(seconds(UTC_TIME, b"491231235959Z"), Some(2_524_607_999));
        assert_eq!(seconds(UTC_TIME, b"500101000000Z"), Some(0), "1950");
        let far = seconds(GENERALIZED_TIME, b"20500101000000Z");
        assert_eq!(far, Some(2_524_608_000));
        assert_eq!(
            seconds(GENERALIZED_TIME, b"21000301000000Z"),
            Some(4_107_542_400)
        );
        for wrong in [
            &b"261123183000"[..],
            b"2611231830Z",
            b"26112318300xZ",
            b"261323183000Z",
            b"",
        ] {
            assert_eq!(seconds(UTC_TIME, wrong), None);
        }
    }

    #[test]
    fn the_validity_of_a_certificate_is_found_and_nothing_else_is_taken_for_it() {
        let mut parameters = rcgen::CertificateParams::new(["node.test".to_owned()]).unwrap();
        parameters.not_before = rcgen::date_time_ymd(2026, 11, 23);
        parameters.not_after = rcgen::date_time_ymd(2051, 2, 3);
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = parameters.self_signed(&key).unwrap();
        let expected = Validity {
            not_before: 1_795_392_000,
            not_after: 2_558_995_200,
        };
        let der = certificate.der();
        assert_eq!(Validity::of(der), Some(expected));
        assert_eq!(expected.life(), 763_603_200);
        for end in 0..der.len() {
            assert_eq!(Validity::of(&der[..end]), None, "cut after {end} octets");
        }
        assert_eq!(Validity::of(b"\x30\x85\0\0\0\0\x01"), None);
    }
}
