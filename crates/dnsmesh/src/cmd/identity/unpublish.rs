//! `identity unpublish`: take the own identity record out of the zone.

use dmp_client::ops::{Unpublished, identity_unpublish};
use serde::Serialize;

use crate::cmd::Outcome;
use crate::context::Context;
use crate::exit::Exit;
use crate::prompt::StandardInput;
use crate::report::{Report, line};

/// Deletes the own records, each by its exact value.
pub(crate) async fn unpublish(context: &Context) -> Outcome {
    let online = context.go_online(StandardInput::Free).await?;
    Ok(Box::new(Done(identity_unpublish(&online.session()).await?)))
}

struct Done(Unpublished);

impl Report for Done {
    fn text(&self) -> String {
        let Unpublished { owner, removed, .. } = &self.0;
        format!("removed {removed} identity record(s) from {owner}\n")
    }

    fn json(&self) -> String {
        #[derive(Serialize)]
        struct Members {
            owner: String,
            removed: usize,
            left: usize,
        }
        let Unpublished {
            owner,
            removed,
            left,
        } = &self.0;
        line(
            "dmp.identity-unpublished/1",
            &Members {
                owner: owner.to_string(),
                removed: *removed,
                left: *left,
            },
        )
    }

    fn notes(&self) -> Vec<String> {
        match self.0.left {
            0 => Vec::new(),
            left => vec![format!(
                "note: the node did not delete {left} record(s); they expire there within a day"
            )],
        }
    }

    fn exit(&self) -> Exit {
        if self.0.left > 0 {
            Exit::Remote
        } else {
            Exit::Done
        }
    }
}
