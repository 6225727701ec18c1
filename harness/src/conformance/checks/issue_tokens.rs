//! Are the tokens of many logins good: of the right instant, each its own, and its own user's?

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use serde_json::Value;

use crate::clock;
use crate::conformance::crowd::Worker;
use crate::conformance::descriptor::{Check, Isolation, Levels, Need, cost};
use crate::conformance::forger::decode;
use crate::conformance::probe::{Probe, Stop};
use crate::conformance::window::parse_http_date;
use crate::jose::base64url;
use crate::record::{Level, SkipReason};
use crate::scenario::Budget;
use crate::target::{Dialect, Issued, Vars};

use super::issue::{SLOW_LOGIN, first_user, login_cost};
use super::refresh::second_vars;

/// The family's fourth part.
pub const CHECKS: &[Check] = &[
    Check {
        id: "issue-clock-utc",
        group: "ISSUE",
        requirement: "iat is the present instant in UTC, to two seconds",
        sources: &["RFC 7519 section 2", "RFC 7519 section 4.1.6"],
        levels: Levels::issuing(Level::Must),
        needs: &[Need::Issue, Need::JwtAccess],
        variants: &[],
        isolation: Isolation::User,
        cost: cost(1, 1),
        intrusive: false,
        flaws: &["naive-local-time"],
        sends: "a login, and compares iat with the harness's clock before and after",
        why: "local time written as UTC makes tokens live hours too long, or end before they begin",
        remedy: "take the time in UTC, and keep the clock synchronised",
        run: clock_utc,
    },
    Check {
        id: "issue-unique-load",
        group: "ISSUE",
        requirement: "no two tokens of many that are issued side by side share a jti, their bytes, or an ECDSA nonce",
        sources: &["RFC 7519 section 4.1.7", "RFC 8725 section 3.2"],
        levels: Levels::issuing(Level::Must),
        needs: &[Need::Issue],
        variants: &["jti", "token", "ecdsa-r"],
        isolation: Isolation::Exclusive,
        cost: cost(10_000, 6),
        intrusive: false,
        flaws: &["jti-from-clock", "fixed-k"],
        sends: "refreshes (logins where there are none) on eight connections for some seconds, up to 10,000 (100,000 with the thorough budget)",
        why: "a jti that repeats revokes a stranger's session; an ECDSA nonce that repeats gives the private key away",
        remedy: "take jti from the operating system's random source, and nonces from the library (RFC 6979)",
        run: unique_load,
    },
    Check {
        id: "issue-identity-load",
        group: "ISSUE",
        requirement: "of logins side by side, mixed with failures, each token is its caller's",
        sources: &["ASVS 15.4.1", "CWE-488"],
        levels: Levels::issuing(Level::Must),
        needs: &[Need::Issue, Need::SecondUser],
        variants: &["subject", "resource"],
        isolation: Isolation::Exclusive,
        cost: cost(200, 6),
        intrusive: false,
        flaws: &["shared-state-login"],
        sends: "logins of two users and wrong passwords from eight connections at once; reads the subject of each token, and asks the resource who it is",
        why: "state that two requests share hands one user the other's session, only under load, where no test looks",
        remedy: "keep the user of a request in the request, not in a field of a shared object",
        run: identity_load,
    },
];

