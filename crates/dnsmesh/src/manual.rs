//! The manual pages: one for each verb from the definition of the command line, the file formats and the error codes from their pages of
//! the guide. Values only: nothing is written here.

use clap::{Command, CommandFactory};
use clap_mangen::Man;

use crate::args::Args;
use crate::explain;

/// Keys of `config.yaml`, the page `docs/guide/config.md`.
const CONFIGURATION: &str = include_str!("../text/config.md");

/// A manual page.
pub(crate) struct ManualPage {
    /// Its name, such as `dnsmesh-send`.
    pub(crate) name: String,
    /// The section: 1 for users, 5 for files, 7 for what is neither, 8 for operators.
    pub(crate) section: &'static str,
    /// The text.
    pub(crate) roff: String,
}

/// All pages.
pub(crate) fn pages() -> Vec<ManualPage> {
    let mut command = Args::command().disable_help_subcommand(true);
    command.build();
    let mut pages = Vec::new();
    of_command(&command, &mut pages);
    for (name, section, about, markdown) in [
        (
            "dnsmesh-config",
            "5",
            "the configuration of a user",
            CONFIGURATION,
        ),
        (
            "dnsmesh-node.toml",
            "5",
            "the settings of a node",
            &dmp_node::config::reference(),
        ),
        (
            "dnsmesh-errors",
            "7",
            "what the error codes mean",
            explain::PAGE,
        ),
    ] {
        pages.push(ManualPage {
            name: name.to_owned(),
            section,
            roff: format!(
                "{}.SH NAME\n{} \\- {about}\n{}",
                head(name, section),
                escaped(name),
                of_markdown(markdown)
            ),
        });
    }
    pages
}

/// A verb and those below it.
fn of_command(command: &Command, pages: &mut Vec<ManualPage>) {
    let name = command.get_display_name().unwrap_or(command.get_name());
    let section = section_of(name);
    let man = Man::new(command.clone())
        .section(section)
        .source(source())
        .manual(MANUAL)
        .date("");
    let mut roff = Vec::new();
    // Writing to memory cannot fail.
    let _ = man.render(&mut roff);
    let roff = String::from_utf8_lossy(&roff).into_owned();
    pages.push(ManualPage {
        name: name.to_owned(),
        section,
        // The page of the whole program names the pages of the node, which are in another section.
        roff: roff.replace("dnsmesh\\-node(1)", "dnsmesh\\-node(8)"),
    });
    let is_shown = |below: &&Command| {
        let is_repeated_help = below.get_name() == "help" && name != "dnsmesh";
        !below.is_hide_set() && !is_repeated_help
    };
    for below in command.get_subcommands().filter(is_shown) {
        of_command(below, pages);
    }
}

fn section_of(name: &str) -> &'static str {
    match name {
        "dnsmesh-node" => "8",
        name if name.starts_with("dnsmesh-node-") => "8",
        _ => "1",
    }
}

const MANUAL: &str = "DNS Mesh Protocol";

fn source() -> String {
    format!("dnsmesh {}", env!("CARGO_PKG_VERSION"))
}

fn head(name: &str, section: &str) -> String {
    format!(
        ".ie \\n(.g .ds Aq \\(aq\n.el .ds Aq '\n.TH {} {section} \"\" \"{}\" \"{MANUAL}\"\n.nh\n",
        escaped(name),
        source()
    )
}

/// The Markdown of our own pages as roff: headings, paragraphs, lists, tables, blocks of code.
fn of_markdown(markdown: &str) -> String {
    let mut roff = String::new();
    let mut is_code = false;
    let mut lines = markdown.lines().peekable();
    while let Some(line) = lines.next() {
        if line.starts_with("```") {
            is_code = !is_code;
            roff += if is_code {
                ".PP\n.RS 4\n.nf\n"
            } else {
                ".fi\n.RE\n"
            };
        } else if is_code {
            roff += &(escaped(line) + "\n");
        } else if let Some(title) = line.strip_prefix("## ").or(line.strip_prefix("# ")) {
            roff += &format!(".SH {}\n", escaped(&title.to_uppercase()));
        } else if let Some(title) = line.strip_prefix("### ") {
            roff += &format!(".SS {}\n", escaped(title));
        } else if let Some(item) = line.strip_prefix("- ") {
            roff += &format!(".IP \\(bu 2\n{}\n", inline(item));
        } else if line.starts_with("|---") {
            // The head above it names columns that the list below has none of.
        } else if let Some(row) = line.strip_prefix('|') {
            if !lines.peek().is_some_and(|next| next.starts_with("|---")) {
                roff += &of_row(row);
            }
        } else if line.is_empty() {
            roff += ".PP\n";
        } else {
            roff += &(inline(line) + "\n");
        }
    }
    roff
}

