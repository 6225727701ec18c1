//! Can the published keys be relied on?

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::Value;

use crate::conformance::answer::Answer;
use crate::conformance::crowd::Worker;
use crate::conformance::descriptor::{Check, Isolation, Levels, Need, cost};
use crate::conformance::forger::decode;
use crate::conformance::probe::{Probe, Stop};
use crate::jose::{VerifyingKey, algorithm, base64url};
use crate::record::Level;
use crate::target::Vars;

use super::capsule;

/// The longest that a key set may be kept, in seconds: a day.
const LONGEST_S: u64 = 86_400;

/// The family.
pub const CHECKS: &[Check] = &[
    Check {
        id: "keys-jwks-shape",
        group: "KEYS",
        requirement: "the key set has no private and no weak keys, and no kid for two keys of one kind",
        sources: &["RFC 7517 section 4", "RFC 7517 section 4.5", "RFC 7518 section 3.3", "RFC 7517 section 9.2"],
        levels: Levels::MUST,
        needs: &[],
        variants: &["private", "kid", "strength"],
        isolation: Isolation::Shared,
        cost: cost(1, 1),
        intrusive: false,
        flaws: &["private-in-jwks", "twin-kid", "short-key"],
        sends: "the request of the key set, and reads every key",
        why: "a private member in the set gives the signing key to everybody; a short key can be factored",
        remedy: "export public members only (kty, kid, use, alg, n, e, crv, x, y), with RSA keys of 2,048 bits or more",
        run: shape,
    },
    Check {
        id: "keys-token-resolves",
        group: "KEYS",
        requirement: "the key that a token names is in the set, and verifies it",
        sources: &["RFC 7517 section 4.5", "RFC 7515 section 4.1.4", "OpenID Connect Core section 10.1"],
        levels: Levels::issuing(Level::Must),
        needs: &[Need::Issue, Need::JwtAccess],
        variants: &[],
        isolation: Isolation::Shared,
        cost: cost(2, 1),
        intrusive: false,
        flaws: &["kid-mismatch"],
        sends: "a login and the request of the key set, and verifies the token with the key of its kid",
        why: "callers that fetch keys by kid refuse every token, or guess",
        remedy: "derive kid once per key, and use it in both places",
        run: resolves,
    },
    Check {
        id: "keys-cache-policy",
        group: "KEYS",
        requirement: "the key set says how long it may be kept, and that is a day at most",
        sources: &["RFC 9111 section 5.2.2", "OpenID Connect Core section 10.2.1"],
        levels: Levels::SHOULD,
        needs: &[],
        variants: &[],
        isolation: Isolation::Shared,
        cost: cost(1, 1),
        intrusive: false,
        flaws: &["immutable-jwks"],
        sends: "the request of the key set, and reads Cache-Control",
        why: "a set that is kept for a year makes a rotation, and the retirement of a stolen key, impossible",
        remedy: "send `Cache-Control: max-age=300` or so, less than the overlap of a rotation",
        run: cache_policy,
    },
    Check {
        id: "keys-instances",
        group: "KEYS",
        requirement: "every instance behind the address publishes the same keys",
        sources: &["RFC 7517 section 5", "OpenID Connect Core section 10.1.1"],
        levels: Levels::SHOULD,
        needs: &[],
        variants: &[],
        isolation: Isolation::Shared,
        cost: cost(12, 1),
        intrusive: false,
        flaws: &["per-node-key"],
        sends: "the request of the key set over twelve connections, and compares the keys of the answers",
        why: "a caller that fetched the keys from one instance refuses every token of another that signs with a key of its own",
        remedy: "keep the keys in one place that all instances read, and publish a new one everywhere before it signs",
        run: instances,
    },
    Check {
        id: "keys-rotation-overlap",
        group: "KEYS",
        requirement: "after a rotation old tokens are good to their end, and new ones at once, with their key published",
        sources: &["OpenID Connect Core section 10.1.1"],
        levels: Levels::issuing(Level::Must),
        needs: &[Need::RotateKeys, Need::Issue, Need::VerifyWay],
        variants: &["old-token", "new-token", "published"],
        isolation: Isolation::Exclusive,
        cost: cost(6, 1),
        intrusive: false,
        flaws: &["drop-old-key"],
        sends: "a login, the admin hook that rotates keys, another login, and both tokens",
        why: "a rotation that forgets the old key logs everybody out, at night",
        remedy: "keep the old key for verifying until the last token that it signed has ended",
        run: overlap,
    },
    Check {
        id: "keys-rotation-load",
        group: "KEYS",
        requirement: "while keys are rotated under load no good token is refused",
        sources: &["giantswarm/mcp-oauth#452"],
        levels: Levels::issuing(Level::Must),
        needs: &[Need::RotateKeys, Need::Refresh, Need::VerifyWay],
        variants: &[],
        isolation: Isolation::Exclusive,
        cost: cost(500, 2),
        intrusive: false,
        flaws: &["cold-cache-window"],
        sends: "four sessions that refresh and use their tokens for a second and a half, and the admin hook that rotates keys meanwhile",
        why: "a new key that signs before every instance verifies with it refuses good tokens for as long",
        remedy: "publish a key, wait until every cache has it, then sign with it",
        run: under_load,
    },
    Check {
        id: "keys-retired",
        group: "KEYS",
        requirement: "tokens of a retired key are refused",
        sources: &["nearform/fast-jwt#5", "OpenID Connect Core section 10.1.1", "ASVS 9.1.3"],
        levels: Levels::issuing(Level::Must),
        needs: &[Need::RotateKeys, Need::Issue, Need::VerifyWay],
        variants: &["capsule"],
        isolation: Isolation::Exclusive,
        cost: cost(8, 2),
        intrusive: false,
        flaws: &["cache-forever"],
        sends: "a login, the admin hooks that rotate and retire keys, and the old token for a few seconds; and with `--capsule FILE` the same token in a later run, where no hook puts the keys back",
        why: "a stolen key is retired to end what it signed; a verifier that keeps it for ever does not",
        remedy: "drop keys that are no longer in the set, and bound every cache of keys",
        run: retired,
    },
];

