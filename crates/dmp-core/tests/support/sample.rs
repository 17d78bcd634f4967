//! One well-formed record of each type, all signed with the same key pair, and strategies for arbitrary ones.

use dmp_core::codec::RecordType;
use dmp_core::endpoint::Endpoint;
use dmp_core::erasure::CodePlan;
use dmp_core::error::{EncodeError, RecordError};
use dmp_core::id::{MsgId, PrekeyId, Slot, UnixTime, UserId};
use dmp_core::keys::{AgreementPublicKey, Signer, SigningPublicKey};
use dmp_core::name::{DomainName, Zone};
use dmp_core::record::{
    Binding, BootstrapEntry, BootstrapRecord, Chunk, Claim, ClusterManifest, ClusterNode,
    Heartbeat, IdentityRecord, Manifest, PrekeyRecord, Reason, Revocation, Rotation, Skew, Subject,
    SubjectKind, Versions,
};
use proptest::collection::{btree_set, vec};
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

use super::{NOW, identity, operator};

/// The key pair that signs every sample. An identity and an operator never share one outside of tests.
pub(crate) const SIGNER: u8 = 1;
/// The key pair that a rotation leads to.
pub(crate) const SUCCESSOR: u8 = 2;

/// A record of any type.
#[derive(Clone, PartialEq, Debug)]
pub(crate) enum Record {
    Chunk(Chunk),
    Manifest(Manifest),
    Identity(IdentityRecord),
    Prekey(PrekeyRecord),
    Cluster(ClusterManifest),
    Bootstrap(BootstrapRecord),
    Rotation(Rotation),
    Revocation(Revocation),
    Claim(Claim),
    Heartbeat(Heartbeat),
}

impl Record {
    pub(crate) fn kind(&self) -> RecordType {
        match self {
            Self::Chunk(_) => RecordType::Chunk,
            Self::Manifest(_) => RecordType::Manifest,
            Self::Identity(_) => RecordType::Identity,
            Self::Prekey(_) => RecordType::Prekey,
            Self::Cluster(_) => RecordType::Cluster,
            Self::Bootstrap(_) => RecordType::Bootstrap,
            Self::Rotation(_) => RecordType::Rotation,
            Self::Revocation(_) => RecordType::Revocation,
            Self::Claim(_) => RecordType::Claim,
            Self::Heartbeat(_) => RecordType::Heartbeat,
        }
    }

    /// Signs with the samples' keys.
    pub(crate) fn sign(&self) -> Result<String, EncodeError> {
        let (person, operator, next) = (identity(SIGNER), operator(SIGNER), identity(SUCCESSOR));
        let next_operator = super::operator(SUCCESSOR);
        let signer = |subject: &Subject| match subject.kind() {
            SubjectKind::User => (Signer::Person(&person), Signer::Person(&next)),
            _ => (
                Signer::Operator(&operator),
                Signer::Operator(&next_operator),
            ),
        };
        match self {
            Self::Chunk(chunk) => Ok(chunk.to_txt()),
            Self::Manifest(record) => record.sign(&person),
            Self::Identity(record) => record.sign(&person),
            Self::Prekey(record) => record.sign(&person),
            Self::Cluster(record) => record.sign(&operator),
            Self::Bootstrap(record) => record.sign(&operator),
            Self::Rotation(record) => {
                let (old, new) = signer(&record.subject);
                record.sign(old, new)
            }
            Self::Revocation(record) => record.sign(signer(&record.subject).0),
            Self::Claim(record) => record.sign(&person),
            Self::Heartbeat(record) => record.sign(&operator),
        }
    }

    /// Parses as `kind`, binding to nothing but the key where the type needs one.
    pub(crate) fn parse(
        kind: RecordType,
        value: &str,
        key: &SigningPublicKey,
        now: UnixTime,
    ) -> Result<Self, RecordError> {
        Ok(match kind {
            RecordType::Chunk => Self::Chunk(Chunk::parse_txt(value)?),
            RecordType::Manifest => Self::Manifest(Manifest::parse(value, now)?.into_inner()),
            RecordType::Identity => Self::Identity(IdentityRecord::parse(value)?.into_inner()),
            RecordType::Prekey => Self::Prekey(PrekeyRecord::parse(value, key, now)?.into_inner()),
            RecordType::Cluster => {
                Self::Cluster(ClusterManifest::parse(value, key, None, now)?.into_inner())
            }
            RecordType::Bootstrap => {
                Self::Bootstrap(BootstrapRecord::parse(value, key, None, now)?.into_inner())
            }
            RecordType::Rotation => {
                Self::Rotation(Rotation::parse(value, Binding::default(), now)?.into_inner())
            }
            RecordType::Revocation => Self::Revocation(
                Revocation::parse(value, Binding::default(), None, now)?.into_inner(),
            ),
            RecordType::Claim => Self::Claim(Claim::parse(value, now)?.into_inner()),
            RecordType::Heartbeat => {
                Self::Heartbeat(Heartbeat::parse(value, Skew::Unlimited, now)?.into_inner())
            }
        })
    }
}

