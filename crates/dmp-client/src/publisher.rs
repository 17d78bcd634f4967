//! The key `publisher` of `config.yaml`: which back-end the own zone is written through, and with what (client.md 14).
//!
//! Secrets never stand in the configuration: a field names the file or the environment variable that holds one.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use dmp_core::name::Zone;
use serde::Deserialize;
use zeroize::Zeroizing;

use crate::config::{ConfigError, YamlValue};
use crate::error::WriteError;
use crate::home::Home;
use crate::mesh::{SystemClock, UpdateTarget};
use crate::writer::{
    AwsCredentials, CLOUDFLARE_API, CloudflareWriter, FileForm, ROUTE53_API, Route53Writer,
    TsigCredential, ZoneFileWriter,
};

/// Region that Route 53 requests are signed for everywhere outside of China and the government's partitions.
const AWS_REGION: &str = "us-east-1";
/// Variable of the token where the configuration names none.
const CLOUDFLARE_TOKEN: &str = "CLOUDFLARE_API_TOKEN";

/// One publisher as the configuration describes it.
#[derive(Clone, Debug, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
enum Entry {
    /// What `endpoint` and the `tsig_*` keys describe.
    Node {},
    /// Any server that takes signed UPDATEs.
    Rfc2136 {
        server: String,
        port: Option<u16>,
        zone: Option<String>,
        key_file: Option<String>,
        key_name: Option<String>,
        algorithm: Option<String>,
        secret_file: Option<String>,
        secret_variable: Option<String>,
    },
    Cloudflare {
        zone_id: String,
        zone: Option<String>,
        token_file: Option<String>,
        token_variable: Option<String>,
        api: Option<String>,
    },
    Route53 {
        zone_id: String,
        zone: Option<String>,
        credentials_file: Option<String>,
        profile: Option<String>,
        region: Option<String>,
        api: Option<String>,
    },
    /// A BIND zone file.
    ZoneFile {
        file: String,
        zone: Option<String>,
        reload: Option<Vec<String>>,
    },
    Dnsmasq {
        file: String,
        zone: Option<String>,
        reload: Option<Vec<String>>,
    },
}

/// A publisher that is ready but for the address of its server.
pub(crate) enum Publisher {
    Node,
    Update {
        server: UpdateTarget,
        credential: TsigCredential,
    },
    Cloudflare(CloudflareWriter),
    Route53(Route53Writer),
    File(ZoneFileWriter),
}

/// What publishers are made from.
pub(crate) struct Surroundings<'a> {
    pub(crate) home: &'a Home,
    /// The zone of a publisher that states none.
    pub(crate) zone: Zone,
    /// The environment.
    pub(crate) variable: &'a dyn Fn(&str) -> Option<String>,
}

/// The publishers of the key, each with the name under which its failures are told.
///
/// # Errors
/// [`ConfigError::Unusable`] naming the publisher and the field.
pub(crate) fn publishers(
    setting: &YamlValue,
    surroundings: &Surroundings<'_>,
) -> Result<Vec<(String, Publisher)>, ConfigError> {
    entries(setting)?
        .into_iter()
        .map(|entry| {
            let name = entry.name();
            match entry.into_publisher(surroundings) {
                Ok(publisher) => Ok((name, publisher)),
                Err(reason) => Err(unusable(&format!("{name}: {reason}"))),
            }
        })
        .collect()
}

/// Whether the key describes publishers; neither files nor variables are looked at.
///
/// # Errors
/// [`ConfigError::Unusable`] naming the field.
pub(crate) fn check(setting: &YamlValue) -> Result<(), ConfigError> {
    entries(setting).map(drop)
}

/// One mapping, or a list of them.
fn entries(setting: &YamlValue) -> Result<Vec<Entry>, ConfigError> {
    let settings = match setting {
        YamlValue::Sequence(list) => list.as_slice(),
        one => std::slice::from_ref(one),
    };
    if settings.is_empty() {
        return Err(unusable(&"the list is empty"));
    }
    settings
        .iter()
        .map(|setting| yaml_serde::from_value(setting.clone()).map_err(|error| unusable(&error)))
        .collect()
}

