//! Is a token good only for what it was issued for?

use std::collections::BTreeMap;

use serde_json::Value;

use crate::clock;
use crate::conformance::answer::Answer;
use crate::conformance::descriptor::{Check, Isolation, Levels, Need, cost};
use crate::conformance::forger::decode;
use crate::conformance::probe::{Control, Expect, Probe, Stop};
use crate::conformance::session::Way;
use crate::record::{Level, SkipReason};
use crate::target::{Dialect, Issued, Meaning, Target};

use super::refresh::{can_delete, second_vars};

/// The family.
pub const CHECKS: &[Check] = &[
    Check {
        id: "claim-refresh-as-access",
        group: "CLAIM",
        requirement: "a refresh token does not open a resource",
        sources: &["RFC 8725 section 3.12", "ASVS 9.2.2"],
        levels: Levels::issuing(Level::Must),
        needs: &[Need::Issue, Need::VerifyWay],
        variants: &["*"],
        isolation: Isolation::Shared,
        cost: cost(6, 1),
        intrusive: false,
        flaws: &["no-type-check"],
        sends: "a genuine refresh token to every verify way that is for access tokens only, also with each value that was issued beside it (a CSRF value) in the place of the access token's, and once more after the ways that take it",
        why: "a refresh token lives for days; where it opens resources, the short life of access tokens means nothing",
        remedy: "put the token's kind into a claim or the `typ` header, and check it at the resource",
        run: refresh_as_access,
    },
    Check {
        id: "claim-access-as-refresh",
        group: "CLAIM",
        requirement: "an access token cannot be refreshed",
        sources: &["RFC 8725 section 3.12", "ASVS 9.2.2"],
        levels: Levels::issuing(Level::Must),
        needs: &[Need::Refresh],
        variants: &[],
        isolation: Isolation::User,
        cost: cost(3, 1),
        intrusive: false,
        flaws: &["no-type-check-refresh"],
        sends: "a genuine access token to the refresh operation, also with each value that was issued beside it (a CSRF value) in the place of the refresh token's, beside a genuine refresh token",
        why: "whoever holds an access token for a minute could make a session of days out of it",
        remedy: "check the token's kind at the refresh endpoint",
        run: access_as_refresh,
    },
    Check {
        id: "claim-iss",
        group: "CLAIM",
        requirement: "a token of another issuer is refused where an issuer is configured",
        sources: &["RFC 8725 section 3.8", "CVE-2024-53861", "RFC 9068 section 4"],
        levels: Levels::MUST,
        needs: &[Need::VerifyWay, Need::SigningKey],
        variants: &["wrong", "missing", "prefix", "suffix", "slash", "case"],
        isolation: Isolation::Shared,
        cost: cost(26, 1),
        intrusive: false,
        flaws: &["iss-partial"],
        sends: "re-signed tokens whose `iss` is another, absent, a prefix, longer, with a slash more, in other case",
        why: "where keys are shared between issuers, only `iss` keeps their tokens apart; a substring test is none",
        remedy: "compare `iss` with the configured text, whole",
        run: iss,
    },
    Check {
        id: "claim-aud",
        group: "CLAIM",
        requirement: "a token for another audience is refused; one of several audiences is enough",
        sources: &["RFC 8725 section 3.9", "ASVS 9.2.3", "CVE-2024-5798"],
        levels: Levels::MUST,
        needs: &[Need::VerifyWay, Need::SigningKey],
        variants: &["wrong", "missing", "prefix", "case", "one-of-two"],
        isolation: Isolation::Shared,
        cost: cost(22, 1),
        intrusive: false,
        flaws: &["aud-off", "aud-prefix"],
        sends: "re-signed tokens whose `aud` is another, absent, a prefix, in other case, and a list with the right one in it",
        why: "a token for a harmless service must not open a dangerous one",
        remedy: "give the JWT library the audience to expect, and require the claim",
        run: aud,
    },
    Check {
        id: "claim-typ-header",
        group: "CLAIM",
        requirement: "an access token has typ at+jwt, in any case, with or without `application/`",
        sources: &["RFC 9068 section 4", "RFC 7515 section 4.1.9", "RFC 7519 section 5.1"],
        levels: Levels::INFO.rfc9068(Level::Must),
        needs: &[Need::VerifyWay, Need::SigningKey],
        variants: &["JWT", "missing", "application", "upper-case"],
        isolation: Isolation::Shared,
        cost: cost(18, 1),
        intrusive: false,
        flaws: &["typ-ignored"],
        sends: "re-signed tokens whose `typ` is JWT, absent, application/at+jwt and AT+JWT",
        why: "the type keeps ID tokens and logout tokens from being used as access tokens",
        remedy: "check `typ` case-insensitively, after taking `application/` away",
        run: typ_header,
    },
    Check {
        id: "claim-sub-unknown",
        group: "CLAIM",
        requirement: "a token for a user that does not exist, or no longer may log in, is refused where users are looked up",
        sources: &["ASVS 7.4.2", "jazzband/djangorestframework-simplejwt#860"],
        levels: Levels::MUST,
        needs: &[Need::Resource, Need::Issue],
        variants: &["unknown", "inactive", "deleted"],
        isolation: Isolation::Exclusive,
        cost: cost(12, 1),
        intrusive: false,
        flaws: &["crash-deleted", "inactive-ok", "unprocessable-user"],
        sends: "a re-signed token whose subject is a user that nobody has; and the second user's token after the admin hooks disabled or deleted that user",
        why: "a deleted user's token must end with the user, and must not end in a server error",
        remedy: "look the user up when the token is used, and answer 401 where there is none; a resource that looks nobody up on purpose says `looks_up_user: false` in the profile, one that has to says `true`",
        run: sub_unknown,
    },
    Check {
        id: "claim-sub-missing",
        group: "CLAIM",
        requirement: "a token without a subject opens nothing",
        sources: &["RFC 8725 section 3.8", "RFC 9068 section 2.2"],
        levels: Levels::MUST,
        needs: &[Need::Resource, Need::SigningKey],
        variants: &["missing", "verify.*"],
        isolation: Isolation::Shared,
        cost: cost(10, 1),
        intrusive: false,
        flaws: &["anonymous-ok"],
        sends: "a re-signed token from which the subject was taken, to the resource and to every other way that looks users up",
        why: "code that asks for the caller's rights meets nobody, and may take nobody for somebody",
        remedy: "refuse a token without a subject with 401",
        run: sub_missing,
    },
];

