//! Is the reference server clean in every dialect that it speaks? It is what the checks are proved with.

use std::path::Path;
use std::sync::atomic::AtomicBool;

use assay::conformance::{Check, Examination, Selection, catalogue, examine};
use assay::jose::SigningKey;
use assay::jose::jwe::{ContentEncryption, Recipient, decrypt, encrypt};
use assay::record::{CheckRecord, Grade, Level, Redactor, Verdict};
use assay::target::{ClientEntry, Dialect, Profile, Target, load};
use reference_server::{Algorithm, Config, Encryption, FlawSet, Hash};

/// A reference server with its admin hooks on free ports, ended with its runtime.
struct Server {
    url: String,
    admin: String,
    runtime: tokio::runtime::Runtime,
}

fn serve(config: Config) -> Server {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let listen = || {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        (listener, url)
    };
    let ((public, url), (hooks, admin)) = (listen(), listen());
    let app = reference_server::app(Config { address: url.clone(), hash: Hash::None, ..config }).unwrap();
    for (listener, router) in [(public, app.router(true)), (hooks, app.admin())] {
        runtime.spawn(async move {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            axum::serve(listener, router).await
        });
    }
    Server { url, admin, runtime }
}

/// What the whole catalogue finds wrong, or could not find out, at the levels that break a build.
fn found(config: Config, name: &str, variant: Option<&str>) -> Vec<String> {
    let (checks, dialect) = examined(config, name, variant, catalogue());
    let run = checks.iter().filter(|c| c.verdict == Verdict::Pass).count();
    let least = if variant == Some("encrypted") { 25 } else { 40 };
    assert!(run > least, "only {run} checks passed: the profile describes too little");
    let level = |id: &str| catalogue().iter().find(|c| c.id == id).and_then(|c| c.level(dialect));
    let wrong = |v: Verdict| matches!(v, Verdict::Fail | Verdict::Inconclusive | Verdict::HarnessError);
    let mut found = Vec::new();
    for record in checks.iter().filter(|c| wrong(c.verdict) && level(&c.id) != Some(Level::Info)) {
        found.push(format!("{} {:?}: {}", record.id, record.verdict, record.summary));
        for part in record.variants.iter().filter(|v| wrong(v.verdict)) {
            found.push(format!("    {} {:?}: {}", part.name, part.verdict, part.summary));
        }
    }
    found
}

