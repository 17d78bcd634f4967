//! Which variables the node knows, and the checks of those whose feature this version does not have.
//!
//! What the others are stands in `table`.

use super::environment::{ConfigError, Environment, must_be};
use super::table;
use std::time::Duration;

/// Files the reference keeps beside its record database; everything of ours is in the file of `DMP_DB_PATH`.
pub(crate) const FOREIGN_DATABASES: &[&str] = &[
    "DMP_TOKEN_DB_PATH",
    "DMP_TSIG_DB_PATH",
    "DMP_HEARTBEAT_DB_PATH",
];

/// What a value of a variable without a feature has to look like.
#[derive(Clone, Copy)]
enum Kind {
    Text,
    Switch,
    Number,
}

/// Variables that are checked and then have no effect in this version (federation.md 2).
const WITHOUT_EFFECT: &[(&str, Kind)] = &[
    ("DMP_HEARTBEAT_RETENTION_HOURS", Kind::Number),
    ("DMP_HEARTBEAT_SUBMIT_RATE_PER_SEC", Kind::Number),
    ("DMP_HEARTBEAT_SUBMIT_BURST", Kind::Number),
    ("DMP_HEARTBEAT_SEEN_RATE_PER_SEC", Kind::Number),
    ("DMP_HEARTBEAT_SEEN_BURST", Kind::Number),
    ("DMP_HEARTBEAT_PUBLIC_SEED_URLS", Kind::Text),
    ("DMP_HEARTBEAT_PUBLIC_SEED_URLS_DISABLED", Kind::Switch),
];

/// Every variable of the node.
pub(crate) fn known() -> impl Iterator<Item = &'static str> {
    let without_effect = WITHOUT_EFFECT.iter().map(|(name, _)| *name);
    let settings = table::SETTINGS.iter().map(|setting| setting.variable);
    let others = table::WITHOUT_KEY.iter().map(|(variable, _)| *variable);
    let others = others.chain(FOREIGN_DATABASES.iter().copied());
    settings.chain(others).chain(without_effect)
}

/// Checks the variables without a feature; one warning for each that asks for something.
pub(crate) fn check_without_effect(environment: &Environment) -> Result<Vec<String>, ConfigError> {
    let mut warnings = Vec::new();
    for (name, kind) in WITHOUT_EFFECT {
        if environment.is_set(name) && asks_for_something(environment, name, *kind)? {
            warnings.push(format!("{name} has no effect in this version"));
        }
    }
    Ok(warnings)
}

/// One warning for each set variable that is within two letters of a known one and so is probably a misspelling.
///
/// Others are left alone: a client's and an installer's variables share the prefix.
pub(crate) fn warn_of_misspellings(environment: &Environment) -> Vec<String> {
    let strangers = environment
        .names()
        .filter(|name| name.starts_with("DMP_") && known().all(|known| known != *name));
    strangers
        .filter_map(|name| {
            let near = known().find(|known| edit_distance(known, name) <= 2)?;
            Some(format!("{name} is not a setting; did you mean {near}?"))
        })
        .collect()
}

/// Whether the value asks for something this version cannot do; an error if it is no value at all.
fn asks_for_something(
    environment: &Environment,
    name: &str,
    kind: Kind,
) -> Result<bool, ConfigError> {
    match kind {
        Kind::Switch => return Ok(environment.switch(name)? == Some(true)),
        Kind::Text => drop(environment.text(name)?),
        Kind::Number => drop(environment.number(name, 0.0)?),
    }
    Ok(true)
}

/// A number of seconds greater than 0.
pub(crate) fn interval(
    environment: &Environment,
    name: &str,
    default: f64,
) -> Result<Duration, ConfigError> {
    let seconds = environment.number(name, default)?;
    match Duration::try_from_secs_f64(seconds) {
        Ok(interval) if !interval.is_zero() => Ok(interval),
        _ => {
            let found = environment.text(name)?.unwrap_or_default();
            Err(must_be(name, "a number of seconds greater than 0", found))
        }
    }
}

