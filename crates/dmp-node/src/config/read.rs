//! Fills a [`Config`] from variables and flags: each variable's default, range and meaning (node.md 7).
//!
//! How a value is read as a number or a switch stands in `environment`.

use super::environment::{ConfigError, Environment, must_be};
use super::names::{BindHost, Prefix, dns_name};
use super::{
    AuthMode, Caps, ClaimsConfig, Config, DatabasePath, DnsConfig, HttpConfig, LogConfig,
    LogFormat, LogLevel, OperatorToken, Overrides, Rate, RegistrationConfig, ScopeMode, TlsFiles,
    TlsSource, UpdateConfig, acme, heartbeat, sync, variables,
};
use crate::limits;
use crate::settings::PrefixLengths;
use crate::zone::Owner;
use dmp_core::registration::NodeName;
use dmp_dns::cookie::{Secret, Secrets};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;
use zeroize::Zeroizing;

impl Config {
    /// Reads and checks every setting; the first wrong one is the error.
    pub fn read(environment: &Environment, overrides: &Overrides) -> Result<Self, ConfigError> {
        Self::read_all(environment, overrides).map_err(|error| environment.locate(error))
    }

    fn read_all(environment: &Environment, overrides: &Overrides) -> Result<Self, ConfigError> {
        let unconfigured = !variables::known().any(|name| environment.is_set(name));
        let given = environment.redacted().overridden(overrides);
        let mut warnings = variables::warn_of_misspellings(environment);
        let registration = registration(environment)?;
        let node_name = registration.node_name.as_ref();
        let zone = served_zone(environment, node_name, &mut warnings)?;
        let update = UpdateConfig {
            enabled: environment
                .switch("DMP_DNS_UPDATE_ENABLED")?
                .unwrap_or(false),
            scope: scope_mode(environment)?,
        };
        let tls = tls(environment, zone.as_ref(), node_name)?;
        let http = http(environment, overrides, tls, &mut warnings)?;
        if registration.switched_on {
            let hindrance = hindrance_of_registration(&http, &registration, zone.as_ref(), update);
            let told = hindrance.map(|what| format!("DMP_REGISTRATION_ENABLED is on but {what}"));
            warnings.extend(told);
        }
        let config = Self {
            database: database(environment, overrides, unconfigured)?,
            dns: dns(environment, overrides, unconfigured)?,
            claims: claims(environment)?,
            caps: caps(environment)?,
            cleanup_interval: variables::interval(environment, "DMP_CLEANUP_INTERVAL", 60.0)?,
            heartbeat: heartbeat::heartbeat(environment, &mut warnings)?,
            sync: sync::sync(environment, &mut warnings)?,
            log: log(environment, &mut warnings)?,
            foreign_databases: foreign_databases(environment, &mut warnings)?,
            given,
            overrides: overrides.clone(),
            source: None,
            zone,
            update,
            http,
            registration,
            warnings,
        };
        let without_effect = variables::check_without_effect(environment)?;
        Ok(Self {
            warnings: [config.warnings, without_effect].concat(),
            ..config
        })
    }
}

/// The variables that name the zone, first non-empty one wins; `DMP_NODE_HOSTNAME` is the last (node.md 2.3). A cluster that the
/// file names is no zone beside one that is named as such.
pub(super) fn zone_chain(environment: &Environment) -> [&'static str; 4] {
    let (cluster, domain) = ("DMP_CLUSTER_BASE_DOMAIN", "DMP_DOMAIN");
    let [third, last] = match environment.is_from_file(cluster) {
        true => [domain, cluster],
        false => [cluster, domain],
    };
    ["DMP_SERVED_ZONE", "DMP_CLAIM_PROVIDER_ZONE", third, last]
}

