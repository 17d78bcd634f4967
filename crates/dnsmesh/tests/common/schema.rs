//! Holds what a run with `--json` prints against `docs/schema`, more strictly than a reader should: members that no schema names are
//! errors here.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock};

use jsonschema::Validator;
use serde_json::{Map, Value};

/// Where the schemas are: `dmp.message/1` in `dmp.message.1.json`.
pub(crate) fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/schema")
}

/// Names of all schemas, as their files say.
pub(crate) fn names() -> BTreeSet<String> {
    validators().keys().cloned().collect()
}

/// Names of the schemas that valid objects were printed of in this process.
pub(crate) fn seen() -> BTreeSet<String> {
    SEEN.lock().unwrap().clone()
}

/// Checks the JSON of a run: every object on standard output, and on standard error every line that is one.
#[track_caller]
pub(crate) fn check(arguments: &[&str], stdout: &str, stderr: &str) {
    for value in serde_json::Deserializer::from_str(stdout).into_iter::<Value>() {
        let value = value.unwrap_or_else(|error| panic!("{arguments:?}: {error}: {stdout}"));
        match value {
            Value::Array(rows) => rows.iter().for_each(|row| object(arguments, row)),
            value => object(arguments, &value),
        }
    }
    for line in stderr.lines().filter(|line| line.starts_with('{')) {
        let value = serde_json::from_str(line);
        object(
            arguments,
            &value.unwrap_or_else(|error| panic!("{arguments:?}: {error}: {line}")),
        );
    }
}

static SEEN: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

#[track_caller]
fn object(arguments: &[&str], object: &Value) {
    let name = object["schema"].as_str();
    let name = name.unwrap_or_else(|| panic!("{arguments:?}: no schema: {object}"));
    let validator = validators().get(name);
    let validator = validator.unwrap_or_else(|| panic!("{arguments:?}: docs/schema has no {name}"));
    let errors: Vec<String> = validator
        .iter_errors(object)
        .map(|error| format!("{}: {error}", error.instance_path()))
        .collect();
    assert!(
        errors.is_empty(),
        "{arguments:?}: {name}: {errors:#?}: {object}"
    );
    SEEN.lock().unwrap().insert(name.to_owned());
}

fn validators() -> &'static BTreeMap<String, Validator> {
    static VALIDATORS: OnceLock<BTreeMap<String, Validator>> = OnceLock::new();
    VALIDATORS.get_or_init(|| {
        let files = fs::read_dir(directory()).unwrap();
        let files = files.map(|file| file.unwrap().path());
        let files = files.filter(|file| {
            file.extension()
                .is_some_and(|extension| extension == "json")
        });
        files.map(|file| read(&file)).collect()
    })
}

fn read(file: &Path) -> (String, Validator) {
    let text = fs::read_to_string(file).unwrap();
    let mut schema: Value =
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let valid = jsonschema::meta::validate(&schema);
    assert!(valid.is_ok(), "{}: {valid:?}", file.display());
    let name = schema["title"].as_str().unwrap().to_owned();
    let (thing, major) = name.rsplit_once('/').unwrap();
    assert_eq!(
        file.file_name().unwrap().to_str(),
        Some(&*format!("{thing}.{major}.json"))
    );
    assert_eq!(schema["properties"]["schema"]["const"], *name, "{name}");
    close(&mut schema);
    (name, jsonschema::draft202012::new(&schema).unwrap())
}

/// Forbids members without a description wherever members are described.
fn close(schema: &mut Value) {
    match schema {
        Value::Object(members) => {
            members.values_mut().for_each(close);
            if members.get("properties").is_some_and(Value::is_object) {
                is_documented(members);
                members
                    .entry("additionalProperties")
                    .or_insert(Value::Bool(false));
            }
        }
        Value::Array(items) => items.iter_mut().for_each(close),
        _ => {}
    }
}

fn is_documented(schema: &Map<String, Value>) {
    let properties = schema["properties"].as_object().unwrap();
    for (name, property) in properties.iter().filter(|(name, _)| *name != "schema") {
        assert!(
            property["description"].is_string(),
            "{name} has no description: {schema:?}"
        );
    }
}
