//! Do our signatures agree with the Wycheproof vectors, and where not, why?
//!
//! The vectors are in the folder `wycheproof` of `ASSAY_VECTORS`, else of `../shared/vectors` beside the checkout (docs/vectors.md says
//! how they get there). Where `CI` is set a missing file is an error; elsewhere the test says which were not found.

use serde_json::Value;

use super::*;

/// Every file of vectors that is run, what it is asked, and how many cases it has. docs/vectors.md says the same.
const RUN: &[(&str, &str, usize)] = &[
    ("json_web_signature_test.json", "compact tokens against a key or a key set, every algorithm", 401),
    ("json_web_key_test.json", "keys that must not be used for what they are offered for", 26),
    ("json_web_crypto_test.json", "an older view of signed and encrypted tokens", 83),
    ("json_web_encryption_test.json", "encrypted tokens, opened by every key management and content encryption", 139),
    ("hmac_sha256_test.json", "HS256, whole and cut tags", 174),
    ("hmac_sha384_test.json", "HS384, whole and cut tags", 174),
    ("hmac_sha512_test.json", "HS512, whole and cut tags", 174),
    ("ecdsa_secp256r1_sha256_p1363_test.json", "ES256", 262),
    ("ecdsa_secp384r1_sha384_p1363_test.json", "ES384", 280),
    ("ecdsa_secp521r1_sha512_p1363_test.json", "ES512", 318),
    ("rsa_signature_2048_sha256_test.json", "RS256, with every malformed padding", 259),
    ("rsa_pss_2048_sha256_mgf1_32_test.json", "PS256", 108),
    ("ed25519_test.json", "EdDSA", 151),
];

fn vectors(name: &str) -> Option<Value> {
    assert!(RUN.iter().any(|(file, ..)| *file == name), "{name} is run, and the list does not say so");
    let root = std::env::var_os("ASSAY_VECTORS").map_or_else(
        || std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/vectors"),
        std::path::PathBuf::from,
    );
    let path = root.join("wycheproof").join(name);
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

fn each<'a>(file: &'a Value, mut run: impl FnMut(&'a Value, &'a Value)) {
    for group in file["testGroups"].as_array().unwrap() {
        for test in group["tests"].as_array().unwrap() {
            run(group, test);
        }
    }
}

fn hex(value: &Value) -> Vec<u8> {
    let text = value.as_str().unwrap();
    (0..text.len()).step_by(2).map(|i| u8::from_str_radix(&text[i..i + 2], 16).unwrap()).collect()
}

/// Where we refuse what Wycheproof calls valid: the vectors, and the reason.
const STRICTER: &[(&[u64], &str)] = &[
    (&[372, 373], "a `?` inside a segment is not base64url (RFC 7515 section 2)"),
    (&[346, 350], "the key says `alg` PS256 and the token PS384 (RFC 7517 section 4.4)"),
    (&[347, 351], "the key says `alg` ES521, which no registry has; the token says ES512"),
];

/// Where Wycheproof says invalid and we accept: the vectors, and the reason.
const NOT_STRICTER: &[(&[u64], &str)] = &[(
    &[367, 370],
    "the text is byte for byte that of the valid vector 357: the padding they are named for is not there",
)];

fn listed(table: &[(&[u64], &str)], id: u64) -> bool {
    table.iter().any(|(ids, reason)| ids.contains(&id) && !reason.is_empty())
}

#[test]
fn the_page_says_which_vectors_are_run_and_where_we_differ() {
    let page = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/vectors.md");
    let page = std::fs::read_to_string(&page).unwrap_or_else(|e| panic!("{}: {e}", page.display()));
    let ids = |ids: &[u64]| ids.iter().map(u64::to_string).collect::<Vec<_>>().join(", ");
    let files = RUN.iter().map(|(file, what, cases)| format!("| `{file}` | {what} | {cases} |"));
    let stricter = STRICTER.iter().map(|(of, why)| format!("| {} | valid | refused | {why} |", ids(of)));
    let laxer = NOT_STRICTER.iter().map(|(of, why)| format!("| {} | invalid | accepted | {why} |", ids(of)));
    for line in files.chain(stricter).chain(laxer) {
        assert!(page.lines().any(|there| there == line), "docs/vectors.md lacks: {line}");
    }
    assert_eq!(page.matches("_test.json` |").count(), RUN.len(), "docs/vectors.md lists a file that is not run");
    for (file, _, cases) in RUN {
        let Some(content) = vectors(file) else { continue };
        let mut seen = 0;
        each(&content, |_, _| seen += 1);
        assert_eq!(seen, *cases, "{file}");
    }
}

