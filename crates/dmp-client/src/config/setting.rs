//! How one configuration value of each kind is read from YAML or from a command line, and written back (client.md 3.1).
//!
//! Text is taken as it stands in the file (`123` is the user name "123"); nothing here knows which keys exist.

use std::fmt;
use std::marker::PhantomData;
use std::str::FromStr;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Unexpected, Visitor};
use yaml_serde::Value;

use super::TrustPolicy;

/// A kind of configuration value.
pub(super) trait Setting: Sized {
    /// Reads the value of the key just read; `None` is YAML's null, which means the default.
    fn read<'de, A: MapAccess<'de>>(map: &mut A) -> Result<Option<Self>, A::Error>;

    /// The value as written; `None` leaves the key out.
    fn to_yaml(&self) -> Option<Value>;

    /// The value that somebody typed (`config set`); the error says what was expected.
    fn parse(text: &str) -> Result<Self, &'static str>;
}

/// Null for a text key means the empty string, not the default (client.md 3.1).
impl Setting for String {
    fn read<'de, A: MapAccess<'de>>(map: &mut A) -> Result<Option<Self>, A::Error> {
        map.next_value::<Option<String>>()
            .map(|text| Some(text.unwrap_or_default()))
    }

    fn to_yaml(&self) -> Option<Value> {
        Some(Value::String(self.clone()))
    }

    fn parse(text: &str) -> Result<Self, &'static str> {
        Ok(text.to_owned())
    }
}

/// A text key whose absence is written as null; the empty string counts as absent.
impl Setting for Option<String> {
    fn read<'de, A: MapAccess<'de>>(map: &mut A) -> Result<Option<Self>, A::Error> {
        map.next_value::<Option<String>>()
            .map(|text| Some(text.filter(|text| !text.is_empty())))
    }

    fn to_yaml(&self) -> Option<Value> {
        Some(self.clone().map_or(Value::Null, Value::String))
    }

    fn parse(text: &str) -> Result<Self, &'static str> {
        Ok(Some(text.to_owned()).filter(|text| !text.is_empty()))
    }
}

impl Setting for bool {
    fn read<'de, A: MapAccess<'de>>(map: &mut A) -> Result<Option<Self>, A::Error> {
        map.next_value::<Option<Flag>>()
            .map(|flag| flag.map(|Flag(value)| value))
    }

    fn to_yaml(&self) -> Option<Value> {
        Some(Value::Bool(*self))
    }

    fn parse(text: &str) -> Result<Self, &'static str> {
        match text.trim().to_ascii_lowercase().as_str() {
            "true" | "yes" | "on" | "1" => Ok(true),
            "false" | "no" | "off" | "0" => Ok(false),
            _ => Err("expected true or false"),
        }
    }
}

macro_rules! integer {
    ($($kind:ty),*) => {$(
        impl Setting for $kind {
            fn read<'de, A: MapAccess<'de>>(map: &mut A) -> Result<Option<Self>, A::Error> {
                map.next_value::<Option<Integer<$kind>>>().map(|number| number.map(|Integer(value)| value))
            }

            fn to_yaml(&self) -> Option<Value> {
                Some(Value::Number((*self).into()))
            }

            fn parse(text: &str) -> Result<Self, &'static str> {
                text.trim().parse().map_err(|_| "expected an integer in range")
            }
        }
    )*};
}
integer!(u16, u64, i64);

/// One of three words.
impl Setting for TrustPolicy {
    fn read<'de, A: MapAccess<'de>>(map: &mut A) -> Result<Option<Self>, A::Error> {
        let word = map.next_value::<Option<String>>()?;
        let policy = word.map(|word| Self::parse(&word).map_err(Error::custom));
        policy.transpose()
    }

    fn to_yaml(&self) -> Option<Value> {
        Some(Value::String(self.name().to_owned()))
    }

    fn parse(text: &str) -> Result<Self, &'static str> {
        let mut all = Self::ALL.into_iter();
        let found = all.find(|policy| policy.name() == text.trim());
        found.ok_or("expected tofu, notify or verified-only")
    }
}

/// A list of texts; one scalar is a list of one.
impl Setting for Vec<String> {
    fn read<'de, A: MapAccess<'de>>(map: &mut A) -> Result<Option<Self>, A::Error> {
        map.next_value::<Option<Texts>>()
            .map(|list| list.map(|Texts(list)| list))
    }

