//! What does whoever runs the server see of it? Metrics, a log line per request, the time each took, and its description.

use std::sync::Arc;
use std::time::Instant;

use axum::extract::{MatchedPath, Request, State as Shared};
use axum::middleware::Next;
use axum::response::Response;
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderName, HeaderValue, StatusCode};

use crate::reply;
use crate::state::State;

/// `/metrics` in the OpenMetrics text format.
pub(crate) async fn metrics(Shared(state): Shared<Arc<State>>) -> Response {
    state.metrics.hashing.set(i64::try_from(state.users.in_work()).unwrap_or(i64::MAX));
    let mut response = reply::bytes(StatusCode::OK, Bytes::from(state.metrics.text()));
    let kind = HeaderValue::from_static(crate::metrics::CONTENT_TYPE);
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}

/// `/openapi.json`.
pub(crate) async fn openapi() -> Response {
    reply::bytes(StatusCode::OK, Bytes::from_static(include_bytes!("openapi.json")))
}

/// A line per request, and the time it took as a header and in the metrics. Neither the query nor a header nor a body is looked at, so that no token is told.
pub(crate) async fn observe(Shared(state): Shared<Arc<State>>, request: Request, next: Next) -> Response {
    let started = Instant::now();
    let method = request.method().clone();
    // The pattern of the route: a path may hold whatever a stranger sends.
    let route = request.extensions().get::<MatchedPath>().map(|path| path.as_str().to_owned());
    let mut response = next.run(request).await;
    let took = started.elapsed();
    if state.config.request_metrics {
        state.metrics.answered(route.as_deref(), &method, response.status(), took);
    }
    if state.config.log {
        let (route, status) = (route.as_deref().unwrap_or("unmatched"), response.status().as_u16());
        tracing::info!(target: "reference_server::access", %method, route, status, took_us = took.as_micros() as u64);
    }
    if state.config.server_timing
        && let Ok(value) = HeaderValue::from_str(&format!("app;dur={:.3}", took.as_secs_f64() * 1000.0))
    {
        response.headers_mut().insert(HeaderName::from_static("server-timing"), value);
    }
    response
}
