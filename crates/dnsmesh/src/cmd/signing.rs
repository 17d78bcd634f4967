//! What an operator makes and publishes: keys, signed records, the rotation and the end of keys (federation.md 4.1, 5, 6). `cluster`
//! and `bootstrap` have these verbs in common.
//!
//! Records go to standard output, so that they can be piped into `publish` or into a file of the name server; keys never do.

use std::env;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use dmp_client::config::Config;
use dmp_client::connect;
use dmp_client::mesh::Writer;
use dmp_client::signing::{
    self, Content, KeyError, PublishError, Published, SignedRecord, generate_key, read_key,
};
use dmp_client::successor::pin_command;
use dmp_client::writer::HttpWriter;
use dmp_core::error::EncodeError;
use dmp_core::id::UnixTime;
use dmp_core::keys::SigningPublicKey;
use dmp_core::name::DomainName;
use dmp_core::record::{Reason, Subject, SubjectKind};
use serde::Serialize;
use zeroize::Zeroizing;

use super::Outcome;
use crate::args::identity::RevokeReason;
use crate::args::signing::{
    KeygenArgs, PublishRecordArgs, RevokeKeyArgs, RotateKeyArgs, ShowRecordArgs, TermsArgs,
};
use crate::context::Context;
use crate::exit::Failure;
use crate::report::{Report, line};
use crate::screen;
use crate::time::{milliseconds, now, utc_of};

/// Seconds that a line of a zone file lets others keep the record.
const ZONE_FILE_TTL: u32 = 3_600;
/// The value that means standard input.
const STANDARD_INPUT: &str = "-";

/// Whose key a verb is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// `cluster`
    ClusterOperator,
    /// `bootstrap`
    ZoneSigner,
}

impl Role {
    const fn purpose(self) -> &'static str {
        match self {
            Self::ClusterOperator => "cluster manifests and heartbeats",
            Self::ZoneSigner => "bootstrap records",
        }
    }

    const fn verb(self) -> &'static str {
        match self {
            Self::ClusterOperator => "cluster",
            Self::ZoneSigner => "bootstrap",
        }
    }

    /// The command that pins a key of this role.
    pub(super) fn pin_command(self, domain: &str, key: &str) -> String {
        pin_command(self.kind(), domain, key)
    }

    /// The subject of this role's rotations and revocations, in the spelling of its owner name.
    pub(super) fn subject(self, domain: &str) -> Result<Subject, Failure> {
        let domain = parse_domain(domain)?;
        Subject::parse(self.kind(), domain.as_str())
            .map_err(|error| Failure::user("signed-domain", error))
    }

    const fn kind(self) -> SubjectKind {
        match self {
            Self::ClusterOperator => SubjectKind::ClusterOperator,
            Self::ZoneSigner => SubjectKind::BootstrapSigner,
        }
    }
}

/// A domain of users or of a cluster.
pub(super) fn parse_domain(text: &str) -> Result<DomainName, Failure> {
    DomainName::parse(text)
        .map_err(|error| Failure::user("signed-domain", format!("`{text}`: {error}")))
}

/// Makes a key in a new file.
pub(super) fn keygen(args: &KeygenArgs, role: Role) -> Outcome {
    let key = generate_key(&args.file, role.purpose())?;
    Ok(Box::new(NewKey {
        path: args.file.clone(),
        key,
        role,
    }))
}

/// The number and the end that the options give a new record.
pub(super) fn terms(args: &TermsArgs) -> (u64, UnixTime) {
    let seq = args.seq.unwrap_or_else(milliseconds);
    (seq, UnixTime::new(now().saturating_add(args.valid)))
}

/// Prints a record that was just signed.
pub(super) fn signed(value: Result<String, EncodeError>, role: Role, zone_file: bool) -> Outcome {
    let value = value.map_err(|error| Failure::user("signed-invalid", error))?;
    let record = SignedRecord::read(&value, UnixTime::new(now()))
        .map_err(|error| Failure::user("signed-invalid", error))?;
    Ok(Box::new(Signed {
        record,
        role,
        form: if zone_file {
            Form::ZoneFile
        } else {
            Form::Value
        },
    }))
}

