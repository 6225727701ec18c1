//! Does a token make the server call an address of the token's choice?

use std::time::Duration;

use base64::Engine as _;
use serde_json::{Value, json};

use super::super::material::{foreign, genuine, random, row, sign, still_good};
use crate::conformance::descriptor::{Check, Isolation, Levels, Need, cost};
use crate::conformance::listener::{Listener, Page};
use crate::conformance::probe::Stop;
use crate::jose::forge::self_signed_certificate;
use crate::jose::{Algorithm, SigningKey, thumbprint};
use crate::record::Level;

const NEEDS: &[Need] = &[Need::JwtAccess, Need::VerifyWay, Need::Listener];

/// How long a server that fetches after it has answered is given to do so.
const AFTERWARDS: Duration = Duration::from_millis(300);

fn listen(pages: Vec<(&'static str, Page)>) -> Result<Listener, Stop> {
    Listener::start(pages).map_err(|e| Stop::Harness(format!("could not listen on 127.0.0.1: {e}")))
}

/// The key set and the certificate chain of a key, as an attacker would serve them.
fn pages(key: &SigningKey, algorithm: &Algorithm, kids: &[String]) -> Result<Vec<(&'static str, Page)>, Stop> {
    let mut keys = Vec::new();
    for kid in kids {
        let mut jwk = key.verifying_key().to_jwk();
        jwk["kid"] = Value::from(kid.as_str());
        jwk["alg"] = Value::from(algorithm.name);
        jwk["use"] = Value::from("sig");
        keys.push(jwk);
    }
    let certificate = self_signed_certificate(key, "assay", "200101000000Z", "491231235959Z", &mut random())
        .map_err(|e| Stop::Harness(format!("could not make a certificate: {e}")))?;
    let pem = format!(
        "-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n",
        base64::engine::general_purpose::STANDARD.encode(certificate)
    );
    let set = json!({"keys": keys}).to_string();
    let json_page = |text: String| Page::Body { kind: "application/json", text };
    Ok(vec![
        ("/redirect", Page::Redirect("/keys/redirected")),
        ("/moved", Page::Redirect("/chain/moved")),
        ("/keys", json_page(set.clone())),
        ("/.well-known/jwks.json", json_page(set)),
        ("/chain", Page::Body { kind: "application/pem-certificate-chain", text: pem }),
    ])
}

pub(super) const KEY: Check = Check {
    id: "sig-remote-key",
    group: "SIG",
    requirement: "a key is not fetched from where the token says it is",
    sources: &[
        "RFC 8725 section 3.10",
        "RFC 7515 sections 4.1.2 and 4.1.5",
        "draft-ietf-oauth-rfc8725bis section 3.10",
        "ASVS 9.1.3",
    ],
    levels: Levels::MUST,
    needs: NEEDS,
    variants: &[
        "jku",
        "jku-userinfo",
        "jku-prefix",
        "jku-redirect",
        "jku-no-kid",
        "x5u",
        "x5u-userinfo",
        "x5u-prefix",
        "x5u-redirect",
        "*-fetched",
    ],
    isolation: Isolation::Shared,
    cost: cost(45, 4),
    intrusive: false,
    flaws: &["follow-jku"],
    sends: "tokens signed by a fresh key, whose `jku` or `x5u` leads to a listener of ours: directly, behind `@`, behind a trusted \
            prefix, through a redirect",
    why: "whose key set is fetched decides who is believed; and the fetch alone reaches into the server's network",
    remedy: "ignore `jku` and `x5u`, or compare them with a list of whole URLs and follow no redirect",
    run: |probe| {
        let genuine = genuine(probe)?;
        // The target's own algorithm, and where that is symmetric, one that has public keys.
        let algorithm = match genuine.algorithm.filter(|a| a.is_asymmetric()) {
            Some(own) => own,
            None => row("ES256")?,
        };
        let key = foreign(algorithm)?;
        let id = thumbprint(&key.verifying_key());
        let own = genuine.forge.header.get("kid").and_then(|k| k.as_str().map(str::to_owned));
        let kids: Vec<String> = own.clone().into_iter().chain([id.clone()]).collect();
        let listener = listen(pages(&key, algorithm, &kids)?)?;
        let (url, authority) = (listener.url(), listener.authority());
        let trusted = probe.target().endpoint.authority();
        let cases = [
            ("jku", "jku", format!("{url}/keys/jku")),
            ("jku-userinfo", "jku", format!("http://{trusted}@{authority}/keys/jku-userinfo")),
            ("jku-prefix", "jku", format!("{url}/keys/jku-prefix?https://{trusted}/.well-known/jwks.json")),
            ("jku-redirect", "jku", format!("{url}/redirect/jku-redirect")),
            ("x5u", "x5u", format!("{url}/chain/x5u")),
            ("x5u-userinfo", "x5u", format!("http://{trusted}@{authority}/chain/x5u-userinfo")),
            ("x5u-prefix", "x5u", format!("{url}/chain/x5u-prefix?https://{trusted}/chain.pem")),
            ("x5u-redirect", "x5u", format!("{url}/moved/x5u-redirect")),
            ("jku-no-kid", "jku", format!("{url}/keys/jku-no-kid")),
        ];
        for (variant, member, address) in &cases {
            let forge = genuine.forge.clone().header("alg", algorithm.name).header(member, address.as_str());
            let forge = match variant {
                &"jku-no-kid" => forge.without_header("kid"),
                _ => forge.header("kid", own.as_deref().unwrap_or(&id)),
            };
            probe.refuse(variant, &sign(forge, &key, algorithm)?)?;
        }
        probe.pause(AFTERWARDS, "late calls of the server")?;
        for (variant, ..) in &cases {
            // A mark ends its path, so that `jku` is not found in `jku-prefix`.
            let calls = listener.calls_with(&format!("/{variant}"));
            let own = |call: &&String| {
                let path = call.split_ascii_whitespace().nth(1).unwrap_or_default();
                path.split('?').next().is_some_and(|path| path.ends_with(&format!("/{variant}")))
            };
            if let Some(call) = calls.iter().find(own) {
                let summary = format!("the server fetched what the token named: {call}");
                probe.fail(Some(&format!("{variant}-fetched")), "fetched", summary);
                probe.at_most(Level::Should);
            }
        }
        Ok(())
    },
};

pub(super) const CLAIM: Check = Check {
    id: "sig-claim-ssrf",
    group: "SIG",
    requirement: "an unauthentic token makes the server call nobody",
    sources: &[
        "RFC 8725 section 3.10",
        "draft-ietf-oauth-rfc8725bis section 3.10",
        "CVE-2026-32301",
        "RFC 8725 section 2.9",
    ],
    levels: Levels::MUST,
    needs: NEEDS,
    variants: &["iss", "aud", "kid", "sub"],
    isolation: Isolation::Shared,
    cost: cost(15, 2),
    intrusive: false,
    flaws: &["discover-from-iss"],
    sends: "tokens under a foreign signature whose `iss`, `aud`, `sub` or `kid` is the address of a listener of ours",
    why: "a server that looks keys up at an unproven issuer lets anybody send requests from inside its network, and be believed",
    remedy: "compare `iss` with the configured issuers before anything is fetched",
    run: |probe| {
        let genuine = genuine(probe)?;
        let algorithm = match genuine.algorithm.filter(|a| a.is_asymmetric()) {
            Some(own) => own,
            None => row("ES256")?,
        };
        let key = foreign(algorithm)?;
        let kid = thumbprint(&key.verifying_key());
        let listener = listen(pages(&key, algorithm, std::slice::from_ref(&kid))?)?;
        let names = ["iss", "aud", "kid", "sub"];
        let mut unread = Vec::new();
        for name in names {
            let address = format!("{}/{name}-mark", listener.url());
            let forge = genuine.forge.clone().header("alg", algorithm.name).header("kid", kid.as_str());
            let forge = if name == "kid" { forge.header("kid", address) } else { forge.claim(name, address) };
            let token = sign(forge, &key, algorithm)?;
            probe.offer(name, &token)?;
            for way in probe.ways() {
                // Whether it is refused is the business of sig-wrong-key; here only the call counts.
                let _ = probe.present_value(&way, &Value::from(token.as_str()))?;
            }
            // A server that reads no token right now calls nobody for another reason.
            let ways = probe.ways();
            if listener.calls_with(&format!("/{name}-mark")).is_empty() && !still_good(probe, name, &ways)? {
                unread.push(name);
            }
        }
        probe.pause(AFTERWARDS, "late calls of the server")?;
        for name in names {
            if unread.contains(&name) && listener.calls_with(&format!("/{name}-mark")).is_empty() {
                continue;
            }
            match listener.calls_with(&format!("/{name}-mark")).first() {
                Some(call) => probe.fail(Some(name), "fetched", format!("the server called: {call}")),
                None => probe.pass(Some(name), "not fetched", "the listener was not called"),
            }
        }
        Ok(())
    },
};
