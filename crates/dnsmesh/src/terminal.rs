//! How the program behaves towards the people in front of it: colours, notes, questions, and a line of progress.
//!
//! What the command line asks for holds for the whole process, since there is one terminal. Nothing here knows what is printed.

use std::env;
use std::ffi::OsStr;
use std::io::{self, IsTerminal, Write};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError, TryLockError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use dmp_client::mesh::{Counted, Watcher};

use crate::args::When;

/// Work that ends sooner shows no progress at all.
const PATIENCE: Duration = Duration::from_millis(400);
/// Between two pictures of the progress.
const TICK: Duration = Duration::from_millis(120);
/// Between two looks whether work that must not be divided is done.
const UNDIVIDED_POLL: Duration = Duration::from_millis(2);
/// The pictures, one after the other.
const PICTURES: [char; 4] = ['|', '/', '-', '\\'];
/// Erases the line that the cursor is in (ECMA-48).
const ERASE: &str = "\r\u{1b}[K";

/// What the command line says about it.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Manners {
    /// No notes.
    pub(crate) quiet: bool,
    /// No questions.
    pub(crate) no_input: bool,
    /// When colours are used.
    pub(crate) color: When,
    /// JSON for programs: no progress.
    pub(crate) json: bool,
}

static MANNERS: OnceLock<Manners> = OnceLock::new();

/// Takes what the command line says; the first call holds.
pub(crate) fn configure(manners: Manners) {
    let _ = MANNERS.set(manners);
}

fn manners() -> Manners {
    MANNERS.get().copied().unwrap_or_default()
}

/// Whether notes are wanted.
pub(crate) fn shows_notes() -> bool {
    !manners().quiet
}

/// Whether anybody may be asked anything.
pub(crate) fn may_ask() -> bool {
    !manners().no_input
}

/// Whether standard output takes colours.
pub(crate) fn colors_stdout() -> bool {
    let variable = |name: &str| env::var_os(name).filter(|value| !value.is_empty());
    takes_colors(
        manners().color,
        io::stdout().is_terminal(),
        variable("NO_COLOR").is_some(),
        variable("CLICOLOR_FORCE").is_some_and(|value| value != "0"),
        variable("TERM").as_deref(),
    )
}

/// The flag wins over the variables, those over what standard output is; NO_COLOR wins over CLICOLOR_FORCE.
fn takes_colors(
    color: When,
    is_terminal: bool,
    is_forbidden: bool,
    is_forced: bool,
    term: Option<&OsStr>,
) -> bool {
    match color {
        When::Always => true,
        When::Never => false,
        When::Auto if is_forbidden => false,
        When::Auto if is_forced => true,
        When::Auto => is_terminal && term.is_some_and(|term| term != "dumb"),
    }
}

/// What is emphasised.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Paint {
    /// As it should be: green.
    Good,
    /// Worth a look: yellow.
    Doubtful,
    /// Wrong: red.
    Bad,
}

/// Noncharacters that stand for a beginning of each paint and for its end until the text is printed. Text of others that holds them
/// could change colours and nothing else.
const MARKS: [(char, &str); 4] = [
    ('\u{fdd0}', "\u{1b}[0m"),
    ('\u{fdd1}', "\u{1b}[32m"),
    ('\u{fdd2}', "\u{1b}[33m"),
    ('\u{fdd3}', "\u{1b}[31m"),
];

/// The text in that paint, if what prints it takes colours ([`painted`]).
pub(crate) fn paint(paint: Paint, text: &str) -> String {
    let begin = match paint {
        Paint::Good => '\u{fdd1}',
        Paint::Doubtful => '\u{fdd2}',
        Paint::Bad => '\u{fdd3}',
    };
    format!("{begin}{text}\u{fdd0}")
}

/// Puts real colours where [`paint`] left its marks, or takes the marks out.
pub(crate) fn painted(text: String, with_colors: bool) -> String {
    let is_mark = |character: char| MARKS.iter().any(|(mark, _)| *mark == character);
    if !text.contains(is_mark) {
        return text;
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        match MARKS.iter().find(|(mark, _)| *mark == character) {
            Some((_, escape)) if with_colors => shown.push_str(escape),
            Some(_) => {}
            None => shown.push(character),
        }
    }
    shown
}

/// How far the work of the verb has come; the last count of any kind.
static COUNT: Mutex<Option<(Counted, usize, usize)>> = Mutex::new(None);

/// Shows in the line of progress what is counted. Costs next to nothing while there is no such line.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Counter;

impl Watcher for Counter {
    fn count(&self, what: Counted, done: usize, of: usize) {
        *COUNT.lock().unwrap_or_else(PoisonError::into_inner) = Some((what, done, of));
    }
}