fn clock_utc(p: &mut Probe<'_>) -> Result<(), Stop> {
    if p.target().is_command("issue") {
        return Err(Stop::not_applicable("the login is a command of the profile, which may take its time"));
    }
    let before = clock::unix();
    let vars = p.vars();
    let answer = p.call("issue", &vars)?;
    let after = clock::unix();
    let reply = answer.reply.as_ref().filter(|_| answer.accepted()).ok_or_else(|| Stop::blocked_by("issue-basic"))?;
    let token = p.target().tokens(reply, "issue").ok().and_then(|issued| issued.access);
    let token = token.ok_or_else(|| Stop::blocked_by("issue-basic"))?;
    let claims = decode(&token).map(|(_, claims)| claims).ok_or_else(|| Stop::needs(Need::JwtAccess))?;
    let number = |name: &str| claims.get(name).and_then(Value::as_f64);
    let life = p.profile().tokens.access.lifetime_s;
    let iat = match (number("iat"), number("exp"), life) {
        (Some(iat), _, _) => iat,
        (None, Some(exp), Some(life)) => exp - life,
        _ => return Err(Stop::not_applicable("access tokens have no iat, and no lifetime is declared")),
    };
    let date = reply.header("date").and_then(parse_http_date);
    let expected = "expected iat of now in UTC, saw it off by";
    match Reading::of(iat, (before, after), date) {
        Reading::Utc(by) => p.pass(None, "utc", format!("iat differs from UTC by {by:.1} s at most")),
        Reading::Zone(hours) => {
            p.fail(None, "time-zone", format!("{expected} {hours:+.2} h: local time written as UTC"));
        }
        Reading::Off(by) => p.fail(None, "off", format!("{expected} {by:+.0} s")),
        Reading::Apart(by) => {
            let text = format!("{expected} {by:+.0} s, as its `Date` is: this machine's clock and the server's differ");
            p.fail(None, "off", text);
            p.at_most(Level::Should);
        }
    }
    Ok(())
}

/// What an `iat` says about the clock that it was read from, in seconds or hours.
#[derive(Debug, PartialEq)]
enum Reading {
    /// The present, to two seconds.
    Utc(f64),
    /// Off by a multiple of a quarter of an hour, as time zones are.
    Zone(f64),
    /// Off as the server's `Date` is too: either its clock or ours is wrong, and nobody took local time for UTC.
    Apart(f64),
    Off(f64),
}

impl Reading {
    /// Of a login between two instants of ours, and the `Date` that came with it.
    fn of(iat: f64, (before, after): (f64, f64), date: Option<i64>) -> Reading {
        // Whole seconds are rounded down: any instant of this second may have been meant.
        let last = if iat.fract() == 0.0 { iat + 1.0 } else { iat };
        let off = if last < before { last - before } else { (iat - after).max(0.0) };
        if off.abs() <= 2.0 {
            return Reading::Utc((iat - before).abs().max((iat - after).abs()));
        }
        let quarters = (off / 900.0).round();
        match date {
            _ if quarters != 0.0 && (off - quarters * 900.0).abs() <= 3.0 && quarters.abs() <= 56.0 => {
                Reading::Zone(quarters / 4.0)
            }
            Some(date) if (date as f64 - iat).abs() <= 2.0 => Reading::Apart(off),
            _ => Reading::Off(off),
        }
    }
}

/// Something of a token that must not come twice.
type Marks = Vec<(&'static str, String)>;

/// What tells equal tokens without a `jti` apart from those with one: within a second, the same claims under a
/// deterministic signature (HMAC, EdDSA, RFC 6979) are the same text, and nothing asks for more.
const SAME_CLAIMS: &str = "same-claims";
/// The nonce of an ECDSA signature, and what was signed with it: the same nonce for the same text gives nothing away.
const NONCE: &str = "ecdsa-r";

fn marks(token: &str) -> Marks {
    let Some((header, claims)) = decode(token) else { return vec![("token", token.to_owned())] };
    let mut marks: Marks = Vec::new();
    let (input, signature) = token.rsplit_once('.').unwrap_or_default();
    match claims.get("jti").and_then(Value::as_str) {
        Some(jti) => {
            marks.push(("jti", jti.to_owned()));
            marks.push(("token", token.to_owned()));
        }
        None => marks.push((SAME_CLAIMS, token.to_owned())),
    }
    let ecdsa = header.get("alg").and_then(Value::as_str).is_some_and(|alg| alg.starts_with("ES"));
    let bytes = base64url::decode_lenient(signature);
    if ecdsa && bytes.len() >= 64 {
        let r: String = bytes[..bytes.len() / 2].iter().map(|b| format!("{b:02x}")).collect();
        marks.push((NONCE, format!("{r} {input}")));
    }
    marks
}

/// The marks of one kind with how often each came.
fn counted(marks: Vec<Marks>) -> BTreeMap<&'static str, HashMap<String, usize>> {
    let mut by_kind: BTreeMap<&'static str, HashMap<String, usize>> = BTreeMap::new();
    let mut signed: HashSet<String> = HashSet::new();
    for (kind, mark) in marks.into_iter().flatten() {
        let mark = match kind {
            NONCE if !signed.insert(mark.clone()) => continue,
            NONCE => mark.split(' ').next().unwrap_or_default().to_owned(),
            _ => mark,
        };
        *by_kind.entry(kind).or_default().entry(mark).or_default() += 1;
    }
    by_kind
}

