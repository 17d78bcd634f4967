//! `token list|forget` (cli.md 3.10). Needs no configuration and no passphrase; no token is ever printed in full.

use dmp_client::home::{SavedToken, TokenError};
use serde::Serialize;

use super::Outcome;
use crate::args::credentials::SavedTokenCommand;
use crate::context::Context;
use crate::exit::Failure;
use crate::report::{Report, documents, line};
use crate::screen;
use crate::time::utc;

/// Characters of a token that tell its owner which one it is.
const PREFIX: usize = 16;

/// Does one of the two.
pub(crate) fn perform(context: &Context, command: SavedTokenCommand) -> Outcome {
    match command {
        SavedTokenCommand::List => list(context),
        SavedTokenCommand::Forget { node } => forget(context, node),
    }
}

fn list(context: &Context) -> Outcome {
    let mut listed = Listed {
        tokens: Vec::new(),
        notes: Vec::new(),
    };
    for file in context.home.saved_tokens()? {
        match file.token {
            Some(token) => listed.tokens.push(token),
            None => listed.notes.push(format!(
                "warning: {} is damaged and counts as no token",
                file.path.display()
            )),
        }
    }
    Ok(Box::new(listed))
}

fn forget(context: &Context, node: String) -> Outcome {
    if context.home.forget_token(&node)? {
        Ok(Box::new(Forgotten { node }))
    } else {
        Err(
            Failure::user("token-unknown", format!("no saved token for {node}"))
                .hint("`dnsmesh token list` shows what is saved"),
        )
    }
}

impl From<TokenError> for Failure {
    fn from(error: TokenError) -> Self {
        match error {
            TokenError::UnsafeHost(_) => Self::user("token-host", error),
            TokenError::Home(error) => error.into(),
        }
    }
}

struct Listed {
    tokens: Vec<SavedToken>,
    notes: Vec<String>,
}

impl Report for Listed {
    fn text(&self) -> String {
        if self.tokens.is_empty() {
            return "(no saved tokens)\n".to_owned();
        }
        let row = |node: &str, subject: &str, expires: &str| {
            format!("{node:<30} {subject:<30} {expires:<22}")
                .trim_end()
                .to_owned()
                + "\n"
        };
        let rows = self.tokens.iter().map(|token| {
            let expires = expiry(token).map_or_else(|| "-".to_owned(), utc);
            row(
                &screen::line(&token.node),
                &screen::line(&token.subject),
                &expires,
            )
        });
        std::iter::once(row("NODE", "SUBJECT", "EXPIRES"))
            .chain(rows)
            .collect()
    }

    fn json(&self) -> String {
        #[derive(Serialize)]
        struct Members<'a> {
            version: u32,
            node: &'a str,
            subject: &'a str,
            expires_at: Option<i64>,
            registered_spk: &'a str,
            saved_at: i64,
            token_prefix: String,
            token_len: usize,
        }
        let all: Vec<_> = self
            .tokens
            .iter()
            .map(|token| Members {
                version: token.version,
                node: &token.node,
                subject: &token.subject,
                expires_at: token.expires_at,
                registered_spk: &token.registered_spk,
                saved_at: token.saved_at,
                token_prefix: prefix(&token.token),
                token_len: token.token.chars().count(),
            })
            .collect();
        documents("dmp.saved-token/1", &all)
    }

    fn notes(&self) -> Vec<String> {
        self.notes.clone()
    }
}

struct Forgotten {
    node: String,
}

impl Report for Forgotten {
    fn text(&self) -> String {
        format!("forgot token for {}\n", screen::line(&self.node))
    }

    fn json(&self) -> String {
        #[derive(Serialize)]
        struct Members<'a> {
            node: &'a str,
        }
        line("dmp.token-forgotten/1", &Members { node: &self.node })
    }
}

/// When a token really expires: null, 0 and less mean never (client.md 5.4).
fn expiry(token: &SavedToken) -> Option<i64> {
    token.expires_at.filter(|time| *time > 0)
}

/// The beginning of a token, but never all of a short one.
fn prefix(token: &str) -> String {
    let length = token.chars().count();
    if length > PREFIX {
        token.chars().take(PREFIX).chain(['…']).collect()
    } else {
        token.chars().take(length / 2).chain(['…']).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::prefix;

    #[test]
    fn no_token_is_shown_whole() {
        assert_eq!(prefix("dmp_v1_ABCDEFGHIJKLM"), "dmp_v1_ABCDEFGHI…");
        assert_eq!(prefix("dmp_v1_ABCDEFGHI"), "dmp_v1_A…");
        assert_eq!(prefix("x"), "…");
    }
}
