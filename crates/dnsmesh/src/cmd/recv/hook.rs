//! The command of `recv --exec`: one run for each message, which comes as JSON on its standard input, never in its arguments or its
//! environment. Decides nothing about the message.

use std::process::Stdio;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::process::Command;
use tokio::time::timeout;

/// How long the command may take for one message: enough to send a mail, short enough not to stop the mail for ever.
const DEADLINE: Duration = Duration::from_secs(60);

/// Variables that are nobody else's business.
const SECRETS: [&str; 2] = ["DMP_PASSPHRASE", "DMP_NEW_PASSPHRASE"];

/// A command of the user's.
pub(super) struct Hook<'a> {
    command: &'a str,
}

impl<'a> Hook<'a> {
    /// A line for the shell.
    pub(super) const fn new(command: &'a str) -> Self {
        Self { command }
    }

    /// Runs the command with a message; anything but success is the reason why it was not taken.
    pub(super) async fn hand_over(&self, message: &str) -> Result<(), String> {
        let mut command = Command::new("sh");
        command
            .arg("-c")
            .arg(self.command)
            .stdin(Stdio::piped())
            .kill_on_drop(true);
        for secret in SECRETS {
            command.env_remove(secret);
        }
        let mut child = command.spawn().map_err(|error| error.to_string())?;
        let input = child.stdin.take();
        let run = async {
            if let Some(mut input) = input {
                // A command may end without reading; its status says whether it took the message.
                let _ = input.write_all(message.as_bytes()).await;
            }
            child.wait().await
        };
        match timeout(DEADLINE, run).await {
            Ok(Ok(status)) if status.success() => Ok(()),
            Ok(Ok(status)) => Err(format!("it ended with {status}")),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err(format!("it took more than {} s", DEADLINE.as_secs())),
        }
    }
}
