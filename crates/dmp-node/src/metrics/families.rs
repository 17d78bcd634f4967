//! Every family that `GET /metrics` shows, with its help text: the one list of names (node.md 6.7, product.md 7).
//!
//! `docs/operate/metrics.md` says what each is good for; a test compares the two.

use super::exposition::{Exposition, Format};
use super::labels::{Label, Role};
use super::{Connections, Metrics};
use crate::store::Condition;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;

/// What is not counted but looked up when somebody asks.
#[derive(Debug, Clone)]
pub(crate) struct Observed {
    pub(crate) records: u64,
    pub(crate) serial: u32,
    pub(crate) condition: Condition,
    /// Octets of the database file and of its write-ahead log; absent when the system does not tell.
    pub(crate) store_octets: [Option<u64>; 2],
    pub(crate) tsig_keys: usize,
    pub(crate) tokens: usize,
    /// Roles that are on.
    pub(crate) roles: Vec<Role>,
    /// Unix second at which the certificate in force ends; absent without one.
    pub(crate) certificate_expiry: Option<u64>,
    /// Nodes that this one replicates with.
    pub(crate) peers: usize,
    /// Those of them that could not be read the last time.
    pub(crate) peers_failing: usize,
    /// Seconds since the one that was read longest ago was read to its end; absent without any.
    pub(crate) sync_lag: Option<u64>,
}

/// Everything as text.
pub(crate) fn expose(metrics: &Metrics, observed: &Observed, format: Format) -> String {
    let mut all = Exposition::default();
    of_the_reference(&mut all, metrics, observed);
    dns(&mut all, metrics);
    updates(&mut all, metrics);
    http(&mut all, metrics, observed);
    federation(&mut all, metrics);
    cluster(&mut all, metrics, observed);
    store(&mut all, metrics, observed);
    process(&mut all, metrics, observed);
    all.render(format)
}

/// The three families of the reference, to the octet: only labels that were counted show.
fn of_the_reference(all: &mut Exposition, metrics: &Metrics, observed: &Observed) {
    let queries = all.counter("dmp_dns_queries_total", "DMP DNS queries by outcome");
    for (outcome, count) in metrics.dns.read().outcomes {
        if count > 0 {
            queries.count(&[("outcome", outcome)], count);
        }
    }
    let requests = all.counter(
        "dmp_http_requests_total",
        "Total DMP HTTP API requests, by method and status",
    );
    let counted = metrics
        .http_requests
        .lock()
        .unwrap_or_else(PoisonError::into_inner);
    for ((method, status), count) in counted.iter() {
        requests.count(
            &[("method", method), ("status", &status.to_string())],
            *count,
        );
    }
    all.gauge("dmp_records", "Live records in the DMP mailbox store")
        .count(&[], observed.records);
}

fn dns(all: &mut Exposition, metrics: &Metrics) {
    let totals = metrics.dns.read();
    let requests = all.counter(
        "dmp_dns_requests_total",
        "DNS requests by transport, address family (1 is IPv4, 2 is IPv6), opcode and type",
    );
    for ([proto, family, opcode, rtype], count) in totals.requests {
        let labels = [
            ("proto", proto),
            ("family", family),
            ("opcode", opcode),
            ("type", rtype),
        ];
        requests.count(&labels, count);
    }
    let responses = all.counter(
        "dmp_dns_responses_total",
        "DNS answers by transport and response code",
    );
    for ([proto, rcode], count) in totals.responses {
        responses.count(&[("proto", proto), ("rcode", rcode)], count);
    }
    let dropped = all.counter(
        "dmp_dns_dropped_total",
        "DNS requests without an answer, by transport and reason",
    );
    for (proto, reasons) in super::dns::PROTOCOLS.iter().zip(&metrics.dropped) {
        for (reason, count) in reasons.read() {
            dropped.count(&[("proto", proto), ("reason", reason)], count);
        }
    }
    let limited = all.counter(
        "dmp_rrl_total",
        "UDP answers above the limit of their network, by what went instead: TC=1, BADCOOKIE, nothing",
    );
    for (action, count) in metrics.limited.read() {
        limited.count(&[("action", action)], count);
    }
    let durations = all.histogram(
        "dmp_dns_request_duration_seconds",
        "Time from a DNS request received to its answer handed over, by opcode and transport",
    );
    for ([opcode, proto], snapshot) in &totals.durations {
        durations.observations(&[("opcode", opcode), ("proto", proto)], snapshot, 1e9);
    }
    let sizes = all.histogram(
        "dmp_dns_response_size_bytes",
        "Size of DNS answers by transport",
    );
    for (proto, snapshot) in &totals.sizes {
        sizes.observations(&[("proto", proto)], snapshot, 1.0);
    }
    connections(
        all,
        &metrics.dns_connections,
        (
            "dmp_dns_tcp_connections",
            "Open TCP connections of the DNS listener",
        ),
        (
            "dmp_dns_tcp_connections_total",
            "TCP connections of the DNS listener, by what happened to them",
        ),
    );
}

