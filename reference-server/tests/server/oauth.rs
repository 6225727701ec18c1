//! OAuth 2 and OpenID Connect: RFC 6749, 6750, 7009, 7662, 8414 and 9068, as a client meets them.

use reference_server::{Algorithm, Config};
use reqwest::Method;
use serde_json::json;

use super::client::{Server, claims, quick};

const CLIENT: &str = "assay:assay-secret";
const OTHER: &str = "assay-two:assay-two-secret";
const PUBLIC: &str = "assay-public";

#[tokio::test]
async fn a_password_login_gives_a_bearer_token_that_opens_the_resource() {
    let server = Server::start(quick()).await;
    let granted = server.login(CLIENT, "").await;
    assert_eq!(granted.status, 200);
    assert_eq!(granted.text("token_type"), "Bearer");
    assert_eq!(granted.body["expires_in"], 300);
    assert_eq!(granted.text("scope"), "read write");
    assert_eq!(granted.header("cache-control"), "no-store");
    assert_eq!(granted.header("pragma"), "no-cache");
    assert!(granted.body.get("id_token").is_none());
    let seen = server.bearer("/hello/", granted.text("access_token")).await;
    assert_eq!((seen.status.as_u16(), seen.text("user")), (200, "alice"));
    let claims = claims(granted.text("access_token"));
    assert_eq!((&claims["client_id"], &claims["iss"]), (&json!("assay"), &json!("http://127.0.0.1:8080")));
}

#[tokio::test]
async fn what_is_wrong_with_a_request_is_said_in_the_words_of_rfc_6749() {
    let server = Server::start(quick()).await;
    let login = |grant: &'static str, password: &'static str| {
        vec![("grant_type", grant), ("username", "alice"), ("password", password)]
    };
    let token = "/oauth/token";
    server.form(token, CLIENT, &login("password", "wrong")).await.refused(400, "invalid_grant");
    server.form(token, CLIENT, &login("password", "")).await.refused(400, "invalid_request");
    server.form(token, CLIENT, &login("implicit", "correct-horse-9")).await.refused(400, "unsupported_grant_type");
    server.form(token, CLIENT, &[]).await.refused(400, "invalid_request");
    for who in ["assay:wrong-secret", "nobody:assay-secret", "assay", "nobody", ""] {
        let refused =
            server.form(token, who, &login("password", "correct-horse-9")).await.refused(401, "invalid_client");
        assert!(refused.header("www-authenticate").starts_with("Basic "), "{refused:?}");
    }
    server.login(CLIENT, "admin").await.refused(400, "invalid_scope");
    server.login(CLIENT, "read  write").await.refused(400, "invalid_scope");
    server.refresh(CLIENT, "no-token").await.refused(400, "invalid_grant");
    let json = server.request(Method::POST, token).json(&json!({"grant_type": "password"}));
    server.send(json).await.refused(400, "invalid_request");
    let twice = server
        .request(Method::POST, token)
        .header("content-type", "application/x-www-form-urlencoded")
        .body("grant_type=password&grant_type=password&client_id=assay-public&username=alice&password=correct-horse-9");
    server.send(twice).await.refused(400, "invalid_request");
    assert_eq!(server.get("/oauth/token?grant_type=password").await.status, 405);
}

#[tokio::test]
async fn a_client_says_who_it_is_in_one_way_only() {
    let server = Server::start(quick()).await;
    let mut fields =
        vec![("grant_type", "client_credentials"), ("client_id", "assay"), ("client_secret", "assay-secret")];
    assert_eq!(server.form("/oauth/token", "", &fields).await.status, 200);
    server.form("/oauth/token", CLIENT, &fields).await.refused(400, "invalid_request");
    fields.truncate(2);
    assert_eq!(server.form("/oauth/token", CLIENT, &fields).await.status, 200, "the same id twice is no contradiction");
    server.form("/oauth/token", OTHER, &fields).await.refused(400, "invalid_request");
    server.form("/oauth/token", "", &fields).await.refused(401, "invalid_client");
}

