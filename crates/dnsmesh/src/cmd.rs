//! The verbs, one file each: arguments in, one report or failure out (cli.md 3).

mod backup;
mod bootstrap;
mod cluster;
mod config;
mod contacts;
pub(crate) mod credential;
mod directory;
mod doctor;
mod help;
mod identity;
mod init;
mod intro;
pub(crate) mod node;
mod outbox;
mod peers;
mod recv;
mod register;
pub(crate) mod resolvers;
mod send;
mod setup;
mod signing;
mod successor;
mod token;
mod tsig;

use std::time::Duration;
use std::{io, thread};

use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{SignalKind, signal};

use crate::args::credentials::TsigCommand;
use crate::args::{Args, Command, UserCommand};
use crate::context::Context;
use crate::demo;
use crate::exit::{Exit, Failure};
use crate::report::{Format, Report};
use crate::terminal::{Manners, Progress};
use crate::{logging, prompt, terminal};

/// What a verb returns.
pub(crate) type Outcome = Result<Box<dyn Report>, Failure>;

/// Does what the command line asks and prints the outcome.
pub(crate) fn run(args: Args) -> Exit {
    let format = if args.json {
        Format::Json
    } else {
        Format::Text
    };
    terminal::configure(Manners {
        quiet: args.quiet,
        no_input: args.no_input,
        color: args.color,
        json: args.json,
    });
    let verbose = args.verbose;
    if let Command::User(_) = &args.command
        && let Err(failure) = end_on_interrupt()
    {
        return format.fail(&failure);
    }
    let runtime = match runtime_for(&args.command) {
        Ok(runtime) => runtime,
        Err(error) => {
            return format.fail(&Failure::user("runtime", format!("cannot start: {error}")));
        }
    };
    let done = runtime.block_on(async {
        match args.command {
            Command::Node(args) => node::perform(args, format).await,
            Command::Demo(args) => demo::run(args).await,
            Command::Help(args) => Ok(format.print(help::help(&args.words)?.as_ref())),
            Command::Completion { shell } => Ok(format.print(&help::completion(shell))),
            Command::Man { dir } => Ok(format.print(help::man(dir.as_deref())?.as_ref())),
            Command::User(command) => {
                let verbose = match &command {
                    UserCommand::Directory(args) => verbose.max(args.verbosity()),
                    _ => verbose,
                };
                logging::show_warnings(verbose, format);
                let context = Context::of_process(args.config_home, args.tokens_home, format)?;
                let progress = long_work(&command).map(Progress::begin);
                let outcome = perform(&context, command).await;
                drop(progress);
                let exit = match outcome {
                    Ok(report) => format.print(report.as_ref()),
                    Err(failure) => format.fail(&context.explain(failure)),
                };
                if let Some(note) = context.beside.finish().await {
                    format.note(&note);
                }
                context.note_failures().await;
                context.note_damage();
                context.remember_resolvers();
                Ok(exit)
            }
        }
    });
    runtime.shutdown_background();
    done.unwrap_or_else(|failure| format.fail(&failure))
}

/// A user's verb waits for the network most of the time: on one thread no answer has to wake another. A node has many clients.
fn runtime_for(command: &Command) -> io::Result<Runtime> {
    let mut builder = match command {
        Command::User(_) => Builder::new_current_thread(),
        _ => Builder::new_multi_thread(),
    };
    builder.enable_all().build()
}

/// How long an interrupt waits for the end of what belongs together.
const UNDIVIDED_MAX: Duration = Duration::from_secs(2);

/// From now on Ctrl-C ends the verb wherever it is, but for [`terminal::undivided`] work; every file is changed in one step, so nothing is
/// left half done. It has a thread of its own, since the verb's may wait for a passphrase.
fn end_on_interrupt() -> Result<(), Failure> {
    let failed = |error: io::Error| Failure::user("signals", error);
    let waiting = Builder::new_current_thread().enable_io().build();
    let waiting = waiting.map_err(failed)?;
    let mut interrupts = {
        let _inside = waiting.enter();
        signal(SignalKind::interrupt()).map_err(failed)?
    };
    let thread = thread::Builder::new().name("interrupt".to_owned());
    let thread = thread.spawn(move || {
        if waiting.block_on(interrupts.recv()).is_some() {
            // A reader who takes nothing more must not keep the process.
            terminal::await_undivided(UNDIVIDED_MAX);
            prompt::restore_terminal();
            terminal::leave();
            std::process::exit(i32::from(Exit::Interrupted.status()));
        }
    });
    thread.map(drop).map_err(failed)
}

/// What to say while a verb works that may take long.
fn long_work(command: &UserCommand) -> Option<&'static str> {
    match command {
        UserCommand::Send(_) => Some("sending"),
        UserCommand::Recv(args) if !args.follow && args.exec.is_none() => {
            Some("looking for messages")
        }
        UserCommand::Setup(_) => Some("setting up"),
        UserCommand::Identity(_) => Some("working on identities"),
        UserCommand::Resolvers(_) => Some("asking resolvers"),
        UserCommand::Bootstrap(_) => Some("looking for the cluster"),
        UserCommand::Directory(_) => Some("asking zones"),
        UserCommand::Cluster(_) => Some("asking the cluster"),
        UserCommand::Doctor(_) => Some("looking"),
        UserCommand::Register(_) | UserCommand::Tsig(_) => Some("registering"),
        _ => None,
    }
}

async fn perform(context: &Context, command: UserCommand) -> Outcome {
    match command {
        UserCommand::Setup(args) => setup::setup(context, args).await,
        UserCommand::Init(args) => init::init(context, args).await,
        UserCommand::Register(args) => register::token(context, args).await,
        UserCommand::Tsig(TsigCommand::Register {
            node,
            dns_server,
            dns_port,
        }) => register::tsig(context, node, dns_server, dns_port).await,
        UserCommand::Tsig(TsigCommand::Show { bind }) => tsig::show(context, bind),
        UserCommand::Tsig(TsigCommand::Forget) => tsig::forget(context),
        UserCommand::Token(command) => token::perform(context, command),
        UserCommand::Doctor(args) => doctor::doctor(context, args).await,
        UserCommand::Config(command) => config::perform(context, command),
        UserCommand::Backup(command) => backup::perform(context, command),
        UserCommand::Identity(command) => identity::perform(context, command).await,
        UserCommand::Contacts(command) => contacts::perform(context, command).await,
        UserCommand::Send(args) => send::send(context, args).await,
        UserCommand::Outbox(command) => outbox::perform(context, command).await,
        UserCommand::Recv(args) => recv::recv(context, args).await,
        UserCommand::Intro(command) => intro::perform(context, command),
        UserCommand::Resolvers(command) => resolvers::perform(context, command).await,
        UserCommand::Peers(args) => peers::peers(context, args).await,
        UserCommand::Directory(args) => directory::directory(context, args).await,
        UserCommand::Cluster(command) => cluster::perform(context, command).await,
        UserCommand::Bootstrap(command) => bootstrap::perform(context, command).await,
    }
}