fn unusable(reason: &dyn std::fmt::Display) -> ConfigError {
    ConfigError::Unusable {
        key: "publisher",
        reason: reason.to_string(),
    }
}

impl Entry {
    /// Kind and place, for messages.
    fn name(&self) -> String {
        match self {
            Self::Node {} => "node".to_owned(),
            Self::Rfc2136 { server, .. } => format!("rfc2136 {server}"),
            Self::Cloudflare { .. } => "cloudflare".to_owned(),
            Self::Route53 { .. } => "route53".to_owned(),
            Self::ZoneFile { file, .. } => format!("zone-file {file}"),
            Self::Dnsmasq { file, .. } => format!("dnsmasq {file}"),
        }
    }

    fn into_publisher(self, around: &Surroundings<'_>) -> Result<Publisher, String> {
        match self {
            Self::Node {} => Ok(Publisher::Node),
            Self::Rfc2136 {
                server,
                port,
                zone,
                key_file,
                key_name,
                algorithm,
                secret_file,
                secret_variable,
            } => {
                let zone = around.zone(zone)?;
                let credential = match (key_file, key_name) {
                    (Some(file), key_name) => {
                        let text = around.secret_file("key_file", &file)?;
                        TsigCredential::from_key_file(&text, key_name.as_deref(), &zone)
                    }
                    (None, Some(key_name)) => {
                        let secret = around
                            .secret(
                                ("secret_file", secret_file),
                                ("secret_variable", secret_variable),
                            )?
                            .ok_or("no secret_file and no secret_variable")?;
                        let algorithm = algorithm.as_deref().unwrap_or("hmac-sha256");
                        TsigCredential::from_base64(&key_name, &secret, algorithm, &zone)
                    }
                    (None, None) => return Err("no key_file and no key_name".to_owned()),
                };
                Ok(Publisher::Update {
                    server: UpdateTarget {
                        host: server.to_ascii_lowercase(),
                        port,
                    },
                    credential: credential.map_err(in_words)?,
                })
            }
            Self::Cloudflare {
                zone_id,
                zone,
                token_file,
                token_variable,
                api,
            } => {
                let variable = token_variable.unwrap_or_else(|| CLOUDFLARE_TOKEN.to_owned());
                let token = around
                    .secret(
                        ("token_file", token_file),
                        ("token_variable", Some(variable.clone())),
                    )?
                    .ok_or_else(|| {
                        format!("no token_file, and the variable {variable} is not set")
                    })?;
                let api = api.as_deref().unwrap_or(CLOUDFLARE_API);
                let zone = around.zone(zone)?;
                let writer = CloudflareWriter::new(api, &zone_id, zone, token);
                writer.map(Publisher::Cloudflare).map_err(in_words)
            }
            Self::Route53 {
                zone_id,
                zone,
                credentials_file,
                profile,
                region,
                api,
            } => {
                let credentials = match credentials_file {
                    Some(file) => {
                        let text = around.secret_file("credentials_file", &file)?;
                        let profile = profile.as_deref().unwrap_or("default");
                        aws_profile(&text, profile).ok_or_else(|| {
                            format!("credentials_file {file} has no complete profile `{profile}`")
                        })?
                    }
                    None => aws_environment(around.variable)?,
                };
                let api = api.as_deref().unwrap_or(ROUTE53_API);
                let region = region.as_deref().unwrap_or(AWS_REGION);
                let zone = around.zone(zone)?;
                let writer = Route53Writer::new(api, region, &zone_id, zone, credentials);
                writer.map(Publisher::Route53).map_err(in_words)
            }
            Self::ZoneFile { file, zone, reload } => {
                around.file(file, FileForm::Master, zone, reload)
            }
            Self::Dnsmasq { file, zone, reload } => {
                around.file(file, FileForm::Dnsmasq, zone, reload)
            }
        }
    }
}

