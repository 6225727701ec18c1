//! The contract of every store: one winner, the family ends, what expired is forgotten, and nothing else.

#[path = "../../tests/kit/services.rs"]
mod services;

use std::sync::Arc;

use super::*;

const STRICT: RotationRules = RotationRules { grace_s: 0.0, end_session: true };

/// A store of each kind, with its name and whatever must live as long.
fn stores() -> Vec<(&'static str, Arc<Store>, Option<tempfile::TempDir>)> {
    let folder = tempfile::tempdir().unwrap();
    let file = StoreConfig::File(folder.path().join("tokens.redb"));
    let mut all = vec![
        ("memory", Arc::new(Store::open(&StoreConfig::Memory).unwrap()), None),
        ("redb", Arc::new(Store::open(&file).unwrap()), Some(folder)),
    ];
    for (name, url) in servers() {
        let config: StoreConfig = url.parse().unwrap();
        all.push((name, Arc::new(Store::open(&config).unwrap()), None));
    }
    all
}

/// An empty database of each server that is installed and built in.
fn servers() -> Vec<(&'static str, String)> {
    let mut all = Vec::new();
    if cfg!(feature = "postgres") {
        match services::postgres() {
            Ok(server) => all.push(("postgres", server.database())),
            Err(why) => services::pass_over("postgres", why),
        }
    }
    if cfg!(feature = "redis") {
        match services::redis() {
            Ok(server) => all.push(("redis", server.database())),
            Err(why) => services::pass_over("redis", why),
        }
    }
    all
}

fn token<'a>(session: &'a str, jti: &'a str) -> Presented<'a> {
    Presented { session, jti, expires: 2000 }
}

/// Sweeps; gives what is still remembered.
async fn left(store: &Store, now: f64) -> usize {
    store.sweep(now).await.unwrap();
    store.remembered().await.unwrap()
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
        assert_eq!(left(&store, 1499.0).await, 3, "{name}");
        assert_eq!(left(&store, 1501.0).await, 2, "{name}: the token of t");
        assert!(store.is_revoked("u", "1").await.unwrap(), "{name}: the later end counts");
        assert_eq!(left(&store, 2001.0).await, 1, "{name}: the use in s");
        assert_eq!(left(&store, 2501.0).await, 0, "{name}");
        store.end_session("v", 9000).await.unwrap();
        store.clear().await.unwrap();
        assert!(!store.is_revoked("v", "1").await.unwrap(), "{name}");
        assert_eq!(left(&store, 0.0).await, 0, "{name}");
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
        assert_eq!(left(&store, 3001.0).await, 0, "{name}");
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

#[tokio::test]
async fn a_server_keeps_what_was_answered_for_every_process() {
    for (name, url) in servers() {
        let config: StoreConfig = url.parse().unwrap();
        let (one, other) = (Store::open(&config).unwrap(), Store::open(&config).unwrap());
        assert!(one.prepare().await.unwrap().is_empty(), "{name} is set up durably");
        other.prepare().await.unwrap();
        one.rotate(token("s", "1"), next("2"), STRICT, 1000.0).await.unwrap();
        assert_eq!(other.rotate(token("s", "1"), next("3"), STRICT, 1001.0).await.unwrap(), Rotation::Reused, "{name}");
        assert!(one.is_revoked("s", "2").await.unwrap(), "{name}");
        drop((one, other));
        let third = Store::open(&config).unwrap();
        assert_eq!(
            third.rotate(token("s", "2"), next("4"), STRICT, 1002.0).await.unwrap(),
            Rotation::Revoked,
            "{name}"
        );
    }
}

#[tokio::test]
async fn names_of_any_form_are_kept_apart() {
    each(async |name, store| {
        let odd = [" ", "a b", "a:b", "3:a", "a'b\"", "\u{fc}\u{1f600}\n", "jwt:ends"];
        for session in odd {
            for jti in odd {
                let won = store.rotate(token(session, jti), next("n"), STRICT, 1000.0).await.unwrap();
                assert_eq!(won, Rotation::Rotated, "{name}: {session:?} {jti:?}");
            }
        }
        assert_eq!(store.remembered().await.unwrap(), odd.len() * odd.len(), "{name}");
        assert_eq!(left(&store, 2001.0).await, 0, "{name}");
    })
    .await;
}

#[tokio::test]
async fn a_sweep_of_many_forgets_them_all() {
    each(async |name, store| {
        let mut writes = tokio::task::JoinSet::new();
        for number in 0..2_500 {
            let store = Arc::clone(&store);
            writes.spawn(async move { store.revoke(&format!("s{}", number % 7), &number.to_string(), 1500).await });
        }
        for written in writes.join_all().await {
            written.unwrap();
        }
        store.end_session("s1", 2500).await.unwrap();
        assert_eq!(left(&store, 1501.0).await, 1, "{name}");
        assert!(store.is_revoked("s1", "1").await.unwrap() && !store.is_revoked("s2", "2").await.unwrap(), "{name}");
    })
    .await;
}