/// The key set and its answer.
fn key_set(p: &mut Probe<'_>) -> Result<(Answer, Vec<Value>), Stop> {
    if !p.target().has("keys") {
        return Err(Stop::not_applicable("the profile names no key set (`operations.keys`)"));
    }
    let answer = p.call("keys", &Vars::new())?;
    let keys = answer.reply.as_ref().and_then(|r| r.json()).and_then(|j| j.get("keys")?.as_array().cloned());
    let keys = keys.ok_or_else(|| Stop::Inconclusive(format!("the key set: {}, without `keys`", answer.describe())))?;
    Ok((answer, keys))
}

fn shape(p: &mut Probe<'_>) -> Result<(), Stop> {
    let (answer, keys) = key_set(p)?;
    let text = |key: &Value, name: &str| key.get(name).and_then(Value::as_str).map(str::to_owned);
    let private = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];
    let bare = keys
        .iter()
        .any(|key| text(key, "kty").as_deref() == Some("oct") || private.iter().any(|m| key.get(m).is_some()));
    if bare {
        // What is private about it reaches no report: the redactor knows the members of a key.
        p.fail(Some("private"), "private", "the set publishes a private or symmetric key");
    } else {
        p.pass(Some("private"), "public", "public members only");
    }
    if named_twice(&keys) {
        p.fail_told(Some("kid"), "twice", "each kid once", "two keys of one kind have one kid", &answer);
        p.at_most(Level::Should);
    } else {
        p.pass(Some("kid"), "distinct", "no two keys of one kind have one kid");
    }
    let weak = keys.iter().filter(|key| text(key, "kty").as_deref() == Some("RSA")).find_map(|key| {
        let modulus = base64url::decode_lenient(&text(key, "n")?);
        let exponent = base64url::decode_lenient(&text(key, "e")?);
        let bits = modulus
            .iter()
            .position(|b| *b != 0)
            .map_or(0, |lead| (modulus.len() - lead) * 8 - modulus[lead].leading_zeros() as usize);
        let odd = exponent.last().is_some_and(|b| b % 2 == 1) && exponent != [1];
        (bits < 2048 || !odd).then(|| format!("an RSA key of {bits} bits, exponent {exponent:?}"))
    });
    match weak {
        Some(what) => p.fail(Some("strength"), "weak", what),
        None => p.pass(Some("strength"), "strong", "no RSA key is below 2,048 bits"),
    }
    Ok(())
}

