//! Does what an operator asks for, on a running node or on the database of one that is not running.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use dmp_core::keys::AgreementPublicKey;
use dmp_core::registration::RegistrationSubject;
use serde::Serialize;
use serde_json::{Value, json};
use tokio::sync::mpsc::Sender;
use zeroize::Zeroizing;

use super::{Failed, FailedCode, Issue, NewKey, Request, dump, key};
use crate::access::Author;
use crate::clock::Clock;
use crate::config::{Config, Rate};
use crate::context::Context;
use crate::credentials::admin::{self, Revoked};
use crate::credentials::{Credentials, Denied, TokenText};
use crate::federation::sync::ClusterView;
use crate::http::Keeper;
use crate::reload::Reloader;
use crate::store::{Condition, Failure, OpenError};
use crate::supervise;

/// Writers that `quota show` lists at most, the largest first.
const WRITERS: u32 = 100;

/// The node as its operator has it in hand.
#[derive(Clone, Debug)]
pub struct Operator {
    context: Arc<Context>,
    credentials: Arc<Credentials>,
    /// Where it answers; `None` while it is not running.
    running: Option<Running>,
    reloader: Option<Arc<Reloader>>,
}

/// What only a running node can tell.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Running {
    pub(crate) dns: String,
    pub(crate) http: String,
    pub(crate) pid: u32,
    pub(crate) started_at: u64,
    /// Who keeps the certificate, if there is TLS.
    #[serde(skip)]
    pub(crate) https: Option<Arc<Keeper>>,
    /// Who its peers are.
    #[serde(skip)]
    pub(crate) cluster: Arc<ClusterView>,
}

/// Why there is nothing to work on.
#[derive(Debug, thiserror::Error)]
pub enum OfflineError {
    /// The database does not open, for instance because a node has it.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The credentials cannot be read.
    #[error("the credentials cannot be read: {0}")]
    Credentials(#[from] rusqlite::Error),
}

impl Operator {
    pub(crate) fn of_running(
        context: Arc<Context>,
        credentials: Arc<Credentials>,
        running: Running,
        reloader: Arc<Reloader>,
    ) -> Self {
        Self {
            context,
            credentials,
            running: Some(running),
            reloader: Some(reloader),
        }
    }

    /// Opens the database that a node with these settings would use. No node can start on it meanwhile.
    pub fn offline(config: &Config, clock: Clock) -> Result<Self, OfflineError> {
        let context = supervise::open_offline(config, clock)?;
        let credentials = Credentials::load(Arc::clone(&context))?;
        Ok(Self {
            context,
            credentials,
            running: None,
            reloader: None,
        })
    }

    /// Does one request. Long texts go to `data` in pieces; what is returned is the last line of the answer.
    pub async fn perform(&self, request: Request, data: Sender<String>) -> Result<Value, Failed> {
        match request {
            Request::Status => self.status(),
            Request::Reload => self.reload().await,
            Request::Drain => self.set_draining(true),
            Request::Resume => self.set_draining(false),
            Request::KeyList => {
                let now = self.now();
                self.read(move |sql| admin::keys(sql, None, now))
            }
            Request::KeyShow { name } => self.key(&name),
            Request::KeyAdd(new) => self.add_key(new).await,
            Request::KeyRevoke { name } => {
                let name = key_name(&name);
                let found = self.credentials.revoke_key(&name).await;
                self.found(found, format!("no key {name}"))
            }
            Request::KeyDelete { name } => {
                let name = key_name(&name);
                let found = self.credentials.delete_key(&name).await;
                self.found(found, format!("no key {name}"))
            }
            Request::UserList => self.read(|sql| {
                let denied = admin::denied(sql)?;
                let rows = denied
                    .into_iter()
                    .map(|(kind, value)| json!({"kind": kind, "value": value}));
                Ok(rows.collect::<Vec<_>>())
            }),
            Request::UserDeny { who } => {
                let denied = self.credentials.deny(whom(&who)?).await;
                denied.map(|()| json!({})).map_err(unavailable)
            }
            Request::UserAllow { who } => {
                let found = self.credentials.allow(whom(&who)?).await;
                self.found(found, format!("{who} was not denied"))
            }
            Request::QuotaShow => self.quotas(),
            Request::ZoneDump => self.dump(data).await,
            Request::Backup { path } => self.backup(path).await,
            Request::TokenIssue(issue) => {
                let issue = checked(issue)?;
                let issued = self
                    .credentials
                    .issue_token(issue.clone(), new_token()?)
                    .await;
                issued
                    .map(|issued| told(&issue, &issued))
                    .map_err(unavailable)
            }
            Request::TokenRotate(issue) => {
                let issue = checked(issue)?;
                let issued = self
                    .credentials
                    .rotate_token(issue.clone(), new_token()?)
                    .await;
                issued
                    .map(|issued| told(&issue, &issued))
                    .map_err(unavailable)
            }
            Request::TokenList { subject, which } => {
                let now = self.now();
                // An invalid filter matches nothing (node.md 8).
                let subject = subject.map(|subject| canonical(&subject).unwrap_or(subject));
                self.read(move |sql| admin::tokens(sql, subject.as_deref(), which, now))
            }
            Request::TokenRevoke { target } => self.revoke_token(target).await,
            Request::AuditTail { event, limit } => {
                self.read(move |sql| admin::audit(sql, event.as_deref(), limit))
            }
        }
    }

