//! How are used and revoked tokens kept in a file of this machine? In redb: durable before the answer, many commits made into one.
//!
//! One thread writes. It takes all that waits, does it in one transaction, and answers only when that is on the disk: what was answered
//! survives the loss of the process, and under load one flush serves many. Readers see the last commit and wait for nobody.

use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;

use redb::{Database, ReadableDatabase, ReadableTable, ReadableTableMetadata, TableDefinition, WriteTransaction};
use tokio::sync::oneshot;

use super::{Presented, Rotation, RotationRules, StoreError, Successor};

/// Used refresh tokens: session and identifier, to what [`pack`] writes.
const USED: TableDefinition<'_, (&str, &str), &[u8]> = TableDefinition::new("used-1");
/// Single tokens that were taken back, to their end.
const REVOKED: TableDefinition<'_, (&str, &str), u64> = TableDefinition::new("revoked-1");
/// Sessions that were ended, to the end of their last token.
const ENDED: TableDefinition<'_, &str, u64> = TableDefinition::new("ended-1");
/// What may be forgotten when: end, session, identifier.
const EXPIRY: TableDefinition<'_, (u64, &str, &str), ()> = TableDefinition::new("expiry-1");

/// Writes that may wait; more are refused, and the caller says 503.
const QUEUE: usize = 8192;
/// Writes of one transaction: bounds how long the first of them waits.
const BATCH: usize = 1024;
/// Entries that one sweep forgets; the next one goes on.
const SWEEP: usize = 20_000;

type Failed = Box<dyn std::error::Error + Send + Sync>;

enum Write {
    Rotate { session: Box<str>, jti: Box<str>, expires: u64, next: Successor, rules: RotationRules, now: f64 },
    End { session: Box<str>, expires: u64 },
    Revoke { session: Box<str>, jti: Box<str>, expires: u64 },
    Sweep { now: u64 },
    Clear,
}

type Answer = Result<Rotation, StoreError>;

/// The store of one file.
pub(crate) struct Embedded {
    database: Arc<Database>,
    /// Absent only while the store is being dropped.
    writes: Option<SyncSender<(Write, oneshot::Sender<Answer>)>>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Embedded {
    fn drop(&mut self) {
        // Without senders the thread ends after what waits; then the file is free.
        self.writes = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl std::fmt::Debug for Embedded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("embedded store")
    }
}

fn failed(error: impl std::fmt::Display) -> StoreError {
    StoreError(error.to_string())
}

/// A version, then the numbers, then the successor's identifier.
fn pack(at: f64, expires: u64, next: &Successor) -> Vec<u8> {
    let mut bytes = vec![1];
    for number in [at.to_bits(), expires, next.issued, next.expires] {
        bytes.extend(number.to_be_bytes());
    }
    bytes.extend(next.jti.as_bytes());
    bytes
}

fn unpack(bytes: &[u8]) -> Option<(f64, u64, Successor)> {
    let (version, rest) = bytes.split_first()?;
    if *version != 1 {
        return None;
    }
    let (numbers, jti) = rest.split_at_checked(32)?;
    let number = |place: usize| numbers[place * 8..][..8].try_into().map(u64::from_be_bytes).ok();
    let jti = std::str::from_utf8(jti).ok()?.to_owned();
    Some((f64::from_bits(number(0)?), number(1)?, Successor { jti, issued: number(2)?, expires: number(3)? }))
}

impl Embedded {
    /// Opens the file, or makes it. Another process that has it open is an error.
    pub(crate) fn open(path: &Path) -> Result<Self, StoreError> {
        let database = Database::create(path).map_err(|error| {
            StoreError(format!("{}: {error}\nhint: one process at a time may open it", path.display()))
        })?;
        // Every table is there from the first transaction on, so that no reader meets a missing one.
        let begin = database.begin_write().map_err(failed)?;
        begin.open_table(USED).map_err(failed)?;
        begin.open_table(REVOKED).map_err(failed)?;
        begin.open_table(ENDED).map_err(failed)?;
        begin.open_table(EXPIRY).map_err(failed)?;
        begin.commit().map_err(failed)?;
        let database = Arc::new(database);
        let (writes, queue) = sync_channel(QUEUE);
        let its = Arc::clone(&database);
        let thread = std::thread::Builder::new()
            .name("store".to_owned())
            .spawn(move || write_forever(&its, &queue))
            .map_err(failed)?;
        Ok(Self { database, writes: Some(writes), thread: Some(thread) })
    }

