//! The cluster manifest: the nodes that an operator vouches for (records.md 10). Opens no connection to them.

use std::collections::HashSet;

use super::{check_horizon, seal_body};
use crate::codec::{Reader, RecordType, Writer, decode, split_signature};
use crate::error::{EncodeError, Malformed, RecordError, Rejected};
use crate::id::UnixTime;
use crate::keys::{OperatorKey, SigningPublicKey};
use crate::limits::{
    CLUSTER_NODES_MAX, DNS_ENDPOINT_MAX, HORIZON_LONG, HTTP_ENDPOINT_MAX, NODE_ID_MAX,
};
use crate::name::DomainName;
use crate::signed::{Verified, verify};

const MAGIC: &[u8; 7] = b"DMPCL01";

/// A cluster as its operator publishes it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ClusterManifest {
    /// The highest of several wins.
    pub seq: u64,
    /// When it dies; still live at that second.
    pub exp: UnixTime,
    /// The operator's key, which the reader must have pinned.
    pub operator: SigningPublicKey,
    /// The cluster's base domain.
    pub name: DomainName,
    /// 1 to 32 nodes with distinct ids.
    pub nodes: Vec<ClusterNode>,
}

/// One node of a cluster.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ClusterNode {
    /// ASCII, 1 to 16 bytes, case-sensitive.
    pub id: String,
    /// Where its HTTP API is, 1 to 128 bytes, not checked to be a URL.
    pub http_endpoint: String,
    /// Where its DNS is, up to 64 bytes, if not at the HTTP host.
    pub dns_endpoint: Option<String>,
}

impl ClusterManifest {
    /// The TXT value.
    ///
    /// # Errors
    /// Another signer than `operator`, a field that breaks its rule, no node, or more than 1200 characters.
    pub fn sign(&self, operator: &OperatorKey) -> Result<String, EncodeError> {
        if self.operator != operator.public() {
            return Err(EncodeError::OtherKey);
        }
        self.check()?;
        let mut body = Writer::new();
        body.bytes(MAGIC)
            .u64(self.seq)
            .u64(self.exp.as_secs())
            .bytes(self.operator.as_bytes())
            .text8(self.name.as_str())?
            .count8(self.nodes.len())?;
        for node in &self.nodes {
            body.text8(&node.id)?
                .text16(&node.http_endpoint)?
                .text16(node.dns_endpoint.as_deref().unwrap_or_default())?;
        }
        let body = body.into_body();
        let signature = operator.sign(&body);
        seal_body(RecordType::Cluster, body, &signature)
    }

    /// Verifies a TXT value with the pinned key. Who fetched it by name passes that name.
    ///
    /// # Errors
    /// Anything but a well-formed, live manifest of that operator for that cluster, at most 5 years ahead.
    pub fn parse(
        value: &str,
        operator: &SigningPublicKey,
        name: Option<&DomainName>,
        now: UnixTime,
    ) -> Result<Verified<Self>, RecordError> {
        let blob = decode(RecordType::Cluster, value)?;
        let (body, signature) = split_signature(&blob)?;
        verify(operator, body, signature)?;
        let manifest = Self::read(body)?;
        if manifest.operator != *operator {
            return Err(Rejected::OtherKey.into());
        }
        if manifest.exp < now {
            return Err(Rejected::Expired.into());
        }
        check_horizon(manifest.exp, now, HORIZON_LONG)?;
        if name.is_some_and(|name| *name != manifest.name) {
            return Err(Rejected::OtherName.into());
        }
        Ok(Verified::new(manifest))
    }

    /// The usable manifest of an RRset: the highest `seq`, the first of equals (records.md 5.3).
    pub fn choose<'a>(
        values: impl IntoIterator<Item = &'a str>,
        operator: &SigningPublicKey,
        name: Option<&DomainName>,
        now: UnixTime,
    ) -> Option<Verified<Self>> {
        values
            .into_iter()
            .filter_map(|value| Self::parse(value, operator, name, now).ok())
            .reduce(|best, next| if next.seq > best.seq { next } else { best })
    }

    /// The key that a value names as its operator's: what can be told to somebody who has pinned none, and nothing to trust.
    ///
    /// # Errors
    /// A value that is no cluster manifest.
    pub fn claimed_operator(value: &str) -> Result<SigningPublicKey, RecordError> {
        let blob = decode(RecordType::Cluster, value)?;
        Ok(Self::read(split_signature(&blob)?.0)?.operator)
    }

    fn read(body: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(body);
        reader.magic(MAGIC)?;
        let seq = reader.u64()?;
        let exp = UnixTime::new(reader.u64()?);
        let operator = SigningPublicKey::from_bytes(reader.array()?);
        let name =
            DomainName::parse(reader.text8()?).map_err(|_| Malformed::Field("cluster name"))?;
        let count = reader.u8()?;
        let mut nodes = Vec::new();
        for _ in 0..count {
            let id = reader.text8()?.to_owned();
            let http_endpoint = reader.text16()?.to_owned();
            let dns_endpoint =
                Some(reader.text16()?.to_owned()).filter(|endpoint| !endpoint.is_empty());
            nodes.push(ClusterNode {
                id,
                http_endpoint,
                dns_endpoint,
            });
        }
        reader.finish()?;
        let manifest = Self {
            seq,
            exp,
            operator,
            name,
            nodes,
        };
        manifest.check()?;
        Ok(manifest)
    }

    fn check(&self) -> Result<(), Malformed> {
        // A quorum of no node would succeed without writing anything (records.md 10).
        if !(1..=CLUSTER_NODES_MAX).contains(&self.nodes.len()) {
            return Err(Malformed::Field("node count"));
        }
        let mut ids = HashSet::new();
        for node in &self.nodes {
            if !(1..=NODE_ID_MAX).contains(&node.id.len())
                || !node.id.is_ascii()
                || !ids.insert(&node.id)
            {
                return Err(Malformed::Field("node id"));
            }
            if !(1..=HTTP_ENDPOINT_MAX).contains(&node.http_endpoint.len()) {
                return Err(Malformed::Field("HTTP endpoint"));
            }
            if node
                .dns_endpoint
                .as_ref()
                .is_some_and(|endpoint| !(1..=DNS_ENDPOINT_MAX).contains(&endpoint.len()))
            {
                return Err(Malformed::Field("DNS endpoint"));
            }
        }
        Ok(())
    }
}
