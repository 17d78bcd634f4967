//! `setup`: from nothing to an address that works (product.md 5.1). Each step looks first whether it is done, so running it again
//! repairs what is missing and does nothing else.
//!
//! It is made of what the other verbs are made of: `init`, `register`, `identity publish`, `identity refresh-prekeys`.

mod cluster;
mod home;
mod node;
mod records;

use serde::Serialize;

use super::Outcome;
use crate::args::setup::SetupArgs;
use crate::context::Context;
use crate::exit::Failure;
use crate::report::{Report, line};
use crate::screen;
use crate::terminal::{Paint, paint};

/// Does what is missing, and tests the outcome.
pub(crate) async fn setup(context: &Context, args: SetupArgs) -> Outcome {
    let mut progress = Progress {
        context,
        changed: Vec::new(),
    };
    let config = progress.step(Step::Configuration, home::configuration(context, &args))?;
    let unlocked = progress.step(Step::Passphrase, home::passphrase(context, &args, config))?;
    let config = unlocked.config.clone();
    let moved = cluster::cluster(context, &args, &config).await;
    let config = match moved.transpose() {
        Some(moved) => progress.step(Step::Cluster, moved)?,
        None => config,
    };
    let config = if config.cluster_active() {
        let manifest = progress.step(Step::Node, cluster::nodes(context, &config).await)?;
        let registered =
            cluster::credentials(context, &config, &manifest, &unlocked.identity).await;
        progress.step(Step::Credential, registered)?;
        config
    } else {
        let config = progress.step(Step::Node, node::node(context, &args, config).await)?;
        let registered = node::credential(context, &args, &config, &unlocked.identity).await;
        progress.step(Step::Credential, registered)?
    };
    let fresh = progress.changed.contains(&Step::Credential.name());
    let online = context.online(config, unlocked.identity).await?;
    let published = records::identity(context, &online, &args, fresh).await;
    progress.step(Step::Identity, published)?;
    progress.step(Step::Prekeys, records::prekeys(&online, fresh).await)?;
    context.format.print(&Shown {
        step: Step::SelfTest,
        state: State::Waiting,
        changed: false,
        detail: "a message to yourself goes out and has to come back through the resolvers"
            .to_owned(),
    });
    progress.step(Step::SelfTest, records::self_test(&online).await)?;
    let config = &online.config;
    let zone = records::zone_of(&online);
    let address = format!("{}@{zone}", config.username);
    if config.cluster_active() && !zone.as_str().eq_ignore_ascii_case(&config.domain) {
        context.format.note(&format!(
            "note: your address is {address}: {} only says which cluster serves it, and your records lie in that cluster's zone",
            config.domain
        ));
    }
    Ok(Box::new(Ready {
        address,
        signing_public_key: online.identity.signing_public().to_string(),
        changed: progress.changed,
    }))
}

/// What a step came to: its outcome, what to say about it, whether it changed anything.
pub(super) struct Done<T> {
    pub(super) value: T,
    pub(super) detail: String,
    pub(super) changed: bool,
}

impl<T> Done<T> {
    /// There was nothing to do.
    pub(super) fn already(value: T, detail: impl Into<String>) -> Result<Self, Failure> {
        Ok(Self {
            value,
            detail: detail.into(),
            changed: false,
        })
    }

    /// It was done now.
    pub(super) fn now(value: T, detail: impl Into<String>) -> Result<Self, Failure> {
        Ok(Self {
            changed: true,
            ..Self::already(value, detail)?
        })
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Configuration,
    Passphrase,
    Cluster,
    Node,
    Credential,
    Identity,
    Prekeys,
    SelfTest,
}

impl Step {
    const fn name(self) -> &'static str {
        match self {
            Self::Configuration => "configuration",
            Self::Passphrase => "passphrase",
            Self::Cluster => "cluster",
            Self::Node => "node",
            Self::Credential => "credential",
            Self::Identity => "identity",
            Self::Prekeys => "prekeys",
            Self::SelfTest => "self-test",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum State {
    Done,
    Waiting,
    Failed,
}

/// Prints each step when it ends.
struct Progress<'a> {
    context: &'a Context,
    changed: Vec<&'static str>,
}

impl Progress<'_> {
    fn step<T>(&mut self, step: Step, outcome: Result<Done<T>, Failure>) -> Result<T, Failure> {
        let show = |state, changed, detail| {
            self.context.format.print(&Shown {
                step,
                state,
                changed,
                detail,
            })
        };
        match outcome {
            Ok(done) => {
                show(State::Done, done.changed, done.detail);
                if done.changed {
                    self.changed.push(step.name());
                }
                Ok(done.value)
            }
            Err(failure) => {
                show(State::Failed, false, failure.reason.clone());
                Err(failure.hint("what is done stays done; run `dnsmesh setup` again to go on"))
            }
        }
    }
}

/// One step as it stands.
struct Shown {
    step: Step,
    state: State,
    changed: bool,
    detail: String,
}

impl Report for Shown {
    fn text(&self) -> String {
        let (state, colour) = match (self.state, self.changed) {
            (State::Done, true) => ("done now", Paint::Good),
            (State::Done, false) => ("done", Paint::Good),
            (State::Waiting, _) => ("waiting", Paint::Doubtful),
            (State::Failed, _) => ("failed", Paint::Bad),
        };
        format!(
            "{} {:<14} {}\n",
            paint(colour, &format!("{state:<9}")),
            self.step.name(),
            screen::line(&self.detail)
        )
    }

    fn json(&self) -> String {
        #[derive(Serialize)]
        struct Members<'a> {
            step: &'a str,
            state: State,
            changed: bool,
            detail: &'a str,
        }
        line(
            "dmp.setup-step/1",
            &Members {
                step: self.step.name(),
                state: self.state,
                changed: self.changed,
                detail: &self.detail,
            },
        )
    }
}

struct Ready {
    address: String,
    signing_public_key: String,
    changed: Vec<&'static str>,
}

impl Report for Ready {
    fn text(&self) -> String {
        format!(
            "\n{} works. Others add you with: dnsmesh identity fetch {} --add\n",
            self.address, self.address
        )
    }

    fn json(&self) -> String {
        #[derive(Serialize)]
        struct Members<'a> {
            address: &'a str,
            signing_public_key: &'a str,
            changed: &'a [&'static str],
        }
        line(
            "dmp.setup/1",
            &Members {
                address: &self.address,
                signing_public_key: &self.signing_public_key,
                changed: &self.changed,
            },
        )
    }
}
