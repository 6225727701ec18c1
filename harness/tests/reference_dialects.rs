//! Is the reference server clean in every dialect that it speaks? It is what the checks are proved with.

use std::path::Path;
use std::sync::atomic::AtomicBool;

use assay::conformance::{Examination, Selection, catalogue, examine};
use assay::record::{Level, Redactor, Verdict};
use assay::target::{Target, load};
use reference_server::{Algorithm, Config, Hash};

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
fn found(config: Config, variant: Option<&str>) -> Vec<String> {
    let server = serve(config);
    let profile = load("reference-oauth", variant, Path::new(".")).unwrap();
    let dialect = profile.dialect;
    let mut target = Target::new(profile, &server.url, Some(&server.admin), &[]).unwrap();
    let path = target.discovery_path().unwrap().to_owned();
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let document = server.runtime.block_on(async {
        client.get(format!("{}{path}", server.url)).send().await.unwrap().json::<serde_json::Value>().await.unwrap()
    });
    target.set_discovery(&document);
    let everything = serde_json::from_value(serde_json::json!({})).unwrap();
    let selection = Selection::new(&everything, catalogue()).unwrap();
    let cancel = AtomicBool::new(false);
    let findings = examine(&Examination {
        target: &target,
        topology: "bare",
        selection: &selection,
        redactor: Redactor::default(),
        logs: Vec::new(),
        peer: None,
        catalogue: catalogue(),
        on_event: &|_| {},
        cancel: &cancel,
    })
    .unwrap();
    let run = findings.checks.iter().filter(|c| c.verdict == Verdict::Pass).count();
    assert!(run > 40, "only {run} checks passed: the profile describes too little");
    let level = |id: &str| catalogue().iter().find(|c| c.id == id).and_then(|c| c.level(dialect));
    let wrong = |v: Verdict| matches!(v, Verdict::Fail | Verdict::Inconclusive | Verdict::HarnessError);
    let mut found = Vec::new();
    for record in findings.checks.iter().filter(|c| wrong(c.verdict) && level(&c.id) != Some(Level::Info)) {
        found.push(format!("{} {:?}: {}", record.id, record.verdict, record.summary));
        for part in record.variants.iter().filter(|v| wrong(v.verdict)) {
            found.push(format!("    {} {:?}: {}", part.name, part.verdict, part.summary));
        }
    }
    found
}

#[track_caller]
fn is_clean(config: Config, variant: Option<&str>) {
    let found = found(config, variant);
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

#[test]
fn access_tokens_in_the_shape_of_rfc_9068_are_clean() {
    let config = Config {
        rfc9068: true,
        issuer: Some("https://tokens.test".to_owned()),
        audience: vec!["shop".to_owned()],
        ..Config::default()
    };
    is_clean(config, Some("rfc9068"));
}
