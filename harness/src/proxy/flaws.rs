//! Which mistakes can the proxy make on purpose? One table; each is a fault seen in real proxies, made so that a
//! correct server behind it still shows it.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Response, StatusCode};
use http_body_util::Full;

use super::headers::{connection_lists, is_identity};
use super::raw::Framing;

/// One deliberate fault of the proxy.
#[derive(Debug)]
pub struct Flaw {
    /// Its name, as `--flaw` takes it: it names the defect.
    pub name: &'static str,
    /// What the proxy then does, in one sentence.
    pub breaks: &'static str,
    /// What the server behind it must be for the fault to show: `dialect=oidc`.
    pub needs: &'static [&'static str],
    /// The checks that must find it.
    pub kills: &'static [&'static str],
    /// Other checks that turn as a natural consequence.
    pub also: &'static [&'static str],
    fault: Fault,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    StripAuthorization,
    RetryPost,
    CachePost,
    IgnoreAuthorization,
    KeepForNobody,
    Rewrite401,
    RewriteCacheControl,
    TinyBuffer,
    StripThenTrust,
    TrustXUser,
    JoinHeaders,
    PooledIdentity,
    HostHeaderIssuer,
    LogQuery,
    Framing(Framing),
}

macro_rules! flaws {
    ($($fault:ident $(($framing:ident))? $name:literal $breaks:literal $(needs [$($need:literal)*])?
       kills [$($kill:literal)*] also [$($also:literal)*];)*) => {
        static TABLE: &[Flaw] = &[$(Flaw {
            name: $name, breaks: $breaks, needs: &[$($($need),*)?], kills: &[$($kill),*], also: &[$($also),*],
            fault: Fault::$fault $((Framing::$framing))?,
        }),*];
    };
}

flaws! {
    StripAuthorization "strip-authorization" "the Authorization header does not reach the server"
        kills ["proxy-auth-forwarded"] also ["*"];
    RetryPost "retry-post" "a POST whose reply does not come, or is a server error, is sent once more"
        kills ["proxy-post-retry"] also [];
    CachePost "cache-post" "replies to POST are kept and given to whoever asks for the same path"
        kills ["proxy-cache-token"] also ["*"];
    IgnoreAuthorization "ignore-authorization" "replies to GET are kept and given to whoever asks, with whatever token"
        kills ["proxy-cache-authz"] also ["*"];
    KeepForNobody "keep-for-nobody" "replies to GET with a token are kept and given to whoever asks without one"
        kills ["proxy-cache-authz"] also ["*"];
    Rewrite401 "rewrite-401" "401 becomes 403 without a challenge"
        kills ["proxy-parity"] also ["*"];
    RewriteCacheControl "rewrite-cache-control" "Cache-Control becomes `public, max-age=60`, and Pragma goes"
        kills ["proxy-no-store-kept"] also ["proxy-parity" "issue-no-store" "refresh-http" "bearer-cacheable"];
    TinyBuffer "tiny-buffer" "an Authorization header above 1 KiB is answered with 502"
        kills ["proxy-header-limit"]
        also ["proxy-parity" "bearer-grammar" "sig-alg-odd" "sig-embedded-jwk" "sig-embedded-x5c" "struct-json-encoding" "struct-polyglot" "struct-segments" "type-sub" "verify-fuzz"];
    StripThenTrust "strip-then-trust" "a header that Connection lists is stripped, and a request left without a token is sent with the last good one"
        kills ["proxy-hop-by-hop"] also [];
    TrustXUser "trust-x-user" "a client that names a user in X-User or its like is let in as that user"
        kills ["proxy-identity-spoof"] also [];
    JoinHeaders "join-headers" "of several Authorization headers the last alone is passed on"
        kills ["proxy-dup-authorization"] also ["proxy-parity" "bearer-dup-header"];
    PooledIdentity "pooled-identity" "while several requests are on their way, all carry the token of the first"
        kills ["proxy-conn-reuse"] also ["*"];
    HostHeaderIssuer "host-header-issuer" "issuer and addresses in discovery documents take the host that the client names"
        needs ["dialect=oidc"] kills ["proxy-issuer"] also ["proxy-parity"];
    LogQuery "log-query" "the access log holds queries and Authorization headers"
        kills ["proxy-logs"] also [];
    Framing(ByLength) "cl-te" "a request with Content-Length and Transfer-Encoding ends by its length, and goes on with its Transfer-Encoding alone"
        kills ["proxy-smuggle"] also [];
    Framing(KeepsLength) "te-cl" "a request with both ends by its chunks, and goes on with its Content-Length alone"
        kills ["proxy-smuggle"] also [];
    Framing(MendsEncoding) "te-te" "a Transfer-Encoding that is not written plainly ends no request, and goes on written plainly"
        kills ["proxy-smuggle"] also [];
    Framing(DropsLength) "cl-zero" "a GET with a body goes on without its Content-Length"
        kills ["proxy-smuggle"] also [];
    Framing(LastLength) "two-lengths" "of several Content-Lengths the largest ends a request, and the smallest goes on"
        kills ["proxy-smuggle"] also [];
    Framing(LfAsSpace) "lf-as-space" "a bare LF ends a line, and goes on as a space"
        kills ["proxy-smuggle"] also [];
}

