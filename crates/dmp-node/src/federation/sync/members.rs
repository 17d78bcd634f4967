//! Who belongs to the cluster: the configured peers, and in their place those of the newest manifest (federation.md 4.8, 4.12, W1).
//!
//! A value: it reads no file and stores nothing.

use std::collections::HashSet;

use dmp_core::keys::SigningPublicKey;
use dmp_core::name::DomainName;
use dmp_core::record::ClusterManifest;

use super::PeerUrl;

/// Another node of the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// What the manifest calls it, or what follows from its URL.
    pub id: String,
    /// Where its HTTP API is.
    pub url: PeerUrl,
}

impl Member {
    /// A peer that is known by its URL alone.
    pub fn of_url(url: PeerUrl) -> Self {
        Self { id: url.id(), url }
    }

    /// A node as a manifest or a list of nodes names it; a URL without a scheme is https, as clients read it.
    pub fn named(id: &str, endpoint: &str) -> Option<Self> {
        let url = match endpoint.contains("://") {
            true => PeerUrl::parse(endpoint)?,
            false => PeerUrl::parse(&format!("https://{endpoint}"))?,
        };
        Some(Self {
            id: id.to_owned(),
            url,
        })
    }

    /// Whether what was read of this one need not be read again of `other`: it is at the same place, and under another id only
    /// where that was derived.
    pub fn is_continued_by(&self, other: &Self) -> bool {
        self.url == other.url && (self.id == other.id || self.id == self.url.id())
    }
}

/// By what a node knows itself and its cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Own {
    /// Its id in the manifest.
    pub id: Option<String>,
    /// Where the others find it.
    pub endpoint: Option<PeerUrl>,
    /// The key that signs the manifest.
    pub operator: Option<SigningPublicKey>,
    /// The name in the manifest.
    pub base: Option<DomainName>,
}

impl Own {
    /// Key and name, where manifests can be adopted: never on first use, never another key's or name's.
    pub fn anchor(&self) -> Option<(&SigningPublicKey, &DomainName)> {
        self.operator.as_ref().zip(self.base.as_ref())
    }

    fn is_self(&self, member: &Member) -> bool {
        self.id.as_ref() == Some(&member.id) || self.endpoint.as_ref() == Some(&member.url)
    }
}

/// The peers as of now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Members {
    list: Vec<Member>,
    /// Of the manifest that the list comes from.
    seq: Option<u64>,
}

/// What a newer manifest changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Adopted {
    /// Its number.
    pub seq: u64,
    /// Peers that are new.
    pub added: Vec<Member>,
    /// Peers that are not in it.
    pub dropped: Vec<Member>,
    /// Endpoints in it that are no http or https URL.
    pub unusable: Vec<String>,
    /// Whether this node is in it, as far as it knows itself.
    pub names_us: bool,
}

impl Members {
    /// Configured ones, each place once, this node left out.
    pub fn new(members: impl IntoIterator<Item = Member>, own: &Own) -> Self {
        Self {
            list: others(members, own),
            seq: None,
        }
    }

    /// The peers.
    pub fn list(&self) -> &[Member] {
        &self.list
    }

    /// Number of the manifest that the list comes from.
    pub fn seq(&self) -> Option<u64> {
        self.seq
    }

    /// Whether a verified manifest is newer than the adopted one and than the newest in the store.
    pub fn is_news(&self, manifest: &ClusterManifest, stored: Option<u64>) -> bool {
        self.seq
            .max(stored)
            .is_none_or(|newest| newest < manifest.seq)
    }

    /// Takes the nodes of a verified manifest in the place of the present ones, if it is newer than the one they come from.
    pub fn adopt(&mut self, manifest: &ClusterManifest, own: &Own) -> Option<Adopted> {
        if !self.is_news(manifest, None) {
            return None;
        }
        let mut unusable = Vec::new();
        let mut nodes = Vec::new();
        for node in &manifest.nodes {
            match Member::named(&node.id, &node.http_endpoint) {
                Some(member) => nodes.push(member),
                None => unusable.push(node.http_endpoint.clone()),
            }
        }
        let knows_itself = own.id.is_some() || own.endpoint.is_some();
        let names_us = !knows_itself
            || nodes.iter().any(|node| own.is_self(node))
            || manifest
                .nodes
                .iter()
                .any(|node| own.id.as_ref() == Some(&node.id));
        let list = others(nodes, own);
        let is_in = |list: &[Member], member: &Member| list.iter().any(|one| one.url == member.url);
        let adopted = Adopted {
            seq: manifest.seq,
            added: not_in(&list, |member| is_in(&self.list, member)),
            dropped: not_in(&self.list, |member| is_in(&list, member)),
            unusable,
            names_us,
        };
        self.list = list;
        self.seq = Some(manifest.seq);
        Some(adopted)
    }
}

fn others(members: impl IntoIterator<Item = Member>, own: &Own) -> Vec<Member> {
    let (mut ids, mut places) = (HashSet::new(), HashSet::new());
    let others = members.into_iter().filter(|member| {
        !own.is_self(member) && !ids.contains(&member.id) && !places.contains(&member.url) && {
            ids.insert(member.id.clone());
            places.insert(member.url.clone())
        }
    });
    others.collect()
}

fn not_in(list: &[Member], is_in: impl Fn(&Member) -> bool) -> Vec<Member> {
    list.iter()
        .filter(|member| !is_in(member))
        .cloned()
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> PeerUrl {
        PeerUrl::parse(text).unwrap()
    }

    #[test]
    fn a_place_or_an_id_is_listed_once_and_this_node_not_at_all() {
        let own = Own {
            id: Some("node-c".into()),
            endpoint: Some(url("http://A:1/")),
            ..Own::default()
        };
        let members = [
            Member::of_url(url("http://a:1")),
            Member::named("node-b", "http://b:1").unwrap(),
            Member::named("node-b", "http://other:1").unwrap(),
            Member::named("node-c", "http://c:1").unwrap(),
            Member::of_url(url("HTTP://B:1")),
            Member::named("node-d", "d.example").unwrap(),
        ];
        let members = Members::new(members, &own);
        let told: Vec<_> = members.list().iter().map(|one| one.url.as_str()).collect();
        assert_eq!(told, ["http://b:1", "https://d.example"]);
        assert!(Member::named("x", "ftp://x").is_none());
    }
}