fn unique_load(p: &mut Probe<'_>) -> Result<(), Stop> {
    let thorough = p.session.budget == Budget::Thorough;
    let wanted = if thorough { 100_000 } else { 10_000 };
    let within = Duration::from_secs(if thorough { 120 } else { 5 });
    p.allow(within + Duration::from_secs(20));
    let (slow, _) = login_cost(p)?;
    let chain = p.has(Need::Refresh) && !p.target().is_command("refresh") && !p.target().is_command("issue");
    if p.target().is_command("issue") {
        return Err(Stop::not_applicable("the login is a command of the profile, which takes one caller"));
    }
    let workers = if slow > SLOW_LOGIN { 4 } else { 8 };
    let vars = p.vars();
    let all = p.crowd(workers, within, |_, worker| issue_many(worker, &vars, wanted / workers, chain))?;
    let marks: Vec<Marks> = all.into_iter().flatten().collect();
    let total = marks.len();
    if total == 0 {
        return Err(Stop::Inconclusive("no login of the crowd worked".into()));
    }
    let by_kind = counted(marks);
    for (kind, what) in [("jti", "jti"), ("token", "token"), (NONCE, "ECDSA nonce")] {
        let Some(seen) = by_kind.get(kind) else {
            if let Some(seen) = by_kind.get(SAME_CLAIMS).filter(|_| kind == "token") {
                without_jti(p, seen);
                continue;
            }
            let why = if kind == NONCE { "tokens are not signed with ECDSA" } else { "tokens have no jti" };
            p.skip(kind, SkipReason::NotApplicable(why.into()));
            continue;
        };
        let (n, distinct) = (seen.values().sum::<usize>(), seen.len());
        if distinct < n {
            let text = format!("{} of {n} tokens repeat the {what} of another", n - distinct);
            p.fail(Some(kind), "repeats", text);
        } else {
            // The birthday bound: a generator of that many values would have repeated one with 63 % probability.
            let bound = (n as f64).powi(2) / 2.0;
            let text = format!(
                "no {what} twice in {n} of {total} tokens: only generators of fewer than about {bound:.0e} values are ruled out"
            );
            p.pass(Some(kind), "distinct", text);
        }
    }
    Ok(())
}

/// Tokens without a `jti` may be the same text within a second; a finding only where the dialect demands the claim.
fn without_jti(p: &mut Probe<'_>, seen: &HashMap<String, usize>) {
    let (n, distinct) = (seen.values().sum::<usize>(), seen.len());
    let text = format!("{} of {n} tokens are the text of another: they have no jti", n - distinct);
    if distinct == n {
        p.pass(Some("token"), "distinct", format!("no token twice in {n}, though they have no jti"));
    } else if p.dialect() == Dialect::Rfc9068 {
        p.fail(Some("token"), "repeats", format!("{text}, which RFC 9068 section 2.2 demands"));
    } else {
        let note = "which nothing demands here; none of them can be revoked alone";
        p.pass(Some("token"), "repeats-without-jti", format!("{text}, {note}"));
    }
}