/// All flaws of the embedded proxy.
pub fn flaws() -> &'static [Flaw] {
    TABLE
}

/// The flaws that are on.
#[derive(Clone, Debug, Default)]
pub struct Flaws(Vec<&'static Flaw>);

/// `--flaw` with a name that is not in the table.
#[derive(Debug, thiserror::Error)]
#[error("unknown flaw `{name}` of the proxy; hint: {}", match near { Some(near) => format!("did you mean `{near}`?"), None => "`assay list flaws` shows all".to_owned() })]
pub struct UnknownFlaw {
    name: String,
    near: Option<&'static str>,
}

impl Flaws {
    /// The flaws of these names.
    pub fn named(names: &[String]) -> Result<Flaws, UnknownFlaw> {
        let find = |name: &String| {
            TABLE.iter().find(|flaw| flaw.name == *name).ok_or_else(|| UnknownFlaw {
                name: name.clone(),
                near: TABLE
                    .iter()
                    .map(|flaw| (strsim::damerau_levenshtein(name, flaw.name), flaw.name))
                    .filter(|(distance, _)| *distance <= 3)
                    .min()
                    .map(|(_, near)| near),
            })
        };
        names.iter().map(find).collect::<Result<_, _>>().map(Flaws)
    }

    /// Whether none is on.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Their names, with `, ` between.
    pub fn names(&self) -> String {
        self.0.iter().map(|flaw| flaw.name).collect::<Vec<_>>().join(", ")
    }

    fn on(&self, fault: Fault) -> bool {
        self.0.iter().any(|flaw| flaw.fault == fault)
    }
}

/// A request that a flaw may change; buffered, as flaws need it.
pub(super) struct Asked {
    pub(super) method: Method,
    /// Path and query.
    pub(super) target: String,
    pub(super) headers: HeaderMap,
}

impl Asked {
    fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or(&self.target)
    }
    fn authorization(&self) -> Option<HeaderValue> {
        self.headers.get(header::AUTHORIZATION).cloned()
    }
}

/// A reply, buffered.
#[derive(Clone)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

impl Answer {
    pub(super) fn into_response(self) -> Response<Full<Bytes>> {
        let mut response = Response::new(Full::new(self.body));
        *response.status_mut() = self.status;
        *response.headers_mut() = self.headers;
        response
    }
}

/// What the flaws remember between requests. Everything in it has a limit.
#[derive(Default)]
struct Remembered {
    /// Replies by method and path.
    cached: HashMap<(Method, String), Answer>,
    /// Tokens that were accepted, with the reply's body, latest first.
    accepted: VecDeque<(HeaderValue, Bytes)>,
    /// Tokens of requests on their way, in the order in which they came.
    under_way: VecDeque<(u64, HeaderValue)>,
    next: u64,
}