#[tokio::test]
async fn a_client_token_speaks_for_the_client_and_comes_without_a_refresh_token() {
    let server = Server::start(quick()).await;
    let fields = [("grant_type", "client_credentials")];
    let granted = server.form("/oauth/token", CLIENT, &fields).await;
    assert_eq!((granted.text("scope"), granted.body.get("refresh_token")), ("read", None));
    let seen = server.bearer("/hello/", granted.text("access_token")).await;
    assert_eq!((seen.status.as_u16(), seen.text("client_id"), &seen.body["user"]), (200, "assay", &json!(null)));
    assert_eq!(server.bearer("/reports/", granted.text("access_token")).await.status, 403);
    server.form("/oauth/token", PUBLIC, &fields).await.refused(400, "unauthorized_client");
    let identity = [("grant_type", "client_credentials"), ("scope", "openid")];
    server.form("/oauth/token", CLIENT, &identity).await.refused(400, "invalid_scope");
}

#[tokio::test]
async fn a_refresh_token_is_good_for_its_own_client_only() {
    let server = Server::start(quick()).await;
    let granted = server.login(CLIENT, "").await;
    let token = granted.text("refresh_token");
    server.refresh(OTHER, token).await.refused(400, "invalid_grant");
    server.refresh(PUBLIC, token).await.refused(400, "invalid_grant");
    let simple = server.post("/api/token/refresh/", json!({"refresh": token})).await;
    assert_eq!(simple.status, 401, "the JSON endpoint knows no client");
    assert_eq!(server.post("/api/token/blacklist/", json!({"refresh": token})).await.status, 401);
    let next = server.refresh(CLIENT, token).await;
    assert_eq!(next.status, 200, "the refusals used nothing up");
    assert_ne!(next.text("refresh_token"), token);
    let json = server.json_login("alice").await;
    server.refresh(CLIENT, json.text("refresh")).await.refused(400, "invalid_grant");
}

#[tokio::test]
async fn a_refresh_narrows_the_scope_for_one_token_and_never_widens_it() {
    let server = Server::start(quick()).await;
    let granted = server.login(CLIENT, "read").await;
    let ask = |token: &str, scope: &str| {
        let (token, scope) = (token.to_owned(), scope.to_owned());
        let server = &server;
        async move {
            let fields = [("grant_type", "refresh_token"), ("refresh_token", &*token), ("scope", &*scope)];
            server.form("/oauth/token", CLIENT, &fields).await
        }
    };
    ask(granted.text("refresh_token"), "read write").await.refused(400, "invalid_scope");
    let both = server.login(CLIENT, "read write").await;
    let less = ask(both.text("refresh_token"), "read").await;
    assert_eq!((less.text("scope"), &claims(less.text("access_token"))["scope"]), ("read", &json!("read")));
    assert_eq!(server.bearer("/reports/", less.text("access_token")).await.status, 403);
    let again = server.refresh(CLIENT, less.text("refresh_token")).await;
    assert_eq!(again.text("scope"), "read write", "the grant itself was not narrowed");
}

#[tokio::test]
async fn a_refresh_gives_what_the_user_still_may() {
    let server = Server::start(quick()).await;
    let granted = server.login(CLIENT, "").await;
    server.hook("/_ref/users/demote", json!({"user": "alice", "scope": "read"})).await;
    let next = server.refresh(CLIENT, granted.text("refresh_token")).await;
    assert_eq!(next.text("scope"), "read");
    assert_eq!(server.bearer("/reports/", next.text("access_token")).await.status, 403);
    server.hook("/_ref/users/disable", json!({"user": "alice"})).await;
    server.refresh(CLIENT, next.text("refresh_token")).await.refused(400, "invalid_grant");
}