fn updates(all: &mut Exposition, metrics: &Metrics) {
    let tsig = all.counter(
        "dmp_tsig_errors_total",
        "Signatures that were not accepted, by TSIG error",
    );
    for (error, count) in metrics.tsig_errors.read() {
        tsig.count(&[("error", error)], count);
    }
    let updates = all.counter(
        "dmp_update_total",
        "UPDATE messages with an accepted or without a signature, by result",
    );
    for (result, count) in metrics.updates.read() {
        updates.count(&[("result", result)], count);
    }
    let claims = all.counter(
        "dmp_claims_total",
        "Unsigned UPDATE messages, by what the claim policy said",
    );
    for (result, count) in metrics.claims.read() {
        claims.count(&[("result", result)], count);
    }
    all.counter(
        "dmp_claims_evicted_total",
        "Claims that went because their sender held most in a mailbox without room",
    )
    .count(&[], metrics.evicted_claims.load(Ordering::Relaxed));
}

fn http(all: &mut Exposition, metrics: &Metrics, observed: &Observed) {
    all.histogram(
        "dmp_http_request_duration_seconds",
        "Time from the header of an HTTP request to its answer",
    )
    .observations(&[], &metrics.http_durations.read(), 1e9);
    connections(
        all,
        &metrics.http_connections,
        ("dmp_http_connections", "Open HTTP connections"),
        (
            "dmp_http_connections_total",
            "HTTP connections, by what happened to them",
        ),
    );
    let expiry = all.gauge(
        "dmp_tls_certificate_expiry_timestamp_seconds",
        "Unix time at which the certificate of the HTTP listener ends; no series without TLS",
    );
    if let Some(at) = observed.certificate_expiry {
        expiry.count(&[], at);
    }
    let renewals = all.counter(
        "dmp_acme_renewals_total",
        "Attempts to obtain a certificate from the CA, by result",
    );
    for (result, count) in metrics.renewals.read() {
        renewals.count(&[("result", result)], count);
    }
    let registrations = all.counter(
        "dmp_registration_total",
        "Requests to the registration routes, by result",
    );
    for (result, count) in metrics.registrations.read() {
        registrations.count(&[("result", result)], count);
    }
}

fn federation(all: &mut Exposition, metrics: &Metrics) {
    let beats = all.counter(
        "dmp_heartbeat_rounds_total",
        "Rounds of the heartbeat, by whether everything could be published",
    );
    for (result, count) in metrics.beats.read() {
        beats.count(&[("result", result)], count);
    }
    all.gauge(
        "dmp_heartbeat_peers",
        "Other nodes that were heard of and are live",
    )
    .count(&[], metrics.peers_known.load(Ordering::Relaxed));
}

fn cluster(all: &mut Exposition, metrics: &Metrics, observed: &Observed) {
    let rounds = all.counter(
        "dmp_sync_rounds_total",
        "Rounds with a peer of the cluster, by how they ended",
    );
    for (result, count) in metrics.sync_rounds.read() {
        rounds.count(&[("result", result)], count);
    }
    let values = all.counter(
        "dmp_sync_values_total",
        "Values taken over from peers of the cluster, and deletes",
    );
    for (result, count) in metrics.sync_values.read() {
        values.count(&[("result", result)], count);
    }
    let refused = all.counter(
        "dmp_sync_refused_total",
        "What peers of the cluster offered and was not taken, by reason",
    );
    for (reason, count) in metrics.sync_refused.read() {
        refused.count(&[("reason", reason)], count);
    }
    all.gauge("dmp_sync_peers", "Peers of the cluster")
        .count(&[], observed.peers as u64);
    all.gauge(
        "dmp_sync_peers_failing",
        "Peers of the cluster that could not be read the last time",
    )
    .count(&[], observed.peers_failing as u64);
    let lag = all.gauge(
        "dmp_sync_lag_seconds",
        "Time since the peer that was read longest ago was read to its end; no series without peers",
    );
    if let Some(seconds) = observed.sync_lag {
        lag.count(&[], seconds);
    }
}

