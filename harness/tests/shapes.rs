//! Can a profile say what real servers do? Every recipe of docs/profiles.md against a server that behaves so.

#[path = "kit/examples.rs"]
mod examples;
#[path = "kit/shapes/mod.rs"]
mod shapes;

use std::sync::atomic::AtomicBool;

use assay::conformance::{Check, Examination, Selection, catalogue, examine};
use assay::discover::{Question, Talk, Wanted, discover};
use assay::record::{Redactor, Verdict};
use assay::scenario::{Conformance, Source};
use assay::target::{self, Profile, Target, User, parse_profile};
use examples::{as_profile, page};
use shapes::{FOUND, SHAPES, Server, serve, two_csrf_of_any_kind};

/// What every one of these servers does rightly, however it is spoken to.
const CHECKS: &[&str] = &[
    "issue-basic",
    "issue-bad-credentials",
    "issue-post-only",
    "sig-tamper",
    "sig-wrong-key",
    "sig-alg-none",
    "struct-segments",
    "claim-refresh-as-access",
    "refresh-basic",
    "refresh-invalid",
    "refresh-old-rejected",
    "refresh-reuse-family",
    "revoke-effective",
];

/// The profile of a recipe.
fn recipe(name: &str, folder: &tempfile::TempDir) -> Profile {
    let all = examples::examples(&page("profiles.md"));
    let mark = format!("recipe:{name}");
    let example = all.iter().find(|e| e.mark == mark).unwrap_or_else(|| panic!("no recipe `{name}`"));
    for script in &all {
        if let Some(name) = script.mark.strip_prefix("file:") {
            std::fs::write(folder.path().join(name), &script.text).expect("the folder can be written");
        }
    }
    let file = as_profile(example, folder.path());
    let file = file.file_name().expect("a name").to_string_lossy().into_owned();
    target::load(&file, None, folder.path()).unwrap_or_else(|e| panic!("{name}: {e}"))
}

/// The verdict of each check, with what it saw.
fn verdicts(profile: Profile, server: &Server) -> Vec<(String, Verdict, String)> {
    let target = Target::new(profile, &server.url, None, &[]).expect("an address");
    examined(&target, None, CHECKS)
}

/// The verdicts of some checks; `peer`: the same server, past its proxy.
fn examined(target: &Target, peer: Option<&Target>, checks: &[&str]) -> Vec<(String, Verdict, String)> {
    let ours: Vec<&'static Check> = catalogue().iter().copied().filter(|check| checks.contains(&check.id)).collect();
    let asked: Conformance = serde_json::from_value(serde_json::json!({})).expect("defaults");
    let findings = examine(&Examination {
        target,
        topology: "shape",
        selection: &Selection::new(&asked, &ours).expect("globs"),
        redactor: Redactor::default(),
        logs: Vec::new(),
        peer,
        deployment: None,
        capsule: None,
        catalogue: &ours,
        on_event: &|_| {},
        cancel: &AtomicBool::new(false),
    })
    .expect("no `known` entries");
    let warned = findings.warnings.iter().map(|w| ("warning".to_owned(), Verdict::Fail, format!("{w:?}")));
    findings.checks.iter().map(|c| (c.id.clone(), c.verdict, c.summary.clone())).chain(warned).collect()
}

/// Nothing is found, and something was looked at.
#[track_caller]
fn clean(name: &str, profile: Profile, server: &Server) {
    let seen = verdicts(profile, server);
    let wrong: Vec<_> = seen
        .iter()
        .filter(|(_, verdict, _)| !matches!(verdict, Verdict::Pass | Verdict::NotApplicable | Verdict::Blocked))
        .collect();
    assert!(wrong.is_empty(), "{name}: {wrong:#?}");
    let passed = seen.iter().filter(|(_, verdict, _)| *verdict == Verdict::Pass).count();
    assert!(passed >= 3, "{name}: only {passed} checks could look: {seen:#?}");
}