#[tokio::test]
async fn introspection_describes_live_tokens_to_clients_that_prove_who_they_are() {
    let server = Server::start(quick()).await;
    let granted = server.login(CLIENT, "").await;
    let ask = |who: &'static str, token: &str| {
        let token = token.to_owned();
        let server = &server;
        async move { server.form("/oauth/introspect", who, &[("token", &token)]).await }
    };
    let access = granted.text("access_token");
    let told = ask(OTHER, access).await;
    let claims = claims(access);
    assert_eq!(told.body["active"], true);
    for name in ["sub", "exp", "iat", "jti", "scope", "client_id", "iss"] {
        assert_eq!(told.body[name], claims[name], "{name}");
    }
    assert_eq!((told.text("token_type"), told.text("username")), ("Bearer", "alice"));
    let refresh = ask(CLIENT, granted.text("refresh_token")).await;
    assert_eq!((refresh.text("token_use"), refresh.body.get("token_type")), ("refresh", None));
    for who in ["", PUBLIC, "assay", "assay:wrong-secret"] {
        ask(who, access).await.refused(401, "invalid_client");
    }
    server.form("/oauth/introspect", CLIENT, &[]).await.refused(400, "invalid_request");
    assert_eq!(server.get(&format!("/oauth/introspect?token={access}")).await.status, 405);
    let next = server.refresh(CLIENT, granted.text("refresh_token")).await;
    for dead in ["garbage", "a.b.c", granted.text("refresh_token")] {
        let told = ask(CLIENT, dead).await;
        assert_eq!((told.status.as_u16(), told.body), (200, json!({"active": false})), "{dead}");
    }
    assert_eq!(ask(CLIENT, next.text("refresh_token")).await.body["active"], true);
}

#[tokio::test]
async fn a_revocation_ends_what_was_issued_to_its_client_and_confirms_the_unknown() {
    let server = Server::start(quick()).await;
    let granted = server.login(CLIENT, "").await;
    let (access, refresh) = (granted.text("access_token"), granted.text("refresh_token"));
    let revoke = |who: &'static str, token: &str, hint: &'static str| {
        let token = token.to_owned();
        let server = &server;
        async move {
            let mut fields = vec![("token", token.as_str())];
            if !hint.is_empty() {
                fields.push(("token_type_hint", hint));
            }
            server.form("/oauth/revoke", who, &fields).await
        }
    };
    revoke("", refresh, "").await.refused(401, "invalid_client");
    revoke(OTHER, refresh, "").await.refused(400, "unauthorized_client");
    revoke(OTHER, access, "").await.refused(400, "unauthorized_client");
    revoke(CLIENT, "", "").await.refused(400, "invalid_request");
    assert_eq!(server.bearer("/hello/", access).await.status, 200, "nothing of that counted");

    assert_eq!(revoke(CLIENT, access, "refresh_token").await.status, 200, "a wrong hint does not matter");
    assert_eq!(server.bearer("/hello/", access).await.status, 401);
    let next = server.refresh(CLIENT, refresh).await;
    assert_eq!(next.status, 200, "an access token ends alone");

    assert_eq!(revoke(CLIENT, next.text("refresh_token"), "no-such-kind").await.status, 200);
    assert_eq!(server.bearer("/hello/", next.text("access_token")).await.status, 401, "with its session");
    server.refresh(CLIENT, next.text("refresh_token")).await.refused(400, "invalid_grant");
    for unknown in ["garbage", next.text("refresh_token"), access] {
        assert_eq!(revoke(CLIENT, unknown, "").await.status, 200, "{unknown}");
    }
}

#[tokio::test]
async fn an_id_token_tells_the_client_who_logged_in_and_opens_nothing() {
    let server = Server::start(Config { algorithm: Algorithm::named("RS256").unwrap(), ..quick() }).await;
    let fields = [
        ("grant_type", "password"),
        ("username", "alice"),
        ("password", "correct-horse-9"),
        ("scope", "openid profile read"),
        ("nonce", "n-0S6_WzA2Mj"),
    ];
    let granted = server.form("/oauth/token", CLIENT, &fields).await;
    let id = granted.text("id_token");
    let first = claims(id);
    assert_eq!((&first["aud"], &first["nonce"]), (&json!("assay"), &json!("n-0S6_WzA2Mj")));
    assert_eq!(first["preferred_username"], "alice");
    let issuer = server.get("/.well-known/openid-configuration").await;
    assert_eq!(first["iss"], issuer.body["issuer"]);
    assert_eq!(server.bearer("/hello/", id).await.status, 401);
    assert_eq!(server.bearer("/userinfo", id).await.status, 401);
    assert_eq!(server.form("/oauth/introspect", CLIENT, &[("token", id)]).await.body, json!({"active": false}));
    server.refresh(CLIENT, id).await.refused(400, "invalid_grant");

    let told = server.bearer("/userinfo", granted.text("access_token")).await;
    assert_eq!((told.text("sub"), told.text("preferred_username")), (first["sub"].as_str().unwrap(), "alice"));
    let next = server.refresh(CLIENT, granted.text("refresh_token")).await;
    let second = claims(next.text("id_token"));
    for same in ["iss", "sub", "aud", "auth_time"] {
        assert_eq!(second[same], first[same], "{same}");
    }
}

