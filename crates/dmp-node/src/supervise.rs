//! A node's life: open everything, bind everything, then serve; stop in the opposite order (node.md 8).
//!
//! It prints nothing: what an operator reads are `tracing` events, shown by whoever runs the node.

use crate::clock::Clock;
use crate::config::{AuthMode, BindHost, Config, DatabasePath, HttpConfig};
use crate::context::Context;
use crate::control::{
    ControlListener, ControlServer, Operator, Running as RunningNode, socket_path,
};
use crate::credentials::{self, Credentials};
use crate::federation::{heartbeat, sync};
use crate::http::{Api, HttpListener, HttpServer, Keeper, Service, TlsError};
use crate::listen::{BindError, Inherited, Listeners, Running};
use crate::reload::Reloader;
use crate::settings::{Apex, Caps, Claims, Settings};
use crate::store::OpenError;
use crate::zone::Owner;
use std::future::Future;
use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval};

/// A running node. Dropping it leaves its tasks running; [`Node::shutdown`] ends them.
#[derive(Debug)]
pub struct Node {
    context: Arc<Context>,
    credentials: Arc<Credentials>,
    dns: Running,
    http: HttpServer,
    /// The listener for monitors.
    monitor: Option<HttpServer>,
    /// The listener for the peers of a cluster.
    peers: Option<HttpServer>,
    https: Option<Https>,
    /// `None`: it is off, or its settings do not do.
    heartbeat: Option<Task>,
    /// Replication inside the cluster; it waits while there is none.
    sync: Task,
    reloader: Arc<Reloader>,
    /// `None`: the system gives no such socket here.
    control: Option<ControlServer>,
    cleanup: JoinHandle<()>,
}

/// The certificate of the HTTP listener, looked after in a task of its own.
#[derive(Debug)]
struct Https {
    keeper: Arc<Keeper>,
    keeping: Task,
}

/// Work that goes on until it is told to stop.
#[derive(Debug)]
struct Task {
    stop: watch::Sender<bool>,
    work: JoinHandle<()>,
}

/// Why a node does not start. One line; nothing was served.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A variable names a file of the reference (node.md 5.4).
    #[error(
        "{variable}: {} is a database of the reference node; take it over with \
         `dnsmesh node import {}` and unset the variable", .path.display(), .path.display()
    )]
    ForeignDatabase {
        /// The variable.
        variable: &'static str,
        /// The file it names.
        path: PathBuf,
    },
    /// The database does not open.
    #[error("DMP_DB_PATH: {0}")]
    Database(#[from] OpenError),
    /// The credentials in the database cannot be read.
    #[error("DMP_DB_PATH: {0}")]
    Credentials(#[from] rusqlite::Error),
    /// The host of the DNS listeners has no address.
    #[error("DMP_DNS_HOST: {0}")]
    DnsHost(io::Error),
    /// The DNS sockets cannot be bound.
    #[error("DMP_DNS_HOST, DMP_DNS_PORT: {0}")]
    Dns(#[from] BindError),
    /// The HTTP socket cannot be bound.
    #[error("DMP_HTTP_HOST, DMP_HTTP_PORT: cannot listen on {host} port {port}: {error}")]
    Http {
        /// The host as configured.
        host: BindHost,
        /// The port.
        port: u16,
        /// What the system said.
        error: io::Error,
    },
    /// The socket for monitors cannot be bound.
    #[error("DMP_METRICS_LISTEN: cannot listen on {address}: {error}")]
    Monitor {
        /// Where.
        address: SocketAddr,
        /// What the system said.
        error: io::Error,
    },
    /// The socket for the peers of a cluster cannot be bound.
    #[error("DMP_SYNC_LISTEN: cannot listen on {address}: {error}")]
    Peers {
        /// Where.
        address: SocketAddr,
        /// What the system said.
        error: io::Error,
    },
    /// A socket that was passed cannot be used.
    #[error("LISTEN_FDS: {0}")]
    Inherited(io::Error),
    /// The socket for HTTP that was passed is public and everybody could write (D25).
    #[error(
        "LISTEN_FDS: {0} is public and everybody could write records over HTTP: set DMP_OPERATOR_TOKEN, or allow it with \
         DMP_ALLOW_OPEN_PUBLIC_BIND=1"
    )]
    OpenSocket(SocketAddr),
    /// The certificate of the HTTP listener cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The system gives no thread.
    #[error("the listeners cannot be started: {0}")]
    Serve(io::Error),
}

