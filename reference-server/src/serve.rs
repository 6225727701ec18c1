//! How does the server run as a program? Arguments, listeners, ready lines, and the end.

use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use prometheus_client::metrics::gauge::Gauge;
use tokio::net::{TcpListener, TcpSocket};

use crate::algorithm::Algorithm;
use crate::app::{App, app};
use crate::config::{Config, DEVELOPMENT_PASSWORD, duration};
use crate::flaws::{FlawId, FlawSet};
use crate::listen::{Way, accept};
use crate::password::Hash;
use crate::sealing::Encryption;
use crate::state::StartError;
use crate::store::StoreArgument;
use crate::users::UserConfig;

/// The arguments of `assay serve` and of the `reference-server` program.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "\
Examples:
  assay serve                                      HS256 on port 8080; users alice and bob, password correct-horse-9
  assay serve --alg ES256 --port 0 --admin-port 0 --access-lifetime 10s
  assay serve --flaw allow-none                    `assay list flaws` shows what can be broken on purpose
  assay serve --config server.yaml                 docs/reference-server.md explains its keys")]
pub struct ServeArgs {
    /// The port on 127.0.0.1; 0 picks a free one
    #[arg(long, default_value_t = 8080)]
    pub port: u16,
    /// Opens the admin hooks on this port of 127.0.0.1; 0 picks a free one
    #[arg(long)]
    pub admin_port: Option<u16>,
    /// A configuration file in YAML; what is given as an argument beats it
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// The certificate chain in PEM: serves TLS 1.2 and 1.3, with HTTP/2
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    pub tls_cert: Option<PathBuf>,
    /// Its private key in PEM
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub tls_key: Option<PathBuf>,
    /// Writes a line of JSON per request to stderr, never with a token
    #[arg(long)]
    pub log: bool,
    /// Says in every answer how long it took (`Server-Timing`)
    #[arg(long)]
    pub server_timing: bool,
    /// Tells in `/metrics` how long requests took, by route, method and status
    #[arg(long)]
    pub request_metrics: bool,
    /// How many token requests one user or client may make in a second
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub rate_limit: Option<u32>,
    /// The algorithm that tokens are signed with (`assay list algorithms`); by default HS256
    #[arg(long, value_name = "ALG", value_parser = algorithm)]
    pub alg: Option<&'static Algorithm>,
    /// A mistake to make on purpose (`assay list flaws`); may be given several times
    #[arg(long = "flaw", value_name = "NAME", num_args = 1.., value_delimiter = ',')]
    pub flaws: Vec<FlawId>,
    /// How passwords are kept; by default argon2id
    #[arg(long, value_enum)]
    pub hash: Option<Hash>,
    /// Encrypts access and refresh tokens, the signed token inside, in this way
    #[arg(long, value_enum, value_name = "ALG")]
    pub encrypt: Option<Encryption>,
    /// How long an access token lives, as 300, 90s or 5m (the default)
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub access_lifetime: Option<Duration>,
    /// How long a refresh token lives; by default 24h
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub refresh_lifetime: Option<Duration>,
    /// When a session ends, counted from its login, however often it is refreshed; by default 30d
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub absolute_lifetime: Option<Duration>,
    /// Where used and revoked tokens are kept: `memory` (the default), `redb:FILE`, which survives the process, `postgres://..` or `redis://..`, which
    /// many processes may share; `env:NAME` and `file:PATH` keep a password out of the arguments
    #[arg(long, value_name = "STORE")]
    pub store: Option<StoreArgument>,
    /// A refresh gives a new refresh token and uses the old one up (the default)
    #[arg(long, overrides_with = "no_rotate")]
    pub rotate: bool,
    /// A refresh token may be used until it expires
    #[arg(long)]
    pub no_rotate: bool,
    /// How long a used refresh token may come again and gets the same successor; by default not at all
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub grace: Option<Duration>,
    /// How long past its end a token still passes; by default not at all
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub leeway: Option<Duration>,
    /// The issuer named in tokens, and asked for
    #[arg(long)]
    pub issuer: Option<String>,
    /// An audience named in tokens, of which one is asked for; may be given several times
    #[arg(long)]
    pub audience: Vec<String>,
    /// Access tokens in the shape of RFC 9068
    #[arg(long)]
    pub rfc9068: bool,
    /// How many failed logins a name may have in a minute
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub login_limit: Option<u32>,
    /// Adds users user1 to userN with the development password
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(0..=100_000))]
    pub users: Option<u32>,
}

