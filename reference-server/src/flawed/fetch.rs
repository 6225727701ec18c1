//! What does a trusting server fetch before it knows who asks? Key sets from the addresses in a token; only from loopback.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;

use crate::der::certificate_key;
use crate::flaws::{FlawId as F, FlawSet};

/// Keys that came from the network for this one request.
#[derive(Debug, Default)]
pub(crate) struct Fetched {
    pub(crate) keys: Vec<Value>,
    /// Those of certificates, as SubjectPublicKeyInfo in DER.
    pub(crate) certified: Vec<Vec<u8>>,
}

impl Fetched {
    /// Follows the addresses of an unauthenticated token, where a mistake says so.
    pub(crate) async fn for_token(flaws: &FlawSet, text: &str) -> Self {
        let mut fetched = Self::default();
        if !flaws.has(F::FollowJku) && !flaws.has(F::DiscoverFromIss) {
            return fetched;
        }
        let part = |place: usize| -> Value {
            let bytes =
                text.split('.').nth(place).and_then(|segment| URL_SAFE_NO_PAD.decode(segment).ok()).unwrap_or_default();
            serde_json::from_slice(&bytes).unwrap_or_default()
        };
        let (header, claims) = (part(0), part(1));
        if flaws.has(F::FollowJku) {
            if let Some(url) = header.get("jku").and_then(Value::as_str) {
                fetched.keys.extend(key_set(url).await);
            }
            if let Some(url) = header.get("x5u").and_then(Value::as_str) {
                fetched.certified.extend(chain(url).await);
            }
        }
        if flaws.has(F::DiscoverFromIss) {
            let audience = claims.get("aud").map(|aud| aud.get(0).unwrap_or(aud));
            for url in [claims.get("iss"), audience, header.get("kid")].into_iter().flatten().filter_map(Value::as_str)
            {
                let url = format!("{}/.well-known/openid-configuration", url.trim_end_matches('/'));
                // The answer is not used: that the request went out is the mistake.
                let _ = get(&url, 0).await;
            }
        }
        fetched
    }
}

async fn key_set(url: &str) -> Vec<Value> {
    let Some(body) = get(url, 3).await else { return Vec::new() };
    let document: Value = serde_json::from_slice(&body).unwrap_or_default();
    document.get("keys").and_then(Value::as_array).cloned().unwrap_or_default()
}

/// The key of the first certificate in a chain of PEM.
async fn chain(url: &str) -> Option<Vec<u8>> {
    let body = get(url, 3).await?;
    let text = std::str::from_utf8(&body).ok()?;
    let (_, rest) = text.split_once("-----BEGIN CERTIFICATE-----")?;
    let (inner, _) = rest.split_once("-----END")?;
    let inner: String = inner.split_whitespace().collect();
    let certificate = base64::engine::general_purpose::STANDARD.decode(inner).ok()?;
    certificate_key(&certificate).map(<[u8]>::to_vec)
}

/// `GET url` from loopback only, within a second, 64 KiB at most, following so many redirects.
async fn get(url: &str, redirects: usize) -> Option<Bytes> {
    let client: Client<HttpConnector, Empty<Bytes>> = Client::builder(TokioExecutor::new()).build_http();
    let mut uri: http::Uri = url.parse().ok()?;
    for _ in 0..=redirects {
        let host = uri.host()?.trim_matches(['[', ']']);
        if uri.scheme_str() != Some("http") || !matches!(host, "127.0.0.1" | "::1" | "localhost") {
            return None;
        }
        let reply = tokio::time::timeout(Duration::from_secs(1), client.get(uri.clone())).await.ok()?.ok()?;
        if reply.status().is_redirection() {
            let to: http::Uri = reply.headers().get(http::header::LOCATION)?.to_str().ok()?.parse().ok()?;
            uri = match to.host() {
                Some(_) => to,
                // A path alone stays on the same host (RFC 9110 section 10.2.2).
                None => http::Uri::builder()
                    .scheme("http")
                    .authority(uri.authority()?.as_str())
                    .path_and_query(to.path_and_query()?.as_str())
                    .build()
                    .ok()?,
            };
            continue;
        }
        let body = tokio::time::timeout(Duration::from_secs(1), Limited::new(reply.into_body(), 64 * 1024).collect())
            .await
            .ok()?
            .ok()?;
        return Some(body.to_bytes());
    }
    None
}
