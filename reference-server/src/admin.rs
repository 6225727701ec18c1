//! What can a test change while the server runs? The hooks of the second port, listed in the crate's documentation.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State as Shared};
use axum::response::Response;
use axum::routing::{get, post};
use http::StatusCode;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::algorithm::Algorithm;
use crate::body::read;
use crate::flaws::FlawId;
use crate::keys::Key;
use crate::reply;
use crate::state::State;
use crate::store::Store;
use crate::verify::open;

type Server = Shared<Arc<State>>;

pub(crate) fn routes() -> Router<Arc<State>> {
    Router::new()
        .route("/_ref/users/disable", post(disable))
        .route("/_ref/users/enable", post(enable))
        .route("/_ref/users/delete", post(delete))
        .route("/_ref/users/demote", post(demote))
        .route("/_ref/users/password", post(password))
        .route("/_ref/keys/rotate", post(rotate))
        .route("/_ref/keys/retire", post(retire))
        .route("/_ref/clock", post(clock))
        .route("/_ref/delay", post(delay))
        .route("/_ref/freeze", post(freeze))
        .route("/_ref/counters", get(counters))
        .route("/_ref/verify-jws", post(verify_jws))
        .route("/_ref/restart", post(restart))
        .route("/_ref/reset", post(reset))
        .fallback(async || reply::detail(StatusCode::NOT_FOUND, "no such hook"))
}

async fn parsed<T: DeserializeOwned>(request: Request) -> Result<T, Box<Response>> {
    let bytes = read(request.into_body(), 1 << 20).await?;
    let text: &[u8] = if bytes.is_empty() { b"{}" } else { &bytes };
    serde_json::from_slice(text)
        .map_err(|error| Box::new(reply::detail(StatusCode::BAD_REQUEST, &format!("the hook's body: {error}"))))
}