fn algorithm(name: &str) -> Result<&'static Algorithm, String> {
    Algorithm::named(name).ok_or_else(|| {
        let known: Vec<_> = Algorithm::all().iter().map(|row| row.name).collect();
        format!("expected one of {}", known.join(", "))
    })
}

impl ServeArgs {
    /// The configuration that these arguments mean.
    pub fn config(&self) -> Result<Config, StartError> {
        let mut config = Config::default();
        if let Some(path) = &self.config {
            crate::settings::read(path, &mut config)?;
        }
        if let (Some(certificate), Some(key)) = (&self.tls_cert, &self.tls_key) {
            config.tls = Some((certificate.clone(), key.clone()));
        }
        config.log |= self.log;
        config.server_timing |= self.server_timing;
        config.request_metrics |= self.request_metrics;
        config.rate_limit = self.rate_limit.or(config.rate_limit);
        config.algorithm = self.alg.unwrap_or(config.algorithm);
        config.flaws = FlawSet::of(&self.flaws);
        config.hash = self.hash.unwrap_or(config.hash);
        config.encryption = self.encrypt.or(config.encryption);
        if let Some(store) = &self.store {
            config.store = store.read().map_err(|why| StartError::Config(format!("--store: {why}")))?;
        }
        config.access_lifetime = self.access_lifetime.unwrap_or(config.access_lifetime);
        config.refresh_lifetime = self.refresh_lifetime.unwrap_or(config.refresh_lifetime);
        config.absolute_lifetime = self.absolute_lifetime.unwrap_or(config.absolute_lifetime);
        config.rotate = if self.no_rotate { false } else { self.rotate || config.rotate };
        config.grace = self.grace.unwrap_or(config.grace);
        config.leeway = self.leeway.unwrap_or(config.leeway);
        config.issuer = self.issuer.clone().or(config.issuer);
        if !self.audience.is_empty() {
            config.audience.clone_from(&self.audience);
        }
        config.login_limit = self.login_limit.or(config.login_limit);
        config.rfc9068 |= self.rfc9068;
        for number in 1..=self.users.unwrap_or(0) {
            config.users.push(UserConfig {
                name: format!("user{number}"),
                password: DEVELOPMENT_PASSWORD.into(),
                scope: None,
            });
        }
        Ok(config)
    }
}

/// Runs the server until it is interrupted. Exit code 2 for arguments that contradict each other, 3 where it cannot start.
pub fn run(args: &ServeArgs) -> ExitCode {
    let tell = |error: &StartError| {
        let _ = writeln!(std::io::stderr(), "error: {error}");
        ExitCode::from(if matches!(error, StartError::Config(_) | StartError::Key(_)) { 2 } else { 3 })
    };
    let config = match args.config() {
        Ok(config) => config,
        Err(error) => return tell(&error),
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(source) => return tell(&StartError::Io { what: "cannot start threads".to_owned(), source }),
    };
    let outcome = runtime.block_on(async { serve(config, args.port, args.admin_port, interrupted()).await });
    runtime.shutdown_timeout(Duration::from_secs(1));
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => tell(&error),
    }
}

/// Done at SIGINT or SIGTERM. They are caught from the call on, which comes before the ready line: whoever has read that may send one.
fn interrupted() -> impl Future<Output = ()> {
    use tokio::signal::unix::{SignalKind, signal};
    let signals = [SignalKind::interrupt(), SignalKind::terminate()].map(signal);
    async move {
        let [interrupt, terminate] = signals;
        let caught = async |signal: std::io::Result<tokio::signal::unix::Signal>| match signal {
            Ok(mut signal) => _ = signal.recv().await,
            // Then the signal does what it does without us.
            Err(_) => std::future::pending().await,
        };
        tokio::select! {
            () = caught(interrupt) => {}
            () = caught(terminate) => {}
        }
    }
}