impl Node {
    /// Opens the database and binds both services; only when all of that worked does it answer anybody.
    ///
    /// Needs a tokio runtime with timers and I/O.
    pub async fn start(config: Config) -> Result<Self, StartError> {
        Self::start_at(config, Clock::system()).await
    }

    /// [`Node::start`] on sockets that are open already, as far as there are some.
    pub async fn start_on(inherited: Inherited, config: Config) -> Result<Self, StartError> {
        Self::start_with(config, Clock::system(), inherited).await
    }

    /// [`Node::start`] with a clock of the caller's.
    pub async fn start_at(config: Config, clock: Clock) -> Result<Self, StartError> {
        Self::start_with(config, clock, Inherited::default()).await
    }

    async fn start_with(
        mut config: Config,
        clock: Clock,
        inherited: Inherited,
    ) -> Result<Self, StartError> {
        if let Some(passed) = &inherited.http {
            let address = passed.local_addr().map_err(StartError::Inherited)?;
            config.http.passed = Some(address.ip());
            let is_open = config.http.auth == AuthMode::Open && !config.http.allow_open_public_bind;
            if is_open && config.http.is_public() {
                return Err(StartError::OpenSocket(address));
            }
        }
        for warning in &config.warnings {
            tracing::warn!("{warning}");
        }
        if let Some((variable, path)) = foreign_database(&config) {
            return Err(StartError::ForeignDatabase { variable, path });
        }
        let dns_address = match inherited.dns_address() {
            Some(address) => address,
            None => config.dns.host.address(config.dns.port),
        };
        let context = open(&config, dns_address.map_err(StartError::DnsHost)?, clock)?;
        let credentials = Credentials::load(Arc::clone(&context))?;
        let dns = Listeners::adopt(&context, inherited.dns_udp, inherited.dns_tcp)?;
        let keeper = keeper(&config.http, &context)?;
        let monitor = listen_monitor(&config.http, inherited.metrics).await?;
        let peers = listen_to_peers(config.sync.listen).await?;
        let http = listen_http(&config.http, inherited.http).await?;
        let control = listen_to_operator(context.store().path());
        let tls = keeper.as_ref().map(|keeper| Arc::clone(keeper.tls()));
        let heartbeat = heartbeat(&config, &context);
        let neighbourhood = heartbeat.as_ref().map(heartbeat::Worker::neighbourhood);
        let worker = sync::Worker::new(&context);
        let cluster = worker.view();
        let (shared, users) = (Arc::clone(&context), Arc::clone(&credentials));
        let api = Api::new(
            &config,
            shared,
            users,
            tls,
            neighbourhood,
            Arc::clone(&cluster),
        );
        let dns = dns.serve(&context).map_err(StartError::Serve)?;
        let service = Service::new(api);
        let monitor = monitor.map(|listener| listener.serve(service.monitor()));
        let peers = peers.map(|listener| listener.serve(service.peers()));
        let http = http.serve(service);
        let running = RunningNode {
            dns: dns.address().to_string(),
            http: http.address().to_string(),
            pid: std::process::id(),
            started_at: context.clock().seconds(),
            https: keeper.clone(),
            cluster: Arc::clone(&cluster),
        };
        let sync_settings = watch::Sender::new(config.sync.clone());
        let sync_changes = sync_settings.subscribe();
        let reloader = Reloader::new(
            config.clone(),
            Arc::clone(&context),
            Arc::clone(dns.entrance()),
            Arc::clone(http.service()),
            keeper.clone(),
            sync_settings,
        );
        let operator = Operator::of_running(
            Arc::clone(&context),
            Arc::clone(&credentials),
            running,
            Arc::clone(&reloader),
        );
        let node = Self {
            dns,
            http,
            monitor,
            peers,
            https: keeper.map(Https::keep),
            heartbeat: heartbeat.map(|worker| Task::begin(|stop| worker.run(stop))),
            sync: Task::begin(|stop| worker.run(sync_changes, stop)),
            reloader,
            control: control.map(|control| control.serve(operator)),
            cleanup: tokio::spawn(clean_up(Arc::clone(&credentials), config.cleanup_interval)),
            context,
            credentials,
        };
        node.log_start(&config);
        Ok(node)
    }

