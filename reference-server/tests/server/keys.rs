//! Keys: what forms are read, which key signs, which verify, and what is published about them.

use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{DecodingKey, Validation};
use reference_server::{Algorithm, Config, Encryption, KeyConfig, app};
use serde_json::{Value, json};

use super::client::{Server, quick};

fn pem(name: &str) -> String {
    let path = format!("{}/keys/{name}-development-only.pem", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(path).unwrap()
}

fn key(alg: &str, kid: Option<&str>, text: &str) -> KeyConfig {
    KeyConfig { algorithm: Algorithm::named(alg).unwrap(), kid: kid.map(str::to_owned), text: text.into() }
}

fn with_keys(keys: Vec<KeyConfig>) -> Config {
    Config { keys, ..quick() }
}

fn kid(token: &str) -> String {
    jsonwebtoken::decode_header(token).unwrap().kid.unwrap()
}

async fn published(server: &Server) -> Value {
    let set = server.get("/.well-known/jwks.json").await;
    assert_eq!(set.header("cache-control"), "public, max-age=60");
    set.body
}

async fn access(server: &Server) -> String {
    server.json_login("alice").await.text("access").to_owned()
}

/// A third party's reading: its parser of the key set, its verification of the token.
fn verified_by_another(set: &Value, token: &str) -> Value {
    let set: JwkSet = serde_json::from_value(set.clone()).unwrap();
    let header = jsonwebtoken::decode_header(token).unwrap();
    let jwk = set.find(header.kid.as_deref().unwrap()).expect("the token's key is in the set");
    let mut rules = Validation::new(header.alg);
    rules.validate_aud = false;
    jsonwebtoken::decode::<Value>(token, &DecodingKey::from_jwk(jwk).unwrap(), &rules).unwrap().claims
}

#[tokio::test]
async fn tokens_of_every_published_algorithm_are_verified_by_another_library() {
    for algorithm in Algorithm::all() {
        // The other library knows no ES512, and secrets are not published.
        if algorithm.is_symmetric() || algorithm.name == "ES512" {
            continue;
        }
        let server = Server::start(Config { algorithm, ..quick() }).await;
        let claims = verified_by_another(&published(&server).await, &access(&server).await);
        assert_eq!(claims["token_type"], "access", "{}", algorithm.name);
    }
}

#[tokio::test]
async fn the_first_key_signs_and_the_others_go_on_verifying() {
    let (old, new) = (key("RS256", Some("2025"), &pem("rs256")), key("ES256", Some("2026"), &pem("es256")));
    let before = Server::start(with_keys(vec![old.clone()])).await;
    let token = access(&before).await;
    let after = Server::start(with_keys(vec![new, old])).await;
    assert_eq!(after.bearer("/hello/", &token).await.status, 200);
    let fresh = access(&after).await;
    assert_eq!((kid(&token), kid(&fresh)), ("2025".to_owned(), "2026".to_owned()));
    let set = published(&after).await;
    assert_eq!(set["keys"].as_array().unwrap().len(), 2);
    verified_by_another(&set, &token);
    verified_by_another(&set, &fresh);
    assert_eq!(before.bearer("/hello/", &fresh).await.status, 401, "a key that it does not have");
}

#[tokio::test]
async fn a_public_key_verifies_and_cannot_be_the_first() {
    let public =
        std::fs::read_to_string(format!("{}/keys/rs256-development-only.pub.pem", env!("CARGO_MANIFEST_DIR"))).unwrap();
    let issuer = Server::start(with_keys(vec![key("RS256", Some("issuer"), &pem("rs256"))])).await;
    let token = access(&issuer).await;
    let signer = key("ES256", None, &pem("es256"));
    let resource = Server::start(with_keys(vec![signer.clone(), key("RS256", Some("issuer"), &public)])).await;
    assert_eq!(resource.bearer("/hello/", &token).await.status, 200);
    verified_by_another(&published(&resource).await, &token);
    let error = app(with_keys(vec![key("RS256", None, &public), signer])).unwrap_err().to_string();
    assert!(error.contains("the first key signs"), "{error}");
}

#[tokio::test]
async fn a_jwk_is_read_as_its_pem_is() {
    // RFC 7517 appendix A.2 and RFC 8037 appendix A.1: the same keys by name and by number.
    let ec = json!({"kty": "EC", "crv": "P-256", "x": "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4",
        "y": "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM", "d": "870MB6gfuTJ4HtUnUvYMyJpr5eUZNP4Bk43bVdj3eAE"});
    let okp = json!({"kty": "OKP", "crv": "Ed25519", "d": "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A",
        "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"});
    for (alg, jwk, thumbprint) in [
        ("ES256", ec, "cn-I_WNMClehiVp51i_0VpOENW1upEerA8sEam5hn-s"),
        ("EdDSA", okp, "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"),
    ] {
        let server = Server::start(with_keys(vec![key(alg, None, &jwk.to_string())])).await;
        let token = access(&server).await;
        assert_eq!(kid(&token), thumbprint, "the name is the thumbprint of RFC 7638");
        let set = published(&server).await;
        verified_by_another(&set, &token);
        assert!(set["keys"][0].get("d").is_none(), "the private half stays here");
    }
}

#[test]
fn a_key_that_does_not_serve_is_refused_with_what_was_expected() {
    for (alg, text, expected) in [
        ("RS256", "no key at all", "expected a PKCS#8 private key"),
        ("RS256", &*pem("es256"), "the key does not serve RS256"),
        ("ES384", &*pem("es256"), "the key does not serve ES384"),
        ("HS256", "short", "has 5 bytes, expected at least 32"),
        ("HS256", r#"{"kty":"oct","k":"c2hvcnQ"}"#, "has 5 bytes, expected at least 32"),
        ("ES256", r#"{"kty":"EC","crv":"P-192","d":"AA","x":"AA","y":"AA"}"#, "expected the curve"),
        ("ES256", r#"{"kty":"#, "expected a key as JSON"),
        ("EdDSA", r#"{"kty":"oct","k":"c2hvcnQ"}"#, "another type"),
    ] {
        let error = app(with_keys(vec![key(alg, None, text)])).unwrap_err().to_string();
        assert!(error.contains(expected), "{alg}: {error}");
    }
    let twice = vec![key("RS256", Some("one"), &pem("rs256")), key("ES256", Some("one"), &pem("es256"))];
    assert!(app(with_keys(twice)).unwrap_err().to_string().contains("saw `one` twice"));
}

/// A JWK with its own word on what it is for: none of RFC 7517 sections 4.2 and 4.3 may be passed over.
#[test]
fn a_jwk_that_is_for_something_else_is_refused() {
    let secret = "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow";
    let public = json!({"kty": "EC", "crv": "P-256", "x": "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4",
        "y": "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM"});
    let with = |mut jwk: Value, word: &Value| {
        jwk.as_object_mut().unwrap().extend(word.as_object().unwrap().clone());
        jwk
    };
    let private = with(public.clone(), &json!({"d": "870MB6gfuTJ4HtUnUvYMyJpr5eUZNP4Bk43bVdj3eAE"}));
    let oct = json!({"kty": "oct", "k": secret});
    let started = |jwk: &Value, alg: &str, first: bool| {
        let given = key(alg, Some("given"), &jwk.to_string());
        let keys = if first { vec![given] } else { vec![key("ES256", Some("other"), &pem("es256")), given] };
        app(with_keys(keys)).map(|_| ()).map_err(|error| error.to_string())
    };
    for (jwk, alg, first, word, expected) in [
        (&oct, "HS256", true, json!({"use": "enc"}), r#"expected `"use":"sig"` in the JWK"#),
        (&private, "ES256", true, json!({"use": 1}), r#"expected `"use":"sig"` in the JWK"#),
        (&public, "ES256", false, json!({"use": "enc"}), r#"expected `"use":"sig"` in the JWK"#),
        (&oct, "HS256", true, json!({"key_ops": ["encrypt", "decrypt"]}), "expected `sign` or `verify`"),
        (&oct, "HS256", true, json!({"key_ops": ["verify"]}), "expected `sign` in the `key_ops` of the first key"),
        (&private, "ES256", true, json!({"key_ops": ["verify"]}), "expected `sign` in the JWK's `key_ops`"),
        (&private, "ES256", true, json!({"key_ops": ["deriveKey"]}), "expected `sign` in the JWK's `key_ops`"),
        (&public, "ES256", false, json!({"key_ops": ["sign"]}), "expected `verify` in the JWK's `key_ops`"),
        (&oct, "HS256", true, json!({"key_ops": ["sign", "sign"]}), "expected no operation twice"),
        (&oct, "HS256", true, json!({"key_ops": "sign"}), "expected a list of texts"),
        (
            &oct,
            "HS256",
            true,
            json!({"use": "sig", "key_ops": ["sign", "wrapKey"]}),
            "nothing that contradicts its `use`",
        ),
    ] {
        let error = started(&with(jwk.clone(), &word), alg, first).expect_err(&word.to_string());
        assert!(error.contains(expected), "{word}: {error}");
        assert!(!error.contains(secret), "{error}");
    }
    for (jwk, alg, first, word) in [
        (&oct, "HS256", true, json!({"use": "sig", "key_ops": ["sign", "verify"]})),
        (&oct, "HS256", false, json!({"key_ops": ["verify"]})),
        (&private, "ES256", true, json!({"key_ops": ["sign"]})),
        (&public, "ES256", false, json!({"use": "sig", "key_ops": ["verify"]})),
    ] {
        started(&with(jwk.clone(), &word), alg, first).unwrap_or_else(|error| panic!("{word}: {error}"));
    }
    let hides = |word: Value| {
        let (encryption, key) = (Some(Encryption::EcdhEs), with(private.clone(), &word).to_string());
        app(Config { encryption, encryption_key: Some(key.into()), ..quick() }).map(|_| ()).map_err(|e| e.to_string())
    };
    assert!(hides(json!({"use": "sig"})).unwrap_err().contains(r#"expected `"use":"enc"` in the JWK"#));
    assert!(hides(json!({"key_ops": ["sign"]})).unwrap_err().contains("`deriveKey`"));
    hides(json!({"use": "enc", "key_ops": ["deriveKey", "deriveBits"]})).unwrap();
}

#[tokio::test]
async fn a_new_key_is_published_before_it_signs_and_the_old_one_verifies_until_it_is_retired() {
    let server = Server::start(Config { algorithm: Algorithm::named("ES256").unwrap(), ..quick() }).await;
    let first = access(&server).await;
    let announced = server.hook("/_ref/keys/rotate", json!({"lead_s": 60})).await;
    let set = published(&server).await;
    assert_eq!(set["keys"].as_array().unwrap().len(), 2);
    let during = access(&server).await;
    assert_eq!(kid(&during), kid(&first), "the new key waits");
    let retired = server.hook("/_ref/keys/retire", json!({})).await;
    assert_eq!(retired.body["retired"], 0, "neither the signing key nor its successor is retired");

    server.hook("/_ref/clock", json!({"advance_s": 61})).await;
    let after = access(&server).await;
    assert_eq!(kid(&after), announced.text("kid"));
    verified_by_another(&set, &after);
    assert_eq!(server.bearer("/hello/", &during).await.status, 200, "the overlap");

    assert_eq!(server.hook("/_ref/keys/retire", json!({})).await.body["retired"], 1);
    assert_eq!(server.bearer("/hello/", &during).await.status, 401);
    assert_eq!(server.bearer("/hello/", &after).await.status, 200);
    assert_eq!(published(&server).await["keys"].as_array().unwrap().len(), 1);
}
