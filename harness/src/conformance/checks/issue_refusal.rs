//! Does a login that fails tell no more than that it failed, cost no more than it must, and break nothing?

use std::time::Duration;

use rand::seq::SliceRandom as _;

use crate::clock;
use crate::conformance::answer::Answer;
use crate::conformance::descriptor::{Check, Isolation, Levels, Need, cost};
use crate::conformance::probe::{Probe, Stop};
use crate::record::{Level, SkipReason};
use crate::scenario::Budget;
use crate::stats::{Interval, hodges_lehmann, median, wilcoxon_interval};
use crate::target::{User, Vars};

use super::issue::{first_user, good_login, unclean};
use super::refresh::second_vars;
use super::spoilt::{malformed, other_fields};

/// The family's third part.
pub const CHECKS: &[Check] = &[
    Check {
        id: "issue-error-uniform",
        group: "ISSUE",
        requirement: "a wrong password, an unknown user and an inactive user are answered alike: status, body, header names",
        sources: &["ASVS 6.3.8"],
        levels: Levels::issuing(Level::Should),
        needs: &[Need::Issue],
        variants: &["unknown-user", "inactive-user"],
        isolation: Isolation::Exclusive,
        cost: cost(6, 1),
        intrusive: false,
        flaws: &["distinct-message"],
        sends: "a wrong password, an unknown user, a good login, and the right password of a user whom the admin hook disabled; and compares the answers, ids and times masked",
        why: "an answer that differs tells an attacker which accounts exist, and which of them are worth a visit",
        remedy: "answer every failed login with one text and one status",
        run: error_uniform,
    },
    Check {
        id: "issue-enum-timing",
        group: "ISSUE",
        requirement: "a login of an unknown user takes as long as one with a wrong password",
        sources: &["ASVS 6.3.8", "CVE-2024-39329", "carlos-emr/carlos#2200"],
        levels: Levels::issuing(Level::Should),
        needs: &[Need::Issue],
        variants: &[],
        isolation: Isolation::Locking,
        cost: cost(362, 15),
        intrusive: false,
        flaws: &["skip-dummy-hash"],
        sends: "wrong passwords of a known user and of two unknown ones, in blocks of random order; a difference of less than 5 ms, or of a tenth of a login where that is more, is not told; the two unknown ones are the control, and a good login at the end, since a lock may be all that was measured",
        why: "where only known users cost a password hash, a stopwatch lists the accounts",
        remedy: "verify a password against a fixed hash where there is no user",
        run: enum_timing,
    },
    Check {
        id: "issue-malformed-body",
        group: "ISSUE",
        requirement: "a malformed login is refused with 400, 401, 413, 415 or 422 within two seconds",
        sources: &["RFC 6749 section 3.2", "CVE-2013-1443", "RFC 6749 section 5.2"],
        levels: Levels::issuing(Level::Should),
        needs: &[Need::Issue],
        variants: &[
            "broken",
            "content-type",
            "empty-body",
            "missing-field",
            "duplicate-field",
            "array-body",
            "array-field",
            "null-field",
            "object-field",
            "nul",
            "lone-surrogate",
            "long-password",
            "*-missing-field",
            "*-array-field",
            "*-null-field",
            "*-object-field",
            "*-nul",
            "*-lone-surrogate",
        ],
        isolation: Isolation::Shared,
        cost: cost(24, 2),
        intrusive: false,
        flaws: &["crash-login-type", "crash-surrogate", "unbounded-hash", "crash-malformed"],
        sends: "a login whose body is broken, of another content type, empty, an array; whose password is missing, there twice, null, an array, an object, holds NUL or half a surrogate pair, or is 1 MiB long; and every other field spoilt likewise",
        why: "the endpoint is open to everybody: what crashes it or keeps it busy is a denial of service",
        remedy: "validate types before use, bound the body and the password, and answer 400",
        run: malformed_body,
    },
    Check {
        id: "issue-throttle",
        group: "ISSUE",
        requirement: "many wrong passwords are slowed down or stopped, for that account alone",
        sources: &["ASVS 6.3.1", "RFC 6749 section 4.3.2"],
        levels: Levels::issuing(Level::Info),
        needs: &[Need::Issue, Need::SecondUser],
        variants: &["limit", "other-account"],
        isolation: Isolation::Locking,
        cost: cost(53, 20),
        intrusive: true,
        flaws: &["no-throttle"],
        sends: "50 wrong passwords for the second user, then a good login of the first",
        why: "without a limit a list of leaked passwords is tried in minutes",
        remedy: "count failures per account and source, delay, and answer 429 with Retry-After",
        run: throttle,
    },
];