    /// Where DNS is answered, UDP and TCP.
    pub fn dns_address(&self) -> SocketAddr {
        self.dns.address()
    }

    /// Where HTTP is answered.
    pub fn http_address(&self) -> SocketAddr {
        self.http.address()
    }

    /// Where monitors read metrics, if they have a listener of their own.
    pub fn monitor_address(&self) -> Option<SocketAddr> {
        self.monitor.as_ref().map(HttpServer::address)
    }

    /// Where the peers of a cluster ask, if they have a listener of their own.
    pub fn peer_address(&self) -> Option<SocketAddr> {
        self.peers.as_ref().map(HttpServer::address)
    }

    /// The database file.
    pub fn database(&self) -> &Path {
        self.context.store().path()
    }

    /// The node's shared state.
    pub fn context(&self) -> &Arc<Context> {
        &self.context
    }

    /// The node's credentials.
    pub fn credentials(&self) -> &Arc<Credentials> {
        &self.credentials
    }

    /// Reads the certificate of the HTTP listener again. If it cannot be used, the former one stays in force and the error says
    /// why. An automatic certificate whose renewal failed is asked for again soon. Without TLS there is nothing to do.
    pub fn reload_certificate(&self) -> Result<(), TlsError> {
        self.https
            .as_ref()
            .map_or(Ok(()), |https| https.keeper.reload())
    }

    /// The way to its settings.
    pub fn reloader(&self) -> &Arc<Reloader> {
        &self.reloader
    }

    /// Serves until the future ends, for instance [`stop_signal`], and then shuts down.
    pub async fn run_until(self, signal: impl Future) {
        signal.await;
        self.shutdown().await;
    }

    /// Stops accepting, finishes what is in progress within [`crate::limits::DRAIN`], and closes the database.
    pub async fn shutdown(self) {
        tracing::info!("DMP node stopping");
        drop(self.control);
        if let Some(https) = self.https {
            https.stop().await;
        }
        if let Some(heartbeat) = self.heartbeat {
            heartbeat.stop().await;
        }
        self.sync.stop().await;
        tokio::join!(self.dns.stop(), self.http.stop());
        for server in self.monitor.into_iter().chain(self.peers) {
            server.stop().await;
        }
        self.cleanup.abort();
        let context = self.context;
        let closed = tokio::task::spawn_blocking(move || context.store().close());
        if closed.await.is_err() {
            tracing::error!("the database was not closed in order");
        }
        tracing::info!("DMP node stopped");
    }