    fn status(&self) -> Result<Value, Failed> {
        let (context, now) = (&self.context, self.now());
        let (keys, tokens) = context
            .store()
            .read(|sql| {
                let keys = admin::keys(sql, None, now)?;
                let tokens = admin::tokens(sql, None, admin::Which::Unrevoked, now)?;
                let live_tokens = tokens.iter().filter(|token| token.live).count();
                Ok((keys.iter().filter(|key| key.live).count(), live_tokens))
            })
            .map_err(unavailable)?;
        let path = context.store().path();
        let octets = std::fs::metadata(path).map_or(0, |metadata| metadata.len());
        let condition = match context.store().condition() {
            Condition::Working => "working",
            Condition::Full => "full",
            Condition::ReadOnly => "read-only",
        };
        let mut status = json!({
            "version": env!("CARGO_PKG_VERSION"),
            "running": self.running.is_some(),
            "zone": context.settings().zone.as_ref().map(ToString::to_string),
            "serial": context.zone().serial(),
            "records": context.live_values(),
            "store": condition,
            "draining": context.store().is_draining(),
            "database": path,
            "database_bytes": octets,
            "keys": keys,
            "tokens": tokens,
            "update": context.settings().update,
        });
        let running = self.running.as_ref();
        if let Some(running) = running {
            status["peers"] = to_value(&*running.cluster.peers())?;
        }
        let https = running.and_then(|running| running.https.as_ref());
        let certificate = https.map(|keeper| to_value(&keeper.status()));
        let more = [running.map(to_value), certificate].into_iter().flatten();
        for more in more {
            if let (Value::Object(status), Value::Object(more)) = (&mut status, more?) {
                status.extend(more);
            }
        }
        Ok(status)
    }

    async fn reload(&self) -> Result<Value, Failed> {
        let reloader = self.reloader.clone().ok_or_else(not_running)?;
        let reloaded = tokio::task::spawn_blocking(move || reloader.reload());
        match reloaded.await.map_err(unavailable)? {
            Ok(reloaded) => to_value(&reloaded),
            Err(error) => Err(Failed::new(FailedCode::Refused, error)),
        }
    }

    fn set_draining(&self, draining: bool) -> Result<Value, Failed> {
        if self.running.is_none() {
            return Err(not_running());
        }
        self.context.store().set_draining(draining);
        if draining {
            tracing::info!("draining: writes are refused, questions are answered");
        } else {
            tracing::info!("writes are taken again");
        }
        Ok(json!({ "draining": draining }))
    }

    fn key(&self, name: &str) -> Result<Value, Failed> {
        let (name, now) = (key_name(name), self.now());
        let keys = self
            .context
            .store()
            .read(|sql| admin::keys(sql, Some(&name), now));
        match keys.map_err(unavailable)?.first() {
            Some(key) => to_value(key),
            None => Err(Failed::new(FailedCode::Absent, format!("no key {name}"))),
        }
    }