/// Replies that a cache keeps, and tokens that are remembered.
const MOST: usize = 64;
/// Above this, `tiny-buffer` answers 502.
const TINY: usize = 1024;

/// The flaws at work.
#[derive(Default)]
pub(super) struct Mischief {
    flaws: Flaws,
    remembered: Mutex<Remembered>,
}

/// Told to [`Mischief::after`]: which of the requests under way this was, and the host that the client named.
pub(super) struct Ticket {
    under_way: Option<u64>,
    host: Option<HeaderValue>,
}

impl Mischief {
    pub(super) fn new(flaws: Flaws) -> Mischief {
        Mischief { flaws, remembered: Mutex::default() }
    }

    pub(super) fn names(&self) -> String {
        self.flaws.names()
    }

    pub(super) fn is_none(&self) -> bool {
        self.flaws.is_empty()
    }

    /// Whether a failed or refused POST is sent once more.
    pub(super) fn retries_post(&self) -> bool {
        self.flaws.on(Fault::RetryPost)
    }

    /// How requests are framed by hand, where that is what goes wrong.
    pub(super) fn framing(&self) -> Option<Framing> {
        self.flaws.0.iter().find_map(|flaw| match flaw.fault {
            Fault::Framing(framing) => Some(framing),
            _ => None,
        })
    }

    /// What the access log holds beyond the usual.
    pub(super) fn log_more(&self, query: Option<&str>, authorization: Option<&HeaderValue>) -> String {
        if !self.flaws.on(Fault::LogQuery) {
            return String::new();
        }
        let authorization = authorization.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
        format!(" ?{} {}", query.unwrap_or("-"), authorization.as_deref().unwrap_or("-"))
    }

    /// Changes a request as it came from the client; an answer ends the matter.
    pub(super) fn before(&self, asked: &mut Asked) -> Result<Ticket, Box<Answer>> {
        let on = |fault| self.flaws.on(fault);
        let mut remembered = self.remembered.lock().unwrap_or_else(PoisonError::into_inner);
        let mut ticket = Ticket {
            under_way: None,
            host: asked.headers.get("x-forwarded-host").or(asked.headers.get(header::HOST)).cloned(),
        };
        if on(Fault::TinyBuffer) && asked.headers.get_all(header::AUTHORIZATION).iter().any(|value| value.len() > TINY)
        {
            let headers = HeaderMap::new();
            return Err(Box::new(Answer { status: StatusCode::BAD_GATEWAY, headers, body: Bytes::new() }));
        }
        let nobody = !asked.headers.contains_key(header::AUTHORIZATION);
        let keeps = (on(Fault::CachePost) && asked.method == Method::POST)
            || (on(Fault::IgnoreAuthorization) && asked.method == Method::GET)
            || (on(Fault::KeepForNobody) && asked.method == Method::GET && nobody);
        if keeps && let Some(kept) = remembered.cached.get(&(asked.method.clone(), asked.path().to_owned())) {
            let mut kept = kept.clone();
            kept.headers.insert("x-cache", HeaderValue::from_static("HIT"));
            kept.headers.insert(header::AGE, HeaderValue::from_static("1"));
            return Err(Box::new(kept));
        }
        if on(Fault::StripAuthorization) {
            asked.headers.remove(header::AUTHORIZATION);
        }
        if on(Fault::JoinHeaders)
            && let Some(last) = asked.headers.get_all(header::AUTHORIZATION).iter().next_back().cloned()
        {
            asked.headers.insert(header::AUTHORIZATION, last);
        }
        if on(Fault::StripThenTrust) && connection_lists(&asked.headers, "authorization") {
            asked.headers.remove(header::AUTHORIZATION);
            if let Some((good, _)) = remembered.accepted.front() {
                asked.headers.insert(header::AUTHORIZATION, good.clone());
            }
        }
        if on(Fault::TrustXUser) {
            let named =
                asked.headers.iter().find(|(name, _)| is_identity(name.as_str())).map(|(_, value)| value.clone());
            if let Some(named) = named.as_ref().and_then(|value| value.to_str().ok()) {
                let quoted = format!("\"{named}\"");
                let of_user = |body: &Bytes| String::from_utf8_lossy(body).contains(&quoted);
                if let Some((token, _)) = remembered.accepted.iter().find(|(_, body)| of_user(body)) {
                    asked.headers.insert(header::AUTHORIZATION, token.clone());
                }
            }
        }
        if on(Fault::PooledIdentity)
            && let Some(own) = asked.authorization()
        {
            if let Some((_, first)) = remembered.under_way.front() {
                asked.headers.insert(header::AUTHORIZATION, first.clone());
            }
            let number = remembered.next;
            remembered.next += 1;
            remembered.under_way.push_back((number, own));
            ticket.under_way = Some(number);
        }
        Ok(ticket)
    }

