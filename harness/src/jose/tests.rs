//! Do signing, verifying and forging agree with each other?

use proptest::prelude::*;
use serde_json::json;

use super::*;

/// A fixed 2048-bit key: generating one takes seconds in a debug build.
fn rsa_key() -> SigningKey {
    static KEY: std::sync::OnceLock<SigningKey> = std::sync::OnceLock::new();
    KEY.get_or_init(|| SigningKey::generate_rsa(2048, &mut rand::rng()).unwrap()).clone()
}

fn key_for(row: &Algorithm) -> SigningKey {
    if row.key_type == "RSA" { rsa_key() } else { SigningKey::generate(row, &mut rand::rng()).unwrap() }
}

fn set(key: &SigningKey) -> KeySet {
    KeySet { keys: vec![KeyEntry::plain(key.verifying_key())], unreadable: Vec::new() }
}

fn policy() -> Policy {
    Policy { now: Some(1_000.0), ..Policy::default() }
}

fn genuine(row: &Algorithm, key: &SigningKey) -> String {
    Forge::new(&json!({"alg": row.name, "typ": "JWT"}), &json!({"sub": "alice", "exp": 2000, "jti": "1"}))
        .sign(key, row, &mut rand::rng())
        .unwrap()
        .token()
}

#[test]
fn every_algorithm_verifies_what_it_signs_and_nothing_else() {
    for row in algorithms() {
        let key = key_for(row);
        let token = genuine(row, &key);
        let verified = verify(&token, &set(&key), &policy()).unwrap();
        assert_eq!((verified.algorithm.name, &verified.claims["sub"]), (row.name, &json!("alice")));
        for segment in 0..3 {
            for bit in [0, 1, 7, 9] {
                let tampered = forge::flip_bit(&token, segment, bit);
                assert!(verify(&tampered, &set(&key), &policy()).is_err(), "{} {segment} {bit}", row.name);
            }
        }
        for other in algorithms().iter().filter(|o| o.name != row.name) {
            let renamed = Forge::of(&token).unwrap().header("alg", other.name).token();
            assert!(verify(&renamed, &set(&key), &policy()).is_err());
        }
        let len = base64url::decode(forge::segment(&token, 2)).unwrap().len();
        assert!(row.signature_len.is_none_or(|l| l == len));
    }
}

#[test]
fn keys_survive_every_spelling() {
    for row in algorithms() {
        let key = key_for(row);
        let private = SigningKey::parse(key.to_jwk().to_string().as_bytes()).unwrap();
        assert_eq!(private.to_jwk(), key.to_jwk());
        let public = key.verifying_key();
        assert!(public.serves(public.default_algorithm()));
        let Some(pem) = public.to_spki_pem() else { continue };
        for spelled in [pem.clone(), format!("comment\n{pem}"), pem.replace('\n', "\r\n")] {
            assert_eq!(VerifyingKey::parse(spelled.as_bytes()).unwrap().to_jwk(), public.to_jwk());
        }
        let certificate =
            forge::self_signed_certificate(&key, "assay", "250101000000Z", "490101000000Z", &mut rand::rng()).unwrap();
        assert_eq!(VerifyingKey::parse(&certificate).unwrap().to_jwk(), public.to_jwk());
    }
}