/// What these checks find, and the dialect by which they judge.
fn examined(
    config: Config,
    name: &str,
    variant: Option<&str>,
    checks: &[&'static Check],
) -> (Vec<CheckRecord>, Dialect) {
    examined_as(config, load(name, variant, Path::new(".")).unwrap(), checks)
}

fn examined_as(config: Config, profile: Profile, checks: &[&'static Check]) -> (Vec<CheckRecord>, Dialect) {
    let server = serve(config);
    let dialect = profile.dialect;
    let mut target = Target::new(profile, &server.url, Some(&server.admin), &[]).unwrap();
    if let Some(path) = target.discovery_path().map(str::to_owned) {
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let document = server.runtime.block_on(async {
            client.get(format!("{}{path}", server.url)).send().await.unwrap().json::<serde_json::Value>().await.unwrap()
        });
        target.set_discovery(&document);
    }
    let everything = serde_json::from_value(serde_json::json!({})).unwrap();
    let selection = Selection::new(&everything, checks).unwrap();
    let cancel = AtomicBool::new(false);
    let findings = examine(&Examination {
        target: &target,
        topology: "bare",
        selection: &selection,
        redactor: Redactor::default(),
        logs: Vec::new(),
        peer: None,
        deployment: None,
        capsule: None,
        catalogue: checks,
        on_event: &|_| {},
        cancel: &cancel,
    })
    .unwrap();
    (findings.checks, dialect)
}

#[test]
fn a_replay_has_to_end_the_session_of_a_client_without_a_secret() {
    let family: Vec<&'static Check> = catalogue().iter().copied().filter(|c| c.id == "refresh-reuse-family").collect();
    for (variant, grade) in [(None, Grade::Weakness), (Some("public-client"), Grade::Violation)] {
        let flawed = Config { flaws: FlawSet::of(&["no-family".parse().unwrap()]), ..Config::default() };
        let (checks, _) = examined(flawed, "reference-oauth", variant, &family);
        assert_eq!(checks[0].grade, grade, "{variant:?}: {}", checks[0].summary);
    }
}

#[test]
fn a_second_client_that_nobody_knows_lets_nothing_pass() {
    let binding: Vec<&'static Check> = catalogue().iter().copied().filter(|c| c.id == "claim-client-binding").collect();
    let mut profile = load("reference-oauth", None, Path::new(".")).unwrap();
    profile.second_client = profile.second_client.map(|client| ClientEntry { id: "assay-nobody".into(), ..client });
    let (checks, _) = examined_as(Config::default(), profile, &binding);
    assert_eq!(checks[0].verdict, Verdict::Inconclusive, "{}", checks[0].summary);
    assert!(checks[0].summary.contains("second_client"), "{}", checks[0].summary);
    // A public client's refresh has no room for the secret of the second client, which is refused for that.
    let profile = load("reference-oauth", Some("public-client"), Path::new(".")).unwrap();
    let (checks, _) = examined_as(Config::default(), profile, &binding);
    assert_eq!(checks[0].verdict, Verdict::NotApplicable, "{}", checks[0].summary);
}

#[test]
fn a_denylist_that_lives_in_the_process_does_not_outlive_it() {
    let durable: Vec<&'static Check> = catalogue().iter().copied().filter(|c| c.id == "revoke-durable").collect();
    let (checks, _) = examined(Config::default(), "reference", Some("durable"), &durable);
    assert_eq!(checks[0].grade, Grade::Violation, "{}", checks[0].summary);
    let folder = tempfile::tempdir().unwrap();
    let store = reference_server::StoreConfig::File(folder.path().join("tokens"));
    let (checks, _) = examined(Config { store, ..Config::default() }, "reference", Some("durable"), &durable);
    assert_eq!(checks[0].grade, Grade::Ok, "{}", checks[0].summary);
}

#[track_caller]
fn is_clean(config: Config, variant: Option<&str>) {
    let found = found(config, "reference-oauth", variant);
    assert!(found.is_empty(), "\n{}", found.join("\n"));
}

#[test]
fn the_oauth_dialect_is_clean() {
    is_clean(Config::default(), None);
}

#[test]
fn the_oauth_dialect_is_clean_for_a_client_without_a_secret() {
    is_clean(Config::default(), Some("public-client"));
}

#[test]
fn the_openid_connect_dialect_is_clean() {
    is_clean(Config { algorithm: Algorithm::named("RS256").unwrap(), ..Config::default() }, Some("oidc"));
}

/// As `--rfc9068 --issuer https://tokens.test --audience shop`.
fn rfc9068() -> Config {
    Config {
        rfc9068: true,
        issuer: Some("https://tokens.test".to_owned()),
        audience: vec!["shop".to_owned()],
        ..Config::default()
    }
}

#[test]
fn access_tokens_in_the_shape_of_rfc_9068_are_clean() {
    is_clean(rfc9068(), Some("rfc9068"));
}

#[test]
fn access_tokens_in_that_shape_are_clean_in_the_plain_wire_form_too() {
    let found = found(rfc9068(), "reference", Some("rfc9068"));
    assert!(found.is_empty(), "\n{}", found.join("\n"));
}

#[test]
fn tokens_that_nobody_can_read_are_clean() {
    is_clean(Config { encryption: Some(Encryption::EcdhEs), ..Config::default() }, Some("encrypted"));
}

/// A login at the JSON endpoint.
fn login(server: &Server) -> String {
    server.runtime.block_on(async {
        let body = serde_json::json!({"username": "alice", "password": "correct-horse-9"});
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let reply = client.post(format!("{}/api/token/", server.url)).json(&body).send().await.unwrap();
        reply.json::<serde_json::Value>().await.unwrap()["access"].as_str().unwrap().to_owned()
    })
}

/// The status of the protected resource for a token.
fn shown(server: &Server, token: &str) -> u16 {
    server.runtime.block_on(async {
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        client.get(format!("{}/hello/", server.url)).bearer_auth(token).send().await.unwrap().status().as_u16()
    })
}

#[test]
fn two_implementations_of_encryption_read_each_others_tokens() {
    let file =
        |name: &str| std::fs::read(format!("{}/../reference-server/keys/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap();
    for (encryption, name) in [
        (Encryption::Direct, "dir-development-only.secret"),
        (Encryption::EcdhEs, "ecdh-es-development-only.pem"),
        (Encryption::RsaOaep256, "rsa-oaep-256-development-only.pem"),
    ] {
        let server = serve(Config { encryption: Some(encryption), ..Config::default() });
        let key = match encryption {
            Encryption::Direct => SigningKey::secret(file(name)),
            _ => SigningKey::parse(&file(name)).unwrap(),
        };
        let token = login(&server);
        let (header, inner) = decrypt(&token, &key, None).unwrap();
        assert_eq!(header["alg"], encryption.name());
        assert_eq!(inner.iter().filter(|byte| **byte == b'.').count(), 2, "a signed token inside");

        let (public, secret) = (key.verifying_key(), file("dir-development-only.secret"));
        let recipient = match encryption {
            Encryption::Direct => Recipient::Direct(&secret),
            Encryption::EcdhEs => Recipient::EcdhEs(&public),
            Encryption::RsaOaep256 => Recipient::RsaOaep256(&public),
        };
        let sealed = |plain: &[u8], content| {
            let header = serde_json::json!({"cty": "JWT"});
            encrypt(&header, plain, content, recipient, &mut rand::rng()).unwrap().token()
        };
        assert_eq!(shown(&server, &sealed(&inner, ContentEncryption::A256Gcm)), 200, "{}", encryption.name());
        let claims = br#"{"sub":"1","token_type":"access","exp":9999999999,"iat":1,"jti":"x"}"#;
        assert_eq!(
            shown(&server, &sealed(claims, ContentEncryption::A256Gcm)),
            401,
            "bare claims are signed by nobody"
        );
        if encryption != Encryption::Direct {
            assert_eq!(shown(&server, &sealed(&inner, ContentEncryption::A128Gcm)), 401, "another content encryption");
        }
    }
}
