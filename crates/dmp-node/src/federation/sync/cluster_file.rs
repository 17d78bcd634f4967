//! The file of `DMP_CLUSTER_FILE`: the cluster's manifest as text or in JSON, or a plain list of its nodes (federation.md 4.8).

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::Path;

use dmp_core::codec::RecordType;
use serde::Deserialize;

use super::members::Member;
use crate::config::DEFAULT_MANIFEST;
use crate::limits::CLUSTER_FILE_OCTETS;

/// What stands in the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClusterFile {
    /// The text of a signed manifest, not verified.
    Manifest(String),
    /// Nodes that nobody has signed for.
    Nodes(Vec<Member>),
}

#[derive(Deserialize)]
struct Wire {
    wire: String,
}

#[derive(Deserialize)]
struct Nodes {
    nodes: Vec<Node>,
}

#[derive(Deserialize)]
struct Node {
    node_id: String,
    http_endpoint: String,
}

impl ClusterFile {
    /// Reads the file; `None` if there is none where nobody has to have one. The error is one line.
    pub fn read(path: &Path) -> Result<Option<Self>, String> {
        let file = match File::open(path) {
            Err(error)
                if error.kind() == ErrorKind::NotFound && path == Path::new(DEFAULT_MANIFEST) =>
            {
                return Ok(None);
            }
            file => file,
        };
        let mut text = String::new();
        file.and_then(|file| file.take(CLUSTER_FILE_OCTETS).read_to_string(&mut text))
            .map_err(|error| error.to_string())?;
        Self::parse(&text).map(Some)
    }

    /// Reads any of the three forms.
    pub fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if text.starts_with(RecordType::Cluster.prefix()) {
            return Ok(Self::Manifest(text.to_owned()));
        }
        if let Ok(Wire { wire }) = serde_json::from_str(text) {
            return Ok(Self::Manifest(wire.trim().to_owned()));
        }
        let Ok(Nodes { nodes }) = serde_json::from_str(text) else {
            return Err("neither a manifest nor a list of nodes".to_owned());
        };
        let member = |node: &Node| {
            let member = Member::named(&node.node_id, &node.http_endpoint);
            member.ok_or(format!("{:?} is no http or https URL", node.http_endpoint))
        };
        let members: Result<Vec<Member>, String> = nodes.iter().map(member).collect();
        members.map(Self::Nodes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_forms_are_read() {
        let manifest = ClusterFile::Manifest("v=dmp1;t=cluster;AAAA".into());
        for text in [
            "v=dmp1;t=cluster;AAAA\n",
            "{\"wire\": \"v=dmp1;t=cluster;AAAA\"}",
            "{\"wire\":\"v=dmp1;t=cluster;AAAA\\n\",\"seq\":3,\"nodes\":[]}",
        ] {
            assert_eq!(ClusterFile::parse(text), Ok(manifest.clone()), "{text}");
        }
        let nodes = r#"{"nodes":[{"node_id":"a","http_endpoint":"http://a:1/"},
                        {"node_id":"b","http_endpoint":"b.example","dns_endpoint":"x"}]}"#;
        let Ok(ClusterFile::Nodes(members)) = ClusterFile::parse(nodes) else {
            panic!("nodes");
        };
        let told: Vec<_> = members
            .iter()
            .map(|one| (one.id.as_str(), one.url.as_str()))
            .collect();
        assert_eq!(told, [("a", "http://a:1"), ("b", "https://b.example")]);
        for wrong in [
            "",
            "[]",
            "{\"nodes\":5}",
            r#"{"nodes":[{"node_id":"a","http_endpoint":"file:///etc"}]}"#,
        ] {
            assert!(ClusterFile::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn only_the_usual_file_may_be_missing() {
        let missing = Path::new("/nonexistent/cluster.json");
        assert!(ClusterFile::read(missing).is_err());
    }
}
