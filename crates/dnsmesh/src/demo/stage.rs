//! The screen of the demo: titles, aligned pairs, and what went over the wire.

use std::io::{self, Write as _};
use std::time::Duration;

use super::witness::{Change, Seen};

/// Columns of the left side of a pair: `alice → bob`.
const LABEL: usize = 11;
/// Columns of an owner name in the demo's zone.
const OWNER: usize = 36;

/// Standard output, line by line. A reader who has gone away ends nothing: the demo tidies up after itself.
#[derive(Debug, Default)]
pub(super) struct Stage {
    is_deserted: bool,
}

impl Stage {
    /// A line from the left edge.
    pub(super) fn plain(&mut self, text: &str) {
        if !self.is_deserted {
            self.is_deserted = writeln!(io::stdout(), "{text}").is_err();
        }
    }

    /// The beginning of a scene.
    pub(super) fn title(&mut self, text: &str) {
        self.plain("");
        self.plain(text);
    }

    /// An indented line.
    pub(super) fn line(&mut self, text: &str) {
        self.plain(&format!("  {text}"));
    }

    /// A label and what belongs to it.
    pub(super) fn pair(&mut self, label: &str, text: &str) {
        self.line(&format!("{label:<LABEL$}  {text}"));
    }

    /// A text that somebody writes.
    pub(super) fn quote(&mut self, text: &str) {
        self.pair("text", &format!("“{text}” ({} bytes)", text.len()));
    }

    /// Everything a person did on the network since the last time.
    pub(super) fn writes(&mut self, who: &str, seen: &Seen) {
        if seen.queries > 0 {
            self.pair(who, &format!("asks {}", questions(seen)));
        }
        for write in &seen.writes {
            let messages = count(write.messages, "message");
            self.pair(
                who,
                &format!(
                    "signed DNS UPDATE, {messages}, {} bytes, {}",
                    write.bytes,
                    time(write.took)
                ),
            );
            self.changes(&write.changes);
        }
        for claim in &seen.claims {
            let outcome = if claim.is_taken { "taken" } else { "not taken" };
            self.pair(
                who,
                &format!(
                    "unsigned DNS UPDATE to the recipient's zone, {outcome}, {}",
                    time(claim.took)
                ),
            );
            self.changes(std::slice::from_ref(&claim.change));
        }
    }

    /// Changes, neighbours at one name together.
    fn changes(&mut self, changes: &[Change]) {
        for same in changes
            .chunk_by(|one, other| one.owner == other.owner && one.is_removal == other.is_removal)
        {
            let owner = same.first().map_or("", |change| change.owner.as_str());
            let (sign, meaning) = if same.iter().any(|change| change.is_removal) {
                ('-', "used up")
            } else {
                ('+', meaning(owner))
            };
            let bytes: usize = same.iter().map(|change| change.bytes).sum();
            let records = count(same.len(), "record");
            self.plain(&format!(
                "      {sign} {owner:<OWNER$} {records:<9} {bytes:>5} bytes  {meaning}"
            ));
        }
    }
}

/// `12 questions, 3 ms`.
pub(super) fn questions(seen: &Seen) -> String {
    format!("{}, {}", count(seen.queries, "question"), time(seen.asking))
}

/// `1 record`, `2 records`.
fn count(number: usize, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}

/// Milliseconds, with a decimal below ten.
pub(super) fn time(took: Duration) -> String {
    let millis = took.as_secs_f64() * 1_000.0;
    if millis < 10.0 {
        format!("{millis:.1} ms")
    } else {
        format!("{millis:.0} ms")
    }
}

/// What lives at an owner name (records.md 4.2).
fn meaning(owner: &str) -> &'static str {
    match owner.split(['-', '.']).next() {
        Some("id") => "identity",
        Some("prekeys") => "one-time keys",
        Some("chunk") => "piece of the sealed text",
        Some("slot") => "manifest: to whom, which pieces",
        Some("claim") => "notice: where to look",
        _ => "",
    }
}
