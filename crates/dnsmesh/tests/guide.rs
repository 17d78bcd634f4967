//! The user's guide says what the program does: its first steps are played from the page, and every verb and flag on a page exists.

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use common::node::Node;
use common::{Ran, program};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// All pages of the guide with their names, and the first page that anybody sees.
fn pages() -> Vec<(String, String)> {
    let pages = fs::read_dir(root().join("docs/guide")).unwrap();
    let mut pages: Vec<PathBuf> = pages.map(|page| page.unwrap().path()).collect();
    pages.push(root().join("README.md"));
    pages.sort();
    pages
        .iter()
        .map(|page| {
            (
                page.display().to_string(),
                fs::read_to_string(page).unwrap(),
            )
        })
        .collect()
}

/// Blocks of a page with the word behind their fence.
fn blocks(page: &str) -> Vec<(&str, &str)> {
    let fenced = page.split("\n```").skip(1).step_by(2);
    fenced.filter_map(|block| block.split_once('\n')).collect()
}

#[test]
fn the_first_steps_work_as_they_stand_on_the_page() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(dir.path(), "mesh.test");
    let path = Path::new(env!("CARGO_BIN_EXE_dnsmesh")).parent().unwrap();
    let path = format!("{}:{}", path.display(), std::env::var("PATH").unwrap());
    let page = fs::read_to_string(root().join("docs/guide/first-steps.md")).unwrap();
    let mut settings: BTreeMap<&str, &str> = BTreeMap::new();
    let mut told = String::new();
    let mut played = 0;
    for (kind, block) in blocks(&page) {
        match kind {
            "sh" => {
                let (who, commands) = block.split_once('\n').unwrap();
                // What a person exports holds in that terminal until the end.
                if let Some(exports) = commands.lines().find(|line| line.starts_with("export ")) {
                    settings.insert(who, exports);
                }
                let script = format!("set -e\n{}\n{commands}", settings[who])
                    .replace("25353", &node.dns.port().to_string())
                    .replace("28053", &node.http.port().to_string());
                let ran: Ran = Command::new("sh")
                    .args(["-c", &script])
                    .current_dir(dir.path())
                    .env_clear()
                    .env("PATH", &path)
                    .env("HOME", dir.path())
                    .stdin(Stdio::null())
                    .output()
                    .unwrap()
                    .into();
                told = ran.expect(0).stdout;
                played += 1;
            }
            "text" => {
                for line in block.lines() {
                    assert!(told.contains(line), "{line:?} is not in {told}");
                }
            }
            _ => {}
        }
    }
    assert!(played >= 7, "{played}");
}

/// What stands on a page as a command: lines of blocks and code in sentences that begin with the program's name.
fn commands(page: &str) -> Vec<String> {
    let whole = page.replace("\\\n", " ");
    let lines = blocks(&whole)
        .into_iter()
        .flat_map(|(_, block)| block.lines().map(str::to_owned).collect::<Vec<_>>());
    let spans = whole
        .split('`')
        .skip(1)
        .step_by(2)
        .filter(|span| !span.contains('\n'));
    let spans = spans.map(str::to_owned);
    let found = lines.chain(spans).flat_map(|text| {
        let parts: Vec<String> = text
            .split(" | ")
            .map(|part| part.trim().trim_start_matches("$ ").to_owned())
            .collect();
        parts
    });
    found.filter(|text| text.starts_with("dnsmesh ")).collect()
}

/// The help of a verb, or nothing if there is no such verb.
fn help<'a>(known: &'a mut BTreeMap<String, String>, verb: &[&str]) -> &'a str {
    known.entry(verb.join(" ")).or_insert_with(|| {
        let arguments = [&["help"], verb].concat();
        let ran: Ran = program(&arguments).output().unwrap().into();
        match ran.status {
            Some(0) if ran.stdout.contains("Usage: ") => ran.stdout,
            _ => String::new(),
        }
    })
}

#[test]
fn every_verb_and_flag_in_the_guide_exists() {
    let mut known = BTreeMap::new();
    let mut checked = 0;
    for (name, page) in pages() {
        for command in commands(&page) {
            let command = command.split(" #").next().unwrap();
            let words: Vec<&str> = command.split_whitespace().skip(1).collect();
            let mut verb: Vec<&str> = Vec::new();
            for word in words.iter().copied().filter(|word| !word.starts_with('-')) {
                let is_verb = word
                    .bytes()
                    .all(|byte| byte.is_ascii_lowercase() || byte == b'-');
                if !is_verb || help(&mut known, &[&verb[..], &[word]].concat()).is_empty() {
                    break;
                }
                verb.push(word);
            }
            let has_flag_only = words.first().is_some_and(|word| word.starts_with("--"));
            assert!(!verb.is_empty() || has_flag_only, "{name}: {command}");
            let help = help(&mut known, &verb);
            let flags = words.iter().take_while(|word| **word != "--");
            for flag in flags.filter(|word| word.starts_with("--") && word.len() > 2) {
                let flag = flag.split('=').next().unwrap();
                let flag = flag.trim_end_matches(|last: char| !last.is_ascii_alphanumeric());
                let is_there = help.contains(&format!("{flag} "))
                    || help.contains(&format!("{flag}\n"))
                    || help.contains(&format!("{flag}["))
                    || ["--help", "--version"].contains(&flag);
                assert!(is_there, "{name}: {command}: {flag}");
                checked += 1;
            }
        }
    }
    assert!(checked > 20, "{checked}");
}

#[test]
fn links_between_the_pages_lead_somewhere() {
    for (name, text) in pages() {
        for link in text.split("](").skip(1) {
            let (link, _) = link.split_once(')').unwrap();
            let file = link.split('#').next().unwrap_or_default();
            if !file.is_empty() && !link.contains("://") {
                let place = Path::new(&name).parent().unwrap().join(file);
                assert!(place.exists(), "{name}: {link}");
            }
        }
    }
}

#[test]
fn the_first_pages_lead_to_what_is_not_protected() {
    for page in ["README.md", "docs/guide/README.md"] {
        let text = fs::read_to_string(root().join(page)).unwrap();
        assert!(text.contains("not-protected.md)"), "{page}");
    }
    let help: Ran = program(&["--help"]).output().unwrap().into();
    help.expect(0).says("dnsmesh man");
}
