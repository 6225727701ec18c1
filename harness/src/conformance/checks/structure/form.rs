//! Does the server take only three segments in a string for a token?

use bytes::Bytes;
use serde_json::{Value, json};

use super::super::material::{all_refused, genuine};
use crate::conformance::answer::Answer;
use crate::conformance::descriptor::{Check, Isolation, Levels, Need, cost};
use crate::conformance::probe::{Control, Expect, Probe, Stop};
use crate::jose::forge::segment;
use crate::target::{BodyKind, Case, TokenPlace};

pub(super) const SEGMENTS: Check = Check {
    id: "struct-segments",
    group: "STRUCT",
    requirement: "a token has exactly three segments, none of them empty",
    sources: &["RFC 7519 section 7.2", "RFC 7515 section 5.2", "CVE-2020-28042", "Wycheproof JWS 3, 4, 6, 7, 9-15"],
    levels: Levels::MUST,
    needs: &[Need::JwtAccess, Need::VerifyWay],
    variants: &[
        "nothing",
        "one",
        "two",
        "four",
        "five",
        "six",
        "empty-header",
        "empty-payload",
        "empty-signature",
        "one-dot",
        "two-dots",
        "leading-dot",
        "trailing-dot",
        "refresh-*",
    ],
    isolation: Isolation::Shared,
    cost: cost(80, 1),
    intrusive: false,
    flaws: &["null-sig-ok"],
    sends: "a genuine access token with segments taken away, emptied or added; and a genuine refresh token likewise",
    why: "an empty signature that passes makes every claim forgeable; further segments hide what was not signed",
    remedy: "split at dots, require exactly three non-empty parts, and verify the signature before anything else",
    run: |probe| {
        let genuine = genuine(probe)?.token;
        let (h, p, s) = (segment(&genuine, 0), segment(&genuine, 1), segment(&genuine, 2));
        let all = [
            ("nothing", String::new()),
            ("one", h.to_owned()),
            ("two", format!("{h}.{p}")),
            ("four", format!("{genuine}.{s}")),
            ("five", format!("{genuine}.{p}.{s}")),
            ("six", format!("{genuine}.{genuine}")),
            ("empty-header", format!(".{p}.{s}")),
            ("empty-payload", format!("{h}..{s}")),
            ("empty-signature", format!("{h}.{p}.")),
            ("one-dot", ".".to_owned()),
            ("two-dots", "..".to_owned()),
            ("leading-dot", format!(".{genuine}")),
            ("trailing-dot", format!("{genuine}.")),
        ];
        for (variant, token) in &all {
            probe.refuse(variant, token)?;
        }
        probe.refuse_at_refresh(|token| {
            let (h, p) = (segment(token, 0), segment(token, 1));
            Ok(vec![
                ("refresh-two".to_owned(), format!("{h}.{p}")),
                ("refresh-empty-signature".to_owned(), format!("{h}.{p}.")),
                ("refresh-four".to_owned(), format!("{token}.{}", segment(token, 2))),
            ])
        })
    },
};

/// Values that are no text, as JSON texts: a lone surrogate is legal JSON grammar and no Unicode.
const NO_STRINGS: &[(&str, &str)] = &[
    ("number", "1"),
    ("boolean", "true"),
    ("null", "null"),
    ("array", "[]"),
    ("object", "{}"),
    ("empty", "\"\""),
    ("nul", "\"\\u0000\""),
    ("lone-surrogate", "\"\\ud800\""),
];

pub(super) const NOT_A_STRING: Check = Check {
    id: "struct-not-a-string",
    group: "STRUCT",
    requirement: "a token in a body that is not a usable string is answered with a 4xx",
    sources: &["RFC 8259 section 8.2", "ASVS 15.3.5", "ASVS 16.5.3"],
    levels: Levels::SHOULD,
    needs: &[],
    variants: &["number", "boolean", "null", "array", "object", "empty", "nul", "lone-surrogate"],
    isolation: Isolation::Shared,
    cost: cost(30, 1),
    intrusive: false,
    flaws: &["crash-type", "crash-malformed"],
    sends: "JSON bodies whose token is a number, a boolean, null, an array, an object, an empty or a broken string",
    why: "a type that nobody expected is the shortest way to a stack trace, and to a worker that dies",
    remedy: "validate the body's types before the token is looked at, and answer 400",
    run: |probe| {
        let operations: Vec<String> = probe
            .target()
            .operations()
            .into_iter()
            .filter(|o| o.starts_with("verify.") || o == "refresh" || o == "revoke")
            .filter(|o| probe.target().token_place(o) == Some(TokenPlace::Body))
            .filter(|o| probe.target().body_kind(o) == Some(BodyKind::Json))
            .collect();
        if operations.is_empty() {
            return Err(Stop::not_applicable("no operation takes a token in a JSON body"));
        }
        for (variant, text) in NO_STRINGS {
            let mut answers = Vec::new();
            for operation in &operations {
                let answer = send_text(probe, operation, text)?;
                if !(answer.accepted() && says_yes_to_anything(probe, operation)) {
                    answers.push(answer);
                }
            }
            if answers.is_empty() {
                probe.pass(Some(variant), "ended", "the logout says yes to anything, as the profile declares");
            }
            all_refused(probe, variant, "a 4xx", &answers);
        }
        Ok(())
    },
};