/// Tokens of one caller, by refreshes of one session where there are any.
fn issue_many(worker: &mut Worker<'_>, vars: &Vars, most: usize, chain: bool) -> Result<Vec<Marks>, Stop> {
    let mut seen = Vec::new();
    let mut refresh: Option<String> = None;
    while seen.len() < most && !worker.over() {
        let issued = match refresh.take().filter(|_| chain) {
            Some(token) => {
                let answer = worker.ask_with("refresh", &token)?;
                let issued = worker.tokens(&answer);
                if let Some(issued) = &issued {
                    refresh = Some(issued.refresh.clone().unwrap_or(token));
                }
                issued
            }
            None => {
                let (_, issued) = worker.login(vars)?;
                refresh = issued.as_ref().and_then(|i| i.refresh.clone());
                issued
            }
        };
        let Some(access) = issued.and_then(|i: Issued| i.access) else { break };
        seen.push(marks(&access));
    }
    Ok(seen)
}

fn identity_load(p: &mut Probe<'_>) -> Result<(), Stop> {
    if p.target().is_command("issue") {
        return Err(Stop::not_applicable("the login is a command of the profile, which takes one caller"));
    }
    let (slow, own) = login_cost(p)?;
    let other_vars = second_vars(p)?;
    let other = p.login_with(&other_vars)?;
    let claim = p.profile().subject_claim().to_owned();
    let subject = |issued: &Issued| issued.access.as_deref().and_then(decode).and_then(|(_, c)| c.get(&claim).cloned());
    let way = p.resource().ok().filter(|w| w.usable() && p.profile().identity.is_some());
    let mut known: Vec<(Vars, Option<Value>, Option<String>)> = Vec::new();
    for (vars, issued) in [(p.vars(), own), (other_vars, other)] {
        let identity = match (&way, &issued.access) {
            (Some(way), Some(token)) => {
                let answer = p.present(way, token)?;
                answer.reply.as_ref().and_then(|r| p.target().identity(r))
            }
            _ => None,
        };
        known.push((vars, subject(&issued), identity));
    }
    let distinct_subjects = known[0].1.is_some() && known[0].1 != known[1].1;
    let distinct_names = known[0].2.is_some() && known[0].2 != known[1].2;
    if !distinct_subjects && !distinct_names {
        return Err(Stop::not_applicable("neither tokens nor the resource tell the two users apart"));
    }
    let wrong = crate::target::User { password: "assay-wrong-password-1".into(), ..first_user(p)? };
    let wrong = p.vars().user(&wrong);
    let each = if slow > SLOW_LOGIN { 4 } else { 12 };
    let known = &known;
    let operation = way.as_ref().map(|w| w.operation.clone());
    let seen = p.crowd(8, Duration::from_secs(8), |number, worker| {
        let (vars, subject_of, name_of) = &known[number % 2];
        let (mut checked, mut subjects, mut names) = (0usize, 0usize, 0usize);
        for turn in 0..each {
            if worker.over() {
                break;
            }
            if turn % 4 == 3 {
                worker.ask("issue", &wrong)?;
                continue;
            }
            let (_, issued) = worker.login(vars)?;
            let Some(token) = issued.as_ref().and_then(|i| i.access.clone()) else { continue };
            checked += 1;
            let seen = decode(&token).and_then(|(_, c)| c.get(&claim).cloned());
            subjects += usize::from(distinct_subjects && seen != *subject_of);
            if let (Some(operation), true) = (&operation, distinct_names) {
                let answer = worker.ask_with(operation, &token)?;
                let name = answer.reply.as_ref().and_then(|r| worker.target().identity(r));
                names += usize::from(answer.accepted() && name != *name_of);
            }
        }
        Ok((checked, subjects, names))
    })?;
    let sum = |pick: fn(&(usize, usize, usize)) -> usize| seen.iter().map(pick).sum::<usize>();
    let (checked, subjects, names) = (sum(|s| s.0), sum(|s| s.1), sum(|s| s.2));
    if checked == 0 {
        return Err(Stop::Inconclusive("no login of the crowd worked".into()));
    }
    let bound = 300.0 / checked as f64;
    for (variant, compared, wrong) in [("subject", distinct_subjects, subjects), ("resource", distinct_names, names)] {
        if !compared {
            p.skip(variant, SkipReason::NotApplicable("it does not tell the two users apart".into()));
        } else if wrong > 0 {
            p.fail(Some(variant), "another-user", format!("{wrong} of {checked} tokens were another user's"));
        } else {
            let text = format!(
                "all {checked} tokens are their caller's (another's in below {bound:.1} % with 95 % confidence)"
            );
            p.pass(Some(variant), "own", text);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_iat_tells_a_time_zone_from_a_clock_that_is_wrong() {
        let of = |iat: f64, date: Option<i64>| Reading::of(iat, (1_000_000.9, 1_000_001.0), date);
        // 1.9 s behind, written as a whole second, is still within two.
        for utc in [999_999.0, 999_998.0, 1_000_001.0, 1_000_002.5] {
            assert!(matches!(of(utc, None), Reading::Utc(_)), "{utc}: {:?}", of(utc, None));
        }
        assert!(matches!(of(999_997.0, None), Reading::Off(by) if by < -2.0));
        assert_eq!(of(1_003_601.0, None), Reading::Zone(1.0));
        assert_eq!(of(1_003_601.0, Some(1_003_601)), Reading::Zone(1.0));
        assert!(matches!(of(1_000_040.0, Some(1_000_040)), Reading::Apart(_)));
        assert!(matches!(of(1_000_040.0, Some(1_000_001)), Reading::Off(_)));
    }

    #[test]
    fn the_same_claims_within_a_second_are_no_repetition_and_their_nonce_no_leak() {
        let token = |payload: &str, signature: &[u8]| {
            let (header, payload) = (base64url::encode(br#"{"alg":"ES256"}"#), base64url::encode(payload));
            format!("{header}.{payload}.{}", base64url::encode(signature))
        };
        let (same, other) = (token(r#"{"sub":"1","iat":1}"#, &[7; 64]), token(r#"{"sub":"1","iat":2}"#, &[7; 64]));
        let repeated = |tokens: &[&str], kind: &str| {
            let counted = counted(tokens.iter().map(|token| marks(token)).collect());
            counted.get(kind).is_some_and(|seen| seen.values().any(|n| *n > 1))
        };
        assert!(repeated(&[&same, &same], SAME_CLAIMS) && !repeated(&[&same, &same], "token"));
        assert!(!repeated(&[&same, &same], NONCE), "one text, one nonce");
        assert!(repeated(&[&same, &other], NONCE), "two texts under one nonce give the key away");
        let jti = token(r#"{"jti":"a"}"#, &[7; 64]);
        assert!(repeated(&[&jti, &jti], "token") && repeated(&[&jti, &jti], "jti"));
        assert!(repeated(&["opaque", "opaque"], "token"), "what cannot be read must not come twice");
    }

    #[test]
    fn a_nonce_is_the_first_half_of_an_ecdsa_signature() {
        let token = format!(
            "{}.{}.{}",
            base64url::encode(br#"{"alg":"ES256"}"#),
            base64url::encode(br#"{"jti":"a"}"#),
            base64url::encode([7u8; 64])
        );
        let marks = marks(&token);
        assert_eq!(marks.iter().map(|(kind, _)| *kind).collect::<Vec<_>>(), ["jti", "token", "ecdsa-r"]);
        assert_eq!(marks[2].1.split(' ').next().unwrap().len(), 64);
    }
}
