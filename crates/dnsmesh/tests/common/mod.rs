//! Runs the program in a home of its own, with nothing of the tester's environment.
#![allow(dead_code, reason = "each test file uses its own part")]

pub(crate) mod node;
pub(crate) mod schema;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// What one run printed and how it ended.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) status: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ran {
    /// The outcome of a run. What `--json` printed is what its schemas say (docs/schema).
    #[track_caller]
    pub(crate) fn of(arguments: &[&str], output: Output) -> Self {
        let ran = Self::from(output);
        if arguments.contains(&"--json") {
            schema::check(arguments, &ran.stdout, &ran.stderr);
        }
        ran
    }

    #[track_caller]
    pub(crate) fn expect(self, status: i32) -> Self {
        assert_eq!(
            self.status,
            Some(status),
            "stdout: {}\nstderr: {}",
            self.stdout,
            self.stderr
        );
        self
    }

    #[track_caller]
    pub(crate) fn says(self, line: &str) -> Self {
        assert!(
            self.stdout.contains(line),
            "`{line}` is not in stdout: {}\nstderr: {}",
            self.stdout,
            self.stderr
        );
        self
    }

    #[track_caller]
    pub(crate) fn warns(self, line: &str) -> Self {
        assert!(
            self.stderr.contains(line),
            "`{line}` is not in stderr: {}\nstdout: {}",
            self.stderr,
            self.stdout
        );
        self
    }

    #[track_caller]
    pub(crate) fn nothing_on_stdout(self) -> Self {
        assert_eq!(self.stdout, "", "stderr: {}", self.stderr);
        self
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|error| panic!("{error}: {}", self.stdout))
    }
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        Self {
            status: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

/// A user of the program: a home directory and the variables of every run.
pub(crate) struct User {
    pub(crate) home: PathBuf,
    variables: Vec<(String, String)>,
}

impl User {
    /// A user whose home is `name` under `dir`, with a passphrase made from the name.
    pub(crate) fn new(dir: &Path, name: &str) -> Self {
        let home = dir.join(name);
        let user = Self {
            variables: Vec::new(),
            home: home.clone(),
        };
        user.with("DMP_PASSPHRASE", &format!("passphrase of {name}"))
            .with("DMP_CONFIG_HOME", home.to_str().unwrap())
            .with("DMP_TOKENS_HOME", home.join("tokens").to_str().unwrap())
    }

    pub(crate) fn with(mut self, variable: &str, value: &str) -> Self {
        self.variables.retain(|(name, _)| name != variable);
        self.variables.push((variable.to_owned(), value.to_owned()));
        self
    }

    pub(crate) fn without(mut self, variable: &str) -> Self {
        self.variables.retain(|(name, _)| name != variable);
        self
    }

    /// The variables of every run.
    pub(crate) fn variables(&self) -> impl Iterator<Item = (&String, &String)> {
        self.variables.iter().map(|(name, value)| (name, value))
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = program(arguments);
        command
            .env("HOME", self.home.parent().unwrap())
            .envs(self.variables.iter().cloned());
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Ran {
        let output = self.command(arguments).stdin(Stdio::null()).output();
        Ran::of(arguments, output.unwrap())
    }

    pub(crate) fn run_with_input(&self, arguments: &[&str], input: &[u8]) -> Ran {
        let mut child = self
            .command(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(input).unwrap();
        Ran::of(arguments, child.wait_with_output().unwrap())
    }

    /// The name of the home directory, which is the user name.
    pub(crate) fn name(&self) -> &str {
        self.home
            .file_name()
            .and_then(|name| name.to_str())
            .unwrap()
    }

    pub(crate) fn config(&self) -> String {
        std::fs::read_to_string(self.home.join("config.yaml")).unwrap()
    }

    /// The value of a key in `config.yaml`, as it stands in the line.
    pub(crate) fn setting(&self, key: &str) -> String {
        let start = format!("{key}: ");
        self.config()
            .lines()
            .find_map(|line| line.strip_prefix(&start).map(str::to_owned))
            .unwrap_or_else(|| panic!("no {key}"))
    }

    /// Appends a line to `config.yaml`; the last of a repeated key wins.
    pub(crate) fn configure(&self, line: &str) {
        std::fs::write(
            self.home.join("config.yaml"),
            format!("{}{line}\n", self.config()),
        )
        .unwrap();
    }
}

/// The program under test with an empty environment.
pub(crate) fn program(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dnsmesh"));
    command
        .args(arguments)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command
}
