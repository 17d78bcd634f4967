//! Changes single settings in the text of a settings file and leaves every other line, comments included, as it is.
//!
//! What the settings mean is for `config`.

use std::ops::Range;

use thiserror::Error;
use toml::{Table, Value};

/// A setting to write.
#[derive(Clone, Debug, PartialEq)]
pub struct Setting {
    /// Its dotted key.
    pub key: &'static str,
    /// Its value; `None` takes it out of force.
    pub value: Option<Value>,
}

/// Why a text cannot be changed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum EditError {
    /// It is no TOML.
    #[error("{0}")]
    Toml(String),
    /// It is TOML, but of a form in which single lines cannot be changed.
    #[error("it is written in a form that this program does not change; set {0} by hand")]
    Form(String),
}

/// The value in force for a dotted key, if there is one.
pub fn value(text: &str, key: &str) -> Result<Option<Value>, EditError> {
    let root = parse(text)?;
    let (table, name) = key.rsplit_once('.').unwrap_or(("", key));
    let within = match table {
        "" => Some(&root),
        table => root.get(table).and_then(Value::as_table),
    };
    Ok(within.and_then(|within| within.get(name)).cloned())
}

/// The text with these settings in force. Where the same key stands in a line of its own, in force or as a comment, that line
/// changes; otherwise a line is added to the end of its table.
pub fn edit(text: &str, settings: &[Setting]) -> Result<String, EditError> {
    let mut wanted = parse(text)?;
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    for setting in settings {
        let (table, name) = setting.key.rsplit_once('.').unwrap_or(("", setting.key));
        put(&mut wanted, table, name, setting.value.clone());
        let line = setting.value.as_ref();
        let line = line.map(|value| format!("{name} = {value}"));
        write(&mut lines, table, name, line);
    }
    let edited = lines.join("\n") + "\n";
    if parse(&edited).is_ok_and(|table| table == wanted) {
        Ok(edited)
    } else {
        let keys: Vec<&str> = settings.iter().map(|setting| setting.key).collect();
        Err(EditError::Form(keys.join(", ")))
    }
}

fn parse(text: &str) -> Result<Table, EditError> {
    let table: Result<Table, toml::de::Error> = text.parse();
    table.map_err(|error| EditError::Toml(error.message().replace('\n', " ")))
}

/// What the text is to mean afterwards.
fn put(root: &mut Table, table: &str, name: &str, value: Option<Value>) {
    if !table.is_empty() && value.is_some() && !root.contains_key(table) {
        root.insert(table.to_owned(), Value::Table(Table::new()));
    }
    let within = match table {
        "" => Some(root),
        table => root.get_mut(table).and_then(Value::as_table_mut),
    };
    // What is no table cannot be made to mean what is wanted; the comparison finds that.
    match (within, value) {
        (Some(within), Some(value)) => drop(within.insert(name.to_owned(), value)),
        (Some(within), None) => drop(within.remove(name)),
        (None, _) => {}
    }
}

fn write(lines: &mut Vec<String>, table: &str, name: &str, line: Option<String>) {
    let range = match section(lines, table) {
        Some(range) => range,
        None if line.is_none() => return,
        None => {
            lines.extend([String::new(), format!("[{table}]")]);
            lines.len()..lines.len()
        }
    };
    let find = |lines: &[String], is_key: fn(&str, &str) -> bool| {
        let mut section = range.clone();
        section.find(|&at| lines.get(at).is_some_and(|text| is_key(text, name)))
    };
    let in_force = find(lines, is_setting);
    let at = in_force.or_else(|| find(lines, is_comment));
    match (at, line) {
        (Some(at), Some(line)) => lines[at] = line,
        (None, Some(line)) => {
            // Before the blank lines that part this table from the next.
            let written = |at: &usize| lines.get(*at).is_none_or(|text| !text.trim().is_empty());
            let end = range
                .clone()
                .rev()
                .find(written)
                .map_or(range.start, |last| last + 1);
            lines.insert(end, line);
        }
        (_, None) => {
            if let Some(at) = in_force {
                lines[at].insert(0, '#');
            }
        }
    }
}

/// The lines of a table, its header not among them.
fn section(lines: &[String], table: &str) -> Option<Range<usize>> {
    let header = |text: &String| text.trim_start().starts_with('[');
    let start = if table.is_empty() {
        0
    } else {
        let wanted = format!("[{table}]");
        lines.iter().position(|text| text.trim() == wanted)? + 1
    };
    let length = lines.get(start..)?.iter().position(header);
    Some(start..length.map_or(lines.len(), |length| start + length))
}

fn is_setting(line: &str, name: &str) -> bool {
    let rest = line.trim_start().strip_prefix(name);
    rest.is_some_and(|rest| rest.trim_start().starts_with('='))
}

fn is_comment(line: &str, name: &str) -> bool {
    let text = line.trim_start().strip_prefix('#');
    text.is_some_and(|text| is_setting(text, name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> [Setting; 3] {
        [
            ("zone", Some("m.example".into())),
            ("dns.port", Some(Value::Integer(53))),
            ("dns.apex_a", None),
        ]
        .map(|(key, value)| Setting { key, value })
    }

    #[test]
    fn every_other_line_stays_as_it_is() {
        let text = "# mine\n#zone = \"x.example\"\nhostname = 'h'\n\n[dns]\nport = 5353 # old\napex_a = \"192.0.2.1\"\n\n[log]\nlevel = \"DEBUG\"\n";
        assert_eq!(
            edit(text, &settings()).unwrap(),
            "# mine\nzone = \"m.example\"\nhostname = 'h'\n\n[dns]\nport = 53\n#apex_a = \"192.0.2.1\"\n\n[log]\nlevel = \"DEBUG\"\n"
        );
    }

    #[test]
    fn what_is_missing_is_added_and_a_second_time_changes_nothing() {
        let once = edit("", &settings()).unwrap();
        assert_eq!(once, "zone = \"m.example\"\n\n[dns]\nport = 53\n");
        assert_eq!(edit(&once, &settings()).unwrap(), once);
        let within = edit("zone = \"a.b\"\n[dns]\nttl = 60\n\n[log]\n", &settings()).unwrap();
        assert_eq!(
            within,
            "zone = \"m.example\"\n[dns]\nttl = 60\nport = 53\n\n[log]\n"
        );
    }

    #[test]
    fn the_example_takes_every_setting() {
        let edited = edit(&crate::config::example(), &settings()).unwrap();
        let port = |text: &str| value(text, "dns.port").unwrap();
        assert_eq!(
            (port(&crate::config::example()), port(&edited)),
            (None, Some(53.into()))
        );
        assert_eq!(
            edited.lines().count(),
            crate::config::example().lines().count()
        );
    }

    #[test]
    fn a_form_that_lines_cannot_change_is_refused() {
        for text in [
            "dns.port = 53\n",
            "dns = { port = 1 }\n",
            "[dns]\nport =\\\n",
        ] {
            edit(text, &settings()).unwrap_err();
        }
        let list = "[dns]\napex_a = \"\"\"\n192.0.2.1\"\"\"\n";
        assert!(matches!(edit(list, &settings()), Err(EditError::Form(_))));
    }
}
