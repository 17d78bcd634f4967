//! `register` and `tsig register` (cli.md 3.8, 3.9, D7).

use std::path::{Path, PathBuf};

use dmp_client::config::Config;
use dmp_client::register::{
    NodeAddress, RegisterError, RegisterRequest, Scheme, TokenGrant, TsigGrant, register,
    tsig_register,
};
use serde::Serialize;

use super::Outcome;
use crate::args::credentials::{RegisterArgs, Scheme as SchemeArg};
use crate::context::{Context, Unlocked};
use crate::exit::{Exit, Failure};
use crate::prompt::StandardInput;
use crate::report::{Report, line};
use crate::screen;
use crate::time::{now, utc};

/// Gets a bearer token and saves it for the node's host.
pub(crate) async fn token(context: &Context, args: RegisterArgs) -> Outcome {
    let (request, unlocked) = prepare(context, args)?;
    let grant = register(&request, &unlocked.identity, &context.home, now()).await?;
    let mut notes = Vec::new();
    if context.environment.tokens_stay_behind {
        notes.push(format!(
            "warning: tokens lie in {}, not in {}; --config-home or DMP_TOKENS_HOME moves them",
            context.home.tokens_dir().display(),
            context.home.dir().display()
        ));
    }
    if !unlocked.config.tsig_key_name.is_empty() {
        notes.push(
            "note: a TSIG key is configured, so writes go on using DNS updates and not this token"
                .to_owned(),
        );
    }
    Ok(Box::new(TokenSaved {
        node: request.node.host().to_owned(),
        grant,
        notes,
    }))
}

/// Gets a TSIG key and makes it what this home writes with.
pub(crate) async fn tsig(
    context: &Context,
    args: RegisterArgs,
    dns_server: Option<String>,
    dns_port: u16,
) -> Outcome {
    let (request, unlocked) = prepare(context, args)?;
    let node = request.node.host().to_owned();
    let server = dns_server
        .filter(|server| !server.is_empty())
        .unwrap_or_else(|| node.clone());
    let port = if dns_port == 0 { 53 } else { dns_port };
    let grant = tsig_register(&request, &unlocked.identity).await?;
    grant.save(&context.home, &server, port)?;
    Ok(Box::new(KeySaved {
        node,
        server,
        port,
        grant,
        path: context.home.config_path(),
    }))
}

/// Everything that can be wrong before the network is used. The subject is checked before the passphrase is asked for.
fn prepare(context: &Context, args: RegisterArgs) -> Result<(RegisterRequest, Unlocked), Failure> {
    let config = context.config()?;
    if config.username.is_empty() {
        return Err(Failure::user(
            "config-no-username",
            "the configuration has no username — run `dnsmesh init <username>` first",
        ));
    }
    let scheme = args.scheme.map(|scheme| match scheme {
        SchemeArg::Https => Scheme::Https,
        SchemeArg::Http => Scheme::Http,
    });
    let node = NodeAddress::parse(&args.node, scheme)?;
    let own = own_addresses(&config)?;
    let request = RegisterRequest::new(node, args.node_name, args.subject.as_deref(), &own)?;
    Ok((request, context.unlock(StandardInput::Free)?))
}

/// The addresses that may be registered: under the mesh zone, and the identity zone if there is one.
pub(super) fn own_addresses(config: &Config) -> Result<Vec<String>, Failure> {
    let zones = [Some(config.mesh_zone()?), config.identity_zone()?];
    Ok(zones
        .iter()
        .flatten()
        .map(|zone| format!("{}@{zone}", config.username))
        .collect())
}

fn expiry(time: Option<i64>) -> String {
    time.map_or_else(|| "never".to_owned(), utc)
}

impl From<RegisterError> for Failure {
    fn from(error: RegisterError) -> Self {
        let exit = match error {
            RegisterError::Unreachable { .. }
            | RegisterError::RateLimited(_)
            | RegisterError::NoProof(_)
            | RegisterError::Unexpected { .. } => Exit::Remote,
            _ => Exit::User,
        };
        let failure = Self::new(exit, error.code(), &error);
        match error {
            RegisterError::Signature { .. } => {
                failure.hint("check the passphrase: another one makes other keys")
            }
            RegisterError::Taken { .. } => {
                failure.hint("its operator can revoke the old credential")
            }
            RegisterError::Disabled(_) | RegisterError::NotAllowed { .. } => {
                failure.hint("ask the operator of the node")
            }
            _ => failure,
        }
    }
}

struct TokenSaved {
    node: String,
    grant: TokenGrant,
    notes: Vec<String>,
}

impl Report for TokenSaved {
    fn text(&self) -> String {
        format!(
            "registered {} on {}\n  token saved to {} (mode 0600)\n  expires at {}\nNext: dnsmesh identity publish\n",
            screen::line(&self.grant.subject),
            self.node,
            self.grant.path.display(),
            expiry(self.grant.expires_at),
        )
    }

    fn json(&self) -> String {
        #[derive(Serialize)]
        struct Members<'a> {
            subject: &'a str,
            node: &'a str,
            path: &'a Path,
            expires_at: Option<String>,
        }
        let Self { node, grant, .. } = self;
        line(
            "dmp.token/1",
            &Members {
                subject: &grant.subject,
                node,
                path: &grant.path,
                expires_at: grant.expires_at.map(utc),
            },
        )
    }

    fn notes(&self) -> Vec<String> {
        self.notes.clone()
    }
}

struct KeySaved {
    node: String,
    server: String,
    port: u16,
    grant: TsigGrant,
    path: PathBuf,
}

impl Report for KeySaved {
    fn text(&self) -> String {
        let Self {
            node,
            server,
            port,
            grant,
            path,
        } = self;
        let scope: String = grant
            .scope
            .iter()
            .map(|suffix| format!("    - {}\n", screen::line(suffix)))
            .collect();
        format!(
            "registered {} on {node}\n  TSIG key:  {}\n  algorithm: {}\n  zone:      {}\n  DNS:       {server}:{port}/udp\n  \
             scope:\n{scope}  expires:   {}\nThe key is in {}; from now on this home writes by DNS update.\n",
            screen::line(&grant.subject),
            screen::line(&grant.key_name),
            screen::line(&grant.algorithm),
            screen::line(&grant.zone),
            expiry(grant.expires_at),
            path.display(),
        )
    }

    fn json(&self) -> String {
        #[derive(Serialize)]
        struct Members<'a> {
            subject: &'a str,
            node: &'a str,
            tsig_key_name: &'a str,
            tsig_algorithm: &'a str,
            zone: &'a str,
            dns_server: &'a str,
            dns_port: u16,
            allowed_suffixes: &'a [String],
            expires_at: Option<String>,
        }
        let Self {
            node,
            server,
            port,
            grant,
            ..
        } = self;
        line(
            "dmp.tsig-key/1",
            &Members {
                subject: &grant.subject,
                node,
                tsig_key_name: &grant.key_name,
                tsig_algorithm: &grant.algorithm,
                zone: &grant.zone,
                dns_server: server,
                dns_port: *port,
                allowed_suffixes: &grant.scope,
                expires_at: grant.expires_at.map(utc),
            },
        )
    }
}
