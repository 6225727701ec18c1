//! Are the tokens of many logins good: of the right instant, each its own, its own user's, with nothing to guess in them?

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use serde_json::{Map, Value};

use crate::clock;
use crate::conformance::crowd::Worker;
use crate::conformance::descriptor::{Check, Isolation, Levels, Need, cost};
use crate::conformance::forger::decode;
use crate::conformance::probe::{Probe, Stop};
use crate::jose::{SigningKey, algorithm, base64url};
use crate::record::{Level, SkipReason};
use crate::scenario::Budget;
use crate::target::{Issued, Vars};

use super::issue::{SLOW_LOGIN, first_user, login_cost};
use super::refresh::second_vars;

/// The family's third part.
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
        needs: &[Need::Issue, Need::JwtAccess],
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
        sources: &["RFC 8725 section 3.8", "ASVS 15.4"],
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
    Check {
        id: "issue-weak-secret",
        group: "ISSUE",
        requirement: "the HMAC secret is in no dictionary",
        sources: &["RFC 8725 section 3.5", "RFC 7518 section 3.2", "GO-2026-5515"],
        levels: Levels::issuing(Level::Must),
        needs: &[Need::Issue, Need::JwtAccess],
        variants: &[],
        isolation: Isolation::Shared,
        cost: cost(1, 1),
        intrusive: false,
        flaws: &["secret-secret"],
        sends: "nothing: tries common secrets, and words from the address and the profile, on the signature of a genuine token",
        why: "whoever holds one token can guess the secret offline, and then be anybody",
        remedy: "generate the secret: 32 random bytes for HS256, 64 for HS512",
        run: weak_secret,
    },
    Check {
        id: "issue-no-secret-claims",
        group: "ISSUE",
        requirement: "tokens carry no password hash, key, mail address or card number",
        sources: &["RFC 7519 section 12", "ASVS 14.2"],
        levels: Levels::issuing(Level::Should),
        needs: &[Need::Issue],
        variants: &["access", "refresh"],
        isolation: Isolation::Shared,
        cost: cost(1, 1),
        intrusive: false,
        flaws: &["hash-in-claim"],
        sends: "a login, and reads names and values of all claims",
        why: "a payload is readable by everybody who sees the token; a hash in it can be cracked offline",
        remedy: "put an opaque id into the token, and look the rest up",
        run: no_secret_claims,
    },
];

fn clock_utc(p: &mut Probe<'_>) -> Result<(), Stop> {
    let before = clock::unix();
    let token = p.login()?.access.ok_or_else(|| Stop::blocked_by("issue-basic"))?;
    let after = clock::unix();
    let claims = decode(&token).map(|(_, claims)| claims).ok_or_else(|| Stop::needs(Need::JwtAccess))?;
    let number = |name: &str| claims.get(name).and_then(Value::as_f64);
    let life = p.profile().tokens.access.lifetime_s;
    let iat = match (number("iat"), number("exp"), life) {
        (Some(iat), _, _) => iat,
        (None, Some(exp), Some(life)) => exp - life,
        _ => return Err(Stop::not_applicable("access tokens have no iat, and no lifetime is declared")),
    };
    // Whole seconds are rounded down: an instant of this second may read as the one before.
    let off = if iat < before - 1.0 { iat - before } else { (iat - after).max(0.0) };
    if off.abs() <= 2.0 {
        p.pass(
            None,
            "utc",
            format!("iat differs from UTC by {:.1} s at most", (iat - before).abs().max((iat - after).abs())),
        );
        return Ok(());
    }
    let quarters = (off / 900.0).round();
    let zone = quarters != 0.0 && (off - quarters * 900.0).abs() <= 3.0 && quarters.abs() <= 56.0;
    let (finding, what) = if zone {
        ("time-zone", format!("{:+.2} h: local time written as UTC", quarters / 4.0))
    } else {
        ("off", format!("{off:+.0} s"))
    };
    p.fail(None, finding, format!("expected iat of now in UTC, saw it off by {what}"));
    Ok(())
}

