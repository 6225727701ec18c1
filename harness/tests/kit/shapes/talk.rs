//! How does a small server listen and answer? A request taken apart, a reply put together, and a port of its own.

use std::collections::HashMap;
use std::sync::Arc;

use axum::body::Body;
use base64::Engine as _;
use serde_json::Value;

use super::Shape;
use super::keeper::Keeper;

pub const CLIENT: (&str, &str) = ("shop", "shop-secret-9");

/// A request, taken apart.
pub struct Asked {
    pub method: String,
    pub path: String,
    pub query: HashMap<String, String>,
    pub headers: http::HeaderMap,
    pub body: Vec<u8>,
}

impl Asked {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
    pub fn is(&self, method: &str, path: &str) -> bool {
        self.method == method && self.path == path
    }
    /// The token after a scheme of the Authorization header.
    pub fn after(&self, scheme: &str) -> Option<&str> {
        let (found, token) = self.header("authorization")?.split_once(' ')?;
        found.eq_ignore_ascii_case(scheme).then_some(token)
    }
    pub fn cookie(&self, name: &str) -> Option<&str> {
        let pairs = self.header("cookie")?.split(';').filter_map(|pair| pair.trim().split_once('='));
        pairs.into_iter().find(|(found, _)| *found == name).map(|(_, value)| value)
    }
    pub fn json(&self, name: &str) -> Option<String> {
        serde_json::from_slice::<Value>(&self.body).ok()?.get(name)?.as_str().map(str::to_owned)
    }
    pub fn form(&self, name: &str) -> Option<String> {
        if !self.header("content-type").is_some_and(|kind| kind.starts_with("application/x-www-form-urlencoded")) {
            return None;
        }
        let pairs: Vec<(String, String)> = std::str::from_utf8(&self.body).ok()?.split('&').filter_map(pair).collect();
        pairs.into_iter().find(|(found, _)| found == name).map(|(_, value)| value)
    }
    pub fn client_by_basic(&self) -> bool {
        let wanted = base64::engine::general_purpose::STANDARD.encode(format!("{}:{}", CLIENT.0, CLIENT.1));
        self.after("basic") == Some(wanted.as_str())
    }
}

pub fn pair(text: &str) -> Option<(String, String)> {
    let decode = |text: &str| {
        let mut bytes = Vec::new();
        let mut rest = text.as_bytes();
        while let Some((first, tail)) = rest.split_first() {
            rest = tail;
            match first {
                b'+' => bytes.push(b' '),
                b'%' => {
                    let digits = std::str::from_utf8(rest.get(..2)?).ok()?;
                    bytes.push(u8::from_str_radix(digits, 16).ok()?);
                    rest = &rest[2..];
                }
                other => bytes.push(*other),
            }
        }
        String::from_utf8(bytes).ok()
    };
    let (name, value) = text.split_once('=')?;
    Some((decode(name)?, decode(value)?))
}

/// A reply.
pub struct Said {
    pub status: u16,
    pub headers: Vec<(&'static str, String)>,
    pub body: String,
}

pub fn says(status: u16, body: Value) -> Said {
    Said { status, headers: vec![("content-type", "application/json".into())], body: body.to_string() }
}

impl Said {
    pub fn with(mut self, name: &'static str, value: impl Into<String>) -> Said {
        self.headers.push((name, value.into()));
        self
    }
}

/// A shape on a free port of loopback, ended with its runtime.
pub struct Server {
    pub url: String,
    _runtime: tokio::runtime::Runtime,
}

pub fn serve(shape: Shape) -> Server {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("threads");
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.set_nonblocking(true).expect("non-blocking");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let keeper = Arc::new(Keeper::default());
    let app = axum::Router::new().fallback(move |request: axum::extract::Request| {
        let keeper = keeper.clone();
        async move { answer(shape, &keeper, request).await }
    });
    runtime.spawn(async move {
        let listener = tokio::net::TcpListener::from_std(listener).expect("a listener");
        axum::serve(listener, app).await
    });
    Server { url, _runtime: runtime }
}

async fn answer(shape: Shape, keeper: &Keeper, request: axum::extract::Request) -> http::Response<Body> {
    let (head, body) = request.into_parts();
    let body = axum::body::to_bytes(body, 2 << 20).await.map(|bytes| bytes.to_vec()).unwrap_or_default();
    let query = head.uri.query().unwrap_or("").split('&').filter_map(pair).collect();
    let asked =
        Asked { method: head.method.to_string(), path: head.uri.path().to_owned(), query, headers: head.headers, body };
    let said = shape(keeper, &asked);
    let mut reply = http::Response::builder().status(said.status);
    for (name, value) in said.headers {
        reply = reply.header(name, value);
    }
    reply.body(Body::from(said.body)).expect("a reply")
}
