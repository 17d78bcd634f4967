//! What a verb has to say, printed as text or as JSON (cli.md 1.3). Each verb returns one report; nothing else prints.

use std::borrow::Cow;
use std::io::{self, Write};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::Serialize;
use zeroize::Zeroizing;

use crate::exit::{Exit, Failure};
use crate::{screen, terminal};

/// The outcome of one verb.
pub(crate) trait Report {
    /// The lines for standard output, each ended by a line feed.
    fn text(&self) -> String;

    /// The same as JSON: [`document`] or [`line`]s.
    fn json(&self) -> String;

    /// Warnings and advice for standard error, one line each.
    fn notes(&self) -> Vec<String> {
        Vec::new()
    }

    /// Called once everything is on standard output; not if its reader has gone away.
    fn printed(&self) -> Result<(), Failure> {
        Ok(())
    }

    /// How the process ends.
    fn exit(&self) -> Exit {
        Exit::Done
    }
}

/// How a verb prints.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// Lines for people.
    Text,
    /// JSON for programs.
    Json,
}

impl Format {
    /// Prints notes, then the result. A reader who has gone away is no error of ours.
    pub(crate) fn print(self, report: &dyn Report) -> Exit {
        for note in report.notes() {
            self.note(&note);
        }
        // It may hold a secret that is shown this once.
        let text = Zeroizing::new(match self {
            Self::Text => shown(report.text()),
            Self::Json => report.json(),
        });
        match terminal::alone(|| write_whole(text.as_bytes())) {
            Ok(()) => match report.printed() {
                Ok(()) => report.exit(),
                Err(failure) => self.fail(&failure),
            },
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => report.exit(),
            Err(error) => self.fail(&Failure::user(
                "output",
                format!("standard output: {error}"),
            )),
        }
    }

    /// Prints a part of the result at once, for verbs that go on; `false` if its reader has gone away.
    pub(crate) fn put(self, text: &str) -> Result<bool, Failure> {
        let text = match self {
            Self::Text => shown(text.to_owned()),
            Self::Json => text.to_owned(),
        };
        match terminal::alone(|| write_whole(text.as_bytes())) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
            Err(error) => Err(Failure::user("output", format!("standard output: {error}"))),
        }
    }

    /// Prints a failure on standard error: one line that begins with the program's name and ends with the code, then the hints.
    pub(crate) fn fail(self, failure: &Failure) -> Exit {
        let Failure {
            exit,
            code,
            reason,
            hints,
        } = failure;
        match self {
            Self::Text => {
                say(&format!("dnsmesh: {} [{code}]", screen::line(reason)));
                for hint in hints {
                    say(&format!("  {}", screen::line(hint)));
                }
            }
            Self::Json => {
                #[derive(Serialize)]
                struct Members<'a> {
                    code: &'a str,
                    reason: &'a str,
                    hints: &'a [String],
                    exit: u8,
                }
                say(line(
                    "dmp.error/1",
                    &Members {
                        code,
                        reason,
                        hints,
                        exit: exit.status(),
                    },
                )
                .trim_end());
            }
        }
        *exit
    }

    /// Prints a warning or advice on standard error. A user who wants it quiet gets warnings only.
    pub(crate) fn note(self, text: &str) {
        let is_grave = ["warning:", "dnsmesh:"]
            .iter()
            .any(|word| text.starts_with(word));
        if !is_grave && !terminal::shows_notes() {
            return;
        }
        match self {
            Self::Text => say(&screen::line(text)),
            Self::Json => {
                #[derive(Serialize)]
                struct Members<'a> {
                    text: &'a str,
                }
                say(line("dmp.note/1", &Members { text }).trim_end());
            }
        }
    }
}

/// One indented object: the verbs whose JSON the reference defines. Its members come in the order of the type's fields, and the name and
/// version of the schema last, where the reference has none.
pub(crate) fn document(schema: &str, value: &impl Serialize) -> String {
    indented(&Document { value, schema })
}

/// The same as an array of such objects.
pub(crate) fn documents<T: Serialize>(schema: &str, rows: &[T]) -> String {
    let rows: Vec<_> = rows
        .iter()
        .map(|value| Document { value, schema })
        .collect();
    indented(&rows)
}

#[derive(Serialize)]
struct Document<'a, T> {
    #[serde(flatten)]
    value: &'a T,
    schema: &'a str,
}

