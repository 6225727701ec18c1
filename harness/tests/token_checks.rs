//! Do the checks of the token itself (STRUCT, SIG, TYPE) find what is wrong, and nothing where nothing is?

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use assay::conformance::{Check, Examination, Findings, Selection, catalogue, examine};
use assay::record::{CheckRecord, Grade, Redactor, Verdict};
use assay::scenario::Conformance;
use assay::target::{Dialect, Profile, Target, load};
use axum::extract::Request;
use axum::middleware::Next;
use reference_server::{Algorithm, Config, FlawSet, Hash};

#[path = "kit/live.rs"]
mod live;

/// A reference server on a free port, ended with its runtime.
struct Server {
    url: String,
    _runtime: tokio::runtime::Runtime,
}

fn serve(config: Config, counted: &Arc<Counted>) -> Server {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let app = reference_server::app(config).unwrap();
    let counted = Arc::clone(counted);
    let count = move |request: Request, next: Next| {
        let counted = Arc::clone(&counted);
        async move {
            let login = request.uri().path() == "/api/token/";
            counted.logins.fetch_add(login.into(), Ordering::Relaxed);
            let answer = next.run(request).await;
            counted.server_errors.fetch_add(answer.status().is_server_error().into(), Ordering::Relaxed);
            answer
        }
    };
    let router = app.router(false).layer(axum::middleware::from_fn(count));
    runtime.spawn(async move {
        let listener = tokio::net::TcpListener::from_std(listener).unwrap();
        axum::serve(listener, router).await
    });
    Server { url, _runtime: runtime }
}

fn config(alg: &str, flaws: &[&str]) -> Config {
    let flaws: Vec<_> = flaws.iter().map(|f| f.parse().unwrap()).collect();
    Config {
        algorithm: Algorithm::named(alg).unwrap(),
        flaws: FlawSet::of(&flaws),
        hash: Hash::None,
        issuer: Some("https://issuer.example".to_owned()),
        audience: vec!["assay-api".to_owned()],
        ..Config::default()
    }
}

fn has(config: &Config, flaw: &str) -> bool {
    config.flaws.has(flaw.parse().unwrap())
}

/// The checks of these families against a server, by id.
fn examined(config: Config) -> BTreeMap<String, CheckRecord> {
    examined_as(config, |_| (), &|check| matches!(check.group, "STRUCT" | "SIG" | "TYPE"))
}

/// These checks against a server that is spoken to by a profile that is changed.
fn examined_as(
    config: Config,
    change: impl Fn(&mut Profile),
    wanted: &dyn Fn(&Check) -> bool,
) -> BTreeMap<String, CheckRecord> {
    let (findings, _) = examined_whole(config, change, wanted);
    findings.checks.into_iter().map(|c| (c.id.clone(), c)).collect()
}

/// What a server has counted itself.
#[derive(Default)]
struct Counted {
    logins: AtomicU64,
    server_errors: AtomicU64,
}

/// Everything that these checks find, and what the server has counted meanwhile.
fn examined_whole(
    config: Config,
    change: impl Fn(&mut Profile),
    wanted: &dyn Fn(&Check) -> bool,
) -> (Findings, Arc<Counted>) {
    let alg = config.algorithm.name;
    let flaws: Vec<&str> = reference_server::flaws().iter().map(|f| f.name).filter(|f| has(&config, f)).collect();
    let counted = Arc::new(Counted::default());
    let server = serve(config, &counted);
    let variant = (alg != "HS256").then(|| alg.to_ascii_lowercase());
    let mut profile = load("reference", variant.as_deref(), Path::new(".")).unwrap();
    change(&mut profile);
    let target = Target::new(profile, &server.url, None, &[]).unwrap();
    let ours: Vec<&'static Check> = catalogue().iter().copied().filter(|c| wanted(c)).collect();
    let selection =
        Selection::new(&serde_json::from_value::<Conformance>(serde_json::json!({})).unwrap(), &ours).unwrap();
    let cancel = AtomicBool::new(false);
    let findings = examine(&Examination {
        target: &target,
        topology: "bare",
        selection: &selection,
        redactor: Redactor::default(),
        logs: Vec::new(),
        peer: None,
        deployment: None,
        capsule: None,
        catalogue: &ours,
        on_event: &|_| {},
        cancel: &cancel,
    })
    .unwrap();
    let written = [serde_json::to_string(&findings.checks).unwrap()];
    let alive = live::live_tokens(&written, &live::key(&target));
    assert!(alive.is_empty(), "{alg}, {flaws:?}: the record holds {} live tokens: {}", alive.len(), alive[0]);
    (findings, counted)
}