    async fn add_key(&self, new: NewKey) -> Result<Value, Failed> {
        let row = new.row(self.now())?;
        let added = json!({
            "name": row.name,
            "algorithm": row.algorithm,
            "allowed_suffixes": row.allowed_suffixes,
            "expires_at": row.expires_at,
            "warnings": key::doubts(&row.allowed_suffixes, &self.context.settings()),
        });
        let name = row.name.clone();
        if !self.credentials.add_key(row).await.map_err(unavailable)? {
            let reason = format!(
                "there is a key {name} already, and no key is replaced: take another name, or delete that key first"
            );
            return Err(Failed::new(FailedCode::Refused, reason));
        }
        Ok(added)
    }

    fn quotas(&self) -> Result<Value, Failed> {
        let now = self.now();
        let (writers, subjects) = self
            .context
            .store()
            .read(|sql| {
                let mut statement = sql.prepare(
                    "SELECT writer, count(*), sum(length(CAST(value AS BLOB))) FROM record WHERE expires_at > ?1
                     GROUP BY writer ORDER BY 2 DESC LIMIT ?2",
                )?;
                let writers = statement
                    .query_map([now as i64, i64::from(WRITERS)], |row| {
                        Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?, row.get::<_, i64>(2)?))
                    })?
                    .collect::<rusqlite::Result<Vec<_>>>()?;
                let sql_subjects =
                    "SELECT CASE subject WHEN '' THEN name ELSE subject END FROM tsig_key UNION SELECT subject FROM token";
                let mut statement = sql.prepare(sql_subjects)?;
                let subjects = statement
                    .query_map([], |row| row.get(0))?
                    .collect::<rusqlite::Result<Vec<String>>>()?;
                Ok((writers, subjects))
            })
            .map_err(unavailable)?;
        let named: HashMap<u64, String> = subjects
            .into_iter()
            .map(|subject| {
                let author = Author::Subject {
                    subject: subject.clone(),
                    mailboxes: Vec::new(),
                };
                (author.tag().0, subject)
            })
            .collect();
        let rows = writers.into_iter().map(|(writer, values, bytes)| {
            let tag = writer as u64; // the bits of the tag; SQLite knows signed integers only
            let who = match (tag, named.get(&tag)) {
                (0, _) => "operator and unsigned".to_owned(),
                (_, Some(subject)) => subject.clone(),
                (_, None) => format!("unknown {tag:016x}"),
            };
            json!({"writer": who, "values": values, "bytes": bytes})
        });
        let caps = self.context.settings().caps;
        Ok(json!({
            "max_values_per_writer_per_mailbox": caps.max_values_per_writer_per_mailbox,
            "max_values_per_name": caps.max_values_per_name,
            "writers": rows.collect::<Vec<_>>(),
        }))
    }

    async fn dump(&self, data: Sender<String>) -> Result<Value, Failed> {
        let (context, now) = (Arc::clone(&self.context), self.now());
        let dumped = tokio::task::spawn_blocking(move || {
            let serial = context.zone().serial();
            let out = |piece| data.blocking_send(piece).is_ok();
            context
                .store()
                .read_apart(|sql| dump::dump(sql, &context.settings(), serial, now, out))
        });
        let values = dumped.await.map_err(unavailable)?.map_err(unavailable)?;
        Ok(json!({ "values": values }))
    }

    async fn backup(&self, path: PathBuf) -> Result<Value, Failed> {
        if !path.is_absolute() {
            return Err(Failed::new(FailedCode::Misuse, "the path must be absolute"));
        }
        let context = Arc::clone(&self.context);
        let backup = tokio::task::spawn_blocking(move || {
            context.store().backup(&path).map(|bytes| (path, bytes))
        });
        let (path, bytes) = backup.await.map_err(unavailable)?.map_err(unavailable)?;
        tracing::info!(bytes, "a backup was written");
        Ok(json!({"path": path, "bytes": bytes}))
    }

    async fn revoke_token(&self, target: String) -> Result<Value, Failed> {
        let meant = canonical(&target).unwrap_or_else(|| target.clone());
        match self
            .credentials
            .revoke_target(meant.clone())
            .await
            .map_err(unavailable)?
        {
            Revoked::Subject(count) => Ok(json!({"revoked": count, "subject": meant})),
            Revoked::One { hash, subject } => {
                Ok(json!({"revoked": 1, "subject": subject, "token_hash": hash.to_string()}))
            }
            Revoked::Nothing => {
                let reason = format!("no live token found for subject or hash prefix '{target}'");
                Err(Failed::new(FailedCode::Absent, reason))
            }
            Revoked::Ambiguous(count) => {
                let reason =
                    format!("hash prefix '{target}' is ambiguous: it is that of {count} tokens");
                Err(Failed::new(FailedCode::Ambiguous, reason))
            }
        }
    }

    fn read<T: Serialize>(
        &self,
        work: impl FnOnce(&rusqlite::Connection) -> rusqlite::Result<T>,
    ) -> Result<Value, Failed> {
        to_value(&self.context.store().read(work).map_err(unavailable)?)
    }

    fn found(
        &self,
        found: Result<bool, Failure<rusqlite::Error>>,
        otherwise: String,
    ) -> Result<Value, Failed> {
        match found.map_err(unavailable)? {
            true => Ok(json!({})),
            false => Err(Failed::new(FailedCode::Absent, otherwise)),
        }
    }

    fn now(&self) -> u64 {
        self.context.clock().seconds()
    }
}