/// The public half of the samples' key.
pub(crate) fn signer() -> SigningPublicKey {
    identity(SIGNER).signing_public()
}

/// One record of each type, in the order of the registry.
pub(crate) fn one_of_each() -> Vec<Record> {
    let (message, recipient) = (
        MsgId::from_bytes([0x11; 16]),
        UserId::from_bytes([0x22; 32]),
    );
    let exp = NOW.saturating_add(3_600);
    let subject = Subject::user("alice", "mesh.example").expect("a subject");
    let domain = |text| DomainName::parse(text).expect("a name");
    let node = |id: &str, dns: Option<&str>| ClusterNode {
        id: id.to_owned(),
        http_endpoint: format!("https://{id}.mesh.example"),
        dns_endpoint: dns.map(str::to_owned),
    };
    let entry = |priority, base| BootstrapEntry {
        priority,
        base: domain(base),
        operator: identity(3).signing_public(),
    };
    vec![
        Record::Chunk(Chunk::wrap(&[0x33; 128])),
        Record::Manifest(Manifest {
            msg_id: message,
            sender: signer(),
            recipient,
            plan: CodePlan::new(3, 4).expect("a plan"),
            prekey: PrekeyId::new(7),
            ts: NOW,
            exp,
            chunk_hashes: vec![[0x44; 32]; 4],
        }),
        Record::Identity(IdentityRecord {
            username: "alice".to_owned(),
            agreement: identity(SIGNER).agreement_public(),
            signing: signer(),
            ts: NOW,
            versions: Versions::new([1, 2]).expect("not empty"),
        }),
        Record::Prekey(PrekeyRecord {
            id: PrekeyId::new(7).expect("not zero"),
            public: AgreementPublicKey::from_bytes([0x55; 32]),
            exp,
        }),
        Record::Cluster(ClusterManifest {
            seq: 5,
            exp,
            operator: signer(),
            name: domain("mesh.example"),
            nodes: vec![node("n1", None), node("n2", Some("192.0.2.1:53"))],
        }),
        Record::Bootstrap(BootstrapRecord {
            seq: 6,
            exp,
            signer: signer(),
            domain: domain("example.com"),
            entries: vec![entry(10, "a.example"), entry(20, "b.example")],
        }),
        Record::Rotation(Rotation {
            subject: subject.clone(),
            old: signer(),
            new: identity(SUCCESSOR).signing_public(),
            seq: 1_800_000_000_000,
            ts: NOW,
            exp,
        }),
        Record::Revocation(Revocation {
            subject,
            revoked: signer(),
            reason: Reason::Compromise,
            ts: NOW,
        }),
        Record::Claim(Claim {
            msg_id: message,
            sender: signer(),
            mailbox_zone: Zone::parse("alice.example").expect("a zone"),
            slot: Slot::new(3).expect("a slot"),
            ts: NOW,
            exp,
        }),
        Record::Heartbeat(Heartbeat {
            endpoint: Endpoint::parse("https://node.example").expect("an endpoint"),
            operator: signer(),
            version: "0.1.0".to_owned(),
            capabilities: Heartbeat::CLAIM_PROVIDER,
            claim_provider_zone: Some("node.example".to_owned()),
            ts: NOW,
            exp,
        }),
    ]
}

/// Any record of any type that can be signed, live at [`NOW`].
pub(crate) fn any_record() -> impl Strategy<Value = Record> {
    prop_oneof![
        any::<[u8; 128]>().prop_map(|share| Record::Chunk(Chunk::wrap(&share))),
        manifest(),
        identity_record(),
        (1..=u32::MAX, any::<[u8; 32]>(), live(HORIZON_SHORT)).prop_map(|(id, public, exp)| {
            Record::Prekey(PrekeyRecord {
                id: PrekeyId::new(id).expect("not zero"),
                public: AgreementPublicKey::from_bytes(public),
                exp,
            })
        }),
        cluster(),
        bootstrap(),
        (subject(), any::<u64>(), any::<u64>(), live(HORIZON_LONG)).prop_map(
            |(subject, seq, ts, exp)| {
                Record::Rotation(Rotation {
                    subject,
                    old: signer(),
                    new: identity(SUCCESSOR).signing_public(),
                    seq,
                    ts: UnixTime::new(ts),
                    exp,
                })
            }
        ),
        (subject(), 1..=4_u8, 0..=NOW.as_secs() + 300).prop_map(|(subject, reason, ts)| {
            Record::Revocation(Revocation {
                subject,
                revoked: signer(),
                reason: Reason::from_code(reason).expect("a reason"),
                ts: UnixTime::new(ts),
            })
        }),
        (
            any::<[u8; 16]>(),
            "[a-z0-9_]{1,20}(\\.[a-z0-9]{1,10}){0,2}",
            0..10_u8,
            0..=NOW.as_secs(),
            live(HORIZON_SHORT)
        )
            .prop_map(|(message, zone, slot, ts, exp)| {
                Record::Claim(Claim {
                    msg_id: MsgId::from_bytes(message),
                    sender: signer(),
                    mailbox_zone: Zone::parse(&zone).expect("a zone"),
                    slot: Slot::new(slot).expect("a slot"),
                    ts: UnixTime::new(ts),
                    exp,
                })
            }),
        heartbeat(),
    ]
}

