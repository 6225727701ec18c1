//! Does the server issue what it must, to whom it must, and nothing else?

use std::time::Duration;

use serde_json::{Map, Value};

use crate::clock;
use crate::conformance::answer::Answer;
use crate::conformance::descriptor::{Check, Isolation, Levels, Need, cost};
use crate::conformance::forger::decode;
use crate::conformance::probe::{Probe, Stop};
use crate::record::{Level, SkipReason};
use crate::scenario::Budget;
use crate::target::{Dialect, Issued, TokenFormat, User};

use super::refresh::second_vars;

/// The family.
pub const CHECKS: &[Check] = &[
    Check {
        id: "issue-basic",
        group: "ISSUE",
        requirement: "valid credentials bring a non-empty access token in a JSON answer, with a token type where OAuth asks for one",
        sources: &["RFC 6749 section 5.1"],
        levels: Levels::issuing(Level::Must),
        needs: &[Need::Issue],
        variants: &[],
        isolation: Isolation::Shared,
        cost: cost(1, 1),
        intrusive: false,
        flaws: &["plain-token-reply", "omit-token-type"],
        sends: "one login with the right user name and password",
        why: "everything else builds on it, and callers that follow the standard reject an answer that is no JSON or names no token type",
        remedy: "answer 200 with `Content-Type: application/json`, the tokens where the documentation says, and in OAuth `\"token_type\": \"Bearer\"`",
        run: basic,
    },
    Check {
        id: "issue-bad-credentials",
        group: "ISSUE",
        requirement: "a wrong password, an unknown user and an inactive user are refused without a token and without a server error",
        sources: &["RFC 6749 section 5.2", "ASVS 6.2.8", "ASVS 7.4.2"],
        levels: Levels::issuing(Level::Must),
        needs: &[Need::Issue],
        variants: &["wrong-password", "unknown-user", "empty-password", "other-case", "inactive-user"],
        isolation: Isolation::Exclusive,
        cost: cost(5, 2),
        intrusive: false,
        flaws: &["any-password", "inactive-login", "empty-password", "create-user"],
        sends: "a good login; then logins with a wrong password, an unknown user, an empty password, the right password in other letter case, and that of a user whom the admin hook disabled",
        why: "a token for a wrong password is the end of authentication; a server error tells which inputs break it",
        remedy: "compare the password hash for every login, also for unknown users, and answer 401 (OAuth: 400 `invalid_grant`)",
        run: bad_credentials,
    },
    Check {
        id: "issue-claims-shape",
        group: "ISSUE",
        requirement: "exp, iat and nbf are JSON numbers of seconds in order, jti is a text, and RFC 9068 tokens have the claims it demands",
        sources: &["RFC 7519 section 4.1", "RFC 9068 section 2"],
        levels: Levels::issuing(Level::Must),
        needs: &[Need::Issue, Need::JwtAccess],
        variants: &["access", "refresh"],
        isolation: Isolation::Shared,
        cost: cost(1, 1),
        intrusive: false,
        flaws: &["exp-in-ms"],
        sends: "a login, and reads the tokens it brings",
        why: "a time in milliseconds never ends for a verifier that reads seconds; a time as text is absent for some verifiers",
        remedy: "write exp, iat and nbf as whole seconds since 1970 UTC, and jti as a text",
        run: claims_shape,
    },
    Check {
        id: "issue-lifetime",
        group: "ISSUE",
        requirement: "every access token lives as long as declared, `expires_in` agrees, and no access token lives longer than an hour",
        sources: &["WSTG-SESS-10", "RFC 6749 section 5.1", "RFC 6750 section 5.3"],
        levels: Levels::issuing(Level::Should),
        needs: &[Need::Issue, Need::JwtAccess],
        variants: &["exp-iat", "expires-in", "one-hour", "refresh-ends"],
        isolation: Isolation::User,
        cost: cost(1_000, 4),
        intrusive: false,
        flaws: &["random-lifetime"],
        sends: "a login and a chain of up to 1,000 refreshes within four seconds (a minute with the thorough budget; up to 25 logins where there is no refresh), and reads exp - iat of every token",
        why: "the lifetime bounds what a stolen token is worth; a lifetime that varies or contradicts `expires_in` breaks callers that plan their refresh",
        remedy: "derive exp from iat and one configured lifetime, and `expires_in` from the same number",
        run: lifetime,
    },
];

