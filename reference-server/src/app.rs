//! Which addresses does the server answer? The public router and the admin one, over one state.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State as Shared};
use axum::middleware::{self, Next};
use axum::response::Response;
use axum::routing::get;
use bytes::Bytes;
use http::header::{ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_ORIGIN, CACHE_CONTROL, ORIGIN};
use http::{HeaderName, HeaderValue, StatusCode};

use crate::config::Config;
use crate::flaws::FlawId;
use crate::state::{StartError, State};
use crate::{admin, reply, resource, simple};

/// A prepared server: its state and the two routers over it.
#[derive(Debug, Clone)]
pub struct App {
    state: Arc<State>,
}

/// Prepares a server: parses keys, hashes passwords. Nothing listens yet.
pub fn app(config: Config) -> Result<App, StartError> {
    Ok(App { state: Arc::new(State::new(config)?) })
}

impl App {
    /// What the public port answers. `steerable` where an admin port may delay and freeze it.
    pub fn router(&self, steerable: bool) -> Router {
        let state = Arc::clone(&self.state);
        let mut router = simple::routes(&state)
            .merge(crate::oauth::routes(&state))
            .merge(resource::routes(&state))
            .route("/.well-known/jwks.json", get(jwks))
            .route("/healthz", get(health))
            .route("/metrics", get(crate::operation::metrics))
            .route("/openapi.json", get(crate::operation::openapi))
            .fallback(resource::elsewhere)
            .method_not_allowed_fallback(async |request: Request| {
                reply::detail(StatusCode::METHOD_NOT_ALLOWED, &format!("Method \"{}\" not allowed.", request.method()))
            });
        if state.config.log || state.config.server_timing || state.config.request_metrics {
            router = router.layer(middleware::from_fn_with_state(Arc::clone(&state), crate::operation::observe));
        }
        // Layers cost an allocation each: the ordinary server has none.
        if steerable {
            router = router.layer(middleware::from_fn_with_state(Arc::clone(&state), stall));
        }
        if !state.flaws.is_empty() {
            router = router.layer(middleware::from_fn_with_state(Arc::clone(&state), announce));
        }
        router.with_state(state)
    }

    /// The number of open connections, which whoever accepts them keeps.
    pub(crate) fn connections(&self) -> prometheus_client::metrics::gauge::Gauge {
        self.state.metrics.connections.clone()
    }

    /// What the admin port answers.
    pub fn admin(&self) -> Router {
        admin::routes().with_state(Arc::clone(&self.state))
    }

    /// Reaches the token store, so that what is wrong with it is told now and not by the first request. Gives what to warn of.
    pub async fn prepare(&self) -> Result<Vec<String>, StartError> {
        self.state.store.prepare().await.map_err(|error| StartError::Store(error.0))
    }

    /// Forgets what has expired; for a caller's clockwork.
    pub async fn sweep(&self) {
        if let Some(pace) = &self.state.pace {
            pace.retain_recent();
        }
        if let Err(error) = self.state.sweep().await {
            tracing::warn!(%error, "the sweep failed");
        }
    }
}

async fn stall(Shared(state): Shared<Arc<State>>, request: Request, next: Next) -> Response {
    if !state.stall.is_off() {
        state.stall.pass().await;
    }
    next.run(request).await
}

/// Every answer of a flawed server says so.
async fn announce(Shared(state): Shared<Arc<State>>, request: Request, next: Next) -> Response {
    let origin = request.headers().get(ORIGIN).cloned();
    let mut response = if state.has(FlawId::HostHeaderIssuer) {
        let headers = request.headers().clone();
        crate::flawed::asked_by_host(&headers, next.run(request)).await
    } else {
        next.run(request).await
    };
    if state.has(FlawId::CrashMalformed) && matches!(response.status().as_u16(), 400 | 413 | 415 | 422) {
        response = reply::crash();
    }
    if let Ok(names) = HeaderValue::from_str(&state.flaws.names().join(", ")) {
        response.headers_mut().insert(HeaderName::from_static("x-assay-flaws"), names);
    }
    if let (true, Some(origin)) = (state.has(FlawId::CorsReflect), origin) {
        response.headers_mut().insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        response.headers_mut().insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
    }
    response
}

async fn jwks(Shared(state): Shared<Arc<State>>) -> Response {
    let other = state.has(FlawId::PerNodeKey).then(|| state.slips.other_set(state.config.algorithm)).flatten();
    let set = other.unwrap_or_else(|| state.keys.now().jwks.clone());
    let mut response = reply::bytes(StatusCode::OK, set);
    response.headers_mut().insert(
        CACHE_CONTROL,
        HeaderValue::from_static(if state.has(FlawId::ImmutableJwks) {
            "public, max-age=31536000, immutable"
        } else {
            "public, max-age=60"
        }),
    );
    response
}

async fn health() -> Response {
    reply::bytes(StatusCode::OK, Bytes::from_static(br#"{"status":"ok"}"#))
}
