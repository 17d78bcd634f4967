//! `node setup`: from a zone and an address to settings, to the records of the parent zone, and to the proof that resolvers follow
//! them (node.md 10). It may be run again at any point and goes on from what it finds.

use std::fs::{self, Metadata};
use std::io::{self, ErrorKind, Write};
use std::net::{IpAddr, UdpSocket};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

use dmp_core::endpoint::is_public;
use dmp_node::check::{self, Finding, Grade, Online};
use dmp_node::config::{Config, ConfigFile, DEFAULT_FILE, Environment, Overrides};
use dmp_node::setup::{self, Plan, Setting};
use serde::Serialize;

use super::check::Checked;
use super::ctl::Target;
use crate::args::NodeSetupArgs;
use crate::exit::{Exit, Failure};
use crate::prompt;
use crate::report::{Format, Report, line};

/// Does what the command line asks.
pub(crate) async fn setup(args: NodeSetupArgs, format: Format) -> Result<Exit, Failure> {
    let online = Online {
        resolvers: args.resolver.clone(),
        port: args.server_port,
    };
    let overrides = Overrides::from(args.settings.clone());
    if !args.verify {
        let prepared = prepare(&args)?;
        let is_settled = !prepared.written;
        let exit = format.print(&prepared);
        if !(is_settled && runs(&overrides).await) {
            return Ok(exit);
        }
    }
    Ok(format.print(&verify(&overrides, &online).await?))
}

async fn runs(overrides: &Overrides) -> bool {
    let Ok(node) = Target::new(overrides) else {
        return false;
    };
    check::running(node.database().to_owned()).await.grade == Grade::Ok
}

/// Looks at the running node and at its delegation from outside.
async fn verify(overrides: &Overrides, online: &Online) -> Result<Checked, Failure> {
    let node = Target::new(overrides)?;
    let mut findings = vec![check::running(node.database().to_owned()).await];
    findings.extend(check::delegation(node.config(), online).await);
    findings.extend(verdict(&findings));
    Ok(Checked(findings))
}

fn verdict(findings: &[Finding]) -> Option<Finding> {
    let told = match check::verdict(findings) {
        Grade::Fail => return None,
        Grade::Warn => "resolvers reach this node; look at what is doubtful above",
        Grade::Ok => "resolvers reach this node",
    };
    Some(Finding::new(Grade::Ok, told))
}

/// Settings written, and what is to be done next.
struct Prepared {
    config: PathBuf,
    written: bool,
    operator_token: PathBuf,
    token_made: bool,
    plan: Plan,
}

/// Writes settings and token, unless they are as wanted already.
fn prepare(args: &NodeSetupArgs) -> Result<Prepared, Failure> {
    let path = args.settings.config.clone();
    let path = path.unwrap_or_else(|| DEFAULT_FILE.into());
    let path = std::path::absolute(&path).map_err(|error| failed(&path, error))?;
    let text = match fs::read_to_string(&path) {
        Ok(text) => Some(text),
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        Err(error) => return Err(failed(&path, error)),
    };
    let before = match &text {
        Some(text) => Some(settings_of(&path, text)?),
        None => None,
    };
    let plan = ask_for_plan(args, before.as_ref())?;

    let base = text.clone().unwrap_or_else(dmp_node::config::example);
    let wrong = |error| Failure::user("node-setup", format!("{}: {error}", path.display()));
    let in_force = |key| setup::value(&base, key).map_err(wrong);
    let operator_token = match in_force("http.operator_token_file")? {
        Some(value) => PathBuf::from(value.as_str().unwrap_or_default()),
        None => path.with_file_name("operator-token"),
    };
    // What the command line asks for holds; the rest is for keys that nobody has set.
    let mut settings = plan.place();
    if args.acme {
        settings.extend(plan.automatic_certificate(args.acme_contact.as_deref()));
    }
    settings.extend(args.listen.map(|listen| Setting {
        key: "dns.host",
        value: Some(listen.to_string().into()),
    }));
    for setting in plan.beginnings(&operator_token) {
        let is_asked_for = settings.iter().any(|asked| asked.key == setting.key);
        if !is_asked_for && in_force(setting.key)?.is_none() {
            settings.push(setting);
        }
    }
    let wanted = setup::edit(&base, &settings).map_err(wrong)?;

    let written = text.as_deref() != Some(&wanted);
    if written && before.is_some_and(|before| before.zone.is_some()) {
        let question = format!("Change the settings in {}? [y/N] ", path.display());
        if !args.yes && !matches!(ask(&question, "--yes")?.as_str(), "y" | "yes") {
            let reason = format!("{} has other settings", path.display());
            return Err(Failure::user("node-setup", reason).hint("nothing was changed"));
        }
        let copy = path.with_extension("toml.before-setup");
        fs::copy(&path, &copy).map_err(|error| failed(&copy, error))?;
    }
    let token_made = make_token(&operator_token)?;
    if written {
        replace(&path, wanted.as_bytes()).map_err(|error| failed(&path, error))?;
    }
    Ok(Prepared {
        config: path,
        written,
        operator_token,
        token_made,
        plan,
    })
}