fn basic(p: &mut Probe<'_>) -> Result<(), Stop> {
    if p.target().is_command("issue") {
        let issued = p.login()?;
        return told_basic(p, issued.access.is_some(), "the login command");
    }
    let vars = p.vars();
    let answer = p.call("issue", &vars)?;
    if answer.refused() {
        // Our credentials may be wrong, and that is not the server's fault.
        let text = format!(
            "the login was {}: either the credentials given are wrong, or the server refuses good ones",
            answer.describe()
        );
        p.inconclusive(None, &answer.finding(), text);
        return Ok(());
    }
    if !answer.accepted() {
        p.fail_seen(None, &answer.finding(), "valid credentials accepted", &answer);
        return Ok(());
    }
    let reply = answer.reply.as_ref();
    let kind = reply.and_then(|r| r.header("content-type")).unwrap_or("no content type").to_owned();
    let essence = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let json = essence == "application/json" || essence.ends_with("+json");
    // A profile may take the tokens from cookies or headers: then the body's type says nothing.
    let in_body = p.profile().operations.get("issue").is_some_and(|o| o.returns.values().any(|v| v.starts_with('/')));
    if in_body && !json {
        let summary = format!("the tokens came as `{kind}`");
        p.fail_told(None, "not-json", "`Content-Type: application/json`", summary, &answer);
        return Ok(());
    }
    let wants_type = matches!(p.dialect(), Dialect::Oauth | Dialect::Oidc | Dialect::Rfc9068);
    let token_type = reply.and_then(|r| r.json()).and_then(|j| j.get("token_type").cloned());
    if wants_type && !token_type.as_ref().and_then(Value::as_str).is_some_and(|t| t.eq_ignore_ascii_case("bearer")) {
        let seen = token_type.map_or("none".to_owned(), |t| t.to_string());
        let summary = format!("expected `token_type` Bearer, saw {seen}");
        p.fail_told(None, "token-type", "`token_type` Bearer", summary, &answer);
        return Ok(());
    }
    told_basic(p, true, "valid credentials")
}

fn told_basic(p: &mut Probe<'_>, came: bool, who: &str) -> Result<(), Stop> {
    if came {
        p.pass(None, "issued", format!("{who} brought an access token"));
    } else {
        p.fail(None, "no-access-token", format!("{who} brought no access token"));
    }
    Ok(())
}

fn bad_credentials(p: &mut Probe<'_>) -> Result<(), Stop> {
    if p.target().is_command("issue") {
        return Err(Stop::not_applicable("the login is a command of the profile"));
    }
    let user = first_user(p)?;
    let wrong = |login: &str, password: &str| User { login: login.into(), password: password.into(), id: None };
    let flipped: String = user
        .password
        .chars()
        .map(|c| if c.is_ascii_lowercase() { c.to_ascii_uppercase() } else { c.to_ascii_lowercase() })
        .collect();
    // Where the configured password itself is wrong, every refusal below would look right.
    good_login(p)?;
    let unknown = format!("assay-nobody-{:08x}", rand::random::<u32>());
    let mut cases = vec![
        ("wrong-password", wrong(&user.login, "assay-wrong-password-1")),
        ("unknown-user", wrong(&unknown, &user.password)),
        ("empty-password", wrong(&user.login, "")),
    ];
    if flipped != user.password {
        cases.push(("other-case", wrong(&user.login, &flipped)));
    }
    for (variant, user) in cases {
        let vars = p.vars().user(&user);
        let answer = p.call("issue", &vars)?;
        if answer.refused() && brings_token(p, &answer) {
            p.fail_told(Some(variant), "token-in-refusal", "no token", "the refusal carries a token", &answer);
            continue;
        }
        p.judge_refusal(Some(variant), "the login refused", &answer);
        // RFC 6749 section 5.2 names the error; other dialects choose their own words.
        if answer.refused() && p.dialect() != Dialect::Simple && variant != "empty-password" {
            let error = answer.reply.as_ref().and_then(|r| r.json()).and_then(|j| j.get("error").cloned());
            if error.as_ref().and_then(Value::as_str) != Some("invalid_grant") {
                let seen = error.map_or("no `error`".to_owned(), |e| e.to_string());
                let summary = format!("expected `error` invalid_grant, saw {seen}");
                p.fail_told(Some(variant), "error-code", "`invalid_grant`", summary, &answer);
            } else if answer.status() != 400 {
                let summary = format!("expected status 400 with `invalid_grant`, saw {}", answer.status());
                p.fail_told(Some(variant), "status", "400 with `invalid_grant`", summary, &answer);
                p.at_most(Level::Should);
            }
        }
    }
    inactive(p)
}

