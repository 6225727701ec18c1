//! How are used and revoked tokens kept in PostgreSQL? In three tables, changed by functions that the migrations bring: one call is one
//! transaction, and what is answered has been committed.

use std::error::Error as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{OnceCell, Semaphore};
use tokio_postgres::config::SslMode;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Config, NoTls, Row, Statement};

use super::line::{DEADLINE, Dial, Line, QUEUE};
use super::{Presented, Rotation, RotationRules, StoreError, StoreUrl, Successor};

/// Connections: each has a backend of its own, and commits that come together share a flush of the log.
const LINES: usize = 16;
/// Entries of each kind that one sweep forgets; the next one goes on.
const SWEEP: i64 = 20_000;
/// The steps from an empty database to this version's tables, in order; a step that was released is never changed.
const MIGRATIONS: [&str; 1] = [include_str!("postgres/001-tokens.sql")];
/// Keeps two processes from migrating at once; any number that is ours.
const MIGRATION_LOCK: i64 = 0x6a77_7473_746f_7265;

/// What each connection is told first. A commit must be on the disk before the answer, whatever the database's default.
const SESSION: &str = "set default_transaction_isolation = 'read committed';
set statement_timeout = '4s';
set lock_timeout = '2s';
select set_config('synchronous_commit', 'on', false) where current_setting('synchronous_commit') = 'off';";

/// The statements of a connection, in the order of [`STATEMENTS`].
#[derive(Debug, Clone, Copy)]
enum Verb {
    Rotate,
    End,
    Revoke,
    IsRevoked,
    IsUsed,
    Used,
    Sweep,
    Remembered,
    Clear,
}

const STATEMENTS: [&str; 9] = [
    "select * from jwt_rotate($1, $2, $3, $4, $5, $6, $7, $8, $9)",
    "select jwt_end($1, $2)",
    "select jwt_revoke($1, $2, $3)",
    "select exists (select from jwt_ended where session = $1)
         or exists (select from jwt_revoked where session = $1 and jti = $2)",
    "select exists (select from jwt_used where session = $1 and jti = $2)",
    "select count(*) from jwt_used where session = $1",
    "select jwt_sweep($1, $2)",
    "select (select count(*) from jwt_used) + (select count(*) from jwt_revoked) + (select count(*) from jwt_ended)",
    "with u as (delete from jwt_used), r as (delete from jwt_revoked), e as (delete from jwt_ended) select 1",
];

/// One connection, its statements prepared.
#[derive(Debug)]
struct Backend {
    client: Client,
    statements: Vec<Statement>,
}

/// How connections are made.
struct Door {
    config: Config,
    url: StoreUrl,
    /// Done by the first connection of this process alone: tables that vanish later are a loss, not a beginning.
    migrated: OnceCell<()>,
}

/// The store of one database.
pub(crate) struct Postgres {
    door: Door,
    lines: Vec<Line<Arc<Backend>>>,
    next: AtomicUsize,
    places: Semaphore,
}

impl std::fmt::Debug for Postgres {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "store at {}", self.door.url)
    }
}

/// The error with its causes, which the library leaves out.
fn told(error: &tokio_postgres::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        cause = inner.source();
    }
    text
}

fn failed(error: tokio_postgres::Error) -> StoreError {
    StoreError(told(&error))
}

/// Seconds since 1970 as the database counts them.
fn signed(seconds: u64) -> i64 {
    i64::try_from(seconds).unwrap_or(i64::MAX)
}

impl Door {
    async fn migrate(&self, client: &mut Client) -> Result<(), tokio_postgres::Error> {
        let transaction = client.transaction().await?;
        transaction.execute("select pg_advisory_xact_lock($1)", &[&MIGRATION_LOCK]).await?;
        transaction
            .batch_execute(
                "create table if not exists jwt_migrations (
                     step int primary key, applied timestamptz not null default now())",
            )
            .await?;
        let done: i64 = transaction.query_one("select count(*) from jwt_migrations", &[]).await?.get(0);
        for (step, text) in MIGRATIONS.iter().enumerate().skip(usize::try_from(done).unwrap_or(0)) {
            transaction.batch_execute(text).await?;
            let step = i32::try_from(step + 1).unwrap_or(i32::MAX);
            transaction.execute("insert into jwt_migrations (step) values ($1)", &[&step]).await?;
        }
        transaction.commit().await
    }

    async fn open(&self) -> Result<Backend, tokio_postgres::Error> {
        let (mut client, connection) = self.config.connect(NoTls).await?;
        // Ends with the client; what went wrong is told to whoever waits for an answer.
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(error = %told(&error), "a connection to the store has ended");
            }
        });
        client.batch_execute(SESSION).await?;
        self.migrated.get_or_try_init(|| self.migrate(&mut client)).await?;
        let mut statements = Vec::with_capacity(STATEMENTS.len());
        for text in STATEMENTS {
            statements.push(client.prepare(text).await?);
        }
        Ok(Backend { client, statements })
    }
}

impl Dial for Door {
    type Peer = Arc<Backend>;

    async fn dial(&self) -> Result<Self::Peer, StoreError> {
        let backend = self.open().await.map_err(|error| StoreError(format!("{}: {}", self.url, told(&error))))?;
        Ok(Arc::new(backend))
    }

    fn is_open(peer: &Self::Peer) -> bool {
        !peer.client.is_closed()
    }
}

