//! `recv` (cli.md 3.5, client.md 10, 11): once, or on and on with `--follow`.

mod follow;
mod hook;
mod mail;
mod outages;

use std::sync::Arc;

use dmp_client::ops::{Phases, ReceiveError, ReceiveReport, ReceiveRequest, clear_away, receive};
use dmp_core::id::UnixTime;

use self::hook::Hook;
use self::mail::{Detail, Mail};
use super::Outcome;
use super::identity::upkeep;
use super::outbox::aside;
use crate::args::mail::RecvArgs;
use crate::context::{Context, Online};
use crate::exit::{Exit, Failure};
use crate::prompt::StandardInput;
use crate::report::Report;
use crate::terminal;
use crate::time::now;

/// Fetches and decrypts what waits for this user.
pub(crate) async fn recv(context: &Context, args: RecvArgs) -> Outcome {
    let online = context.go_online(StandardInput::Free).await?;
    let exit = if args.follow {
        follow::follow(context, online, &args).await?
    } else {
        let online = Arc::new(online);
        aside(context, &online);
        once(context, &online, &args).await?
    };
    Ok(Box::new(Told(exit)))
}

async fn once(context: &Context, online: &Online, args: &RecvArgs) -> Result<Exit, Failure> {
    let request = ReceiveRequest {
        phases: phases(args, online),
        work: "dnsmesh recv",
        ..ReceiveRequest::default()
    };
    let report = receive(&online.session(), &request).await?;
    let unread = hand_over(context, online, args, &report).await?;
    let mail = Mail {
        report: &report,
        messages: if args.exec.is_some() {
            &[]
        } else {
            &report.inbox
        },
        store: &online.store,
        detail: detail(args),
    };
    let exit = {
        let _undivided = terminal::undivided();
        context.format.print(&mail)
    };
    clear_away(&online.session(), &report).await?;
    upkeep(context, online).await?;
    Ok(if unread == 0 { exit } else { Exit::User })
}

/// Where the arguments and the configuration want to look.
fn phases(args: &RecvArgs, online: &Online) -> Phases {
    match (args.primary_only, args.skip_primary) {
        (true, _) => Phases::PrimaryOnly,
        (_, true) => Phases::SkipPrimary,
        _ if online.config.recv_secondary_disable => Phases::PrimaryOncePinned,
        _ => Phases::All,
    }
}

fn detail(args: &RecvArgs) -> Detail {
    if args.dropped {
        Detail::Everything
    } else {
        Detail::Messages
    }
}

/// Gives the messages to the command of `--exec`, if there is one, instead of printing them; says how many it did not take. Each one
/// that it took counts as shown at once.
async fn hand_over(
    context: &Context,
    online: &Online,
    args: &RecvArgs,
    report: &ReceiveReport,
) -> Result<usize, Failure> {
    let Some(command) = &args.exec else {
        return Ok(0);
    };
    let hook = Hook::new(command);
    let mut unread = 0;
    for message in &report.inbox {
        match hook.hand_over(&mail::json_of(message)).await {
            Ok(()) => online
                .store
                .mark_shown(&[message.number], UnixTime::new(now()))?,
            Err(reason) => {
                unread += 1;
                context.format.note(&format!(
                    "warning: the command did not take message {}: {reason}; it stays unread and is handed over again",
                    message.msg_id
                ));
            }
        }
    }
    Ok(unread)
}

impl From<ReceiveError> for Failure {
    fn from(error: ReceiveError) -> Self {
        Self::user(error.code(), error)
    }
}

/// Everything is printed already.
struct Told(Exit);

impl Report for Told {
    fn text(&self) -> String {
        String::new()
    }

    fn json(&self) -> String {
        String::new()
    }

    fn exit(&self) -> Exit {
        self.0
    }
}