fn indented(value: &impl Serialize) -> String {
    let text = serde_json::to_string_pretty(value).unwrap_or_default();
    visible(&text) + "\n"
}

/// One object on one line, with the name and version of its schema first: all other verbs.
pub(crate) fn line(schema: &str, value: &impl Serialize) -> String {
    #[derive(Serialize)]
    struct Line<'a, T> {
        schema: &'a str,
        #[serde(flatten)]
        value: &'a T,
    }
    let text = serde_json::to_string(&Line { schema, value }).unwrap_or_default();
    visible(&text) + "\n"
}

/// A text in a form of its own, such as a file for another program: printed as it is, in JSON as one object.
pub(crate) struct Page {
    what: &'static str,
    text: String,
}

impl Page {
    /// A text and what it is, in one word for programs.
    pub(crate) fn new(what: &'static str, text: String) -> Self {
        Self { what, text }
    }
}

impl Report for Page {
    fn text(&self) -> String {
        self.text.clone()
    }

    fn json(&self) -> String {
        #[derive(Serialize)]
        struct Members<'a> {
            what: &'a str,
            text: &'a str,
        }
        let Self { what, text } = self;
        line("dmp.page/1", &Members { what, text })
    }
}

/// A message body as a member of an object: text as `body`, anything else as `body_b64`.
#[derive(Serialize)]
pub(crate) enum Body<'a> {
    /// UTF-8.
    #[serde(rename = "body")]
    Text(&'a str),
    /// Other bytes, in base64.
    #[serde(rename = "body_b64")]
    Bytes(String),
}

impl<'a> Body<'a> {
    /// The form that the bytes allow.
    pub(crate) fn of(bytes: &'a [u8]) -> Self {
        std::str::from_utf8(bytes)
            .map_or_else(|_| Self::Bytes(BASE64_STANDARD.encode(bytes)), Self::Text)
    }
}

/// Escapes the characters that JSON leaves alone but a terminal obeys or does not show. They can stand in strings only.
fn visible(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
    for character in json.chars() {
        if screen::is_escaped_in_json(character) {
            for unit in character.encode_utf16(&mut [0; 2]) {
                text.push_str(&format!("\\u{unit:04x}"));
            }
        } else {
            text.push(character);
        }
    }
    text
}

/// A text as it goes to the terminal. Each verb has made visible what is not its own; this sees to what one forgot.
fn shown(text: String) -> String {
    let text = match screen::page(&text) {
        Cow::Borrowed(_) => text,
        Cow::Owned(shown) => shown,
    };
    terminal::painted(text, terminal::colors_stdout())
}

fn write_whole(bytes: &[u8]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(bytes)?;
    out.flush()
}

/// One line on standard error; if nobody can read it there is nobody to tell.
fn say(line: &str) {
    let _ = terminal::alone(|| writeln!(io::stderr().lock(), "{line}"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_text_or_base64() {
        #[derive(Serialize)]
        struct Message<'a> {
            #[serde(flatten)]
            body: Body<'a>,
        }
        assert_eq!(
            line(
                "m/1",
                &Message {
                    body: Body::of(b"hi")
                }
            ),
            "{\"schema\":\"m/1\",\"body\":\"hi\"}\n"
        );
        assert_eq!(
            line(
                "m/1",
                &Message {
                    body: Body::of(&[0xff])
                }
            ),
            "{\"schema\":\"m/1\",\"body_b64\":\"/w==\"}\n"
        );
    }

    #[test]
    fn json_keeps_the_order_of_members_and_hides_control_characters() {
        #[derive(Serialize)]
        struct Sample {
            zone: &'static str,
            name: &'static str,
        }
        let sample = Sample {
            zone: "z",
            name: "a\u{9b}\u{1b}\u{7f}ü",
        };
        assert_eq!(
            document("sample/1", &sample),
            "{\n  \"zone\": \"z\",\n  \"name\": \"a\\u009b\\u001b\\u007fü\",\n  \"schema\": \"sample/1\"\n}\n"
        );
        assert_eq!(
            line("sample/1", &sample),
            "{\"schema\":\"sample/1\",\"zone\":\"z\",\"name\":\"a\\u009b\\u001b\\u007fü\"}\n"
        );
    }
}