/// A user who does not exist.
fn nobody() -> User {
    User { login: format!("assay-nobody-{:08x}", rand::random::<u32>()), password: "assay-wrong-1".into(), id: None }
}

fn wrong(user: &User) -> User {
    User { password: "assay-wrong-password-1".into(), ..user.clone() }
}

/// An answer as it may be compared: status, header names, and the body without names, numbers and ids.
pub(super) fn masked(answer: &Answer, login: &str) -> String {
    let Some(reply) = &answer.reply else { return answer.finding() };
    let mut names: Vec<String> = reply.headers.iter().map(|(name, _)| name.to_ascii_lowercase()).collect();
    names.sort_unstable();
    names.dedup();
    let text = reply.text().replace(login, "<user>");
    let mut masked = String::with_capacity(text.len());
    for word in text.split_inclusive(|c: char| !c.is_ascii_alphanumeric() && c != '-') {
        let bare = word.trim_end_matches(|c: char| !c.is_ascii_alphanumeric() && c != '-');
        let id = bare.len() >= 8 && bare.chars().all(|c| c.is_ascii_hexdigit() || c == '-');
        match id || bare.chars().any(|c| c.is_ascii_digit()) {
            true => masked.push_str(&word.replacen(bare, "#", 1)),
            false => masked.push_str(word),
        }
    }
    format!("{} [{}] {masked}", reply.status, names.join(" "))
}

fn error_uniform(p: &mut Probe<'_>) -> Result<(), Stop> {
    if p.target().is_command("issue") {
        return Err(Stop::not_applicable("the login is a command of the profile"));
    }
    let user = first_user(p)?;
    good_login(p)?;
    let vars = p.vars().user(&wrong(&user));
    let known = p.call("issue", &vars)?;
    let (stranger, vars) = (nobody(), p.vars());
    let unknown = p.call("issue", &vars.user(&stranger))?;
    let expected = masked(&known, &user.login);
    if known.accepted() {
        return Err(Stop::blocked_by("issue-bad-credentials"));
    }
    not_locked(p)?;
    compare(p, "unknown-user", &expected, &masked(&unknown, &stranger.login), &unknown);
    if !(p.has(Need::DisableUser) && p.has(Need::SecondUser) && p.target().has_hook("enable_user")) {
        p.skip("inactive-user", SkipReason::Needs("admin-disable-user, enable_user and second-user".into()));
        return Ok(());
    }
    let vars = second_vars(p)?;
    let login = p.target().second_user().ok().flatten().map(|u| u.login).unwrap_or_default();
    let inactive = p.changed("disable_user", &vars, |p| p.call("issue", &vars))?;
    compare(p, "inactive-user", &expected, &masked(&inactive, &login), &inactive);
    p.transient();
    Ok(())
}

/// Wrong passwords may have locked the account: then what was seen is how a lock answers.
fn not_locked(p: &mut Probe<'_>) -> Result<(), Stop> {
    match good_login(p) {
        Err(Stop::Skip(SkipReason::BlockedBy(_)) | Stop::Inconclusive(_)) => Err(Stop::Inconclusive(
            "the account is locked: after wrong passwords the right one is refused too, so what was seen is the lock"
                .into(),
        )),
        other => other,
    }
}

fn compare(p: &mut Probe<'_>, variant: &str, expected: &str, seen: &str, answer: &Answer) {
    if unclean(answer) || answer.accepted() {
        p.judge_refusal(Some(variant), "the login refused", answer);
    } else if expected == seen {
        p.pass(Some(variant), "alike", "answered like a wrong password");
    } else {
        let text = format!("a wrong password is answered `{}`, this one `{}`", clip(expected), clip(seen));
        p.fail_told(Some(variant), "told-apart", "the answer of a wrong password", text, answer);
    }
}

fn clip(text: &str) -> String {
    text.chars().take(160).collect()
}

/// What a block of logins took, in milliseconds: a known user, and two unknown ones.
struct Times {
    known: Vec<f64>,
    unknown: Vec<f64>,
    control: Vec<f64>,
}

impl Times {
    fn differences(a: &[f64], b: &[f64]) -> Vec<f64> {
        a.iter().zip(b).map(|(a, b)| a - b).collect()
    }
}