    async fn write(&self, write: Write) -> Answer {
        let (answer, answered) = oneshot::channel();
        let writes = self.writes.as_ref().ok_or_else(|| failed("it is being closed"))?;
        writes.try_send((write, answer)).map_err(|error| match error {
            TrySendError::Full(_) => failed("too many writes are waiting"),
            TrySendError::Disconnected(_) => failed("its thread has ended"),
        })?;
        answered.await.map_err(failed)?
    }

    pub(crate) async fn rotate(
        &self,
        presented: Presented<'_>,
        next: Successor,
        rules: RotationRules,
        now: f64,
    ) -> Result<Rotation, StoreError> {
        let (session, jti) = (presented.session.into(), presented.jti.into());
        self.write(Write::Rotate { session, jti, expires: presented.expires, next, rules, now }).await
    }

    pub(crate) async fn end_session(&self, session: &str, expires: u64) -> Result<(), StoreError> {
        self.write(Write::End { session: session.into(), expires }).await.map(|_| ())
    }

    pub(crate) async fn revoke(&self, session: &str, jti: &str, expires: u64) -> Result<(), StoreError> {
        self.write(Write::Revoke { session: session.into(), jti: jti.into(), expires }).await.map(|_| ())
    }

    pub(crate) async fn is_revoked(&self, session: &str, jti: &str) -> Result<bool, StoreError> {
        let read = self.database.begin_read().map_err(failed)?;
        let ended = read.open_table(ENDED).map_err(failed)?;
        if ended.get(session).map_err(failed)?.is_some() {
            return Ok(true);
        }
        let revoked = read.open_table(REVOKED).map_err(failed)?;
        Ok(revoked.get((session, jti)).map_err(failed)?.is_some())
    }

    pub(crate) async fn is_used(&self, session: &str, jti: &str) -> Result<bool, StoreError> {
        let read = self.database.begin_read().map_err(failed)?;
        let used = read.open_table(USED).map_err(failed)?;
        Ok(used.get((session, jti)).map_err(failed)?.is_some())
    }

    pub(crate) async fn used(&self, session: &str) -> Result<usize, StoreError> {
        let read = self.database.begin_read().map_err(failed)?;
        let used = read.open_table(USED).map_err(failed)?;
        let mut count = 0;
        for row in used.range((session, "")..).map_err(failed)? {
            let (key, _) = row.map_err(failed)?;
            if key.value().0 != session {
                break;
            }
            count += 1;
        }
        Ok(count)
    }

    pub(crate) async fn sweep(&self, now: f64) -> Result<(), StoreError> {
        self.write(Write::Sweep { now: now.max(0.0) as u64 }).await.map(|_| ())
    }

    pub(crate) async fn remembered(&self) -> Result<usize, StoreError> {
        let read = self.database.begin_read().map_err(failed)?;
        let rows = [
            read.open_table(USED).map_err(failed)?.len().map_err(failed)?,
            read.open_table(REVOKED).map_err(failed)?.len().map_err(failed)?,
            read.open_table(ENDED).map_err(failed)?.len().map_err(failed)?,
        ];
        Ok(rows.iter().sum::<u64>() as usize)
    }