const HORIZON_SHORT: u64 = 30 * 86_400;
const HORIZON_LONG: u64 = 5 * 365 * 86_400;

/// An `exp` that every type accepts at [`NOW`].
fn live(horizon: u64) -> impl Strategy<Value = UnixTime> {
    (1..=horizon).prop_map(|ahead| NOW.saturating_add(ahead))
}

fn manifest() -> impl Strategy<Value = Record> {
    let counts = (1..=40_u32).prop_flat_map(|n| (1..=n, Just(n), any::<bool>()));
    (
        counts,
        any::<[u8; 16]>(),
        any::<[u8; 32]>(),
        any::<u32>(),
        any::<u64>(),
        live(HORIZON_SHORT),
        any::<[u8; 32]>(),
    )
        .prop_map(
            |((k, n, hashes), message, recipient, prekey, ts, exp, hash)| {
                Record::Manifest(Manifest {
                    msg_id: MsgId::from_bytes(message),
                    sender: signer(),
                    recipient: UserId::from_bytes(recipient),
                    plan: CodePlan::new(k, n).expect("a plan"),
                    prekey: PrekeyId::new(prekey),
                    ts: UnixTime::new(ts),
                    exp,
                    chunk_hashes: if hashes {
                        vec![hash; n as usize]
                    } else {
                        Vec::new()
                    },
                })
            },
        )
}

fn identity_record() -> impl Strategy<Value = Record> {
    let name = "\\PC{1,16}|[a-z]{1,64}";
    (name, any::<u64>(), btree_set(any::<u8>(), 1..=255)).prop_map(|(username, ts, versions)| {
        Record::Identity(IdentityRecord {
            username,
            agreement: identity(SIGNER).agreement_public(),
            signing: signer(),
            ts: UnixTime::new(ts),
            versions: Versions::new(versions).expect("1 to 255"),
        })
    })
}

fn domain() -> impl Strategy<Value = DomainName> {
    "[a-zA-Z0-9]([a-zA-Z0-9-]{0,10}[a-zA-Z0-9])?(\\.[a-z0-9]{1,12}){0,3}"
        .prop_map(|text| DomainName::parse(&text).expect("a name"))
}

fn cluster() -> impl Strategy<Value = Record> {
    let node = ("\\PC{1,30}", option::of("\\PC{1,16}"));
    (any::<u64>(), live(HORIZON_LONG), domain(), vec(node, 1..=6)).prop_map(
        |(seq, exp, name, nodes)| {
            let nodes =
                nodes
                    .into_iter()
                    .enumerate()
                    .map(|(index, (http_endpoint, dns_endpoint))| ClusterNode {
                        id: format!("node-{index}"),
                        http_endpoint: http_endpoint.chars().take(20).collect(),
                        dns_endpoint,
                    });
            Record::Cluster(ClusterManifest {
                seq,
                exp,
                operator: signer(),
                name,
                nodes: nodes.collect(),
            })
        },
    )
}

fn bootstrap() -> impl Strategy<Value = Record> {
    let entries = btree_set(any::<u16>(), 1..=8);
    (
        any::<u64>(),
        live(HORIZON_LONG),
        domain(),
        entries,
        domain(),
        any::<[u8; 32]>(),
    )
        .prop_map(|(seq, exp, domain, priorities, base, key)| {
            let entries = priorities.into_iter().map(|priority| BootstrapEntry {
                priority,
                base: base.clone(),
                operator: SigningPublicKey::from_bytes(key),
            });
            Record::Bootstrap(BootstrapRecord {
                seq,
                exp,
                signer: signer(),
                domain,
                entries: entries.collect(),
            })
        })
}

fn subject() -> impl Strategy<Value = Subject> {
    let user = ("[^@\\s\u{1c}-\u{1f}]{1,20}", domain())
        .prop_map(|(user, host)| Subject::user(&user, host.as_str()).expect("a subject"));
    let named = (
        select(vec![
            SubjectKind::ClusterOperator,
            SubjectKind::BootstrapSigner,
        ]),
        domain(),
    )
        .prop_map(|(kind, name)| Subject::parse(kind, name.as_str()).expect("a subject"));
    prop_oneof![user, named]
}

fn heartbeat() -> impl Strategy<Value = Record> {
    let endpoint = "https?://[a-z][a-z0-9]{0,20}\\.example(:[1-9][0-9]{0,3})?";
    let zone = option::of("[!-~]{1,64}");
    (
        endpoint,
        "[ -~]{0,32}",
        any::<u16>(),
        zone,
        0..NOW.as_secs(),
        live(HORIZON_SHORT),
    )
        .prop_map(
            |(endpoint, version, capabilities, claim_provider_zone, ts, exp)| {
                Record::Heartbeat(Heartbeat {
                    endpoint: Endpoint::parse(&endpoint).expect("an endpoint"),
                    operator: signer(),
                    version,
                    capabilities,
                    claim_provider_zone,
                    ts: UnixTime::new(ts),
                    exp,
                })
            },
        )
}