fn store(all: &mut Exposition, metrics: &Metrics, observed: &Observed) {
    all.gauge("dmp_store_records", "Live values in the zone index")
        .count(&[], observed.records);
    let octets = all.gauge(
        "dmp_store_bytes",
        "Size of the database file and of its write-ahead log",
    );
    for (file, size) in ["database", "wal"].iter().zip(observed.store_octets) {
        if let Some(size) = size {
            octets.count(&[("file", file)], size);
        }
    }
    let is = |condition| f64::from(u8::from(observed.condition == condition));
    all.gauge(
        "dmp_store_read_only",
        "1 after a failed commit: the node takes no writes until it is restarted",
    )
    .sample(&[], is(Condition::ReadOnly));
    all.gauge(
        "dmp_store_full",
        "1 while the disk has no room: writes are refused until it has",
    )
    .sample(&[], is(Condition::Full));
    let writes = all.counter("dmp_store_writes_total", "Transactions, by result");
    for (result, count) in metrics.store_writes.read() {
        writes.count(&[("result", result)], count);
    }
    all.histogram(
        "dmp_store_commit_duration_seconds",
        "Time to make one group of transactions durable",
    )
    .observations(&[], &metrics.commit_durations.read(), 1e9);
    all.histogram(
        "dmp_store_commit_requests",
        "Transactions that shared one commit",
    )
    .observations(&[], &metrics.commit_requests.read(), 1.0);
    all.counter(
        "dmp_store_expired_total",
        "Values that left the zone index because their lifetime ended",
    )
    .count(&[], metrics.expired_values.load(Ordering::Relaxed));
    all.counter(
        "dmp_store_rows_removed_total",
        "Expired rows removed from the database file",
    )
    .count(&[], metrics.removed_rows.load(Ordering::Relaxed));
    all.counter(
        "dmp_clock_jumps_total",
        "Times that the clock jumped; nothing that expires is removed for an hour after each",
    )
    .count(&[], metrics.clock_jumps.load(Ordering::Relaxed));
    all.gauge("dmp_tsig_keys", "TSIG keys that can be used")
        .count(&[], observed.tsig_keys as u64);
    all.gauge("dmp_tokens", "Bearer tokens of users that can be used")
        .count(&[], observed.tokens as u64);
    all.gauge("dmp_zone_serial", "SOA serial of the served content")
        .count(&[], u64::from(observed.serial));
}

fn process(all: &mut Exposition, metrics: &Metrics, observed: &Observed) {
    all.gauge("dmp_build_info", "1, with the version of the node as label")
        .sample(&[("version", env!("CARGO_PKG_VERSION"))], 1.0);
    all.gauge("dmp_uptime_seconds", "Time since the node was started")
        .sample(&[], metrics.start.elapsed().as_secs_f64());
    let panics = all.counter(
        "dmp_panics_total",
        "Requests that broke off with a bug of the node, by part",
    );
    for (part, count) in metrics.panics.read() {
        panics.count(&[("part", part)], count);
    }
    let roles = all.gauge("dmp_role", "1 for a role that is on, 0 for one that is off");
    for (role, text) in Role::ALL {
        let is_on = f64::from(u8::from(observed.roles.contains(role)));
        roles.sample(&[("role", text)], is_on);
    }
}

fn connections(
    all: &mut Exposition,
    connections: &Connections,
    open: (&'static str, &'static str),
    total: (&'static str, &'static str),
) {
    all.gauge(open.0, open.1)
        .count(&[], connections.open.load(Ordering::Relaxed));
    let events = all.counter(total.0, total.1);
    for (event, count) in connections.events.read() {
        events.count(&[("event", event)], count);
    }
}
