//! `tsig show` and `tsig forget` (cli.md 3.9). Neither asks the node: what it thinks of the key, `dnsmesh doctor` finds out.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use dmp_client::config::Config;
use serde::Serialize;
use zeroize::Zeroizing;

use super::Outcome;
use crate::context::Context;
use crate::exit::Failure;
use crate::report::{Report, line};
use crate::time::utc;

/// Prints the key that this home writes with; its secret only as a key clause.
pub(crate) fn show(context: &Context, bind: bool) -> Outcome {
    let config = key_of(context)?;
    let key_clause = if bind { Some(clause(&config)?) } else { None };
    Ok(Box::new(Shown { config, key_clause }))
}

/// Takes the key out of the configuration.
pub(crate) fn forget(context: &Context) -> Outcome {
    let before = key_of(context)?;
    context.home.update_config(Config::forget_tsig)?;
    Ok(Box::new(Forgotten {
        name: before.tsig_key_name,
    }))
}

fn key_of(context: &Context) -> Result<Config, Failure> {
    let config = context.config()?;
    if config.tsig_key_name.is_empty() || config.tsig_secret_hex.is_empty() {
        return Err(Failure::user("tsig-none", "no TSIG key is configured")
            .hint("`dnsmesh tsig register --node HOST` gets one"));
    }
    Ok(config)
}

/// The grammar of BIND's key files, which `nsupdate -k` reads.
fn clause(config: &Config) -> Result<Zeroizing<String>, Failure> {
    let secret = hex::decode(&config.tsig_secret_hex)
        .map(Zeroizing::new)
        .map_err(|error| {
            Failure::user(
                "config-unusable",
                format!("config key tsig_secret_hex: {error}"),
            )
        })?;
    // A name or algorithm that would end the string or the statement early makes no clause.
    let is_plain = |text: &str| {
        text.bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_'))
    };
    let (name, algorithm) = (
        &config.tsig_key_name,
        config.tsig_algorithm.trim_end_matches('.'),
    );
    if !is_plain(name) || !is_plain(algorithm) {
        return Err(Failure::user(
            "config-unusable",
            "tsig_key_name or tsig_algorithm in the configuration cannot stand in a key clause",
        ));
    }
    Ok(Zeroizing::new(format!(
        "key \"{name}\" {{\n\talgorithm {algorithm};\n\tsecret \"{}\";\n}};\n",
        *Zeroizing::new(BASE64_STANDARD.encode(&*secret))
    )))
}

struct Shown {
    config: Config,
    key_clause: Option<Zeroizing<String>>,
}

impl Shown {
    fn expires(&self) -> Option<String> {
        let time = self.config.tsig_expires_at?;
        Some(utc(i64::try_from(time).unwrap_or(i64::MAX)))
    }

    /// Where updates go: an empty setting means the endpoint's host.
    fn server(&self) -> (&str, u16) {
        let Config {
            tsig_dns_server: server,
            tsig_dns_port: port,
            ..
        } = &self.config;
        (server, if *port == 0 { 53 } else { *port })
    }
}

impl Report for Shown {
    fn text(&self) -> String {
        if let Some(clause) = &self.key_clause {
            return String::clone(clause);
        }
        let config = &self.config;
        let (server, port) = self.server();
        let server = if server.is_empty() {
            "(host of endpoint)"
        } else {
            server
        };
        format!(
            "TSIG key:  {}\nalgorithm: {}\nzone:      {}\nDNS:       {server}:{port}\nexpires:   {}\n",
            config.tsig_key_name,
            config.tsig_algorithm,
            config.tsig_zone,
            self.expires()
                .as_deref()
                .unwrap_or("never, or not known here"),
        )
    }

    fn json(&self) -> String {
        #[derive(Serialize)]
        struct Members<'a> {
            name: &'a str,
            algorithm: &'a str,
            zone: &'a str,
            dns_server: &'a str,
            dns_port: u16,
            expires_at: Option<String>,
            #[serde(skip_serializing_if = "Option::is_none")]
            key_clause: Option<&'a str>,
        }
        let config = &self.config;
        let (dns_server, dns_port) = self.server();
        line(
            "dmp.tsig/1",
            &Members {
                name: &config.tsig_key_name,
                algorithm: &config.tsig_algorithm,
                zone: &config.tsig_zone,
                dns_server,
                dns_port,
                expires_at: self.expires(),
                key_clause: self.key_clause.as_ref().map(|clause| clause.as_str()),
            },
        )
    }
}

struct Forgotten {
    name: String,
}

impl Report for Forgotten {
    fn text(&self) -> String {
        format!("forgot TSIG key {}; writes go over HTTP now\n", self.name)
    }

    fn json(&self) -> String {
        #[derive(Serialize)]
        struct Members<'a> {
            name: &'a str,
        }
        line("dmp.tsig-forgotten/1", &Members { name: &self.name })
    }

    fn notes(&self) -> Vec<String> {
        vec![
            "note: the node takes the key until it expires there or its operator revokes it"
                .to_owned(),
        ]
    }
}