fn refresh_as_access(p: &mut Probe<'_>) -> Result<(), Stop> {
    let issued = p.pooled()?;
    let token = issued.refresh.clone().ok_or_else(|| Stop::not_applicable("a login brings no refresh token"))?;
    let ways: Vec<Way> = p.ways().into_iter().filter(|w| !w.takes_refresh).collect();
    if ways.is_empty() {
        return Err(Stop::not_applicable("every verify way takes refresh tokens on purpose"));
    }
    let value = Value::String(token.clone());
    for way in &ways {
        p.expect(Some(&way.name), &value, std::slice::from_ref(way), Expect::Refused, Control::Genuine)?;
        // What takes a request without a token judges none: that it is open is bearer-missing's word.
        if way.refuses_nothing
            && let Some(answer) = taken_in_disguise(p, &way.operation, &token, &issued)?
        {
            p.judge_refusal(Some(&way.name), "a refresh token refused with the CSRF value that is its own", &answer);
        }
    }
    // A verdict that somebody keeps (of the signature, or of a way that takes such tokens) must not answer for the kind.
    p.apart();
    for way in p.ways().into_iter().filter(|w| w.takes_refresh) {
        p.present(&way, &token)?;
    }
    p.apart();
    for way in &ways {
        let again = format!("{}-again", way.name);
        p.expect(Some(&again), &value, std::slice::from_ref(way), Expect::Refused, Control::Genuine)?;
    }
    Ok(())
}

/// So many ways at most to place what was issued beside a token.
const DISGUISES: usize = 32;