/// A row of a table: its first cell is the term, the others say what there is to say about it.
fn of_row(row: &str) -> String {
    let cells = row.trim_end_matches('|').split('|').map(str::trim);
    let mut cells = cells.filter(|cell| !cell.is_empty());
    let term = inline(cells.next().unwrap_or_default());
    let rest: Vec<String> = cells.map(inline).collect();
    format!(".TP\n{term}\n{}\n", rest.join("; "))
}

/// Code in bold, links as their text.
fn inline(text: &str) -> String {
    let mut shown = String::new();
    for (index, part) in text.split('`').enumerate() {
        match index % 2 {
            0 => shown += &escaped(&without_links(&part.replace("**", ""))),
            _ => shown += &format!("\\fB{}\\fR", escaped(part)),
        }
    }
    shown
}

fn without_links(text: &str) -> String {
    let mut shown = String::new();
    let mut rest = text;
    while let Some((before, link)) = rest.split_once('[') {
        shown += before;
        match link
            .split_once("](")
            .and_then(|(label, more)| Some((label, more.split_once(')')?.1)))
        {
            Some((label, after)) => {
                shown += label;
                rest = after;
            }
            None => {
                shown.push('[');
                rest = link;
            }
        }
    }
    shown + rest
}

/// Text that roff takes as text: no escapes, no requests, hyphens that can be copied.
fn escaped(text: &str) -> String {
    let text = text
        .replace('\\', "\\e")
        .replace('-', "\\-")
        .replace('\'', "\\(aq");
    match text.starts_with('.') {
        true => format!("\\&{text}"),
        false => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_verb_has_a_page_with_every_flag() {
        fn check(command: &Command, pages: &[ManualPage]) {
            let name = command.get_display_name().unwrap_or(command.get_name());
            let page = pages.iter().find(|page| page.name == name);
            let page = page.unwrap_or_else(|| panic!("no page {name}"));
            for argument in command.get_arguments().filter(|flag| !flag.is_hide_set()) {
                if let Some(flag) = argument.get_long() {
                    let flag = format!("\\-\\-{}", flag.replace('-', "\\-"));
                    assert!(page.roff.contains(&flag), "{name}: {flag}");
                }
                assert!(
                    argument.get_help().is_some(),
                    "{name}: {}",
                    argument.get_id()
                );
            }
            assert!(command.get_about().is_some(), "{name}");
            let below = command.get_subcommands();
            below
                .filter(|below| below.get_name() != "help")
                .for_each(|below| check(below, pages));
        }
        let mut command = Args::command();
        command.build();
        check(&command, &pages());
    }

    #[test]
    fn the_settings_of_a_node_are_a_page() {
        let pages = pages();
        let page = pages.iter().find(|page| page.name == "dnsmesh-node.toml");
        let roff = &page.unwrap().roff;
        assert!(roff.contains(".TP\n\\fBdns.port\\fR\n"), "{roff}");
    }

    #[test]
    fn markdown_becomes_roff() {
        let roff = of_markdown(
            "# A title\n\nSee [this](x.md) and `a-b\\c`.\n\n| key | meaning |\n|---|---|\n| `one` | first |\n\n```\n.dot 'x'\n```",
        );
        assert_eq!(
            roff,
            ".SH A TITLE\n.PP\nSee this and \\fBa\\-b\\ec\\fR\\&.\n.PP\n.TP\n\\fBone\\fR\nfirst\n.PP\n.PP\n.RS 4\n.nf\n\\&.dot \\(aqx\\(aq\n.fi\n.RE\n"
        );
        assert_eq!(without_links("[a](b) [c] d"), "a [c] d");
    }
}