fn served_zone(
    environment: &Environment,
    node_name: Option<&NodeName>,
    warnings: &mut Vec<String>,
) -> Result<Option<Owner>, ConfigError> {
    let mut served: Option<(&str, Owner)> = None;
    for variable in zone_chain(environment) {
        let Some(text) = environment.text(variable)? else {
            continue;
        };
        let name = dns_name(text).ok_or_else(|| must_be(variable, "a DNS name", text))?;
        match &served {
            None => served = Some((variable, name)),
            Some((winner, zone)) if variable == "DMP_DOMAIN" && *zone != name => {
                warnings.push(format!(
                    "{winner} overrides DMP_DOMAIN: the served zone is {zone}"
                ));
            }
            Some(_) => {}
        }
    }
    // An IPv6 address names a node but no zone.
    let last = || dns_name(node_name?.host());
    Ok(served.map(|(_, zone)| zone).or_else(last))
}

/// The name bound into registration signatures, kept as it is written (node.md 6.5).
fn node_name(environment: &Environment) -> Result<Option<NodeName>, ConfigError> {
    let variable = "DMP_NODE_HOSTNAME";
    let Some(text) = environment.text(variable)? else {
        return Ok(None);
    };
    let name = NodeName::parse(text);
    name.map(Some)
        .map_err(|_| must_be(variable, "a host name or an IP address", text))
}

fn database(
    environment: &Environment,
    overrides: &Overrides,
    unconfigured: bool,
) -> Result<DatabasePath, ConfigError> {
    let configured = match &overrides.db_path {
        Some(path) => Some(path.clone()),
        None => environment.text("DMP_DB_PATH")?.map(PathBuf::from),
    };
    Ok(match configured {
        Some(path) => DatabasePath {
            path,
            fallback: None,
        },
        None => DatabasePath {
            path: PathBuf::from("/var/lib/dmp/dmp.db"),
            fallback: if unconfigured {
                user_data_directory(environment)?.map(|data| data.join("dnsmesh").join("node.db"))
            } else {
                None
            },
        },
    })
}

/// `$XDG_DATA_HOME`, else `~/.local/share` (XDG base directory specification).
fn user_data_directory(environment: &Environment) -> Result<Option<PathBuf>, ConfigError> {
    let absolute = |variable| -> Result<Option<PathBuf>, ConfigError> {
        let path = environment.verbatim(variable)?.map(PathBuf::from);
        Ok(path.filter(|path| path.is_absolute()))
    };
    Ok(match absolute("XDG_DATA_HOME")? {
        Some(data) => Some(data),
        None => absolute("HOME")?.map(|home| home.join(".local").join("share")),
    })
}

fn dns(
    environment: &Environment,
    overrides: &Overrides,
    unconfigured: bool,
) -> Result<DnsConfig, ConfigError> {
    let host = match host(environment, "DMP_DNS_HOST")? {
        Some(host) => host,
        None if unconfigured => BindHost::loopback(),
        None => any_host(),
    };
    let mut apex_ns = Vec::new();
    for item in environment.list("DMP_DNS_APEX_NS")? {
        let name = dns_name(item)
            .ok_or_else(|| must_be("DMP_DNS_APEX_NS", "DNS names separated by commas", item))?;
        apex_ns.push(name);
    }
    let rname = match environment.text("DMP_DNS_APEX_SOA_RNAME")? {
        None => None,
        Some(text) => Some(dns_name(text).ok_or_else(|| {
            must_be(
                "DMP_DNS_APEX_SOA_RNAME",
                "a DNS name such as hostmaster.example.com",
                text,
            )
        })?),
    };
    Ok(DnsConfig {
        host,
        port: port(environment, "DMP_DNS_PORT", overrides.dns_port, 5353)?,
        ttl: environment.integer("DMP_DNS_TTL", 60, 1..=i64::from(i32::MAX))?,
        rate: rate(environment, "DMP_DNS_RATE", 50.0, "DMP_DNS_BURST", 200.0)?,
        prefixes: prefix_lengths(environment)?,
        rate_exempt: prefixes(environment, "DMP_DNS_RATE_EXEMPT")?,
        cookie_secrets: cookie_secrets(environment)?,
        nsid: nsid(environment)?,
        udp_payload: environment.integer(
            "DMP_DNS_UDP_PAYLOAD",
            limits::UDP_ANSWER_OCTETS as u16,
            512..=limits::UDP_ANSWER_OCTETS as i64,
        )?,
        max_concurrency: count(environment, "DMP_DNS_MAX_CONCURRENCY", 128)?,
        tcp_connections: match environment.is_set("DMP_DNS_TCP_CONNECTIONS") {
            true => Some(count(environment, "DMP_DNS_TCP_CONNECTIONS", 1)?),
            false => None,
        },
        tcp_connections_per_prefix: count(
            environment,
            "DMP_DNS_TCP_CONNECTIONS_PER_PREFIX",
            limits::TCP_PER_PREFIX,
        )?,
        apex_a: environment.parsed("DMP_DNS_APEX_A", "an IPv4 address")?,
        apex_aaaa: environment.parsed("DMP_DNS_APEX_AAAA", "an IPv6 address")?,
        apex_ns,
        apex_soa_rname: rname,
    })
}

