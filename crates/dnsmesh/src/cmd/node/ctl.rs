//! `node ctl`: what an operator asks of the node over its socket, and of the database when none runs (cli.md 3.16).

use std::io;
use std::path::{Path, PathBuf};

use dmp_node::clock::Clock;
use dmp_node::config::{Config, Overrides};
use dmp_node::control::{Connection, ControlError, Failed, FailedCode, Operator, Request};
use dmp_node::store;
use dmp_node::zone::Owner;
use serde_json::{Map, Value, json};

use super::{key, zone};
use crate::args::{
    CtlCommand, CtlUserCommand as UserCommand, KeyCommand, NodeCtlArgs, QuotaCommand, ZoneCommand,
};
use crate::exit::{Exit, Failure};
use crate::report::{Format, Report, line};
use crate::screen;
use crate::time::utc;

/// Does what the command line asks.
pub(crate) async fn ctl(args: NodeCtlArgs, format: Format) -> Result<Exit, Failure> {
    let node = Target::new(&args.settings.into())?;
    let request = match args.action {
        CtlCommand::Restore { file, .. } => return node.restore(&file, format),
        CtlCommand::Key(KeyCommand::Add(args)) => return key::add(&node, args, format).await,
        CtlCommand::Status => Request::Status,
        CtlCommand::Reload => Request::Reload,
        CtlCommand::Drain => Request::Drain,
        CtlCommand::Resume => Request::Resume,
        CtlCommand::Key(KeyCommand::List) => Request::KeyList,
        CtlCommand::Key(KeyCommand::Show(args)) => Request::KeyShow { name: args.name },
        CtlCommand::Key(KeyCommand::Revoke(args)) => Request::KeyRevoke { name: args.name },
        CtlCommand::Key(KeyCommand::Delete(args)) => Request::KeyDelete { name: args.name },
        CtlCommand::User(UserCommand::List) => Request::UserList,
        CtlCommand::User(UserCommand::Deny(args)) => Request::UserDeny { who: args.who },
        CtlCommand::User(UserCommand::Allow(args)) => Request::UserAllow { who: args.who },
        CtlCommand::Quota(QuotaCommand::Show) => Request::QuotaShow,
        CtlCommand::Zone(ZoneCommand::Dump) => Request::ZoneDump,
        CtlCommand::Backup { file, .. } => Request::Backup {
            // The node has another working directory.
            path: std::path::absolute(&file)
                .map_err(|error| Failure::user("node-backup", error))?,
        },
    };
    if request == Request::ZoneDump {
        return zone::dump(&node, format).await;
    }
    let (schema, text) = (schema(&request), lines(&request));
    let value = node.ask(request).await?;
    Ok(format.print(&Answer {
        value,
        schema,
        text,
    }))
}

/// The node of these settings, running or not.
pub(super) struct Target {
    config: Config,
    database: PathBuf,
}

impl Target {
    pub(super) fn new(overrides: &Overrides) -> Result<Self, Failure> {
        let config =
            Config::of_process(overrides).map_err(|error| Failure::user("node-config", error))?;
        let database = match &config.database.fallback {
            Some(fallback) if !config.database.path.exists() => fallback.clone(),
            _ => config.database.path.clone(),
        };
        Ok(Self { config, database })
    }

    pub(super) fn config(&self) -> &Config {
        &self.config
    }

    pub(super) fn database(&self) -> &Path {
        &self.database
    }

    pub(super) fn zone(&self) -> Option<&Owner> {
        self.config.zone.as_ref()
    }

    /// Asks the running node, or opens the database if none runs.
    pub(super) async fn ask(&self, request: Request) -> Result<Value, Failure> {
        self.ask_at_length(request, &mut |_| Ok(())).await
    }

