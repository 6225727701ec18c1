//! Is `kid` a name that is looked up, or a path, a query, a command?

use std::time::Duration;

use serde_json::{Value, json};

use super::super::material::{Genuine, all_refused, genuine};
use crate::conformance::answer::Answer;
use crate::conformance::descriptor::{Check, Isolation, Levels, Need, cost};
use crate::conformance::probe::{Control, Expect, Probe, Stop};
use crate::conformance::session::Way;
use crate::jose::{Family, Forge, Hash};
use crate::record::SkipReason;
use crate::target::TokenPlace;

const NEEDS: &[Need] = &[Need::JwtAccess, Need::VerifyWay];

/// What a key lookup would return for a `kid`, so that the HMAC keyed with it verifies.
const INJECTIONS: &[(&str, &str, &[u8])] = &[
    ("path-null", "../../../../../../../../dev/null", b""),
    ("absolute-null", "/dev/null", b""),
    ("path-constant", "../../../../../../../../proc/sys/kernel/randomize_va_space", b"2\n"),
    ("path-constant-trimmed", "../../../../../../../../proc/sys/kernel/randomize_va_space", b"2"),
    ("absolute-constant", "/proc/sys/kernel/randomize_va_space", b"2\n"),
    ("path-ostype", "../../../../../../../../proc/sys/kernel/ostype", b"Linux\n"),
    ("file-url", "file:///dev/null", b""),
    ("encoded-path", "..%2f..%2f..%2f..%2f..%2f..%2fdev%2fnull", b""),
    ("sql-union", "assay' UNION SELECT 'assay-key'-- ", b"assay-key"),
    ("sql-union-hash", "assay' UNION SELECT 'assay-key'#", b"assay-key"),
    ("sql-union-number", "0 UNION SELECT 'assay-key'-- ", b"assay-key"),
    ("sql-union-quotes", "assay\" UNION SELECT 'assay-key'-- ", b"assay-key"),
];

/// What would find the server's own key, so that only a token that is signed with it verifies. `OWN` stands for the
/// genuine `kid`.
const FINDING: &[(&str, &str)] = &[
    ("sql-tautology", "assay' OR '1'='1"),
    ("ldap-wildcard", "*)(|(kid=*"),
    ("wildcard", "*"),
    ("nul-cut", "OWN\0assay"),
];

/// Seconds that an injected command would sleep.
const SLEEP_S: u64 = 2;
/// Commands that sleep, in the shells' ways of running one inside a word, and a database's.
const SLEEPS: &[(&str, &str)] = &[
    ("command-pipe", "assay|sleep 2"),
    ("command-semicolon", "assay;sleep 2;"),
    ("command-substitution", "$(sleep 2)"),
    ("command-backticks", "`sleep 2`"),
    ("sql-sleep", "assay' OR pg_sleep(2) IS NULL-- "),
];

