//! What whoever runs the server relies on: configuration, TLS, limits, metrics, logs, and an orderly end.

use std::time::Duration;

use reference_server::{Config, Hash};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::client::{Server, claims, quick};
use super::process::{Process, refused};

fn http() -> reqwest::Client {
    reqwest::Client::builder().no_proxy().build().unwrap()
}

fn file(folder: &tempfile::TempDir, name: &str, text: &str) -> String {
    let path = folder.path().join(name);
    std::fs::write(&path, text).unwrap();
    path.display().to_string()
}

#[tokio::test]
async fn one_file_configures_users_clients_keys_claims_and_lifetimes() {
    let folder = tempfile::tempdir().unwrap();
    let key =
        std::fs::read_to_string(format!("{}/keys/es256-development-only.pem", env!("CARGO_MANIFEST_DIR"))).unwrap();
    file(&folder, "signing.pem", &key);
    let config = file(
        &folder,
        "server.yaml",
        r#"
keys:
  - {alg: ES256, kid: first, file: signing.pem}
users:
  - {name: carol, password: "env:PATH", scope: read}
  - {name: dave, password: open-sesame-1}
clients:
  - {id: shop, secret: shop-secret-1}
access-lifetime: 90s
claims: {tenant: acme, greeting: "hello ${user}"}
"#,
    );
    let process = Process::start(&["--config", &config]);
    let login = http().post(format!("{}/oauth/token", process.url)).basic_auth("shop", Some("shop-secret-1"));
    let fields = [("grant_type", "password"), ("username", "dave"), ("password", "open-sesame-1")];
    let granted: Value = login.form(&fields).send().await.unwrap().json().await.unwrap();
    let token = granted["access_token"].as_str().unwrap();
    assert_eq!(jsonwebtoken::decode_header(token).unwrap().kid.as_deref(), Some("first"));
    let claims = claims(token);
    assert_eq!((&claims["tenant"], &claims["greeting"]), (&json!("acme"), &json!("hello dave")));
    assert_eq!(granted["expires_in"], 90);
    assert!(process.end().0.success());
}

