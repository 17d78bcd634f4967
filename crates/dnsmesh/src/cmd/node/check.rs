//! `node check` and `node health`: one line for everything that was looked at; status 1 if something does not work.

use dmp_node::check::{self, Finding, Grade, Online};
use dmp_node::config::Config;

use super::ctl::Target;
use crate::args::{NodeCheckArgs, NodeHealthArgs};
use crate::exit::{Exit, Failure};
use crate::report::{Report, line};
use crate::terminal::{Paint, paint};

/// Reads the settings as the node would and grades them, and what the network shows of them if that is asked for.
pub(crate) async fn check(args: NodeCheckArgs) -> Checked {
    let config = match Config::of_process(&args.run.into()) {
        Ok(config) => config,
        Err(error) => {
            return Checked(vec![Finding::new(Grade::Fail, error.to_string())]);
        }
    };
    let mut findings = check::settings(&config);
    if args.online {
        let online = Online {
            resolvers: args.resolver,
            port: args.server_port,
        };
        findings.extend(check::delegation(&config, &online).await);
    }
    Checked(findings)
}

/// Asks the node of these settings whether it is well: for container engines and monitors, which have no HTTP client at hand.
pub(crate) async fn health(args: NodeHealthArgs) -> Result<Checked, Failure> {
    let node = Target::new(&args.settings.into())?;
    Ok(Checked(vec![
        check::running(node.database().to_owned()).await,
    ]))
}

/// Everything that was looked at.
pub(crate) struct Checked(pub(super) Vec<Finding>);

impl Report for Checked {
    fn text(&self) -> String {
        let lines = self.0.iter().map(|finding| {
            let grade = match finding.grade {
                Grade::Ok => paint(Paint::Good, "ok") + "  ",
                Grade::Warn => paint(Paint::Doubtful, "warn"),
                Grade::Fail => paint(Paint::Bad, "fail"),
            };
            let advice = finding.advice.map(|advice| format!("      {advice}\n"));
            format!("{grade}  {}\n{}", finding.text, advice.unwrap_or_default())
        });
        lines.collect()
    }

    fn json(&self) -> String {
        let lines = self.0.iter().map(|finding| line("dmp.finding/1", finding));
        lines.collect()
    }

    fn exit(&self) -> Exit {
        match check::verdict(&self.0) {
            Grade::Fail => Exit::User,
            Grade::Ok | Grade::Warn => Exit::Done,
        }
    }
}