/// Signs that another key follows.
pub(super) fn rotate(args: &RotateKeyArgs, role: Role) -> Outcome {
    let subject = role.subject(&args.domain)?;
    let (old, new) = (read_key(&args.old_key)?, read_key(&args.new_key)?);
    if old.public() == new.public() {
        return Err(Failure::user(
            "rotate-same-key",
            "both files hold the same key: nothing to rotate",
        ));
    }
    let (seq, exp) = terms(&args.terms);
    let value = signing::rotation(subject, &old, &new, seq, UnixTime::new(now()), exp);
    signed(value, role, args.terms.zone_file)
}

/// Signs that a key has ended.
pub(super) fn revoke(args: &RevokeKeyArgs, role: Role) -> Outcome {
    let subject = role.subject(&args.domain)?;
    let key = read_key(&args.key)?;
    let reason = match args.reason {
        RevokeReason::Compromise => Reason::Compromise,
        RevokeReason::LostKey => Reason::LostKey,
        RevokeReason::Other => Reason::Other,
    };
    let value = signing::revocation(subject, &key, reason, UnixTime::new(now()));
    signed(value, role, args.zone_file)
}

/// Prints what records say.
pub(super) fn show(args: &ShowRecordArgs, role: Role) -> Outcome {
    let records = read_records(&args.file)?.into_iter();
    let records = records.map(|record| Signed {
        record,
        role,
        form: Form::Fields,
    });
    Ok(Box::new(Several(records.collect())))
}

/// Puts records into their zones.
pub(super) async fn publish(context: &Context, args: &PublishRecordArgs) -> Outcome {
    let records = read_records(&args.file)?;
    let config = if context.home.has_config() {
        context.config()?
    } else {
        Config::default()
    };
    let reader = connect::reader(&config, context.system_fallback())?;
    let writer: Box<dyn Writer> = match &args.node {
        Some(node) => Box::new(HttpWriter::new(node, Some(&operator_token(args)?))),
        None => {
            let config = context.config()?;
            context.connection(&config).await?.writer
        }
    };
    let mut done = Vec::new();
    for record in records {
        let published = signing::publish(
            &reader,
            writer.as_ref(),
            &record,
            args.ttl,
            UnixTime::new(now()),
        )
        .await
        .map_err(|error| {
            let failure = Failure::from(error);
            match done.len() {
                0 => failure.hint("nothing was published"),
                count => failure.hint(format!("{count} before it are published")),
            }
        })?;
        done.push(Placed { record, published });
    }
    Ok(Box::new(Several(done)))
}

fn operator_token(args: &PublishRecordArgs) -> Result<Zeroizing<String>, Failure> {
    let token = match &args.token_file {
        Some(file) => fs::read_to_string(file).map_err(|error| {
            Failure::user("operator-token", format!("{}: {error}", file.display()))
        })?,
        None => env::var("DMP_OPERATOR_TOKEN").unwrap_or_default(),
    };
    let token = Zeroizing::new(token);
    match token.trim() {
        "" => Err(Failure::user(
            "operator-token",
            "no operator token: name its file with --token-file, or set DMP_OPERATOR_TOKEN",
        )),
        text => Ok(Zeroizing::new(text.to_owned())),
    }
}

