//! Is every mistake in a file shown where it is, with what would be right?

use proptest::prelude::*;

use super::*;

fn vocabulary() -> Vocabulary {
    let link = |name: &str, server: bool, settings: &[&str]| LinkWord {
        name: name.into(),
        server,
        settings: settings.iter().map(|s| (*s).to_owned()).collect(),
    };
    let words = |words: &[&str]| words.iter().map(|w| (*w).to_owned()).collect::<Vec<_>>();
    Vocabulary {
        links: vec![link("reference-server", true, &["alg", "flaws"]), link("nginx", false, &["keepalive", "workers"])],
        operations: Some(words(&["issue", "refresh", "verify", "access"])),
        checks: words(&["sig-alg-none", "time-exp-leeway", "sig", "time", "signing-key"]),
        formats: words(&["html", "json", "junit"]),
        variants: Some(words(&["rs256"])),
    }
}

/// Everything that is said about a text.
fn said(text: &str) -> String {
    match from_source(Source::new("s.yaml", ".", text)) {
        Ok(loaded) => loaded.validate(&vocabulary()).render(false),
        Err(diagnostics) => diagnostics.render(false),
    }
}

const GOOD: &str = "name: x\ntarget: reference\ntopologies: {bare: [reference-server]}\nconformance: {}\n";

macro_rules! shows {
    ($($name:ident: $text:expr;)*) => {$(
        #[test]
        fn $name() {
            insta::assert_snapshot!(said($text));
        }
    )*};
}

shows! {
    an_unknown_key_names_the_nearest: "name: x\ntarget: reference\ntopologis: {}\nload:\n  arrivl: 1\n";
    every_mistake_of_a_file_is_shown_at_once: concat!(
        "name: x y\ntarget: reference\nvariant: rs265\ntopologies:\n  bare: [reference-servr]\n  nginx: [reference-server, {nginx: {keepaliv: 1}}]\n",
        "  odd: [nginx, reference-server]\n  far: {url: http://login.example.org}\nconformance: {only: [sig-alg-nome], budget: ci}\nload:\n",
        "  arrival: {open: {rate: 500/s, process: poisson}}\n  stages: [{hold: 0s}]\n  mix: {isue: 1, access: -1}\n  warmup: 2s\n",
        "thresholds:\n  - acces.response.p99 < 20ms\n  - \"failed.ratio in ngnix < 1%\"\n  - failed.ratio < 20ms\ncompare: {baseline: bar}\nreports: [html, pdf]\n");
    wrong_values_in_several_places: "name: [a]\ntarget: reference\ntopologies: {bare: [reference-server]}\nload:\n  arrival: {open: {rate: fast, process: poison}}\n  mix: {issue: much}\n  warmup: soon\n  seed: -1\n";
    a_choice_given_twice: "name: x\ntarget: r\ntopologies: {bare: [reference-server]}\nload: {arrival: {open: {rate: 1/s}, closed: {users: 1}}, mix: {issue: 1}}\n";
    a_missing_key: "name: x\ntopologies: {bare: [reference-server]}\nload: {mix: {issue: 1}}\n";
    nothing_to_do: "name: x\ntarget: r\ntopologies: {}\n";
    yes_is_no_boolean: "name: x\ntarget: r\ntopologies: {bare: [reference-server]}\nconformance: {intrusive: yes}\n";
    a_list_for_a_mapping: "- name: x\n";
    an_empty_file: "# nothing\n";
    two_documents: "name: x\n---\nname: y\n";
    a_key_given_twice: "name: x\nname: y\n";
    an_anchor: "name: &a x\ntarget: *a\n";
    a_merge_key: "name: x\nload: {<<: 1}\n";
    a_tag: "name: !!binary aGk=\n";
    broken_yaml: "name: x\n  target: [r\n";
    a_key_without_a_value: "name: x\ntarget:\ntopologies:\n";
    wide_characters_before_the_mistake: "name: \"日本語\"\ntarget: r\ntopologies: {bare: [reference-server], \"日本語\": {urll: x}}\nconformance: {}\n";
    users_nobody_has: "name: x\ntarget: r\ntopologies: {bare: [reference-server]}\nload: {arrival: {closed: {users: 0}}, mix: {}, stages: [], connections: 0, timeout: 0s, tokens: {sessions: 0, expired: 60%, tampered: 60%}}\n";
}

#[test]
fn a_good_scenario_says_nothing() {
    assert_eq!(said(GOOD), "");
}

fn load_of(load: &str, thresholds: &str) -> String {
    said(&format!(
        "name: x\ntarget: r\ntopologies: {{bare: [reference-server]}}\nload: {load}\nthresholds: {thresholds}\n"
    ))
}

