//! Which resource a request target names, and which methods it has (node.md 6.1, 6.2).

use hyper::{Method, Uri};

/// A path of the interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Resource {
    Page,
    Health,
    Ready,
    Stats,
    Metrics,
    /// The name is decoded and stripped, and may be any text.
    Record(String),
    Challenge,
    Confirm,
    TsigConfirm,
    Digest,
    Pull,
    ClusterManifest,
}

/// One path with the methods it has, as an `Allow` header lists them.
#[derive(Debug)]
pub struct Route {
    /// The path; `{name}` stands for one segment.
    pub path: &'static str,
    /// Methods, separated by a comma and a space.
    pub methods: &'static str,
    resource: Resource,
    query: QueryPart,
}

/// What a query does to a path (node.md 6.1).
#[derive(Debug, PartialEq, Eq)]
enum QueryPart {
    /// It belongs to the target, which is compared as it came.
    Compared,
    Ignored,
}

const READ: &str = "GET, HEAD";

/// Every path there is.
pub static ROUTES: [Route; 13] = [
    read("/", Resource::Page),
    read("/index.html", Resource::Page),
    read("/health", Resource::Health),
    read("/ready", Resource::Ready),
    read("/stats", Resource::Stats),
    read("/metrics", Resource::Metrics),
    Route {
        path: "/v1/records/{name}",
        methods: "GET, HEAD, POST, DELETE",
        resource: Resource::Record(String::new()),
        query: QueryPart::Compared,
    },
    read("/v1/registration/challenge", Resource::Challenge),
    post("/v1/registration/confirm", Resource::Confirm),
    post("/v1/registration/tsig-confirm", Resource::TsigConfirm),
    Route {
        path: "/v1/sync/cluster-manifest",
        methods: READ,
        resource: Resource::ClusterManifest,
        query: QueryPart::Ignored,
    },
    Route {
        path: "/v1/sync/digest",
        methods: READ,
        resource: Resource::Digest,
        query: QueryPart::Ignored, // here; the digest reads it
    },
    post("/v1/sync/pull", Resource::Pull),
];

const fn read(path: &'static str, resource: Resource) -> Route {
    Route {
        path,
        methods: READ,
        resource,
        query: QueryPart::Compared,
    }
}

const fn post(path: &'static str, resource: Resource) -> Route {
    Route {
        path,
        methods: "POST",
        resource,
        query: QueryPart::Ignored,
    }
}

impl Resource {
    /// The resource of a target. A query belongs to the path, except behind the two confirmations and those of peers,
    /// and is part of the name behind `/v1/records/`.
    pub(crate) fn of(target: &Uri) -> Option<(Self, &'static Route)> {
        let raw = target.path_and_query().map_or("", |target| target.as_str());
        let plain = ROUTES.iter().find(|route| match route.query {
            QueryPart::Compared => route.path == raw,
            QueryPart::Ignored => route.path == target.path(),
        });
        if let Some(route) = plain {
            return Some((route.resource.clone(), route));
        }
        let segment = raw.strip_prefix("/v1/records/")?;
        let segment = segment.strip_suffix('/').unwrap_or(segment);
        if segment.is_empty() || segment.contains('/') {
            return None;
        }
        let mut routes = ROUTES.iter();
        let route = routes.find(|route| matches!(route.resource, Self::Record(_)))?;
        let name = percent_decoded(segment);
        let name = name.trim().trim_end_matches('.').to_owned();
        Some((Self::Record(name), route))
    }
}

impl Route {
    pub(crate) fn allows(&self, method: &Method) -> bool {
        let mut methods = self.methods.split(", ");
        methods.any(|allowed| allowed == method.as_str())
    }
}

/// Replaces `%` and two hex digits by that octet; anything else stays. Octets that are no UTF-8 become U+FFFD, which no
/// valid name holds.
pub(super) fn percent_decoded(text: &str) -> String {
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
        Resource::of(&target.parse().unwrap()).map(|(resource, _)| resource)
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
            "/?x",
            "/metrics?name[]=x",
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
    fn the_routes_of_peers_take_any_query() {
        for (path, route) in [
            ("digest", Resource::Digest),
            ("pull", Resource::Pull),
            ("cluster-manifest", Resource::ClusterManifest),
        ] {
            assert_eq!(resource(&format!("/v1/sync/{path}")), Some(route.clone()));
            assert_eq!(resource(&format!("/v1/sync/{path}?a=b")), Some(route));
        }
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
