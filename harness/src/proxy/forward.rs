//! How does one request go to the server, and its reply back?

use std::convert::Infallible;
use std::error::Error;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{Method, Request, Response, StatusCode, Uri, Version};
use http_body_util::{BodyExt, Either, Full, Limited};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::{Client, Error as Failed};
use hyper_util::rt::{TokioExecutor, TokioTimer};

use super::access_log::AccessLog;
use super::delay::Delay;
use super::flaws::{ANNOUNCED, Answer, Asked, Mischief};
use super::headers::{for_client, for_upstream};
use crate::clock;

/// A request's body; larger ones are answered with 413.
const MOST_BODY: usize = 16 << 20;
/// What a flaw buffers of a reply.
const MOST_BUFFERED: usize = 4 << 20;
/// An upstream connection opens within this, or 504.
const CONNECT: Duration = Duration::from_secs(5);
/// Idle upstream connections are kept this long: below what servers keep (nginx 75 s), so that we close first.
const IDLE: Duration = Duration::from_secs(50);
/// Idle upstream connections of one thread.
const MOST_IDLE: usize = 1024;

type Sent = Either<Limited<Incoming>, Full<Bytes>>;
type Received = Either<Bounded, Full<Bytes>>;
type BodyError = Box<dyn Error + Send + Sync>;

/// The upstream connections of one thread.
pub(super) type Pool = Client<HttpConnector, Sent>;

/// What every request needs.
pub(super) struct Forward {
    pub(super) authority: Authority,
    pub(super) timeout: Duration,
    pub(super) keepalive: bool,
    pub(super) delay: Option<Delay>,
    pub(super) access_log: Option<AccessLog>,
    pub(super) mischief: Mischief,
}

/// Why no reply came.
enum Missing {
    /// The body is too long, or broke off.
    Body(StatusCode),
    Timeout,
    Upstream(Failed),
}