#[test]
fn every_recipe_speaks_to_a_server_that_behaves_so() {
    for (name, shape) in SHAPES {
        // A script of the profile runs in this folder.
        let folder = tempfile::tempdir().expect("a folder");
        clean(name, recipe(name, &folder), &serve(*shape));
    }
    let text = page("profiles.md");
    let untried: Vec<_> = examples::examples(&text)
        .into_iter()
        .filter_map(|e| e.mark.strip_prefix("recipe:").map(str::to_owned))
        .filter(|name| name != "rs-only" && !SHAPES.iter().any(|(known, _)| known == name))
        .collect();
    assert!(untried.is_empty(), "no server behaves as the recipes {untried:?} say");
}

#[test]
fn a_kind_that_only_a_csrf_value_keeps_apart_is_found_with_the_value_that_is_its_own() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = serve(two_csrf_of_any_kind);
    let target = Target::new(recipe("two-csrf", &folder), &server.url, None, &[]).expect("an address");
    let seen = examined(&target, None, &["claim-refresh-as-access", "claim-access-as-refresh"]);
    assert!(seen.iter().all(|(_, verdict, _)| *verdict == Verdict::Fail) && seen.len() == 2, "{seen:#?}");
}

#[test]
fn logins_with_tokens_in_cookies_are_told_apart_by_their_tokens() {
    let (_, shape) = SHAPES.iter().find(|(name, _)| *name == "cookies").expect("a shape");
    let (server, folder) = (serve(*shape), tempfile::tempdir().expect("a folder"));
    for (second, expected) in [("bob", Verdict::Pass), ("nobody", Verdict::Inconclusive)] {
        let mut profile = recipe("cookies", &folder);
        profile.second_user = profile.user.clone().map(|user| User { login: second.into(), ..user });
        let target = Target::new(profile, &server.url, None, &[]).expect("an address");
        let seen = examined(&target, Some(&target), &["proxy-cache-token"]);
        assert_eq!(seen[0].1, expected, "{second}: {seen:?}");
    }
}

#[test]
fn a_login_that_brings_less_than_the_requests_send_is_one_doubt() {
    let (_, shape) = SHAPES.iter().find(|(known, _)| *known == "cookies").expect("a shape");
    let server = serve(*shape);
    let folder = tempfile::tempdir().expect("a folder");
    let mut profile = recipe("cookies", &folder);
    let issue = profile.operations.get_mut("issue").expect("a login");
    issue.returns.insert("csrf".into(), "cookie:csrf_of_another_setting".into());
    // What needs an operation that the profile does not have is skipped as ever.
    let tried = verdicts(profile, &server).into_iter().filter(|(_, verdict, _)| *verdict != Verdict::Blocked);
    for (id, verdict, seen) in tried {
        assert_eq!(verdict, Verdict::Inconclusive, "{id}: {seen}");
        assert!(seen.contains("the login brings no cookie csrf_of_another_setting (`csrf`)"), "{id}: {seen}");
    }
}

/// Nobody is there to be asked.
struct Silent(Vec<String>);

impl Talk for Silent {
    fn say(&mut self, line: &str) {
        self.0.push(line.to_owned());
    }
    fn ask(&mut self, _: Question) -> Option<String> {
        None
    }
}

fn wanted(server: &Server) -> Wanted {
    Wanted {
        url: server.url.clone(),
        user: Some("alice".into()),
        password: Some("correct-horse-9".into()),
        ..Wanted::default()
    }
}

/// What discovery wrote for a shape, and what it told.
fn found(name: &str, hints: impl FnOnce(&mut Wanted)) -> (Server, Profile, String) {
    let (_, shape) = SHAPES.iter().chain(FOUND).find(|(known, _)| *known == name).expect("a shape");
    let server = serve(*shape);
    let mut talk = Silent(Vec::new());
    let mut asked = wanted(&server);
    hints(&mut asked);
    let draft = discover(asked, &mut talk).unwrap_or_else(|e| panic!("{name}: {e}\n{:#?}", talk.0));
    let profile = parse_profile(&Source::new("found.yaml", ".", &*draft.profile), None)
        .unwrap_or_else(|e| panic!("{name}: {e}\n{}", draft.profile));
    (server, profile, talk.0.join("\n"))
}