/// A token of the wrong kind with every other value of its login where those of the right kind travel: a CSRF value
/// belongs to one token, and who is refused for that value has not been refused for the kind. What was accepted, if
/// anything was.
fn taken_in_disguise(p: &mut Probe<'_>, operation: &str, token: &str, issued: &Issued) -> Result<Option<Answer>, Stop> {
    if p.target().is_command(operation) {
        return Ok(None);
    }
    for values in disguises(p.target(), operation, token, issued) {
        let vars = p.vars_with(token).issued(&values);
        let Ok(request) = p.target().request(operation, &vars) else { continue };
        let answer = p.send(operation, request, Some(token.to_owned()))?;
        if answer.accepted() {
            return Ok(Some(answer));
        }
    }
    Ok(None)
}

/// Every other way to fill in what a request mentions of `${issued.X}`: with what was issued beside the token, and with
/// the `csrf` that is written in it. Tokens stay where they are, since a right one in the wrong place is no disguise.
fn disguises(target: &Target, operation: &str, token: &str, issued: &Issued) -> Vec<BTreeMap<String, Value>> {
    let tokens: Vec<&str> = [&issued.access, &issued.refresh].into_iter().flatten().map(String::as_str).collect();
    let plain = |value: &&Value| value.as_str().is_none_or(|text| !tokens.contains(&text));
    let mut values: Vec<Value> = issued.other.values().filter(plain).cloned().collect();
    values.extend(decode(token).and_then(|(_, claims)| claims.get("csrf").cloned()));
    let mentioned = |name: &String| {
        target.mentions(operation, &format!("issued.{name}")) && issued.other.get(name).as_ref().is_some_and(plain)
    };
    let mut all = vec![BTreeMap::new()];
    for name in target.issued_names().into_iter().filter(mentioned) {
        let with = |given: &BTreeMap<String, Value>, value: &Value| {
            let mut given = given.clone();
            given.insert(name.clone(), value.clone());
            given
        };
        let with = &with;
        all = all.iter().flat_map(|given| values.iter().map(move |value| with(given, value))).take(DISGUISES).collect();
    }
    all.retain(|given| given.iter().any(|(name, value)| issued.other.get(name) != Some(value)));
    all
}

fn access_as_refresh(p: &mut Probe<'_>) -> Result<(), Stop> {
    let issued = p.login()?;
    let (Some(access), Some(refresh)) = (issued.access.clone(), issued.refresh.clone()) else {
        return Err(Stop::needs(Need::Refresh));
    };
    p.offer("", &access)?;
    let mut answer = p.refresh(&access)?;
    if answer.refused()
        && let Some(taken) = taken_in_disguise(p, "refresh", &access, &issued)?
    {
        answer = taken;
    }
    if !answer.refused() {
        p.judge_refusal(None, "an access token refused at refresh", &answer);
        return Ok(());
    }
    if p.refresh(&refresh)?.accepted() {
        p.judge_refusal(None, "an access token refused at refresh", &answer);
        return Ok(());
    }
    // A server may count the attempt as theft and end the session: then the control is another login.
    let control = p.fresh_refresh()?;
    if p.refresh(&control)?.accepted() {
        p.judge_refusal(None, "an access token refused at refresh", &answer);
        Ok(())
    } else {
        Err(Stop::blocked_by("refresh-basic"))
    }
}

fn iss(p: &mut Probe<'_>) -> Result<(), Stop> {
    let issuer = p
        .profile()
        .declares
        .issuer
        .clone()
        .ok_or_else(|| Stop::not_applicable("the profile declares no issuer (`declares.issuer`)"))?;
    let forger = p.forger()?;
    p.refuse_signed("missing", &forger.sign(forger.forge().without_claim("iss"))?)?;
    let swapped: String = issuer
        .chars()
        .map(|c| if c.is_ascii_lowercase() { c.to_ascii_uppercase() } else { c.to_ascii_lowercase() })
        .collect();
    let shorter: String = issuer.chars().take(issuer.chars().count().saturating_sub(1)).collect();
    for (variant, text) in [
        ("wrong", "https://issuer.invalid".to_owned()),
        ("prefix", shorter),
        ("suffix", format!("{issuer}.invalid")),
        ("slash", format!("{issuer}/")),
        ("case", swapped),
    ] {
        p.refuse_signed(variant, &forger.with_claim("iss", text)?)?;
    }
    Ok(())
}