/// A prefix may not be so short that half of the Internet is one client.
fn prefix_lengths(environment: &Environment) -> Result<PrefixLengths, ConfigError> {
    let PrefixLengths { v4, v6 } = PrefixLengths::default();
    Ok(PrefixLengths {
        v4: environment.integer("DMP_DNS_RATE_PREFIX_V4", v4, 8..=32)?,
        v6: environment.integer("DMP_DNS_RATE_PREFIX_V6", v6, 16..=128)?,
    })
}

/// The secret that makes cookies, and one more whose cookies are accepted (RFC 9018 5).
fn cookie_secrets(environment: &Environment) -> Result<Option<Secrets>, ConfigError> {
    let variable = "DMP_DNS_COOKIE_SECRET";
    // The value is secret, so the error does not repeat it.
    let wrong = || ConfigError::new(variable, "must be one or two secrets of 32 hex digits");
    let mut secrets = Vec::new();
    for item in environment.list(variable)? {
        let mut octets = Zeroizing::new([0; 16]);
        hex::decode_to_slice(item, &mut *octets).map_err(|_| wrong())?;
        secrets.push(Secret::new(*octets));
    }
    let mut secrets = secrets.into_iter();
    match (secrets.next(), secrets.next(), secrets.next()) {
        (None, ..) => Ok(None),
        (Some(current), other, None) => Ok(Some(Secrets::new(current, other))),
        _ => Err(wrong()),
    }
}

fn nsid(environment: &Environment) -> Result<Option<Vec<u8>>, ConfigError> {
    let variable = "DMP_DNS_NSID";
    match environment.text(variable)? {
        Some(text) if text.len() > limits::NSID_OCTETS => {
            let most = limits::NSID_OCTETS;
            Err(must_be(variable, &format!("{most} octets at most"), text))
        }
        text => Ok(text.map(|text| text.as_bytes().to_vec())),
    }
}

fn scope_mode(environment: &Environment) -> Result<ScopeMode, ConfigError> {
    let tight = environment.switch("DMP_TSIG_TIGHT_SCOPE")?;
    let loose = environment.switch("DMP_TSIG_LOOSE_SCOPE")?;
    Ok(match (loose, tight) {
        (Some(true), _) => ScopeMode::Loose,
        (_, Some(true)) => ScopeMode::Tight,
        _ => ScopeMode::Default,
    })
}

fn claims(environment: &Environment) -> Result<ClaimsConfig, ConfigError> {
    let receiver = environment.switch("DMP_RECEIVER_CLAIM_NOTIFICATIONS")?;
    Ok(ClaimsConfig {
        provider: environment.switch("DMP_CLAIM_PROVIDER")?.unwrap_or(false),
        receiver: receiver.unwrap_or(true),
        max_ttl: cap(environment, "DMP_CLAIM_MAX_TTL", limits::CLAIM_MAX_TTL)?,
        rate: rate(
            environment,
            "DMP_CLAIM_RATE_PER_USER_PER_SEC",
            0.5,
            "DMP_CLAIM_RATE_BURST",
            30.0,
        )?,
    })
}

