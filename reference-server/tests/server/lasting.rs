//! How long does what was decided about a session hold? As long as any of its tokens could pass.

use std::time::Duration;

use reference_server::Config;
use serde_json::{Value, json};

use super::client::{Server, claims, quick};

async fn refresh(server: &Server, token: &str) -> super::client::Answer {
    server.post("/api/token/refresh/", json!({"refresh": token})).await
}

/// Time goes by, and the server forgets what it may forget.
async fn later(server: &Server, seconds: u64) {
    server.hook("/_ref/clock", json!({"advance_s": seconds})).await;
    server.send(server.http.get(format!("{}/_ref/counters", server.admin))).await;
}

#[tokio::test]
async fn a_used_token_stays_used_while_the_leeway_would_let_it_pass() {
    let leeway = Duration::from_secs(60);
    let config = Config { leeway, refresh_lifetime: Duration::from_secs(30), ..quick() };
    let server = Server::start(config).await;
    let first = server.json_login("alice").await.text("refresh").to_owned();
    assert_eq!(refresh(&server, &first).await.status, 200);
    later(&server, 35).await;
    assert_eq!(refresh(&server, &first).await.status, 401);
}

#[tokio::test]
async fn a_clock_that_is_put_back_after_a_sweep_makes_no_used_token_good_again() {
    let server = Server::start(quick()).await;
    let first = server.json_login("alice").await.text("refresh").to_owned();
    assert_eq!(refresh(&server, &first).await.status, 200);
    server.hook("/_ref/clock", json!({"advance_s": 172_800})).await;
    server.app.sweep().await;
    server.hook("/_ref/clock", json!({"advance_s": -172_800})).await;
    assert_eq!(refresh(&server, &first).await.status, 401);
}

#[tokio::test]
async fn an_ended_session_s_access_token_stays_refused_though_it_outlives_the_refresh_token() {
    let server = Server::start(Config { refresh_lifetime: Duration::from_secs(30), ..quick() }).await;
    let pair = server.json_login("alice").await;
    let ended = server.post("/api/token/blacklist/", json!({"refresh": pair.text("refresh")})).await;
    assert_eq!(ended.status, 200);
    later(&server, 35).await;
    assert_eq!(server.bearer("/hello/", pair.text("access")).await.status, 401);
}

#[tokio::test]
async fn no_token_reaches_beyond_the_absolute_end_of_its_session() {
    let absolute_lifetime = Duration::from_secs(60);
    for rotate in [true, false] {
        let server = Server::start(Config { absolute_lifetime, rotate, ..quick() }).await;
        let pair = server.json_login("alice").await;
        let (access, first) = (claims(pair.text("access")), claims(pair.text("refresh")));
        for token in [&access, &first] {
            let lives = token["exp"].as_u64().unwrap() - token["iat"].as_u64().unwrap();
            assert_eq!(lives, 60, "rotate {rotate}: {token}");
        }
        let told = server.login("assay:assay-secret", "openid read").await;
        assert_eq!(told.body["expires_in"], 60, "{told:?}");
        let id_token = claims(told.text("id_token"));
        assert_eq!(id_token["exp"].as_u64().unwrap() - id_token["iat"].as_u64().unwrap(), 60);
        later(&server, 61).await;
        assert_eq!(refresh(&server, pair.text("refresh")).await.status, 401, "rotate {rotate}");
    }
}

#[tokio::test]
async fn the_key_that_signs_is_published_however_many_are_announced() {
    let server =
        Server::start(Config { algorithm: reference_server::Algorithm::named("ES256").unwrap(), ..quick() }).await;
    for _ in 0..20 {
        server.hook("/_ref/keys/rotate", json!({"lead_s": 1000})).await;
    }
    let token = server.json_login("alice").await.text("access").to_owned();
    assert_eq!(server.bearer("/hello/", &token).await.status, 200);
    let head = token.split('.').next().unwrap();
    let head = base64::Engine::decode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, head).unwrap();
    let kid = serde_json::from_slice::<Value>(&head).unwrap()["kid"].clone();
    let set = server.get("/.well-known/jwks.json").await.body;
    assert!(set["keys"].as_array().unwrap().iter().any(|key| key["kid"] == kid), "{kid} is not in {set}");
}

#[tokio::test]
async fn a_parameter_without_a_value_is_one_that_was_left_out() {
    let server = Server::start(quick()).await;
    for empty in [("client_secret", ""), ("client_id", "")] {
        let fields = [("grant_type", "client_credentials"), empty];
        let answer = server.form("/oauth/token", "assay:assay-secret", &fields).await;
        assert_eq!(answer.status, 200, "{empty:?}: {answer:?}");
    }
}
