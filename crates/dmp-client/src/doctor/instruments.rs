//! The real instruments: HTTP, DNS probes, a signed UPDATE without operations, one resolver at a time.

use std::net::SocketAddr;
use std::time::{Duration, UNIX_EPOCH};

use dmp_core::name::Zone;
use dmp_core::owner::OwnerName;
use dmp_dns::{Name, Rcode, Rtype};
use dmp_net::{UpdateError, Upstream, ask};

use super::{Health, Instruments, Sight, SignatureTrouble, Witness};
use crate::agent::agent_for;
use crate::config::Config;
use crate::home::host_of_endpoint;
use crate::limits::{DOCTOR_HTTP_TIMEOUT, DOCTOR_QUERY_TIMEOUT};
use crate::mesh::{Pending, UpdateTarget};
use crate::probe::{find_node_dns, is_node};
use crate::reader::Resolvers;
use crate::writer::{TsigCredential, TsigWriter};

/// Measures over the network, with the configured resolvers and settings.
pub struct NetworkInstruments<'a> {
    config: &'a Config,
    resolvers: Resolvers,
}

impl<'a> NetworkInstruments<'a> {
    /// Instruments for a configuration; hosts are resolved by `resolvers` (client.md 4.7).
    #[must_use]
    pub const fn new(config: &'a Config, resolvers: Resolvers) -> Self {
        Self { config, resolvers }
    }

    async fn address(&self, host: &str, port: u16) -> Result<SocketAddr, String> {
        let target = UpdateTarget {
            host: host.to_ascii_lowercase(),
            port: Some(port),
        };
        let server = self.resolvers.server(&target, port).await;
        server.map_err(|error| error.to_string())
    }

    async fn try_signature(&self) -> Result<(), SignatureTrouble> {
        let config = self.config;
        let zone = Zone::parse(&config.tsig_zone)
            .map_err(|error| SignatureTrouble::Unusable(format!("tsig_zone: {error}")))?;
        let credential = TsigCredential::parse(
            &config.tsig_key_name,
            &config.tsig_secret_hex,
            &config.tsig_algorithm,
            &zone,
        )
        .map_err(|error| SignatureTrouble::Unusable(error.to_string()))?;
        let host = match config.tsig_dns_server.as_str() {
            "" => host_of_endpoint(&config.endpoint).ok_or_else(|| {
                SignatureTrouble::Unusable("tsig_dns_server is not set".to_owned())
            })?,
            host => host,
        };
        let port = match config.tsig_dns_port {
            0 => 53,
            port => port,
        };
        let server = self.address(host, port).await;
        let server = server.map_err(SignatureTrouble::Unreachable)?;
        match TsigWriter::new(server, credential).try_key().await {
            // A signed answer proves the key, whatever else it says.
            Ok(()) | Err(UpdateError::Refused { .. }) => Ok(()),
            Err(UpdateError::NotAuthenticated { error, server_time }) => {
                Err(SignatureTrouble::Rejected {
                    reason: UpdateError::NotAuthenticated { error, server_time }.to_string(),
                    server_time,
                })
            }
            Err(error @ (UpdateError::Timeout | UpdateError::Unreachable(_))) => {
                Err(SignatureTrouble::Unreachable(format!("{server}: {error}")))
            }
            Err(error) => Err(SignatureTrouble::Rejected {
                reason: error.to_string(),
                server_time: None,
            }),
        }
    }
}

impl Instruments for NetworkInstruments<'_> {
    fn health<'a>(&'a self, endpoint: &'a str) -> Pending<'a, Result<Health, String>> {
        let url = format!("{}/health", endpoint.trim_end_matches('/'));
        Box::pin(async move {
            let request = move || {
                let response = agent_for(&url, DOCTOR_HTTP_TIMEOUT).get(&url).call();
                let response = response.map_err(|error| error.to_string())?;
                let date = response.headers().get("date");
                let date = date
                    .and_then(|date| date.to_str().ok())
                    .and_then(|date| httpdate::parse_http_date(date).ok())
                    .and_then(|date| date.duration_since(UNIX_EPOCH).ok());
                Ok(Health {
                    status: response.status().as_u16(),
                    date: date.as_ref().map(Duration::as_secs),
                })
            };
            tokio::task::spawn_blocking(request)
                .await
                .unwrap_or_else(|error| Err(error.to_string()))
        })
    }

    fn node_at<'a>(&'a self, host: &'a str, port: u16) -> Pending<'a, Option<SocketAddr>> {
        Box::pin(async move {
            let server = self.address(host, port).await.ok()?;
            is_node(host, server).await.then_some(server)
        })
    }

    fn find_node<'a>(&'a self, host: &'a str) -> Pending<'a, Option<SocketAddr>> {
        Box::pin(find_node_dns(host, &self.resolvers))
    }

    fn serves<'a>(&'a self, server: SocketAddr, zone: &'a Zone) -> Pending<'a, bool> {
        Box::pin(async move {
            let Ok(name) = zone.as_str().parse::<Name>() else {
                return false;
            };
            let answer = ask(&server.into(), &name, Rtype::SOA, DOCTOR_QUERY_TIMEOUT).await;
            answer.is_ok_and(|answer| {
                answer.authoritative && matches!(answer.rcode, Rcode::NOERROR | Rcode::NXDOMAIN)
            })
        })
    }

    fn signed_update(&self) -> Pending<'_, Result<(), SignatureTrouble>> {
        Box::pin(self.try_signature())
    }
}

/// One resolver, asked by itself, so that lifetimes can be read off its answers.
pub struct ResolverWitness {
    name: String,
    upstream: Upstream,
}

impl ResolverWitness {
    /// The witness that a resolver is; it is known as people write it.
    #[must_use]
    pub fn new(upstream: Upstream) -> Self {
        Self {
            name: upstream.to_string(),
            upstream,
        }
    }
}

impl Witness for ResolverWitness {
    fn name(&self) -> &str {
        &self.name
    }

    fn look<'a>(&'a self, owner: &'a OwnerName) -> Pending<'a, Sight> {
        Box::pin(async move {
            let Ok(name) = owner.as_str().parse::<Name>() else {
                return Sight::Unreachable(format!("{owner} is not a DNS name"));
            };
            let answer = ask(&self.upstream, &name, Rtype::TXT, DOCTOR_QUERY_TIMEOUT).await;
            let answer = match answer {
                Ok(answer) => answer,
                Err(error) => return Sight::Unreachable(error.to_string()),
            };
            if !matches!(answer.rcode, Rcode::NOERROR | Rcode::NXDOMAIN) {
                return Sight::Unreachable(answer.rcode.to_string());
            }
            let values: Vec<String> = answer
                .txt(&name)
                .into_iter()
                .filter_map(|value| String::from_utf8(value.to_vec()).ok())
                .collect();
            if values.is_empty() {
                return Sight::Absent;
            }
            let ttl = answer.answers.iter().map(|record| record.ttl).min();
            Sight::Values { values, ttl }
        })
    }
}
