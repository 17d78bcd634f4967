//! What the stable error codes mean (product.md 5.2): what failed, what was not harmed, what to do. The text is the page of the user's guide.

use serde::Serialize;

/// The page `docs/guide/errors.md`.
pub(crate) const PAGE: &str = include_str!("../text/errors.md");

/// One entry of the page.
#[derive(Debug, Serialize)]
pub(crate) struct Explanation {
    /// The codes that it is about.
    pub(crate) codes: Vec<&'static str>,
    /// What failed and why.
    pub(crate) what: &'static str,
    /// What was not harmed.
    pub(crate) not_harmed: &'static str,
    /// What to do.
    pub(crate) remedy: &'static str,
}

/// All entries, in the order of the page.
pub(crate) fn all() -> impl Iterator<Item = Explanation> {
    PAGE.split("\n### ").skip(1).map(|entry| {
        let mut lines = entry.lines();
        let codes = lines.next().unwrap_or_default();
        let mut line = |start: &str| {
            let line = lines.next().unwrap_or_default();
            line.strip_prefix(start).unwrap_or_default()
        };
        Explanation {
            codes: codes.split(", ").collect(),
            what: line(""),
            not_harmed: line("Not harmed: "),
            remedy: line("What to do: "),
        }
    })
}

/// The entry of a code.
pub(crate) fn find(code: &str) -> Option<Explanation> {
    all().find(|explanation| explanation.codes.contains(&code))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_entry_is_whole_and_every_code_stands_once() {
        let mut seen = BTreeSet::new();
        for explanation in all() {
            for part in [explanation.what, explanation.not_harmed, explanation.remedy] {
                assert!(part.ends_with('.'), "{:?}: {part}", explanation.codes);
            }
            for code in explanation.codes {
                assert!(seen.insert(code), "{code} twice");
            }
        }
        assert!(seen.len() > 100);
    }
}
