//! Record names as HTTP takes them: which are valid, and which class of writer each is for (node.md 6.4, 6.6).

use crate::credentials::Token;
use crate::register::digest_hex;
use crate::zone::Owner;

/// What a write to a name needs besides a live token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NameClass {
    /// The one subject it belongs to.
    Owner(NameOwner),
    /// Nothing more: anybody's mailbox slots and chunks. Never deletable by users.
    SharedPool,
    /// The operator's token.
    OperatorOnly,
    /// The operator's token; the name is none that DMP uses.
    Unknown,
}

/// The subject an owner-class name belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NameOwner {
    /// The canonical subject is in the name.
    Subject(String),
    /// The hex hash of the local part, and the domain.
    LocalPartHash {
        /// The first octets of SHA-256 of the local part, as hex.
        hash: String,
        /// The domain of the subject.
        domain: String,
    },
    /// The mailbox hash that the operator stored with the token.
    Mailbox(String),
}

impl NameClass {
    /// The class of a name, in any case, with or without trailing dots.
    pub fn of(name: &str) -> Self {
        let name = name.trim_end_matches('.').to_ascii_lowercase();
        let labels: Vec<&str> = name.split('.').collect();
        let in_name = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'.';
        if labels.len() < 2 || labels.contains(&"") || !name.bytes().all(in_name) {
            return Self::Unknown;
        }
        let class = match labels.as_slice() {
            ["rotate", "dmp", hashed, ..] if hash_label(hashed, "id-", 12).is_some() => None,
            ["rotate", "dmp", user, domain @ ..] | ["dmp", user, domain @ ..] => {
                subject(user, domain)
                    .map(NameOwner::Subject)
                    .map(Self::Owner)
            }
            ["prekeys", hashed, domain @ ..] => local_part_hash(hashed, 12, domain),
            [key, hash, domain @ ..] if is_numbered(key, "pk-") => {
                let mailbox = hash_label(hash, "", 12).filter(|_| is_domain(domain));
                mailbox.map(|hash| Self::Owner(NameOwner::Mailbox(hash.to_owned())))
            }
            [slot, mailbox, domain @ ..] if is_numbered(slot, "slot-") => {
                let is_slot = hash_label(mailbox, "mb-", 12).is_some() && is_domain(domain);
                is_slot.then_some(Self::SharedPool)
            }
            [chunk, domain @ ..] if is_chunk(chunk) => {
                is_domain(domain).then_some(Self::SharedPool)
            }
            [hashed, domain @ ..] => local_part_hash(hashed, 16, domain),
            [] => None,
        };
        class.unwrap_or(Self::OperatorOnly)
    }
}

impl NameOwner {
    /// Whether the name belongs to the token's subject.
    pub fn is(&self, token: &Token) -> bool {
        match self {
            Self::Subject(subject) => token.subject == *subject,
            Self::LocalPartHash { hash, domain } => {
                let parts = token.subject.split_once('@');
                parts.is_some_and(|(local, at)| {
                    at == domain && digest_hex(local, hash.len() / 2) == *hash
                })
            }
            Self::Mailbox(hash) => token.subject_hash12 == *hash,
        }
    }
}

/// The owner name that a valid record name stands for: at most 253 characters, labels of letters, digits and hyphens
/// with an alphanumeric at both ends, and perhaps one underscore in front.
pub fn publishable_owner(name: &str) -> Option<Owner> {
    let is_publishable = |label: &str| is_ldh(label.strip_prefix('_').unwrap_or(label));
    (name.len() <= 253 && name.split('.').all(is_publishable))
        .then(|| Owner::parse(name).ok())
        .flatten()
}

/// Whether a value may be stored: no quotation mark and no ASCII control character.
pub fn is_publishable_value(value: &str) -> bool {
    !value.contains(|character: char| character == '"' || character.is_ascii_control())
}

fn is_ldh(label: &str) -> bool {
    (1..=63).contains(&label.len())
        && label
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        && !label.starts_with('-')
        && !label.ends_with('-')
}

fn is_domain(labels: &[&str]) -> bool {
    labels.len() >= 2 && labels.iter().all(|label| is_ldh(label))
}

fn subject(user: &str, domain: &[&str]) -> Option<String> {
    (is_ldh(user) && is_domain(domain)).then(|| format!("{user}@{}", domain.join(".")))
}

fn local_part_hash(label: &str, digits: usize, domain: &[&str]) -> Option<NameClass> {
    let hash = hash_label(label, "id-", digits).filter(|_| is_domain(domain))?;
    Some(NameClass::Owner(NameOwner::LocalPartHash {
        hash: hash.to_owned(),
        domain: domain.join("."),
    }))
}

/// The lower-case hex digits behind the prefix, if there are exactly so many.
fn hash_label<'a>(label: &'a str, prefix: &str, digits: usize) -> Option<&'a str> {
    let hash = label.strip_prefix(prefix)?;
    let is_hex = hash
        .bytes()
        .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    (hash.len() == digits && is_hex).then_some(hash)
}

fn is_numbered(label: &str, prefix: &str) -> bool {
    label.strip_prefix(prefix).is_some_and(is_digits)
}

fn is_chunk(label: &str) -> bool {
    let parts = label
        .strip_prefix("chunk-")
        .and_then(|rest| rest.split_once('-'));
    parts.is_some_and(|(number, hash)| is_digits(number) && hash_label(hash, "", 12).is_some())
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    fn vectors() -> Value {
        let text = include_str!("../../../../vectors/node_http_names.json");
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn names_have_the_class_and_owner_of_the_vectors() {
        for case in vectors()["names"].as_array().unwrap() {
            let (class, owner) = match NameClass::of(case["name"].as_str().unwrap()) {
                NameClass::Owner(owner) => ("owner_exclusive", Some(owner)),
                NameClass::SharedPool => ("shared_pool", None),
                NameClass::OperatorOnly => ("operator_only", None),
                NameClass::Unknown => ("unknown", None),
            };
            assert_eq!(class, case["class"], "{case}");
            let owner = owner.map(|owner| match owner {
                NameOwner::Subject(subject) => subject,
                NameOwner::LocalPartHash { hash, domain } if hash.len() == 16 => {
                    format!("#id16:{hash}@{domain}")
                }
                NameOwner::LocalPartHash { hash, domain } => format!("#prekeys:{hash}@{domain}"),
                NameOwner::Mailbox(hash) => format!("#{hash}"),
            });
            assert_eq!(owner.as_deref(), case["owner"].as_str(), "{case}");
        }
    }

    #[test]
    fn names_are_valid_as_in_the_vectors() {
        for case in vectors()["names"].as_array().unwrap() {
            let name = case["name"].as_str().unwrap().trim_end_matches('.');
            assert_eq!(
                publishable_owner(name).is_some(),
                case["http_name_valid"],
                "{case}"
            );
        }
        for name in [
            "*.a.example",
            "a*b.example",
            "a_b.example",
            "__a.example",
            "_",
            "a b.example",
        ] {
            assert!(publishable_owner(name).is_none(), "{name}");
        }
        let label = "a".repeat(63);
        let long = [label.as_str(); 4].join(".");
        assert!(publishable_owner(&long[..253]).is_some());
        assert!(publishable_owner(&long[..254]).is_none());
        assert!(publishable_owner(&format!("{label}a.example")).is_none());
    }

    #[test]
    fn values_are_valid_as_in_the_vectors() {
        for case in vectors()["values"].as_array().unwrap() {
            let value = case["value"].as_str().unwrap();
            assert_eq!(is_publishable_value(value), case["ok"], "{case}");
        }
    }
}
