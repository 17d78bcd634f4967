//! `dnsmesh-node-admin`: bearer tokens and their audit, with the outputs of the reference (cli.md 4, node.md 8).

use dmp_node::config::Overrides;
use dmp_node::control::{Issue, Request};
use dmp_node::credentials::admin::{AuditInfo, TokenInfo, Which};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::ctl::{Target, string};
use crate::args::{AdminArgs, AdminCommand, AuditCommand, IssueArgs, TokenCommand};
use crate::exit::{Exit, Failure};
use crate::report::{Format, Report, document, documents, line};
use crate::screen;
use crate::time::utc;

/// Does what the command line asks, on the running node or on the database of one that does not run.
pub(crate) async fn admin(args: AdminArgs, format: Format) -> Result<Exit, Failure> {
    let target = Target::new(&Overrides {
        db_path: args.db,
        ..Overrides::default()
    })?;
    let directory = target.database().parent();
    if directory.is_some_and(|above| !above.as_os_str().is_empty() && !above.is_dir()) {
        let reason = format!(
            "the directory of {} does not exist",
            target.database().display()
        );
        return Err(Failure::new(Exit::Remote, "node-database", reason));
    }
    match args.action {
        AdminCommand::Token(TokenCommand::Issue(args)) => issue(&target, args, format).await,
        AdminCommand::Token(TokenCommand::List {
            subject,
            include_revoked,
            ..
        }) => {
            let which = if include_revoked {
                Which::RevokedToo
            } else {
                Which::Unrevoked
            };
            let rows = target.ask(Request::TokenList { subject, which }).await?;
            Ok(format.print(&Tokens(typed(rows)?)))
        }
        AdminCommand::Token(TokenCommand::Revoke { target: meant }) => {
            let revoked = target.ask(Request::TokenRevoke { target: meant }).await?;
            let subject = string(&revoked["subject"]);
            let text = match revoked["token_hash"].as_str() {
                Some(hash) => format!("revoked token {}… (subject {subject})\n", start(hash, 16)),
                None => format!(
                    "revoked {} token(s) for subject '{subject}'\n",
                    revoked["revoked"]
                ),
            };
            Ok(format.print(&Changed {
                text,
                schema: "dmp.node-token-revoked/1",
                members: revoked,
            }))
        }
        AdminCommand::Token(TokenCommand::Rotate { subject, terms }) => {
            let issue = Issue {
                subject,
                lifetime: terms.expires,
                rate: terms.rate,
                burst: terms.burst,
                note: "rotation".to_owned(),
                issuer: format!("{}:rotate", issuer()),
                prekey_scope: None,
            };
            let issued = target.ask(Request::TokenRotate(issue)).await?;
            let text = format!(
                "revoked {} old token(s) for '{}'\nnew token:\n  {}\n",
                issued["revoked"],
                string(&issued["subject"]),
                string(&issued["token"])
            );
            Ok(format.print(&Changed {
                text,
                schema: "dmp.node-token-rotated/1",
                members: issued,
            }))
        }
        AdminCommand::Audit(AuditCommand::Tail { event, limit, .. }) => {
            let rows = target.ask(Request::AuditTail { event, limit }).await?;
            Ok(format.print(&Audit(typed(rows)?)))
        }
    }
}

async fn issue(target: &Target, args: IssueArgs, format: Format) -> Result<Exit, Failure> {
    let note = args.note.clone();
    let request = Request::TokenIssue(Issue {
        subject: args.subject,
        lifetime: args.terms.expires,
        rate: args.terms.rate,
        burst: args.terms.burst,
        note: args.note,
        issuer: issuer(),
        prekey_scope: args.with_prekey_scope,
    });
    let issued = target.ask(request).await?;
    Ok(format.print(&Issued {
        note,
        members: Members {
            token: string(&issued["token"]),
            subject: string(&issued["subject"]),
            subject_hash12: issued["subject_hash12"].as_str().map(str::to_owned),
            expires_at: issued["expires_at"].as_i64(),
            rate_per_sec: args.terms.rate,
            rate_burst: args.terms.burst,
        },
    }))
}

