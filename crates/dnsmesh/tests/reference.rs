//! What the program says about itself is true and whole: help, error codes, completions, manual pages, and the pages of the guide that are
//! shipped in it.

mod common;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use common::{Ran, program};
use dmp_client::config::Key;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn run(arguments: &[&str]) -> Ran {
    Ran::of(arguments, program(arguments).output().unwrap())
}

#[test]
fn pages_shipped_in_the_program_are_those_of_the_guide() {
    for page in ["errors.md", "config.md"] {
        let (shipped, guide) = (
            format!("crates/dnsmesh/text/{page}"),
            format!("docs/guide/{page}"),
        );
        assert!(read(&shipped) == read(&guide), "copy {shipped} to {guide}");
    }
}

#[test]
fn the_page_on_the_configuration_has_every_key_and_no_other() {
    let page = read("docs/guide/config.md");
    let rows = page
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split('`').next());
    let rows: BTreeSet<&str> = rows
        .filter(|key| !key.contains(char::is_uppercase) && !key.contains("proxy"))
        .collect();
    let keys: BTreeSet<&str> = Key::all().map(Key::name).collect();
    assert_eq!(rows, keys);
}

/// Text in quotes right behind one of the beginnings, blanks aside.
fn literals<'a>(text: &'a str, begin: &str) -> Vec<&'a str> {
    let quoted = text.split(begin).skip(1).filter_map(|rest| {
        let rest = rest.trim_start().strip_prefix('"')?;
        rest.split('"').next()
    });
    quoted.filter(|text| is_code(text)).collect()
}

fn is_code(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
}

/// Every text in quotes in the bodies of functions called `code`.
fn codes_of_functions(text: &str) -> Vec<&str> {
    let bodies = text.split("fn code(").skip(1).map(|rest| {
        let end = rest.find("\n    }\n").unwrap_or(rest.len());
        rest.get(..end).unwrap_or(rest)
    });
    let quoted = bodies.flat_map(|body| body.split('"').skip(1).step_by(2));
    quoted.filter(|text| is_code(text)).collect()
}

fn sources(directory: &Path, look: &mut dyn FnMut(&str)) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, look);
        } else {
            // Tests at the end of a file make up codes.
            let text = fs::read_to_string(&path).unwrap();
            look(text.split("\n#[cfg(test)]").next().unwrap());
        }
    }
}

#[test]
fn every_code_of_the_source_is_explained_and_no_other() {
    let mut used = BTreeSet::new();
    for package in ["dmp-client", "dmp-core", "dmp-net"] {
        sources(&root().join(format!("crates/{package}/src")), &mut |text| {
            used.extend(codes_of_functions(text).into_iter().map(str::to_owned));
        });
    }
    sources(&root().join("crates/dnsmesh/src"), &mut |text| {
        let mut codes = codes_of_functions(text);
        let begins = [
            "user(",
            "failed(",
            "Exit::User,",
            "Exit::Remote,",
            "Fault::Misuse,",
            "Fault::Rejected,",
            "Fault::Unavailable,",
            "Fault::Malformed,",
            "Fault::Bug,",
        ];
        for begin in begins {
            codes.extend(literals(text, begin));
        }
        used.extend(codes.into_iter().map(str::to_owned));
    });
    let page = run(&["help", "codes"]).expect(0).stdout;
    let explained: BTreeSet<String> = page
        .lines()
        .flat_map(|line| line.split(", "))
        .map(str::to_owned)
        .collect();
    let missing: Vec<_> = used.difference(&explained).collect();
    assert!(
        missing.is_empty(),
        "crates/dnsmesh/text/errors.md does not explain {missing:?}"
    );
    let unused: Vec<_> = explained.difference(&used).collect();
    assert!(unused.is_empty(), "nothing says {unused:?} any more");
}

#[test]
fn help_explains_a_code_a_verb_and_says_when_it_knows_neither() {
    let told = run(&["help", "send-too-large"]).expect(0).stdout;
    let parts = ["send-too-large\n\n", "\n\nNot harmed: ", "\n\nWhat to do: "];
    let mut rest = told.as_str();
    for part in parts {
        let (_, after) = rest
            .split_once(part)
            .unwrap_or_else(|| panic!("{part:?}: {told}"));
        rest = after;
    }
    assert!(
        told.lines().all(|line| line.chars().count() <= 78),
        "{told}"
    );
    assert_eq!(
        run(&["help", "STORE-DATABASE"]).expect(0).stdout,
        run(&["help", "store-file"]).expect(0).stdout
    );
    assert_eq!(
        run(&["help", "tsig", "register"])
            .expect(0)
            .stdout
            .lines()
            .next(),
        run(&["tsig", "register", "--help"]).stdout.lines().next()
    );
    assert!(run(&["help"]).expect(0).stdout.contains("Usage: dnsmesh"));
    run(&["help", "no\u{1b}thing"])
        .expect(2)
        .nothing_on_stdout()
        .warns("no verb and no error code: no\\x1bthing [help-unknown]");
}