fn aud(p: &mut Probe<'_>) -> Result<(), Stop> {
    let audience = p
        .profile()
        .declares
        .audience
        .as_ref()
        .and_then(|a| a.all().first().cloned())
        .ok_or_else(|| Stop::not_applicable("the profile declares no audience (`declares.audience`)"))?;
    let forger = p.forger()?;
    p.refuse_signed("missing", &forger.sign(forger.forge().without_claim("aud"))?)?;
    let shorter: String = audience.chars().take(audience.chars().count().saturating_sub(1)).collect();
    let swapped: String = audience
        .chars()
        .map(|c| if c.is_ascii_lowercase() { c.to_ascii_uppercase() } else { c.to_ascii_lowercase() })
        .collect();
    for (variant, text) in [("wrong", "assay-other-audience".to_owned()), ("prefix", shorter), ("case", swapped)] {
        p.refuse_signed(variant, &forger.with_claim("aud", text)?)?;
    }
    let both = serde_json::json!(["assay-other-audience", audience]);
    p.accept_signed("one-of-two", &forger.with_claim("aud", both)?)
}

fn typ_header(p: &mut Probe<'_>) -> Result<(), Stop> {
    let genuine = p.access()?;
    let typ = decode(&genuine).and_then(|(h, _)| h.get("typ")?.as_str().map(str::to_owned));
    let typ = typ.unwrap_or_default().to_ascii_lowercase();
    if typ != "at+jwt" && typ != "application/at+jwt" {
        return Err(Stop::not_applicable("its access tokens have no `typ` at+jwt"));
    }
    let forger = p.forger()?;
    p.refuse_signed("JWT", &forger.sign(forger.forge().header("typ", "JWT"))?)?;
    p.refuse_signed("missing", &forger.sign(forger.forge().without_header("typ"))?)?;
    p.accept_signed("application", &forger.sign(forger.forge().header("typ", "application/at+jwt"))?)?;
    p.accept_signed("upper-case", &forger.sign(forger.forge().header("typ", "AT+JWT"))?)
}

/// The resource alone: a verify endpoint may judge a token without looking its user up.
fn at_resource(p: &mut Probe<'_>, variant: &str, token: &str) -> Result<(), Stop> {
    let way = p.resource()?;
    p.expect(Some(variant), &Value::String(token.to_owned()), &[way], Expect::Refused, Control::Resigned)
}

fn sub_unknown(p: &mut Probe<'_>) -> Result<(), Stop> {
    let way = p.guarded()?;
    let looks_up = p.target().looks_up_user(&way.operation);
    if looks_up == Some(false) {
        let why = "the profile says that the resource does not look the user up (`looks_up_user: false`)";
        return Err(Stop::not_applicable(why));
    }
    if p.has(Need::SigningKey) {
        unknown_subject(p, &way)?;
        // A resource that reads no more than the token is right in its way: only its owner knows whether it should not.
        if looks_up.is_none() {
            p.at_most(Level::Should);
        }
    } else {
        p.skip("unknown", SkipReason::Needs(Need::SigningKey.name().into()));
    }
    let (disables, deletes) = (p.has(Need::DisableUser) && p.target().has_hook("enable_user"), can_delete(p));
    for (variant, hook, possible) in [("inactive", "disable_user", disables), ("deleted", "delete_user", deletes)] {
        if !possible || !p.has(Need::SecondUser) {
            p.skip(variant, SkipReason::Needs(format!("admin-{}, and back, and second-user", hook.replace('_', "-"))));
            continue;
        }
        let vars = second_vars(p)?;
        let token = p.login_with(&vars)?.access.ok_or_else(|| Stop::blocked_by("issue-basic"))?;
        if !p.present(&way, &token)?.accepted() {
            p.inconclusive(Some(variant), "controls-refused", "the second user's token is refused from the start");
            continue;
        }
        let answer = p.changed(hook, &vars, |p| p.present(&way, &token))?;
        p.judge_refusal(Some(variant), "the token of a user who is gone refused", &answer);
        p.transient();
        // Where the profile promises an end only within some time, nothing is broken yet.
        if answer.accepted() && p.profile().declares.revocation_bound_s.is_some_and(|bound| bound > 0.0) {
            p.at_most(Level::Should);
        }
        other_refusal(p, variant, &answer);
    }
    Ok(())
}