#[test]
fn discovery_finds_such_servers_by_itself_or_with_a_hint() {
    let none: fn(&mut Wanted) = |_| {};
    let client: fn(&mut Wanted) = |w| {
        w.client = Some("shop".into());
        w.client_secret = Some("shop-secret-9".into());
    };
    type Change = fn(&mut Wanted);
    let hints: &[(&str, Change)] = &[
        ("created", none),
        ("cookies", none),
        ("form-client", client),
        ("html-refusal", none),
        ("refresh-in-header", none),
        ("both-tokens", none),
        ("token-table", none),
        ("odd-places", |w| w.resource = Some("/me".into())),
        ("always-200", |w| {
            w.login = Some("/rpc/login".into());
            w.fields = vec![("name".into(), "${user.login}".into()), ("password".into(), "${user.password}".into())];
        }),
    ];
    for (name, hint) in hints {
        let (server, profile, told) = found(name, hint);
        if *name == "always-200" {
            // It has no GET that needs a token, and nobody told where the check is.
            assert!(profile.verify_ways().is_empty() && told.contains("--resource"), "{told}");
            continue;
        }
        clean(name, profile, &server);
    }
}

#[test]
fn discovery_sees_what_a_refresh_does() {
    let (_, profile, told) = found("cookies", |_| {});
    let refresh = &profile.operations["refresh"];
    assert_eq!((refresh.rotates, refresh.replay_revokes_family), (Some(true), Some(true)), "{told}");
    let (_, profile, told) = found("refresh-in-header", |_| {});
    let refresh = &profile.operations["refresh"];
    assert_eq!((refresh.rotates, refresh.kills_old_access), (Some(false), Some(false)), "{told}");
    assert!(refresh.request.as_ref().is_some_and(|request| request.auth.is_some()), "{told}");
    let (_, profile, told) = found("by-second", |_| {});
    let refresh = &profile.operations["refresh"];
    assert_eq!((refresh.rotates, refresh.replay), (Some(true), Some(target::Replay::Accepted)), "{told}");
}

#[test]
fn a_logout_that_no_document_names_is_told_with_what_it_does() {
    let (server, profile, told) = found("idle", |_| {});
    assert!(told.contains("POST /token: a new refresh token each time"), "{told}");
    assert!(told.contains("POST /logout: 200 {\"bye\":true}; WHAT IS REVOKED GOES ON WORKING"), "{told}");
    let seen = verdicts(profile, &server);
    assert!(seen.iter().any(|(id, verdict, _)| id == "revoke-effective" && *verdict == Verdict::Fail), "{seen:?}");
    let (_, profile, told) = found("by-refresh", |_| {});
    assert!(told.contains("DELETE /logout: 200 {\"bye\":true}; what is revoked is refused from then on"), "{told}");
    let accepts = profile.operations["revoke"].accepts.as_deref();
    assert_eq!(accepts, Some(&[target::TokenUse::Refresh][..]), "{told}");
}

#[test]
fn a_logout_that_is_declared_to_say_yes_to_anything_may_do_so() {
    for (invalid, expected) in [(200, Verdict::Pass), (400, Verdict::Fail)] {
        let (server, mut profile, _) = found("any-logout", |_| {});
        let logout = serde_json::json!({
            "request": {"method": "POST", "path": "/bye", "body": "json", "fields": {"token": "${token}"}},
            "accepted": {"status": 200}, "invalid": {"status": invalid}, "accepts": ["refresh"],
        });
        profile.operations.insert("revoke".into(), serde_json::from_value(logout).expect("an operation"));
        let target = Target::new(profile, &server.url, None, &[]).expect("an address");
        let seen = examined(&target, None, &["struct-not-a-string"]);
        assert_eq!(seen[0].1, expected, "{invalid}: {seen:?}");
    }
}

