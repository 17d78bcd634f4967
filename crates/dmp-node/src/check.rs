//! What `dnsmesh node check` says about a configuration: what is right, doubtful, or keeps the node from starting.
//!
//! It binds nothing and changes nothing; only [`delegation`] and [`running`] ask anybody.

mod advice;
mod behaviour;
mod http;
mod online;
mod parent;
mod running;

use std::fs::{self, File};
use std::io::{ErrorKind, Read};
use std::path::Path;

use serde::Serialize;

use crate::config::{AuthMode, Config, HeartbeatConfig, TlsSource};
use crate::federation::heartbeat::terms;
use crate::store;
use crate::zone::Owner;

pub use online::{Online, delegation};
pub use running::running;

/// How grave a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Grade {
    /// As it should be.
    Ok,
    /// Works, but somebody should look at it.
    Warn,
    /// Does not work.
    Fail,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How grave.
    pub grade: Grade,
    /// One line.
    pub text: String,
    /// What to do about it, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub advice: Option<&'static str>,
}

impl Finding {
    /// A finding without advice.
    pub fn new(grade: Grade, text: impl Into<String>) -> Self {
        Self {
            grade,
            text: text.into(),
            advice: None,
        }
    }

    fn advise(self, advice: &'static str) -> Self {
        Self {
            advice: Some(advice),
            ..self
        }
    }
}

/// Looks at settings that have been read without an error.
pub fn settings(config: &Config) -> Vec<Finding> {
    let mut findings = vec![
        match &config.zone {
            Some(zone) => Finding::new(Grade::Ok, format!("zone: {zone}")),
            None => Finding::new(Grade::Warn, "zone: none; every stored name is answered for"),
        },
        database(&config.database.path),
    ];
    for (what, host, port) in [
        ("DNS", &config.dns.host, config.dns.port),
        ("HTTP", &config.http.host, config.http.port),
    ] {
        findings.push(match host.address(port) {
            Ok(address) => Finding::new(Grade::Ok, format!("{what}: {address}")),
            Err(error) => Finding::new(Grade::Fail, format!("{what}: {host}: {error}")),
        });
    }
    findings.push(match config.http.auth {
        AuthMode::Open => Finding::new(Grade::Warn, "HTTP writes: everybody"),
        AuthMode::Legacy => Finding::new(Grade::Ok, "HTTP writes: the operator"),
        AuthMode::MultiTenant => {
            Finding::new(Grade::Ok, "HTTP writes: the operator and registered users")
        }
    });
    findings.extend(config.http.tls.as_ref().map(certificate));
    findings.push(apex(config));
    findings.extend(
        config
            .heartbeat
            .as_ref()
            .map(|beat| heartbeat(beat, config)),
    );
    for (variable, path) in &config.foreign_databases {
        if path.exists() {
            let text = format!(
                "{variable}: {} is a database of the reference node; take it over with `dnsmesh node import`",
                path.display()
            );
            findings.push(Finding::new(Grade::Fail, text));
        }
    }
    let doubts = config.warnings.iter().cloned();
    let missing = config
        .missing_for_production()
        .into_iter()
        .map(|what| format!("not ready for production: {what}"));
    findings.extend(
        doubts
            .chain(missing)
            .map(|text| Finding::new(Grade::Warn, text)),
    );
    findings
}

fn certificate(source: &TlsSource) -> Finding {
    let text = match source {
        TlsSource::Files(files) => format!("HTTPS: {}", files.certificate.display()),
        TlsSource::Acme(acme) => {
            let names: Vec<String> = acme.names.iter().map(Owner::to_string).collect();
            let (names, challenge) = (names.join(", "), acme.challenge.as_str());
            format!("HTTPS: {names}, by {challenge} from {}", acme.directory)
        }
    };
    Finding::new(Grade::Ok, text)
}

fn heartbeat(settings: &HeartbeatConfig, config: &Config) -> Finding {
    match terms(settings, config) {
        Ok(terms) => {
            let (endpoint, key) = (&terms.endpoint, terms.key.public());
            Finding::new(Grade::Ok, format!("heartbeat: {endpoint}, signed by {key}"))
        }
        Err(reason) => {
            let text = format!("heartbeat: {reason}; the node starts without it");
            Finding::new(Grade::Fail, text)
        }
    }
}

/// The worst of all grades.
pub fn verdict(findings: &[Finding]) -> Grade {
    let grades = findings.iter().map(|finding| finding.grade);
    grades.max().unwrap_or(Grade::Ok)
}

fn database(path: &Path) -> Finding {
    let place = path.display();
    let mut header = Vec::new();
    let read = File::open(path).and_then(|file| file.take(100).read_to_end(&mut header));
    match read {
        Ok(_) if header.is_empty() || store::is_ours(&header) => {
            Finding::new(Grade::Ok, format!("database: {place}"))
        }
        Ok(_) => Finding::new(
            Grade::Fail,
            format!(
                "database: {place} was not made by this node; `dnsmesh node import` takes over one of the reference"
            ),
        ),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let above = path.ancestors().skip(1).find(|above| above.exists());
            match above.map(fs::metadata) {
                Some(Ok(metadata)) if metadata.is_dir() && !metadata.permissions().readonly() => {
                    Finding::new(Grade::Ok, format!("database: {place}, to be created"))
                }
                _ => Finding::new(Grade::Fail, format!("database: {place} cannot be created")),
            }
        }
        Err(error) => Finding::new(Grade::Fail, format!("database: {place}: {error}")),
    }
}

/// What strict resolvers ask the zone's own name for (node.md 10).
fn apex(config: &Config) -> Finding {
    let Some(zone) = &config.zone else {
        return Finding::new(Grade::Warn, "apex: no zone, so no SOA in negative answers");
    };
    let dns = &config.dns;
    let glued = dns.apex_ns.is_empty() || dns.apex_ns.iter().any(|name: &Owner| name == zone);
    if dns.apex_ns.is_empty() {
        Finding::new(
            Grade::Warn,
            "apex: no NS (DMP_DNS_APEX_NS); strict resolvers call the delegation lame",
        )
    } else if glued && dns.apex_a.is_none() && dns.apex_aaaa.is_none() {
        Finding::new(
            Grade::Warn,
            "apex: the zone is its own name server but has no address (DMP_DNS_APEX_A)",
        )
    } else {
        let names: Vec<String> = dns.apex_ns.iter().map(Owner::to_string).collect();
        Finding::new(Grade::Ok, format!("apex: NS {}", names.join(", ")))
    }
}