/// The records in a file, one in each line.
pub(super) fn read_records(file: &Path) -> Result<Vec<SignedRecord>, Failure> {
    let text = if file == Path::new(STANDARD_INPUT) {
        io::read_to_string(io::stdin())
    } else {
        fs::read_to_string(file)
    };
    let name = file.display();
    let text = text.map_err(|error| Failure::user("signed-file", format!("{name}: {error}")))?;
    let now = UnixTime::new(now());
    let mut records = Vec::new();
    for (index, value) in text.lines().enumerate() {
        if value.trim().is_empty() {
            continue;
        }
        let record = SignedRecord::read(value, now).map_err(|error| {
            Failure::user(
                "signed-unusable",
                format!("{name}, line {}: {error}", index + 1),
            )
        })?;
        records.push(record);
    }
    if records.is_empty() {
        return Err(Failure::user(
            "signed-file",
            format!("{name}: no record in it"),
        ));
    }
    Ok(records)
}

impl From<KeyError> for Failure {
    fn from(error: KeyError) -> Self {
        Self::user(error.code(), error)
    }
}

impl From<PublishError> for Failure {
    fn from(error: PublishError) -> Self {
        Self::new(error.fault(), error.code(), error)
    }
}

struct NewKey {
    path: PathBuf,
    key: SigningPublicKey,
    role: Role,
}

impl Report for NewKey {
    fn text(&self) -> String {
        format!(
            "wrote {} (mode 0600); it signs {}\npublic key: {}\n",
            self.path.display(),
            self.role.purpose(),
            self.key
        )
    }

    fn json(&self) -> String {
        #[derive(Serialize)]
        struct Members<'a> {
            path: &'a Path,
            public_key: String,
            signs: &'a str,
        }
        line(
            "dmp.key-file/1",
            &Members {
                path: &self.path,
                public_key: self.key.to_string(),
                signs: self.role.purpose(),
            },
        )
    }

    fn notes(&self) -> Vec<String> {
        vec![
            "note: keep a copy of the file off line: without it nobody can sign, and nobody who pinned the key follows another one by itself"
                .to_owned(),
        ]
    }
}

/// How a record is printed as text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Value,
    ZoneFile,
    Fields,
}

struct Signed {
    record: SignedRecord,
    role: Role,
    form: Form,
}

impl Report for Signed {
    fn text(&self) -> String {
        let record = &self.record;
        match self.form {
            Form::Value => format!("{}\n", record.value),
            Form::ZoneFile => format!("{}\n", record.zone_line(ZONE_FILE_TTL).unwrap_or_default()),
            Form::Fields => fields(record),
        }
    }

    fn json(&self) -> String {
        let record = &self.record;
        let mut members = Members {
            kind: kind(record),
            owner: owner(record),
            value: &record.value,
            signed_by: record.key().to_string(),
            name: name(record),
            seq: record.seq(),
            expires_at: record.expires().map(utc_of),
            nodes: None,
            entries: None,
            new_key: None,
            reason: None,
        };
        match &record.content {
            Content::Cluster(manifest) => {
                let nodes = manifest.nodes.iter().map(|node| Node {
                    id: &node.id,
                    http: &node.http_endpoint,
                    dns: node.dns_endpoint.as_deref(),
                });
                members.nodes = Some(nodes.collect());
            }
            Content::Bootstrap(record) => {
                let entries = record.entries.iter().map(|entry| Entry {
                    priority: entry.priority,
                    cluster_base_domain: entry.base.as_str(),
                    operator_spk: entry.operator.to_string(),
                });
                members.entries = Some(entries.collect());
            }
            Content::Rotation(rotation) => members.new_key = Some(rotation.new.to_string()),
            Content::Revocation(revocation) => members.reason = Some(word(revocation.reason)),
        }
        line("dmp.signed-record/1", &members)
    }

    fn notes(&self) -> Vec<String> {
        if self.form == Form::Fields {
            return Vec::new();
        }
        vec![format!(
            "note: it belongs at {}; `dnsmesh {} publish -` puts it there, again every day where a node forgets it",
            owner(&self.record),
            self.role.verb()
        )]
    }
}

#[derive(Serialize)]
struct Members<'a> {
    kind: &'a str,
    owner: String,
    value: &'a str,
    signed_by: String,
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    seq: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    nodes: Option<Vec<Node<'a>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    entries: Option<Vec<Entry<'a>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    new_key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
}