impl Postgres {
    /// Reads the URL; nothing is connected yet.
    pub(crate) fn new(url: &StoreUrl) -> Result<Self, String> {
        // What the library says of a URL may repeat parts of it.
        let mut config: Config = url.reveal().parse().map_err(|_| {
            format!(
                "expected postgres://USER:PASSWORD@HOST:PORT/DATABASE, saw {url} with something that cannot be read\n\
                 hint: special characters in a password are written as %40"
            )
        })?;
        if config.get_ssl_mode() == SslMode::Require {
            return Err(format!(
                "expected sslmode=disable, saw sslmode=require for {url}\nhint: TLS to a store is not built in; reach it over \
                 loopback, a Unix socket or a tunnel"
            ));
        }
        config.ssl_mode(SslMode::Disable).connect_timeout(DEADLINE);
        if config.get_application_name().is_none() {
            config.application_name("jwt-reference-server");
        }
        Ok(Self {
            door: Door { config, url: url.clone(), migrated: OnceCell::new() },
            lines: Line::several(LINES),
            next: AtomicUsize::new(0),
            places: Semaphore::new(QUEUE),
        })
    }

    /// Connects, migrates, and says what about the server's settings may lose an answer.
    pub(crate) async fn prepare(&self) -> Result<Vec<String>, StoreError> {
        let (_, backend) = self.lines[0].get(&self.door).await?;
        let mut doubts = Vec::new();
        for setting in ["fsync", "full_page_writes"] {
            let row = backend.client.query_one("select current_setting($1)", &[&setting]).await.map_err(failed)?;
            if row.get::<_, &str>(0) != "on" {
                doubts.push(format!(
                    "PostgreSQL runs with {setting} off: a crash of its machine may forget revoked tokens"
                ));
            }
        }
        Ok(doubts)
    }

    /// One statement, one row. Where it may be said twice, a connection that turns out to be dead is replaced once.
    async fn ask(&self, verb: Verb, values: &[&(dyn ToSql + Sync)]) -> Result<Row, StoreError> {
        let _place = self.places.try_acquire().map_err(|_| StoreError("too many requests are waiting".to_owned()))?;
        let line = &self.lines[self.next.fetch_add(1, Ordering::Relaxed) % LINES];
        let mut twice = !matches!(verb, Verb::Rotate);
        loop {
            let (number, backend) = line.get(&self.door).await?;
            let call = backend.client.query_one(&backend.statements[verb as usize], values);
            let error = match tokio::time::timeout(DEADLINE, call).await {
                Ok(Ok(row)) => return Ok(row),
                Ok(Err(error)) => error,
                Err(_) => {
                    line.lost(number);
                    return Err(StoreError("no answer within two seconds".to_owned()));
                }
            };
            let dead = backend.client.is_closed() || error.is_closed();
            // A server that shuts down says so before the connection ends.
            let leaving = error.code().is_some_and(|code| code.code().starts_with("57P"));
            if !dead && !leaving {
                return Err(failed(error));
            }
            line.lost(number);
            if !std::mem::take(&mut twice) {
                return Err(failed(error));
            }
        }
    }

    pub(crate) async fn rotate(
        &self,
        presented: Presented<'_>,
        next: Successor,
        rules: RotationRules,
        now: f64,
    ) -> Result<Rotation, StoreError> {
        let (expires, issued, last) = (signed(presented.expires), signed(next.issued), signed(next.expires));
        let row = self
            .ask(
                Verb::Rotate,
                &[
                    &presented.session,
                    &presented.jti,
                    &expires,
                    &next.jti,
                    &issued,
                    &last,
                    &rules.grace_s,
                    &rules.end_session,
                    &now,
                ],
            )
            .await?;
        match row.get(0) {
            "rotated" => Ok(Rotation::Rotated),
            "repeated" => {
                let seconds = |place: usize| row.get::<_, i64>(place).unsigned_abs();
                Ok(Rotation::Repeated(Successor { jti: row.get(1), issued: seconds(2), expires: seconds(3) }))
            }
            "reused" => Ok(Rotation::Reused),
            "revoked" => Ok(Rotation::Revoked),
            other => Err(StoreError(format!("an outcome that is not known: {other}"))),
        }
    }

    pub(crate) async fn end_session(&self, session: &str, expires: u64) -> Result<(), StoreError> {
        self.ask(Verb::End, &[&session, &signed(expires)]).await.map(drop)
    }

    pub(crate) async fn revoke(&self, session: &str, jti: &str, expires: u64) -> Result<(), StoreError> {
        self.ask(Verb::Revoke, &[&session, &jti, &signed(expires)]).await.map(drop)
    }

    pub(crate) async fn is_revoked(&self, session: &str, jti: &str) -> Result<bool, StoreError> {
        Ok(self.ask(Verb::IsRevoked, &[&session, &jti]).await?.get(0))
    }

    pub(crate) async fn is_used(&self, session: &str, jti: &str) -> Result<bool, StoreError> {
        Ok(self.ask(Verb::IsUsed, &[&session, &jti]).await?.get(0))
    }

    pub(crate) async fn used(&self, session: &str) -> Result<usize, StoreError> {
        Ok(self.ask(Verb::Used, &[&session]).await?.get::<_, i64>(0).unsigned_abs() as usize)
    }

    pub(crate) async fn sweep(&self, now: f64) -> Result<(), StoreError> {
        self.ask(Verb::Sweep, &[&signed(now.max(0.0) as u64), &SWEEP]).await.map(drop)
    }

    pub(crate) async fn remembered(&self) -> Result<usize, StoreError> {
        Ok(self.ask(Verb::Remembered, &[]).await?.get::<_, i64>(0).unsigned_abs() as usize)
    }

    pub(crate) async fn clear(&self) -> Result<(), StoreError> {
        self.ask(Verb::Clear, &[]).await.map(drop)
    }
}