#[test]
fn every_login_and_every_server_error_is_counted_as_the_server_counts_them() {
    let groups = |check: &Check| matches!(check.group, "ISSUE" | "STRUCT");
    let flawed = config("HS256", &["crash-type", "crash-surrogate"]);
    let (findings, counted) = examined_whole(flawed, |_| (), &groups);
    let (logins, errors) = (counted.logins.load(Ordering::Relaxed), counted.server_errors.load(Ordering::Relaxed));
    let traffic = &findings.traffic;
    assert_eq!((traffic.logins, traffic.server_errors), (logins, errors), "{traffic:?}");
    assert!(logins > 100 && errors > 3 && traffic.requests > logins, "{traffic:?}");
    let told = findings.warnings.iter().find(|warning| warning.code == "server-errors").expect("a warning");
    assert!(told.message.contains(&format!("{errors} were answered with a server error")), "{told:?}");
}

#[test]
fn a_live_token_in_a_record_is_found_by_whoever_looks() {
    let key = assay::jose::SigningKey::secret(&b"a key that is only known here, of 32 bytes"[..]);
    let row = assay::jose::algorithm("HS256").unwrap();
    let blank = assay::jose::Forge::of("e30.e30.AA").unwrap();
    let forge = blank.header("alg", "HS256").claim("sub", "alice").claim("exp", 4_102_444_800_u64);
    let token = forge.sign(&key, row, &mut rand::rng()).unwrap().token();
    let parts: Vec<&str> = token.split('.').collect();
    let (h, p, s) = (parts[0], parts[1], parts[2]);
    let member = format!(r#"{{"payload":"{p}","protected":"{h}","signature":"{s}"}}"#);
    let inside = serde_json::json!({"evidence": [{"request": serde_json::json!({"token": member}).to_string()}]});
    for text in [
        token.clone(),
        member.clone(),
        inside.to_string(),
        member.replace('"', "%22"),
        format!("{h}.{p}.{}\\r\\n{}", &s[..20], &s[20..]),
        format!("{}\r\n{}.{p}.{s}", &h[..9], &h[9..]),
        token.replace('.', "\\u002e"),
    ] {
        assert!(live::finds(&text, &token, &key.verifying_key()), "not found in {text}");
    }
    assert!(!live::finds(&format!("{h}.{p}"), &token, &key.verifying_key()));
}

#[test]
fn nothing_is_found_where_nothing_is_wrong() {
    let mut wrong = Vec::new();
    for alg in ["HS256", "RS256", "PS256", "ES256", "EdDSA"] {
        for (id, record) in examined(config(alg, &[])) {
            let fine = |v: Verdict| matches!(v, Verdict::Pass | Verdict::NotApplicable);
            if !fine(record.verdict) {
                wrong.push(format!("{alg} {id}: {:?} {}", record.verdict, record.summary));
            }
            let check = catalogue().iter().find(|c| c.id == id).unwrap();
            let mut names = std::collections::HashSet::new();
            for v in &record.variants {
                if !fine(v.verdict) {
                    wrong.push(format!("  {}: {:?} {}", v.name, v.verdict, v.summary));
                }
                if !check.has_variant(&v.name) || !names.insert(&v.name) {
                    wrong.push(format!("{id} reports on {}, which it does not list, or twice", v.name));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn every_check_finds_its_flaws() {
    let mut missed = Vec::new();
    for flaw in reference_server::flaws() {
        let alg = flaw.needs.iter().find_map(|n| n.strip_prefix("--alg=")).unwrap_or("HS256");
        let ours: Vec<&str> = flaw
            .kills
            .iter()
            .copied()
            .filter(|id| ["struct-", "sig-", "type-"].iter().any(|family| id.starts_with(family)))
            .collect();
        if ours.is_empty() || flaw.needs.iter().any(|n| n.starts_with("dialect")) {
            continue;
        }
        let records = examined(config(alg, &[flaw.name]));
        let turned: Vec<&str> =
            records.values().filter(|r| r.verdict == Verdict::Fail).map(|r| r.id.as_str()).collect();
        let beside: Vec<&&str> = turned
            .iter()
            .filter(|id| !ours.contains(id) && !flaw.also.iter().any(|also| also == *id || *also == "*"))
            .collect();
        if !beside.is_empty() {
            missed.push(format!("{} turns {beside:?} too, which its row does not say", flaw.name));
        }
        for id in ours {
            if records.contains_key(id) && !turned.contains(&id) {
                let record = &records[id];
                missed.push(format!("{} lives under {}: {:?} {}", id, flaw.name, record.verdict, record.summary));
            }
        }
    }
    assert!(missed.is_empty(), "{}", missed.join("\n"));
}

#[test]
fn every_finding_says_when_and_where_it_was_seen_and_what_became_of_the_controls() {
    let records = examined(config("HS256", &["allow-none", "discover-from-iss"]));
    let failed: Vec<&CheckRecord> = records.values().filter(|r| r.verdict == Verdict::Fail).collect();
    assert!(failed.len() >= 2, "{:?}", failed.iter().map(|r| &r.id).collect::<Vec<_>>());
    for record in &failed {
        assert!(!record.evidence.is_empty(), "{} fails without evidence", record.id);
        for evidence in &record.evidence {
            let (sent, answered) = (evidence.sent_s.unwrap(), evidence.answered_s.unwrap());
            assert!(0.0 <= sent && sent <= answered && answered < 600.0, "{}: {sent} to {answered}", record.id);
            let (low, high) = evidence.clock_offset_s.unwrap();
            assert!(low <= 0.0 && 0.0 <= high, "{}: it is the same clock, not {low} to {high}", record.id);
            assert!(evidence.connection.is_some_and(|number| number > 0), "{}", record.id);
        }
    }
    let forged = &records["sig-alg-none"].evidence[0];
    assert!(forged.controls.len() == 1 && forged.controls[0].before && forged.controls[0].after, "{forged:?}");
    let counted = &records["sig-claim-ssrf"].evidence[0];
    assert!(counted.curl.is_none() && counted.request.is_some(), "the last exchange, and no promise: {counted:?}");
}

/// The grade of every part of a check.
fn grades(record: &CheckRecord) -> BTreeMap<&str, Grade> {
    record.variants.iter().map(|v| (v.name.as_str(), v.grade)).collect()
}

#[test]
fn a_hash_without_the_null_of_its_parameters_is_reported_only() {
    let record = examined(config("RS256", &["lax-pkcs1"])).remove("sig-rsa-padding").unwrap();
    let of = grades(&record);
    assert_eq!((of["no-null"], of["garbage-after-hash"]), (Grade::Ok, Grade::Violation), "{of:?}");
    let told = record.variants.iter().find(|v| v.name == "no-null").unwrap();
    assert!(told.summary.contains("reported only") && told.summary.contains("accepted"), "{}", told.summary);
}

#[test]
fn only_what_is_not_understood_has_to_be_refused_of_the_names_in_crit() {
    for (flaw, part) in [("ignore-crit", ""), ("lax-refresh", "refresh-")] {
        let record = examined(config("HS256", &[flaw])).remove("sig-crit").unwrap();
        let of = grades(&record);
        for (name, grade) in [
            ("unknown", Grade::Violation),
            ("unknown-absent", Grade::Violation),
            ("object", Grade::Violation),
            ("empty", Grade::Weakness),
            ("string", Grade::Weakness),
            ("number-inside", Grade::Weakness),
            ("registered", Grade::Weakness),
            ("null", Grade::Weakness),
        ] {
            assert_eq!(of[format!("{part}{name}").as_str()], grade, "{flaw} {name}: {of:?}");
        }
    }
}

#[test]
fn a_token_without_a_subject_is_missed_only_by_who_looks_the_user_up() {
    for (looks_up, dialect, grade) in [
        (Some(true), Dialect::Simple, Grade::Violation),
        (None, Dialect::Simple, Grade::Weakness),
        (None, Dialect::Rfc9068, Grade::Violation),
        (Some(false), Dialect::Simple, Grade::Skip),
    ] {
        let change = |profile: &mut Profile| {
            profile.dialect = dialect;
            profile.operations.get_mut("verify.resource").unwrap().looks_up_user = looks_up;
        };
        let only = |check: &Check| check.id == "claim-sub-missing";
        let record =
            examined_as(config("HS256", &["anonymous-ok"]), change, &only).remove("claim-sub-missing").unwrap();
        assert_eq!(grades(&record)["missing"], grade, "{looks_up:?}: {record:?}");
    }
}

#[test]
fn logs_to_which_nothing_is_written_show_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("server.log");
    std::fs::write(&log, "what was written before\n").unwrap();
    let names = |profile: &mut Profile| profile.logs = vec![log.display().to_string()];
    let record =
        examined_as(config("HS256", &[]), names, &|check| check.id == "leak-logs").remove("leak-logs").unwrap();
    assert_eq!(record.verdict, Verdict::Inconclusive, "{}", record.summary);
    assert!(record.summary.contains("nothing was written to the 1 logs"), "{}", record.summary);
}

#[test]
fn a_subject_that_converts_to_the_first_user_is_seen_in_the_second_users_token() {
    let record = examined(config("HS256", &["coerce-id"])).remove("type-sub").unwrap();
    let of = |name: &str| record.variants.iter().find(|v| v.name == name).unwrap();
    assert!(of("true").summary.contains("another user"), "{}", of("true").summary);
    // Their own subject, spelled loosely, makes nobody another one.
    for own in ["own-and-blank", "zero-and-own", "array-of-own"] {
        assert!(of(own).summary.contains("saw accepted"), "{own}: {}", of(own).summary);
    }
}

#[test]
fn every_way_into_a_lookup_by_kid_is_seen() {
    for (flaw, seen) in [
        ("kid-as-path", &["path-null", "absolute-null", "file-url", "encoded-path"][..]),
        ("kid-sql", &["sql-union", "sql-union-hash", "sql-union-number", "sql-union-quotes", "sql-tautology"]),
        ("kid-pattern", &["ldap-wildcard", "wildcard", "nul-cut"]),
    ] {
        let record = examined(config("HS256", &[flaw])).remove("sig-kid-inject").unwrap();
        for name in seen {
            let variant = record.variants.iter().find(|v| v.name == *name).unwrap();
            assert_eq!(variant.verdict, Verdict::Fail, "{flaw} {name}: {}", variant.summary);
        }
    }
}

#[test]
fn a_key_that_is_fetched_is_seen_by_whatever_member_and_form_of_address_it_came() {
    let record = examined(config("ES256", &["follow-jku"])).remove("sig-remote-key").unwrap();
    for member in ["jku", "x5u"] {
        for form in ["", "-userinfo", "-prefix", "-redirect"] {
            let name = format!("{member}{form}");
            let variant = record.variants.iter().find(|v| v.name == name).unwrap();
            assert!(variant.summary.contains("accepted"), "{name}: {}", variant.summary);
        }
    }
}

#[test]
fn a_verifier_that_splits_the_json_it_verified_is_seen_by_the_two_blanks_alone() {
    let record = examined(config("HS256", &["verify-json-read-padded"])).remove("struct-polyglot").unwrap();
    let failed: Vec<&str> =
        record.variants.iter().filter(|v| v.verdict == Verdict::Fail).map(|v| v.name.as_str()).collect();
    assert_eq!(failed, ["two-blanks", "two-blanks-genuine-header"]);
}

#[test]
fn refusals_of_wrong_passwords_prove_nothing_where_the_right_one_is_wrong_too() {
    let wrong = |profile: &mut Profile| {
        if let Some(user) = &mut profile.user {
            user.password = "not-the-password".to_owned();
        }
    };
    let ids = ["issue-bad-credentials", "issue-error-uniform", "issue-enum-timing"];
    let records = examined_as(config("HS256", &[]), wrong, &|check| ids.contains(&check.id));
    assert_eq!(records.len(), ids.len());
    for (id, record) in records {
        assert_eq!(record.verdict, Verdict::Blocked, "{id}: {}", record.summary);
    }
}