/// `admin:<login name>`, as the reference writes it.
fn issuer() -> String {
    let user = std::env::var("USER").ok().filter(|user| !user.is_empty());
    format!("admin:{}", user.as_deref().unwrap_or("unknown"))
}

/// A token, shown this once.
struct Issued {
    note: String,
    members: Members,
}

#[derive(Serialize)]
struct Members {
    token: String,
    subject: String,
    subject_hash12: Option<String>,
    expires_at: Option<i64>,
    rate_per_sec: f64,
    rate_burst: u32,
}

impl Report for Issued {
    fn text(&self) -> String {
        let Members {
            token,
            subject,
            subject_hash12,
            expires_at,
            rate_per_sec,
            rate_burst,
        } = &self.members;
        let mut text = format!("  subject:    {subject}\n");
        if let Some(hash12) = subject_hash12 {
            text += &format!("  prekey h12: {hash12}\n");
        }
        text += &format!("  rate:       {rate_per_sec:?} req/s  burst={rate_burst}\n");
        text += &format!("  expires:    {}\n\n", moment(*expires_at));
        text += "  token (copy it now: it is never shown again):\n";
        text += &format!("      {token}\n\n");
        if !self.note.is_empty() {
            text += &format!("  note: {}\n", screen::line(&self.note));
        }
        text
    }

    fn json(&self) -> String {
        document("dmp.node-token-issued/1", &self.members)
    }
}

/// Rows of the token table.
struct Tokens(Vec<TokenInfo>);

impl Report for Tokens {
    fn text(&self) -> String {
        if self.0.is_empty() {
            return "(no tokens)\n".to_owned();
        }
        let head = [
            "HASH-PREFIX",
            "SUBJECT",
            "ISSUED",
            "EXPIRES",
            "REVOKED",
            "STATUS",
        ];
        let mut text = columns(head.map(str::to_owned));
        for token in &self.0 {
            text += &columns([
                start(&token.token_hash, 16).to_owned(),
                token.subject.clone(),
                utc(token.issued_at),
                moment(token.expires_at),
                moment(token.revoked_at),
                if token.live { "live" } else { "inactive" }.to_owned(),
            ]);
        }
        text
    }

    fn json(&self) -> String {
        documents("dmp.node-token/1", &self.0)
    }
}

/// Rows of the audit.
struct Audit(Vec<AuditInfo>);

impl Report for Audit {
    fn text(&self) -> String {
        let rows = self.0.iter().map(|row| {
            let hash = row.token_hash.as_deref();
            let hash = hash.map_or("-".to_owned(), |hash| format!("{}…", start(hash, 12)));
            let (subject, address) = (row.subject.as_deref(), row.remote_addr.as_deref());
            let line = format!(
                "{}  {:<10}  subject={:<24}  hash={hash}  addr={:<15}  {}",
                utc(row.ts),
                row.event,
                subject.unwrap_or("-"),
                address.unwrap_or("-"),
                row.detail
            );
            screen::line(&line).into_owned() + "\n"
        });
        rows.collect()
    }

    fn json(&self) -> String {
        documents("dmp.node-audit/1", &self.0)
    }
}

/// Tokens that were ended, and what took their place; the reference has no JSON for it.
struct Changed {
    text: String,
    schema: &'static str,
    members: Value,
}

impl Report for Changed {
    fn text(&self) -> String {
        self.text.clone()
    }

    fn json(&self) -> String {
        line(self.schema, &self.members)
    }
}

/// Six columns of 20, two blanks between them.
fn columns(cells: [String; 6]) -> String {
    let cells = cells.map(|cell| format!("{:<20}", screen::line(&cell)));
    cells.join("  ") + "\n"
}

fn moment(at: Option<i64>) -> String {
    at.map_or("-".to_owned(), utc)
}

fn start(text: &str, length: usize) -> &str {
    text.get(..length).unwrap_or(text)
}

fn typed<T: DeserializeOwned>(value: Value) -> Result<T, Failure> {
    serde_json::from_value(value).map_err(|error| Failure::user("node-answer", error))
}
