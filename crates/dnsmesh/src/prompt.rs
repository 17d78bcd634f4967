//! Asking: for a passphrase on the terminal without echo, else one line of standard input (cli.md 2); for anything else on standard
//! input, with the question on standard error.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Write};
use std::sync::Mutex;

use rustix::termios::{self, LocalModes, OptionalActions, Termios};
use zeroize::Zeroizing;

use crate::exit::Failure;
use crate::terminal;

/// What standard input is for in this command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StandardInput {
    /// Nothing: a passphrase may be read from it where there is no terminal.
    Free,
    /// It carries the message.
    Message,
}

/// The terminal as it was before echo was switched off, so that an interrupt can restore it.
static SILENCED: Mutex<Option<(File, Termios)>> = Mutex::new(None);

/// Asks for a secret.
pub(crate) fn secret(question: &str, input: StandardInput) -> io::Result<Zeroizing<String>> {
    may_ask()?;
    terminal::alone(
        || match OpenOptions::new().read(true).write(true).open("/dev/tty") {
            Ok(terminal) => ask(terminal, question),
            Err(_) if input == StandardInput::Free => read_line(io::stdin().lock()),
            Err(_) => Err(io::Error::other("there is no terminal to ask on")),
        },
    )
}

/// Asks for something that is no secret. Blanks around the answer do not count.
pub(crate) fn line(question: &str) -> io::Result<String> {
    may_ask()?;
    terminal::alone(|| {
        let mut terminal = io::stderr().lock();
        terminal.write_all(question.as_bytes())?;
        terminal.flush()?;
        Ok(read_line(io::stdin().lock())?.trim().to_owned())
    })
}

fn may_ask() -> io::Result<()> {
    match terminal::may_ask() {
        true => Ok(()),
        false => Err(io::Error::other("--no-input forbids to ask")),
    }
}

/// Asks a question that only `y` or `yes` answers in favour (cli.md 3.2).
///
/// # Errors
/// The failure of a verb that may not go on: declined, or nobody there to ask.
pub(crate) fn agreed(question: &str) -> Result<(), Failure> {
    let answer = line(question).map_err(|error| {
        Failure::user("prompt", format!("cannot ask: {error}")).hint("--yes does not ask")
    })?;
    if matches!(answer.to_ascii_lowercase().as_str(), "y" | "yes") {
        Ok(())
    } else {
        Err(Failure::user("aborted", "aborted."))
    }
}

/// Switches echo on again if a prompt had switched it off.
pub(crate) fn restore_terminal() {
    if let Some((terminal, before)) = SILENCED
        .lock()
        .ok()
        .and_then(|mut silenced| silenced.take())
    {
        // The process is about to end: a terminal that is gone needs no restoring.
        let _ = termios::tcsetattr(&terminal, OptionalActions::Flush, &before);
    }
}

fn ask(mut terminal: File, question: &str) -> io::Result<Zeroizing<String>> {
    let before = termios::tcgetattr(&terminal)?;
    let mut silent = before.clone();
    silent.local_modes.remove(LocalModes::ECHO);
    silent.local_modes.insert(LocalModes::ECHONL);
    *SILENCED
        .lock()
        .map_err(|_| io::Error::other("another prompt failed"))? =
        Some((terminal.try_clone()?, before));
    let answer = termios::tcsetattr(&terminal, OptionalActions::Flush, &silent)
        .map_err(io::Error::from)
        .and_then(|()| write!(terminal, "{question}"))
        .and_then(|()| read_line(BufReader::new(&terminal)));
    restore_terminal();
    answer
}

fn read_line(mut input: impl BufRead) -> io::Result<Zeroizing<String>> {
    let mut line = Zeroizing::new(String::new());
    if input.read_line(&mut line)? == 0 {
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "end of input"));
    }
    let length = line.trim_end_matches(['\r', '\n']).len();
    line.truncate(length);
    Ok(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_is_read_without_its_end_and_blanks_are_kept() {
        assert_eq!(
            *read_line(&b" pass phrase \r\nmore"[..]).unwrap(),
            " pass phrase "
        );
        assert_eq!(
            read_line(&b""[..]).unwrap_err().kind(),
            io::ErrorKind::UnexpectedEof
        );
    }
}
