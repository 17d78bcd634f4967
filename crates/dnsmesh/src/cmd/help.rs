//! `help`, `completion` and `man`: what the program says about itself, from the definition of its command line and from the texts
//! shipped in it. No home, no network.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use clap::CommandFactory;
use clap_complete::Shell;
use serde::Serialize;

use super::Outcome;
use crate::args::Args;
use crate::exit::{Exit, Failure};
use crate::explain::{self, Explanation};
use crate::manual;
use crate::report::{Page, Report, line};
use crate::screen;

/// Columns of an explanation.
const WIDTH: usize = 78;

/// Explains a code, or prints the help of a verb.
pub(crate) fn help(words: &[String]) -> Outcome {
    let mut command = Args::command();
    command.build();
    match words {
        [word] if word == "codes" => return Ok(Box::new(Explained(explain::all().collect()))),
        [word] if command.find_subcommand(word).is_none() => {
            if let Some(explanation) = explain::find(&word.to_ascii_lowercase()) {
                return Ok(Box::new(Explained(vec![explanation])));
            }
        }
        _ => {}
    }
    let mut verb = &mut command;
    for word in words {
        verb = verb.find_subcommand_mut(word).ok_or_else(|| {
            let reason = format!(
                "no verb and no error code: {}",
                screen::line(&words.join(" "))
            );
            Failure::new(Exit::Remote, "help-unknown", reason)
                .hint("`dnsmesh --help` lists the verbs, `dnsmesh help codes` the codes")
        })?;
    }
    Ok(Box::new(Page::new(
        "help",
        verb.render_long_help().to_string(),
    )))
}

/// Completions for a shell, to be read by it.
pub(crate) fn completion(shell: Shell) -> Page {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Args::command(), "dnsmesh", &mut script);
    Page::new("completion", String::from_utf8_lossy(&script).into_owned())
}

/// The page of the program, or files of all pages.
pub(crate) fn man(dir: Option<&Path>) -> Outcome {
    let pages = manual::pages();
    let Some(dir) = dir else {
        let page = pages.into_iter().find(|page| page.name == "dnsmesh");
        let text = page.map(|page| page.roff).unwrap_or_default();
        return Ok(Box::new(Page::new("man", text)));
    };
    let mut files = Vec::new();
    for page in pages {
        let place = dir.join(format!("man{}", page.section));
        let file = place.join(format!("{}.{}", page.name, page.section));
        fs::create_dir_all(&place)
            .and_then(|()| fs::write(&file, page.roff))
            .map_err(|error| Failure::user("man-file", format!("{}: {error}", file.display())))?;
        files.push(file);
    }
    Ok(Box::new(Written(files)))
}

struct Explained(Vec<Explanation>);

impl Report for Explained {
    fn text(&self) -> String {
        let [explanation] = self.0.as_slice() else {
            let rows = self.0.iter();
            return rows.map(|row| row.codes.join(", ") + "\n").collect();
        };
        let mut text = explanation.codes.join(", ") + "\n";
        for (begin, part) in [
            ("", explanation.what),
            ("Not harmed: ", explanation.not_harmed),
            ("What to do: ", explanation.remedy),
        ] {
            let _ = write!(text, "\n{}", wrapped(&format!("{begin}{part}")));
        }
        text
    }

    fn json(&self) -> String {
        let lines = self.0.iter();
        lines.map(|row| line("dmp.explanation/1", row)).collect()
    }
}

/// The text in lines of at most [`WIDTH`] characters, as far as its words let themselves be parted.
fn wrapped(text: &str) -> String {
    let mut lines = String::new();
    let mut column = 0;
    for word in text.split(' ') {
        let length = word.chars().count();
        if column > 0 && column + 1 + length > WIDTH {
            lines.push('\n');
            column = 0;
        } else if column > 0 {
            lines.push(' ');
            column += 1;
        }
        lines.push_str(word);
        column += length;
    }
    lines + "\n"
}

struct Written(Vec<PathBuf>);

impl Report for Written {
    fn text(&self) -> String {
        let files = self.0.iter();
        files.map(|file| format!("{}\n", file.display())).collect()
    }

    fn json(&self) -> String {
        #[derive(Serialize)]
        struct Members<'a> {
            path: &'a Path,
        }
        let files = self.0.iter();
        files
            .map(|path| line("dmp.man-page/1", &Members { path }))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::wrapped;

    #[test]
    fn lines_are_parted_between_words() {
        let text = wrapped(&"word ".repeat(20));
        assert!(
            text.lines()
                .all(|line| line.len() <= 78 && !line.starts_with(' '))
        );
        assert_eq!(text.split_whitespace().count(), 20);
    }
}
