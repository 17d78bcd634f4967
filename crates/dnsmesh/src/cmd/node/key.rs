//! `node ctl key add`: a TSIG key of the operator's own, its secret printed this once (node.md 4.1).

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use dmp_node::control::{KeySecret, NewKey, Request};
use dmp_node::limits::KEY_SECRET_MOST;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::ctl::Target;
use crate::args::KeyAddArgs;
use crate::exit::{Exit, Failure};
use crate::report::{Format, Report, line};
use crate::time::utc;

/// Adds the key on the running node or in the database of one that does not run.
pub(crate) async fn add(
    target: &Target,
    args: KeyAddArgs,
    format: Format,
) -> Result<Exit, Failure> {
    let generated = args.secret_file.is_none();
    let secret = match &args.secret_file {
        Some(path) => read(path, format)?,
        None => KeySecret::random(args.algorithm)
            .map_err(|error| Failure::user("node-random", error))?,
    };
    let request = Request::KeyAdd(NewKey {
        name: args.name,
        algorithm: args.algorithm.name().to_owned(),
        secret: secret.clone(),
        scope: args.scope,
        lifetime: args.expires,
    });
    let added = target.ask(request).await?;
    let Answer { members, warnings } =
        serde_json::from_value(added).map_err(|error| Failure::user("node-answer", error))?;
    Ok(format.print(&Added {
        members,
        warnings,
        secret: generated.then(|| secret.to_base64()),
    }))
}

/// The secret in a file, which should be nobody else's to read.
fn read(path: &Path, format: Format) -> Result<KeySecret, Failure> {
    let failed = |error: io::Error| {
        Failure::user("node-secret-file", format!("{}: {error}", path.display()))
    };
    let file = File::open(path).map_err(failed)?;
    let mode = file.metadata().map_err(failed)?.mode() & 0o777;
    // In base64, with room for line ends; one octet more shows that it is too long.
    let most = KEY_SECRET_MOST * 2;
    let mut text = Zeroizing::new(String::with_capacity(most + 1));
    file.take(most as u64 + 1)
        .read_to_string(&mut text)
        .map_err(failed)?;
    if text.len() > most {
        let reason = format!("{}: more than {most} octets", path.display());
        return Err(Failure::user("node-secret-file", reason));
    }
    let secret = KeySecret::from_base64(text.trim()).map_err(|error| {
        Failure::user("node-secret-file", format!("{}: {error}", path.display()))
    })?;
    if mode & 0o077 != 0 {
        format.note(&format!(
            "{} has mode {mode:04o}: others may read the secret; make it 0600",
            path.display()
        ));
    }
    Ok(secret)
}

/// What the node answers.
#[derive(Deserialize)]
struct Answer {
    #[serde(flatten)]
    members: Members,
    warnings: Vec<String>,
}

#[derive(Deserialize)]
struct Members {
    name: String,
    algorithm: String,
    allowed_suffixes: Vec<String>,
    expires_at: u64,
}

/// A key that was added; the secret only if it was made here.
struct Added {
    members: Members,
    warnings: Vec<String>,
    secret: Option<Zeroizing<String>>,
}

impl Report for Added {
    fn text(&self) -> String {
        let Members {
            name, algorithm, ..
        } = &self.members;
        match &self.secret {
            // The grammar of BIND's key files, which nsupdate reads; names and algorithms need no escapes in it.
            Some(secret) => format!(
                "key \"{name}\" {{\n\talgorithm {algorithm};\n\tsecret \"{}\";\n}};\n",
                secret.as_str()
            ),
            None => format!("added {name}\n"),
        }
    }

    fn json(&self) -> String {
        #[derive(Serialize)]
        struct Whole<'a> {
            name: &'a str,
            algorithm: &'a str,
            allowed_suffixes: &'a [String],
            expires_at: Option<String>,
            secret_base64: Option<&'a str>,
        }
        let Members {
            name,
            algorithm,
            allowed_suffixes,
            expires_at,
        } = &self.members;
        line(
            "dmp.node-key-added/1",
            &Whole {
                name,
                algorithm,
                allowed_suffixes,
                expires_at: (*expires_at != 0)
                    .then(|| utc(i64::try_from(*expires_at).unwrap_or(i64::MAX))),
                secret_base64: self.secret.as_ref().map(|secret| secret.as_str()),
            },
        )
    }

    fn notes(&self) -> Vec<String> {
        self.warnings.clone()
    }
}