    /// The request is no longer on its way, whatever came of it.
    pub(super) fn arrived(&self, ticket: &Ticket) {
        if let Some(number) = ticket.under_way {
            let mut remembered = self.remembered.lock().unwrap_or_else(PoisonError::into_inner);
            remembered.under_way.retain(|(other, _)| *other != number);
        }
    }

    /// Changes a reply as it came from the server.
    pub(super) fn after(&self, asked: &Asked, ticket: &Ticket, answer: &mut Answer) {
        let on = |fault| self.flaws.on(fault);
        let mut remembered = self.remembered.lock().unwrap_or_else(PoisonError::into_inner);
        let good = answer.status.is_success();
        if (on(Fault::StripThenTrust) || on(Fault::TrustXUser))
            && good
            && asked.method == Method::GET
            && let Some(token) = asked.authorization()
        {
            remembered.accepted.push_front((token, answer.body.clone()));
            remembered.accepted.truncate(MOST);
        }
        if on(Fault::HostHeaderIssuer)
            && asked.path().contains("/.well-known/")
            && let Some(host) = ticket.host.as_ref().and_then(|host| host.to_str().ok())
        {
            rename_host(answer, host);
        }
        if on(Fault::Rewrite401) && answer.status == StatusCode::UNAUTHORIZED {
            answer.status = StatusCode::FORBIDDEN;
            answer.headers.remove(header::WWW_AUTHENTICATE);
        }
        if on(Fault::RewriteCacheControl) {
            answer.headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=60"));
            answer.headers.remove(header::PRAGMA);
        }
        let keeps = (on(Fault::CachePost) && asked.method == Method::POST)
            || ((on(Fault::IgnoreAuthorization) || on(Fault::KeepForNobody))
                && asked.method == Method::GET
                && asked.headers.contains_key(header::AUTHORIZATION));
        if keeps && good && remembered.cached.len() < MOST {
            remembered.cached.insert((asked.method.clone(), asked.path().to_owned()), answer.clone());
        }
    }
}

/// Puts the client's host into the absolute addresses of a JSON object.
fn rename_host(answer: &mut Answer, host: &str) {
    let Ok(serde_json::Value::Object(mut members)) = serde_json::from_slice(&answer.body) else { return };
    for value in members.values_mut() {
        if let serde_json::Value::String(text) = value
            && let Some((scheme, rest)) = text.split_once("://")
        {
            let path = rest.find('/').map_or("", |at| &rest[at..]);
            *text = format!("{scheme}://{host}{path}");
        }
    }
    answer.body = serde_json::Value::Object(members).to_string().into();
    answer.headers.insert(header::CONTENT_LENGTH, HeaderValue::from(answer.body.len()));
}

/// Where replies say which flaws are on.
pub(super) const ANNOUNCED: HeaderName = HeaderName::from_static("x-assay-flaws");