    fn log_start(&self, config: &Config) {
        let (dns, http) = (self.dns_address(), self.http_address());
        let scheme = if config.http.tls.is_some() {
            "https"
        } else {
            "http"
        };
        tracing::info!("DMP HTTP API listening on {scheme}://{http}");
        if let Some(monitor) = self.monitor_address() {
            tracing::info!("metrics and health for this machine on http://{monitor}");
        }
        if let Some(peers) = self.peer_address() {
            tracing::info!("peers of the cluster ask on {scheme}://{peers}");
        }
        let zone = config
            .zone
            .as_ref()
            .map_or("none".to_owned(), Owner::to_string);
        let role = |is_on| if is_on { "on" } else { "off" };
        let (provider, receiver) = (config.is_claim_provider(), config.is_claim_receiver());
        tracing::info!(
            "DMP claims: zone={zone} provider={} receiver={}",
            role(provider),
            role(receiver)
        );
        for line in config.summary() {
            tracing::info!("{line}");
        }
        for line in config.concerns() {
            tracing::warn!("{line}");
        }
        let database = self.database().display();
        tracing::info!(
            "DMP node up: dns={dns}/udp http={http} db={database} peers={}",
            config.sync.peers.len()
        );
    }
}

impl Task {
    fn begin<F>(work: impl FnOnce(watch::Receiver<bool>) -> F) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let (stop, stopped) = watch::channel(false);
        Self {
            stop,
            work: tokio::spawn(work(stopped)),
        }
    }

    async fn stop(self) {
        self.stop.send_replace(true);
        // A panic of the task was logged when it happened.
        let _ = self.work.await;
    }
}

impl Https {
    fn keep(keeper: Arc<Keeper>) -> Self {
        let task = Arc::clone(&keeper);
        Self {
            keeper,
            keeping: Task::begin(|stopped| async move { task.keep(stopped).await }),
        }
    }

    /// Lets an order in progress take its proofs away.
    async fn stop(self) {
        self.keeping.stop().await;
    }
}

/// Catches SIGTERM and SIGINT from now on; the future ends at the first of them. Needs a tokio runtime.
pub fn stop_signal() -> io::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

/// Catches SIGHUP from now on. Needs a tokio runtime.
pub fn reload_signal() -> io::Result<Signal> {
    signal(SignalKind::hangup())
}

/// A database of the reference that a variable names (node.md 5.4).
pub(crate) fn foreign_database(config: &Config) -> Option<(&'static str, PathBuf)> {
    let mut files = config.foreign_databases.iter();
    files.find(|(_, path)| path.exists()).cloned()
}

/// Opens the database of a node that is not running, without any listener.
pub(crate) fn open_offline(config: &Config, clock: Clock) -> Result<Arc<Context>, OpenError> {
    open(config, SocketAddr::from(([127, 0, 0, 1], 0)), clock)
}

/// Opens the configured database, or the one in the user's data directory if nothing was configured and the system's
/// cannot be written (D25).
fn open(config: &Config, dns: SocketAddr, clock: Clock) -> Result<Arc<Context>, OpenError> {
    let DatabasePath { path, fallback } = &config.database;
    let opened = Context::open(settings(config, path, dns), clock.clone());
    match (opened, fallback) {
        (Err(OpenError::File { error, .. }), Some(fallback)) if is_closed_to_us(&error) => {
            tracing::warn!("{}: {error}; using {}", path.display(), fallback.display());
            Context::open(settings(config, fallback, dns), clock)
        }
        (opened, _) => opened,
    }
}

fn is_closed_to_us(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem
    )
}

/// The heartbeat, if it is on. A node without one is better than none.
fn heartbeat(config: &Config, context: &Arc<Context>) -> Option<heartbeat::Worker> {
    let settings = config.heartbeat.as_ref()?;
    match heartbeat::Worker::open(settings, config, context) {
        Ok(worker) => Some(worker),
        Err(reason) => {
            tracing::error!("there is no heartbeat: {reason}");
            None
        }
    }
}