#[test]
fn private_keys_are_read_from_pkcs8_pkcs1_and_sec1() {
    use rsa::pkcs1::EncodeRsaPrivateKey as _;
    use rsa::pkcs8::{EncodePrivateKey as _, LineEnding};
    let SigningKey::Rsa(rsa) = rsa_key() else { panic!("an RSA key") };
    let public = rsa_key().verifying_key().to_jwk();
    for pem in [rsa.to_pkcs8_pem(LineEnding::LF).unwrap(), rsa.to_pkcs1_pem(LineEnding::LF).unwrap()] {
        assert_eq!(SigningKey::parse(pem.as_bytes()).unwrap().verifying_key().to_jwk(), public);
        // A private key where a public one is wanted gives its public half.
        assert_eq!(VerifyingKey::parse(pem.as_bytes()).unwrap().to_jwk(), public);
    }
    let SigningKey::P256(ec) = key_for(algorithm("ES256").unwrap()) else { panic!("a P-256 key") };
    let secret = p256::SecretKey::from(&*ec);
    for pem in [secret.to_sec1_pem(LineEnding::LF).unwrap(), secret.to_pkcs8_pem(LineEnding::LF).unwrap()] {
        assert_eq!(SigningKey::parse(pem.as_bytes()).unwrap().kind(), "a P-256 key");
    }
    let error = SigningKey::parse(b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----").unwrap_err();
    assert!(error.to_string().contains("hint:"), "{error}");
}

#[test]
fn a_thumbprint_is_that_of_rfc_7638() {
    let jwk = json!({"kty": "RSA", "n": "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw", "e": "AQAB", "alg": "RS256", "kid": "2011-04-29"});
    let key = VerifyingKey::from_jwk(&jwk).unwrap();
    assert_eq!(thumbprint(&key), "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs");
}

#[test]
fn the_verifier_refuses_for_the_reason_it_gives() {
    let row = algorithm("HS256").unwrap();
    let key = SigningKey::secret([1; 32]);
    let token = genuine(row, &key);
    let keys = set(&key);
    let sign = |forge: Forge| forge.sign(&key, row, &mut rand::rng()).unwrap().token();
    let of = || Forge::of(&token).unwrap();
    let refused = |token: &str| verify(token, &keys, &policy()).unwrap_err();
    assert_eq!(refused("a.b"), Refusal::Segments(2));
    assert_eq!(refused(&format!("{token}.")), Refusal::Segments(4));
    assert_eq!(refused(&format!("{token}=")), Refusal::Encoding("signature"));
    assert!(matches!(refused(&sign(of().header("alg", "none"))), Refusal::Algorithm(_)));
    assert!(matches!(refused(&sign(of().header("alg", "hs256"))), Refusal::Algorithm(_)));
    assert!(matches!(refused(&sign(of().header("crit", json!(["x"])))), Refusal::Critical(_)));
    assert!(matches!(refused(&sign(of().header("kid", 1))), Refusal::NoKey { .. }));
    assert!(matches!(refused(&sign(of().duplicate_header("alg", "HS256", true))), Refusal::Header(_)));
    assert!(matches!(refused(&sign(of().duplicate_claim("exp", 1, true))), Refusal::Payload(_)));
    assert!(matches!(refused(&sign(of().claim("exp", "2000"))), Refusal::Claim { name: "exp", .. }));
    assert!(matches!(refused(&sign(of().without_claim("exp"))), Refusal::Claim { name: "exp", .. }));
    assert!(matches!(refused(&sign(of().claim("nbf", 1001))), Refusal::NotYet(_)));
    // On the very second of exp the token has ended; a bad signature is never called expired.
    assert!(matches!(refused(&sign(of().claim("exp", 1000))), Refusal::Expired(_)));
    assert_eq!(refused(&of().claim("exp", 1).token()), Refusal::Signature);
    assert!(matches!(refused(&set_short(&token)), Refusal::Signature | Refusal::Encoding(_)));
    let strict =
        Policy { issuer: Some("us".into()), audience: Some("api".into()), typ: Some("at+jwt".into()), ..policy() };
    let good = of().header("typ", "application/AT+JWT").claim("iss", "us").claim("aud", json!(["x", "api"]));
    assert!(verify(&sign(good), &keys, &strict).is_ok());
    assert!(matches!(verify(&token, &keys, &strict), Err(Refusal::Claim { name: "typ", .. })));
}

fn set_short(token: &str) -> String {
    token[..token.len() - 2].to_owned()
}

#[test]
fn the_text_of_a_segment_can_change_while_its_bytes_do_not() {
    let row = algorithm("HS256").unwrap();
    let token = genuine(row, &SigningKey::secret([1; 32]));
    let unused = forge::set_unused_bits(&token, 2).unwrap();
    assert_ne!(unused, token);
    let bytes = |t: &str| base64url::decode_lenient(forge::segment(t, 2));
    assert_eq!(bytes(&unused), bytes(&token));
    assert_eq!(bytes(&forge::insert_junk(&token, 2, 5, "!\u{e9} ")), bytes(&token));
    assert_eq!(base64url::decode(forge::segment(&unused, 2)), None);
}

#[test]
fn an_rsa_modulus_is_recovered_from_two_signatures() {
    let go = std::sync::atomic::AtomicBool::new(false);
    let row = algorithm("RS256").unwrap();
    let exponent = rsa::BoxedUint::from(17u64);
    let key = rsa::PrivateKey::new_with_exp(&mut rand::rng(), 1024, exponent).unwrap();
    let key = SigningKey::Rsa(Box::new(key));
    let signed: Vec<(Vec<u8>, Vec<u8>)> = ["one", "two"]
        .iter()
        .map(|text| (text.as_bytes().to_vec(), key.sign(row, text.as_bytes(), &mut rand::rng()).unwrap()))
        .collect();
    let found = recover::rsa_modulus(row, 17, &signed, &go).unwrap();
    assert_eq!(found.to_jwk(), key.verifying_key().to_jwk());
    assert!(recover::rsa_modulus(row, 3, &signed, &go).is_none());
    assert!(recover::rsa_modulus(row, 65_539, &[(vec![], vec![1; 256]), (vec![], vec![2; 256])], &go).is_none());
}

#[test]
fn an_ecdsa_key_is_among_those_recovered_from_one_signature() {
    for name in ["ES256", "ES384", "ES512"] {
        let row = algorithm(name).unwrap();
        let key = key_for(row);
        let signature = key.sign(row, b"input", &mut rand::rng()).unwrap();
        let all = recover::ecdsa_keys(row, b"input", &signature);
        assert!(all.iter().any(|k| k.to_jwk() == key.verifying_key().to_jwk()), "{name}");
    }
}

#[test]
fn a_raw_rsa_operation_makes_the_same_signature_as_the_library() {
    let row = algorithm("RS384").unwrap();
    let key = rsa_key();
    let encoded = recover::pkcs1_encoding(row.hash, b"input", 256).unwrap();
    let raw = key.rsa_raw(&encoded, &mut rand::rng()).unwrap();
    assert_eq!(raw, key.sign(row, b"input", &mut rand::rng()).unwrap());
}

proptest! {
    #[test]
    fn no_text_makes_the_parser_panic(text in ".{0,200}", bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let keys = set(&SigningKey::secret([1; 32]));
        let _ = parse(&text);
        let _ = verify(&text, &keys, &policy());
        let dotted = format!("{}.{}.{}", base64url::encode(&bytes), text, base64url::encode(&bytes));
        let _ = verify(&dotted, &keys, &policy());
        let _ = Forge::of(&dotted);
        let _ = base64url::decode_lenient(&text);
        let _ = VerifyingKey::parse(&bytes);
        let _ = SigningKey::parse(&bytes);
        let _ = KeySet::parse(&text);
        for segment in 0..3 {
            let _ = forge::flip_bit(&text, segment, bytes.len());
            let _ = forge::insert_junk(&text, segment, bytes.len(), "\u{e9}");
            let _ = forge::set_unused_bits(&text, segment);
        }
    }

    #[test]
    fn what_is_signed_verifies_whatever_it_is(
        claims in proptest::collection::btree_map("[a-z]{4,8}", any::<i64>(), 0..6),
        secret in proptest::collection::vec(any::<u8>(), 64..80),
    ) {
        let key = SigningKey::secret(secret);
        for name in ["HS256", "HS384", "HS512"] {
            let row = algorithm(name).unwrap();
            let mut forge = Forge::new(&json!({"alg": name}), &json!({"exp": 2000}));
            for (name, value) in &claims {
                forge = forge.claim(name, *value);
            }
            let token = forge.sign(&key, row, &mut rand::rng()).unwrap().token();
            let verified = verify(&token, &set(&key), &policy()).unwrap();
            for (name, value) in &claims {
                prop_assert_eq!(&verified.claims[name.as_str()], &json!(value));
            }
            prop_assert_eq!(Forge::of(&token).unwrap().token(), token);
        }
    }
}

#[test]
fn a_certificate_carries_an_rsa_key_that_nobody_made() {
    let mut rng = rand::rng();
    let key = SigningKey::generate_rsa(2048, &mut rng).unwrap().verifying_key();
    let (n, e) = (key.rsa_modulus().unwrap(), key.rsa_exponent().unwrap());
    let read = VerifyingKey::from_der(&forge::rsa_certificate(&n, &e, "assay", &mut rng)).unwrap();
    assert_eq!(read.to_jwk(), key.to_jwk());
    assert!(forge::rsa_certificate(&[0xff; 2048], &[0xff; 2048], "assay", &mut rng).len() > 4096);
}
