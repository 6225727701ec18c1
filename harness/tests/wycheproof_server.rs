//! Do all 401 JWS vectors of Wycheproof, sent over HTTP, get the verdict that they have from the reference server?
//!
//! None of them carries claims, so only an oracle for the signature alone can be asked: the admin port's
//! `/_ref/verify-jws`. This proves the strict half of the server that the kill matrix stands on.

use std::time::Duration;

use assay::jose::parse;
use assay::wire::{Connection, Endpoint, TlsOptions, encode};
use serde_json::{Value, json};

/// Where the server differs from the vectors' verdict, and why.
const DIFFERENT: &[(&[u64], &str)] = &[
    (&[372, 373], "a `?` inside a segment is not base64url (RFC 7515 section 2)"),
    (&[367, 370], "the text is byte for byte that of the valid vector 357"),
    (&[259, 264, 268, 272, 320, 325], "an empty payload holds no claims: a JWT has three non-empty segments"),
    (&[346, 350], "the key says PS256 and the token PS384: one key, one algorithm"),
    (
        &[353, 354, 355, 356],
        "the oracle is handed the bare key: `use` and `key_ops` are not its question, and the signature is right",
    ),
];

fn vectors() -> Option<Value> {
    let root = std::env::var_os("ASSAY_VECTORS").map_or_else(
        || std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/vectors"),
        std::path::PathBuf::from,
    );
    let path = root.join("wycheproof/json_web_signature_test.json");
    match std::fs::read(&path) {
        Ok(bytes) => Some(serde_json::from_slice(&bytes).unwrap()),
        Err(e) if std::env::var_os("CI").is_some() => panic!("{}: {e}", path.display()),
        Err(_) => {
            use std::io::Write as _;
            let _ = writeln!(std::io::stderr(), "not found, not run: {}", path.display());
            None
        }
    }
}

#[test]
fn the_page_says_where_the_reference_server_differs() {
    let page = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/vectors.md");
    let page = std::fs::read_to_string(&page).unwrap_or_else(|e| panic!("{}: {e}", page.display()));
    let (_, section) = page.split_once("## Where the reference server differs").expect("the section");
    for (cases, why) in DIFFERENT {
        let cases: Vec<String> = cases.iter().map(u64::to_string).collect();
        let line = format!("| {} | {why} |", cases.join(", "));
        assert!(section.lines().any(|there| there == line), "docs/vectors.md lacks: {line}");
    }
    assert_eq!(section.lines().filter(|line| line.starts_with("| ")).count(), DIFFERENT.len() + 1);
}

#[test]
fn the_reference_server_judges_all_401_as_wycheproof_does_or_says_why_not() {
    let Some(file) = vectors() else { return };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let config = reference_server::Config { hash: reference_server::Hash::None, ..Default::default() };
    let app = reference_server::app(config).unwrap();
    runtime.spawn(async move {
        let listener = tokio::net::TcpListener::from_std(listener).unwrap();
        axum::serve(listener, app.admin()).await
    });
    let endpoint = Endpoint::parse(&url, &[]).unwrap();
    let deadline = Duration::from_secs(10);
    let mut connection = Connection::open(&endpoint, &TlsOptions::default(), deadline).unwrap();
    let (mut seen, mut wrong) = (0, Vec::new());
    for group in file["testGroups"].as_array().unwrap() {
        let jwk = group.get("public").unwrap_or(&group["private"]);
        for test in group["tests"].as_array().unwrap() {
            seen += 1;
            let id = test["tcId"].as_u64().unwrap();
            let jws = test["jws"].as_str().unwrap();
            // The group's algorithm; ES521 is a misprint, and keys without `alg` serve what the token says.
            let alg = match jwk["alg"].as_str() {
                Some("ES521") => "ES512".to_owned(),
                Some(alg) => alg.to_owned(),
                None => parse(jws).ok().and_then(|c| c.header["alg"].as_str().map(str::to_owned)).unwrap_or_default(),
            };
            let mut key = json!({"alg": alg, "kid": jwk["kid"].as_str().unwrap_or_default()});
            match jwk["k"].as_str() {
                Some(secret) => key["secret"] = json!(secret),
                None => key["jwk"] = jwk.clone(),
            }
            let body = json!({"jws": jws, "key": key}).to_string();
            let request = http::Request::post("/_ref/verify-jws").header("content-type", "application/json");
            let bytes = encode(&request.body(body.into()).unwrap(), &endpoint);
            let reply = connection.exchange(&bytes, false, deadline).unwrap();
            let valid = reply.json().is_some_and(|j| j["valid"] == true);
            let truth = test["result"] == "valid";
            let listed = DIFFERENT.iter().any(|(ids, _)| ids.contains(&id));
            if (valid != truth) != listed && test["result"] != "acceptable" {
                let (what, text) = (&test["comment"], reply.text());
                wrong.push(format!("{id} {} {what}: {truth}, but {} {text}", group["comment"], reply.status));
            }
        }
    }
    assert_eq!(seen, 401);
    assert!(wrong.is_empty(), "{}\n{}", wrong.len(), wrong.join("\n"));
}
