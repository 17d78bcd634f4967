//! One binary: the node and the user's tool. This file only joins arguments, the verb and the process status.
#![forbid(unsafe_code)]

mod args;
mod cmd;
mod context;
mod demo;
mod exit;
mod logging;
mod prompt;
mod qr;
mod report;
mod screen;
mod time;

use std::process::ExitCode;

/// The allocator of musl takes one lock for all threads: with it an UPDATE costs a third more of the processor's time.
#[cfg(target_env = "musl")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    match args::Args::parse_from_process(std::env::args_os().collect()) {
        Ok(args) => ExitCode::from(cmd::run(args).status()),
        Err(usage) => {
            // Help goes to standard output, a usage error to standard error; a closed stream changes neither's status.
            let _ = usage.print();
            ExitCode::from(u8::try_from(usage.exit_code()).unwrap_or(2))
        }
    }
}