/// The right password of a user whom the admin hook disabled: logins of the second user only, so that nobody's tokens
/// end beside it.
fn inactive(p: &mut Probe<'_>) -> Result<(), Stop> {
    if !(p.has(Need::DisableUser) && p.has(Need::SecondUser) && p.target().has_hook("enable_user")) {
        p.skip("inactive-user", SkipReason::Needs("admin-disable-user, enable_user and second-user".into()));
        return Ok(());
    }
    let vars = second_vars(p)?;
    let answer = p.changed("disable_user", &vars, |p| p.call("issue", &vars))?;
    p.judge_refusal(Some("inactive-user"), "the login of an inactive user refused", &answer);
    p.transient();
    Ok(())
}

/// Whether an answer to a login brings a token, whatever it says: one that can be read, or one that nobody can read where
/// the profile says that tokens stand.
pub(super) fn brings_token(p: &Probe<'_>, answer: &Answer) -> bool {
    let issued = || answer.reply.as_ref().and_then(|reply| p.target().tokens(reply, "issue").ok()?.access);
    answer.carries_token() || p.profile().tokens.access.format == Some(TokenFormat::Opaque) && issued().is_some()
}

/// A login with the right credentials, without which refusals of wrong ones prove nothing.
///
/// # Errors
/// Blocked by `issue-basic` where it does not work.
pub(super) fn good_login(p: &mut Probe<'_>) -> Result<(), Stop> {
    p.login().map(|_| ())
}

/// The profile's user with its password.
pub(super) fn first_user(p: &Probe<'_>) -> Result<User, Stop> {
    p.target()
        .user()
        .map_err(|e| Stop::Harness(e.to_string()))?
        .ok_or_else(|| Stop::not_applicable("the profile names no user, so no password can be wrong"))
}

/// The fields of a JSON or form body as a query.
pub(super) fn query_of(body: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(body).ok()?;
    if text.is_empty() {
        return None;
    }
    let Ok(Value::Object(fields)) = serde_json::from_str::<Value>(text) else {
        return text.contains('=').then(|| text.to_owned());
    };
    let pairs: Vec<String> = fields
        .iter()
        .map(|(name, value)| {
            let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            format!("{}={}", percent(name), percent(&value))
        })
        .collect();
    Some(pairs.join("&"))
}

/// Percent-encodes everything but unreserved characters (RFC 3986 section 2.3).
pub(super) fn percent(text: &str) -> String {
    text.bytes()
        .map(|b| match b {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => (b as char).to_string(),
            _ => format!("%{b:02X}"),
        })
        .collect()
}

fn claims_shape(p: &mut Probe<'_>) -> Result<(), Stop> {
    let issued = p.pooled()?;
    for (variant, token) in [("access", &issued.access), ("refresh", &issued.refresh)] {
        let Some(token) = token else { continue };
        let Some((header, claims)) = decode(token) else { continue };
        let rfc9068 = p.dialect() == Dialect::Rfc9068 && variant == "access";
        match shape_fault(&header, &claims, rfc9068, clock::unix()) {
            None => p.pass(Some(variant), "well-shaped", "the registered claims have the right types and order"),
            Some((finding, summary)) => p.fail(Some(variant), finding, summary),
        }
    }
    if issued.access.as_deref().and_then(decode).is_none() {
        return Err(Stop::needs(Need::JwtAccess));
    }
    Ok(())
}

