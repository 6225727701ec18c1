//! A run such as a real one leaves: every kind of record, three topologies of which one is a stand-in, one left out.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;
use rand::SeedableRng as _;
use rand_pcg::Pcg64Mcg;

use crate::record::*;
use crate::stats;

type Random = Pcg64Mcg;

fn uniform(random: &mut Random) -> f64 {
    use rand::RngExt as _;
    random.random_range(1e-12..1.0)
}

/// A response time: a log-normal body with a slow tail now and then.
fn response(random: &mut Random, median_ns: f64) -> u64 {
    let gauss = (-2.0 * uniform(random).ln()).sqrt() * (std::f64::consts::TAU * uniform(random)).cos();
    let tail = if uniform(random) < 0.012 { 4.0 + 20.0 * uniform(random) } else { 1.0 };
    (median_ns * (0.18 * gauss).exp() * tail) as u64
}

fn histogram(random: &mut Random, n: u64, median_ns: f64) -> Histogram<u64> {
    let mut h = Histogram::new_with_bounds(1, 60_000_000_000, 3).unwrap();
    (0..n).for_each(|_| h.saturating_record(response(random, median_ns)));
    h
}

/// So many that were waited for five seconds.
fn waited(n: u64) -> Histogram<u64> {
    let mut h = Histogram::new_with_bounds(1, 60_000_000_000, 3).unwrap();
    h.record_n(5_000_000_000, n).unwrap();
    h
}

fn operation(random: &mut Random, name: &str, n: u64, median_ns: f64, failed: u64) -> OperationRecord {
    let h = histogram(random, n, median_ns);
    let mut response = stats::summarise(&h, 0);
    let in_flight = u64::from(name == "issue");
    response.censored_from = stats::censored_from(&h, in_flight);
    OperationRecord {
        operation: name.to_owned(),
        accounting: Accounting {
            planned: n + failed + in_flight,
            completed: n,
            failed,
            timed_out: 0,
            skipped: 0,
            in_flight,
            unsent: 0,
            by_us: 0,
        },
        errors: match failed {
            0 => Vec::new(),
            count => vec![ErrorCount {
                kind: "status 502".to_owned(),
                count,
                example: Some("HTTP/1.1 502 Bad Gateway, 157 bytes of text/html".to_owned()),
            }],
        },
        response,
        service: stats::summarise(&histogram(random, n, median_ns * 0.97), 0),
        lag: stats::summarise(&histogram(random, n, 900.0), 0),
        phases: BTreeMap::from([(
            "first-byte".to_owned(),
            stats::summarise(&histogram(random, n, median_ns * 0.9), 0),
        )]),
        unended: UnendedRecord { response: stats::summarise(&waited(in_flight), 0), ..UnendedRecord::default() },
    }
}

/// Operations of the mix with their share of the rate and the median of the bare server, in nanoseconds.
const MIX: [(&str, f64, f64); 4] = [
    ("issue", 0.01, 31_400_000.0),
    ("refresh", 0.09, 410_000.0),
    ("verify", 0.4, 238_000.0),
    ("access", 0.5, 205_000.0),
];