/// Letters to insert, delete or replace to get from one name to the other (Levenshtein).
pub(crate) fn edit_distance(from: &str, to: &str) -> usize {
    let to = to.as_bytes();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (i, left) in from.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, right) in to.iter().enumerate() {
            let replace = diagonal + usize::from(left != *right);
            diagonal = row[j + 1];
            row[j + 1] = replace.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_setting_is_told_and_a_foreign_one_is_not() {
        let environment = Environment::from_pairs([
            ("DMP_OPERATOR_TOKE", "secret"),
            ("DMP_PASSPHRASE", "secret"),
            ("DMP_DOMAIN", "a.example"),
        ]);
        assert_eq!(
            warn_of_misspellings(&environment),
            ["DMP_OPERATOR_TOKE is not a setting; did you mean DMP_OPERATOR_TOKEN?"]
        );
    }

    /// The variables of node.md 7, short forms written out.
    const LISTED: &str = "
        DMP_DB_PATH DMP_TOKEN_DB_PATH DMP_TSIG_DB_PATH DMP_HEARTBEAT_DB_PATH DMP_DNS_HOST DMP_DNS_PORT DMP_DNS_TTL
        DMP_DNS_RATE DMP_DNS_BURST DMP_DNS_MAX_CONCURRENCY DMP_DNS_APEX_A DMP_DNS_APEX_AAAA DMP_DNS_APEX_NS
        DMP_DNS_APEX_SOA_RNAME DMP_SERVED_ZONE DMP_CLAIM_PROVIDER_ZONE DMP_CLUSTER_BASE_DOMAIN DMP_DOMAIN
        DMP_NODE_HOSTNAME DMP_DNS_UPDATE_ENABLED DMP_TSIG_TIGHT_SCOPE DMP_TSIG_LOOSE_SCOPE DMP_CLAIM_PROVIDER
        DMP_RECEIVER_CLAIM_NOTIFICATIONS DMP_CLAIM_MAX_TTL DMP_CLAIM_RATE_PER_USER_PER_SEC DMP_CLAIM_RATE_BURST
        DMP_HTTP_HOST DMP_HTTP_PORT DMP_OPERATOR_TOKEN DMP_HTTP_TOKEN DMP_AUTH_MODE DMP_ALLOW_OPEN_PUBLIC_BIND
        DMP_HTTP_RATE DMP_HTTP_BURST DMP_HTTP_MAX_CONCURRENCY DMP_TRUSTED_PROXIES DMP_MAX_TTL DMP_MAX_VALUE_BYTES
        DMP_MAX_VALUES_PER_NAME DMP_MAX_VALUES_PER_WRITER_PER_MAILBOX DMP_REGISTRATION_ENABLED
        DMP_REGISTRATION_ALLOWLIST DMP_REGISTRATION_TOKEN_TTL_SECONDS DMP_REGISTRATION_ISSUED_RATE_PER_SEC
        DMP_REGISTRATION_ISSUED_RATE_BURST DMP_REGISTRATION_ENDPOINT_RATE_PER_SEC
        DMP_REGISTRATION_ENDPOINT_RATE_BURST DMP_CLEANUP_INTERVAL DMP_LOG_LEVEL DMP_LOG_FORMAT DMP_CLUSTER_FILE
        DMP_CLUSTER_MANIFEST_PATH DMP_NODE_ID DMP_SYNC_PEERS DMP_SYNC_PEER_TOKEN DMP_SYNC_INTERVAL
        DMP_SYNC_INTERVAL_SECONDS DMP_SYNC_OPERATOR_SPK DMP_SYNC_SELF_ENDPOINT DMP_HEARTBEAT_ENABLED
        DMP_HEARTBEAT_SELF_ENDPOINT DMP_HEARTBEAT_OPERATOR_KEY_PATH DMP_HEARTBEAT_SEEDS
        DMP_HEARTBEAT_INTERVAL_SECONDS DMP_HEARTBEAT_TTL_SECONDS DMP_HEARTBEAT_MAX_PEERS DMP_HEARTBEAT_VERSION
        DMP_HEARTBEAT_RETENTION_HOURS DMP_HEARTBEAT_SEEN_MAX_ROWS DMP_HEARTBEAT_DNS_RESOLVERS
        DMP_HEARTBEAT_DNSSEC_REQUIRED DMP_HEARTBEAT_SUBMIT_RATE_PER_SEC DMP_HEARTBEAT_SUBMIT_BURST
        DMP_HEARTBEAT_SEEN_RATE_PER_SEC DMP_HEARTBEAT_SEEN_BURST DMP_HEARTBEAT_PUBLIC_SEED_URLS
        DMP_HEARTBEAT_PUBLIC_SEED_URLS_DISABLED";

    #[test]
    fn every_variable_of_the_reference_is_known_and_none_without_effect_is_passed_over_in_silence()
    {
        for name in LISTED.split_whitespace() {
            assert!(known().any(|known| known == name), "{name}");
        }
        for (name, kind) in WITHOUT_EFFECT {
            let value = match kind {
                Kind::Text => "x",
                Kind::Switch => "on",
                Kind::Number => "7",
            };
            let set = |value: &str| Environment::from_pairs([(*name, value)]);
            let warnings = check_without_effect(&set(value)).unwrap();
            assert_eq!(warnings, [format!("{name} has no effect in this version")]);
            let wrong = match kind {
                Kind::Text => continue, // any text is one
                Kind::Switch => "perhaps",
                Kind::Number => "inf",
            };
            let error = check_without_effect(&set(wrong)).unwrap_err();
            assert_eq!(error.variable, *name);
        }
    }

    #[test]
    fn names_are_listed_once() {
        let mut names: Vec<_> = known().collect();
        let total = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), total);
    }

    #[test]
    fn the_edit_distance_counts_letters() {
        assert_eq!(edit_distance("abc", "abc"), 0);
        assert_eq!(edit_distance("abc", "adc"), 1);
        assert_eq!(edit_distance("abc", "xabcd"), 2);
        assert_eq!(edit_distance("", "abc"), 3);
    }
}