fn enum_timing(p: &mut Probe<'_>) -> Result<(), Stop> {
    if p.target().is_command("issue") {
        return Err(Stop::not_applicable("the login is a command of the profile"));
    }
    let first = first_user(p)?;
    good_login(p)?;
    let known = wrong(&first);
    // Names that look like the known one: the length must not be what is measured.
    let strangers = [stranger(&first.login), stranger(&first.login)];
    let warm = sample(p, &known, &strangers, 3)?;
    not_locked(p)?;
    let one = median(&[warm.known, warm.unknown, warm.control].concat()).unwrap_or(1.0);
    let thorough = p.session.budget == Budget::Thorough;
    // A block is three logins; two runs of them have to fit.
    let room = if thorough { 600_000.0 } else { 12_000.0 };
    let blocks = ((room / (6.0 * one.max(0.1))) as usize).min(if thorough { 200 } else { 60 });
    if blocks < 20 {
        return Err(Stop::Skip(SkipReason::Budget((one * 6.0 * 20.0 / 1000.0) as u64)));
    }
    p.allow(Duration::from_millis(room as u64 * 2));
    let measured = |p: &mut Probe<'_>| {
        let times = sample(p, &known, &strangers, blocks)?;
        not_locked(p).map(|()| verdict(&times))
    };
    let (finding, told) = match measured(p)? {
        Timing::Apart(_) => match measured(p)? {
            Timing::Apart(text) => ("told-apart", Err(text)),
            _ => ("not-reproduced", Ok("a difference was not seen again in a second run".to_owned())),
        },
        Timing::Alike(text) => ("alike", Ok(text)),
        Timing::Noisy(text) => {
            p.inconclusive(None, "noisy", text);
            return Ok(());
        }
    };
    match told {
        Ok(text) => p.pass(None, finding, format!("{text} ({blocks} blocks)")),
        Err(text) => p.fail(None, finding, format!("{text} ({blocks} blocks, twice)")),
    }
    Ok(())
}

/// A name of the same length that nobody has.
fn stranger(login: &str) -> User {
    let login: String = login
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { char::from(b'a' + rand::random::<u8>() % 26) } else { c })
        .collect();
    User { login, password: "assay-wrong-password-1".into(), id: None }
}

fn sample(p: &mut Probe<'_>, known: &User, strangers: &[User; 2], blocks: usize) -> Result<Times, Stop> {
    p.want_limits();
    let mut times = Times { known: Vec::new(), unknown: Vec::new(), control: Vec::new() };
    for _ in 0..blocks {
        let mut order = [0, 1, 2];
        order.shuffle(&mut rand::rng());
        for class in order {
            let (user, into) = match class {
                0 => (known, &mut times.known),
                1 => (&strangers[0], &mut times.unknown),
                _ => (&strangers[1], &mut times.control),
            };
            let vars = p.vars().user(user);
            let answer = p.call("issue", &vars)?;
            if answer.status() == 429 {
                return Err(Stop::not_applicable("the server limits failed logins, which ends a measurement"));
            }
            let reply = answer
                .reply
                .as_ref()
                .filter(|_| answer.refused())
                .ok_or_else(|| Stop::blocked_by("issue-bad-credentials"))?;
            into.push(reply.timing.service().0 as f64 / 1e6);
        }
    }
    Ok(times)
}

enum Timing {
    Apart(String),
    Alike(String),
    Noisy(String),
}

/// Milliseconds below which a difference is not told: less is lost in the noise of the networks that lie between.
const FLOOR_MS: f64 = 5.0;

/// Told apart only where the difference is large, the 99 % interval leaves out zero, and two unknown users are not
/// told apart by the same rule.
fn verdict(times: &Times) -> Timing {
    let typical = median(&times.known).unwrap_or(0.0).max(median(&times.unknown).unwrap_or(0.0));
    let margin = (0.1 * typical).max(FLOOR_MS);
    let judge = |a: &[f64], b: &[f64]| -> (f64, Interval) {
        let differences = Times::differences(a, b);
        (hodges_lehmann(&differences).unwrap_or(0.0), wilcoxon_interval(&differences, 0.99))
    };
    let apart = |(centre, interval): &(f64, Interval)| centre.abs() > margin && !interval.contains(0.0);
    let (effect, control) = (judge(&times.known, &times.unknown), judge(&times.control, &times.unknown));
    let text = format!(
        "a refused login takes {typical:.1} ms; for a known user it takes {:+.1} ms against an unknown one ({:+.1} to {:+.1} ms with 99 % confidence), and two unknown ones differ by {:+.1} ms",
        effect.0, effect.1.low, effect.1.high, control.0
    );
    // Alike only where a difference of the margin would have shown.
    let room = effect.1.low.abs().max(effect.1.high.abs());
    match (apart(&effect), apart(&control)) {
        (_, true) => Timing::Noisy(format!("two unknown users are told apart too, so nothing was learnt: {text}")),
        (true, false) => Timing::Apart(text),
        (false, false) if room > margin => {
            Timing::Noisy(format!("a difference of {margin:.1} ms could not be ruled out: {text}"))
        }
        (false, false) => Timing::Alike(format!(
            "{text}; a difference of {room:.1} ms or more is ruled out, and one of less than {margin:.1} ms is not told"
        )),
    }
}

