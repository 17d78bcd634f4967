//! The command line of `bootstrap` (cli.md 3.13, federation.md 5).

use std::path::PathBuf;
use std::str::FromStr;

use clap::Subcommand;
use dmp_core::keys::SigningPublicKey;
use dmp_core::name::DomainName;

use super::signing::{
    KeygenArgs, PublishRecordArgs, RevokeKeyArgs, RotateKeyArgs, ShowRecordArgs, TermsArgs,
};

/// `bootstrap`
#[derive(Debug, Subcommand)]
pub(crate) enum BootstrapCommand {
    /// Store the key that signs for the users' domain; no network is used
    Pin(PinArgs),
    /// Fetch the record of the pinned domain and print its clusters
    Fetch(FetchArgs),
    /// Find the cluster that serves an address, each step verified
    Discover(DiscoverArgs),
    /// Operator: make the key that signs for a domain of users
    Keygen(KeygenArgs),
    /// Operator: sign which clusters serve a domain of users
    Sign(SignArgs),
    /// Operator: print what signed records say
    Show(ShowRecordArgs),
    /// Operator: sign that another key follows
    Rotate(RotateKeyArgs),
    /// Operator: sign that the key has ended, for good
    Revoke(RevokeKeyArgs),
    /// Operator: publish signed records, or publish them again before a node forgets them
    Publish(PublishRecordArgs),
}

/// `bootstrap pin`
#[derive(Debug, clap::Args)]
pub(crate) struct PinArgs {
    /// The users' domain: the part of your address behind the @
    pub(crate) user_domain: String,
    /// The key that signs for it, from its operator over another channel
    #[arg(value_name = "SIGNER_SPK")]
    pub(crate) signer: String,
}

/// `bootstrap fetch`
#[derive(Debug, clap::Args)]
pub(crate) struct FetchArgs {
    /// The users' domain [default: the pinned one]
    #[arg(long, value_name = "DOMAIN")]
    pub(crate) user_domain: Option<String>,
    /// The key that signs for it [default: the pinned one]
    #[arg(long, value_name = "HEX")]
    pub(crate) signer_spk: Option<String>,
}

/// `bootstrap discover`
#[derive(Debug, clap::Args)]
pub(crate) struct DiscoverArgs {
    /// The address
    #[arg(value_name = "USER@HOST")]
    pub(crate) address: String,
    /// The key that signs for its host [default: the pinned one, if it is pinned for this host]
    #[arg(long, value_name = "HEX")]
    pub(crate) signer_spk: Option<String>,
    /// Move this home to the cluster that was found; only for the domain that is pinned already
    #[arg(long)]
    pub(crate) auto_pin: bool,
}

/// `bootstrap sign`
#[derive(Debug, clap::Args)]
pub(crate) struct SignArgs {
    /// The users' domain
    pub(crate) user_domain: String,
    /// File of the key that signs
    #[arg(long, value_name = "FILE")]
    pub(crate) key: PathBuf,
    /// A cluster: base=DOMAIN,key=OPERATOR_SPK and priority=N, where lower is preferred and the order stands in for it. May be repeated
    #[arg(long, value_name = "ENTRY", required = true)]
    pub(crate) entry: Vec<EntryText>,
    #[command(flatten)]
    pub(crate) terms: TermsArgs,
}

/// `--entry`
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct EntryText {
    /// The cluster's base domain.
    pub(crate) base: DomainName,
    /// Its operator's key.
    pub(crate) operator: SigningPublicKey,
    /// Lower is preferred.
    pub(crate) priority: Option<u16>,
}

impl FromStr for EntryText {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (mut base, mut operator, mut priority) = (None, None, None);
        for part in text.split(',') {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            let repeated = match name.trim() {
                "base" => base
                    .replace(DomainName::parse(value.trim()).map_err(|error| error.to_string())?)
                    .is_some(),
                "key" => operator
                    .replace(
                        SigningPublicKey::from_hex(value.trim())
                            .map_err(|error| format!("key: {error}"))?,
                    )
                    .is_some(),
                "priority" => priority
                    .replace(
                        value
                            .trim()
                            .parse()
                            .map_err(|_| "priority: 0 to 65535".to_owned())?,
                    )
                    .is_some(),
                other => return Err(format!("`{other}` is none of base, key, priority")),
            };
            if repeated {
                return Err(format!("`{}` occurs twice", name.trim()));
            }
        }
        Ok(Self {
            base: base.ok_or("base=DOMAIN is missing")?,
            operator: operator.ok_or("key=OPERATOR_SPK is missing")?,
            priority,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_names_base_and_key_once_and_may_have_a_priority() {
        let key = "ab".repeat(32);
        let entry: EntryText = format!("base=Mesh.test, key={key}, priority=20")
            .parse()
            .unwrap();
        assert_eq!(entry.base.as_str(), "Mesh.test");
        assert_eq!(entry.operator.to_string(), key);
        assert_eq!(entry.priority, Some(20));
        let entry: EntryText = format!("key={key},base=mesh.test.").parse().unwrap();
        assert_eq!((entry.base.as_str(), entry.priority), ("mesh.test", None));
        for wrong in [
            String::new(),
            "base=mesh.test".to_owned(),
            format!("key={key}"),
            format!("base=mesh.test,key={key},key={key}"),
            format!("base=me sh,key={key}"),
            format!("base=mesh.test,key={key},priority=65536"),
            format!("base=mesh.test,key={key},port=1"),
            "base=mesh.test,key=abcd".to_owned(),
        ] {
            assert!(wrong.parse::<EntryText>().is_err(), "{wrong}");
        }
    }
}
