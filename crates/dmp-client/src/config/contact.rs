//! The contacts map of `config.yaml` in the reference's form (client.md 3.2).
//!
//! It is read for take-over and preserved; live contacts are rows of the store.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use yaml_serde::{Mapping, Value};

use super::setting::Setting;

/// One entry of the map; texts as they stand in the file, not checked.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ContactEntry {
    /// Agreement key, 64 hex digits, or empty when only the signing key is pinned.
    pub agreement: String,
    /// Signing key, 64 hex digits, or empty when nothing is pinned.
    pub signing: String,
    /// Zone the contact was fetched from; empty = not stated.
    pub domain: String,
    /// Protocol user name where it differs from the label.
    pub remote_username: Option<String>,
    /// Members this version does not know, kept as they were.
    pub unknown: BTreeMap<String, Value>,
}

impl Setting for BTreeMap<String, ContactEntry> {
    fn read<'de, A: MapAccess<'de>>(map: &mut A) -> Result<Option<Self>, A::Error> {
        map.next_value::<Option<Contacts>>()
            .map(|contacts| contacts.map(|Contacts(map)| map))
    }

    fn to_yaml(&self) -> Option<Value> {
        Some(Value::Mapping(
            self.iter()
                .map(|(label, entry)| (label.as_str().into(), entry.to_yaml()))
                .collect(),
        ))
    }

    fn parse(_: &str) -> Result<Self, &'static str> {
        Err("contacts are kept in the store; `dnsmesh contacts` changes them")
    }
}

impl ContactEntry {
    fn to_yaml(&self) -> Value {
        let mut members = self.unknown.clone();
        members.insert("pub".to_owned(), self.agreement.as_str().into());
        members.insert("spk".to_owned(), self.signing.as_str().into());
        members.insert("domain".to_owned(), self.domain.as_str().into());
        if let Some(name) = &self.remote_username {
            members.insert("remote_username".to_owned(), name.as_str().into());
        }
        Value::Mapping(
            members
                .into_iter()
                .map(|(member, value)| (Value::String(member), value))
                .collect::<Mapping>(),
        )
    }
}

struct Contacts(BTreeMap<String, ContactEntry>);

impl<'de> Deserialize<'de> for Contacts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Labels;
        impl<'de> Visitor<'de> for Labels {
            type Value = Contacts;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a mapping of contact labels")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Contacts, A::Error> {
                let mut contacts = BTreeMap::new();
                while let Some((label, Entry(entry))) = map.next_entry::<String, Entry>()? {
                    match entry {
                        Some(entry) => contacts.insert(label, entry),
                        None => contacts.remove(&label),
                    };
                }
                Ok(Contacts(contacts))
            }
        }
        deserializer.deserialize_map(Labels)
    }
}

/// A plain text is an agreement key, a mapping a full entry; anything else is no contact (client.md 3.1).
struct Entry(Option<ContactEntry>);

impl<'de> Deserialize<'de> for Entry {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Kinds;
        impl<'de> Visitor<'de> for Kinds {
            type Value = Entry;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a contact")
            }

            fn visit_str<E>(self, text: &str) -> Result<Entry, E> {
                Ok(Entry(Some(ContactEntry {
                    agreement: text.to_owned(),
                    ..ContactEntry::default()
                })))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Entry, A::Error> {
                let mut entry = ContactEntry::default();
                while let Some(member) = map.next_key::<String>()? {
                    let mut text = || map.next_value::<Option<String>>();
                    match member.as_str() {
                        "pub" => entry.agreement = text()?.unwrap_or_default(),
                        "spk" => entry.signing = text()?.unwrap_or_default(),
                        "domain" => entry.domain = text()?.unwrap_or_default(),
                        "remote_username" => entry.remote_username = text()?,
                        _ => {
                            let value = map.next_value()?;
                            entry.unknown.insert(member, value);
                        }
                    }
                }
                Ok(Entry(Some(entry)))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Entry, A::Error> {
                while items.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Entry(None))
            }

            fn visit_bool<E>(self, _: bool) -> Result<Entry, E> {
                Ok(Entry(None))
            }

            fn visit_i64<E>(self, _: i64) -> Result<Entry, E> {
                Ok(Entry(None))
            }

            fn visit_u64<E>(self, _: u64) -> Result<Entry, E> {
                Ok(Entry(None))
            }

            fn visit_f64<E>(self, _: f64) -> Result<Entry, E> {
                Ok(Entry(None))
            }

            fn visit_unit<E>(self) -> Result<Entry, E> {
                Ok(Entry(None))
            }
        }
        deserializer.deserialize_any(Kinds)
    }
}