fn caps(environment: &Environment) -> Result<Caps, ConfigError> {
    Ok(Caps {
        max_ttl: cap(environment, "DMP_MAX_TTL", limits::MAX_TTL)?,
        max_value_bytes: cap(environment, "DMP_MAX_VALUE_BYTES", limits::MAX_VALUE_BYTES)?,
        max_values_per_name: cap(
            environment,
            "DMP_MAX_VALUES_PER_NAME",
            limits::MAX_VALUES_PER_NAME,
        )?,
        max_values_per_writer_per_mailbox: cap(
            environment,
            "DMP_MAX_VALUES_PER_WRITER_PER_MAILBOX",
            limits::MAX_VALUES_PER_WRITER_PER_MAILBOX,
        )?,
        max_records: cap(environment, "DMP_MAX_RECORDS", limits::MAX_RECORDS)?,
        max_database_bytes: cap(
            environment,
            "DMP_MAX_DATABASE_BYTES",
            limits::MAX_DATABASE_BYTES,
        )?,
    })
}

fn http(
    environment: &Environment,
    overrides: &Overrides,
    tls: Option<TlsSource>,
    warnings: &mut Vec<String>,
) -> Result<HttpConfig, ConfigError> {
    let operator_token = match environment.text("DMP_OPERATOR_TOKEN")? {
        Some(text) => Some(text),
        None => environment.text("DMP_HTTP_TOKEN")?,
    };
    let operator_token = operator_token.map(OperatorToken::new);
    let auth = auth_mode(environment, operator_token.as_ref())?;
    let unreachable = match auth {
        AuthMode::Legacy => Some("nobody can write records over HTTP"),
        AuthMode::MultiTenant => Some("nobody can read records over HTTP"),
        AuthMode::Open => None,
    };
    if let (None, Some(unreachable)) = (&operator_token, unreachable) {
        warnings.push(format!("DMP_OPERATOR_TOKEN is unset: {unreachable}"));
    }
    Ok(HttpConfig {
        host: http_host(environment, auth)?,
        port: port(environment, "DMP_HTTP_PORT", overrides.http_port, 8053)?,
        passed: None,
        allow_open_public_bind: environment.switch("DMP_ALLOW_OPEN_PUBLIC_BIND")? == Some(true),
        auth,
        operator_token,
        rate: rate(environment, "DMP_HTTP_RATE", 10.0, "DMP_HTTP_BURST", 100.0)?,
        max_connections: count(environment, "DMP_HTTP_MAX_CONCURRENCY", 64)?,
        trusted_proxies: prefixes(environment, "DMP_TRUSTED_PROXIES")?,
        monitor: monitor(environment)?,
        tls,
    })
}

/// Whoever reaches it reads it, so only this machine may.
fn monitor(environment: &Environment) -> Result<Option<SocketAddr>, ConfigError> {
    let variable = "DMP_METRICS_LISTEN";
    let expected = "a loopback address with a port such as 127.0.0.1:9153";
    let address: Option<SocketAddr> = environment.parsed(variable, expected)?;
    match address.filter(|address| !address.ip().is_loopback()) {
        Some(public) => Err(must_be(variable, expected, &public.to_string())),
        None => Ok(address),
    }
}

/// A certificate comes from one place.
fn tls(
    environment: &Environment,
    zone: Option<&Owner>,
    node_name: Option<&NodeName>,
) -> Result<Option<TlsSource>, ConfigError> {
    let files = tls_files(environment)?;
    match (files, acme::acme(environment, zone, node_name)?) {
        (Some(_), Some(_)) => Err(ConfigError::new(
            "DMP_ACME_ENABLED",
            "is on but DMP_HTTP_TLS_CERT names a certificate: it is the one or the other",
        )),
        (files, acme) => {
            let files = files.map(TlsSource::Files);
            Ok(files.or(acme.map(TlsSource::Acme)))
        }
    }
}