/// Whether a logout is declared to answer what is no token as it answers one: what cannot be valid is as good as
/// revoked (RFC 7009 section 2.2).
fn says_yes_to_anything(probe: &Probe<'_>, operation: &str) -> bool {
    let statuses = |case| probe.target().statuses(operation, case);
    operation == "revoke" && statuses(Case::Invalid).iter().any(|status| statuses(Case::Accepted).contains(status))
}

/// Sends an operation whose JSON body holds any text in the token's place.
fn send_text(probe: &mut Probe<'_>, operation: &str, text: &str) -> Result<Answer, Stop> {
    const MARK: &str = "assay-token-goes-here";
    let vars = probe.vars().token(MARK);
    let request = probe.target().request(operation, &vars).map_err(Stop::unsendable)?;
    let (parts, body) = request.into_parts();
    let body = String::from_utf8_lossy(&body).replace(&format!("\"{MARK}\""), text);
    probe.send(operation, http::Request::from_parts(parts, Bytes::from(body)), None)
}

pub(super) const JSON_SERIALIZATION: Check = Check {
    id: "struct-json-serialization",
    group: "STRUCT",
    requirement: "a JWS in JSON serialization is not a JWT and is refused",
    sources: &[
        "RFC 7519 section 1",
        "RFC 7515 section 7.2",
        "draft-ietf-oauth-rfc8725bis section 3.14",
        "GHSA-jc38-x7x8-2xc8",
        "Wycheproof JWS 17",
    ],
    levels: Levels::MUST,
    needs: &[Need::JwtAccess, Need::VerifyWay],
    variants: &["flattened", "general", "unprotected-alg", "bad-and-good", "good-and-bad", "as-object"],
    isolation: Isolation::Shared,
    cost: cost(30, 1),
    intrusive: false,
    flaws: &["accept-json-jws"],
    sends: "a genuine token written as flattened and as general JWS JSON, with an unprotected header, with a second, bad signature",
    why: "libraries that take both forms have verified one part and used another",
    remedy: "accept the compact serialization only; choose the library call that says so",
    run: |probe| {
        let genuine = genuine(probe)?;
        let good = genuine.forge.clone();
        let bad = good.clone().with_signature([7; 32]);
        let unprotected = json!({"alg": genuine.alg()});
        // The order of the segments' bytes must be that of the token, so the parts are taken from its text.
        let exact = |text: String| {
            let (h, p) = (segment(&genuine.token, 0), segment(&genuine.token, 1));
            let again = good.signing_input();
            let (h2, p2) = again.split_once('.').unwrap_or_default();
            text.replace(h2, h).replace(p2, p)
        };
        let flattened = exact(good.flattened_json(None));
        let ways = probe.ways();
        probe.refuse("flattened", &flattened)?;
        probe.refuse("general", &exact(good.general_json(&[])))?;
        probe.refuse("unprotected-alg", &good.clone().without_header("alg").flattened_json(Some(&unprotected)))?;
        probe.refuse("bad-and-good", &exact(bad.general_json(std::slice::from_ref(&good))))?;
        probe.refuse("good-and-bad", &exact(good.general_json(&[bad])))?;
        let object: Value = serde_json::from_str(&flattened).unwrap_or_default();
        probe.expect(Some("as-object"), &object, &ways, Expect::Refused, Control::Genuine)
    },
};

pub(super) const POLYGLOT: Check = Check {
    id: "struct-polyglot",
    group: "STRUCT",
    requirement: "what is verified is what is read: no text is a JWS for one part of the server and a compact token for another",
    sources: &[
        "CVE-2022-39227",
        "draft-ietf-oauth-rfc8725bis section 2.13",
        "Tervoort, Three New Attacks Against JSON Web Tokens, Black Hat USA 2023",
        "draft-ietf-oauth-rfc8725bis section 3.14",
    ],
    levels: Levels::MUST,
    needs: &[Need::JwtAccess, Need::VerifyWay],
    variants: &["member-name", "member-value", "two-blanks", "two-blanks-genuine-header"],
    isolation: Isolation::Shared,
    cost: cost(20, 1),
    intrusive: false,
    flaws: &["verify-json-read-compact", "verify-json-read-padded"],
    sends: "JSON whose members `protected`, `payload` and `signature` are genuine, with a forged compact token as a further member: as its name, as its value, and behind two blanks, which a lenient base64 decoder skips four characters at a time",
    why: "a library that verifies the JSON and then splits the text at dots believes forged claims under a genuine signature",
    remedy: "take the claims from what the verification returned, never from the text again",
    run: |probe| {
        let genuine = genuine(probe)?;
        let forged = genuine.forge.clone().claim("assay", "forged").signing_input();
        let (header, payload) = forged.split_once('.').unwrap_or_default();
        let (p, d, s) = (segment(&genuine.token, 1), segment(&genuine.token, 0), segment(&genuine.token, 2));
        let members = format!("\"protected\":\"{d}\",\"payload\":\"{p}\",\"signature\":\"{s}\"");
        probe.refuse("member-name", &format!("{{\"{header}.{payload}.\":\"x\",{members}}}"))?;
        probe.refuse("member-value", &format!("{{\"x\":\"{header}.{payload}.\",{members}}}"))?;
        // Four characters that are no base64 before the header: the padding that is computed from the length stays right.
        probe.refuse("two-blanks", &format!("{{\"  {header}.{payload}.\":\"\",{members}}}"))?;
        probe.refuse("two-blanks-genuine-header", &format!("{{\"  {d}.{payload}.\":\"\",{members}}}"))
    },
};