fn load(random: &mut Random, topology: &str, hop_ns: f64, failed: u64) -> LoadRecord {
    let mut operations = Vec::new();
    let mut seconds = Vec::new();
    for (name, share, median) in MIX {
        let n = (500.0 * share * 20.0) as u64;
        operations.push(operation(random, name, n, median + hop_ns, if name == "access" { failed } else { 0 }));
        for second in 0..20 {
            let slow = if second == 12 && topology == "nginx" { 3.5 } else { 1.0 };
            let h = histogram(random, (500.0 * share) as u64, (median + hop_ns) * slow);
            seconds.push(SecondRecord {
                second,
                operation: name.to_owned(),
                planned: None,
                ended: None,
                timed_out: 0,
                unended: 0,
                completed: h.len() + (uniform(random) * 6.0) as u64,
                failed: if second == 12 && name == "access" { failed } else { 0 },
                response_p50_ns: Some(h.value_at_quantile(0.5)),
                response_p99_ns: Some(h.value_at_quantile(0.99)),
                response_max_ns: Some(h.max()),
                service_p50_ns: Some(h.value_at_quantile(0.5)),
                service_p99_ns: None,
                lag_p50_ns: None,
                lag_p99_ns: None,
            });
        }
    }
    let sum = |f: fn(&Accounting) -> u64| operations.iter().map(|o| f(&o.accounting)).sum();
    LoadRecord {
        topology: topology.to_owned(),
        model: "open 500/s poisson".to_owned(),
        open: true,
        duration_s: 20.0,
        warmup_s: 2.0,
        connections: 64,
        workers: 1,
        idle: "poll".to_owned(),
        accounting: Accounting {
            planned: sum(|a| a.planned),
            completed: sum(|a| a.completed),
            failed: sum(|a| a.failed),
            timed_out: 0,
            skipped: 0,
            in_flight: sum(|a| a.in_flight),
            unsent: 0,
            by_us: 0,
        },
        operations,
        seconds,
        windows: Vec::new(),
        sent_again: 0,
        opened: 0,
        certificate: CertificateRecord {
            void: Vec::new(),
            doubts: match topology {
                "nginx" => vec!["nginx and the token server shared core 1".to_owned()],
                _ => Vec::new(),
            },
            lag_n: 10_000,
            notes: Vec::new(),
            lag_p50_ns: 890,
            lag_p99_ns: 21_400,
            achieved: 0.9997,
            busy: 0.118,
            cpu_s: 19.6,
            steal: Some(0.0021),
            pressure: Some(0.034),
            throttled: Some(0.0),
            time_wait: Some(12),
            ports: Some(28_232),
            workers: Vec::new(),
            floor_p50_ns: Some(58_000),
            floor_p99_ns: Some(97_000),
            bottleneck: None,
        },
        distinct_token_ratio: Some(0.0497),
        hlog: Some(format!("load-{topology}.hlog")),
        findings: Vec::new(),
        looked_at: 1000,
        sampled: 400,
        verified: 90,
        controls: None,
        flow: None,
        housekeeping: HousekeepingRecord::default(),
        found: None,
        aborted_by: None,
    }
}

fn comparison(random: &mut Random, candidate: &str, hop_ns: f64) -> ComparisonRecord {
    let mut block = |hop: f64| {
        let drift = 1.0 + 0.02 * uniform(random);
        let responses = MIX
            .iter()
            .map(|(name, share, median)| {
                let n = (500.0 * share * 2.0) as u64;
                ((*name).to_owned(), histogram(random, n, median * drift + hop))
            })
            .collect();
        stats::Block { responses, failed: 0, lag_p50_ns: 900 }
    };
    let pairs: Vec<stats::Pair> =
        (0..6).map(|_| stats::Pair { baseline: block(0.0), candidate: block(hop_ns) }).collect();
    let design = stats::Design {
        baseline: "bare".into(),
        candidate: candidate.into(),
        effort: "quick".into(),
        block_s: 2.0,
        rate_per_s: 500.0,
        knee_per_s: Some(4_812.0),
        gates: vec![0.5, 0.9],
        dropped: Vec::new(),
        seed: 42,
    };
    let speed = 1.0 / (1.0 + hop_ns / 420_000.0);
    let throughput: Vec<(f64, f64)> = (0..6)
        .map(|_| {
            let base = 4_800.0 + 300.0 * uniform(random);
            (base, base * speed * (0.98 + 0.04 * uniform(random)))
        })
        .collect();
    let same: Vec<f64> = (0..6).map(|_| 9_000.0 * (uniform(random) - 0.5)).collect();
    let delayed: Vec<f64> = (0..6).map(|_| 100_000.0 + 9_000.0 * (uniform(random) - 0.5)).collect();
    let controls =
        vec![stats::control("A/A", 0.0, &same, 5_000.0), stats::control("A/A+delta", 100_000.0, &delayed, 5_000.0)];
    stats::compare(&design, &pairs, &throughput, controls).unwrap()
}

/// A check that holds.
struct Held(&'static str, &'static str, &'static str, &'static str, Level);