impl Forward {
    /// A pool for one thread.
    pub(super) fn pool(&self) -> Pool {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(CONNECT));
        Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(if self.keepalive { MOST_IDLE } else { 0 })
            // The client's Host goes on; and it repeats only what it has not begun to send.
            .set_host(false)
            .retry_canceled_requests(true)
            .build(connector)
    }

    /// One request with its reply; every failure is a reply too.
    pub(super) async fn exchange(
        &self,
        pool: &Pool,
        client: &str,
        request: Request<Incoming>,
    ) -> Result<Response<Received>, Infallible> {
        let started = clock::mono();
        let logged = self.access_log.as_ref().map(|log| {
            let uri = request.uri();
            let more = self.mischief.log_more(uri.query(), request.headers().get(header::AUTHORIZATION));
            (log, request.method().clone(), uri.path().to_owned(), more)
        });
        if let Some(delay) = &self.delay {
            delay.wait().await;
        }
        let outcome = match request.method() {
            &Method::CONNECT => Ok(refusal(StatusCode::NOT_IMPLEMENTED)),
            _ if self.mischief.is_none() => self.pass_on(pool, client, request).await,
            _ => self.flawed(pool, client, request).await,
        };
        let response = outcome.unwrap_or_else(|missing| {
            refusal(match missing {
                Missing::Body(status) => status,
                Missing::Timeout => StatusCode::GATEWAY_TIMEOUT,
                Missing::Upstream(failed) => status_of(&failed),
            })
        });
        if let Some((log, method, path, more)) = logged {
            log.line(&method, &path, response.status().as_u16(), clock::mono().since(started), &more);
        }
        Ok(response)
    }

    /// As it should be.
    async fn pass_on(
        &self,
        pool: &Pool,
        client: &str,
        request: Request<Incoming>,
    ) -> Result<Response<Received>, Missing> {
        let (mut parts, body) = request.into_parts();
        if let Some(announced) = body.size_hint().exact()
            && announced > MOST_BODY as u64
        {
            return Ok(refusal(StatusCode::PAYLOAD_TOO_LARGE));
        }
        for_upstream(&mut parts.headers, client);
        // Sent once more if the connection broke before any reply: only what changes nothing and has no body.
        let again = (body.is_end_stream() && matches!(parts.method, Method::GET | Method::HEAD)).then(|| {
            self.request(parts.method.clone(), &parts.uri, parts.headers.clone(), Either::Right(Full::default()))
        });
        let body = match body.is_end_stream() {
            true => Either::Right(Full::default()),
            false => Either::Left(Limited::new(body, MOST_BODY)),
        };
        let request = self.request(parts.method, &parts.uri, parts.headers, body);
        let reply = match (self.send(pool, request).await, again) {
            (Err(Missing::Upstream(failed)), Some(again)) if !failed.is_connect() => self.send(pool, again).await?,
            (outcome, _) => outcome?,
        };
        let (mut parts, body) = reply.into_parts();
        for_client(&mut parts.headers);
        parts.version = Version::HTTP_11;
        Ok(Response::from_parts(parts, Either::Left(Bounded { body, within: self.timeout, sleep: None })))
    }

    /// With flaws: everything is buffered, changed on the way there and on the way back.
    async fn flawed(
        &self,
        pool: &Pool,
        client: &str,
        request: Request<Incoming>,
    ) -> Result<Response<Received>, Missing> {
        let (parts, body) = request.into_parts();
        let body = Limited::new(body, MOST_BODY).collect().await;
        let body = body.map_err(|_| Missing::Body(StatusCode::PAYLOAD_TOO_LARGE))?.to_bytes();
        let target = parts.uri.path_and_query().map_or("/", PathAndQuery::as_str).to_owned();
        let mut asked = Asked { method: parts.method, target, headers: parts.headers };
        let announce = |mut answer: Answer| {
            if let Ok(names) = HeaderValue::from_str(&self.mischief.names()) {
                answer.headers.append(ANNOUNCED, names);
            }
            Ok(answer.into_response().map(Either::Right))
        };
        let ticket = match self.mischief.before(&mut asked) {
            Ok(ticket) => ticket,
            Err(answer) => return announce(*answer),
        };
        let before = asked.headers.clone();
        for_upstream(&mut asked.headers, client);
        let tries = if self.mischief.retries_post() && asked.method == Method::POST { 2 } else { 1 };
        let mut outcome = Err(Missing::Timeout);
        for _ in 0..tries {
            let request = self.request(
                asked.method.clone(),
                &parts.uri,
                asked.headers.clone(),
                Either::Right(Full::new(body.clone())),
            );
            outcome = self.send(pool, request).await;
            if outcome.as_ref().is_ok_and(|reply| !reply.status().is_server_error()) {
                break;
            }
        }
        self.mischief.arrived(&ticket);
        let (mut reply, body) = outcome?.into_parts();
        for_client(&mut reply.headers);
        let body =
            Limited::new(body, MOST_BUFFERED).collect().await.map_err(|_| Missing::Body(StatusCode::BAD_GATEWAY))?;
        let mut answer = Answer { status: reply.status, headers: reply.headers, body: body.to_bytes() };
        asked.headers = before;
        self.mischief.after(&asked, &ticket, &mut answer);
        announce(answer)
    }

    fn request(&self, method: Method, uri: &Uri, headers: http::HeaderMap, body: Sent) -> Request<Sent> {
        let mut request = Request::new(body);
        *request.method_mut() = method;
        let mut parts = http::uri::Parts::default();
        parts.scheme = Some(Scheme::HTTP);
        parts.authority = Some(self.authority.clone());
        parts.path_and_query = Some(uri.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/")));
        // All three parts are there, so this cannot fail; if it did, the upstream's root is asked.
        *request.uri_mut() = Uri::from_parts(parts).unwrap_or_default();
        *request.headers_mut() = headers;
        if !self.keepalive {
            request.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        request
    }

    async fn send(&self, pool: &Pool, request: Request<Sent>) -> Result<Response<Incoming>, Missing> {
        match tokio::time::timeout(self.timeout, pool.request(request)).await {
            Err(_) => Err(Missing::Timeout),
            Ok(Err(failed)) => Err(Missing::Upstream(failed)),
            Ok(Ok(reply)) => Ok(reply),
        }
    }
}

/// 413 where the client's own body was too long, 504 where the upstream took no connection in time, else 502.
fn status_of(failed: &Failed) -> StatusCode {
    let mut cause: Option<&(dyn Error + 'static)> = Some(failed);
    while let Some(error) = cause {
        if error.is::<http_body_util::LengthLimitError>() {
            return StatusCode::PAYLOAD_TOO_LARGE;
        }
        if error.downcast_ref::<std::io::Error>().is_some_and(|e| e.kind() == std::io::ErrorKind::TimedOut) {
            return StatusCode::GATEWAY_TIMEOUT;
        }
        cause = error.source();
    }
    StatusCode::BAD_GATEWAY
}

/// An answer of the proxy's own.
fn refusal(status: StatusCode) -> Response<Received> {
    let text = format!("{} {}\n", status.as_u16(), status.canonical_reason().unwrap_or("error"));
    let mut response = Response::new(Either::Right(Full::new(Bytes::from(text))));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    headers.insert(header::VIA, HeaderValue::from_static("1.1 assay"));
    response
}

/// A reply's body that may pause only for so long.
pub(super) struct Bounded {
    body: Incoming,
    within: Duration,
    /// Made when it first pauses, and again after each piece.
    sleep: Option<Pin<Box<tokio::time::Sleep>>>,
}

impl Body for Bounded {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx) {
            self.sleep = None;
            return Poll::Ready(frame.map(|frame| frame.map_err(Into::into)));
        }
        let within = self.within;
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(tokio::time::sleep(within)));
        match sleep.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(Some(Err("the upstream's reply paused for too long".into()))),
            Poll::Pending => Poll::Pending,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