impl Surroundings<'_> {
    fn zone(&self, stated: Option<String>) -> Result<Zone, String> {
        stated.map_or_else(
            || Ok(self.zone.clone()),
            |text| Zone::parse(&text).map_err(|error| format!("zone: {error}")),
        )
    }

    fn file(
        &self,
        file: String,
        form: FileForm,
        zone: Option<String>,
        reload: Option<Vec<String>>,
    ) -> Result<Publisher, String> {
        let reload = reload.unwrap_or_default();
        let (path, zone) = (self.path(&file), self.zone(zone)?);
        let writer = ZoneFileWriter::new(path, form, zone, reload, Arc::new(SystemClock));
        Ok(Publisher::File(writer))
    }

    /// A path as the configuration names it: `~` is the user's home, a relative one starts at the configuration directory.
    fn path(&self, text: &str) -> PathBuf {
        self.home.dir().join(self.home.expand(text))
    }

    /// The content of a file or a variable; the file wins. `None` if neither is there to be read.
    fn secret(
        &self,
        (file_field, file): (&str, Option<String>),
        (variable_field, variable): (&str, Option<String>),
    ) -> Result<Option<Zeroizing<String>>, String> {
        if let Some(file) = file {
            return self.secret_file(file_field, &file).map(Some);
        }
        let Some(name) = variable else {
            return Ok(None);
        };
        let content = (self.variable)(&name).map(Zeroizing::new);
        match content.filter(|content| !content.trim().is_empty()) {
            Some(content) => Ok(Some(Zeroizing::new(content.trim().to_owned()))),
            None if name == CLOUDFLARE_TOKEN => Ok(None),
            None => Err(format!("{variable_field}: the variable {name} is not set")),
        }
    }

    fn secret_file(&self, field: &str, file: &str) -> Result<Zeroizing<String>, String> {
        let path = self.path(file);
        let text = fs::read_to_string(&path)
            .map(Zeroizing::new)
            .map_err(|error| format!("{field}: {}: {error}", path.display()))?;
        match text.trim() {
            "" => Err(format!("{field}: {} is empty", path.display())),
            text => Ok(Zeroizing::new(text.to_owned())),
        }
    }
}

/// The variables that AWS's own tools read.
fn aws_environment(variable: &dyn Fn(&str) -> Option<String>) -> Result<AwsCredentials, String> {
    let needed = |name: &str| {
        variable(name)
            .filter(|value| !value.is_empty())
            .ok_or_else(|| format!("no credentials_file, and the variable {name} is not set"))
    };
    Ok(AwsCredentials {
        access_key_id: needed("AWS_ACCESS_KEY_ID")?,
        secret_access_key: needed("AWS_SECRET_ACCESS_KEY").map(Zeroizing::new)?,
        session_token: variable("AWS_SESSION_TOKEN")
            .filter(|value| !value.is_empty())
            .map(Zeroizing::new),
    })
}

/// A section of AWS's credentials file.
fn aws_profile(text: &str, profile: &str) -> Option<AwsCredentials> {
    let is_header = |line: &&str| line.starts_with('[');
    let section = text
        .lines()
        .map(str::trim)
        .skip_while(|line| *line != format!("[{profile}]"))
        .skip(1)
        .take_while(|line| !is_header(line));
    let settings: Vec<(&str, &str)> = section
        .filter_map(|line| line.split_once('='))
        .map(|(name, value)| (name.trim(), value.trim()))
        .collect();
    let value = |wanted: &str| {
        let found = settings.iter().find(|(name, _)| *name == wanted)?;
        Some(found.1.to_owned()).filter(|value| !value.is_empty())
    };
    Some(AwsCredentials {
        access_key_id: value("aws_access_key_id")?,
        secret_access_key: value("aws_secret_access_key").map(Zeroizing::new)?,
        session_token: value("aws_session_token").map(Zeroizing::new),
    })
}