fn malformed_body(p: &mut Probe<'_>) -> Result<(), Stop> {
    if p.target().is_command("issue") {
        return Err(Stop::not_applicable("the login is a command of the profile"));
    }
    let user = first_user(p)?;
    malformed(p, "issue", |_| Ok((Vars::new(), user.password.clone())))?;
    other_fields(p, &user)
}

fn throttle(p: &mut Probe<'_>) -> Result<(), Stop> {
    const TRIES: usize = 50;
    if p.target().is_command("issue") {
        return Err(Stop::not_applicable("the login is a command of the profile"));
    }
    let second = p
        .target()
        .second_user()
        .map_err(|e| Stop::Harness(e.to_string()))?
        .ok_or_else(|| Stop::needs(Need::SecondUser))?;
    let vars = p.vars().user(&wrong(&second));
    p.allow(Duration::from_secs(60));
    p.want_limits();
    let mut took = Vec::with_capacity(TRIES);
    let mut limited = None;
    for attempt in 1..=TRIES {
        let began = clock::mono();
        let answer = p.call("issue", &vars)?;
        took.push(clock::mono().since(began).as_secs_f64());
        let told = answer.reply.as_ref().is_some_and(|r| r.header("retry-after").is_some());
        if answer.status() == 429 || told {
            limited = Some(format!("{} from the {attempt}th wrong password on", answer.describe()));
            break;
        }
    }
    let slowed = median(&took[took.len().saturating_sub(5)..]).unwrap_or(0.0);
    let began = median(&took[..took.len().min(5)]).unwrap_or(0.0);
    if limited.is_none() && slowed > 0.5 && slowed > 3.0 * began {
        limited = Some(format!("answers take {slowed:.1} s after {TRIES} wrong passwords, {began:.2} s before"));
    }
    if limited.is_none() {
        let right = second_vars(p)?;
        let answer = p.call("issue", &right)?;
        if answer.refused() {
            limited = Some("the account is locked for its right password too".to_owned());
        }
    }
    match limited {
        Some(text) => p.pass(Some("limit"), "limited", text),
        None => p.fail(Some("limit"), "no-limit", format!("{TRIES} wrong passwords in a row meet no limit")),
    }
    let vars = p.vars();
    let other = p.call("issue", &vars)?;
    if other.accepted() {
        p.pass(Some("other-account"), "unaffected", "another account logs in meanwhile");
    } else {
        p.fail_seen(Some("other-account"), &other.finding(), "another account to log in", &other);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn times(known: f64, unknown: f64, control: f64) -> Times {
        let noise = |base: f64| (0..40).map(|i| base + f64::from(i % 7) * 0.1).collect();
        Times { known: noise(known), unknown: noise(unknown), control: noise(control) }
    }

    #[test]
    fn a_large_difference_tells_users_apart_and_a_control_that_differs_tells_nothing() {
        assert!(matches!(verdict(&times(60.0, 20.0, 20.0)), Timing::Apart(_)));
        assert!(matches!(verdict(&times(20.5, 20.0, 20.0)), Timing::Alike(_)));
        assert!(matches!(verdict(&times(60.0, 20.0, 60.0)), Timing::Noisy(_)));
        // Five pairs that scatter by 40 ms could hide a difference of any interest.
        let wide: Vec<f64> = [20.0, 60.0, 25.0, 64.0, 41.0].to_vec();
        let other: Vec<f64> = [61.0, 20.0, 62.0, 24.0, 40.0].to_vec();
        let scattered = Times { known: wide, unknown: other.clone(), control: other };
        assert!(matches!(verdict(&scattered), Timing::Noisy(_)));
    }
}
