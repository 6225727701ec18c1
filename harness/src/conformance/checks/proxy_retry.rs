//! Does a proxy ask twice for what may be done once only? It is started once more, in front of a server of ours that lets it
//! down.

use std::time::Duration;

use bytes::Bytes;

use crate::conformance::breaker::{Breaker, Manner};
use crate::conformance::descriptor::{Check, Isolation, Levels, Need, cost};
use crate::conformance::probe::{Probe, Stop};
use crate::record::{Level, SkipReason};
use crate::wire::{Connection, Endpoint, Reply, TlsOptions, WireError, encode};

/// How long a proxy may take to tell its caller that its server let it down.
const PATIENCE: Duration = Duration::from_secs(5);
/// What a proxy does after it has answered its caller.
const AFTER: Duration = Duration::from_millis(50);

/// The family's part.
pub const CHECKS: &[Check] = &[Check {
    id: "proxy-post-retry",
    group: "PROXY",
    requirement: "a POST that the server has taken reaches it once, whatever becomes of its answer",
    sources: &[
        "RFC 9110 section 9.2.2",
        "nginx proxy_next_upstream non_idempotent",
        "HAProxy retry-on",
        "Traefik retryNonIdempotentMethod",
    ],
    levels: Levels::issuing(Level::Must),
    needs: &[Need::OwnProxy],
    variants: &["kept-connection", "new-connection", "server-error"],
    isolation: Isolation::User,
    cost: cost(5, 2),
    intrusive: false,
    flaws: &["retry-post"],
    sends: "a refresh through the same proxy, started once more with the same settings in front of a server of Assay's own that reads it whole and then hangs up, or answers 500",
    why: "a refresh that a proxy repeats uses the token up twice: the second one is taken for theft, and the session ends",
    remedy: "let the proxy repeat only what it could not send (nginx: no `non_idempotent`; HAProxy: `retry-on conn-failure`; Traefik: no `retryNonIdempotentMethod`)",
    run: post_retry,
}];

fn post_retry(p: &mut Probe<'_>) -> Result<(), Stop> {
    let deployment = p.session.deployment.ok_or_else(|| Stop::needs(Need::OwnProxy))?;
    let server = Breaker::start().map_err(|e| Stop::Harness(format!("a server of our own: {e}")))?;
    let twin = deployment
        .twin(server.address(), p.session.cancel)
        .map_err(|e| Stop::Inconclusive(format!("the proxy could not be started once more: {e}")))?;
    let proxy = Endpoint::parse(twin.url(), &[]).map_err(|e| Stop::Harness(e.to_string()))?;
    let bytes = encode(&refresh(p)?, &proxy);
    let mut ask = |connection: Option<Connection>| -> Result<(Connection, Result<Reply, WireError>), Stop> {
        let mut connection = match connection {
            Some(connection) => connection,
            None => Connection::open(&proxy, &TlsOptions::default(), PATIENCE)
                .map_err(|e| Stop::Inconclusive(format!("the proxy's twin cannot be reached: {e}")))?,
        };
        let reply = p.asked_by_hand(&mut connection, &bytes, PATIENCE)?;
        std::thread::sleep(AFTER);
        Ok((connection, reply))
    };
    let (mut connection, control) = ask(None)?;
    if control.as_ref().map_or(0, |reply| reply.status) != 200 || server.seen().len() != 1 {
        let saw = saw(&control);
        return Err(Stop::Inconclusive(format!("the proxy's twin passes no good POST on: {saw}")));
    }
    let sent = String::from_utf8_lossy(&bytes).into_owned();
    let mut found = Vec::new();
    server.behave(Manner::HangsUp);
    let reply = ask(connection.is_usable().then_some(connection))?.1;
    found.push(("kept-connection", server.seen(), reply));
    server.end_idle();
    server.behave(Manner::HangsUp);
    let reply = ask(None)?.1;
    found.push(("new-connection", server.seen(), reply));
    server.behave(Manner::Fails);
    let reply = ask(None)?.1;
    found.push(("server-error", server.seen(), reply));
    for (variant, seen, reply) in found {
        let saw = saw(&reply);
        match seen.as_slice() {
            [] => p.inconclusive(Some(variant), "never", format!("the POST did not arrive; the caller saw {saw}")),
            [0] if variant == "kept-connection" => {
                let why = "the proxy keeps no connection to its server".to_owned();
                p.skip(variant, SkipReason::NotApplicable(why));
            }
            [_] => p.pass(Some(variant), "once", format!("the POST arrived once; the caller saw {saw}")),
            more => {
                let text = format!("the POST arrived {} times; the caller saw {saw}", more.len());
                p.fail(Some(variant), "repeated", text);
                p.shows_bytes(&sent, &["assay-no-token"]);
            }
        }
    }
    Ok(())
}

/// A refresh as the profile has it, with a token that is none, since nobody looks at it; else any POST.
fn refresh(p: &Probe<'_>) -> Result<http::Request<Bytes>, Stop> {
    let made = p.target().request("refresh", &p.vars_with("assay-no-token")).ok();
    match made.filter(|request| request.method() == http::Method::POST) {
        Some(request) => Ok(request),
        None => http::Request::post("/assay").body(Bytes::from_static(b"assay")).map_err(Stop::unsendable),
    }
}

fn saw(reply: &Result<Reply, WireError>) -> String {
    reply.as_ref().map_or_else(ToString::to_string, |reply| reply.status.to_string())
}
