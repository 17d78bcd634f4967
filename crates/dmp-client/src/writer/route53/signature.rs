//! AWS Signature Version 4, the form in an `Authorization` header. Reads no clock and sends nothing.

use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

/// An access key of AWS, with the token of temporary ones.
#[derive(Clone)]
pub struct AwsCredentials {
    /// The public half.
    pub access_key_id: String,
    /// The secret half.
    pub secret_access_key: Zeroizing<String>,
    /// Proof that temporary credentials are in force.
    pub session_token: Option<Zeroizing<String>>,
}

impl fmt::Debug for AwsCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AwsCredentials").finish_non_exhaustive()
    }
}

/// For what a signature holds beside the request.
pub(super) struct Scope<'a> {
    pub(super) region: &'a str,
    pub(super) service: &'a str,
    /// Unix seconds.
    pub(super) time: u64,
}

/// The parts of a request that are signed.
pub(super) struct Request<'a> {
    pub(super) method: &'a str,
    /// Percent-encoded already.
    pub(super) path: &'a str,
    /// Percent-encoded already, sorted by name.
    pub(super) query: &'a str,
    /// Names in lower case, sorted; `host` and `x-amz-date` among them.
    pub(super) headers: &'a [(&'a str, &'a str)],
    pub(super) body: &'a str,
}

/// The value of the `Authorization` header.
pub(super) fn authorization(
    request: &Request<'_>,
    credentials: &AwsCredentials,
    scope: &Scope<'_>,
) -> String {
    let names: Vec<&str> = request.headers.iter().map(|(name, _)| *name).collect();
    let names = names.join(";");
    let headers: String = request
        .headers
        .iter()
        .map(|(name, value)| format!("{name}:{}\n", value.trim()))
        .collect();
    let canonical = Zeroizing::new(format!(
        "{}\n{}\n{}\n{headers}\n{names}\n{}",
        request.method,
        request.path,
        request.query,
        hash(request.body)
    ));
    let time = timestamp(scope.time);
    let date = time.get(..8).unwrap_or_default();
    let place = format!("{date}/{}/{}/aws4_request", scope.region, scope.service);
    let to_sign = format!("AWS4-HMAC-SHA256\n{time}\n{place}\n{}", hash(&canonical));

    let secret = Zeroizing::new(format!("AWS4{}", *credentials.secret_access_key));
    let mut key = keyed(secret.as_bytes(), date);
    for part in [scope.region, scope.service, "aws4_request"] {
        key = keyed(&key[..], part);
    }
    let signature = hex::encode(keyed(&key[..], &to_sign));
    format!(
        "AWS4-HMAC-SHA256 Credential={}/{place}, SignedHeaders={names}, Signature={signature}",
        credentials.access_key_id
    )
}

/// `20150830T123600Z`.
pub(super) fn timestamp(unix: u64) -> String {
    let (days, second) = (unix / 86_400, unix % 86_400);
    // Days since 1 March of year 0, in eras of 400 years: leap days fall on the ends of years then.
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 {
        shifted_month + 3
    } else {
        shifted_month - 9
    };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
    format!("{year:04}{month:02}{day:02}T{hour:02}{minute:02}{second:02}Z")
}

fn hash(text: &str) -> String {
    hex::encode(Sha256::digest(text.as_bytes()))
}

fn keyed(key: &[u8], message: &str) -> Zeroizing<[u8; 32]> {
    // HMAC takes keys of any length, so there is nothing to fail.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else {
        return Zeroizing::default();
    };
    mac.update(message.as_bytes());
    Zeroizing::new(mac.finalize().into_bytes().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of the published Signature Version 4 test suite.
    fn signature(method: &str, query: &str, headers: &[(&str, &str)], body: &str) -> String {
        let credentials = AwsCredentials {
            access_key_id: "AKIDEXAMPLE".to_owned(),
            secret_access_key: Zeroizing::new(
                "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY".to_owned(),
            ),
            session_token: None,
        };
        let scope = Scope {
            region: "us-east-1",
            service: "service",
            time: 1_440_938_160,
        };
        let request = Request {
            method,
            path: "/",
            query,
            headers,
            body,
        };
        let header = authorization(&request, &credentials, &scope);
        let start = "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, SignedHeaders=";
        assert!(header.starts_with(start), "{header}");
        header.rsplit_once('=').unwrap().1.to_owned()
    }

    const HOST: (&str, &str) = ("host", "example.amazonaws.com");
    const DATE: (&str, &str) = ("x-amz-date", "20150830T123600Z");

    #[test]
    fn the_published_test_suite_is_reproduced() {
        let plain = [HOST, DATE];
        for (method, query, expected) in [
            (
                "GET",
                "",
                "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
            ),
            (
                "POST",
                "",
                "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b",
            ),
            (
                "GET",
                "Param1=value1&Param2=value2",
                "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500",
            ),
        ] {
            assert_eq!(
                signature(method, query, &plain, ""),
                expected,
                "{method} {query}"
            );
        }
        let form = [
            ("content-type", "application/x-www-form-urlencoded"),
            HOST,
            DATE,
        ];
        assert_eq!(
            signature("POST", "", &form, "Param1=value1"),
            "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a"
        );
    }

    #[test]
    fn times_are_written_in_the_calendar() {
        for (unix, text) in [
            (0, "19700101T000000Z"),
            (951_782_399, "20000228T235959Z"),
            (951_782_400, "20000229T000000Z"),
            (1_440_938_160, "20150830T123600Z"),
            (1_798_761_599, "20261231T235959Z"),
            (4_107_542_400, "21000301T000000Z"),
        ] {
            assert_eq!(timestamp(unix), text);
        }
    }

    #[test]
    fn credentials_print_nothing_of_themselves() {
        let credentials = AwsCredentials {
            access_key_id: "AKID".to_owned(),
            secret_access_key: Zeroizing::new("geheim".to_owned()),
            session_token: Some(Zeroizing::new("token".to_owned())),
        };
        let text = format!("{credentials:?}");
        assert!(!text.contains("geheim") && !text.contains("token") && !text.contains("AKID"));
    }
}