    /// The same for a request whose answer is long: pieces of its text, whole lines each, go to `take` as they come.
    pub(super) async fn ask_at_length(
        &self,
        request: Request,
        take: &mut (dyn FnMut(&str) -> io::Result<()> + Send),
    ) -> Result<Value, Failure> {
        let socket = |error: ControlError| match error {
            ControlError::Failed(failed) => refused(failed),
            error => Failure::user("node-socket", error),
        };
        if let Some(mut node) = Connection::open(&self.database).map_err(socket)? {
            // Nothing else waits for this thread.
            return node.request(&request, take).map_err(socket);
        }
        if !self.database.exists() && !begins_a_database(&request) {
            let reason = format!("there is no database {}", self.database.display());
            return Err(Failure::user("node-database", reason));
        }
        let operator = Operator::offline(&self.config, Clock::system())
            .map_err(|error| Failure::user("node-database", error))?;
        let (sender, mut pieces) = tokio::sync::mpsc::channel(4);
        let done = tokio::spawn(async move { operator.perform(request, sender).await });
        while let Some(piece) = pieces.recv().await {
            take(&piece).map_err(|error| Failure::user("output", error))?;
        }
        let done = done
            .await
            .map_err(|error| Failure::user("node-database", error))?;
        done.map_err(refused)
    }

    fn restore(&self, file: &Path, format: Format) -> Result<Exit, Failure> {
        store::restore(file, &self.database, &Clock::system())
            .map_err(|error| Failure::user("node-restore", error).hint("nothing was changed"))?;
        Ok(format.print(&Answer {
            value: json!({ "database": self.database }),
            schema: "dmp.node-restored/1",
            text: |value| vec![format!("restored {}", string(&value["database"]))],
        }))
    }
}

/// Credentials may be given and denied before the node has run for the first time; nothing else is there to work on then.
fn begins_a_database(request: &Request) -> bool {
    matches!(
        request,
        Request::TokenIssue(_) | Request::KeyAdd(_) | Request::UserDeny { .. }
    )
}

/// The failure with the status of cli.md 4: 2 for what makes no sense or means several things.
fn refused(failed: Failed) -> Failure {
    let (exit, code) = match failed.code {
        FailedCode::Misuse => (Exit::Remote, "node-misuse"),
        FailedCode::Ambiguous => (Exit::Remote, "node-ambiguous"),
        FailedCode::Absent => (Exit::User, "node-absent"),
        FailedCode::Unavailable => (Exit::User, "node-unavailable"),
        FailedCode::Refused => (Exit::User, "node-refused"),
    };
    Failure::new(exit, code, failed.reason)
}

/// What the node answered.
struct Answer {
    value: Value,
    schema: &'static str,
    text: fn(&Value) -> Vec<String>,
}

impl Report for Answer {
    fn text(&self) -> String {
        let lines = (self.text)(&self.value);
        lines.iter().map(|line| screen::line(line) + "\n").collect()
    }

    fn json(&self) -> String {
        match &self.value {
            Value::Array(rows) => {
                let rows = rows.iter();
                rows.map(|row| line(self.schema, &with_dates(row)))
                    .collect()
            }
            value => line(self.schema, &with_dates(value)),
        }
    }
}

/// Members that are Unix times as dates; 0 is never.
fn with_dates(object: &Value) -> Map<String, Value> {
    let members = object.as_object().into_iter().flatten();
    let members = members.map(|(name, value)| {
        let time = name.ends_with("_at").then(|| value.as_i64()).flatten();
        let value = match time {
            Some(0) => Value::Null,
            Some(time) => utc(time).into(),
            None => match value {
                Value::Array(rows) if rows.iter().all(Value::is_object) => rows
                    .iter()
                    .map(|row| Value::Object(with_dates(row)))
                    .collect(),
                value => value.clone(),
            },
        };
        (name.clone(), value)
    });
    members.collect()
}

/// What the answer to a request is called.
fn schema(request: &Request) -> &'static str {
    match request {
        Request::Status => "dmp.node-status/1",
        Request::Reload => "dmp.node-reloaded/1",
        Request::Drain | Request::Resume => "dmp.node-draining/1",
        Request::KeyList | Request::KeyShow { .. } => "dmp.node-key/1",
        Request::UserList => "dmp.node-denied/1",
        Request::QuotaShow => "dmp.node-quota/1",
        Request::Backup { .. } => "dmp.node-backup/1",
        _ => "dmp.node-done/1",
    }
}

