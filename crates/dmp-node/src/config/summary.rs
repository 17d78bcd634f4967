//! What an operator is told at start: what holds, what is off, and why that matters (D11, D25, product.md 6).

use super::{AuthMode, Config, Rate};

impl Config {
    /// Zone, roles and limits, one line each.
    pub fn summary(&self) -> Vec<String> {
        let zone = match &self.zone {
            Some(zone) => zone.to_string(),
            None => "none: every stored name is answered for".to_owned(),
        };
        let writers = match self.http.auth {
            AuthMode::Open => "everybody",
            AuthMode::Legacy => "the operator",
            AuthMode::MultiTenant => "the operator and registered users",
        };
        let roles = [
            ("UPDATE", self.update.enabled),
            ("claims for everybody (provider)", self.is_claim_provider()),
            (
                "claims for users registered here (receiver)",
                self.is_claim_receiver(),
            ),
            ("registration", self.registration.switched_on),
        ];
        let roles =
            roles.map(|(role, is_on)| format!("{role} {}", if is_on { "on" } else { "off" }));
        let caps = &self.caps;
        let (v4, v6) = (self.dns.prefixes.v4, self.dns.prefixes.v6);
        vec![
            format!("zone: {zone}"),
            format!("roles: {}", roles.join(", ")),
            format!("HTTP writes: {writers}"),
            format!(
                "limits: DNS {} for each /{v4} and /{v6}, HTTP {} for each client, claims {} for each recipient",
                told(self.dns.rate),
                told(self.http.rate),
                told(self.claims.rate)
            ),
            format!(
                "limits: values of {} bytes, {} at one name, life of {} s; {} values and {} bytes in all",
                bound(caps.max_value_bytes),
                bound(caps.max_values_per_name),
                bound(caps.max_ttl),
                bound(caps.max_records),
                bound(caps.max_database_bytes)
            ),
        ]
    }

    /// What is off or open and should not be for long, with what follows from it, one line each.
    pub fn concerns(&self) -> Vec<String> {
        let is_public = self.http.is_public();
        let unlimited = |rate: Rate| rate.per_second <= 0.0 || rate.burst <= 0.0;
        let has_receivers = self.update.enabled && self.zone.is_some();
        let concerns = [
            (
                self.dns.host.is_loopback(),
                "DNS on loopback only (DMP_DNS_HOST): nobody else can read this node",
            ),
            (
                self.zone.is_none(),
                "no zone (DMP_DOMAIN): no SOA, no registration, no claims",
            ),
            (
                !self.update.enabled,
                "UPDATE is off (DMP_DNS_UPDATE_ENABLED): users cannot publish over DNS",
            ),
            (
                !self.registration.switched_on,
                "registration is off (DMP_REGISTRATION_ENABLED): users need a credential from the operator",
            ),
            (
                has_receivers && !self.claims.receiver,
                "claims for users registered here are off (DMP_RECEIVER_CLAIM_NOTIFICATIONS): mail of strangers does not reach them",
            ),
            (
                self.is_claim_provider(),
                "claims for everybody are on (DMP_CLAIM_PROVIDER): this node stores them for users of all other nodes",
            ),
            (
                self.http.operator_token.is_none(),
                "no operator token (DMP_OPERATOR_TOKEN): nobody can administer records over HTTP",
            ),
            (
                self.http.operator_token.is_none() && self.http.auth != AuthMode::MultiTenant,
                "/metrics is open to everybody who reaches HTTP: DMP_OPERATOR_TOKEN is unset",
            ),
            (
                is_public && self.http.auth == AuthMode::Open,
                "everybody may write records over HTTP (DMP_AUTH_MODE)",
            ),
            (
                is_public && self.http.tls.is_none() && self.http.trusted_proxies.is_empty(),
                "HTTP is public and in the clear: put a proxy in front (DMP_TRUSTED_PROXIES), or use DMP_HTTP_TLS_CERT",
            ),
            (
                unlimited(self.dns.rate),
                "the limit on DNS answers is off (DMP_DNS_RATE): forged questions can turn this node against others",
            ),
            (
                self.caps.max_records.is_none() || self.caps.max_database_bytes.is_none(),
                "the store has no ceiling (DMP_MAX_RECORDS, DMP_MAX_DATABASE_BYTES): writers can fill the disk",
            ),
        ];
        let concerns = concerns.into_iter().filter(|(holds, _)| *holds);
        concerns.map(|(_, line)| line.to_owned()).collect()
    }
}

fn told(rate: Rate) -> String {
    let Rate { per_second, burst } = rate;
    if per_second <= 0.0 || burst <= 0.0 {
        "without limit".to_owned()
    } else {
        format!("{per_second}/s and {burst} at once")
    }
}

fn bound(bound: Option<u64>) -> String {
    bound.map_or_else(|| "any number of".to_owned(), |bound| bound.to_string())
}
