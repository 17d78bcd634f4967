//! BIND's form: our lines stand between two marks, the SOA serial grows with every change, everything else stays as it is.

use super::entry::{Entries, Entry};
use crate::writer::presentation::{Digits, quote, unquote};

const BEGIN: &str = "; BEGIN dnsmesh: these lines are rewritten by the program";
const END: &str = "; END dnsmesh";
const EXPIRES: &str = " ; expires ";

/// The values between the marks.
///
/// # Errors
/// A line between them that is not ours, or a mark without the other.
pub(super) fn parse(text: &str) -> Result<Entries, String> {
    let (_, ours, _) = cut(text)?;
    let lines = ours.lines().filter(|line| !line.trim().is_empty());
    let entries = lines.map(|line| {
        parse_line(line).ok_or_else(|| format!("`{line}` stands between our marks and is not ours"))
    });
    entries.collect::<Result<_, _>>().map(Entries)
}

/// The file with these values instead, and the next serial.
///
/// # Errors
/// No SOA record, or none whose serial can be found.
pub(super) fn render(old: &str, entries: &Entries) -> Result<String, String> {
    let (head, ours, tail) = cut(old)?;
    let (start, end, serial) = serial(head).ok_or("it holds no SOA record above our lines")?;
    let lines: String = entries.0.iter().map(line).collect();
    if lines == ours {
        return Ok(old.to_owned());
    }
    // RFC 1982: the successor, and never 0, which some servers take for none.
    let next = serial.wrapping_add(1).max(1);
    let newline = if head.ends_with('\n') { "" } else { "\n" };
    Ok(format!(
        "{}{next}{}{newline}{BEGIN}\n{lines}{END}\n{tail}",
        &head[..start],
        &head[end..]
    ))
}

/// What stands before our lines, our lines, what stands behind them.
fn cut(text: &str) -> Result<(&str, &str, &str), String> {
    let begin = format!("{BEGIN}\n");
    match (text.split_once(&begin), text.contains(END)) {
        (None, false) => Ok((text, "", "")),
        (Some((head, rest)), true) => match rest.split_once(&format!("{END}\n")) {
            Some((ours, tail)) if !tail.contains(BEGIN) => Ok((head, ours, tail)),
            _ => Err("our marks are not in order".to_owned()),
        },
        _ => Err("one of our two marks is missing".to_owned()),
    }
}

fn line(entry: &Entry) -> String {
    format!(
        "{}. {} IN TXT {}{EXPIRES}{}\n",
        entry.owner,
        entry.ttl,
        quote(&entry.value, Digits::Decimal),
        entry.expires
    )
}

fn parse_line(line: &str) -> Option<Entry> {
    let (record, expires) = line.rsplit_once(EXPIRES)?;
    let (owner, rest) = record.split_once(". ")?;
    let (ttl, value) = rest.split_once(" IN TXT ")?;
    Some(Entry {
        owner: owner.to_owned(),
        ttl: ttl.parse().ok()?,
        expires: expires.parse().ok()?,
        value: String::from_utf8(unquote(value, Digits::Decimal)?).ok()?,
    })
}

/// Where the serial of the first SOA record stands, and its value: the third word behind `SOA`, parentheses and comments left out.
fn serial(text: &str) -> Option<(usize, usize, u32)> {
    let words = words(text);
    let soa = words
        .iter()
        .position(|&(start, end)| text[start..end].eq_ignore_ascii_case("SOA"))?;
    let &(start, end) = words.get(soa + 3)?;
    Some((start, end, text[start..end].parse().ok()?))
}

/// The words of a master file by their positions (RFC 1035 5.1).
fn words(text: &str) -> Vec<(usize, usize)> {
    let mut words = Vec::new();
    let mut start = None;
    let (mut in_comment, mut in_quotes, mut is_escaped) = (false, false, false);
    for (at, character) in text.char_indices() {
        let was_escaped = std::mem::take(&mut is_escaped);
        let is_between = match character {
            '\n' => {
                in_comment = false;
                !in_quotes
            }
            _ if in_comment => true,
            _ if was_escaped => false,
            '\\' => {
                is_escaped = true;
                false
            }
            '"' => {
                in_quotes = !in_quotes;
                false
            }
            _ if in_quotes => false,
            ';' => {
                in_comment = true;
                true
            }
            '(' | ')' => true,
            other => other.is_whitespace(),
        };
        match (is_between, start) {
            (true, Some(begun)) => {
                words.push((begun, at));
                start = None;
            }
            (false, None) => start = Some(at),
            _ => {}
        }
    }
    words.extend(start.map(|begun| (begun, text.len())));
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    const ZONE: &str = "$TTL 300 ; not the SOA 1 2 3\n@ IN SOA ns.example. host\\.master.example. ( ; first\n  2026112301 ; serial\n  3600 600 86400 60 )\n@ IN NS ns.example.\n";

    fn entries() -> Entries {
        Entries(vec![
            Entry {
                owner: "a.example".into(),
                ttl: 300,
                expires: 1_000,
                value: "v=dmp1;x \"\\ ; expires 9".into(),
            },
            Entry {
                owner: "a.example".into(),
                ttl: 60,
                expires: 2_000,
                value: "é".repeat(100),
            },
        ])
    }

    #[test]
    fn the_operators_lines_stay_and_the_serial_grows() {
        let first = render(ZONE, &entries()).unwrap();
        assert!(
            first.starts_with(&ZONE.replace("2026112301", "2026112302")),
            "{first}"
        );
        assert_eq!(parse(&first).unwrap(), entries());
        let with_tail = first.clone() + "b.example. IN A 192.0.2.1\n";
        let second = render(&with_tail, &Entries::default()).unwrap();
        assert!(
            second.contains("2026112303") && second.ends_with("IN A 192.0.2.1\n"),
            "{second}"
        );
        assert_eq!(parse(&second).unwrap(), Entries::default());
        assert_eq!(
            render(&first, &entries()).unwrap(),
            first,
            "no change, no new serial"
        );
        let last = ZONE.replace("2026112301", "4294967295");
        assert!(render(&last, &entries()).unwrap().contains(" 1 ; serial"));
    }

    #[test]
    fn a_file_that_is_none_or_was_edited_between_the_marks_is_refused() {
        assert!(render("", &entries()).unwrap_err().contains("SOA"));
        assert!(
            render("@ IN SOA a. b. x 1 2 3 4\n", &entries())
                .unwrap_err()
                .contains("SOA")
        );
        let ours = render(ZONE, &entries()).unwrap();
        assert!(
            parse(&ours.replace(END, "; done"))
                .unwrap_err()
                .contains("mark")
        );
        assert!(
            parse(&ours.replace(BEGIN, "; start"))
                .unwrap_err()
                .contains("mark")
        );
        assert!(
            parse(&ours.replace(END, "x IN A 192.0.2.1\n; END dnsmesh"))
                .unwrap_err()
                .contains("192.0.2.1")
        );
    }
}