#[tokio::test]
async fn userinfo_asks_for_a_token_and_for_its_scope() {
    let server = Server::start(quick()).await;
    let missing = server.get("/userinfo").await;
    assert_eq!((missing.status.as_u16(), missing.header("www-authenticate")), (401, r#"Bearer realm="api""#));
    let granted = server.login(CLIENT, "read").await;
    let refused = server.bearer("/userinfo", granted.text("access_token")).await.refused(403, "insufficient_scope");
    assert!(refused.header("www-authenticate").contains(r#"scope="openid""#));
}

#[tokio::test]
async fn discovery_names_endpoints_that_answer_and_an_issuer_that_no_header_moves() {
    let server = Server::start(Config { address: "http://tokens.test".to_owned(), ..quick() }).await;
    for path in ["/.well-known/oauth-authorization-server", "/.well-known/openid-configuration"] {
        let spoofed =
            server.request(Method::GET, path).header("host", "evil.test").header("x-forwarded-host", "evil.test");
        let document = server.send(spoofed).await;
        assert_eq!(document.text("issuer"), "http://tokens.test");
        for (name, at) in document.body.as_object().unwrap() {
            let Some(at) = at.as_str().filter(|_| name.ends_with("_endpoint") || name.ends_with("_uri")) else {
                continue;
            };
            let path = at.strip_prefix("http://tokens.test").unwrap();
            assert_ne!(server.get(path).await.status, 404, "{name}");
        }
    }
}

#[tokio::test]
async fn an_issuer_with_a_path_has_its_documents_where_that_path_puts_them() {
    let at = |issuer: &str| Config { issuer: Some(issuer.to_owned()), ..quick() };
    let names = ["oauth-authorization-server", "openid-configuration"];
    for issuer in ["https://login.test/shop/eu", "https://login.test/shop/eu/"] {
        let server = Server::start(at(issuer)).await;
        for name in names {
            // RFC 8414 section 3.1: between the host and the path.
            let document = server.get(&format!("/.well-known/{name}/shop/eu")).await;
            assert_eq!((document.status.as_u16(), document.text("issuer")), (200, issuer), "{document:?}");
            assert_eq!(document.text("token_endpoint"), "https://login.test/shop/eu/oauth/token");
            for stranger in ["shop", "shop/eu/", "shop/eu/more", "other"] {
                let answer = server.get(&format!("/.well-known/{name}/{stranger}")).await;
                assert_eq!(answer.status, 404, "{name}/{stranger}");
            }
        }
    }
    let server = Server::start(at("https://login.test")).await;
    for name in names {
        assert_eq!(server.get(&format!("/.well-known/{name}")).await.status, 200);
        assert_eq!(server.get(&format!("/.well-known/{name}/shop")).await.status, 404);
    }
}

#[tokio::test]
async fn access_tokens_in_the_shape_of_rfc_9068_carry_what_it_demands() {
    let config = Config {
        rfc9068: true,
        issuer: Some("https://tokens.test".to_owned()),
        audience: vec!["shop".to_owned()],
        ..quick()
    };
    let server = Server::start(config).await;
    let granted = server.login(CLIENT, "").await;
    let access = granted.text("access_token");
    let claims = claims(access);
    for name in ["iss", "exp", "aud", "sub", "client_id", "iat", "jti"] {
        assert!(claims.get(name).is_some(), "{name} is missing");
    }
    let decoded = jsonwebtoken::dangerous::insecure_decode::<serde_json::Value>(access).unwrap();
    assert_eq!(decoded.header.typ.as_deref(), Some("at+jwt"));
    assert_eq!(server.bearer("/hello/", access).await.status, 200);
    let told = server.form("/oauth/introspect", CLIENT, &[("token", access)]).await;
    assert_eq!((told.text("aud"), told.text("iss")), ("shop", "https://tokens.test"));
}