/// The settings of the file alone, without what variables add.
fn settings_of(path: &Path, text: &str) -> Result<Config, Failure> {
    let file = ConfigFile::parse(path, text);
    let config = file.and_then(|file| {
        let environment = Environment::default().with_file(Some(&file))?;
        Config::read(&environment, &Overrides::default())
    });
    config.map_err(|error| Failure::user("node-config", error))
}

/// What the command line says, and for the rest what the operator answers; an empty answer takes what is offered.
fn ask_for_plan(args: &NodeSetupArgs, before: Option<&Config>) -> Result<Plan, Failure> {
    let given = |value: &Option<String>, offered: Option<String>, question: &str, flag: &str| match (
        value, offered,
    ) {
        (Some(value), _) => Ok(value.clone()),
        (None, Some(offered)) if args.yes => Ok(offered),
        (None, offered) => answer(question, offered, flag),
    };
    let zone = before.and_then(|before| before.zone.as_ref());
    let zone = given(
        &args.zone,
        zone.map(ToString::to_string),
        "Zone of the node, a sub-domain of one that you have",
        "--zone",
    )?;
    let texts = |addresses: Vec<IpAddr>| {
        let texts: Vec<String> = addresses.iter().map(ToString::to_string).collect();
        (!texts.is_empty()).then(|| texts.join(","))
    };
    let offered = before.map(|before| {
        let (v4, v6) = (before.dns.apex_a, before.dns.apex_aaaa);
        let v4 = v4.map(IpAddr::V4).into_iter();
        v4.chain(v6.map(IpAddr::V6)).collect()
    });
    let addresses = given(
        &texts(args.address.clone()),
        offered.and_then(texts).or_else(|| texts(own_addresses())),
        "Public addresses of this host, separated by commas",
        "--address",
    )?;
    let addresses: Result<Vec<IpAddr>, _> = addresses
        .split(',')
        .map(|text| text.trim().parse().map_err(|_| text.trim().to_owned()))
        .collect();
    let addresses =
        addresses.map_err(|text| Failure::user("node-setup", format!("{text:?} is no address")))?;
    let name_server = before.and_then(|before| before.dns.apex_ns.first());
    let name_server = given(
        &args.ns_name,
        Some(name_server.map_or_else(|| zone.clone(), ToString::to_string)),
        "Name server as the parent zone names it: the zone itself, or a host outside of it",
        "--ns-name",
    )?;
    Plan::new(&zone, Some(&name_server), &addresses)
        .map_err(|error| Failure::user("node-setup", error))
}

