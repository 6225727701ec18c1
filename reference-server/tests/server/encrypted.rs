//! Encrypted tokens: nothing of them can be read on the way, and nothing but them is taken.

use reference_server::{Config, Encryption, app};
use serde_json::{Value, json};

use super::client::{Server, quick};

fn header(token: &str) -> Value {
    use base64::Engine;
    let head = token.split('.').next().unwrap();
    serde_json::from_slice(&base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(head).unwrap()).unwrap()
}

fn sealed(alg: Encryption) -> Config {
    Config { encryption: Some(alg), ..quick() }
}

#[tokio::test]
async fn a_session_works_with_tokens_that_nobody_else_can_read() {
    for alg in Encryption::ALL {
        let server = Server::start(sealed(alg)).await;
        let granted = server.login("assay:assay-secret", "openid").await;
        for name in ["access_token", "refresh_token"] {
            let token = granted.text(name);
            assert_eq!(token.split('.').count(), 5, "{name}");
            let header = header(token);
            assert_eq!(
                (&header["alg"], &header["enc"], &header["cty"]),
                (&json!(alg.name()), &json!("A256GCM"), &json!("JWT"))
            );
        }
        assert_eq!(granted.text("id_token").split('.').count(), 3, "the client reads its ID token");
        assert_eq!(server.bearer("/hello/", granted.text("access_token")).await.status, 200);
        let next = server.refresh("assay:assay-secret", granted.text("refresh_token")).await;
        assert_eq!(next.status, 200);
        server.refresh("assay:assay-secret", granted.text("refresh_token")).await.refused(400, "invalid_grant");
        let told =
            server.form("/oauth/introspect", "assay:assay-secret", &[("token", next.text("access_token"))]).await;
        assert_eq!(told.body, json!({"active": false}), "the reuse ended the session");
    }
}

#[tokio::test]
async fn a_token_that_is_not_encrypted_is_refused_though_its_signature_is_good() {
    let plain = Server::start(quick()).await;
    let hidden = Server::start(sealed(Encryption::EcdhEs)).await;
    let bare = plain.json_login("alice").await;
    let nested = hidden.json_login("alice").await;
    assert_eq!(plain.bearer("/hello/", bare.text("access")).await.status, 200);
    assert_eq!(hidden.bearer("/hello/", bare.text("access")).await.status, 401);
    assert_eq!(plain.bearer("/hello/", nested.text("access")).await.status, 401);
    let refused = hidden.post("/api/token/refresh/", json!({"refresh": bare.text("refresh")})).await;
    assert_eq!(refused.status, 401);
}

#[tokio::test]
async fn what_fails_to_decrypt_is_refused_in_one_way() {
    let server = Server::start(sealed(Encryption::RsaOaep256)).await;
    let token = server.json_login("alice").await.text("access").to_owned();
    let segments: Vec<&str> = token.split('.').collect();
    let with = |place: usize, text: &str| {
        let mut changed = segments.clone();
        changed[place] = text;
        changed.join(".")
    };
    let mut answers = Vec::new();
    for broken in
        [with(1, ""), with(1, "AAAA"), with(2, ""), with(3, "AAAA"), with(4, "AAAA"), with(4, ""), with(0, "e30")]
    {
        let answer = server.bearer("/hello/", &broken).await;
        answers.push((answer.status, answer.header("www-authenticate").to_owned(), answer.body));
    }
    answers.dedup();
    assert_eq!(answers.len(), 1, "{answers:?}");
    assert_eq!(answers[0].0, 401);
}

#[tokio::test]
async fn the_key_to_encrypt_to_is_published_and_the_secret_is_not() {
    for (alg, keys) in [(Encryption::Direct, 0), (Encryption::EcdhEs, 1), (Encryption::RsaOaep256, 1)] {
        let server = Server::start(sealed(alg)).await;
        let set = server.get("/.well-known/jwks.json").await.body;
        let list = set["keys"].as_array().unwrap();
        assert_eq!(list.len(), keys, "{}", alg.name());
        for key in list {
            assert_eq!((&key["use"], &key["alg"], key.get("d")), (&json!("enc"), &json!(alg.name()), None));
        }
    }
}

#[test]
fn a_key_of_another_kind_is_refused_with_what_was_expected() {
    let with = |alg, text: &str| Config { encryption_key: Some(text.into()), ..sealed(alg) };
    let error = |config| app(config).unwrap_err().to_string();
    assert!(error(with(Encryption::Direct, "short")).contains("expected 32 bytes, saw 5"));
    let ec =
        std::fs::read_to_string(format!("{}/keys/es256-development-only.pem", env!("CARGO_MANIFEST_DIR"))).unwrap();
    assert!(error(with(Encryption::RsaOaep256, &ec)).contains("RSA-OAEP-256"));
    assert!(app(with(Encryption::EcdhEs, &ec)).is_ok());
}