#[test]
fn a_mistake_in_the_file_is_shown_with_line_and_column() {
    let folder = tempfile::tempdir().unwrap();
    let (code, said) = refused(&["--config", &file(&folder, "a.yaml", "hash: none\nacess-lifetime: 5m\n")]);
    assert_eq!(code, 2);
    for part in ["a.yaml", "line 2", "acess-lifetime", "access-lifetime"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    for (text, part) in [
        ("access-lifetime: soon\n", "expected a duration"),
        ("algorithm: HS1024\n", "expected an algorithm"),
        ("keys: [{alg: RS256}]\n", "exactly one of `file` and `env`"),
        ("store: floppy\n", "expected `memory`, `redb:FILE`"),
        ("claims: {exp: 1}\n", "saw `exp`"),
        ("clients: [{id: \"7\"}]\n", "that is no number"),
        ("users: [{name: a, password: \"env:NO_SUCH_VARIABLE_HERE\"}]\n", "NO_SUCH_VARIABLE_HERE"),
        ("rotate: on\n", "line 1"),
    ] {
        let (code, said) = refused(&["--config", &file(&folder, "b.yaml", text)]);
        assert_eq!(code, 2, "{text}{said}");
        assert!(said.contains(part), "{part}: {said}");
    }
    assert_eq!(refused(&["--config", "/no/such/file.yaml"]).0, 2);
}

#[test]
fn a_mistake_in_the_file_is_shown_without_the_secrets_around_it() {
    let folder = tempfile::tempdir().unwrap();
    for text in [
        "users:\n  - name: alice\n    password: hunter2-secret\nrotat: true\n",
        "users:\n  - name: alice\n    password: [hunter2-secret]\n",
        "users:\n  - name: alice\n    password:\n      - hunter2-secret\n",
        "users: [{name: alice, password: hunter2-secret, color: red}]\n",
        "clients: [{id: shop, secret: {hunter2-secret: 1}}]\n",
        "users: [{name: a, password: hunter2-secret}, {name: a, password: hunter2-secret}]\n",
        "rate-limit: 0\nclients: [{id: shop, secret: hunter2-secret}]\n",
        "store: host=db user=ann password=hunter2-secret\n",
    ] {
        let (code, said) = refused(&["--config", &file(&folder, "c.yaml", text)]);
        assert_eq!(code, 2, "{text}{said}");
        assert!(!said.contains("hunter2") && said.contains("c.yaml") | said.contains("expected"), "{said}");
    }
    assert!(!refused(&["--store", "host=db password=hunter2-secret"]).1.contains("hunter2"));
}

#[tokio::test]
async fn tls_serves_http_2_and_http_1_with_the_given_certificate() {
    let folder = tempfile::tempdir().unwrap();
    let own = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
    let certificate = file(&folder, "cert.pem", &own.cert.pem());
    let key = file(&folder, "key.pem", &own.signing_key.serialize_pem());
    let process = Process::start(&["--tls-cert", &certificate, "--tls-key", &key]);
    assert!(process.url.starts_with("https://127.0.0.1:"), "{}", process.url);
    let trusted = || {
        let root = reqwest::Certificate::from_pem(own.cert.pem().as_bytes()).unwrap();
        reqwest::Client::builder().no_proxy().tls_certs_only([root])
    };
    for (client, version) in [
        (trusted().build().unwrap(), reqwest::Version::HTTP_2),
        (trusted().http1_only().build().unwrap(), reqwest::Version::HTTP_11),
    ] {
        let reply = client.get(format!("{}/healthz", process.url)).send().await.unwrap();
        assert_eq!((reply.status().as_u16(), reply.version()), (200, version));
    }
    let document: Value = trusted()
        .build()
        .unwrap()
        .get(format!("{}/.well-known/openid-configuration", process.url))
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    assert_eq!(document["issuer"], process.url.as_str());
    assert!(process.end().0.success());
    let (code, said) = refused(&["--port", "0", "--tls-cert", &key, "--tls-key", &key]);
    assert!(code == 2 && said.contains("expected"), "{code} {said}");
}

#[tokio::test]
async fn the_log_has_a_line_per_request_and_never_a_token() {
    let process = Process::start(&["--log", "--server-timing"]);
    let body = json!({"username": "alice", "password": "correct-horse-9"});
    let reply = http().post(format!("{}/api/token/", process.url)).json(&body).send().await.unwrap();
    let timing = reply.headers()["server-timing"].to_str().unwrap().to_owned();
    assert!(timing.starts_with("app;dur="), "{timing}");
    let tokens: Value = reply.json().await.unwrap();
    let (access, refresh) = (tokens["access"].as_str().unwrap(), tokens["refresh"].as_str().unwrap());
    let at = |path: &str| http().get(format!("{}{path}", process.url));
    at(&format!("/hello/?access_token={access}")).bearer_auth(access).send().await.unwrap();
    at(&format!("/notes/{refresh}")).bearer_auth(access).send().await.unwrap();
    at(&format!("/nowhere/{access}")).send().await.unwrap();
    let (status, said) = process.end();
    assert!(status.success());
    let lines: Vec<Value> = said.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let routes: Vec<&str> = lines.iter().filter_map(|line| line["fields"]["route"].as_str()).collect();
    assert_eq!(routes, ["/api/token/", "/hello/", "/notes/{user}", "unmatched"]);
    for secret in [access, refresh, "correct-horse-9"] {
        assert!(!said.contains(secret), "{said}");
    }
}

#[tokio::test]
async fn metrics_count_what_happened_in_the_openmetrics_format() {
    let server = Server::start(Config { hash: Hash::Argon2id, ..quick() }).await;
    server.json_login("alice").await;
    let reply = server.http.get(format!("{}/metrics", server.url)).send().await.unwrap();
    assert!(reply.headers()["content-type"].to_str().unwrap().starts_with("application/openmetrics-text"));
    let text = reply.text().await.unwrap();
    assert!(text.contains("# TYPE reference_server_issued counter\nreference_server_issued_total 1\n"), "{text}");
    assert!(text.contains("reference_server_connections 0\n"), "the test's server counts none: {text}");
    assert!(text.contains("reference_server_hash_time_seconds_count 1\n"), "{text}");
    assert!(text.ends_with("# EOF\n"));
}

#[tokio::test]
async fn metrics_tell_how_long_requests_took_where_that_is_asked_for() {
    let server = Server::start(Config { request_metrics: true, ..quick() }).await;
    server.json_login("alice").await;
    let text = server.http.get(format!("{}/metrics", server.url)).send().await.unwrap().text().await.unwrap();
    let series = r#"reference_server_request_time_seconds_count{route="/api/token/",method="POST",status="200"} 1"#;
    assert!(text.contains(series), "{text}");
}

#[test]
fn a_configuration_is_shown_without_its_secrets() {
    let shown = format!("{:?}", Config { encryption_key: Some("an encryption key".into()), ..Config::default() });
    for secret in [reference_server::DEVELOPMENT_PASSWORD, "assay-secret", "an encryption key"] {
        assert!(!shown.contains(secret), "{shown}");
    }
}

#[tokio::test]
async fn every_path_of_the_description_is_there() {
    let server = Server::start(quick()).await;
    let document = server.get("/openapi.json").await.body;
    for (path, methods) in document["paths"].as_object().unwrap() {
        for method in methods.as_object().unwrap().keys() {
            let method = method.to_uppercase().parse().unwrap();
            let answer = server.send(server.request(method, &path.replace("{user}", "alice"))).await;
            assert!(![404, 405].contains(&answer.status.as_u16()), "{path}: {answer:?}");
        }
    }
}

#[tokio::test]
async fn who_asks_too_fast_is_told_when_to_come_back_and_nobody_else_is() {
    let server = Server::start(Config { rate_limit: Some(2), ..quick() }).await;
    let mut statuses = Vec::new();
    for _ in 0..30 {
        let answer = server.json_login("alice").await;
        if answer.status == 429 {
            assert_eq!(answer.header("retry-after"), "1");
        }
        statuses.push(answer.status.as_u16());
    }
    assert_eq!(statuses[..2], [200, 200]);
    assert!(statuses.contains(&429), "{statuses:?}");
    assert_eq!(server.json_login("bob").await.status, 200);
    let fields = [("grant_type", "client_credentials")];
    let mut last = server.form("/oauth/token", "assay:assay-secret", &fields).await;
    for _ in 0..30 {
        if last.status == 429 {
            break;
        }
        last = server.form("/oauth/token", "assay:assay-secret", &fields).await;
    }
    last.refused(429, "temporarily_unavailable");
    assert_eq!(server.form("/oauth/token", "assay-two:assay-two-secret", &fields).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn more_logins_than_the_hash_can_bear_are_shed_with_503_and_the_rest_are_served() {
    let server =
        std::sync::Arc::new(Server::start(Config { hash: Hash::Argon2id, hash_queue: 2, ..Config::default() }).await);
    let mut logins = tokio::task::JoinSet::new();
    for _ in 0..64 {
        let server = std::sync::Arc::clone(&server);
        logins.spawn(async move {
            let answer = server.json_login("alice").await;
            (answer.status.as_u16(), answer.header("retry-after").to_owned())
        });
    }
    let answers = logins.join_all().await;
    assert!(answers.iter().all(|(status, _)| [200, 503].contains(status)), "{answers:?}");
    assert!(answers.iter().any(|(status, _)| *status == 200));
    assert!(answers.iter().any(|(status, after)| *status == 503 && after == "1"), "64 at once are too many");
    assert_eq!(server.json_login("alice").await.status, 200, "and then it goes on");
}

#[tokio::test]
async fn garbage_half_requests_and_huge_heads_leave_the_server_standing() {
    let process = Process::start(&[]);
    let address = process.url.strip_prefix("http://").unwrap().to_owned();
    let huge = format!("GET /hello/ HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\n\r\n", "a".repeat(1 << 20));
    let mut held = Vec::new();
    for bytes in [
        b"\x00\xff\xfe garbage \r\n\r\n".to_vec(),
        huge.into_bytes(),
        b"POST /api/token/ HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n{".to_vec(),
        b"GET /hello/ HTTP/1.1\r\nho".to_vec(),
        b"POST /api/token/ HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n".to_vec(),
    ] {
        let mut stream = tokio::net::TcpStream::connect(&address).await.unwrap();
        let _ = stream.write_all(&bytes).await;
        held.push(stream);
    }
    for _ in 0..200 {
        held.push(tokio::net::TcpStream::connect(&address).await.unwrap());
    }
    let mut seen = [0; 12];
    held[1].read_exact(&mut seen).await.unwrap();
    assert_eq!(&seen, b"HTTP/1.1 431");
    let reply = http().get(format!("{}/healthz", process.url)).send().await.unwrap();
    assert_eq!(reply.status(), 200);
    drop(held);
    assert!(process.end().0.success());
}

#[tokio::test]
async fn an_end_waits_for_the_request_that_is_under_way() {
    let mut process = Process::start(&[]);
    let address = process.url.strip_prefix("http://").unwrap().to_owned();
    let body = r#"{"username":"alice","password":"correct-horse-9"}"#;
    let mut stream = tokio::net::TcpStream::connect(&address).await.unwrap();
    let head = format!(
        "POST /api/token/ HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut reply = vec![0; 25];
    stream.read_exact(&mut reply).await.unwrap();
    assert!(reply.starts_with(b"HTTP/1.1 100"), "the handler is reading");
    let sent = std::process::Command::new("kill").args(["-TERM", &process.child.id().to_string()]).status().unwrap();
    assert!(sent.success());
    // New connections are refused from here on; the open one is served.
    let closed = async {
        while tokio::net::TcpStream::connect(&address).await.is_ok() {
            tokio::task::yield_now().await
        }
    };
    tokio::time::timeout(Duration::from_secs(20), closed).await.expect("the listener closes");
    stream.write_all(body.as_bytes()).await.unwrap();
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).await.unwrap();
    assert!(rest.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&rest));
    assert!(process.child.wait().unwrap().success());
}