/// A refusal that says something else than "who are you": 403 and 404 tell that the token was believed, and other answers
/// of the 4xx kind that something else was thought wrong with the request.
fn other_refusal(p: &mut Probe<'_>, variant: &str, answer: &Answer) {
    if answer.refused() && answer.status() != 401 && p.meaning(answer) != Some(Meaning::Denied) {
        let (finding, what) = match answer.status() {
            403 | 404 => ("believed", ": the token itself was believed"),
            _ => ("other-refusal", ""),
        };
        let text = format!("expected 401, saw {}{what}", answer.status());
        p.fail_told(Some(variant), finding, "401", text, answer);
        p.transient();
        p.at_most(Level::Should);
    }
}

fn unknown_subject(p: &mut Probe<'_>, way: &Way) -> Result<(), Stop> {
    let claim = p.profile().subject_claim().to_owned();
    let forger = p.forger()?;
    let genuine =
        forger.claim(&claim).ok_or_else(|| Stop::not_applicable(format!("its access tokens have no `{claim}`")))?;
    // Of the same kind as the genuine one: a number stays a number, a text that is a number stays one.
    let far = 2_000_000_000 + clock::unix() as i64 % 1_000_000;
    let unknown = match &genuine {
        Value::Number(_) => Value::from(far),
        Value::String(text) if !text.is_empty() && text.chars().all(|c| c.is_ascii_digit()) => {
            Value::from(far.to_string())
        }
        Value::String(text) if is_uuid(text) => Value::from("00000000-0000-4000-8000-0000a55a4000"),
        _ => Value::from("assay-nobody"),
    };
    let token = forger.with_claim(&claim, unknown)?;
    at_resource(p, "unknown", &token)?;
    if p.clean() && p.resigned_accepted(way)? {
        let answer = p.present(way, &token)?;
        other_refusal(p, "unknown", &answer);
    }
    Ok(())
}

fn is_uuid(text: &str) -> bool {
    text.len() == 36 && text.split('-').map(str::len).eq([8, 4, 4, 4, 12])
}

fn sub_missing(p: &mut Probe<'_>) -> Result<(), Stop> {
    let claim = p.profile().subject_claim().to_owned();
    let forger = p.forger()?;
    if forger.claim(&claim).is_none() {
        return Err(Stop::not_applicable(format!("its access tokens have no `{claim}`")));
    }
    let token = forger.sign(forger.forge().without_claim(&claim))?;
    let resource = p.resource()?;
    match p.target().looks_up_user(&resource.operation) {
        // `sub` is optional (RFC 7519 section 4.1.2): who reads no more than the token misses nothing.
        Some(false) => {
            let why = "the profile says that the resource does not look the user up (`looks_up_user: false`)";
            p.skip("missing", SkipReason::NotApplicable(why.to_owned()));
        }
        looks_up => {
            at_resource(p, "missing", &token)?;
            if looks_up.is_none() && p.dialect() != Dialect::Rfc9068 {
                p.at_most(Level::Should);
            }
            if p.clean() && p.resigned_accepted(&resource)? {
                let answer = p.present(&resource, &token)?;
                other_refusal(p, "missing", &answer);
            }
        }
    }
    for way in p.ways().into_iter().filter(|way| way.name != resource.name) {
        let looks_up = p.target().looks_up_user(&way.operation);
        if looks_up == Some(false) {
            continue;
        }
        let operation = way.operation.clone();
        p.expect(Some(&operation), &Value::String(token.clone()), &[way], Expect::Refused, Control::Resigned)?;
        // A way that reads no more than the token is right in its way.
        if looks_up.is_none() {
            p.at_most(Level::Should);
        }
    }
    Ok(())
}
