//! One binary: the node and the user's tool. This file only joins arguments, the verb and the process status.
#![forbid(unsafe_code)]

mod args;
mod beside;
mod cmd;
mod context;
mod demo;
mod exit;
mod explain;
mod logging;
mod manual;
mod prompt;
mod qr;
mod report;
mod screen;
mod terminal;
mod time;

use std::process::ExitCode;

use crate::exit::{Exit, Failure};
use crate::report::Format;

/// The allocator of musl takes one lock for all threads: with it an UPDATE costs a third more of the processor's time.
#[cfg(target_env = "musl")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().collect();
    let wants_json = arguments.iter().any(|argument| argument == "--json");
    match args::Args::parse_from_process(arguments) {
        Ok(args) => ExitCode::from(cmd::run(args).status()),
        Err(usage) if wants_json && usage.use_stderr() => {
            let text = usage.to_string();
            let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
            let reason = lines.next().unwrap_or_default();
            let reason = reason.trim_start_matches("error: ");
            let mut failure = Failure::new(Exit::Remote, "usage", reason);
            failure.hints = lines.map(str::to_owned).collect();
            ExitCode::from(Format::Json.fail(&failure).status())
        }
        Err(usage) => {
            // Help goes to standard output, a usage error to standard error; a closed stream changes neither's status.
            let _ = usage.print();
            ExitCode::from(u8::try_from(usage.exit_code()).unwrap_or(2))
        }
    }
}