/// Whether a tool is on this machine; a test says so where it needs one and has none.
fn has(tool: &str) -> bool {
    let found = Command::new("sh")
        .args(["-c", &format!("command -v {tool}")])
        .stdout(Stdio::null())
        .status();
    found.is_ok_and(|status| status.success())
}

#[test]
fn completions_are_scripts_that_their_shells_take() {
    let verbs = [
        "contacts",
        "send",
        "recv",
        "node",
        "completion",
        "--no-input",
    ];
    let dir = tempfile::tempdir().unwrap();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = run(&["completion", shell]).expect(0).stdout;
        for verb in verbs {
            assert!(
                script.contains(verb.trim_start_matches('-')),
                "{shell}: {verb}"
            );
        }
        if matches!(shell, "bash" | "zsh" | "fish") && has(shell) {
            let file = dir.path().join(shell);
            fs::write(&file, &script).unwrap();
            let checked = Command::new(shell).arg("-n").arg(&file).output().unwrap();
            assert!(
                checked.status.success(),
                "{shell}: {}",
                String::from_utf8_lossy(&checked.stderr)
            );
        }
    }
    run(&["completion", "csh"]).expect(2);
}

#[test]
fn bash_completes_verbs_and_flags() {
    if !has("bash") {
        return;
    }
    let script = run(&["completion", "bash"]).expect(0).stdout;
    // It is longer than one argument of a process may be.
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("dnsmesh.bash");
    fs::write(&file, script).unwrap();
    let complete = |words: &str, current: usize| -> String {
        let ask = format!(
            "source \"$0\"\nCOMP_WORDS=({words})\nCOMP_CWORD={current}\n_dnsmesh dnsmesh \"${{COMP_WORDS[{current}]}}\" x\nprintf '%s ' \"${{COMPREPLY[@]}}\""
        );
        let ran: Ran = Command::new("bash")
            .args(["-c", &ask])
            .arg(&file)
            .output()
            .unwrap()
            .into();
        ran.stdout
    };
    assert_eq!(complete("dnsmesh reso", 1), "resolvers ");
    assert!(complete("dnsmesh send --re", 2).contains("--require-fs"));
}

#[test]
fn manual_pages_are_written_where_man_finds_them_and_render() {
    let dir = tempfile::tempdir().unwrap();
    let target = dir.path().to_str().unwrap();
    let written = run(&["man", target]).expect(0).stdout;
    for page in [
        "man1/dnsmesh.1",
        "man1/dnsmesh-send.1",
        "man1/dnsmesh-identity-fetch.1",
        "man5/dnsmesh-config.5",
        "man5/dnsmesh-node.toml.5",
        "man7/dnsmesh-errors.7",
        "man8/dnsmesh-node.8",
        "man8/dnsmesh-node-ctl-key-add.8",
    ] {
        assert!(
            written.contains(&format!("{target}/{page}\n")),
            "{page}: {written}"
        );
    }
    assert!(
        !written.contains("-help.1\n") || written.matches("-help.1\n").count() == 1,
        "{written}"
    );
    let main = fs::read_to_string(dir.path().join("man1/dnsmesh.1")).unwrap();
    assert_eq!(run(&["man"]).expect(0).stdout, main);
    assert!(
        main.contains("dnsmesh\\-node(8)") && !main.contains("dnsmesh\\-node(1)"),
        "{main}"
    );
    if !has("man") || !has("groff") {
        return;
    }
    for file in written.lines() {
        let ran: Ran = Command::new("man")
            .args(["--warnings", "--local-file", file])
            .env("MANWIDTH", "100")
            .env("LC_ALL", "C.UTF-8")
            .output()
            .unwrap()
            .into();
        assert_eq!((ran.status, ran.stderr.as_str()), (Some(0), ""), "{file}");
        assert!(ran.stdout.contains("NAME"), "{file}: {}", ran.stdout);
    }
}