#[test]
fn a_closed_model_and_a_search_take_no_stage_that_changes_the_rate() {
    let closed = |stages: &str| {
        load_of(&format!("{{arrival: {{closed: {{users: 5}}}}, mix: {{access: 1}}, stages: {stages}}}"), "[]")
    };
    assert_eq!(closed("[{hold: 5s}, {hold: 2s}]"), "");
    for (shape, stage) in [
        ("ramp", "{ramp: 5s}"),
        ("spike", "{spike: {height: 2, lasts: 1s}}"),
        ("sine", "{sine: {amplitude: 50%, period: 1s, lasts: 2s}}"),
    ] {
        let told = closed(&format!("[{{hold: 5s}}, {stage}]"));
        assert!(told.contains(&format!("`{shape}` has no meaning here: a closed model has no rate")), "{told}");
    }
    let search = "{arrival: {open: {rate: 50/s}}, mix: {access: 1}, stages: [{ramp: 5s}], find: max-rate}";
    let told = load_of(search, "[response.p50 < 1s]");
    assert!(told.contains("each try of a search holds one rate"), "{told}");
    // `rates` is an open model, whatever `arrival` is by default.
    assert_eq!(load_of("{rates: {access: 50/s}, stages: [{ramp: 5s}]}", "[]"), "");
}

#[test]
fn validate_and_the_load_draw_one_limit_of_users_and_connections() {
    let of = |users: u32, connections: u32| {
        load_of(
            &format!("{{arrival: {{closed: {{users: {users}}}}}, mix: {{access: 1}}, connections: {connections}}}"),
            "[]",
        )
    };
    assert_eq!(of(MOST_CONNECTIONS, MOST_CONNECTIONS), "");
    assert!(of(MOST_CONNECTIONS + 1, 1).contains("expected 1 to 60000 users, saw 60001"));
    assert!(of(1, MOST_CONNECTIONS + 1).contains("expected 1 to 60000 connections, saw 60001"));
}

#[test]
fn a_window_lies_within_the_load() {
    let of = |threshold: &str| {
        let load = "{arrival: {open: {rate: 50/s}}, mix: {access: 1}, stages: [{hold: 4s}, {hold: 6s}]}";
        load_of(load, &format!("[{threshold}]"))
    };
    assert_eq!(of("response.p99 from 2500ms to 10s < 1s"), "");
    assert!(of("response.p99 from 10s < 1s").contains("the window begins 10s in, and the load lasts 10s"));
    assert!(of("response.p99 to 11s < 1s").contains("the window ends 11s in"));
}

#[test]
fn a_billion_laughs_are_refused_at_once() {
    let mut bomb = "a: &a [x, x, x, x, x, x, x, x, x]\n".to_owned();
    for (from, to) in ["ab", "bc", "cd", "de", "ef", "fg", "gh", "hi"].iter().map(|p| p.split_at(1)) {
        bomb.push_str(&format!(
            "{to}: &{to} [*{from}, *{from}, *{from}, *{from}, *{from}, *{from}, *{from}, *{from}, *{from}]\n"
        ));
    }
    let deep = format!("name: {}x{}\n", "[".repeat(5_000), "]".repeat(5_000));
    let deep_block = (0..2_000).map(|n| format!("{}a:\n", " ".repeat(n))).collect::<String>();
    let wide = format!("name: [{}]\n", "a,".repeat(60_000));
    let long = "x".repeat(MAX_BYTES + 1);
    let started = std::time::Instant::now();
    for text in [&bomb, &deep, &deep_block, &wide, &long] {
        assert!(parse(&Source::new("bomb.yaml", ".", text.clone())).is_err());
    }
    // Generous: what matters is that it is not seconds, also on a busy machine in a debug build.
    assert!(started.elapsed() < std::time::Duration::from_secs(2), "{:?}", started.elapsed());
}

#[test]
fn plain_scalars_follow_the_core_schema_strictly() {
    let source = Source::new(
        "s.yaml",
        ".",
        "[yes, on, 012, 0x1f, 1e3, -7, 1.50, true, ~, 18446744073709551615, .5, 1_000, '1', 2026-01-01]",
    );
    let tree = parse(&source).unwrap();
    assert_eq!(
        tree.json(),
        serde_json::json!([
            "yes",
            "on",
            "012",
            "0x1f",
            1000.0,
            -7,
            1.5,
            true,
            null,
            18446744073709551615_u64,
            0.5,
            "1_000",
            "1",
            "2026-01-01"
        ])
    );
}

#[test]
fn a_number_is_taken_as_its_text_where_a_text_is_wanted() {
    #[derive(serde::Deserialize)]
    struct Login {
        password: String,
        rate: crate::units::Rate,
    }
    let tree = parse(&Source::new("s.yaml", ".", "password: 01234.50\nrate: 500\n")).unwrap();
    let login: Login = decode(&tree).unwrap();
    assert_eq!((login.password.as_str(), login.rate.0), ("01234.50", 500.0));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn no_text_makes_the_reader_panic(text in "[\\PC\n\t ]{0,200}") {
        let _ = said(&text);
    }

    #[test]
    fn no_scrambled_scenario_makes_the_reader_panic(cuts in prop::collection::vec((0usize..600, 0usize..40, "[a-z:{}\\[\\],&*!|>'\"#\n -]{0,6}"), 1..6)) {
        let mut text = include_str!("../../../scenarios/bare-vs-proxy.yaml").to_owned();
        for (at, length, new) in cuts {
            let start = (0..=at.min(text.len())).rev().find(|i| text.is_char_boundary(*i)).unwrap_or(0);
            let end = (start..=(start + length).min(text.len())).rev().find(|i| text.is_char_boundary(*i)).unwrap_or(start);
            text.replace_range(start..end, &new);
        }
        let _ = said(&text);
    }
}
