//! Holds ARCHITECTURE.md against the tree: the arrows between crates, purity, and where `unsafe` may stand.
//! It reads manifests and source text only; what the crates do is not its business.
#![forbid(unsafe_code)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Crates that take time and randomness as arguments and know no world.
const PURE: [&str; 2] = ["dmp-core", "dmp-dns"];

/// Modules of the standard library that a pure crate must not name.
const WORLD: [&str; 6] = ["time", "fs", "net", "thread", "env", "process"];

/// Crates that a pure crate must not name or depend on.
const WORLD_CRATES: [&str; 5] = ["tokio", "getrandom", "libc", "socket2", "rusqlite"];

#[test]
fn crates_depend_on_each_other_as_architecture_says() {
    let allowed = allowed_arrows();
    let actual = direct_dependencies();
    let ours: BTreeSet<&String> = actual.keys().collect();
    assert_eq!(
        ours,
        allowed.keys().collect(),
        "the table of ARCHITECTURE.md lists every crate and no other"
    );
    for (name, dependencies) in &actual {
        let arrows: BTreeSet<String> = dependencies
            .iter()
            .filter(|to| actual.contains_key(*to))
            .cloned()
            .collect();
        let unwanted: Vec<_> = arrows.difference(&allowed[name]).collect();
        assert!(
            unwanted.is_empty(),
            "{name} depends on {unwanted:?}, which ARCHITECTURE.md does not allow"
        );
    }
}

#[test]
fn pure_crates_know_no_world() {
    let dependencies = direct_dependencies();
    for name in PURE {
        for other in WORLD_CRATES {
            assert!(
                !dependencies[name].contains(other),
                "{name} depends on {other}"
            );
        }
        for file in rust_files(&workspace().join("crates").join(name).join("src")) {
            let code = shipped_code(&file);
            for module in WORLD {
                assert!(
                    !names_std_module(&code, module),
                    "{} names std::{module}",
                    file.display()
                );
            }
            for other in WORLD_CRATES {
                assert!(
                    !code.contains(&format!("{other}::")),
                    "{} names {other}",
                    file.display()
                );
            }
        }
    }
}

#[test]
fn unsafe_stands_in_one_socket_module_only() {
    let crates = workspace().join("crates");
    let mut unsafe_files = Vec::new();
    for name in direct_dependencies().keys() {
        let source = crates.join(name).join("src");
        for file in rust_files(&source) {
            let text = without_comments(&read(&file));
            if words(&text).any(|word| word == "unsafe") {
                unsafe_files.push(file);
            }
        }
        let root = ["lib.rs", "main.rs"]
            .iter()
            .map(|f| source.join(f))
            .find(|f| f.exists())
            .expect("a crate root");
        if name != "dmp-node" {
            assert!(
                read(&root).contains("#![forbid(unsafe_code)]"),
                "{} forbids unsafe code",
                root.display()
            );
        }
    }
    assert!(
        unsafe_files.len() <= 1,
        "one audited module at most: {unsafe_files:?}"
    );
    assert!(
        unsafe_files
            .iter()
            .all(|f| f.starts_with(crates.join("dmp-node"))),
        "{unsafe_files:?}"
    );
}

#[test]
fn the_scan_sees_what_it_looks_for() {
    assert!(names_std_module("use std::time::Instant;", "time"));
    assert!(names_std_module(
        "use std::{collections::BTreeMap, time::{Duration, Instant}};",
        "time"
    ));
    assert!(names_std_module("use std::{\n    io,\n    fs,\n};", "fs"));
    assert!(!names_std_module(
        "use std::{fmt, str};\nlet time = 1;",
        "time"
    ));
    assert_eq!(without_comments("a // unsafe\n/// std::fs\nb"), "a \n\nb");
    assert_eq!(without_comments("\"http://x\" c"), "\"http://x\" c");
}

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .canonicalize()
        .expect("the workspace root")
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The rows of ARCHITECTURE.md's table of arrows: crate name to the crates it may depend on.
fn allowed_arrows() -> BTreeMap<String, BTreeSet<String>> {
    let text = read(&workspace().join("ARCHITECTURE.md"));
    let (_, table) = text
        .split_once("| from | to |")
        .expect("the table of arrows");
    let rows = table
        .lines()
        .skip(2)
        .take_while(|line| line.starts_with('|'));
    rows.map(|row| {
        let mut names = row.split('`').skip(1).step_by(2).map(str::to_owned);
        (
            names.next().expect("a crate in the first column"),
            names.collect(),
        )
    })
    .collect()
}

/// Every crate of the workspace with the names of its direct dependencies, without those for tests only.
fn direct_dependencies() -> BTreeMap<String, BTreeSet<String>> {
    let output = Command::new(env!("CARGO"))
        .args([
            "metadata",
            "--format-version=1",
            "--no-deps",
            "--offline",
            "--manifest-path",
        ])
        .arg(workspace().join("Cargo.toml"))
        .output()
        .expect("cargo metadata runs");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let metadata: serde_json::Value =
        serde_json::from_slice(&output.stdout).expect("metadata is JSON");
    let packages = metadata["packages"].as_array().expect("packages");
    packages
        .iter()
        .map(|package| {
            let dependencies = package["dependencies"]
                .as_array()
                .expect("dependencies")
                .iter();
            let shipped = dependencies.filter(|d| d["kind"].as_str() != Some("dev"));
            (
                text(&package["name"]),
                shipped.map(|d| text(&d["name"])).collect(),
            )
        })
        .collect()
}

fn text(value: &serde_json::Value) -> String {
    value.as_str().expect("a string").to_owned()
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in
        std::fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
    {
        let path = entry.expect("a directory entry").path();
        if path.is_dir() {
            found.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found
}

/// The code of a file that ships: no comments, and nothing from its tests (which stand at the end).
fn shipped_code(file: &Path) -> String {
    let text = read(file);
    let shipped = text.split("#[cfg(test)]\nmod ").next().unwrap_or_default();
    without_comments(shipped)
}

/// Cuts line comments; a `//` right after a colon is part of an address, not a comment.
fn without_comments(text: &str) -> String {
    let cut = |line: &str| {
        let start = line
            .match_indices("//")
            .find(|(at, _)| !line[..*at].ends_with(':'))
            .map(|(at, _)| at);
        line[..start.unwrap_or(line.len())].to_owned()
    };
    text.lines().map(cut).collect::<Vec<_>>().join("\n")
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
}

/// Whether the code names `std::<module>`, directly or inside a `use std::{...}` group.
fn names_std_module(code: &str, module: &str) -> bool {
    code.match_indices("std::").any(|(at, _)| {
        let rest = &code[at + "std::".len()..];
        match rest.strip_prefix('{') {
            None => words(rest).next() == Some(module),
            Some(group) => top_level_names(group).contains(&module),
        }
    })
}

/// The first names of the members of a `{...}` group, given the text after its opening brace.
fn top_level_names(group: &str) -> Vec<&str> {
    let (mut depth, mut start, mut names) = (1, 0, Vec::new());
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        if depth == 0 || (depth == 1 && c == ',') {
            names.extend(words(group[start..at].trim()).next());
            start = at + 1;
        }
        if depth == 0 {
            break;
        }
    }
    names
}