pub(super) const INJECT: Check = Check {
    id: "sig-kid-inject",
    group: "SIG",
    requirement: "kid names a key and is never part of a path, a query or a command",
    sources: &[
        "RFC 8725 section 3.10",
        "RFC 7515 section 4.1.4",
        "PortSwigger Web Security Academy: JWT kid path traversal",
        "draft-ietf-oauth-rfc8725bis section 3.10",
    ],
    levels: Levels::MUST,
    needs: NEEDS,
    variants: &[
        "path-*",
        "absolute-*",
        "file-url",
        "encoded-path",
        "sql-*",
        "ldap-wildcard",
        "wildcard",
        "nul-cut",
        "command-*",
        "refresh-*",
    ],
    isolation: Isolation::Shared,
    cost: cost(130, 2),
    intrusive: false,
    flaws: &["kid-as-path", "kid-pattern", "kid-sql", "unverified-refresh", "kid-command"],
    sends: "tokens whose `kid` leads to a file or a query with a known result, under an HMAC keyed with that result; \
            tokens under the server's own key whose `kid` is a condition or a pattern that finds it; \
            and some whose `kid` would make a shell sleep; and refresh tokens likewise",
    why: "who chooses the file or the row that is the key signs what they like, or runs commands",
    remedy: "look kid up in a map of configured keys; refuse what is not there",
    run: |probe| {
        let genuine = genuine(probe)?;
        let (alg, hash) = match genuine.algorithm {
            Some(row) if row.family == Family::Hmac => (row.name, row.hash),
            _ => ("HS256", Hash::Sha256),
        };
        let of = |kid: &str, key: &[u8]| {
            genuine.forge.clone().header("alg", alg).header("kid", kid).sign_hmac(hash, key).token()
        };
        for (variant, kid, key) in INJECTIONS {
            probe.refuse(variant, &of(kid, key))?;
        }
        finding(probe, &genuine)?;
        for (variant, kid) in SLEEPS {
            sleeps(probe, variant, &of(kid, b"assay-key"), &of("assay", b"assay-key"))?;
        }
        probe.refuse_at_refresh(|token| {
            let Some(parts) = Forge::of(token) else { return Ok(Vec::new()) };
            let keyed = |(variant, kid, key): &(&str, &str, &[u8])| {
                let forge = parts.clone().header("alg", alg).header("kid", *kid).sign_hmac(hash, key);
                (format!("refresh-{variant}"), forge.token())
            };
            let some = ["path-null", "path-constant", "sql-union", "sql-union-number"];
            Ok(INJECTIONS.iter().filter(|(variant, ..)| some.contains(variant)).map(keyed).collect())
        })
    },
};

/// Tokens under the server's own key whose `kid` is no name, but finds that key where it is part of a query. They show
/// something only where an unknown `kid` is refused: who looks at none takes them all.
fn finding(probe: &mut Probe<'_>, genuine: &Genuine) -> Result<(), Stop> {
    let own = genuine.forge.header.get("kid").and_then(|kid| kid.as_str().map(str::to_owned));
    let keyed = match probe.has(Need::SigningKey).then(|| probe.forger()) {
        Some(Ok(forger)) => Some(forger),
        Some(Err(Stop::Skip(_))) | None => None,
        Some(Err(stop)) => return Err(stop),
    };
    let Some(forger) = keyed else {
        for (variant, _) in FINDING {
            probe.skip(variant, SkipReason::Needs(Need::SigningKey.name().to_owned()));
        }
        return Ok(());
    };
    let signed = |kid: &str| forger.sign(forger.forge().header("kid", kid));
    for (variant, kid) in FINDING {
        probe.offer(variant, &signed(&kid.replace("OWN", own.as_deref().unwrap_or("assay")))?)?;
    }
    let unknown = signed("assay-unknown")?;
    let mut looking = Vec::new();
    for way in probe.ways() {
        if probe.resigned_accepted(&way)? && probe.present(&way, &unknown)?.refused() {
            looking.push(way);
        }
    }
    for (variant, kid) in FINDING {
        if looking.is_empty() {
            let why = "no `kid` is looked up: a re-signed token with an unknown one is accepted, or none at all";
            probe.skip(variant, SkipReason::NotApplicable(why.to_owned()));
            continue;
        }
        if *variant == "nul-cut" && own.is_none() {
            probe.skip(variant, SkipReason::NotApplicable("its tokens have no `kid`".to_owned()));
            continue;
        }
        let token = Value::from(signed(&kid.replace("OWN", own.as_deref().unwrap_or_default()))?);
        probe.expect(Some(variant), &token, &looking, Expect::Refused, Control::Resigned)?;
    }
    Ok(())
}

/// Wire to last byte.
fn took(answer: &Answer) -> Duration {
    answer.received.since(answer.sent).duration()
}