const HELD: [Held; 22] = [
    Held("issue-basic", "ISSUE", "valid credentials give 200 and non-empty tokens", "RFC 6749 5.1", Level::Must),
    Held(
        "issue-bad-credentials",
        "ISSUE",
        "a wrong password and an unknown user get no token and no 5xx",
        "RFC 6749 5.2",
        Level::Must,
    ),
    Held(
        "issue-no-store",
        "ISSUE",
        "every response that carries a token says Cache-Control: no-store",
        "RFC 6749 5.1; ASVS 14.3.2",
        Level::Should,
    ),
    Held(
        "issue-post-only",
        "ISSUE",
        "credentials in a query of GET give no token",
        "RFC 6749 3.2; ASVS 14.2.1",
        Level::Must,
    ),
    Held(
        "issue-lifetime",
        "ISSUE",
        "exp minus iat is the declared lifetime within a second",
        "ASVS 7.3.2",
        Level::Should,
    ),
    Held("struct-segments", "STRUCT", "a token without exactly three segments is refused", "RFC 7519 7.2", Level::Must),
    Held("struct-b64-junk", "STRUCT", "characters outside base64url make a token invalid", "RFC 4648 3.3", Level::Must),
    Held(
        "sig-tamper",
        "SIG",
        "one flipped bit in any segment makes a token invalid",
        "RFC 7515 5.2; ASVS 9.1.1",
        Level::Must,
    ),
    Held("sig-wrong-key", "SIG", "a token signed with another key is refused", "RFC 7515 5.2", Level::Must),
    Held(
        "sig-alg-none",
        "SIG",
        "a token with the algorithm none is refused in every spelling",
        "RFC 8725 3.2; CVE-2015-9235",
        Level::Must,
    ),
    Held(
        "sig-alg-odd",
        "SIG",
        "a missing, empty or unknown algorithm is refused without a crash",
        "RFC 8725 3.1",
        Level::Must,
    ),
    Held(
        "sig-embedded-jwk",
        "SIG",
        "a key that the token itself brings is not trusted",
        "ASVS 9.1.3; CVE-2018-0114",
        Level::Must,
    ),
    Held(
        "sig-kid-inject",
        "SIG",
        "paths and queries in kid reach neither files nor databases",
        "RFC 8725 3.10",
        Level::Must,
    ),
    Held("time-exp-rejected", "TIME", "an expired token is refused", "RFC 7519 4.1.4", Level::Must),
    Held("time-exp-missing", "TIME", "a token without exp is refused", "RFC 9068 2.2", Level::Should),
    Held("time-nbf", "TIME", "a token is refused before its nbf", "RFC 7519 4.1.5", Level::Must),
    Held(
        "claim-refresh-as-access",
        "CLAIM",
        "a refresh token is refused at the resource",
        "RFC 8725 3.12",
        Level::Must,
    ),
    Held("claim-access-as-refresh", "CLAIM", "an access token cannot be refreshed", "RFC 8725 3.12", Level::Must),
    Held(
        "refresh-basic",
        "REFRESH",
        "a refresh gives a new access token for the same subject",
        "RFC 6749 6",
        Level::Must,
    ),
    Held("revoke-effective", "REVOKE", "a revoked refresh token is refused afterwards", "RFC 7009 2", Level::Must),
    Held("bearer-missing", "BEARER", "no credentials give 401 with a Bearer challenge", "RFC 6750 3", Level::Must),
    Held("bearer-scheme-case", "BEARER", "the scheme is compared without regard to case", "RFC 9110 11.1", Level::Must),
];

fn check(held: &Held, topology: &str) -> CheckRecord {
    let Held(id, group, requirement, sources, level) = held;
    CheckRecord {
        id: (*id).into(),
        group: (*group).into(),
        requirement: (*requirement).into(),
        sources: sources.split("; ").map(str::to_owned).collect(),
        level: *level,
        topology: topology.into(),
        verdict: Verdict::Pass,
        grade: Grade::Ok,
        required: false,
        reason: None,
        summary: "as required".into(),
        known: None,
        finding: "holds".into(),
        variants: Vec::new(),
        evidence: Vec::new(),
        requests: 6,
        duration_ms: 14,
    }
}

fn with(mut c: CheckRecord, verdict: Verdict, summary: &str) -> CheckRecord {
    c.verdict = verdict;
    c.grade = grade(verdict, c.level, None, false);
    c.summary = summary.into();
    c.finding = summary.into();
    c
}