/// Something of a token that must not come twice.
type Marks = Vec<(&'static str, String)>;

fn marks(token: &str) -> Marks {
    let mut marks: Marks = Vec::new();
    let Some((header, claims)) = decode(token) else { return marks };
    let signature = token.rsplit('.').next().unwrap_or_default();
    if let Some(jti) = claims.get("jti").and_then(Value::as_str) {
        marks.push(("jti", jti.to_owned()));
        marks.push(("token", token.to_owned()));
    }
    let ecdsa = header.get("alg").and_then(Value::as_str).is_some_and(|alg| alg.starts_with("ES"));
    let bytes = base64url::decode_lenient(signature);
    if ecdsa && bytes.len() >= 64 {
        let r = &bytes[..bytes.len() / 2];
        marks.push(("ecdsa-r", r.iter().map(|b| format!("{b:02x}")).collect()));
    }
    marks
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
    let mut by_kind: BTreeMap<&str, HashMap<String, usize>> = BTreeMap::new();
    for (kind, mark) in marks.into_iter().flatten() {
        *by_kind.entry(kind).or_default().entry(mark).or_default() += 1;
    }
    for (kind, what) in [("jti", "jti"), ("token", "token"), ("ecdsa-r", "ECDSA nonce")] {
        let Some(seen) = by_kind.get(kind) else {
            let why = if kind == "ecdsa-r" { "tokens are not signed with ECDSA" } else { "tokens have no jti" };
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

/// Secrets that people take from examples, and the commonest passwords.
const DICTIONARY: &str = include_str!("weak_secrets.txt");

fn weak_secret(p: &mut Probe<'_>) -> Result<(), Stop> {
    let token = p.access()?;
    let (header, _) = decode(&token).ok_or_else(|| Stop::needs(Need::JwtAccess))?;
    let name = header.get("alg").and_then(Value::as_str).unwrap_or_default();
    let algorithm = algorithm(name)
        .filter(|a| !a.is_asymmetric())
        .ok_or_else(|| Stop::not_applicable(format!("tokens are signed with {name}, not with a shared secret")))?;
    let (input, signature) = token.rsplit_once('.').ok_or_else(|| Stop::needs(Need::JwtAccess))?;
    let signature = base64url::decode_lenient(signature);
    let words = words(&p.profile().name, &p.target().endpoint.host);
    let found = words.iter().any(|word| {
        SigningKey::secret(word.as_bytes()).verifying_key().accepts(algorithm, input.as_bytes(), &signature)
    });
    let n = words.len();
    if found {
        p.fail(None, "found", format!("the signing secret is one of {n} words that everybody tries"));
    } else {
        p.pass(None, "not-found", format!("the secret is none of {n} common ones"));
    }
    Ok(())
}

/// The dictionary, words of the target's own, and each with the usual endings.
fn words(profile: &str, host: &str) -> Vec<String> {
    let own = profile.split(|c: char| !c.is_alphanumeric()).chain(host.split('.')).filter(|w| w.len() > 2);
    let mut words: Vec<String> = DICTIONARY.lines().map(str::to_owned).collect();
    for word in own {
        for ending in ["", "-secret", "_secret", "secret", "-secret-key", "_secret_key", "-key", "123"] {
            words.push(format!("{word}{ending}"));
        }
    }
    let more: Vec<String> = words
        .iter()
        .flat_map(|word| [format!("{word}\n"), format!("{word}!"), format!("{word}123"), word.to_uppercase()])
        .collect();
    words.push(String::new());
    words.extend(more);
    words
}

fn no_secret_claims(p: &mut Probe<'_>) -> Result<(), Stop> {
    let issued = p.pooled()?;
    let mut read = false;
    for (variant, token) in [("access", &issued.access), ("refresh", &issued.refresh)] {
        let Some((_, claims)) = token.as_deref().and_then(decode) else { continue };
        read = true;
        match private_claim(&claims) {
            None => p.pass(Some(variant), "nothing", format!("{} claims, none of them private", claims.len())),
            Some((name, what)) => {
                p.fail(Some(variant), what, format!("the claim `{name}` looks like {}", what.replace('-', " ")));
            }
        }
    }
    if read { Ok(()) } else { Err(Stop::not_applicable("its tokens cannot be read")) }
}

/// The first claim that should not be readable: its name, and what it looks like.
fn private_claim(claims: &Map<String, Value>) -> Option<(String, &'static str)> {
    const NAMES: &[(&str, &str)] = &[
        ("password", "a-password"),
        ("passwd", "a-password"),
        ("pwd", "a-password"),
        ("secret", "a-secret"),
        ("private_key", "a-key"),
        ("api_key", "a-key"),
        ("apikey", "a-key"),
        ("hash", "a-hash"),
    ];
    // Hashes of OpenID Connect tokens are over tokens, not over passwords.
    const HARMLESS: &[&str] = &["at_hash", "c_hash", "s_hash"];
    claims.iter().filter(|(name, _)| !HARMLESS.contains(&name.as_str())).find_map(|(name, value)| {
        if let Value::Object(inner) = value {
            return private_claim(inner).map(|(inside, what)| (format!("{name}.{inside}"), what));
        }
        let lower = name.to_ascii_lowercase();
        let by_name = NAMES.iter().find(|(part, _)| lower.contains(part)).map(|(_, what)| *what);
        // `pwd` of RFC 8176 is a method, not a password.
        let by_name = by_name.filter(|_| !value.is_boolean() && !value.is_null());
        let by_value = value.as_str().and_then(private_value);
        by_name.or(by_value).map(|what| (name.clone(), what))
    })
}

fn private_value(text: &str) -> Option<&'static str> {
    let hash = ["$2a$", "$2b$", "$2y$", "$argon2", "$5$", "$6$", "pbkdf2_", "bcrypt", "argon2", "scrypt", "$scrypt"];
    if hash.iter().any(|prefix| text.starts_with(prefix)) {
        return Some("a-password-hash");
    }
    if text.contains("-----BEGIN") {
        return Some("a-key");
    }
    if let Some((user, host)) = text.split_once('@')
        && !user.is_empty()
        && host.contains('.')
        && !text.contains(['/', ' ', ':'])
    {
        return Some("a-mail-address");
    }
    let digits: Vec<u32> = text.chars().filter_map(|c| c.to_digit(10)).collect();
    let only = text.chars().all(|c| c.is_ascii_digit() || c == ' ' || c == '-');
    (only && (15..=19).contains(&digits.len()) && luhn(&digits)).then_some("a-card-number")
}

/// The check digit of ISO/IEC 7812.
fn luhn(digits: &[u32]) -> bool {
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(place, digit)| match (place % 2, digit * 2) {
            (1, double) if double > 9 => double - 9,
            (1, double) => double,
            _ => *digit,
        })
        .sum();
    sum.is_multiple_of(10)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[track_caller]
    fn looks(claims: Value, expected: Option<&str>) {
        let found = private_claim(claims.as_object().unwrap());
        assert_eq!(found.as_ref().map(|(_, what)| *what), expected, "{found:?}");
    }

    #[test]
    fn private_claims_are_known_by_name_and_by_value() {
        looks(json!({"sub": "1", "at_hash": "x", "scope": "read"}), None);
        looks(json!({"hash_password": "0123"}), Some("a-password"));
        looks(json!({"p": "$argon2id$v=19$m=19456"}), Some("a-password-hash"));
        looks(json!({"email": "alice@example.org"}), Some("a-mail-address"));
        looks(json!({"sub": "acct:alice@example.org"}), None);
        looks(json!({"n": "4111 1111 1111 1111"}), Some("a-card-number"));
        looks(json!({"n": "4111111111111112"}), None);
        looks(json!({"amr": ["pwd"], "pwd_changed": true}), None);
        looks(json!({"user": {"id": 7, "hash": "x"}}), Some("a-hash"));
    }

    #[test]
    fn words_of_the_target_are_tried_too() {
        let words = words("my-shop", "tokens.example");
        for word in ["secret", "shop-secret", "tokens123", "SECRET", "", "changeme\n"] {
            assert!(words.iter().any(|w| w == word), "{word:?} is not tried");
        }
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
        assert_eq!(marks[2].1.len(), 64);
    }
}
