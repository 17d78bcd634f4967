//! Scope patterns: which owner names a key may add to and which it may delete from (node.md 3.4, D10, W-22).

use crate::zone::Owner;

/// What is to be done at an owner name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Add or refresh a value.
    Add,
    /// Delete values.
    Delete,
}

/// How a `*` inside a label is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScopeKind {
    /// Keys the operator made: `*` is any run of characters, extra labels on the left are allowed.
    Administrative,
    /// Keys users registered for themselves: slots are one digit, mailboxes and chunk tags hexadecimal (W-22).
    SelfService,
}

/// The patterns of one key.
#[derive(Clone, Debug)]
pub struct Scope {
    patterns: Vec<Pattern>,
    kind: ScopeKind,
}

#[derive(Clone, Debug)]
struct Pattern {
    labels: Vec<String>,
    wild: bool,
}

impl Scope {
    /// The scope of `patterns`; `None` without a usable one.
    pub fn new(patterns: &[String], kind: ScopeKind) -> Option<Self> {
        let patterns: Vec<Pattern> = patterns
            .iter()
            .map(|text| text.trim_matches('.').to_ascii_lowercase())
            .filter(|text| !text.is_empty() && text.split('.').all(|label| !label.is_empty()))
            .map(|text| Pattern {
                labels: text.split('.').map(str::to_owned).collect(),
                wild: text.contains('*'),
            })
            .collect();
        (!patterns.is_empty()).then_some(Self { patterns, kind })
    }

    /// Whether some pattern covers `action` at `owner`. Patterns with a `*` never cover a delete (D10).
    pub fn covers(&self, owner: &Owner, action: Action) -> bool {
        let labels: Vec<&str> = owner.labels().collect();
        self.patterns
            .iter()
            .any(|pattern| match (pattern.wild, action) {
                (false, _) => ends_with(&labels, &pattern.labels),
                (true, Action::Delete) => false,
                (true, Action::Add) => self.covers_wild(&labels, &pattern.labels),
            })
    }

    /// Whether some pattern covers any name at or under `zone`.
    pub fn reaches(&self, zone: &Owner) -> bool {
        let zone: Vec<&str> = zone.labels().collect();
        self.patterns.iter().any(|pattern| {
            let ends = pattern.labels.iter().rev().zip(zone.iter().rev());
            ends.into_iter()
                .all(|(pattern, label)| matches_label(pattern, label))
        })
    }

    /// The patterns without `*`, as text.
    pub fn literals(&self) -> impl Iterator<Item = String> {
        self.patterns
            .iter()
            .filter(|pattern| !pattern.wild)
            .map(|pattern| pattern.labels.join("."))
    }

    fn covers_wild(&self, labels: &[&str], pattern: &[String]) -> bool {
        let Some(extra) = labels.len().checked_sub(pattern.len()) else {
            return false;
        };
        match self.kind {
            ScopeKind::Administrative => {}
            ScopeKind::SelfService if extra > 0 => return false,
            ScopeKind::SelfService => {}
        }
        labels[extra..].iter().zip(pattern).all(|(label, pattern)| {
            matches_label(pattern, label)
                && (self.kind == ScopeKind::Administrative || tight(pattern, label))
        })
    }
}

fn ends_with(labels: &[&str], pattern: &[String]) -> bool {
    labels.len() >= pattern.len()
        && labels[labels.len() - pattern.len()..]
            .iter()
            .zip(pattern)
            .all(|(a, b)| a == b)
}

/// `*` matches any run of characters, none included: the first piece stands at the left, the last at the right without
/// overlapping what was consumed, those between are found leftmost in order.
fn matches_label(pattern: &str, label: &str) -> bool {
    let mut pieces = pattern.split('*');
    let Some(mut rest) = pieces.next().and_then(|first| label.strip_prefix(first)) else {
        return false;
    };
    let Some(last) = pieces.next_back() else {
        return rest.is_empty();
    };
    for piece in pieces {
        let Some(at) = rest.find(piece) else {
            return false;
        };
        rest = &rest[at + piece.len()..];
    }
    rest.ends_with(last)
}

/// The shapes that reference clients write under the patterns registration grants (W-22).
fn tight(pattern: &str, label: &str) -> bool {
    let hex = |text: &str| {
        !text.is_empty() && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
    };
    let one_digit = |text: &str| text.len() == 1 && text.as_bytes()[0].is_ascii_digit();
    match pattern {
        "slot-*" => label.strip_prefix("slot-").is_some_and(one_digit),
        "claim-*" => label.strip_prefix("claim-").is_some_and(one_digit),
        "mb-*" => label
            .strip_prefix("mb-")
            .is_some_and(|hash| hash.len() == 12 && hex(hash)),
        "chunk-*-*" => label
            .strip_prefix("chunk-")
            .and_then(|rest| rest.split_once('-'))
            .is_some_and(|(index, tag)| {
                !index.is_empty() && index.bytes().all(|b| b.is_ascii_digit()) && hex(tag)
            }),
        _ => true,
    }
}