    fn to_yaml(&self) -> Option<Value> {
        Some(Value::Sequence(
            self.iter().cloned().map(Value::String).collect(),
        ))
    }

    /// Commas between the items; none as nothing or as the file has it, `[]`.
    fn parse(text: &str) -> Result<Self, &'static str> {
        let text = if text.trim() == "[]" { "" } else { text };
        let items = text.split(',').map(str::trim);
        Ok(items
            .filter(|item| !item.is_empty())
            .map(str::to_owned)
            .collect())
    }
}

/// Own keys: present only where the user set them.
macro_rules! own_key {
    ($($kind:ty),*) => {$(
        impl Setting for Option<$kind> {
            fn read<'de, A: MapAccess<'de>>(map: &mut A) -> Result<Option<Self>, A::Error> {
                <$kind as Setting>::read(map).map(Some)
            }

            fn to_yaml(&self) -> Option<Value> {
                self.as_ref().and_then(Setting::to_yaml)
            }

            fn parse(text: &str) -> Result<Self, &'static str> {
                <$kind as Setting>::parse(text).map(Some)
            }
        }
    )*};
}
own_key!(bool, u64, Vec<String>, TrustPolicy);

/// An own key with a structure of its own, kept as it stands; whoever needs it reads it.
impl Setting for Option<Value> {
    fn read<'de, A: MapAccess<'de>>(map: &mut A) -> Result<Option<Self>, A::Error> {
        map.next_value::<Value>()
            .map(|value| Some(Some(value).filter(|value| !value.is_null())))
    }

    fn to_yaml(&self) -> Option<Value> {
        self.clone()
    }

    fn parse(text: &str) -> Result<Self, &'static str> {
        let value = yaml_serde::from_str::<Value>(text).map_err(|_| "expected YAML")?;
        match value {
            Value::Null => Ok(None),
            Value::Mapping(_) | Value::Sequence(_) => Ok(Some(value)),
            _ => Err("expected a mapping, or a list of them, in YAML: {kind: …, …}"),
        }
    }
}

/// A boolean with the words of YAML 1.1, which the reference's files may hold.
struct Flag(bool);

impl<'de> Deserialize<'de> for Flag {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Words;
        impl Visitor<'_> for Words {
            type Value = Flag;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("true or false, without quotes")
            }

            fn visit_bool<E: Error>(self, value: bool) -> Result<Flag, E> {
                Ok(Flag(value))
            }

            fn visit_u64<E: Error>(self, value: u64) -> Result<Flag, E> {
                Ok(Flag(value != 0))
            }

            fn visit_i64<E: Error>(self, value: i64) -> Result<Flag, E> {
                Ok(Flag(value != 0))
            }

            // A quoted "false" is true to the reference; refusing it is safer than either reading (client.md 3.1).
            fn visit_str<E: Error>(self, text: &str) -> Result<Flag, E> {
                match text {
                    "yes" | "Yes" | "YES" | "on" | "On" | "ON" => Ok(Flag(true)),
                    "no" | "No" | "NO" | "off" | "Off" | "OFF" | "" => Ok(Flag(false)),
                    _ => Err(E::invalid_value(Unexpected::Str(text), &self)),
                }
            }
        }
        deserializer.deserialize_any(Words)
    }
}

/// An integer, which may be quoted.
struct Integer<T>(T);

impl<'de, T: FromStr> Deserialize<'de> for Integer<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Digits<T>(PhantomData<T>);
        impl<T: FromStr> Visitor<'_> for Digits<T> {
            type Value = Integer<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an integer in range")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Integer<T>, E> {
                text.trim()
                    .parse()
                    .map(Integer)
                    .map_err(|_| E::invalid_value(Unexpected::Str(text), &self))
            }
        }
        deserializer.deserialize_str(Digits(PhantomData))
    }
}

/// One scalar or a sequence of scalars, each as its own text.
struct Texts(Vec<String>);

impl<'de> Deserialize<'de> for Texts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OneOrMany;
        impl<'de> Visitor<'de> for OneOrMany {
            type Value = Texts;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of texts")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Texts, E> {
                Ok(Texts(vec![text.to_owned()]))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Texts, A::Error> {
                let mut list = Vec::new();
                while let Some(text) = items.next_element::<String>()? {
                    list.push(text);
                }
                Ok(Texts(list))
            }
        }
        deserializer.deserialize_any(OneOrMany)
    }
}
