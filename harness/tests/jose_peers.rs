//! Does another JWT library agree with our signatures, both ways, for every key that the reference server publishes?

use assay::jose::{Forge, KeyEntry, KeySet, Policy, SigningKey, VerifyingKey, algorithms, verify};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation, decode, encode};
use serde_json::{Value, json};

fn file(alg: &str, ending: &str) -> Vec<u8> {
    let name = format!("../reference-server/keys/{}-development-only.{ending}", alg.to_ascii_lowercase());
    std::fs::read(std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).unwrap()
}

#[test]
fn each_side_verifies_what_the_other_signed() {
    // jsonwebtoken has no ES512.
    for row in algorithms().iter().filter(|a| a.name != "ES512") {
        let theirs: Algorithm = row.name.parse().unwrap();
        let (ours, public, encoding, decoding) = if row.key_type == "oct" {
            let secret = file(row.name, "secret");
            let key = SigningKey::secret(secret.clone());
            let public = key.verifying_key();
            (key, public, EncodingKey::from_secret(&secret), DecodingKey::from_secret(&secret))
        } else {
            let (private, public) = (file(row.name, "pem"), file(row.name, "pub.pem"));
            let (encoding, decoding) = match row.key_type {
                "RSA" => (EncodingKey::from_rsa_pem(&private), DecodingKey::from_rsa_pem(&public)),
                "EC" => (EncodingKey::from_ec_pem(&private), DecodingKey::from_ec_pem(&public)),
                _ => (EncodingKey::from_ed_pem(&private), DecodingKey::from_ed_pem(&public)),
            };
            let ours = (SigningKey::parse(&private).unwrap(), VerifyingKey::parse(&public).unwrap());
            (ours.0, ours.1, encoding.unwrap(), decoding.unwrap())
        };
        assert_eq!(ours.verifying_key().to_jwk(), public.to_jwk(), "{}", row.name);
        let claims = json!({"sub": "alice", "exp": 4_000_000_000u64});
        let forge = Forge::new(&json!({"alg": row.name, "typ": "JWT"}), &claims);
        let token = forge.sign(&ours, row, &mut rand::rng()).unwrap().token();
        let seen = decode::<Value>(&token, &decoding, &Validation::new(theirs));
        assert_eq!(seen.unwrap().claims, claims, "{}", row.name);
        let token = encode(&Header::new(theirs), &claims, &encoding).unwrap();
        let keys = KeySet { keys: vec![KeyEntry::plain(public)], ..KeySet::default() };
        let policy = Policy { now: Some(1_000_000_000.0), ..Policy::default() };
        assert_eq!(Value::Object(verify(&token, &keys, &policy).unwrap().claims), claims, "{}", row.name);
    }
}
