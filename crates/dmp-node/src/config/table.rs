//! Every setting with its TOML key, its variable, its default and what an operator is told about it: the parser of the
//! file, the annotated example and `docs/operate/config.md` come from this one table.
//!
//! How a value is checked stands in `read`; a test holds the defaults here against those there.

use std::fmt::Write;

/// One row.
pub(crate) struct Setting {
    /// Dotted TOML key.
    pub(crate) key: &'static str,
    /// Environment variable that overrides it.
    pub(crate) variable: &'static str,
    /// What TOML value it takes.
    pub(crate) kind: Kind,
    /// What holds when nobody sets it.
    pub(crate) default: Default,
    /// When a change of it comes into force.
    pub(crate) effect: Effect,
    /// One or two sentences.
    pub(crate) text: &'static str,
}

/// Type of a TOML value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A string.
    Text,
    /// A whole number.
    Integer,
    /// A number.
    Number,
    /// `true` or `false`.
    Switch,
    /// An array of strings.
    List,
}

/// When a change comes into force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    /// At a reload.
    Live,
    /// At the next start.
    Restart,
}

/// The value of an unset key, as TOML.
pub(crate) enum Default {
    /// The same as writing this.
    Is(&'static str),
    /// None, or one that follows from other settings as the text says; this is an example.
    None(&'static str),
}

use Default::{Is, None};
use Effect::{Live, Restart};
use Kind::{Integer, List, Number, Switch, Text};

/// A setting that a reload brings into force.
const fn setting(
    key: &'static str,
    variable: &'static str,
    kind: Kind,
    default: Default,
    text: &'static str,
) -> Setting {
    Setting {
        key,
        variable,
        kind,
        default,
        effect: Live,
        text,
    }
}

/// A setting that only the next start brings into force.
const fn fixed(
    key: &'static str,
    variable: &'static str,
    kind: Kind,
    default: Default,
    text: &'static str,
) -> Setting {
    Setting {
        effect: Restart,
        ..setting(key, variable, kind, default, text)
    }
}

/// All settings that have a key, in the order of the example.
#[rustfmt::skip]
pub(crate) const SETTINGS: &[Setting] = &[
    fixed("zone", "DMP_DOMAIN", Text, None("\"mesh.example.com\""),
        "The zone this node is authoritative for: the name delegated to it. Without one the node answers for whatever is stored."),
    fixed("hostname", "DMP_NODE_HOSTNAME", Text, None("\"mesh.example.com\""),
        "The name of this node in URLs. It is bound into every registration signature, and is the zone if `zone` is not set."),
    fixed("database", "DMP_DB_PATH", Text, Is("\"/var/lib/dmp/dmp.db\""),
        "The database file. Its directory is created and holds the control socket too."),
    fixed("cleanup_interval", "DMP_CLEANUP_INTERVAL", Number, Is("60.0"),
        "Seconds between removals of expired rows from the database. They are invisible at once."),

    fixed("dns.host", "DMP_DNS_HOST", Text, Is("\"0.0.0.0\""),
        "Address of the DNS listeners, UDP and TCP; `::` takes both families."),
    fixed("dns.port", "DMP_DNS_PORT", Integer, Is("5353"),
        "Port of both DNS listeners; 53 in production."),
    setting("dns.ttl", "DMP_DNS_TTL", Integer, Is("60"),
        "Longest TTL served and the SOA minimum, in seconds. No answer outlives the record it tells about."),
    setting("dns.rate", "DMP_DNS_RATE", Number, Is("50.0"),
        "Answers of one kind a second to one client prefix over UDP, requests of one over TCP; 0 switches the limit off."),
    setting("dns.burst", "DMP_DNS_BURST", Number, Is("200.0"),
        "The same at once, before the rate counts; 0 switches the limit off."),
    fixed("dns.max_concurrency", "DMP_DNS_MAX_CONCURRENCY", Integer, Is("128"),
        "Requests in progress at once over TCP."),
    setting("dns.rate_prefix_v4", "DMP_DNS_RATE_PREFIX_V4", Integer, Is("24"),
        "Leading bits of an IPv4 address that make one client."),
    setting("dns.rate_prefix_v6", "DMP_DNS_RATE_PREFIX_V6", Integer, Is("56"),
        "Leading bits of an IPv6 address that make one client."),
    setting("dns.rate_exempt", "DMP_DNS_RATE_EXEMPT", List, Is("[]"),
        "Addresses or prefixes without a rate limit, such as the operator's own monitoring."),
    setting("dns.cookie_secret_file", "DMP_DNS_COOKIE_SECRET_FILE", Text, None("\"/etc/dnsmesh/cookie-secret\""),
        "File that holds the secret of DNS cookies which nodes behind one address share."),
    setting("dns.nsid", "DMP_DNS_NSID", Text, None("\"node-1\""),
        "Identifier of this node for who asks for it (RFC 5001)."),
    setting("dns.udp_payload", "DMP_DNS_UDP_PAYLOAD", Integer, Is("1232"),
        "Largest answer over UDP in octets; longer ones are asked for again over TCP."),
    setting("dns.tcp_connections", "DMP_DNS_TCP_CONNECTIONS", Integer, None("1024"),
        "Open TCP connections. Unset means eight for each request in progress, at least 256."),
    setting("dns.tcp_connections_per_prefix", "DMP_DNS_TCP_CONNECTIONS_PER_PREFIX", Integer, Is("128"),
        "Open TCP connections of one client prefix."),
    setting("dns.apex_a", "DMP_DNS_APEX_A", Text, None("\"192.0.2.53\""),
        "IPv4 address of the zone's own name. Needed when the zone is its own name server."),
    setting("dns.apex_aaaa", "DMP_DNS_APEX_AAAA", Text, None("\"2001:db8::53\""),
        "IPv6 address of the zone's own name."),
    setting("dns.apex_ns", "DMP_DNS_APEX_NS", List, Is("[]"),
        "Name servers of the zone, as the parent zone names them."),
    setting("dns.apex_soa_rname", "DMP_DNS_APEX_SOA_RNAME", Text, None("\"hostmaster.mesh.example.com\""),
        "Mailbox name in the SOA record; unset means `hostmaster.` before the zone."),

    setting("update.enabled", "DMP_DNS_UPDATE_ENABLED", Switch, Is("false"),
        "Whether signed DNS UPDATE is accepted and TSIG keys are registered."),
    setting("update.tight_scope", "DMP_TSIG_TIGHT_SCOPE", Switch, Is("false"),
        "New keys may write their owner's names only. Their owners then cannot send by UPDATE."),
    setting("update.loose_scope", "DMP_TSIG_LOOSE_SCOPE", Switch, Is("false"),
        "New keys may write the whole zone. Only for a zone with one user."),

    setting("claims.provider", "DMP_CLAIM_PROVIDER", Switch, Is("false"),
        "Accept unsigned claims for anybody."),
    setting("claims.receiver", "DMP_RECEIVER_CLAIM_NOTIFICATIONS", Switch, Is("true"),
        "Accept unsigned claims for users registered here: what makes their mail arrive quickly."),
    setting("claims.max_ttl", "DMP_CLAIM_MAX_TTL", Integer, Is("86400"),
        "Longest remaining life of a claim in seconds; 0 is no bound."),
    setting("claims.rate", "DMP_CLAIM_RATE_PER_USER_PER_SEC", Number, Is("0.5"),
        "Claims a second for one recipient from one network, from all together four times that; 0 switches the limit off."),
    setting("claims.burst", "DMP_CLAIM_RATE_BURST", Number, Is("30.0"),
        "The same at once; 0 switches the limit off."),

    setting("limits.max_ttl", "DMP_MAX_TTL", Integer, Is("86400"),
        "Longest TTL a writer may ask for, in seconds."),
    setting("limits.max_value_bytes", "DMP_MAX_VALUE_BYTES", Integer, Is("2048"),
        "Longest value in bytes."),
    setting("limits.max_values_per_name", "DMP_MAX_VALUES_PER_NAME", Integer, Is("64"),
        "Live values at one name; 0 is no bound."),
    setting("limits.max_values_per_writer_per_mailbox", "DMP_MAX_VALUES_PER_WRITER_PER_MAILBOX", Integer, Is("128"),
        "Live values of one writer in another user's mailbox; 0 is no bound."),
    setting("limits.max_records", "DMP_MAX_RECORDS", Integer, Is("2000000"),
        "Values in the whole store; at the bound new ones are refused, refreshing and deleting go on. 0 is no bound."),
    setting("limits.max_database_bytes", "DMP_MAX_DATABASE_BYTES", Integer, Is("4294967296"),
        "Bytes that the database uses; at the bound new values are refused. 0 is no bound."),

    fixed("http.host", "DMP_HTTP_HOST", Text, None("\"127.0.0.1\""),
        "Address of the HTTP listener. Unset means 0.0.0.0, or 127.0.0.1 while everybody may write."),
    fixed("http.port", "DMP_HTTP_PORT", Integer, Is("8053"),
        "Port of the HTTP listener."),
    setting("http.operator_token_file", "DMP_OPERATOR_TOKEN_FILE", Text, None("\"/etc/dnsmesh/operator-token\""),
        "File whose text is the operator's bearer token. A token itself has no place in this file."),
    setting("http.auth_mode", "DMP_AUTH_MODE", Text, None("\"multi-tenant\""),
        "Who may write over HTTP: `open`, `legacy` (the operator) or `multi-tenant` (the operator and registered users). Unset means legacy if there is an operator token, else open."),
    setting("http.allow_open_public_bind", "DMP_ALLOW_OPEN_PUBLIC_BIND", Switch, Is("false"),
        "Allow a public address although everybody may write."),
    setting("http.rate", "DMP_HTTP_RATE", Number, Is("10.0"),
        "Requests a second of one client address; 0 switches the limit off."),
    setting("http.burst", "DMP_HTTP_BURST", Number, Is("100.0"),
        "Requests of one client address at once; 0 switches the limit off."),
    setting("http.max_connections", "DMP_HTTP_MAX_CONCURRENCY", Integer, Is("64"),
        "Connections open at once."),
    setting("http.trusted_proxies", "DMP_TRUSTED_PROXIES", List, Is("[]"),
        "Addresses or prefixes whose X-Forwarded-For is believed; the reverse proxy's, usually 127.0.0.1."),
    fixed("http.tls_certificate", "DMP_HTTP_TLS_CERT", Text, None("\"/etc/dnsmesh/fullchain.pem\""),
        "Certificate chain of the HTTP listener, PEM; with `http.tls_key` the listener speaks HTTPS. Read again when it changes; another file needs a restart."),
    fixed("http.tls_key", "DMP_HTTP_TLS_KEY", Text, None("\"/etc/dnsmesh/privkey.pem\""),
        "Private key of the certificate, PEM."),

    fixed("http.metrics_listen", "DMP_METRICS_LISTEN", Text, None("\"127.0.0.1:9153\""),
        "Loopback address and port of a listener of its own for monitors: `/metrics`, `/health` and `/ready` in the clear and without a token."),

    fixed("acme.enabled", "DMP_ACME_ENABLED", Switch, Is("false"),
        "Whether the node obtains and renews the certificate of the HTTP listener itself, by ACME (RFC 8555)."),
    fixed("acme.terms_agreed", "DMP_ACME_TERMS_AGREED", Switch, Is("false"),
        "That you agree to the CA's terms of service. Without it no certificate is asked for."),
    fixed("acme.names", "DMP_ACME_NAMES", List, Is("[]"),
        "Host names of the certificate; empty means `hostname`."),
    fixed("acme.contact", "DMP_ACME_CONTACT", Text, None("\"admin@example.com\""),
        "E-mail address that the CA may write to."),
    fixed("acme.directory", "DMP_ACME_DIRECTORY", Text, Is("\"https://acme-v02.api.letsencrypt.org/directory\""),
        "Directory URL of the CA, https only; `https://acme-staging-v02.api.letsencrypt.org/directory` is for trying."),
    fixed("acme.challenge", "DMP_ACME_CHALLENGE", Text, None("\"dns-01\""),
        "How the names are proven: `dns-01`, by a record in the zone of this node, or `tls-alpn-01`, on port 443. Unset means dns-01 if all names are in the zone, else tls-alpn-01."),
    fixed("acme.roots", "DMP_ACME_ROOTS", Text, None("\"/etc/dnsmesh/ca.pem\""),
        "Roots that the CA's own server is trusted by, PEM, in the place of the public ones: for a private CA."),

    setting("registration.enabled", "DMP_REGISTRATION_ENABLED", Switch, Is("false"),
        "Whether users may register themselves. Needs `hostname` and the multi-tenant mode."),
    setting("registration.allowlist", "DMP_REGISTRATION_ALLOWLIST", List, Is("[]"),
        "Domains whose users may register; empty means the zone and the host name of this node."),
    setting("registration.lifetime", "DMP_REGISTRATION_TOKEN_TTL_SECONDS", Integer, Is("7776000"),
        "Life of tokens and keys in seconds; 0 is for ever."),
    setting("registration.issued_rate", "DMP_REGISTRATION_ISSUED_RATE_PER_SEC", Number, Is("10.0"),
        "Requests a second that a registered token allows."),
    setting("registration.issued_burst", "DMP_REGISTRATION_ISSUED_RATE_BURST", Number, Is("50.0"),
        "Requests that a registered token allows at once."),
    setting("registration.endpoint_rate", "DMP_REGISTRATION_ENDPOINT_RATE_PER_SEC", Number, Is("0.001388888888888889"),
        "Registration requests a second of one client address; a ceremony is two."),
    setting("registration.endpoint_burst", "DMP_REGISTRATION_ENDPOINT_RATE_BURST", Number, Is("5.0"),
        "Registration requests of one client address at once."),

    fixed("heartbeat.enabled", "DMP_HEARTBEAT_ENABLED", Switch, Is("false"),
        "Whether this node tells other nodes of itself and learns of them, over DNS alone. Needs the endpoint and the key below."),
    fixed("heartbeat.endpoint", "DMP_HEARTBEAT_SELF_ENDPOINT", Text, None("\"https://mesh.example.com\""),
        "The HTTP API of this node as others reach it: scheme, public host and port, nothing behind it."),
    fixed("heartbeat.key_file", "DMP_HEARTBEAT_OPERATOR_KEY_PATH", Text, None("\"/etc/dnsmesh/operator.key\""),
        "File with the operator's signing key, as `dnsmesh cluster keygen` writes it; also a seed of 32 octets, or its 64 hex digits."),
    fixed("heartbeat.seeds", "DMP_HEARTBEAT_SEEDS", List, Is("[]"),
        "Zones of nodes to begin with; the others are learnt from them."),
    fixed("heartbeat.interval", "DMP_HEARTBEAT_INTERVAL_SECONDS", Number, Is("300.0"),
        "Seconds between rounds, give or take a tenth."),
    fixed("heartbeat.ttl", "DMP_HEARTBEAT_TTL_SECONDS", Integer, Is("86400"),
        "Life of a heartbeat in seconds, 30 days at most: how long others list a node that has gone silent."),
    fixed("heartbeat.max_peers", "DMP_HEARTBEAT_MAX_PEERS", Integer, Is("25"),
        "Zones asked in one round."),
    fixed("heartbeat.max_known", "DMP_HEARTBEAT_SEEN_MAX_ROWS", Integer, Is("10000"),
        "Nodes remembered; beyond that the network of zones that takes most room loses first."),
    fixed("heartbeat.version", "DMP_HEARTBEAT_VERSION", Text, None("\"0.1.0\""),
        "What others are told of the software, 32 characters at most; unset means the version of the program."),
    fixed("heartbeat.resolvers", "DMP_HEARTBEAT_DNS_RESOLVERS", List, Is("[]"),
        "Resolvers to ask, each an address with an optional port; empty means those of this machine."),
    fixed("heartbeat.dnssec_required", "DMP_HEARTBEAT_DNSSEC_REQUIRED", Switch, Is("false"),
        "Whether only answers count that the resolver has validated."),

    fixed("cluster.base_domain", "DMP_CLUSTER_BASE_DOMAIN", Text, None("\"mesh.example.com\""),
        "The name in the cluster's manifest. Unset means what the manifest says. Also the zone, if `zone` is not set."),
    setting("cluster.manifest_file", "DMP_CLUSTER_FILE", Text, Is("\"/var/lib/dmp/cluster.json\""),
        "File with the cluster's manifest, or with a list of its nodes; there need not be one. Read at the start and at a reload."),
    setting("cluster.node_id", "DMP_NODE_ID", Text, None("\"node-a\""),
        "What the manifest calls this node, so that it does not ask itself."),

    setting("sync.peers", "DMP_SYNC_PEERS", List, Is("[]"),
        "HTTP APIs of the cluster's other nodes, each an http or https URL. If there are none, the manifest's are asked."),
    setting("sync.self_endpoint", "DMP_SYNC_SELF_ENDPOINT", Text, None("\"http://10.0.0.1:8053\""),
        "The HTTP API of this node as the others reach it, so that it does not ask itself."),
    fixed("sync.listen", "DMP_SYNC_LISTEN", Text, None("\"10.0.0.1:8054\""),
        "Address and port of a listener of its own for the others; the routes for them are then nowhere else. It speaks HTTPS if the HTTP listener does."),
    setting("sync.peer_token_file", "DMP_SYNC_PEER_TOKEN_FILE", Text, None("\"/etc/dnsmesh/peer-token\""),
        "File whose text is the token that all nodes of the cluster share. Without a token nothing is replicated."),
    setting("sync.interval", "DMP_SYNC_INTERVAL", Number, Is("10.0"),
        "Seconds between rounds in which the others are asked for what is new, give or take a tenth."),
    setting("sync.operator_key", "DMP_SYNC_OPERATOR_SPK", Text, None("\"d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a\""),
        "The public key, 64 hex digits, that the cluster's manifest must be signed with. Without it no manifest is adopted from another node."),
    setting("sync.roots", "DMP_SYNC_ROOTS", Text, None("\"/etc/dnsmesh/ca.pem\""),
        "Roots that https peers are trusted by, PEM, in the place of the public ones: for a private CA."),

    setting("log.level", "DMP_LOG_LEVEL", Text, Is("\"INFO\""),
        "The lowest level shown: DEBUG, INFO, WARNING or ERROR."),
    setting("log.format", "DMP_LOG_FORMAT", Text, Is("\"text\""),
        "Form of log lines: `text` or `json`."),
];

/// Variables without a key: names that the reference has for what another key says, and secrets.
pub(crate) const WITHOUT_KEY: &[(&str, Effect)] = &[
    ("DMP_SERVED_ZONE", Restart),
    ("DMP_CLAIM_PROVIDER_ZONE", Restart),
    ("DMP_CLUSTER_MANIFEST_PATH", Live),
    ("DMP_SYNC_INTERVAL_SECONDS", Live),
    ("DMP_SYNC_PEER_TOKEN", Live),
    ("DMP_OPERATOR_TOKEN", Live),
    ("DMP_HTTP_TOKEN", Live),
    ("DMP_DNS_COOKIE_SECRET", Live),
];

/// Variables whose values nobody may see.
pub(crate) const SECRETS: &[&str] = &[
    "DMP_OPERATOR_TOKEN",
    "DMP_HTTP_TOKEN",
    "DMP_DNS_COOKIE_SECRET",
    "DMP_SYNC_PEER_TOKEN",
];

impl Setting {
    /// Its default as a variable would hold it; empty if it has none.
    pub(crate) fn default_text(&self) -> &'static str {
        match self.default {
            Is(text) => text.trim_matches(['"', '[', ']']),
            None(_) => "",
        }
    }
}

/// Everything that can be set: what it is called, its variable, its default, and when a change comes into force.
pub(crate) fn all() -> impl Iterator<Item = (&'static str, &'static str, &'static str, Effect)> {
    let keyed = SETTINGS.iter().map(|setting| {
        (
            setting.key,
            setting.variable,
            setting.default_text(),
            setting.effect,
        )
    });
    let others = WITHOUT_KEY.iter();
    keyed.chain(others.map(|(variable, effect)| (*variable, *variable, "", *effect)))
}

/// The annotated example: every key, commented out, with its default or an example.
pub fn example() -> String {
    let mut text = String::from(
        "# Settings of `dnsmesh node`, with their defaults. An environment variable (in brackets) overrides its key.\n\
         # Read from /etc/dnsmesh/node.toml, or from the file that --config names.\n",
    );
    let mut section = "";
    for setting in SETTINGS {
        let (table, key) = split(setting.key);
        if table != section {
            section = table;
            push(&mut text, format_args!("\n[{table}]\n"));
        }
        push(
            &mut text,
            format_args!("\n# {} [{}]\n", setting.text, setting.variable),
        );
        match setting.default {
            Is(value) => push(&mut text, format_args!("#{key} = {value}\n")),
            None(value) => push(
                &mut text,
                format_args!("# No default; for example:\n#{key} = {value}\n"),
            ),
        }
    }
    text
}

/// The page `docs/operate/config.md`.
pub fn reference() -> String {
    let mut text = String::from(
        "# Settings of the node\n\n\
         <!-- Generated by `dnsmesh node config --markdown`; do not edit. -->\n\n\
         The node reads one TOML file: the one that `--config` names, else `/etc/dnsmesh/node.toml` if it is there. An environment\n\
         variable overrides the key beside it, and `--db-path`, `--dns-port` and `--http-port` override both. An empty variable counts\n\
         as unset. An unknown key stops the start and names the nearest one; so does a value that its key does not take.\n\n\
         `dnsmesh node config` prints this list as an annotated file to start from, `dnsmesh node check` reads a file and says what is\n\
         wrong or doubtful with it. `dnsmesh node config show --origin` prints what holds and where each value comes from, without the\n\
         secrets; `dnsmesh node config migrate --from-env FILE` makes such a file from variables.\n\n\
         `dnsmesh node ctl reload`, SIGHUP and `systemctl reload dnsmesh-node` read everything again. What the column *change* calls\n\
         `live` is in force from then on; what it calls `restart` is told, and stays as it is until the next start. If anything is wrong,\n\
         all of it stays as it is and the reason is told. A service manager gives a running process no new variables, so what is to\n\
         change while the node runs belongs in the file.\n\n\
         The operator's token stands in a file of its own (`http.operator_token_file`, for instance a systemd credential) or in\n\
         `DMP_OPERATOR_TOKEN` (older name `DMP_HTTP_TOKEN`); the variable wins. The zone may also come from `DMP_SERVED_ZONE`,\n\
         `DMP_CLAIM_PROVIDER_ZONE` or `DMP_CLUSTER_BASE_DOMAIN`, which override `DMP_DOMAIN` in this order.\n\
         The token of a cluster stands in a file (`sync.peer_token_file`) or in `DMP_SYNC_PEER_TOKEN`. Older names are `DMP_CLUSTER_MANIFEST_PATH`\n\
         for `DMP_CLUSTER_FILE` and `DMP_SYNC_INTERVAL_SECONDS` for `DMP_SYNC_INTERVAL`.\n\
         Nodes behind one address share the secret of their DNS cookies, in a file (`dns.cookie_secret_file`) or in `DMP_DNS_COOKIE_SECRET`: 32 hex digits, and after a comma the\n\
         one before it, whose cookies are still taken. Without it each node makes one of its own and changes it daily.\n",
    );
    let mut section = "-";
    for setting in SETTINGS {
        let (table, _) = split(setting.key);
        if table != section {
            section = table;
            let title = if table.is_empty() { "The node" } else { table };
            push(
                &mut text,
                format_args!(
                    "\n## {title}\n\n| key | variable | default | change | meaning |\n|---|---|---|---|---|\n"
                ),
            );
        }
        let default = match setting.default {
            Is(value) => format!("`{value}`"),
            None(_) => "none".to_owned(),
        };
        let change = match setting.effect {
            Live => "live",
            Restart => "restart",
        };
        push(
            &mut text,
            format_args!(
                "| `{}` | `{}` | {default} | {change} | {} |\n",
                setting.key, setting.variable, setting.text
            ),
        );
    }
    text
}

/// Table and last part of a key.
fn split(key: &'static str) -> (&'static str, &'static str) {
    key.rsplit_once('.').unwrap_or(("", key))
}

fn push(text: &mut String, line: std::fmt::Arguments<'_>) {
    // Writing to a String cannot fail.
    let _ = text.write_fmt(line);
}
