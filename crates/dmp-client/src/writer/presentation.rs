//! TXT values as people and provider interfaces write them: quoted strings of at most 255 octets (RFC 1035 5.1, records.md 5.1).
//!
//! It knows no names, no TTLs and no files.

/// What the three digits behind a backslash are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Digits {
    /// Master files (RFC 1035 5.1) and Cloudflare.
    Decimal,
    /// Route 53.
    Octal,
}

/// Octets of one character-string.
const PIECE: usize = 255;

/// The value as quoted pieces, separated by a blank; an empty value is one empty string. Only printable ASCII stands for itself.
pub(super) fn quote(value: &str, digits: Digits) -> String {
    let mut text = String::with_capacity(value.len() + 2);
    let octets = value.as_bytes();
    let pieces = octets
        .chunks(PIECE)
        .chain(octets.is_empty().then_some(&[][..]));
    for (index, piece) in pieces.enumerate() {
        text.push_str(if index == 0 { "\"" } else { " \"" });
        for &octet in piece {
            match (octet, digits) {
                (b'"' | b'\\', _) => text.extend(['\\', char::from(octet)]),
                (b' '..=b'~', _) => text.push(char::from(octet)),
                (_, Digits::Decimal) => text.push_str(&format!("\\{octet:03}")),
                (_, Digits::Octal) => text.push_str(&format!("\\{octet:03o}")),
            }
        }
        text.push('"');
    }
    text
}

/// The octets of quoted strings, joined; `None` for anything else.
pub(super) fn unquote(text: &str, digits: Digits) -> Option<Vec<u8>> {
    let mut value = Vec::with_capacity(text.len());
    let mut rest = text.trim();
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        rest = read_string(rest.strip_prefix('"')?, digits, &mut value)?.trim_start();
    }
    Some(value)
}

/// Reads up to the closing quote and returns what lies behind it.
fn read_string<'a>(text: &'a str, digits: Digits, value: &mut Vec<u8>) -> Option<&'a str> {
    let mut rest = text.as_bytes().iter().enumerate();
    while let Some((index, &octet)) = rest.next() {
        match octet {
            b'"' => return text.get(index + 1..),
            b'\\' => {
                let (_, &first) = rest.next()?;
                if !first.is_ascii_digit() {
                    value.push(first);
                    continue;
                }
                let code = [first, *rest.next()?.1, *rest.next()?.1];
                let radix = match digits {
                    Digits::Decimal => 10,
                    Digits::Octal => 8,
                };
                let code = std::str::from_utf8(&code).ok()?;
                value.push(u8::from_str_radix(code, radix).ok()?);
            }
            _ => value.push(octet),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_comes_back_in_either_form() {
        let long = "x".repeat(511);
        for value in [
            "",
            "v=dmp1;t=identity;d=aGk=",
            "a\"b\\c;d",
            " blank ",
            "\t\n\u{7f}",
            "é",
            "\\065",
            &long,
        ] {
            for digits in [Digits::Decimal, Digits::Octal] {
                let text = quote(value, digits);
                assert_eq!(
                    unquote(&text, digits).as_deref(),
                    Some(value.as_bytes()),
                    "{text}"
                );
            }
        }
    }

    #[test]
    fn long_values_are_cut_at_multiples_of_255_octets() {
        assert_eq!(quote("", Digits::Decimal), "\"\"");
        assert_eq!(quote("a;b", Digits::Decimal), "\"a;b\"");
        let text = quote(&"x".repeat(510), Digits::Octal);
        let piece = format!("\"{}\"", "x".repeat(255));
        assert_eq!(text, format!("{piece} {piece}"), "no empty tail");
        assert_eq!(quote("\t\"\\", Digits::Octal), r#""\011\"\\""#);
        assert_eq!(quote("\t", Digits::Decimal), r#""\009""#);
    }

    #[test]
    fn what_is_not_a_list_of_quoted_strings_is_nothing() {
        for text in [
            "",
            " ",
            "plain",
            "\"open",
            "\"a\" b",
            "\"\\25\"",
            "\"\\999\"",
            "\"\\",
        ] {
            assert_eq!(unquote(text, Digits::Decimal), None, "{text}");
        }
        assert_eq!(
            unquote("\"a\"\"b\"", Digits::Decimal).as_deref(),
            Some(&b"ab"[..])
        );
        assert_eq!(
            unquote(r#""\101""#, Digits::Octal).as_deref(),
            Some(&b"A"[..])
        );
    }
}