/// Certificate and key, which make sense together only.
fn tls_files(environment: &Environment) -> Result<Option<TlsFiles>, ConfigError> {
    let (certificate, key) = ("DMP_HTTP_TLS_CERT", "DMP_HTTP_TLS_KEY");
    let missing = |variable, other| {
        let reason = format!("is unset but {other} is set: a certificate and its key go together");
        Err(ConfigError::new(variable, reason))
    };
    match (environment.text(certificate)?, environment.text(key)?) {
        (None, None) => Ok(None),
        (Some(_), None) => missing(key, certificate),
        (None, Some(_)) => missing(certificate, key),
        (Some(certificate), Some(key)) => Ok(Some(TlsFiles {
            certificate: certificate.into(),
            key: key.into(),
        })),
    }
}

fn auth_mode(
    environment: &Environment,
    operator_token: Option<&OperatorToken>,
) -> Result<AuthMode, ConfigError> {
    let variable = "DMP_AUTH_MODE";
    match environment.text(variable)? {
        None if operator_token.is_some() => Ok(AuthMode::Legacy),
        None | Some("open") => Ok(AuthMode::Open),
        Some("legacy") => Ok(AuthMode::Legacy),
        Some("multi-tenant") => Ok(AuthMode::MultiTenant),
        Some(other) => Err(must_be(variable, "open, legacy or multi-tenant", other)),
    }
}

/// Where everybody may write, only this machine may connect, unless the operator says otherwise (D25, node.md 6.3).
fn http_host(environment: &Environment, auth: AuthMode) -> Result<BindHost, ConfigError> {
    let allowed = environment.switch("DMP_ALLOW_OPEN_PUBLIC_BIND")? == Some(true);
    match (host(environment, "DMP_HTTP_HOST")?, auth) {
        (None, AuthMode::Open) => Ok(BindHost::loopback()),
        (None, _) => Ok(any_host()),
        (Some(host), AuthMode::Open) if !host.is_loopback() && !allowed => Err(ConfigError::new(
            "DMP_HTTP_HOST",
            format!(
                "{host} is public and everybody could write records over HTTP: set \
                 DMP_OPERATOR_TOKEN, bind to 127.0.0.1, or allow it with \
                 DMP_ALLOW_OPEN_PUBLIC_BIND=1"
            ),
        )),
        (Some(host), _) => Ok(host),
    }
}

fn registration(environment: &Environment) -> Result<RegistrationConfig, ConfigError> {
    let mut allowlist = Vec::new();
    for item in environment.list("DMP_REGISTRATION_ALLOWLIST")? {
        let domain = dns_name(item).ok_or_else(|| {
            must_be(
                "DMP_REGISTRATION_ALLOWLIST",
                "domains separated by commas",
                item,
            )
        })?;
        allowlist.push(domain);
    }
    let lifetime: u64 = environment.integer(
        "DMP_REGISTRATION_TOKEN_TTL_SECONDS",
        7_776_000,
        0..=i64::from(u32::MAX),
    )?;
    Ok(RegistrationConfig {
        node_name: node_name(environment)?,
        switched_on: environment.switch("DMP_REGISTRATION_ENABLED")? == Some(true),
        allowlist,
        lifetime: (lifetime > 0).then(|| Duration::from_secs(lifetime)),
        issued_rate: rate(
            environment,
            "DMP_REGISTRATION_ISSUED_RATE_PER_SEC",
            10.0,
            "DMP_REGISTRATION_ISSUED_RATE_BURST",
            50.0,
        )?,
        endpoint_rate: rate(
            environment,
            "DMP_REGISTRATION_ENDPOINT_RATE_PER_SEC",
            5.0 / 3600.0,
            "DMP_REGISTRATION_ENDPOINT_RATE_BURST",
            5.0,
        )?,
    })
}

