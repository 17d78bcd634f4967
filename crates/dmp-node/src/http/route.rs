//! Which resource a request target names, and which methods it has (node.md 6.1, 6.2).

use hyper::{Method, Uri};

/// A path of the interface.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Resource {
    Health,
    Stats,
    /// The name is decoded and stripped, and may be any text.
    Record(String),
    Challenge,
    Confirm,
    TsigConfirm,
}

impl Resource {
    /// The resource of a target. A query belongs to the path, except behind the two confirmations, where it is ignored,
    /// and is part of the name behind `/v1/records/`.
    pub(crate) fn of(target: &Uri) -> Option<Self> {
        let raw = target.path_and_query().map_or("", |target| target.as_str());
        match raw {
            "/health" => return Some(Self::Health),
            "/stats" => return Some(Self::Stats),
            "/v1/registration/challenge" => return Some(Self::Challenge),
            _ => {}
        }
        match target.path() {
            "/v1/registration/confirm" => return Some(Self::Confirm),
            "/v1/registration/tsig-confirm" => return Some(Self::TsigConfirm),
            _ => {}
        }
        let segment = raw.strip_prefix("/v1/records/")?;
        let segment = segment.strip_suffix('/').unwrap_or(segment);
        if segment.is_empty() || segment.contains('/') {
            return None;
        }
        let name = percent_decoded(segment);
        Some(Self::Record(name.trim().trim_end_matches('.').to_owned()))
    }

    /// The methods it has, as an `Allow` header lists them.
    pub(crate) fn methods(&self) -> &'static str {
        match self {
            Self::Health | Self::Stats | Self::Challenge => "GET, HEAD",
            Self::Record(_) => "GET, HEAD, POST, DELETE",
            Self::Confirm | Self::TsigConfirm => "POST",
        }
    }

    pub(crate) fn allows(&self, method: &Method) -> bool {
        self.methods()
            .split(", ")
            .any(|allowed| allowed == method.as_str())
    }
}

/// Replaces `%` and two hex digits by that octet; anything else stays. Octets that are no UTF-8 become U+FFFD, which no
/// valid name holds.
fn percent_decoded(text: &str) -> String {
    let mut octets = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        let escaped = tail.get(..2).filter(|_| *first == b'%');
        let mut octet = [*first];
        rest = match escaped {
            Some(digits) if hex::decode_to_slice(digits, &mut octet).is_ok() => &tail[2..],
            _ => tail,
        };
        octets.push(octet[0]);
    }
    String::from_utf8_lossy(&octets).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resource(target: &str) -> Option<Resource> {
        Resource::of(&target.parse().unwrap())
    }

    fn record(name: &str) -> Option<Resource> {
        Some(Resource::Record(name.to_owned()))
    }

    #[test]
    fn get_routes_are_compared_to_the_raw_target() {
        assert_eq!(resource("/health"), Some(Resource::Health));
        assert_eq!(
            resource("http://node.example/health"),
            Some(Resource::Health)
        );
        assert_eq!(
            resource("/v1/registration/challenge"),
            Some(Resource::Challenge)
        );
        for target in [
            "/health?x",
            "/health/",
            "/Health",
            "//health",
            "/v1/registration/challenge?x",
            "/",
        ] {
            assert_eq!(resource(target), None, "{target}");
        }
    }

    #[test]
    fn confirmations_ignore_the_query() {
        assert_eq!(
            resource("/v1/registration/confirm?x=1"),
            Some(Resource::Confirm)
        );
        assert_eq!(
            resource("/v1/registration/tsig-confirm?"),
            Some(Resource::TsigConfirm)
        );
    }

    #[test]
    fn a_record_name_is_one_segment_decoded_and_stripped() {
        assert_eq!(resource("/v1/records/a.example"), record("a.example"));
        assert_eq!(resource("/v1/records/a.example/"), record("a.example"));
        assert_eq!(
            resource("/v1/records/%61.example..%20"),
            record("a.example")
        );
        assert_eq!(resource("/v1/records/a%2Fb"), record("a/b"));
        assert_eq!(resource("/v1/records/a%zzb%4"), record("a%zzb%4"));
        assert_eq!(resource("/v1/records/a?b=c"), record("a?b=c"));
        assert_eq!(resource("/v1/records/%ff"), record("\u{fffd}"));
        for target in [
            "/v1/records",
            "/v1/records/",
            "/v1/records//",
            "/v1/records/a/b",
            "/v1/records/a//",
        ] {
            assert_eq!(resource(target), None, "{target}");
        }
    }

    #[test]
    fn routes_that_the_reference_gave_up_are_gone() {
        for target in [
            "/v1/info",
            "/v1/nodes/seen",
            "/nodes",
            "/v1/heartbeat",
            "/v1/claim/publish",
        ] {
            assert_eq!(resource(target), None, "{target}");
        }
    }
}