fn answer(question: &str, offered: Option<String>, flag: &str) -> Result<String, Failure> {
    let shown = match &offered {
        Some(offered) => format!("{question} [{offered}]: "),
        None => format!("{question}: "),
    };
    let answer = ask(&shown, flag)?;
    Ok(match offered {
        Some(offered) if answer.is_empty() => offered,
        _ => answer,
    })
}

fn ask(question: &str, flag: &str) -> Result<String, Failure> {
    prompt::line(question).map_err(|error| {
        Failure::user("node-setup", format!("no answer to a question: {error}"))
            .hint(format!("{flag} answers it on the command line"))
    })
}

/// The public addresses from which this host reaches the Internet. Nothing is sent: connecting a UDP socket chooses a route only.
fn own_addresses() -> Vec<IpAddr> {
    let towards = [
        ("0.0.0.0:0", "192.0.2.1:53"),
        ("[::]:0", "[2001:db8::1]:53"),
    ];
    let local = towards.into_iter().filter_map(|(any, outside)| {
        let socket = UdpSocket::bind(any).ok()?;
        socket.connect(outside).ok()?;
        Some(socket.local_addr().ok()?.ip())
    });
    local.filter(|address| is_public(*address)).collect()
}

/// Makes the operator's token if there is none.
fn make_token(path: &Path) -> Result<bool, Failure> {
    if path.exists() {
        return Ok(false);
    }
    let token = setup::new_operator_token().map_err(|error| failed(path, error))?;
    replace(path, format!("{}\n", *token).as_bytes()).map_err(|error| failed(path, error))?;
    Ok(true)
}

/// Puts a file in place whole or not at all. It keeps owner and mode of the one before; a new one is for its owner and for the
/// group of its directory, which is the node's.
fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let directory = path.parent().unwrap_or(Path::new("/"));
    let before: Option<Metadata> = fs::metadata(path).ok();
    let mut file = tempfile::NamedTempFile::new_in(directory)?;
    file.write_all(content)?;
    let (owner, group, mode) = match &before {
        Some(before) => (Some(before.uid()), before.gid(), before.mode() & 0o777),
        None => (None, fs::metadata(directory)?.gid(), 0o640),
    };
    chown(file.path(), owner, Some(group))?;
    fs::set_permissions(file.path(), PermissionsExt::from_mode(mode))?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    fs::File::open(directory)?.sync_all()
}

fn failed(path: &Path, error: io::Error) -> Failure {
    Failure::user("node-setup", format!("{}: {error}", path.display()))
}

impl Report for Prepared {
    fn text(&self) -> String {
        self.plan.parent_records()
    }

    fn json(&self) -> String {
        #[derive(Serialize)]
        struct Members<'a> {
            config: &'a Path,
            written: bool,
            operator_token_file: &'a Path,
            operator_token_made: bool,
            zone: String,
            parent_records: Vec<String>,
        }
        let records = self.plan.parent_records();
        let records = records.lines().filter(|line| !line.starts_with(';'));
        line(
            "dmp.node-setup/1",
            &Members {
                config: &self.config,
                written: self.written,
                operator_token_file: &self.operator_token,
                operator_token_made: self.token_made,
                zone: self.plan.zone().to_string(),
                parent_records: records.map(str::to_owned).collect(),
            },
        )
    }

    fn notes(&self) -> Vec<String> {
        let settings = self.config.display();
        let mut notes = vec![if self.written {
            format!("settings: {settings} written")
        } else {
            format!("settings: {settings} has them already")
        }];
        let token = self.operator_token.display();
        if self.token_made {
            notes.push(format!("operator token: a new one in {token}"));
        }
        let addresses = self.plan.addresses();
        let hidden = addresses.filter(|address| !is_public(*address));
        notes.extend(hidden.map(|address| {
            format!("{address} is no public address: resolvers on the Internet cannot reach it")
        }));
        if self.written {
            notes.push(
                "next: start or restart the node (systemctl enable --now dnsmesh-node), put the records below in place, \
                 then: dnsmesh node setup --verify"
                    .to_owned(),
            );
        }
        notes
    }
}
