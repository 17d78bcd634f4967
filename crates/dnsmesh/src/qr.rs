//! QR codes for terminals: half blocks, two modules a character, with the quiet zone of the standard. Reads none.

use std::io::{self, IsTerminal};

use qrcode::{Color, EcLevel, QrCode};

/// Light modules around the code (ISO/IEC 18004 5.3.8).
const QUIET_ZONE: usize = 4;
/// Black on white, whatever the terminal's own colours are.
const BLACK_ON_WHITE: &str = "\x1b[38;5;16;48;5;231m";
const RESET: &str = "\x1b[0m";

/// The code of a text in lines, each ended by a line feed; `None` if it does not fit a code.
///
/// On a terminal with colours it is black on white. Without them its light parts are drawn, as dark terminals need it.
pub(crate) fn terminal(text: &str) -> Option<String> {
    let is_set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    let is_dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
    let ink = if io::stdout().is_terminal() && !is_set("NO_COLOR") && !is_dumb {
        Ink::Colours
    } else {
        Ink::Plain
    };
    draw(text, ink)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Ink {
    Colours,
    Plain,
}

fn draw(text: &str, ink: Ink) -> Option<String> {
    // A screen does not get dirty: the lowest correction level makes the smallest code.
    let code = QrCode::with_error_correction_level(text, EcLevel::L).ok()?;
    let (width, modules) = (code.width(), code.to_colors());
    let side = width + 2 * QUIET_ZONE;
    let is_dark = |x: usize, y: usize| {
        let inside = |at: usize| at.checked_sub(QUIET_ZONE).filter(|at| *at < width);
        inside(x)
            .zip(inside(y))
            .and_then(|(x, y)| modules.get(y * width + x))
            .is_some_and(|module| *module == Color::Dark)
    };
    // With colours the dark modules are drawn, without them the light ones.
    let drawn = |x, y| y < side && is_dark(x, y) == (ink == Ink::Colours);
    let mut lines = String::new();
    for y in (0..side).step_by(2) {
        if ink == Ink::Colours {
            lines.push_str(BLACK_ON_WHITE);
        }
        lines.extend((0..side).map(|x| match (drawn(x, y), drawn(x, y + 1)) {
            (true, true) => '█',
            (true, false) => '▀',
            (false, true) => '▄',
            (false, false) => ' ',
        }));
        if ink == Ink::Colours {
            lines.push_str(RESET);
        }
        lines.push('\n');
    }
    Some(lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Light and dark modules as a camera sees them, from the characters.
    fn modules(lines: &str, ink: Ink) -> Vec<Vec<bool>> {
        let bare = lines.replace(BLACK_ON_WHITE, "").replace(RESET, "");
        bare.lines()
            .flat_map(|line| {
                let half = |upper: bool| {
                    line.chars()
                        .map(|character| {
                            let drawn =
                                character == '█' || character == if upper { '▀' } else { '▄' };
                            drawn == (ink == Ink::Colours)
                        })
                        .collect()
                };
                [half(true), half(false)]
            })
            .collect()
    }

    #[test]
    fn both_inks_show_the_same_code_with_a_quiet_zone() {
        let text = "DMP:ALICE@MESH.EXAMPLE?X=ABC&S=DEF";
        let code = QrCode::with_error_correction_level(text, EcLevel::L).unwrap();
        let width = code.width();
        for ink in [Ink::Colours, Ink::Plain] {
            let seen = modules(&draw(text, ink).unwrap(), ink);
            for (y, row) in seen.iter().take(width + 2 * QUIET_ZONE).enumerate() {
                assert_eq!(row.len(), width + 2 * QUIET_ZONE);
                for (x, dark) in row.iter().enumerate() {
                    let inside = (QUIET_ZONE..QUIET_ZONE + width).contains(&x)
                        && (QUIET_ZONE..QUIET_ZONE + width).contains(&y);
                    let expected = inside && code[(x - QUIET_ZONE, y - QUIET_ZONE)] == Color::Dark;
                    assert_eq!(*dark, expected, "{x},{y}");
                }
            }
        }
    }

    #[test]
    fn the_code_of_an_address_fits_a_terminal_of_80_by_27() {
        let key = "A".repeat(52);
        let text = format!("DMP:ALICE@MESH.EXAMPLE?X={key}&S={key}");
        let drawn = draw(&text, Ink::Plain).unwrap();
        assert!(drawn.lines().count() <= 27, "{}", drawn.lines().count());
        assert!(drawn.lines().all(|line| line.chars().count() <= 80));
    }

    #[test]
    fn a_text_that_no_code_holds_has_none() {
        assert_eq!(draw(&"x".repeat(3_000), Ink::Plain), None);
    }
}