/// Whether a `kid` does not tell two keys apart. Keys of two kinds (`kty`) may share one (RFC 7517 section 4.5).
fn named_twice(keys: &[Value]) -> bool {
    let names: Vec<_> =
        keys.iter().filter_map(|key| Some((key.get("kid")?.as_str()?, key.get("kty")?.as_str()?))).collect();
    names.iter().collect::<BTreeSet<_>>().len() < names.len()
}

fn resolves(p: &mut Probe<'_>) -> Result<(), Stop> {
    let token = p.access()?;
    let (header, _) = decode(&token).ok_or_else(|| Stop::needs(Need::JwtAccess))?;
    let name = header.get("alg").and_then(Value::as_str).unwrap_or_default();
    let algorithm = algorithm(name)
        .filter(|a| a.is_asymmetric())
        .ok_or_else(|| Stop::not_applicable(format!("tokens are signed with {name}, whose key is not published")))?;
    let (_, keys) = key_set(p)?;
    let kid = header.get("kid");
    let named: Vec<&Value> = keys.iter().filter(|key| kid.is_none() || key.get("kid") == kid).collect();
    let (input, signature) = token.rsplit_once('.').unwrap_or_default();
    let signature = base64url::decode_lenient(signature);
    let verifies = |key: &&Value| {
        VerifyingKey::from_jwk(key).is_ok_and(|key| key.accepts(algorithm, input.as_bytes(), &signature))
    };
    if named.is_empty() {
        p.fail(None, "unknown-kid", "the token names a key that is not in the set");
    } else if named.iter().any(verifies) {
        p.pass(None, "verifies", "the key that the token names verifies it");
    } else {
        p.fail(None, "wrong-key", "the key that the token names does not verify it");
    }
    Ok(())
}

fn cache_policy(p: &mut Probe<'_>) -> Result<(), Stop> {
    let (answer, _) = key_set(p)?;
    let control = answer.reply.as_ref().map(|r| r.header_all("cache-control").join(",")).unwrap_or_default();
    let age = control
        .split(',')
        .filter_map(|directive| directive.trim().split_once('='))
        .filter(|(name, _)| name.eq_ignore_ascii_case("max-age") || name.eq_ignore_ascii_case("s-maxage"))
        .filter_map(|(_, value)| value.trim_matches('"').parse::<u64>().ok())
        .max();
    match age {
        Some(age) if age > LONGEST_S => {
            p.fail_told(None, "long", "a day at most", format!("the set may be kept for {age} s"), &answer);
        }
        Some(age) => p.pass(None, "bounded", format!("the set may be kept for {age} s")),
        None if control.contains("no-") => p.pass(None, "not-kept", format!("`{control}`")),
        None => p.fail_told(None, "unsaid", "a max-age", "the set does not say how long it may be kept", &answer),
    }
    Ok(())
}

/// Connections over which the key set is asked for: where two instances take turns, or chance decides, both are met.
const CONNECTIONS: usize = 12;