/// Connections that may wait to be accepted; who finds no room tries again a second later.
const BACKLOG: u32 = 4096;

async fn bind(port: u16) -> Result<(TcpListener, SocketAddr), StartError> {
    let wanted = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port);
    let failed = |source: std::io::Error| {
        let source = match source.kind() {
            std::io::ErrorKind::AddrInUse => {
                std::io::Error::new(source.kind(), format!("{source}\nhint: another port, or 0 for a free one"))
            }
            _ => source,
        };
        StartError::Io { what: format!("cannot listen on {wanted}"), source }
    };
    let socket = TcpSocket::new_v4().map_err(failed)?;
    // A server that was just ended leaves its port to the next one.
    socket.set_reuseaddr(true).map_err(failed)?;
    socket.bind(wanted).map_err(failed)?;
    let listener = socket.listen(BACKLOG).map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    Ok((listener, address))
}

/// Listens, prints the ready lines to stdout, and serves until `until` is done; open requests then have five seconds.
pub async fn serve(
    mut config: Config,
    port: u16,
    admin_port: Option<u16>,
    until: impl Future<Output = ()>,
) -> Result<(), StartError> {
    warn(&config);
    let mark_connections = config.flaws.has(FlawId::ConnectionUser);
    let (listener, address) = bind(port).await?;
    let tls = config.tls.as_ref().map(|(certificate, key)| crate::tls::acceptor(certificate, key)).transpose()?;
    config.address = format!("{}://{address}", if tls.is_some() { "https" } else { "http" });
    if config.log {
        // A second server in one process keeps the first one's log.
        let _ = tracing_subscriber::fmt().json().with_writer(std::io::stderr).try_init();
    }
    let config_address = config.address.clone();
    let app = app(config)?;
    for doubt in app.prepare().await? {
        let _ = writeln!(std::io::stderr(), "warning: {doubt}");
    }
    let mut ready = format!("listening on {}\n", config_address);
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let mut servers = tokio::task::JoinSet::new();
    if let Some(admin_port) = admin_port {
        let (listener, address) = bind(admin_port).await?;
        ready.push_str(&format!("admin on http://{address}\n"));
        let way = Way { router: app.admin(), tls: None, mark_connections: false, open: Gauge::default() };
        servers.spawn(accept(listener, way, stopped.clone()));
    }
    let way = Way { router: app.router(admin_port.is_some()), tls, mark_connections, open: app.connections() };
    servers.spawn(accept(listener, way, stopped));
    let mut stdout = std::io::stdout().lock();
    let _ = stdout.write_all(ready.as_bytes()).and_then(|()| stdout.flush());
    drop(stdout);
    tokio::select! {
        () = until => {}
        () = sweep_forever(&app) => {}
    }
    let _ = stop.send(true);
    while servers.join_next().await.is_some() {}
    Ok(())
}

fn warn(config: &Config) {
    let mut stderr = std::io::stderr().lock();
    if config.keys.is_empty() {
        let _ = writeln!(
            stderr,
            "warning: signing with the published development key for {}; it protects nothing, so only loopback is served",
            config.algorithm.name
        );
    }
    if config.rfc9068 && config.audience.is_empty() {
        let _ = writeln!(
            stderr,
            "warning: RFC 9068 section 2.2 demands an `aud` in every access token, and none is configured\nhint: --audience NAME"
        );
    }
    for name in config.flaws.names() {
        let _ = writeln!(stderr, "warning: flaw `{name}` is on");
    }
}

async fn sweep_forever(app: &App) {
    let mut every = tokio::time::interval(Duration::from_secs(10));
    loop {
        every.tick().await;
        app.sweep().await;
    }
}
