//! How are used and revoked tokens kept in Redis? In a hash per session and an index of ends, changed by one script: each call is whole or
//! not at all. What Redis must be configured to, so that an answer survives it, is checked on every connection.
//!
//! `appendonly yes` and `appendfsync always` put each change on the disk before its answer; `no-appendfsync-on-rewrite no` keeps it so while
//! the file is rewritten; `maxmemory-policy noeviction` makes a full Redis refuse changes instead of forgetting revoked tokens. With
//! `?durability=relaxed` in the URL these are warnings. Replicas are written later, so a failover may forget: that is for whoever runs it.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, FromRedisValue, IntoConnectionInfo, RedisError, Script};
use tokio::sync::Semaphore;

use super::line::{DEADLINE, Dial, Line, QUEUE};
use super::{Presented, Rotation, RotationRules, StoreError, StoreUrl, Successor};
use crate::token::random_id;

/// Names the contents: made once, and gone where they are gone.
const CONTENTS: &str = "jwt:contents";
/// Every entry by its end.
const ENDS: &str = "jwt:ends";
/// Before the session: hashes of its used and of its revoked tokens, and the end of an ended one.
const USED: &str = "jwt:used:";
const REVOKED: &str = "jwt:revoked:";
const ENDED: &str = "jwt:ended:";

/// Connections: Redis reads sixteen kilobytes of one before it flushes its file, and what it read of several shares the flush.
const LINES: usize = 4;
/// Entries that one call of the sweep forgets: Redis does nothing else meanwhile.
const SWEEP: usize = 1000;
/// Calls of one sweep; the next one goes on.
const SWEEPS: usize = 20;

/// Settings, each with the value that it must have and what its lack does.
const SETTINGS: [(&str, &str, &str); 4] = [
    ("appendonly", "yes", "a restart forgets revoked tokens"),
    ("appendfsync", "always", "a crash forgets the last revoked tokens"),
    ("no-appendfsync-on-rewrite", "no", "a crash while the file is rewritten forgets revoked tokens"),
    ("maxmemory-policy", "noeviction", "a full memory forgets revoked tokens"),
];

/// How connections are made.
struct Door {
    client: Client,
    url: StoreUrl,
    /// Settings that may forget are only warned of.
    relaxed: bool,
    /// The name of the contents that this process has seen.
    contents: Mutex<Option<String>>,
    doubts: Mutex<Vec<String>>,
}

/// A connection and the name of the contents behind it.
#[derive(Clone)]
struct Peer {
    connection: MultiplexedConnection,
    contents: String,
}

/// The store of one Redis database.
pub(crate) struct Redis {
    door: Door,
    lines: Vec<Line<Peer>>,
    next: AtomicUsize,
    script: Script,
    places: Semaphore,
}

impl std::fmt::Debug for Redis {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "store at {}", self.door.url)
    }
}

fn failed(error: RedisError) -> StoreError {
    StoreError(error.to_string())
}