fn instances(p: &mut Probe<'_>) -> Result<(), Stop> {
    let mut sets: Vec<Vec<String>> = Vec::new();
    for _ in 0..CONNECTIONS {
        p.hang_up();
        let (_, keys) = key_set(p)?;
        let mut set: Vec<String> = keys.iter().map(Value::to_string).collect();
        set.sort();
        sets.push(set);
    }
    if sets.iter().all(Vec::is_empty) {
        return Err(Stop::not_applicable("the key set is empty: nothing is published"));
    }
    let different: BTreeSet<&Vec<String>> = sets.iter().collect();
    match (different.len(), came_back(&sets)) {
        (1, _) => p.pass(None, "one", format!("over {CONNECTIONS} connections the same keys")),
        (_, false) => p.inconclusive(None, "changed", "the keys changed while they were asked for: were they rotated?"),
        (sets, true) => {
            p.fail(None, "several", format!("over {CONNECTIONS} connections {sets} sets of keys, in turns"));
        }
    }
    Ok(())
}

/// Whether a set came again after another one had come: a rotation leaves the old one behind for good.
fn came_back<T: PartialEq>(sets: &[T]) -> bool {
    sets.iter().enumerate().any(|(at, set)| {
        let since = sets[..at].iter().rposition(|before| before == set);
        since.is_some_and(|before| before + 1 < at)
    })
}

fn access(p: &mut Probe<'_>) -> Result<String, Stop> {
    p.login()?.access.ok_or_else(|| Stop::blocked_by("issue-basic"))
}

fn overlap(p: &mut Probe<'_>) -> Result<(), Stop> {
    let way = p.ways().into_iter().find(|w| w.usable()).ok_or_else(|| Stop::needs(Need::VerifyWay))?;
    let old = access(p)?;
    let vars = p.vars();
    let (before, after, kid, keys) = p.changed("rotate_keys", &vars, |p| {
        let before = p.present(&way, &old)?;
        let new = access(p)?;
        let after = p.present(&way, &new)?;
        let kid = decode(&new).and_then(|(h, _)| h.get("kid").cloned());
        let asymmetric =
            decode(&new).and_then(|(h, _)| algorithm(h.get("alg")?.as_str()?)).is_some_and(|a| a.is_asymmetric());
        let keys = if asymmetric && kid.is_some() { key_set(p).ok() } else { None };
        Ok((before, after, kid, keys))
    })?;
    for (variant, answer) in [("old-token", &before), ("new-token", &after)] {
        if answer.accepted() {
            p.pass(Some(variant), "accepted", "good across the rotation");
        } else {
            p.fail_seen(Some(variant), &answer.finding(), "a good token accepted across the rotation", answer);
            p.transient();
            if variant == "old-token" {
                // To keep the old key is advice (OpenID Connect Core section 10.1.1).
                p.at_most(Level::Should);
            }
        }
    }
    match keys {
        Some((_, keys)) if keys.iter().any(|key| key.get("kid") == kid.as_ref()) => {
            p.pass(Some("published"), "published", "the new key is in the set");
        }
        Some(_) => p.fail(Some("published"), "unpublished", "the new key signs, and is not in the set"),
        None => {
            let why = "keys are not published by kid".to_owned();
            p.skip("published", crate::record::SkipReason::NotApplicable(why));
        }
    }
    Ok(())
}

