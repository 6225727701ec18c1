//! The contract of every store: one winner, the family ends, what expired is forgotten, and nothing else.

use std::sync::Arc;

use super::*;

const STRICT: RotationRules = RotationRules { grace_s: 0.0, end_session: true };

/// A store of each kind, with its name and whatever must live as long.
fn stores() -> Vec<(&'static str, Arc<Store>, Option<tempfile::TempDir>)> {
    let folder = tempfile::tempdir().unwrap();
    let file = StoreConfig::File(folder.path().join("tokens.redb"));
    vec![
        ("memory", Arc::new(Store::open(&StoreConfig::Memory).unwrap()), None),
        ("redb", Arc::new(Store::open(&file).unwrap()), Some(folder)),
    ]
}

fn token<'a>(session: &'a str, jti: &'a str) -> Presented<'a> {
    Presented { session, jti, expires: 2000 }
}

fn next(jti: &str) -> Successor {
    Successor { jti: jti.to_owned(), issued: 1000, expires: 3000 }
}

async fn each(run: impl AsyncFn(&'static str, Arc<Store>)) {
    for (name, store, _folder) in stores() {
        run(name, store).await;
    }
}

#[tokio::test]
async fn a_token_rotates_once_and_its_reuse_ends_its_session_and_no_other() {
    each(async |name, store| {
        for session in ["s", "t"] {
            assert_eq!(
                store.rotate(token(session, "1"), next("2"), STRICT, 1000.0).await.unwrap(),
                Rotation::Rotated,
                "{name}"
            );
        }
        assert_eq!(
            store.rotate(token("s", "2"), next("3"), STRICT, 1001.0).await.unwrap(),
            Rotation::Rotated,
            "{name}"
        );
        assert_eq!(store.used("s").await.unwrap(), 2, "{name}");
        assert!(store.is_used("s", "1").await.unwrap() && !store.is_used("s", "3").await.unwrap(), "{name}");
        assert_eq!(store.rotate(token("s", "1"), next("4"), STRICT, 1002.0).await.unwrap(), Rotation::Reused, "{name}");
        assert!(store.is_revoked("s", "3").await.unwrap(), "{name}: the whole family");
        assert_eq!(
            store.rotate(token("s", "3"), next("5"), STRICT, 1003.0).await.unwrap(),
            Rotation::Revoked,
            "{name}"
        );
        assert!(!store.is_revoked("t", "2").await.unwrap(), "{name}: another session lives");
        assert_eq!(
            store.rotate(token("t", "2"), next("3"), STRICT, 1004.0).await.unwrap(),
            Rotation::Rotated,
            "{name}"
        );
    })
    .await;
}

#[tokio::test]
async fn within_the_grace_the_same_successor_comes_again_until_it_is_used_itself() {
    let rules = RotationRules { grace_s: 10.0, end_session: true };
    each(async |name, store| {
        assert_eq!(store.rotate(token("s", "1"), next("2"), rules, 1000.0).await.unwrap(), Rotation::Rotated);
        let again = store.rotate(token("s", "1"), next("x"), rules, 1009.0).await.unwrap();
        assert_eq!(again, Rotation::Repeated(next("2")), "{name}");
        assert_eq!(store.rotate(token("s", "2"), next("3"), rules, 1009.0).await.unwrap(), Rotation::Rotated, "{name}");
        assert_eq!(store.rotate(token("s", "1"), next("y"), rules, 1009.5).await.unwrap(), Rotation::Reused, "{name}");
        assert_eq!(store.rotate(token("t", "1"), next("2"), rules, 1000.0).await.unwrap(), Rotation::Rotated);
        assert_eq!(
            store.rotate(token("t", "1"), next("z"), rules, 1010.5).await.unwrap(),
            Rotation::Reused,
            "{name}: too late"
        );
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_simultaneous_uses_exactly_one_wins() {
    each(async |name, store| {
        for round in 0..20 {
            let mut uses = tokio::task::JoinSet::new();
            for attempt in 0..16 {
                let store = Arc::clone(&store);
                uses.spawn(async move {
                    let (session, successor) = (format!("s{round}"), format!("{attempt}"));
                    store.rotate(token(&session, "1"), next(&successor), STRICT, 1000.0).await.unwrap()
                });
            }
            let outcomes = uses.join_all().await;
            let won = outcomes.iter().filter(|outcome| **outcome == Rotation::Rotated).count();
            assert_eq!(won, 1, "{name}: {outcomes:?}");
            assert!(store.is_revoked(&format!("s{round}"), "0").await.unwrap(), "{name}: the others were reuse");
        }
    })
    .await;
}

#[tokio::test]
async fn a_reuse_without_the_rule_is_told_and_ends_nothing() {
    let rules = RotationRules { grace_s: 0.0, end_session: false };
    each(async |name, store| {
        assert_eq!(store.rotate(token("s", "1"), next("2"), rules, 1000.0).await.unwrap(), Rotation::Rotated);
        assert_eq!(store.rotate(token("s", "1"), next("3"), rules, 1000.0).await.unwrap(), Rotation::Reused, "{name}");
        assert!(!store.is_revoked("s", "2").await.unwrap(), "{name}");
    })
    .await;
}

#[tokio::test]
async fn revoking_one_token_leaves_its_session_and_ending_the_session_leaves_nothing() {
    each(async |name, store| {
        store.revoke("s", "1", 2000).await.unwrap();
        assert!(store.is_revoked("s", "1").await.unwrap(), "{name}");
        assert!(!store.is_revoked("s", "2").await.unwrap(), "{name}");
        assert_eq!(
            store.rotate(token("s", "1"), next("9"), STRICT, 1000.0).await.unwrap(),
            Rotation::Revoked,
            "{name}"
        );
        store.end_session("s", 2000).await.unwrap();
        assert!(store.is_revoked("s", "2").await.unwrap(), "{name}");
        assert!(!store.is_revoked("s1", "2").await.unwrap(), "{name}: a longer name is another session");
    })
    .await;
}

#[tokio::test]
async fn what_has_expired_is_forgotten_and_nothing_sooner() {
    each(async |name, store| {
        store.rotate(token("s", "1"), next("2"), STRICT, 1000.0).await.unwrap();
        store.revoke("t", "1", 1500).await.unwrap();
        store.end_session("u", 1500).await.unwrap();
        store.end_session("u", 2500).await.unwrap();
        assert_eq!(store.sweep(1499.0).await.unwrap(), 3, "{name}");
        assert_eq!(store.sweep(1501.0).await.unwrap(), 2, "{name}: the token of t");
        assert!(store.is_revoked("u", "1").await.unwrap(), "{name}: the later end counts");
        assert_eq!(store.sweep(2001.0).await.unwrap(), 1, "{name}: the use in s");
        assert_eq!(store.sweep(2501.0).await.unwrap(), 0, "{name}");
        store.end_session("v", 9000).await.unwrap();
        store.clear().await.unwrap();
        assert!(!store.is_revoked("v", "1").await.unwrap(), "{name}");
        assert_eq!(store.sweep(0.0).await.unwrap(), 0, "{name}");
    })
    .await;
}

#[tokio::test]
async fn a_reuse_keeps_the_session_ended_until_its_last_token_is_over() {
    each(async |name, store| {
        store.rotate(token("s", "1"), next("2"), STRICT, 1000.0).await.unwrap();
        store.rotate(token("s", "1"), next("3"), STRICT, 1000.0).await.unwrap();
        store.sweep(2500.0).await.unwrap();
        assert!(store.is_revoked("s", "2").await.unwrap(), "{name}: the successor lives until 3000");
        assert_eq!(store.sweep(3001.0).await.unwrap(), 0, "{name}");
    })
    .await;
}

#[tokio::test]
async fn a_file_keeps_what_was_answered_and_is_one_process_s_alone() {
    let folder = tempfile::tempdir().unwrap();
    let config = StoreConfig::File(folder.path().join("tokens.redb"));
    {
        let store = Store::open(&config).unwrap();
        store.rotate(token("s", "1"), next("2"), STRICT, 1000.0).await.unwrap();
        store.end_session("t", 2000).await.unwrap();
        let second = Store::open(&config).unwrap_err().to_string();
        assert!(second.contains("one process at a time"), "{second}");
    }
    let store = Store::open(&config).unwrap();
    assert_eq!(store.rotate(token("s", "1"), next("3"), STRICT, 1001.0).await.unwrap(), Rotation::Reused);
    assert!(store.is_revoked("t", "1").await.unwrap());
}