/// The first fault of a token's claims: a normalised finding and a sentence.
fn shape_fault(
    header: &Map<String, Value>,
    claims: &Map<String, Value>,
    rfc9068: bool,
    now: f64,
) -> Option<(&'static str, String)> {
    let mut times = [None; 3];
    for (at, name) in ["exp", "iat", "nbf"].into_iter().enumerate() {
        let Some(value) = claims.get(name) else { continue };
        let Some(number) = value.as_f64().filter(|_| value.is_number()) else {
            return Some(("not-a-number", format!("expected `{name}` to be a JSON number, saw {value}")));
        };
        // A second-based time lies between 2001 and 2286; milliseconds since 1970 have passed that since 1970-04-26.
        if number > 1e11 {
            return Some(("not-seconds", format!("expected `{name}` in seconds, saw {value} (milliseconds?)")));
        }
        times[at] = Some(number);
    }
    let [exp, iat, nbf] = times;
    if let (Some(exp), Some(iat)) = (exp, iat)
        && iat > exp
    {
        return Some(("iat-after-exp", format!("expected iat <= exp, saw iat {iat} and exp {exp}")));
    }
    if let (Some(nbf), Some(exp)) = (nbf, exp)
        && nbf > exp
    {
        return Some(("nbf-after-exp", format!("expected nbf <= exp, saw nbf {nbf} and exp {exp}")));
    }
    if let Some(exp) = exp
        && exp < now - 300.0
    {
        return Some(("born-expired", format!("expected exp after now ({now:.0}), saw {exp}")));
    }
    if claims.get("jti").is_some_and(|jti| !jti.is_string()) {
        return Some(("jti-no-text", format!("expected `jti` to be a text, saw {}", claims["jti"])));
    }
    if rfc9068 {
        if let Some(missing) =
            ["iss", "exp", "aud", "sub", "client_id", "iat", "jti"].iter().find(|n| !claims.contains_key(**n))
        {
            return Some(("claim-missing", format!("expected `{missing}` in an RFC 9068 access token, saw none")));
        }
        let typ = header.get("typ").and_then(Value::as_str).unwrap_or("none").to_ascii_lowercase();
        if typ != "at+jwt" && typ != "application/at+jwt" {
            return Some(("typ", format!("expected header `typ` at+jwt, saw {typ}")));
        }
    }
    None
}

fn lifetime(p: &mut Probe<'_>) -> Result<(), Stop> {
    const TOKENS: usize = 1_000;
    /// Logins cost a password hash each, and are counted by many servers.
    const LOGINS: usize = 25;
    let first = p.login()?;
    let mut all: Vec<Issued> = vec![first];
    let chain = p.has(Need::Refresh) && !p.target().is_command("refresh");
    let (wanted, least) = if chain { (TOKENS, 25) } else { (LOGINS, 3) };
    let within = Duration::from_secs(if p.session.budget == Budget::Thorough { 60 } else { 4 });
    p.allow(within);
    let until = clock::mono() + within.into();
    while all.len() < wanted && (all.len() < least || clock::mono() < until) {
        let last = all.last().and_then(|i| i.refresh.clone()).or_else(|| all[0].refresh.clone());
        let next = match last.filter(|_| chain) {
            Some(token) => match p.refreshed(&token) {
                Ok(issued) => issued,
                Err(Stop::Skip(_)) => break,
                Err(other) => return Err(other),
            },
            None => p.login()?,
        };
        all.push(next);
    }
    let lives: Vec<f64> = all
        .iter()
        .filter_map(|i| decode(i.access.as_deref()?))
        .filter_map(|(_, c)| Some(c.get("exp")?.as_f64()? - c.get("iat")?.as_f64()?))
        .collect();
    let n = lives.len();
    let declared = p.profile().tokens.access.lifetime_s;
    if lives.is_empty() {
        p.skip("exp-iat", SkipReason::NotApplicable("access tokens have no exp and iat".into()));
    } else {
        let (low, high) = lives.iter().fold((f64::MAX, f64::MIN), |(l, h), v| (l.min(*v), h.max(*v)));
        match declared {
            _ if high - low > 1.0 => {
                p.fail(
                    Some("exp-iat"),
                    "varies",
                    format!("expected one lifetime, saw {low} to {high} s in {n} tokens"),
                );
            }
            Some(d) if (low - d).abs() > 1.0 || (high - d).abs() > 1.0 => {
                p.fail(
                    Some("exp-iat"),
                    "not-as-declared",
                    format!("declared {d} s, saw {low} to {high} s in {n} tokens"),
                );
            }
            Some(d) => p.pass(Some("exp-iat"), "as-declared", format!("{d} s as declared, in {n} tokens{}", bound(n))),
            None => {
                let text = format!("{high} s in {n} tokens{} (none is declared)", bound(n));
                p.pass(Some("exp-iat"), "constant", text);
            }
        }
        if high > 3_600.0 {
            p.fail(Some("one-hour"), "over-an-hour", format!("access tokens live {high} s, over an hour"));
        } else {
            p.pass(Some("one-hour"), "short", format!("access tokens live {high} s"));
        }
    }
    let told: Vec<(f64, f64)> = all
        .iter()
        .filter_map(|i| {
            let (_, c) = decode(i.access.as_deref()?)?;
            Some((i.expires_in?, c.get("exp")?.as_f64()? - c.get("iat")?.as_f64()?))
        })
        .collect();
    match told.iter().find(|(said, life)| (said - life).abs() > 1.0) {
        Some((said, life)) => {
            p.fail(Some("expires-in"), "disagrees", format!("`expires_in` says {said} s, exp - iat is {life} s"));
        }
        None if told.is_empty() => {
            p.skip("expires-in", SkipReason::NotApplicable("the answers have no `expires_in`".into()));
        }
        None => p.pass(Some("expires-in"), "agrees", "`expires_in` agrees with exp - iat"),
    }
    if let Some((_, claims)) = all[0].refresh.as_deref().and_then(decode) {
        match claims.get("exp").and_then(Value::as_f64) {
            Some(exp) => {
                let lives = match claims.get("iat").and_then(Value::as_f64) {
                    Some(iat) => format!("refresh tokens live {} s", exp - iat),
                    None => "refresh tokens have an end".to_owned(),
                };
                p.pass(Some("refresh-ends"), "ends", lives);
            }
            None => p.fail(Some("refresh-ends"), "endless", "refresh tokens have no `exp`"),
        }
    }
    Ok(())
}