/// What the DNS half is told.
pub(crate) fn settings(config: &Config, database: &Path, dns: SocketAddr) -> Settings {
    let hostname = config.registration.node_name.as_ref();
    let (claims, caps) = (config.claims, config.caps);
    Settings {
        database: database.to_owned(),
        schema: vec![credentials::SCHEMA, heartbeat::SCHEMA, sync::SCHEMA],
        cleanup_interval: config.cleanup_interval,
        dns,
        zone: config.zone.clone(),
        apex: Apex {
            a: config.dns.apex_a,
            aaaa: config.dns.apex_aaaa,
            ns: config.dns.apex_ns.clone(),
            soa_rname: config.dns.apex_soa_rname.clone(),
            hostname: hostname.and_then(|name| Owner::parse(name.host()).ok()),
        },
        served_ttl: config.dns.ttl,
        dns_rate: config.dns.rate.per_second,
        dns_burst: config.dns.rate.burst,
        dns_prefixes: config.dns.prefixes,
        dns_rate_exempt: config.dns.rate_exempt.clone(),
        cookie_secrets: config.dns.cookie_secrets.clone(),
        nsid: config.dns.nsid.clone(),
        udp_payload: config.dns.udp_payload,
        max_concurrency: config.dns.max_concurrency,
        tcp_connections: config.dns.tcp_connections,
        tcp_connections_per_prefix: config.dns.tcp_connections_per_prefix,
        update: config.update.enabled,
        claims: Claims {
            provider: claims.provider,
            receiver: claims.receiver,
            max_ttl: claims.max_ttl,
            rate: claims.rate.per_second,
            burst: claims.rate.burst,
        },
        caps: Caps {
            max_ttl: caps.max_ttl,
            max_value_bytes: caps.max_value_bytes,
            max_values_per_name: caps.max_values_per_name,
            max_values_per_writer_per_mailbox: caps.max_values_per_writer_per_mailbox,
            max_records: caps.max_records,
            max_database_bytes: caps.max_database_bytes,
        },
        replicates: config.sync.token.is_some(),
        ..Settings::default()
    }
}

fn keeper(config: &HttpConfig, context: &Arc<Context>) -> Result<Option<Arc<Keeper>>, TlsError> {
    let source = config.tls.clone();
    let keeper = source.map(|source| Keeper::open(source, context));
    Ok(keeper.transpose()?.map(Arc::new))
}

async fn listen_monitor(
    config: &HttpConfig,
    passed: Option<TcpListener>,
) -> Result<Option<HttpListener>, StartError> {
    if let Some(passed) = passed {
        let listener = HttpListener::adopt(passed).map_err(StartError::Inherited);
        return listener.map(Some);
    }
    let Some(address) = config.monitor else {
        return Ok(None);
    };
    let bound = HttpListener::bind(address).await;
    let bound = bound.map_err(|error| StartError::Monitor { address, error });
    bound.map(Some)
}

async fn listen_to_peers(address: Option<SocketAddr>) -> Result<Option<HttpListener>, StartError> {
    let Some(address) = address else {
        return Ok(None);
    };
    let bound = HttpListener::bind(address).await;
    bound
        .map(Some)
        .map_err(|error| StartError::Peers { address, error })
}

async fn listen_http(
    config: &HttpConfig,
    passed: Option<TcpListener>,
) -> Result<HttpListener, StartError> {
    if let Some(passed) = passed {
        return HttpListener::adopt(passed).map_err(StartError::Inherited);
    }
    let HttpConfig { host, port, .. } = config;
    let bound = match host.address(*port) {
        Ok(address) => HttpListener::bind(address).await,
        Err(error) => Err(error),
    };
    bound.map_err(|error| StartError::Http {
        host: host.clone(),
        port: *port,
        error,
    })
}

/// The control socket. A node without one still answers everybody else.
fn listen_to_operator(database: &Path) -> Option<ControlListener> {
    match ControlListener::bind(database) {
        Ok(control) => Some(control),
        Err(error) => {
            let path = socket_path(database);
            tracing::error!(
                "no control socket: {}: {error}; `dnsmesh node ctl` cannot reach this node, signals work",
                path.display()
            );
            None
        }
    }
}

async fn clean_up(credentials: Arc<Credentials>, every: Duration) {
    let mut ticks = interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks.tick().await;
    loop {
        ticks.tick().await;
        credentials.clean_up().await;
    }
}