fn under_load(p: &mut Probe<'_>) -> Result<(), Stop> {
    let way = p.ways().into_iter().find(|w| w.usable()).ok_or_else(|| Stop::needs(Need::VerifyWay))?;
    if p.target().is_command("refresh") {
        return Err(Stop::not_applicable("refreshing is a command of the profile"));
    }
    p.session.holds_several()?;
    let mut sessions = Vec::new();
    for _ in 0..4 {
        sessions.push(p.fresh_refresh()?);
    }
    let target = p.target();
    let vars = p.vars();
    let work = |number: usize, worker: &mut Worker<'_>| {
        let (mut used, mut refused, mut lost) = (0usize, 0usize, 0usize);
        if number == 4 {
            std::thread::sleep(Duration::from_millis(400));
            crate::conformance::admin::run(target, "rotate_keys", &vars)
                .map_err(|why| Stop::Inconclusive(format!("the admin hook `rotate_keys` failed: {why}")))?;
            return Ok((used, refused, lost));
        }
        let mut token = sessions[number].clone();
        while !worker.over() {
            let answer = worker.ask_with("refresh", &token)?;
            let Some(issued) = worker.tokens(&answer) else {
                // A refresh token that the server has just signed must be good too.
                (refused, lost) = (refused + usize::from(answer.refused()), lost + usize::from(!answer.refused()));
                break;
            };
            if let Some(access) = &issued.access {
                used += 1;
                let answer = worker.ask_with(&way.operation, access)?;
                refused += usize::from(answer.refused());
                lost += usize::from(!answer.refused() && !answer.accepted());
            }
            token = issued.refresh.unwrap_or(token);
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok((used, refused, lost))
    };
    let seen = p.undoing("rotate_keys", &vars, |p| p.crowd(5, Duration::from_millis(1_500), work))?;
    let (used, refused, lost) = seen.iter().fold((0, 0, 0), |(a, b, c), (x, y, z)| (a + x, b + y, c + z));
    if refused > 0 {
        p.fail(None, "refused", format!("{refused} of {used} good tokens were refused around the rotation"));
    } else if lost > 0 {
        // A server error, a silence, a connection that ended: no refusal, and no acceptance either.
        let text = format!(
            "none of {used} good tokens was refused, but {lost} requests around the rotation had no orderly answer"
        );
        p.inconclusive(None, "unanswered", text);
    } else {
        let bound = 300.0 / (used.max(1)) as f64;
        p.pass(
            None,
            "none-refused",
            format!("none of {used} good tokens was refused (below {bound:.1} % with 95 % confidence)"),
        );
    }
    Ok(())
}

fn retired(p: &mut Probe<'_>) -> Result<(), Stop> {
    if !p.target().has_hook("retire_keys") {
        return Err(Stop::not_applicable("the profile has no hook `retire_keys`"));
    }
    capsule::retired(p);
    let way = p.ways().into_iter().find(|w| w.usable()).ok_or_else(|| Stop::needs(Need::VerifyWay))?;
    let old = access(p)?;
    let vars = p.vars();
    let last = p.changed("rotate_keys", &vars, |p| {
        p.admin("retire_keys", &vars)?;
        let mut last = p.present(&way, &old)?;
        for _ in 0..4 {
            if !last.accepted() {
                break;
            }
            p.pause(Duration::from_millis(500), "a retired key to be forgotten")?;
            last = p.present(&way, &old)?;
        }
        Ok(last)
    })?;
    p.judge_refusal(None, "a token of a retired key refused", &last);
    p.transient();
    // Where a hook has put the server back, the key is in service again.
    if last.refused() && !p.target().has_hook("reset") {
        capsule::keep_retired(p, &old, &way);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rotation_is_told_from_instances_that_take_turns() {
        assert!(!came_back(&[1, 1, 1]) && !came_back(&[1, 1, 2, 2]) && !came_back(&[1, 2, 3]));
        assert!(came_back(&[1, 2, 1]) && came_back(&[1, 1, 2, 3, 1]));
    }

    #[test]
    fn one_kid_may_name_keys_of_two_kinds() {
        let key = |kty: &str, kid: &str| serde_json::json!({"kty": kty, "kid": kid});
        assert!(!named_twice(&[key("RSA", "2026"), key("EC", "2026"), key("RSA", "2027")]));
        assert!(!named_twice(&[serde_json::json!({"kty": "RSA"}), serde_json::json!({"kty": "RSA"})]));
        assert!(named_twice(&[key("RSA", "2026"), key("EC", "2026"), key("RSA", "2026")]));
    }
}
