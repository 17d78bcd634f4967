//! dnsmasq's form: `txt-record=` lines, several per name. The lines are options of a program, so what could be read as another option
//! is refused, in names and values.

use super::entry::{Entries, Entry};
use crate::error::WriteError;

const HEAD: &str = "# Written by dnsmesh: every change replaces this file.\n";
const EXPIRES: &str = "# expires ";
const TTL: &str = " ttl ";
const RECORD: &str = "txt-record=";

/// The values in a file of ours.
///
/// # Errors
/// A line that is not ours.
pub(super) fn parse(text: &str) -> Result<Entries, String> {
    let mut entries = Vec::new();
    let mut lines = text
        .lines()
        .filter(|line| !line.trim().is_empty() && *line != HEAD.trim_end());
    while let Some(line) = lines.next() {
        let entry = parse_lines(line, lines.next().unwrap_or_default());
        entries.push(entry.ok_or_else(|| {
            format!("`{line}` is not a line of this program; the file must be its own")
        })?);
    }
    Ok(Entries(entries))
}

/// The file with these values.
///
/// # Errors
/// [`WriteError::Unsuitable`]: a name or value that dnsmasq's option syntax cannot hold safely.
pub(super) fn render(entries: &Entries) -> Result<String, WriteError> {
    let mut text = HEAD.to_owned();
    for entry in &entries.0 {
        if !is_plain_name(&entry.owner) {
            return Err(WriteError::Unsuitable("dnsmasq cannot take this name"));
        }
        if !is_plain_value(&entry.value) {
            return Err(WriteError::Unsuitable(
                "dnsmasq takes no quotes, backslashes and control characters",
            ));
        }
        text.push_str(&format!(
            "{EXPIRES}{}{TTL}{}\n{RECORD}{}",
            entry.expires, entry.ttl, entry.owner
        ));
        for piece in pieces(&entry.value) {
            text.push_str(&format!(",\"{piece}\""));
        }
        text.push('\n');
    }
    Ok(text)
}

fn parse_lines(comment: &str, record: &str) -> Option<Entry> {
    let (expires, ttl) = comment.strip_prefix(EXPIRES)?.split_once(TTL)?;
    let (owner, value) = record.strip_prefix(RECORD)?.split_once(",\"")?;
    let entry = Entry {
        owner: owner.to_owned(),
        ttl: ttl.parse().ok()?,
        expires: expires.parse().ok()?,
        value: value.strip_suffix('"')?.replace("\",\"", ""),
    };
    (is_plain_name(&entry.owner) && is_plain_value(&entry.value)).then_some(entry)
}

/// The value cut at 255 octets. Only ASCII is ever longer.
fn pieces(value: &str) -> impl Iterator<Item = &str> {
    let count = value.len().div_ceil(255).max(1);
    (0..count).map(move |index| {
        let end = value.len().min((index + 1) * 255);
        value.get(index * 255..end).unwrap_or_default()
    })
}

/// Labels of letters, digits and inner hyphens, with at most one underscore in front (client.md 14).
fn is_plain_name(name: &str) -> bool {
    let is_label = |label: &str| {
        let label = label.strip_prefix('_').unwrap_or(label);
        let octets = label.as_bytes();
        let is_alphanumeric = |octet: Option<&u8>| octet.is_some_and(u8::is_ascii_alphanumeric);
        octets.len() <= 63
            && is_alphanumeric(octets.first())
            && is_alphanumeric(octets.last())
            && octets
                .iter()
                .all(|octet| octet.is_ascii_alphanumeric() || *octet == b'-')
    };
    name.len() <= 253 && name.split('.').all(is_label)
}

fn is_plain_value(value: &str) -> bool {
    value
        .bytes()
        .all(|octet| octet >= 0x20 && !matches!(octet, b'"' | b'\\' | 0x7f))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(owner: &str, value: &str) -> Entry {
        Entry {
            owner: owner.into(),
            ttl: 300,
            expires: 1_000,
            value: value.into(),
        }
    }

    #[test]
    fn values_become_one_line_each_and_are_read_back() {
        let long = "x".repeat(300);
        let entries = Entries(vec![
            entry("_p.a.example", "v=dmp1;t=x,y"),
            entry("_p.a.example", &long),
            entry("b.example", ""),
            entry("b.example", "# no comment"),
        ]);
        let text = render(&entries).unwrap();
        assert!(
            text.contains("\ntxt-record=_p.a.example,\"v=dmp1;t=x,y\"\n"),
            "{text}"
        );
        assert!(text.contains(&format!(
            ",\"{}\",\"{}\"\n",
            "x".repeat(255),
            "x".repeat(45)
        )));
        assert_eq!(parse(&text).unwrap(), entries);
        assert_eq!(parse("").unwrap(), Entries::default());
    }

    #[test]
    fn what_could_be_another_option_is_refused() {
        let long = format!("{}.example", "a".repeat(64));
        for name in [
            "a,b.example",
            "a b.example",
            "a.example\nserver=1",
            "-a.example",
            "a-.example",
            "",
            "a..example",
            "a_b.example",
            &long,
        ] {
            let refused = render(&Entries(vec![entry(name, "v")]));
            assert!(matches!(refused, Err(WriteError::Unsuitable(_))), "{name}");
        }
        for value in ["a\"b", "a\\", "a\nserver=/x/", "\u{7f}", "\t"] {
            let refused = render(&Entries(vec![entry("a.example", value)]));
            assert!(matches!(refused, Err(WriteError::Unsuitable(_))), "{value}");
        }
    }

    #[test]
    fn somebody_elses_file_is_not_overwritten() {
        for text in [
            "server=192.0.2.1\n",
            "txt-record=a.example,\"v\"\n",
            "# expires 1 ttl 2\nserver=192.0.2.1\n",
            "# expires 1 ttl 2\n",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