fn done(found: bool) -> Response {
    if found {
        reply::json(StatusCode::OK, &json!({"done": true}))
    } else {
        reply::detail(StatusCode::NOT_FOUND, "no such user")
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Named {
    user: String,
}

async fn disable(Shared(state): Server, request: Request) -> Response {
    match parsed::<Named>(request).await {
        Ok(named) => done(state.users.change(&named.user, |user| {
            user.active = false;
            user.generation += 1;
        })),
        Err(response) => *response,
    }
}

async fn enable(Shared(state): Server, request: Request) -> Response {
    match parsed::<Named>(request).await {
        Ok(named) => done(state.users.change(&named.user, |user| user.active = true)),
        Err(response) => *response,
    }
}

async fn delete(Shared(state): Server, request: Request) -> Response {
    match parsed::<Named>(request).await {
        Ok(named) => done(state.users.delete(&named.user)),
        Err(response) => *response,
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Demotion {
    user: String,
    #[serde(default = "read_only")]
    scope: String,
}

fn read_only() -> String {
    "read".to_owned()
}

async fn demote(Shared(state): Server, request: Request) -> Response {
    match parsed::<Demotion>(request).await {
        Ok(demotion) => done(state.users.change(&demotion.user, |user| user.scope = demotion.scope.as_str().into())),
        Err(response) => *response,
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewPassword {
    user: String,
    password: String,
}

async fn password(Shared(state): Server, request: Request) -> Response {
    match parsed::<NewPassword>(request).await {
        Ok(new) => match state.users.set_password(&new.user, &new.password).await {
            Ok(found) => done(found),
            Err(_) => reply::unavailable(),
        },
        Err(response) => *response,
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyRotation {
    /// How many seconds the new key is published before it signs.
    #[serde(default)]
    lead_s: f64,
}

async fn rotate(Shared(state): Server, request: Request) -> Response {
    let rotation: KeyRotation = match parsed(request).await {
        Ok(rotation) => rotation,
        Err(response) => return *response,
    };
    let algorithm = state.config.algorithm;
    // An RSA key takes a tenth of a second and more.
    let made = state.users.costly(move || Key::generate(algorithm)).await;
    match made {
        Ok(Ok(key)) => {
            let kid = key.kid.clone();
            let now = state.now();
            if state.has(FlawId::ColdCacheWindow) {
                key.warm_from(now + 0.5);
            }
            let from = (rotation.lead_s > 0.0).then_some(now + rotation.lead_s);
            state.keys.rotate(key.with_flaws(&state.flaws), from, now, state.has(FlawId::DropOldKey));
            reply::json(StatusCode::OK, &json!({"done": true, "kid": kid}))
        }
        Ok(Err(error)) => reply::detail(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
        Err(_) => reply::unavailable(),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Retirement {
    kid: Option<String>,
}

async fn retire(Shared(state): Server, request: Request) -> Response {
    match parsed::<Retirement>(request).await {
        Ok(retirement) => reply::json(
            StatusCode::OK,
            &json!({"done": true, "retired": state.keys.retire(retirement.kid.as_deref(), state.now(), state.has(FlawId::CacheForever))}),
        ),
        Err(response) => *response,
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Moved {
    #[serde(default)]
    advance_s: Option<f64>,
    #[serde(default)]
    offset_s: Option<f64>,
}

/// A century either way is more than any check needs.
fn milliseconds(seconds: f64) -> i64 {
    (seconds.clamp(-3.2e9, 3.2e9) * 1000.0) as i64
}

async fn clock(Shared(state): Server, request: Request) -> Response {
    match parsed::<Moved>(request).await {
        Ok(moved) => {
            if let Some(offset) = moved.offset_s {
                state.clock.set_offset(milliseconds(offset));
            }
            if let Some(advance) = moved.advance_s {
                state.clock.advance(milliseconds(advance));
            }
            reply::json(
                StatusCode::OK,
                &json!({"done": true, "offset_s": state.clock.offset_ms() as f64 / 1000.0, "now": state.clock.now()}),
            )
        }
        Err(response) => *response,
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wait {
    ms: u64,
}

async fn delay(Shared(state): Server, request: Request) -> Response {
    match parsed::<Wait>(request).await {
        Ok(wait) => {
            state.stall.delay(wait.ms);
            done(true)
        }
        Err(response) => *response,
    }
}

async fn freeze(Shared(state): Server, request: Request) -> Response {
    match parsed::<Wait>(request).await {
        Ok(wait) => {
            state.stall.freeze(wait.ms);
            done(true)
        }
        Err(response) => *response,
    }
}

async fn counters(Shared(state): Server) -> Response {
    let mut all: serde_json::Map<String, Value> =
        state.metrics.counters.all().iter().map(|(name, n)| ((*name).to_owned(), json!(n))).collect();
    // A store that is away remembers nothing that could be told. Whoever moves the clock wants to see what it forgets then.
    let swept = state.sweep_by(state.clock.now()).await;
    let remembered = state.store.remembered().await.ok().filter(|_| swept.is_ok());
    all.insert("remembered".to_owned(), json!(remembered));
    reply::json(StatusCode::OK, &Value::Object(all))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    jws: String,
    /// Where given, this key decides instead of the server's.
    #[serde(default)]
    key: Option<RawKey>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawKey {
    alg: String,
    /// An HMAC secret in base64url, or the PKCS#8 key in PEM.
    #[serde(default)]
    secret: Option<String>,
    #[serde(default)]
    pem: Option<String>,
    #[serde(default)]
    jwk: Option<Value>,
    #[serde(default)]
    kid: Option<String>,
}

async fn verify_jws(Shared(state): Server, request: Request) -> Response {
    let raw: Raw = match parsed(request).await {
        Ok(raw) => raw,
        Err(response) => return *response,
    };
    let ring = match &raw.key {
        None => state.keys.now(),
        Some(given) => {
            let Some(algorithm) = Algorithm::named(&given.alg) else {
                return reply::detail(StatusCode::BAD_REQUEST, "no such algorithm");
            };
            let kid = given.kid.clone().unwrap_or_default();
            let key = match (&given.secret, &given.pem, &given.jwk) {
                (Some(secret), None, None) => Key::raw_secret(algorithm, kid, secret),
                (None, Some(pem), None) => Key::load(algorithm, kid, pem),
                (None, None, Some(jwk)) => Key::from_jwk(algorithm, kid, jwk),
                _ => return reply::detail(StatusCode::BAD_REQUEST, "expected exactly one of secret, pem and jwk"),
            };
            match key {
                Ok(key) => crate::ring::KeyRing::new(key, Vec::new(), Vec::new()).now(),
                Err(error) => return reply::detail(StatusCode::BAD_REQUEST, &error.to_string()),
            }
        }
    };
    let mut payload = Vec::new();
    match open(&ring, &raw.jws, &mut payload) {
        Some(_) => reply::json(StatusCode::OK, &json!({"valid": true, "payload_bytes": payload.len()})),
        None => reply::json(StatusCode::OK, &json!({"valid": false})),
    }
}

/// Forgets what lives in this process only.
fn forget(state: &State) {
    state.users.reset();
    state.keys.reset();
    state.clock.set_offset(0);
    state.stall.clear();
    state.metrics.counters.clear();
    state.throttle.clear();
    state.slips.clear();
    state.notes.clear();
}

/// What a restart does to tokens: all that is remembered of them in this process is gone, and what the store keeps
/// elsewhere is as it was.
async fn restart(Shared(state): Server) -> Response {
    forget(&state);
    let in_memory = matches!(state.store, Store::Memory(_));
    done(!in_memory || state.store.clear().await.is_ok())
}

async fn reset(Shared(state): Server) -> Response {
    forget(&state);
    done(state.store.clear().await.is_ok())
}