fn in_words(error: WriteError) -> String {
    error.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(yaml: &str, files: &[(&str, &str)]) -> Result<Vec<(String, Publisher)>, String> {
        let dir = tempfile::tempdir().unwrap();
        for (name, content) in files {
            fs::write(dir.path().join(name), content).unwrap();
        }
        let variables = [("AWS_ACCESS_KEY_ID", "AKID"), ("MY_SECRET", "c2VjcmV0\n")];
        let surroundings = Surroundings {
            home: &Home::at(dir.path()),
            zone: Zone::parse("mesh.example").unwrap(),
            variable: &|name| {
                let known = variables.iter().find(|(known, _)| *known == name)?;
                Some(known.1.to_owned())
            },
        };
        let setting: YamlValue = yaml_serde::from_str(yaml).unwrap();
        publishers(&setting, &surroundings).map_err(|error| error.to_string())
    }

    #[track_caller]
    fn refused(yaml: &str, files: &[(&str, &str)]) -> String {
        read(yaml, files).err().unwrap()
    }

    const KEY: &str = "key a.example { algorithm hmac-sha512; secret \"Z2VoZWlt\"; };";
    const PROFILES: &str = "[default]\naws_access_key_id = A\naws_secret_access_key = geheim\n[half]\naws_access_key_id = B\n";

    #[test]
    fn every_kind_can_be_described() {
        let names = |yaml: &str, files: &[(&str, &str)]| {
            let all = read(yaml, files).unwrap_or_else(|error| panic!("{yaml}: {error}"));
            all.into_iter().map(|(name, _)| name).collect::<Vec<_>>()
        };
        assert_eq!(names("{kind: node}", &[]), ["node"]);
        let key = [("k", KEY)];
        assert_eq!(
            names("{kind: rfc2136, server: Ns.Example, key_file: k}", &key),
            ["rfc2136 Ns.Example"]
        );
        names(
            "{kind: rfc2136, server: 192.0.2.1, port: 5300, zone: other.example, key_name: k., secret_variable: MY_SECRET}",
            &[],
        );
        assert_eq!(
            names(
                "{kind: cloudflare, zone_id: abc123, token_file: t}",
                &[("t", "token\n")]
            ),
            ["cloudflare"]
        );
        assert_eq!(
            names(
                "{kind: route53, zone_id: Z1, credentials_file: c}",
                &[("c", PROFILES)]
            ),
            ["route53"]
        );
        let several = "[{kind: zone-file, file: z, reload: [rndc, reload, mesh.example]}, {kind: dnsmasq, file: d}]";
        assert_eq!(names(several, &[]), ["zone-file z", "dnsmasq d"]);
    }

    #[test]
    fn what_is_missing_or_wrong_is_named() {
        for (yaml, word) in [
            ("[]", "empty"),
            ("text", "publisher"),
            ("{server: a}", "kind"),
            ("{kind: bind}", "rfc2136"),
            ("{kind: rfc2136, key_file: k}", "server"),
            ("{kind: rfc2136, server: a, secret: x}", "secret"),
            ("{kind: rfc2136, server: a}", "key_file"),
            ("{kind: rfc2136, server: a, key_file: absent}", "absent"),
            ("{kind: rfc2136, server: a, key_name: k.}", "secret_file"),
            (
                "{kind: rfc2136, server: a, key_name: k., secret_variable: NO_SUCH}",
                "NO_SUCH",
            ),
            (
                "{kind: rfc2136, server: a, key_name: k., algorithm: hmac-md5, secret_variable: MY_SECRET}",
                "hmac-sha256",
            ),
            (
                "{kind: rfc2136, server: a, zone: 'x y', key_file: k}",
                "zone",
            ),
            ("{kind: cloudflare, zone_id: a}", "CLOUDFLARE_API_TOKEN"),
            (
                "{kind: cloudflare, zone_id: 'a/b', token_file: k}",
                "zone_id",
            ),
            (
                "{kind: cloudflare, zone_id: a, token_file: empty}",
                "is empty",
            ),
            (
                "{kind: cloudflare, zone_id: a, token_file: k, api: 'http://api.example'}",
                "https",
            ),
            ("{kind: cloudflare, token_file: k}", "zone_id"),
            ("{kind: route53, zone_id: Z1}", "AWS_SECRET_ACCESS_KEY"),
            (
                "{kind: route53, zone_id: Z1, credentials_file: c, profile: half}",
                "half",
            ),
            ("{kind: zone-file}", "file"),
        ] {
            let files = [("k", KEY), ("c", PROFILES), ("empty", " \n")];
            let reason = refused(yaml, &files);
            assert!(reason.contains(word), "{yaml}: {reason}");
            assert!(
                !reason.contains("Z2VoZWlt") && !reason.contains("geheim"),
                "{reason}"
            );
        }
    }
}