#[test]
fn what_the_user_named_is_told_with_what_it_answered() {
    let (_, _, told) = found("idle", |wanted| {
        wanted.resource = Some("/login".into());
        wanted.refresh = Some("/renew".into());
    });
    assert!(told.contains("GET /login answers 405") && told.contains("to the fresh token"), "{told}");
    assert!(told.contains("POST /renew answers 404"), "{told}");
    let (_, profile, told) = found("form-client", |w| {
        w.client = Some("shop".into());
        w.client_secret = Some("shop-secret-9".into());
        w.fields = vec![("scope".into(), "read write".into())];
    });
    let login = profile.operations["issue"].request.as_ref().expect("a request");
    assert_eq!(login.fields["scope"], "read write", "{told}");
}

#[test]
fn a_wrong_password_is_told_with_what_was_tried() {
    let (_, shape) = SHAPES[0];
    let server = serve(shape);
    let asked = Wanted { password: Some("wrong".into()), ..wanted(&server) };
    let error = discover(asked, &mut Silent(Vec::new())).expect_err("nobody logs in so").to_string();
    assert!(error.contains("POST /sessions (JSON: email, password): 422"), "{error}");
    assert!(error.contains("hint: look at user and password"), "{error}");
    let asked = Wanted { user: None, ..wanted(&server) };
    let error = discover(asked, &mut Silent(Vec::new())).expect_err("nobody is known").to_string();
    assert!(error.contains("--user"), "{error}");
}

#[test]
fn a_secret_from_the_environment_stays_out_of_the_file() {
    let (_, shape) = SHAPES.iter().find(|(known, _)| *known == "form-client").expect("a shape");
    let server = serve(*shape);
    let folder = tempfile::tempdir().expect("a folder");
    let init = |more: &[&str], environment: &[(&str, &str)]| {
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_assay"))
            .args(["init", &server.url, "--name", "shop", "--force", "--user", "alice", "--client", "shop"])
            .args(more)
            .envs(environment.iter().copied())
            .current_dir(folder.path())
            .output()
            .expect("the program starts");
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{told}");
        (std::fs::read_to_string(folder.path().join("shop.profile.yaml")).expect("a profile"), told)
    };
    let (profile, told) = init(&[], &[("ASSAY_PASSWORD", "correct-horse-9"), ("ASSAY_CLIENT_SECRET", "shop-secret-9")]);
    assert!(profile.contains("${env:ASSAY_CLIENT_SECRET}") && profile.contains("${env:ASSAY_PASSWORD}"), "{profile}");
    assert!(!profile.contains("shop-secret-9") && !profile.contains("correct-horse-9"), "{profile}");
    assert!(!told.contains("readable by you alone"), "{told}");
    let given = [("ASSAY_PASSWORD", "correct-horse-9"), ("ASSAY_CLIENT_SECRET", "shop-secret-9")];
    let (profile, told) = init(&["--header", "X-Api-Key: gateway-key-9", "--header", "X-Tenant: shop"], &given);
    assert!(profile.contains("gateway-key-9") && profile.contains("X-Tenant"), "{profile}");
    assert!(told.contains("holds `X-Api-Key` and is readable by you alone"), "{told}");
    let named = [&given[..], &[("GATEWAY_KEY", "gateway-key-9")]].concat();
    let (profile, told) = init(&["--header", "X-Api-Key: ${env:GATEWAY_KEY}"], &named);
    assert!(profile.contains("${env:GATEWAY_KEY}") && !profile.contains("gateway-key-9"), "{profile}");
    assert!(!told.contains("readable by you alone") && told.contains("next: assay check "), "{told}");
    let (profile, told) = init(&["--client-secret", "shop-secret-9"], &[("ASSAY_PASSWORD", "correct-horse-9")]);
    assert!(profile.contains("shop-secret-9"), "{profile}");
    assert!(told.contains("holds a secret and is readable by you alone"), "{told}");
}