    pub(crate) async fn clear(&self) -> Result<(), StoreError> {
        self.write(Write::Clear).await.map(|_| ())
    }
}

fn write_forever(database: &Database, queue: &Receiver<(Write, oneshot::Sender<Answer>)>) {
    // Ends with the store that holds the sending half.
    while let Ok(first) = queue.recv() {
        let mut batch = vec![first];
        while batch.len() < BATCH
            && let Ok(next) = queue.try_recv()
        {
            batch.push(next);
        }
        let outcome = commit(database, &batch);
        match outcome {
            Ok(answers) => {
                for ((_, answer), found) in batch.into_iter().zip(answers) {
                    let _ = answer.send(Ok(found));
                }
            }
            Err(error) => {
                tracing::error!(%error, "the token store cannot write");
                let text = error.to_string();
                for (_, answer) in batch {
                    let _ = answer.send(Err(StoreError(text.clone())));
                }
            }
        }
    }
}

/// All of the batch in one transaction, in order, or nothing of it.
fn commit(database: &Database, batch: &[(Write, oneshot::Sender<Answer>)]) -> Result<Vec<Rotation>, Failed> {
    let transaction = database.begin_write()?;
    let mut answers = Vec::with_capacity(batch.len());
    for (write, _) in batch {
        answers.push(apply(&transaction, write)?);
    }
    transaction.commit()?;
    Ok(answers)
}

fn apply(transaction: &WriteTransaction, write: &Write) -> Result<Rotation, Failed> {
    match write {
        Write::Rotate { session, jti, expires, next, rules, now } => {
            return rotate(transaction, session, jti, *expires, next, *rules, *now);
        }
        Write::End { session, expires } => end(transaction, session, *expires)?,
        Write::Revoke { session, jti, expires } => {
            transaction.open_table(REVOKED)?.insert((&**session, &**jti), expires)?;
            transaction.open_table(EXPIRY)?.insert((*expires, &**session, &**jti), ())?;
        }
        Write::Sweep { now } => sweep(transaction, *now)?,
        Write::Clear => {
            transaction.delete_table(USED)?;
            transaction.delete_table(REVOKED)?;
            transaction.delete_table(ENDED)?;
            transaction.delete_table(EXPIRY)?;
            transaction.open_table(USED)?;
            transaction.open_table(REVOKED)?;
            transaction.open_table(ENDED)?;
            transaction.open_table(EXPIRY)?;
        }
    }
    Ok(Rotation::Rotated)
}

fn end(transaction: &WriteTransaction, session: &str, expires: u64) -> Result<(), Failed> {
    let mut ended = transaction.open_table(ENDED)?;
    let before = ended.get(session)?.map_or(0, |found| found.value());
    let expires = expires.max(before);
    ended.insert(session, expires)?;
    transaction.open_table(EXPIRY)?.insert((expires, session, ""), ())?;
    Ok(())
}

fn rotate(
    transaction: &WriteTransaction,
    session: &str,
    jti: &str,
    expires: u64,
    next: &Successor,
    rules: RotationRules,
    now: f64,
) -> Result<Rotation, Failed> {
    if transaction.open_table(ENDED)?.get(session)?.is_some()
        || transaction.open_table(REVOKED)?.get((session, jti))?.is_some()
    {
        return Ok(Rotation::Revoked);
    }
    let mut used = transaction.open_table(USED)?;
    let found =
        used.get((session, jti))?.map(|found| unpack(found.value()).ok_or("an entry cannot be read")).transpose()?;
    let Some((at, _, successor)) = found else {
        used.insert((session, jti), &*pack(now, expires, next))?;
        transaction.open_table(EXPIRY)?.insert((expires, session, jti), ())?;
        return Ok(Rotation::Rotated);
    };
    if now - at <= rules.grace_s && rules.grace_s > 0.0 && used.get((session, &*successor.jti))?.is_none() {
        return Ok(Rotation::Repeated(successor));
    }
    if rules.end_session {
        // The last successor outlives what it replaced, and must stay refused as long.
        let mut last = expires;
        for row in used.range((session, "")..)? {
            let (key, value) = row?;
            if key.value().0 != session {
                break;
            }
            let (_, expires, successor) = unpack(value.value()).ok_or("an entry cannot be read")?;
            last = last.max(expires).max(successor.expires);
        }
        drop(used);
        end(transaction, session, last)?;
    }
    Ok(Rotation::Reused)
}

fn sweep(transaction: &WriteTransaction, now: u64) -> Result<(), Failed> {
    let mut expiry = transaction.open_table(EXPIRY)?;
    let (mut used, mut revoked, mut ended) =
        (transaction.open_table(USED)?, transaction.open_table(REVOKED)?, transaction.open_table(ENDED)?);
    let mut over: Vec<(u64, String, String)> = Vec::new();
    for row in expiry.range(..=(now, "", ""))?.take(SWEEP) {
        let (key, _) = row?;
        let (expires, session, jti) = key.value();
        over.push((expires, session.to_owned(), jti.to_owned()));
    }
    for (expires, session, jti) in &over {
        expiry.remove((*expires, &**session, &**jti))?;
        if jti.is_empty() {
            // A later end of the same session has an entry of its own.
            if ended.get(&**session)?.is_some_and(|found| found.value() <= now) {
                ended.remove(&**session)?;
            }
        } else {
            used.remove((&**session, &**jti))?;
            if revoked.get((&**session, &**jti))?.is_some_and(|found| found.value() <= now) {
                revoked.remove((&**session, &**jti))?;
            }
        }
    }
    Ok(())
}
