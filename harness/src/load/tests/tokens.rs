//! Are tokens used as their owners would: rotated once, spoilt on purpose, signed here, revoked before?

use super::*;

#[test]
fn a_rotating_refresh_token_is_never_sent_twice() {
    let rig = rig();
    let workload = workload(serde_json::json!({
        "arrival": {"open": {"rate": "300/s"}},
        "stages": [{"hold": "1s"}],
        "warmup": "200ms",
        "mix": {"refresh": 1, "access": 2, "issue": 0.2},
        "tokens": {"sessions": 20},
        "connections": 8,
    }));
    let mut population = rig.prepare(&workload);
    assert_eq!((population.len(), population.refreshable()), (20, 20));
    for _ in 0..2 {
        let driven = rig.drive(&workload, &mut population);
        let a = driven.record.accounting;
        assert_eq!(a.failed + a.timed_out + a.skipped, 0, "{:?}", kinds(&driven));
        assert!(a.completed > 50, "{a:?}");
        assert!(driven.record.distinct_token_ratio.unwrap() > 0.1);
    }
    assert_eq!(rig.server.replayed.load(Ordering::Relaxed), 0);
    assert_eq!(population.len(), 20);
}

#[test]
fn spoilt_tokens_count_as_success_when_they_are_refused() {
    for padded in [false, true] {
        spoilt_tokens_are_refused(padded);
    }
}

fn spoilt_tokens_are_refused(padded: bool) {
    let rig = rig();
    rig.server.padded.store(padded, Ordering::Relaxed);
    let workload = workload(serde_json::json!({
        "arrival": {"closed": {"users": 2, "think": "1ms"}},
        "stages": [{"hold": "500ms"}],
        "warmup": "0s",
        "mix": {"access": 1},
        "tokens": {"sessions": 5, "tampered": "50%"},
    }));
    let mut population = rig.prepare(&workload);
    let driven = rig.drive(&workload, &mut population);
    assert_eq!(driven.record.accounting.failed, 0, "{:?}", kinds(&driven));
    assert!(driven.record.accounting.completed > 4);
    let refused = rig.server.refused.load(Ordering::Relaxed);
    assert!(refused > 0, "padded: {padded}: none was spoilt");
}

#[test]
fn a_good_token_that_is_refused_is_told_from_other_failures() {
    let rig = rig();
    let workload = workload(serde_json::json!({
        "arrival": {"closed": {"users": 1, "think": "5ms"}},
        "stages": [{"hold": "400ms"}], "warmup": "0s", "mix": {"access": 1}, "tokens": {"sessions": 2},
    }));
    let mut population = rig.prepare(&workload);
    rig.server.access.lock().unwrap().clear();
    let driven = rig.drive(&workload, &mut population);
    assert!(kinds(&driven).contains_key("refused a good token (status 401)"), "{:?}", kinds(&driven));
}

#[test]
fn full_speed_says_who_was_the_bottleneck() {
    let rig = rig();
    let workload = workload(serde_json::json!({
        "arrival": {"open": {"rate": "10/s"}}, "mix": {"access": 1}, "tokens": {"sessions": 2}, "connections": 4,
    }));
    let mut population = rig.prepare(&workload);
    let driven = rig.with(&workload, |d| {
        let (duration, warmup) = (Some(Duration::from_millis(500)), Some(Duration::ZERO));
        drive_and_check(&Drive { seed: Some(7), duration, warmup, full_speed: true, ..*d }, &mut population)
    });
    assert!(driven.record.certificate.bottleneck.is_some());
    assert!(driven.record.accounting.completed > 10 && !driven.record.open, "{:?}", driven.record.accounting);
}

#[test]
fn tokens_signed_here_are_as_good_as_logins() {
    let rig = rig();
    let workload = workload(serde_json::json!({
        "arrival": {"closed": {"users": 1}}, "mix": {"access": 1},
        "tokens": {"sessions": 20_000, "sign": true},
    }));
    // The double's tokens are no JWTs, so that there is nothing to sign after.
    let refused = Population::prepare(&rig.target, &workload, &TlsOptions::default(), &|_| {}, &AtomicBool::new(false));
    assert!(matches!(&refused, Err(LoadError::Usage(why)) if why.contains("not JWTs")), "{refused:?}");

    let key = sampled::signing_key(&rig.target).unwrap();
    let claims = serde_json::json!({"token_type": "access", "jti": "one", "iat": 1, "exp": 2, "sub": "alice"});
    let model = crate::jose::Forge::new(&serde_json::json!({"alg": "HS256", "typ": "JWT"}), &claims);
    let model = model.sign(&key, crate::jose::algorithm("HS256").unwrap(), &mut rand::rng()).unwrap().token();
    rig.server.jwt.set(model).unwrap();
    let population = rig.prepare(&workload);
    assert_eq!((population.len(), rig.server.logins.load(Ordering::Relaxed)), (20_000, 2));
    let keys = sampled::keys_of(&rig.target).unwrap();
    let policy = crate::jose::Policy { now: Some(crate::clock::unix()), ..crate::jose::Policy::default() };
    let mut seen = HashSet::new();
    for session in population.sessions.iter().step_by(1999).skip(1) {
        let token = String::from_utf8(session.access.clone()).unwrap();
        let verified = crate::jose::verify(&token, &keys, &policy).unwrap();
        assert_eq!(verified.claims["sub"], "alice");
        assert!(seen.insert(verified.claims["jti"].to_string()));
        // What a session takes: the token, and little beside it.
        assert!(session.access.capacity() + size_of::<session::Session>() < 1024);
    }
}

#[test]
fn revoked_tokens_count_as_success_when_they_are_refused() {
    let rig = rig();
    let shape = |mix: serde_json::Value| {
        workload(serde_json::json!({
            "arrival": {"closed": {"users": 2, "think": "1ms"}}, "stages": [{"hold": "500ms"}], "warmup": "0s",
            "mix": mix, "tokens": {"sessions": 5, "revoked": "50%"},
        }))
    };
    let workload = shape(serde_json::json!({"refresh": 1, "access": 1}));
    let mut population = rig.prepare(&workload);
    assert!(population.revoked.len() > 4);
    let driven = rig.drive(&workload, &mut population);
    assert_eq!(driven.record.accounting.failed, 0, "{:?}", kinds(&driven));
    assert!(rig.server.replayed.load(Ordering::Relaxed) > 0, "no revoked token was sent");
    let useless = shape(serde_json::json!({"access": 1}));
    let refused = Population::prepare(&rig.target, &useless, &TlsOptions::default(), &|_| {}, &AtomicBool::new(false));
    assert!(matches!(&refused, Err(LoadError::Usage(why)) if why.contains("refresh tokens")), "{refused:?}");
}