fn evidence(expected: &str, seen: &str, check: &str) -> Evidence {
    Evidence {
        variant: None,
        expected: expected.into(),
        seen: seen.into(),
        request: Some(
            "POST /api/token/refresh/ HTTP/1.1\r\nHost: 127.0.0.1:40211\r\nContent-Type: application/json\r\n\r\n{\"refresh\":\"<token 9f2c61aa0b1d>\"}".into(),
        ),
        response: Some(
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n{\"access\":\"<token 51c0de7ab912>\",\"refresh\":\"<token 77aa10c2d3e4>\"}".into(),
        ),
        token: Some(TokenView {
            header: serde_json::json!({"alg": "HS256", "typ": "JWT"}),
            claims: serde_json::json!({"token_type": "refresh", "exp": 1_795_580_400, "iat": 1_795_494_000, "jti": "b7f6d1c2", "user_id": "1"}),
            fingerprint: "9f2c61aa0b1d".into(),
        }),
        curl: Some(format!(
            "TOKEN=$(assay forge {check} --target http://127.0.0.1:40211 --profile reference)\ncurl -sS -X POST http://127.0.0.1:40211/api/token/refresh/ \\\n  -H 'Content-Type: application/json' -d \"{{\\\"refresh\\\":\\\"$TOKEN\\\"}}\""
        )),
        httpie: Some(format!("http POST :40211/api/token/refresh/ refresh=\"$(assay forge {check} --target http://127.0.0.1:40211 --profile reference)\"")),
        service_ns: Some(431_000),
        sent_s: Some(3.25),
        answered_s: Some(3.251),
        connection: Some(17),
        clock_offset_s: Some((-0.7, 0.3)),
        controls: vec![ControlShown { operation: "verify.resource".into(), before: true, after: true }],
    }
}

fn checks() -> Vec<CheckRecord> {
    let mut checks = Vec::new();
    for topology in ["bare", "embedded", "nginx"] {
        for held in &HELD {
            let mut c = check(held, topology);
            if held.0 == "issue-no-store" && topology == "nginx" {
                c = with(c, Verdict::Fail, "the proxy drops Cache-Control from the answer to a login");
                c.evidence.push(evidence("Cache-Control with no-store", "no Cache-Control header", held.0));
            }
            if held.0 == "sig-alg-none" {
                c.variants = ["none", "None", "NONE", "empty-signature"]
                    .map(|name| VariantRecord {
                        name: name.into(),
                        verdict: Verdict::Pass,
                        grade: Grade::Ok,
                        finding: "refused 401".into(),
                        summary: "refused with 401 and a Bearer challenge".into(),
                    })
                    .to_vec();
            }
            checks.push(c);
        }
        let new =
            |id, group, requirement, sources, level| check(&Held(id, group, requirement, sources, level), topology);
        let rotated = new(
            "refresh-old-rejected",
            "REFRESH",
            "after rotation the old refresh token is refused",
            "RFC 9700 4.14.2; ASVS 10.4.5",
            Level::Must,
        );
        let mut c =
            with(rotated, Verdict::Fail, "the old refresh token still gives new tokens 2 s after it was rotated");
        c.evidence.push(evidence(
            "401 and no token",
            "200 with a new access and a new refresh token",
            "refresh-old-rejected",
        ));
        checks.push(c);
        let leeway = new(
            "time-exp-leeway",
            "TIME",
            "leeway after exp is at most what the profile declares",
            "RFC 7519 4.1.4; RFC 9068 4",
            Level::Must,
        );
        let mut c = with(leeway, Verdict::Fail, "a token is accepted for 10 s after its exp");
        c.grade = grade(Verdict::Fail, c.level, Some(Verdict::Fail), false);
        c.known = Some(
            "the gateway team asked for ten seconds until their clocks are synchronised (until 2027-03-31)".into(),
        );
        checks.push(c);
        let race = new(
            "refresh-race",
            "REFRESH",
            "of several simultaneous refreshes of one token exactly one wins",
            "CVE-2026-1035",
            Level::Must,
        );
        checks.push(if topology == "nginx" {
            with(
                race,
                Verdict::Inconclusive,
                "the genuine token was refused between two probes: the controls did not hold",
            )
        } else {
            race
        });
        let mut c = new(
            "sig-confusion-public",
            "SIG",
            "a public key is not used as an HMAC secret",
            "RFC 8725 3.1; CVE-2016-10555",
            Level::Must,
        );
        c = with(c, Verdict::NotApplicable, "the target signs with HS256 only");
        c.reason = Some(SkipReason::Needs("public-key".into()));
        checks.push(c);
        let mut c = new("refresh-user-state", "REFRESH", "a disabled user cannot refresh", "ASVS 7.4.2", Level::Must);
        c = with(c, Verdict::Blocked, "there is no admin hook");
        c.reason = Some(SkipReason::Needs("admin".into()));
        checks.push(c);
        let mut c = new("issue-throttle", "ISSUE", "many wrong passwords are slowed down", "ASVS 6.3.1", Level::Info);
        c = with(c, Verdict::Blocked, "intrusive checks are off");
        c.reason = Some(SkipReason::IntrusiveOff);
        checks.push(c);
        let iat = new(
            "time-iat-future",
            "TIME",
            "what happens to a token from the future is reported",
            "no RFC duty",
            Level::Info,
        );
        checks.push(with(iat, Verdict::Fail, "a token issued tomorrow is accepted"));
        let agreement = new(
            "verify-agreement",
            "VERIFY",
            "verify endpoint and resource agree on every token",
            "RFC 7662 4",
            Level::Should,
        );
        checks.push(with(
            agreement,
            Verdict::Fail,
            "the verify endpoint accepts refresh tokens, the resource refuses them",
        ));
    }
    checks
}

fn windows() -> Vec<WindowRecord> {
    let window = |topology: &str, endpoint: &str, claim: &str, accepted, refused, leeway| WindowRecord {
        topology: topology.into(),
        endpoint: endpoint.into(),
        claim: claim.into(),
        method: "forged".into(),
        lifetime_s: Some(300.0),
        last_accepted_s: Some(accepted),
        first_refused_s: Some(refused),
        leeway_s: Some(leeway),
        offset_s: Some((-0.012, 0.31)),
        offset_source: Some("date-header".into()),
        boundary: Some("strict".into()),
        probes: 14,
        contradictions: 0,
        note: None,
    };
    let mut all = Vec::new();
    for topology in ["bare", "nginx"] {
        all.push(window(topology, "resource", "exp", 9.97, 10.03, (9.9, 10.1)));
        all.push(window(topology, "endpoint", "exp", -0.04, 0.02, (0.0, 0.1)));
        all.push(window(topology, "resource", "nbf", -9.95, -10.02, (9.9, 10.1)));
    }
    all.push(WindowRecord {
        lifetime_s: Some(86_400.0),
        last_accepted_s: None,
        first_refused_s: None,
        leeway_s: None,
        offset_s: None,
        boundary: None,
        probes: 0,
        note: Some("cannot be observed: no signing key, and the lifetime is 24 h".into()),
        ..window("bare", "refresh", "exp", 0.0, 0.0, (0.0, 0.0))
    });
    all
}

/// The run, made once.
pub fn run() -> Run {
    static RUN: std::sync::LazyLock<Run> = std::sync::LazyLock::new(make);
    RUN.clone()
}

fn make() -> Run {
    let mut random = Pcg64Mcg::seed_from_u64(2026);
    let topology = |name: &str, chain: &[&str], stand_in| TopologyRecord {
        name: name.into(),
        chain: chain.iter().map(|c| (*c).to_owned()).collect(),
        url: Some("http://127.0.0.1:40211".into()),
        left_out: None,
        stand_in,
        processes: chain
            .iter()
            .enumerate()
            .map(|(i, link)| ProcessRecord {
                name: (*link).into(),
                version: if *link == "nginx" { "nginx/1.22.1".into() } else { "0.1.0".into() },
                ready_ms: 31,
                cpus: vec![1],
                log: Some(format!("logs/{name}-{i}-{link}.log")),
                samples: (0..40)
                    .map(|s| ProcessSample {
                        at_ms: s * 250,
                        cpu_s: s as f64 * 0.05,
                        rss_bytes: (18 << 20) + s * 40_960,
                        processes: if *link == "nginx" { 3 } else { 1 },
                    })
                    .collect(),
            })
            .collect(),
    };
    let threshold = |expression: &str, topology: &str, observed: &str, outcome| ThresholdRecord {
        expression: expression.into(),
        topology: topology.into(),
        observed: Some(observed.into()),
        outcome,
        reason: None,
    };
    Run {
        schema_version: SCHEMA_VERSION,
        id: "bare-vs-proxy-20261124T042000Z-5be1c2".into(),
        command: "run".into(),
        assay_version: "0.1.0".into(),
        scenario: "bare-vs-proxy".into(),
        scenario_file: Some("scenarios/bare-vs-proxy.yaml".into()),
        scenario_sha256: Some("3f0a9d0c2b1e4f5a6978877665544332211000ffeeddccbbaa99887766554433".into()),
        profile: "reference".into(),
        profile_file: None,
        dialect: "simple".into(),
        seed: 42,
        started: "2026-11-24T04:20:00Z".into(),
        duration_ms: 83_412,
        interrupted: false,
        environment: Environment {
            kernel: "Linux 6.1.0".into(),
            cpus: 2,
            cpu_model: "AMD EPYC 7B13".into(),
            memory_bytes: 8 << 30,
            clocksource: "tsc".into(),
            governor: None,
        },
        topologies: vec![
            topology("bare", &["reference-server"], false),
            topology("embedded", &["reference-server", "embedded-proxy"], true),
            topology("nginx", &["reference-server", "nginx"], false),
            TopologyRecord {
                name: "caddy".into(),
                chain: vec!["reference-server".into(), "caddy".into()],
                left_out: Some("caddy is not installed".into()),
                ..TopologyRecord::default()
            },
        ],
        checks: checks(),
        examinations: vec![ExaminationRecord {
            topology: "bare".to_owned(),
            requests: 5_213,
            logins: 436,
            server_errors: 3,
            unanswered: 1,
            dropped: 2,
            duration_ms: 41_250,
        }],
        windows: windows(),
        loads: vec![
            load(&mut random, "bare", 0.0, 0),
            load(&mut random, "embedded", 96_000.0, 0),
            load(&mut random, "nginx", 138_000.0, 7),
        ],
        comparisons: vec![comparison(&mut random, "embedded", 64_000.0), comparison(&mut random, "nginx", 138_000.0)],
        thresholds: vec![
            threshold("access.response.p99 < 20ms", "bare", "2.31 ms", ThresholdOutcome::Held),
            threshold("access.response.p99 < 20ms", "embedded", "3.02 ms", ThresholdOutcome::Held),
            threshold("access.response.p99 < 20ms", "nginx", "3.41 ms", ThresholdOutcome::Held),
            threshold("failed.ratio < 0.01%", "nginx", "0.07 %", ThresholdOutcome::Missed),
            ThresholdRecord {
                expression: "issue.response.p99 < 100ms".into(),
                topology: "nginx".into(),
                observed: None,
                outcome: ThresholdOutcome::NotJudged,
                reason: Some("100 samples, and p99 needs 1,000".into()),
            },
        ],
        warnings: vec![
            Warning::new("shared-cores", "server and proxy share core 1: the difference is the hop plus contention")
                .hint("a machine with four cores gives each process its own"),
            Warning::new("left-out", "caddy is not installed").hint("apt-get install caddy").at("caddy"),
        ],
        notes: vec![
            "Tokens appear in no access log of any topology; with `log_format ... $request_uri` a token in a query would.".into(),
            "nginx answers 400 to an Authorization header above 8,130 bytes; the server itself takes 65,000.".into(),
            "A login costs 31 ms of one core (argon2id): 100 logins are 16 % of the load's CPU time.".into(),
        ],
        fail_on: Level::Must,
        exit_code: 3,
    }
}

/// The same over six deployments with long names: what a table must have room for.
pub fn wide() -> Run {
    let mut run = run();
    let names =
        ["runserver", "gunicorn-sync", "gunicorn-gthread", "nginx-gunicorn", "haproxy-gunicorn", "caddy-gunicorn"];
    let topology = run.topologies[2].clone();
    let of = |name: &str| run.checks.iter().filter(|c| c.topology == name).cloned().collect::<Vec<_>>();
    let (plain, proxied) = (of("bare"), of("nginx"));
    run.topologies = names.map(|name| TopologyRecord { name: name.into(), ..topology.clone() }).to_vec();
    let (load, comparison) = (run.loads[2].clone(), run.comparisons[1].clone());
    run.checks.clear();
    run.loads.clear();
    run.comparisons.clear();
    for (i, name) in names.into_iter().enumerate() {
        let source = if i < 3 { &plain } else { &proxied };
        run.checks.extend(source.iter().map(|c| CheckRecord { topology: name.into(), ..c.clone() }));
        run.loads.push(LoadRecord { topology: name.into(), ..load.clone() });
        if i > 0 {
            run.comparisons.push(ComparisonRecord {
                baseline: names[0].into(),
                candidate: name.into(),
                ..comparison.clone()
            });
        }
    }
    for (i, window) in run.windows.iter_mut().enumerate() {
        window.topology = names[i % names.len()].into();
    }
    for (i, threshold) in run.thresholds.iter_mut().enumerate() {
        threshold.topology = names[i % names.len()].into();
    }
    run
}