/// What none of `n` leaves open, at 95 % confidence.
fn bound(n: usize) -> String {
    if n < 4 {
        String::new()
    } else {
        format!(" (below {:.2} % of tokens differ, with 95 % confidence)", 300.0 / n as f64)
    }
}

/// How long a login may take before a check that needs many of them does with fewer.
pub(super) const SLOW_LOGIN: Duration = Duration::from_millis(250);

/// How long one login takes, in wall time.
pub(super) fn login_cost(p: &mut Probe<'_>) -> Result<(Duration, Issued), Stop> {
    let began = clock::mono();
    let issued = p.login()?;
    Ok((clock::mono().since(began).duration(), issued))
}

/// Whether an answer is anything but an orderly one: server error, hang, dropped connection.
pub(super) fn unclean(answer: &Answer) -> bool {
    answer.unclean()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[track_caller]
    fn check(claims: Value, rfc9068: bool, expected: Option<&str>) {
        let header = json!({"alg": "HS256"});
        let fault = shape_fault(header.as_object().unwrap(), claims.as_object().unwrap(), rfc9068, 1_800_000_000.0);
        assert_eq!(fault.as_ref().map(|(f, _)| *f), expected, "{fault:?}");
    }

    #[test]
    fn times_are_numbers_of_seconds_in_order() {
        check(json!({"exp": 1_800_000_300, "iat": 1_800_000_000, "jti": "a"}), false, None);
        check(json!({"exp": "1800000300"}), false, Some("not-a-number"));
        check(json!({"exp": 1_800_000_300_000_i64}), false, Some("not-seconds"));
        check(json!({"exp": 1_800_000_300, "iat": 1_800_000_400}), false, Some("iat-after-exp"));
        check(json!({"exp": 1_800_000_300, "nbf": 1_800_000_400}), false, Some("nbf-after-exp"));
        check(json!({"exp": 1_000_000_000}), false, Some("born-expired"));
        check(json!({"jti": 7}), false, Some("jti-no-text"));
        check(json!({"exp": 1_800_000_300}), true, Some("claim-missing"));
    }

    #[test]
    fn login_fields_travel_as_a_query() {
        assert_eq!(query_of(br#"{"username":"a b","password":"x&y"}"#).unwrap(), "username=a%20b&password=x%26y");
        assert_eq!(query_of(b"username=a&password=b").unwrap(), "username=a&password=b");
        assert_eq!(query_of(b""), None);
    }
}