#[derive(Serialize)]
struct Node<'a> {
    id: &'a str,
    http: &'a str,
    dns: Option<&'a str>,
}

#[derive(Serialize)]
struct Entry<'a> {
    priority: u16,
    cluster_base_domain: &'a str,
    operator_spk: String,
}

/// What a record says, in lines.
fn fields(record: &SignedRecord) -> String {
    let mut text = format!(
        "{} at {}\n  name:      {}\n  signed by: {}\n",
        kind(record),
        owner(record),
        screen::line(&name(record)),
        record.key()
    );
    if let Some(seq) = record.seq() {
        text.push_str(&format!("  seq:       {seq}\n"));
    }
    if let Some(expires) = record.expires() {
        text.push_str(&format!("  expires:   {}\n", utc_of(expires)));
    }
    match &record.content {
        Content::Cluster(manifest) => {
            for node in &manifest.nodes {
                let dns = node.dns_endpoint.as_deref().unwrap_or("-");
                text.push_str(&format!(
                    "  node:      {}  http={}  dns={}\n",
                    screen::line(&node.id),
                    screen::line(&node.http_endpoint),
                    screen::line(dns)
                ));
            }
        }
        Content::Bootstrap(record) => {
            for entry in &record.entries {
                text.push_str(&format!(
                    "  cluster:   {}  priority={}  operator_spk={}\n",
                    entry.base, entry.priority, entry.operator
                ));
            }
        }
        Content::Rotation(rotation) => {
            text.push_str(&format!("  new key:   {}\n", rotation.new));
        }
        Content::Revocation(revocation) => {
            text.push_str(&format!("  reason:    {}\n", word(revocation.reason)));
        }
    }
    text
}

const fn kind(record: &SignedRecord) -> &'static str {
    match record.content {
        Content::Cluster(_) => "cluster",
        Content::Bootstrap(_) => "bootstrap",
        Content::Rotation(_) => "rotation",
        Content::Revocation(_) => "revocation",
    }
}

/// The domain that a record is about.
fn name(record: &SignedRecord) -> String {
    match &record.content {
        Content::Cluster(manifest) => manifest.name.to_string(),
        Content::Bootstrap(record) => record.domain.to_string(),
        Content::Rotation(rotation) => rotation.subject.to_string(),
        Content::Revocation(revocation) => revocation.subject.to_string(),
    }
}

fn owner(record: &SignedRecord) -> String {
    record
        .owner()
        .map_or_else(String::new, |owner| owner.to_string())
}

/// A reason as the command line spells it.
pub(super) const fn word(reason: Reason) -> &'static str {
    match reason {
        Reason::Compromise => "compromise",
        Reason::Routine => "routine",
        Reason::LostKey => "lost_key",
        Reason::Other => "other",
    }
}

struct Placed {
    record: SignedRecord,
    published: Published,
}

impl Report for Placed {
    fn text(&self) -> String {
        let removed = match self.published.removed {
            0 => String::new(),
            count => format!(", {count} older removed"),
        };
        format!(
            "published {} to {} for {} s{removed}\n",
            kind(&self.record),
            self.published.owner,
            self.published.ttl
        )
    }

    fn json(&self) -> String {
        #[derive(Serialize)]
        struct Members<'a> {
            kind: &'a str,
            owner: &'a str,
            ttl: u64,
            removed: usize,
        }
        line(
            "dmp.record-published/1",
            &Members {
                kind: kind(&self.record),
                owner: self.published.owner.as_str(),
                ttl: self.published.ttl,
                removed: self.published.removed,
            },
        )
    }
}

/// One report after the other.
struct Several<T>(Vec<T>);

impl<T: Report> Report for Several<T> {
    fn text(&self) -> String {
        self.0.iter().map(Report::text).collect()
    }

    fn json(&self) -> String {
        self.0.iter().map(Report::json).collect()
    }
}
