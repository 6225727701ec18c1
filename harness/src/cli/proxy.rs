//! `assay proxy`: the embedded reverse proxy, until it is interrupted.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use assay::proxy::{Flaws, Proxy, ProxyError, ProxyOptions};
use assay::units::Span;
use assay::wire::{Endpoint, WireError};

use super::Global;

/// Arguments of `assay proxy`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  assay proxy --upstream http://127.0.0.1:8080 --port 8081
  assay proxy --upstream http://127.0.0.1:8080 --delay 2ms --keepalive off
  assay list flaws                                 what `--flaw` can name")]
pub struct Args {
    /// Where requests go, such as http://127.0.0.1:8080
    #[arg(long, value_name = "URL")]
    upstream: String,
    /// The port on 127.0.0.1; 0 picks a free one
    #[arg(long, default_value_t = 0)]
    port: u16,
    /// Threads, each with a loop and an upstream pool of its own
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=64))]
    threads: u16,
    /// Whether upstream connections are kept
    #[arg(long, value_name = "on|off", default_value = "on", action = clap::ArgAction::Set, value_parser = on_or_off)]
    keepalive: bool,
    /// Added before each request is passed on, such as 300us or 2ms
    #[arg(long, value_name = "DURATION")]
    delay: Option<Span>,
    /// How long the server may take to answer; then the client sees 504
    #[arg(long, value_name = "DURATION", default_value = "60s")]
    timeout: Span,
    /// Where requests are logged, without headers and query
    #[arg(long, value_name = "FILE")]
    access_log: Option<PathBuf>,
    /// A mistake to make on purpose (`assay list flaws`); may be given several times
    #[arg(long = "flaw", value_name = "NAME")]
    flaws: Vec<String>,
}

fn on_or_off(text: &str) -> Result<bool, String> {
    match text {
        "on" => Ok(true),
        "off" => Ok(false),
        _ => Err("expected `on` or `off`".to_owned()),
    }
}

/// Serves until SIGINT or SIGTERM. Exit code 2 for arguments that make no sense, 3 where it cannot start.
pub fn run(args: Args, global: &Global) -> ExitCode {
    // Else a proxy on loopback would carry load and forged tokens to a host that nobody has allowed.
    if let Err(e @ (WireError::NotAllowed { .. } | WireError::Address { .. })) =
        Endpoint::parse(&args.upstream, &global.allow_remote)
    {
        eprintln!("error: --upstream: {}", e.to_string().replace("; hint: ", "\nhint: "));
        return ExitCode::from(2);
    }
    let flaws = match Flaws::named(&args.flaws) {
        Ok(flaws) => flaws,
        Err(e) => {
            eprintln!("error: {e}");
            return ExitCode::from(2);
        }
    };
    if !flaws.is_empty() {
        eprintln!("warning: deliberate faults are on: {}", flaws.names());
    }
    let options = ProxyOptions {
        upstream: args.upstream,
        port: args.port,
        threads: usize::from(args.threads),
        keepalive: args.keepalive,
        delay: args.delay.map(|delay| delay.0).filter(|delay| *delay > Duration::ZERO),
        timeout: args.timeout.0,
        access_log: args.access_log,
        flaws,
    };
    match serve(&options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("error: {e}");
            if matches!(&e, ProxyError::Io { source, .. } if source.kind() == std::io::ErrorKind::AddrInUse) {
                eprintln!("hint: another --port, or 0 for a free one");
            }
            ExitCode::from(if matches!(e, ProxyError::Upstream(_)) { 2 } else { 3 })
        }
    }
}

fn serve(options: &ProxyOptions) -> Result<(), ProxyError> {
    let proxy = Proxy::bind(options)?;
    let (stop, stopped) = tokio::sync::watch::channel(false);
    ctrlc::set_handler(move || {
        stop.send_replace(true);
    })
    .map_err(|e| ProxyError::Io { what: "listening for signals".to_owned(), source: std::io::Error::other(e) })?;
    println!("listening on http://{}", proxy.address());
    // The line is what a parent waits for.
    let _ = std::io::stdout().flush();
    proxy.serve(stopped)
}
