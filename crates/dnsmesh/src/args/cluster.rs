//! The command line of `cluster` (cli.md 3.12, federation.md 4).

use std::path::PathBuf;
use std::str::FromStr;

use clap::Subcommand;
use dmp_client::cluster::check_node;
use dmp_core::limits::{DNS_ENDPOINT_MAX, HTTP_ENDPOINT_MAX, NODE_ID_MAX};
use dmp_core::record::ClusterNode;

use super::signing::{
    KeygenArgs, PublishRecordArgs, RevokeKeyArgs, RotateKeyArgs, ShowRecordArgs, TermsArgs,
};

/// `cluster`
#[derive(Debug, Subcommand)]
pub(crate) enum ClusterCommand {
    /// Store a cluster's operator key and base domain; no network is used, and the cluster is not used before `enable`
    Pin(PinArgs),
    /// Look the cluster's manifest up, verify it and print it
    Fetch(FetchArgs),
    /// Use the pinned cluster from now on, if its manifest can be had
    Enable,
    /// Use the endpoint and the own domain again; the pins stay
    Disable,
    /// Ask every node by HTTP and by DNS
    Status,
    /// Operator: make the key that signs for a cluster
    Keygen(KeygenArgs),
    /// Operator: sign which nodes a cluster has
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

/// `cluster pin`
#[derive(Debug, clap::Args)]
pub(crate) struct PinArgs {
    /// The operator's key, from the operator over another channel
    #[arg(value_name = "OPERATOR_SPK")]
    pub(crate) operator: String,
    /// The cluster's name, which is the zone of its users
    pub(crate) base_domain: String,
}

/// `cluster fetch`
#[derive(Debug, clap::Args)]
pub(crate) struct FetchArgs {
    /// Keep the signed text in cluster_manifest.wire beside the configuration
    #[arg(long)]
    pub(crate) save: bool,
}

/// `cluster sign`
#[derive(Debug, clap::Args)]
pub(crate) struct SignArgs {
    /// The cluster's name, which is the zone of its users
    pub(crate) base_domain: String,
    /// File of the key that signs
    #[arg(long, value_name = "FILE")]
    pub(crate) key: PathBuf,
    /// A node: id=NAME,http=URL and dns=HOST[:PORT], without which ordinary resolvers are asked. May be repeated
    #[arg(long, value_name = "NODE", required_unless_present = "nodes")]
    pub(crate) node: Vec<NodeText>,
    /// File of nodes, TOML or JSON: a list `nodes` of tables with id, http and dns, in front of those of --node
    #[arg(long, value_name = "FILE")]
    pub(crate) nodes: Option<PathBuf>,
    /// File with the manifest before this one: the new number is one more than the highest in it
    #[arg(long, value_name = "FILE", conflicts_with = "seq")]
    pub(crate) previous: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) terms: TermsArgs,
}

/// `--node`
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NodeText(pub(crate) ClusterNode);

impl FromStr for NodeText {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (mut id, mut http, mut dns) = (None, None, None);
        for part in text.split(',') {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            let field = match name.trim() {
                "id" => &mut id,
                "http" => &mut http,
                "dns" => &mut dns,
                other => return Err(format!("`{other}` is none of id, http, dns")),
            };
            if field.replace(value.trim().to_owned()).is_some() {
                return Err(format!("`{}` occurs twice", name.trim()));
            }
        }
        usable(ClusterNode {
            id: id.ok_or("id=NAME is missing")?,
            http_endpoint: http.ok_or("http=URL is missing")?,
            dns_endpoint: dns,
        })
        .map(Self)
    }
}

/// A node whose fields fit a manifest and can be used by clients.
pub(crate) fn usable(node: ClusterNode) -> Result<ClusterNode, String> {
    let ClusterNode {
        id,
        http_endpoint,
        dns_endpoint,
    } = &node;
    let fits = |text: &str, most: usize| (1..=most).contains(&text.len());
    if !fits(id, NODE_ID_MAX) || !id.bytes().all(|octet| octet.is_ascii_graphic()) {
        return Err(format!(
            "id: `{id}` is not 1 to {NODE_ID_MAX} ASCII characters without blanks"
        ));
    }
    if !fits(http_endpoint, HTTP_ENDPOINT_MAX) {
        return Err(format!("node {id}: http: 1 to {HTTP_ENDPOINT_MAX} bytes"));
    }
    if dns_endpoint
        .as_ref()
        .is_some_and(|endpoint| !fits(endpoint, DNS_ENDPOINT_MAX))
    {
        return Err(format!("node {id}: dns: 1 to {DNS_ENDPOINT_MAX} bytes"));
    }
    check_node(&node).map_err(|error| format!("node {id}: {error}"))?;
    Ok(node)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_has_an_id_and_a_url_once_and_may_have_a_dns_endpoint() {
        let node: NodeText = "id=a, http=https://a.test:8053, dns=[2001:db8::1]:5353"
            .parse()
            .unwrap();
        assert_eq!(node.0.id, "a");
        assert_eq!(node.0.http_endpoint, "https://a.test:8053");
        assert_eq!(node.0.dns_endpoint.as_deref(), Some("[2001:db8::1]:5353"));
        let node: NodeText = "http=a.test,id=node-1".parse().unwrap();
        assert_eq!(node.0.dns_endpoint, None);
        for (wrong, word) in [
            ("", "is none of"),
            ("id=a", "http"),
            ("http=a.test", "id"),
            ("id=a,id=b,http=a.test", "twice"),
            ("id=a b,http=a.test", "id: `a b`"),
            ("id=12345678901234567,http=a.test", "1 to 16"),
            ("id=a,http=ftp://a.test", "node a: `ftp://a.test`"),
            ("id=a,http=http://u@a.test", "node a"),
            ("id=a,http=a.test,dns=a.test:0", "node a: `a.test:0`"),
            ("id=a,http=a.test,dns=", "node a: dns"),
            ("id=a,http=a.test,port=1", "port"),
        ] {
            let error = wrong.parse::<NodeText>().unwrap_err();
            assert!(error.contains(word), "{wrong}: {error}");
        }
        let long = format!("id=a,http=http://{}.test", "a".repeat(120));
        assert!(long.parse::<NodeText>().unwrap_err().contains("128"));
    }
}
