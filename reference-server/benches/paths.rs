//! What does each request cost inside the server, sockets left out? The router is called in-process; an empty handler is the floor.
//!
//! `cargo bench -p jwt-reference-server --bench paths`. Beside each path stands what the crypto library alone needs, and what
//! `jsonwebtoken` needs to read the same token.
#![allow(missing_docs, reason = "a benchmark")]

use std::hint::black_box;

use axum::Router;
use axum::body::Body;
use axum::routing::get;
use bytes::Bytes;
use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use http::{Request, StatusCode};
use http_body_util::BodyExt;
use jsonwebtoken::{DecodingKey, Validation, jwk::JwkSet};
use reference_server::{Algorithm, Config, Hash, app};
use serde_json::{Value, json};
use tower::ServiceExt;

const ALGORITHMS: [&str; 4] = ["HS256", "RS256", "ES256", "EdDSA"];

fn server(alg: &str) -> Router {
    let algorithm = Algorithm::named(alg).expect("an algorithm");
    app(Config { algorithm, hash: Hash::None, ..Config::default() }).expect("a server").router(false)
}

fn empty() -> Router {
    let reply = || async {
        let body = r#"{"message":"hello, alice","user":"alice","user_id":"1","scope":"read write"}"#;
        ([("content-type", "application/json"), ("cache-control", "no-store")], body)
    };
    Router::new().route("/hello/", get(reply))
}

fn hello(token: &str) -> Request<Body> {
    let request = Request::get("/hello/").header("host", "x").header("authorization", format!("Bearer {token}"));
    request.body(Body::empty()).expect("a request")
}

fn post(path: &str, body: &Value) -> Request<Body> {
    let body = body.to_string();
    let request = Request::post(path)
        .header("host", "x")
        .header("content-type", "application/json")
        .header("content-length", body.len());
    request.body(Body::from(body)).expect("a request")
}

fn login() -> Request<Body> {
    post("/api/token/", &json!({"username": "alice", "password": "correct-horse-9"}))
}

async fn answer(router: &Router, request: Request<Body>) -> Bytes {
    let Ok(response) = router.clone().oneshot(request).await;
    assert_eq!(response.status(), StatusCode::OK);
    response.into_body().collect().await.expect("a body").to_bytes()
}

async fn token(router: &Router, name: &str) -> String {
    let body: Value = serde_json::from_slice(&answer(router, login()).await).expect("JSON");
    body[name].as_str().expect("a token").to_owned()
}

fn paths(c: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let mut time = |name: String, router: &Router, make: &dyn Fn() -> Request<Body>| {
        c.bench_function(&name, |b| {
            b.iter_batched(make, |request| black_box(runtime.block_on(answer(router, request))), BatchSize::SmallInput);
        });
    };
    let floor = empty();
    time("empty handler".into(), &floor, &|| hello("x"));
    for alg in ALGORITHMS {
        let router = server(alg);
        let access = runtime.block_on(token(&router, "access"));
        time(format!("{alg}/GET hello"), &router, &|| hello(&access));
        time(format!("{alg}/verify"), &router, &|| post("/api/token/verify/", &json!({"token": access})));
        time(format!("{alg}/issue"), &router, &login);
        // A used refresh token is refused: each request has one of its own.
        time(format!("{alg}/refresh"), &router, &|| {
            let refresh = runtime.block_on(token(&router, "refresh"));
            post("/api/token/refresh/", &json!({"refresh": refresh}))
        });
    }
}

fn jwt_library(c: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    for alg in ["RS256", "ES256", "EdDSA"] {
        let router = server(alg);
        let access = runtime.block_on(token(&router, "access"));
        let request = Request::get("/.well-known/jwks.json").body(Body::empty()).expect("a request");
        let keys: JwkSet = serde_json::from_slice(&runtime.block_on(answer(&router, request))).expect("a key set");
        let key = DecodingKey::from_jwk(&keys.keys[0]).expect("a key");
        let mut rules = Validation::new(alg.parse().expect("an algorithm"));
        rules.validate_nbf = true;
        c.bench_function(&format!("{alg}/jsonwebtoken alone"), |b| {
            b.iter(|| jsonwebtoken::decode::<Value>(black_box(&access), &key, &rules).expect("a good token"));
        });
    }
}

criterion_group!(benches, paths, jwt_library);
criterion_main!(benches);