/// How the answer to a request reads.
fn lines(request: &Request) -> fn(&Value) -> Vec<String> {
    match request {
        Request::Status | Request::KeyShow { .. } => members,
        Request::KeyList => |rows| {
            let row = |key: &Value| {
                let state = match (key["revoked"].as_bool(), key["live"].as_bool()) {
                    (Some(true), _) => "revoked",
                    (_, Some(true)) => "live",
                    _ => "expired",
                };
                let expires = match key["expires_at"].as_i64() {
                    Some(0) | None => "never".to_owned(),
                    Some(at) => utc(at),
                };
                format!(
                    "{state:<7}  {expires:<20}  {}  {}",
                    string(&key["name"]),
                    string(&key["subject"])
                )
            };
            table(rows, row, "(no keys)")
        },
        Request::UserList => |rows| {
            let row =
                |row: &Value| format!("{:<7}  {}", string(&row["kind"]), string(&row["value"]));
            table(rows, row, "(nobody is denied)")
        },
        Request::QuotaShow => |value| {
            let row = |row: &Value| {
                format!(
                    "{:>8} values  {:>10} bytes  {}",
                    row["values"],
                    row["bytes"],
                    string(&row["writer"])
                )
            };
            table(&value["writers"], row, "(nothing is stored)")
        },
        Request::Backup { .. } => |value| {
            vec![format!(
                "wrote {} ({} bytes)",
                string(&value["path"]),
                value["bytes"]
            )]
        },
        Request::Reload => |value| {
            let changed = match keys(&value["changed"]) {
                keys if keys.is_empty() => "nothing changed".to_owned(),
                keys => format!("in force now: {keys}"),
            };
            let waiting = keys(&value["restart"]);
            let waiting = (!waiting.is_empty()).then(|| format!("needs a restart: {waiting}"));
            [changed].into_iter().chain(waiting).collect()
        },
        Request::Drain => |_| vec!["writes are refused from now on".to_owned()],
        Request::Resume => |_| vec!["writes are taken again".to_owned()],
        _ => |_| vec!["done".to_owned()],
    }
}

fn keys(value: &Value) -> String {
    let keys = value.as_array().into_iter().flatten();
    keys.map(string).collect::<Vec<_>>().join(", ")
}

fn members(value: &Value) -> Vec<String> {
    let members = value.as_object().into_iter().flatten();
    let lines = members.flat_map(|(name, value)| match value {
        Value::Array(peers) if name == "peers" => peers.iter().map(peer).collect(),
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(string).collect();
            vec![format!("{name}: {}", items.join(" "))]
        }
        Value::Number(at) if name.ends_with("_at") && at.as_i64() != Some(0) => {
            vec![format!("{name}: {}", utc(at.as_i64().unwrap_or_default()))]
        }
        value => vec![format!("{name}: {}", string(value))],
    });
    lines.collect()
}

/// One peer of the cluster.
fn peer(peer: &Value) -> String {
    let read = match peer["complete_at"].as_i64() {
        Some(at) => format!("read to its end at {}", utc(at)),
        None => "not read to its end yet".to_owned(),
    };
    let fault = peer["fault"].as_str().map(|fault| format!("; {fault}"));
    format!(
        "peer {} ({}): {read}{}",
        string(&peer["id"]),
        string(&peer["url"]),
        fault.unwrap_or_default()
    )
}

fn table(rows: &Value, row: impl Fn(&Value) -> String, none: &str) -> Vec<String> {
    match rows.as_array() {
        Some(rows) if !rows.is_empty() => rows.iter().map(row).collect(),
        _ => vec![none.to_owned()],
    }
}

/// Text without its quotes.
pub(super) fn string(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => "-".to_owned(),
        value => value.to_string(),
    }
}
