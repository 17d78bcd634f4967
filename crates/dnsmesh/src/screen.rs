//! Text from the network made safe to show (cli.md 1.3): what a terminal would obey, and what makes a text look like another one,
//! becomes a visible escape.

use std::borrow::Cow;
use std::fmt::Write;

/// One line, such as a name: every control character (C0, DEL, C1) is escaped, and so is what cannot be seen or turns the direction of
/// what stands beside it.
pub(crate) fn line(text: &str) -> Cow<'_, str> {
    escaped(text, |character| {
        character.is_control() || is_invisible(character) || is_joiner(character)
    })
}

/// A message body: as [`line`], but line feeds stay, and the joiners and marks that some scripts cannot be written without.
pub(crate) fn body(text: &str) -> Cow<'_, str> {
    escaped(text, |character| {
        (character.is_control() && character != '\n') || is_invisible(character)
    })
}

/// Everything that is printed, once more as a whole: nothing in it may reach the terminal as an order. Line feeds and tabs are ours.
pub(crate) fn page(text: &str) -> Cow<'_, str> {
    escaped(text, |character| {
        (character.is_control() && !matches!(character, '\n' | '\t')) || is_override(character)
    })
}

/// Whether a character of JSON is written as an escape, which means the same to its reader.
pub(crate) fn is_escaped_in_json(character: char) -> bool {
    matches!(character, '\u{7f}'..='\u{9f}') || is_invisible(character)
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

/// Orders to turn the direction of text (UAX 9: embeddings, overrides, isolates) and separators that break a line.
fn is_override(character: char) -> bool {
    matches!(character, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{2028}' | '\u{2029}')
}

/// What takes no room on the screen and is needed by no script: two names may differ in it and look the same.
fn is_invisible(character: char) -> bool {
    is_override(character)
        || matches!(
            character,
            '\u{ad}' | '\u{180e}' | '\u{200b}' | '\u{2060}'..='\u{2065}' | '\u{206a}'..='\u{206f}' | '\u{feff}'
                | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}'
        )
}

/// Joiners and direction marks: part of how some languages are written, but no part of a name.
fn is_joiner(character: char) -> bool {
    matches!(character, '\u{61c}' | '\u{200c}'..='\u{200f}')
}

fn escaped(text: &str, hidden: impl Fn(char) -> bool) -> Cow<'_, str> {
    if !text.contains(&hidden) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 8);
    for character in text.chars() {
        // Writing to a String cannot fail.
        let _ = match (hidden(character), u32::from(character)) {
            (false, _) => {
                shown.push(character);
                Ok(())
            }
            (true, code @ ..=0xff) => write!(shown, "\\x{code:02x}"),
            (true, code) => write!(shown, "\\u{{{code:x}}}"),
        };
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
        assert_eq!(page("one\n\ttwo\u{1b}"), "one\n\ttwo\\x1b");
    }

    #[test]
    fn names_cannot_be_turned_around_or_made_to_look_like_others() {
        assert_eq!(line("a\u{202e}b\u{2066}c"), "a\\u{202e}b\\u{2066}c");
        assert_eq!(
            line("bo\u{200b}b\u{200d}\u{ad}"),
            "bo\\u{200b}b\\u{200d}\\xad"
        );
        assert_eq!(body("one\u{202d}two\u{2028}"), "one\\u{202d}two\\u{2028}");
        let family = "👨\u{200d}👩 \u{200f}می\u{200c}خواهم";
        assert!(matches!(body(family), Cow::Borrowed(_)));
        assert!(matches!(page(family), Cow::Borrowed(_)));
        assert_eq!(page("\u{2067}"), "\\u{2067}");
    }

    #[test]
    fn every_line_of_a_body_is_indented() {
        assert_eq!(indented_body(b"one\ntwo\n"), "  one\n  two");
        assert_eq!(indented_body(&[0xff, 0xfe]), "  (binary, 2 bytes)");
    }
}