/// Whether a token delays the answer by what its command would sleep, twice in a row, and its harmless twin
/// never does.
fn sleeps(probe: &mut Probe<'_>, variant: &str, token: &str, twin: &str) -> Result<(), Stop> {
    probe.offer(variant, token)?;
    let long = Duration::from_millis(SLEEP_S * 1000 - 100);
    // Where every way answers at once, nothing was run; else the slow one is asked again.
    let mut answers = Vec::new();
    // What takes a request without a token accepts every token.
    for way in probe.ways().into_iter().filter(|way| way.refuses_nothing) {
        let first = probe.present(&way, token)?;
        if first.accepted() {
            probe.fail_seen(Some(variant), "accepted", "refused", &first);
            return Ok(());
        }
        answers.push((way, first));
    }
    let slow = answers.iter().position(|(_, first)| took(first) >= long);
    let (way, first) = match slow {
        Some(at) => answers.swap_remove(at),
        None => {
            let all: Vec<Answer> = answers.into_iter().map(|(_, answer)| answer).collect();
            all_refused(probe, variant, "refused at once", &all);
            return Ok(());
        }
    };
    let quiet = probe.present(&way, twin)?;
    let second = probe.present(&way, token)?;
    if took(&second) >= long && took(&quiet) < long / 2 {
        let summary = format!(
            "two answers took {:.1} s and {:.1} s, its harmless twin {:.3} s",
            took(&first).as_secs_f64(),
            took(&second).as_secs_f64(),
            took(&quiet).as_secs_f64()
        );
        probe.fail_told(Some(variant), "sleeps", "refused at once", summary, &second);
    } else {
        probe.inconclusive(Some(variant), "slow", "answers were slow for other reasons too");
    }
    Ok(())
}

pub(super) const TYPE: Check = Check {
    id: "sig-kid-type",
    group: "SIG",
    requirement: "a kid that is no string, or no ordinary one, is refused without a server error",
    sources: &["RFC 7515 section 4.1.4"],
    levels: Levels::MUST,
    needs: NEEDS,
    variants: &["*", "*-empty-key", "refresh-*"],
    isolation: Isolation::Shared,
    cost: cost(60, 2),
    intrusive: false,
    flaws: &["kid-proto", "unverified-refresh"],
    sends: "access and refresh tokens whose `kid` is a number, null, an array, an object, `__proto__`, `constructor`, 64 kB long (1 MB in a body), or holds a NUL; \
            under the old signature and under an HMAC with an empty key",
    why: "a lookup by an unexpected type or name ends in a server error, or finds something that is no key",
    remedy: "require a short string and look it up in a map without inherited members",
    run: |probe| {
        let genuine = genuine(probe)?;
        let (alg, hash) = match genuine.algorithm {
            Some(row) if row.family == Family::Hmac => (row.name, row.hash),
            _ => ("HS256", Hash::Sha256),
        };
        let kids: [(&str, Value); 10] = [
            ("number", json!(1)),
            ("zero", json!(0)),
            ("null", Value::Null),
            ("array", json!(["assay"])),
            ("object", json!({"kid": "assay"})),
            ("true", json!(true)),
            ("proto", json!("__proto__")),
            ("constructor", json!("constructor")),
            ("nul", json!("assay\0assay")),
            ("long", json!("A".repeat(64 * 1024))),
        ];
        for (name, kid) in kids.clone() {
            probe.refuse(name, &genuine.forge.clone().header("kid", kid.clone()).token())?;
            if name != "long" {
                let forge = genuine.forge.clone().header("alg", alg).header("kid", kid);
                probe.refuse(&format!("{name}-empty-key"), &forge.sign_hmac(hash, b"").token())?;
            }
        }
        // No header carries as much; a body may.
        let bodies: Vec<Way> = probe
            .ways()
            .into_iter()
            .filter(|way| probe.target().token_place(&way.operation) == Some(TokenPlace::Body))
            .collect();
        if bodies.is_empty() {
            probe.skip("huge", SkipReason::NotApplicable("no verify way takes a token in its body".to_owned()));
        } else {
            let huge = genuine.forge.clone().header("kid", "A".repeat(1 << 20)).token();
            probe.expect(Some("huge"), &Value::from(huge), &bodies, Expect::Refused, Control::Genuine)?;
        }
        probe.refuse_at_refresh(|token| {
            let Some(parts) = Forge::of(token) else { return Ok(Vec::new()) };
            let odd = |(name, kid): &(&str, Value)| {
                let forge = parts.clone().header("alg", alg).header("kid", kid.clone());
                (format!("refresh-{name}"), forge.sign_hmac(hash, b"").token())
            };
            Ok(kids.iter().filter(|(name, _)| *name != "long").map(odd).collect())
        })
    },
};