fn locked<T>(place: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    place.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

impl Door {
    /// What may forget, by the settings; empty where all is well.
    async fn doubts(&self, connection: &mut MultiplexedConnection) -> Result<Vec<String>, RedisError> {
        let mut doubts = Vec::new();
        for (name, wanted, lack) in SETTINGS {
            let asked: Result<Vec<String>, RedisError> =
                redis::cmd("CONFIG").arg("GET").arg(name).query_async(connection).await;
            match asked {
                Ok(answer) => {
                    let seen = answer.get(1).map_or("nothing", String::as_str);
                    if seen != wanted {
                        doubts.push(format!("expected {name} {wanted}, saw {seen}: {lack}"));
                    }
                }
                Err(error) if error.is_unrecoverable_error() || error.is_timeout() => return Err(error),
                // Whoever runs it for others often hides this command.
                Err(_) => doubts.push(format!("expected {name} {wanted}, but CONFIG GET is not allowed: {lack}")),
            }
        }
        Ok(doubts)
    }

    /// The name of the contents: the one that this process knows, or at its first connection the one that is there.
    async fn contents(&self, connection: &mut MultiplexedConnection) -> Result<String, StoreError> {
        let known = locked(&self.contents).clone();
        if let Some(known) = known {
            let there: Option<String> =
                redis::cmd("GET").arg(CONTENTS).query_async(connection).await.map_err(failed)?;
            if there.as_ref() == Some(&known) {
                return Ok(known);
            }
            if !self.relaxed {
                return Err(StoreError(format!(
                    "{}: expected the contents that were here before, saw others or none: what was revoked could pass\n\
                     hint: restore them, or start this server again with what is there now",
                    self.url
                )));
            }
        }
        let fresh = random_id();
        let () = redis::cmd("SET").arg(CONTENTS).arg(&fresh).arg("NX").query_async(connection).await.map_err(failed)?;
        let there: String = redis::cmd("GET").arg(CONTENTS).query_async(connection).await.map_err(failed)?;
        *locked(&self.contents) = Some(there.clone());
        Ok(there)
    }
}

impl Dial for Door {
    type Peer = Peer;

    async fn dial(&self) -> Result<Peer, StoreError> {
        let here = |error: RedisError| StoreError(format!("{}: {error}", self.url));
        let config =
            AsyncConnectionConfig::new().set_connection_timeout(Some(DEADLINE)).set_response_timeout(Some(DEADLINE));
        let mut connection = self.client.get_multiplexed_async_connection_with_config(&config).await.map_err(here)?;
        let doubts = self.doubts(&mut connection).await.map_err(here)?;
        if !doubts.is_empty() && !self.relaxed {
            return Err(StoreError(format!(
                "{} may forget revoked tokens:\n  {}\nhint: set these in redis.conf, or accept them with ?durability=relaxed in \
                 the URL",
                self.url,
                doubts.join("\n  ")
            )));
        }
        *locked(&self.doubts) = doubts;
        let contents = self.contents(&mut connection).await?;
        Ok(Peer { connection, contents })
    }

    /// A dead one shows itself at the next request.
    fn is_open(_: &Peer) -> bool {
        true
    }
}

/// Takes our own parameter out of the URL: the rest, and true where settings that may forget are accepted.
fn own_parameter(url: &str) -> Result<(String, bool), String> {
    let Some((before, query)) = url.rsplit_once('?') else { return Ok((url.to_owned(), false)) };
    let mut relaxed = false;
    let mut rest = Vec::new();
    for part in query.split('&') {
        match part.split_once('=') {
            Some(("durability", "relaxed")) => relaxed = true,
            Some(("durability", "strict")) => relaxed = false,
            Some(("durability", _)) => return Err("expected durability=strict or durability=relaxed".to_owned()),
            _ => rest.push(part),
        }
    }
    Ok((if rest.is_empty() { before.to_owned() } else { format!("{before}?{}", rest.join("&")) }, relaxed))
}

impl Redis {
    /// Reads the URL; nothing is connected yet.
    pub(crate) fn new(url: &StoreUrl) -> Result<Self, String> {
        let (library, relaxed) = own_parameter(url.reveal())?;
        // What the library says of a URL may repeat parts of it.
        let unreadable = |_| {
            format!(
                "expected redis://USER:PASSWORD@HOST:PORT/NUMBER, saw {url} with something that cannot be read\n\
                 hint: special characters in a password are written as %40"
            )
        };
        let client = library.as_str().into_connection_info().and_then(Client::open).map_err(unreadable)?;
        Ok(Self {
            door: Door { client, url: url.clone(), relaxed, contents: Mutex::default(), doubts: Mutex::default() },
            lines: Line::several(LINES),
            next: AtomicUsize::new(0),
            script: Script::new(include_str!("redis/store.lua")),
            places: Semaphore::new(QUEUE),
        })
    }

    /// Connects, and says what about the settings may forget where that was accepted.
    pub(crate) async fn prepare(&self) -> Result<Vec<String>, StoreError> {
        self.lines[0].get(&self.door).await?;
        Ok(locked(&self.door.doubts).iter().map(|doubt| format!("Redis: {doubt}")).collect())
    }

    /// One verb of the script. Where it may be said twice, a connection that turns out to be dead is replaced once.
    async fn ask<T: FromRedisValue>(&self, verb: &str, session: &str, values: &[&str]) -> Result<T, StoreError> {
        let _place = self.places.try_acquire().map_err(|_| StoreError("too many requests are waiting".to_owned()))?;
        let line = &self.lines[self.next.fetch_add(1, Ordering::Relaxed) % LINES];
        let mut twice = verb != "rotate";
        loop {
            let (number, mut peer) = line.get(&self.door).await?;
            let mut call = self.script.prepare_invoke();
            call.key(CONTENTS).key(ENDS);
            for kind in [USED, REVOKED, ENDED] {
                call.key(format!("{kind}{session}"));
            }
            call.arg(peer.contents).arg(verb).arg(session);
            for value in values {
                call.arg(*value);
            }
            let error = match call.invoke_async(&mut peer.connection).await {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            // Other contents are for the next connection to judge.
            if error.is_unrecoverable_error() || error.is_timeout() || error.code() == Some("LOST") {
                line.lost(number);
                if error.is_connection_dropped() && std::mem::take(&mut twice) {
                    continue;
                }
            }
            return Err(failed(error));
        }
    }

    pub(crate) async fn rotate(
        &self,
        presented: Presented<'_>,
        next: Successor,
        rules: RotationRules,
        now: f64,
    ) -> Result<Rotation, StoreError> {
        let answer: Vec<String> = self
            .ask(
                "rotate",
                presented.session,
                &[
                    presented.jti,
                    &presented.expires.to_string(),
                    &next.jti,
                    &next.issued.to_string(),
                    &next.expires.to_string(),
                    &rules.grace_s.to_string(),
                    if rules.end_session { "1" } else { "0" },
                    &now.to_string(),
                ],
            )
            .await?;
        let answer: Vec<&str> = answer.iter().map(String::as_str).collect();
        match answer.as_slice() {
            ["rotated"] => Ok(Rotation::Rotated),
            ["repeated", jti, issued, expires] => {
                let seconds = |text: &str| text.parse().map_err(|_| StoreError("an entry cannot be read".to_owned()));
                let jti = (*jti).to_owned();
                Ok(Rotation::Repeated(Successor { jti, issued: seconds(issued)?, expires: seconds(expires)? }))
            }
            ["reused"] => Ok(Rotation::Reused),
            ["revoked"] => Ok(Rotation::Revoked),
            _ => Err(StoreError("an outcome that is not known".to_owned())),
        }
    }

    pub(crate) async fn end_session(&self, session: &str, expires: u64) -> Result<(), StoreError> {
        self.ask::<i64>("finish", session, &[&expires.to_string()]).await.map(drop)
    }

    pub(crate) async fn revoke(&self, session: &str, jti: &str, expires: u64) -> Result<(), StoreError> {
        self.ask::<i64>("revoke", session, &[jti, &expires.to_string()]).await.map(drop)
    }

    pub(crate) async fn is_revoked(&self, session: &str, jti: &str) -> Result<bool, StoreError> {
        self.ask("is_revoked", session, &[jti]).await
    }

    pub(crate) async fn is_used(&self, session: &str, jti: &str) -> Result<bool, StoreError> {
        self.ask("is_used", session, &[jti]).await
    }

    pub(crate) async fn used(&self, session: &str) -> Result<usize, StoreError> {
        self.ask("used", session, &[]).await
    }

    pub(crate) async fn sweep(&self, now: f64) -> Result<(), StoreError> {
        let (now, limit) = ((now.max(0.0) as u64).to_string(), SWEEP.to_string());
        for _ in 0..SWEEPS {
            let forgotten: usize = self.ask("sweep", "", &[&now, &limit, USED, REVOKED, ENDED]).await?;
            if forgotten < SWEEP {
                break;
            }
        }
        Ok(())
    }

    pub(crate) async fn remembered(&self) -> Result<usize, StoreError> {
        self.ask("remembered", "", &[]).await
    }

    pub(crate) async fn clear(&self) -> Result<(), StoreError> {
        let (_, mut peer) = self.lines[0].get(&self.door).await?;
        let mut place = "0".to_owned();
        loop {
            let mut scan = redis::cmd("SCAN");
            scan.arg(&place).arg("MATCH").arg("jwt:*").arg("COUNT").arg(1000);
            let (next, mut keys): (String, Vec<String>) =
                scan.query_async(&mut peer.connection).await.map_err(failed)?;
            keys.retain(|key| key != CONTENTS);
            if !keys.is_empty() {
                let () = redis::cmd("UNLINK").arg(keys).query_async(&mut peer.connection).await.map_err(failed)?;
            }
            if next == "0" {
                return Ok(());
            }
            place = next;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::own_parameter;

    #[test]
    fn the_url_says_whether_settings_that_may_forget_are_accepted() {
        for (url, rest, relaxed) in [
            ("redis://h/1", "redis://h/1", false),
            ("redis://h/1?durability=relaxed", "redis://h/1", true),
            ("redis://h/1?protocol=resp3&durability=strict", "redis://h/1?protocol=resp3", false),
        ] {
            assert_eq!(own_parameter(url), Ok((rest.to_owned(), relaxed)));
        }
        assert!(own_parameter("redis://h/1?durability=maybe").is_err());
    }
}