/// What keeps registration closed although it is on, or a part of it (node.md 6.5).
fn hindrance_of_registration(
    http: &HttpConfig,
    registration: &RegistrationConfig,
    zone: Option<&Owner>,
    update: UpdateConfig,
) -> Option<&'static str> {
    if http.auth != AuthMode::MultiTenant {
        Some("DMP_AUTH_MODE is not multi-tenant: registration stays closed")
    } else if registration.node_name.is_none() {
        Some("DMP_NODE_HOSTNAME is unset: registration stays closed")
    } else if zone.is_none() {
        Some("there is no zone (DMP_DOMAIN): registration stays closed")
    } else if !update.enabled {
        Some("DMP_DNS_UPDATE_ENABLED is off: only bearer tokens are issued")
    } else {
        None
    }
}

fn log(environment: &Environment, warnings: &mut Vec<String>) -> Result<LogConfig, ConfigError> {
    let text = environment.text("DMP_LOG_LEVEL")?.unwrap_or("INFO");
    let level = match text.to_ascii_uppercase().as_str() {
        "DEBUG" | "NOTSET" => LogLevel::Debug,
        "INFO" => LogLevel::Info,
        "WARNING" | "WARN" => LogLevel::Warning,
        "ERROR" | "CRITICAL" | "FATAL" => LogLevel::Error,
        _ => {
            warnings.push(format!("DMP_LOG_LEVEL: {text:?} is no level, INFO is used"));
            LogLevel::Info
        }
    };
    let format = match environment.text("DMP_LOG_FORMAT")?.unwrap_or("text") {
        format if format.eq_ignore_ascii_case("text") => LogFormat::Text,
        format if format.eq_ignore_ascii_case("json") => LogFormat::Json,
        format => return Err(must_be("DMP_LOG_FORMAT", "text or json", format)),
    };
    Ok(LogConfig { level, format })
}

fn foreign_databases(
    environment: &Environment,
    warnings: &mut Vec<String>,
) -> Result<Vec<(&'static str, PathBuf)>, ConfigError> {
    let mut files = Vec::new();
    for variable in variables::FOREIGN_DATABASES.iter().copied() {
        if let Some(path) = environment.text(variable)? {
            warnings.push(format!(
                "{variable} has no effect: everything is in the one database"
            ));
            files.push((variable, PathBuf::from(path)));
        }
    }
    Ok(files)
}

fn any_host() -> BindHost {
    BindHost::from(IpAddr::V4(Ipv4Addr::UNSPECIFIED))
}

fn host(environment: &Environment, variable: &str) -> Result<Option<BindHost>, ConfigError> {
    environment.parsed(variable, "an IP address or a host name")
}

fn prefixes(environment: &Environment, variable: &str) -> Result<Vec<Prefix>, ConfigError> {
    let expected = "IP addresses or prefixes such as 10.0.0.0/8";
    let items = environment.list(variable)?.into_iter();
    items
        .map(|item| item.parse().map_err(|()| must_be(variable, expected, item)))
        .collect()
}

fn port(
    environment: &Environment,
    variable: &str,
    flag: Option<u16>,
    default: u16,
) -> Result<u16, ConfigError> {
    let range = 0..=i64::from(u16::MAX);
    let configured = environment.integer(variable, default, range)?;
    Ok(flag.unwrap_or(configured))
}

/// How many of something may be at once: at least one.
fn count(environment: &Environment, variable: &str, default: usize) -> Result<usize, ConfigError> {
    environment.integer(variable, default, 1..=1_000_000)
}

/// A bound that 0 or less switches off.
fn cap(
    environment: &Environment,
    variable: &str,
    default: u64,
) -> Result<Option<u64>, ConfigError> {
    let configured: Option<i64> = environment.parsed(variable, "a whole number")?;
    let cap = configured.map_or(default, |value| u64::try_from(value).unwrap_or(0));
    Ok(Some(cap).filter(|cap| *cap > 0))
}

fn rate(
    environment: &Environment,
    rate: &str,
    default_rate: f64,
    burst: &str,
    default_burst: f64,
) -> Result<Rate, ConfigError> {
    Ok(Rate {
        per_second: environment.number(rate, default_rate)?,
        burst: environment.number(burst, default_burst)?,
    })
}