/// Everything that can be wrong with a token to issue, before anything changes.
fn checked(issue: Issue) -> Result<admin::Issue, Failed> {
    let misuse = |reason: &str| Failed::new(FailedCode::Misuse, reason);
    let subject = canonical(&issue.subject)
        .ok_or_else(|| misuse("the subject must be of the form user@host"))?;
    let subject_hash12 = match &issue.prekey_scope {
        None => None,
        Some(key) => {
            let key = AgreementPublicKey::from_hex(key)
                .map_err(|_| misuse("--with-prekey-scope: the key must be 64 hex digits"))?;
            // One round of SHA-256 over the key: the scope of older prekey names (node.md 6.6).
            Some(hex::encode(&key.user_id().as_bytes()[..6]))
        }
    };
    if !issue.rate.is_finite() || issue.rate <= 0.0 || issue.burst == 0 {
        return Err(misuse("rate and burst must be more than 0"));
    }
    if issue.lifetime == Some(0) {
        return Err(misuse("a token must live for at least a second"));
    }
    Ok(admin::Issue {
        subject,
        subject_hash12,
        rate: Rate {
            per_second: issue.rate,
            burst: f64::from(issue.burst),
        },
        lifetime: issue.lifetime,
        issuer: issue.issuer,
        note: issue.note,
    })
}

fn told(issue: &admin::Issue, issued: &admin::Issued) -> Value {
    json!({
        "token": issued.token.as_str(),
        "subject": issue.subject,
        "subject_hash12": issue.subject_hash12,
        "expires_at": issued.expires_at,
        "rate_per_sec": issue.rate.per_second,
        "rate_burst": issue.rate.burst as u64, // from a u32
        "revoked": issued.revoked,
    })
}

fn new_token() -> Result<TokenText, Failed> {
    let mut random = Zeroizing::new([0; 32]);
    getrandom::fill(random.as_mut()).map_err(unavailable)?;
    Ok(TokenText::new(&random))
}

fn canonical(subject: &str) -> Option<String> {
    let subject = RegistrationSubject::parse(subject).ok()?;
    Some(subject.as_str().to_owned())
}

/// A key name as its column holds it.
fn key_name(name: &str) -> String {
    format!("{}.", name.trim_end_matches('.').to_ascii_lowercase())
}

fn whom(who: &str) -> Result<Denied, Failed> {
    let mut key = [0; 32];
    if hex::decode_to_slice(who, &mut key).is_ok() {
        return Ok(Denied::SigningKey(key));
    }
    let subject = canonical(who).map(Denied::Subject);
    subject.ok_or_else(|| {
        let reason = "say a user@host or a signing key of 64 hex digits";
        Failed::new(FailedCode::Misuse, reason)
    })
}

fn not_running() -> Failed {
    let reason = "no node is running on this database";
    Failed::new(FailedCode::Absent, reason)
}

fn to_value(value: &impl Serialize) -> Result<Value, Failed> {
    serde_json::to_value(value).map_err(unavailable)
}

fn unavailable(error: impl ToString) -> Failed {
    Failed::new(FailedCode::Unavailable, error)
}