#[test]
fn all_401_signatures_are_judged_as_wycheproof_does_or_stricter() {
    let Some(file) = vectors("json_web_signature_test.json") else { return };
    let policy = Policy { claims: false, smallest_rsa_bits: 1024, ..Policy::default() };
    let (mut seen, mut wrong) = (0, Vec::new());
    each(&file, |group, test| {
        seen += 1;
        let jwk = group.get("public").unwrap_or(&group["private"]);
        let keys = KeySet::from_value(jwk).unwrap_or_default();
        let outcome = verify(test["jws"].as_str().unwrap(), &keys, &policy);
        let id = test["tcId"].as_u64().unwrap();
        match (test["result"].as_str().unwrap(), &outcome) {
            ("valid", Ok(_)) if !listed(STRICTER, id) => {}
            ("valid", Err(_)) if listed(STRICTER, id) => {}
            ("invalid", Ok(_)) if listed(NOT_STRICTER, id) => {}
            ("acceptable", _) | ("invalid", Err(_)) if !listed(NOT_STRICTER, id) => {}
            (truth, _) => wrong.push(format!(
                "{id} {} {}: {truth}, but {:?}",
                group["comment"],
                test["comment"],
                outcome.map(|v| v.algorithm.name)
            )),
        }
    });
    assert_eq!(seen, 401);
    assert!(wrong.is_empty(), "{}\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn keys_that_must_not_be_used_are_not() {
    let Some(file) = vectors("json_web_key_test.json") else { return };
    let policy = Policy { claims: false, ..Policy::default() };
    let mut wrong = Vec::new();
    let mut seen = 0;
    each(&file, |group, test| {
        seen += 1;
        let jwk = group.get("public").unwrap_or(&group["private"]);
        let keys = KeySet::from_value(jwk).unwrap_or_default();
        let outcome = verify(test["jws"].as_str().unwrap_or_default(), &keys, &policy);
        if outcome.is_ok() != (test["result"] == "valid") {
            wrong.push(format!(
                "{} {} {}: {:?}",
                test["tcId"],
                group["comment"],
                test["comment"],
                outcome.map(|v| v.key)
            ));
        }
    });
    assert_eq!(seen, 26);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn hmac_agrees() {
    for (name, hash) in [
        ("hmac_sha256_test.json", Hash::Sha256),
        ("hmac_sha384_test.json", Hash::Sha384),
        ("hmac_sha512_test.json", Hash::Sha512),
    ] {
        let Some(file) = vectors(name) else { continue };
        each(&file, |group, test| {
            let len = group["tagSize"].as_u64().unwrap() as usize / 8;
            let tag = hmac(hash, &hex(&test["key"]), &hex(&test["msg"]));
            assert_eq!(tag[..len] == hex(&test["tag"]), test["result"] == "valid", "{name} {}", test["tcId"]);
        });
    }
}

#[test]
fn ecdsa_in_jose_form_agrees() {
    for (name, alg) in [
        ("ecdsa_secp256r1_sha256_p1363_test.json", "ES256"),
        ("ecdsa_secp384r1_sha384_p1363_test.json", "ES384"),
        ("ecdsa_secp521r1_sha512_p1363_test.json", "ES512"),
    ] {
        let Some(file) = vectors(name) else { continue };
        let row = algorithm(alg).unwrap();
        each(&file, |group, test| {
            let key = VerifyingKey::from_der(&hex(&group["publicKeyDer"])).unwrap();
            let accepted = key.accepts(row, &hex(&test["msg"]), &hex(&test["sig"]));
            assert_eq!(accepted, test["result"] == "valid", "{name} {} {}", test["tcId"], test["comment"]);
        });
    }
}

#[test]
fn rsa_agrees() {
    for (name, alg) in
        [("rsa_signature_2048_sha256_test.json", "RS256"), ("rsa_pss_2048_sha256_mgf1_32_test.json", "PS256")]
    {
        let Some(file) = vectors(name) else { continue };
        let row = algorithm(alg).unwrap();
        each(&file, |group, test| {
            let key = &group["publicKey"];
            let key = VerifyingKey::from_rsa_parts(&hex(&key["modulus"]), &hex(&key["publicExponent"])).unwrap();
            let accepted = key.accepts(row, &hex(&test["msg"]), &hex(&test["sig"]));
            match test["result"].as_str().unwrap() {
                // A DigestInfo without NULL: legal to refuse, and refused.
                "acceptable" => assert!(!accepted, "{name} {}", test["tcId"]),
                truth => assert_eq!(accepted, truth == "valid", "{name} {} {}", test["tcId"], test["comment"]),
            }
        });
    }
}

#[test]
fn ed25519_agrees() {
    let Some(file) = vectors("ed25519_test.json") else { return };
    let row = algorithm("EdDSA").unwrap();
    each(&file, |group, test| {
        let key = VerifyingKey::from_point(Curve::Ed25519, &hex(&group["publicKey"]["pk"])).unwrap();
        let accepted = key.accepts(row, &hex(&test["msg"]), &hex(&test["sig"]));
        assert_eq!(accepted, test["result"] == "valid", "{} {}", test["tcId"], test["comment"]);
    });
}

#[test]
fn jwe_is_judged_as_wycheproof_does_where_it_is_understood() {
    let Some(file) = vectors("json_web_encryption_test.json") else { return };
    let (mut seen, mut decrypted) = (0, 0);
    each(&file, |group, test| {
        seen += 1;
        let token = test["jwe"].as_str().unwrap();
        let Ok(key) = SigningKey::from_jwk(&group["private"]) else { return };
        // A key of `dir` is named for the content that it encrypts.
        let alg = group["private"]["alg"].as_str().filter(|alg| jwe::ContentEncryption::named(alg).is_none());
        let outcome = jwe::decrypt(token, &key, alg);
        match (test["result"].as_str().unwrap(), outcome) {
            ("valid", Ok((_, plaintext))) => {
                decrypted += 1;
                assert_eq!(plaintext, hex(&test["pt"]), "{}", test["tcId"]);
            }
            // Compression is not understood; nothing else may refuse a valid one.
            ("valid", Err(refusal)) => assert!(
                refusal == jwe::JweRefusal::Header("zip is not understood".to_owned()),
                "{} {}: {refusal}",
                test["tcId"],
                test["comment"]
            ),
            (_, outcome) => assert!(outcome.is_err(), "{} {}", test["tcId"], test["comment"]),
        }
    });
    assert_eq!(seen, 139);
    assert!(decrypted >= 40, "only {decrypted} vectors were understood");
}

#[test]
fn the_older_view_of_the_same_shapes_agrees() {
    let Some(file) = vectors("json_web_crypto_test.json") else { return };
    let policy = Policy { claims: false, ..Policy::default() };
    let mut seen = 0;
    each(&file, |group, test| {
        seen += 1;
        let (id, valid) = (&test["tcId"], test["result"] == "valid");
        if let Some(token) = test["jws"].as_str() {
            let keys = KeySet::from_value(group.get("public").unwrap_or(&group["private"])).unwrap_or_default();
            let outcome = verify(token, &keys, &policy);
            assert_eq!(outcome.is_ok(), valid, "{id} {}: {outcome:?}", test["comment"]);
        } else if let Some(token) = test["jwe"].as_str() {
            let Ok(key) = SigningKey::from_jwk(&group["private"]) else { return };
            let outcome = jwe::decrypt(token, &key, group["private"]["alg"].as_str());
            assert_eq!(outcome.is_ok(), valid, "{id} {}: {outcome:?}", test["comment"]);
        }
    });
    assert_eq!(seen, 83);
}
