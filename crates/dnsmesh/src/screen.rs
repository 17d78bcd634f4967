//! Text from the network made safe to show (cli.md 1.3): control characters become visible escapes.

use std::borrow::Cow;
use std::fmt::Write;

/// One line: every control character (C0, DEL, C1) is escaped.
pub(crate) fn line(text: &str) -> Cow<'_, str> {
    escaped(text, char::is_control)
}

/// A message body: as [`line`], but line feeds stay.
pub(crate) fn body(text: &str) -> Cow<'_, str> {
    escaped(text, |character| {
        character.is_control() && character != '\n'
    })
}

/// A message body with every line indented by two blanks and without the line feed that ends it; a body that is no text is
/// described instead (cli.md 3.5).
pub(crate) fn indented_body(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => format!(
            "  {}",
            body(text.strip_suffix('\n').unwrap_or(text)).replace('\n', "\n  ")
        ),
        Err(_) => format!("  (binary, {} bytes)", bytes.len()),
    }
}

fn escaped(text: &str, hidden: impl Fn(char) -> bool) -> Cow<'_, str> {
    if !text.contains(&hidden) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 8);
    for character in text.chars() {
        if hidden(character) {
            // Writing to a String cannot fail.
            let _ = write!(shown, "\\x{:02x}", u32::from(character));
        } else {
            shown.push(character);
        }
    }
    Cow::Owned(shown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_become_visible_and_other_text_stays() {
        assert_eq!(
            line("a\u{1b}[31m\u{7f}\u{9b}\n"),
            "a\\x1b[31m\\x7f\\x9b\\x0a"
        );
        assert!(matches!(line("grüße → 日本"), Cow::Borrowed(_)));
        assert_eq!(body("one\ntwo\r"), "one\ntwo\\x0d");
    }

    #[test]
    fn every_line_of_a_body_is_indented() {
        assert_eq!(indented_body(b"one\ntwo\n"), "  one\n  two");
        assert_eq!(indented_body(&[0xff, 0xfe]), "  (binary, 2 bytes)");
    }
}