/// ` 3 of 7 values stored`, or nothing while nothing was counted.
fn counted() -> String {
    let count = *COUNT.lock().unwrap_or_else(PoisonError::into_inner);
    let Some((what, done, of)) = count else {
        return String::new();
    };
    let words = match what {
        Counted::Stored => "values stored",
        Counted::Searched => "zones searched",
        Counted::Fetched => "pieces of messages fetched",
    };
    format!(": {done} of {of} {words}")
}

/// What the line of progress shows now; `None` while there is none on the screen.
static SHOWN: Mutex<bool> = Mutex::new(false);

fn screen() -> MutexGuard<'static, bool> {
    SHOWN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Does something that needs the screen for itself: the progress is taken away before, and comes back only afterwards.
pub(crate) fn alone<T>(work: impl FnOnce() -> T) -> T {
    let mut shown = screen();
    erase(&mut shown);
    work()
}

/// Held by [`undivided`] work.
static UNDIVIDED: Mutex<()> = Mutex::new(());

/// What is done while this is held is not divided by an interrupt: printing a message and noting that it was shown.
pub(crate) fn undivided() -> MutexGuard<'static, ()> {
    UNDIVIDED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Waits until nobody does [`undivided`] work, but no longer than that.
pub(crate) fn await_undivided(patience: Duration) {
    let end = Instant::now() + patience;
    while matches!(UNDIVIDED.try_lock(), Err(TryLockError::WouldBlock)) && Instant::now() < end {
        thread::sleep(UNDIVIDED_POLL);
    }
}

/// Takes the progress away because the process ends here. Somebody who is being asked keeps the screen.
pub(crate) fn leave() {
    if let Ok(mut shown) = SHOWN.try_lock() {
        erase(&mut shown);
    }
}

fn erase(shown: &mut bool) {
    if std::mem::take(shown) {
        let _ = write!(io::stderr().lock(), "{ERASE}");
    }
}

/// A line on standard error that says what takes so long, while it does. There is none unless standard error is a terminal.
pub(crate) struct Progress(Option<(Sender<()>, JoinHandle<()>)>);

impl Progress {
    /// Begins to show it, after a moment of patience.
    pub(crate) fn begin(what: &'static str) -> Self {
        let Manners { quiet, json, .. } = manners();
        let is_dumb = env::var_os("TERM").is_none_or(|term| term.is_empty() || term == "dumb");
        if quiet || json || is_dumb || !io::stderr().is_terminal() {
            return Self(None);
        }
        let (end, ends) = mpsc::channel();
        let thread = thread::spawn(move || {
            let begin = Instant::now();
            let mut wait = PATIENCE;
            let mut pictures = PICTURES.iter().cycle();
            while ends.recv_timeout(wait) == Err(RecvTimeoutError::Timeout) {
                let mut shown = screen();
                let picture = pictures.next().unwrap_or(&' ');
                let seconds = begin.elapsed().as_secs();
                let counted = counted();
                let _ = write!(
                    io::stderr().lock(),
                    "{ERASE}{picture} {what} {seconds} s{counted}"
                );
                *shown = true;
                wait = TICK;
            }
        });
        Self(Some((end, thread)))
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some((end, thread)) = self.0.take() {
            drop(end);
            let _ = thread.join();
            erase(&mut screen());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_flag_wins_over_variables_and_those_over_the_terminal() {
        let term = Some(OsStr::new("xterm"));
        let takes = |color, terminal, forbidden, forced| {
            takes_colors(color, terminal, forbidden, forced, term)
        };
        assert!(takes(When::Auto, true, false, false));
        assert!(!takes(When::Auto, false, false, false));
        assert!(!takes(When::Auto, true, true, true));
        assert!(takes(When::Auto, false, false, true));
        assert!(takes(When::Always, false, true, false));
        assert!(!takes(When::Never, true, false, true));
        for dumb in [None, Some(OsStr::new("dumb"))] {
            assert!(!takes_colors(When::Auto, true, false, false, dumb));
            assert!(takes_colors(When::Auto, true, false, true, dumb));
        }
    }

    #[test]
    fn paint_is_an_escape_sequence_or_nothing() {
        let text = format!(
            "{} {}",
            paint(Paint::Bad, "FAIL"),
            paint(Paint::Good, "PASS")
        );
        assert_eq!(painted(text.clone(), false), "FAIL PASS");
        assert_eq!(
            painted(text, true),
            "\u{1b}[31mFAIL\u{1b}[0m \u{1b}[32mPASS\u{1b}[0m"
        );
    }
}
