//! Who may log in, and with which password? The directory, and the hashing's bounds.

use std::collections::HashMap;
use std::sync::{Arc, RwLock};
use std::time::Duration;

use bytes::Bytes;
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;
use tokio::sync::Semaphore;

use crate::password::{Hash, Kept, Passwords};

/// One user at one moment; replaced whole when something changes.
#[derive(Clone)]
pub(crate) struct User {
    pub(crate) id: Arc<str>,
    pub(crate) name: Arc<str>,
    pub(crate) password: Kept,
    pub(crate) active: bool,
    /// What the user may do, separated by spaces.
    pub(crate) scope: Arc<str>,
    /// Rises with each event that ends the user's tokens.
    pub(crate) generation: u32,
    /// What the protected resource says to this user.
    pub(crate) greeting: Bytes,
}

impl std::fmt::Debug for User {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "user {}", self.id)
    }
}

impl User {
    /// The reply of `GET /hello/`.
    pub(crate) fn greet(id: &str, name: &str, scope: &str) -> Bytes {
        Bytes::from(
            json!({"message": format!("hello, {name}"), "user": name, "user_id": id, "scope": scope}).to_string(),
        )
    }
}

#[derive(Default, Clone)]
struct Directory {
    by_name: HashMap<Arc<str>, Arc<User>>,
    by_id: HashMap<Arc<str>, Arc<User>>,
}

impl Directory {
    fn put(&mut self, user: User) {
        let user = Arc::new(user);
        self.by_name.insert(Arc::clone(&user.name), Arc::clone(&user));
        self.by_id.insert(Arc::clone(&user.id), user);
    }
}

/// A password could not be looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Busy {
    /// More are waiting than the queue holds.
    Full,
}

/// A user as the configuration gives it.
#[derive(Debug, Clone, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UserConfig {
    /// The login name.
    pub name: String,
    /// The password.
    pub password: SecretString,
    /// What the user may do, separated by spaces; `read write` where nothing is said.
    #[serde(default)]
    pub scope: Option<String>,
}

/// All users, and the workers that look at passwords.
pub(crate) struct Users {
    directory: RwLock<Directory>,
    first: Directory,
    passwords: Arc<Passwords>,
    dummy: Kept,
    workers: Arc<Semaphore>,
    queue: Arc<Semaphore>,
    /// How many may be in work or wait.
    places: usize,
}

impl std::fmt::Debug for Users {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("users")
    }
}

/// The work of a hash that feeds the whole password into every one of its rounds.
pub(crate) fn hash_without_end(password: &str) {
    let mut digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA512, password.as_bytes());
    for _ in 0..4000 {
        let mut context = aws_lc_rs::digest::Context::new(&aws_lc_rs::digest::SHA512);
        context.update(digest.as_ref());
        context.update(password.as_bytes());
        digest = context.finish();
    }
}

impl Users {
    /// Builds the directory. `workers` passwords are hashed at once, `queue` may wait.
    pub(crate) fn new(users: &[UserConfig], hash: Hash, workers: usize, queue: usize) -> Result<Self, String> {
        let passwords = Arc::new(Passwords::new(hash));
        let mut directory = Directory::default();
        // Generated users share one password, and one costly hash is enough for it.
        let mut known: HashMap<&str, Kept> = HashMap::new();
        for (place, user) in users.iter().enumerate() {
            let password = user.password.expose_secret();
            let kept = match known.get(password) {
                Some(kept) => kept.clone(),
                None => {
                    let kept = passwords.keep(password)?;
                    known.insert(password, kept.clone());
                    kept
                }
            };
            let (id, scope) = ((place + 1).to_string(), user.scope.as_deref().unwrap_or("read write"));
            directory.put(User {
                greeting: User::greet(&id, &user.name, scope),
                id: id.into(),
                name: user.name.as_str().into(),
                password: kept,
                active: true,
                scope: scope.into(),
                generation: 0,
            });
        }
        Ok(Self {
            first: directory.clone(),
            directory: RwLock::new(directory),
            dummy: passwords.keep("no password is this one")?,
            passwords,
            workers: Arc::new(Semaphore::new(workers)),
            queue: Arc::new(Semaphore::new(workers + queue)),
            places: workers + queue,
        })
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, Directory> {
        self.directory.read().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    pub(crate) fn by_id(&self, id: &str) -> Option<Arc<User>> {
        self.read().by_id.get(id).cloned()
    }

    /// The user as at the start, however gone by now: what a careless server still knows.
    pub(crate) fn first_by_id(&self, id: &str) -> Option<Arc<User>> {
        self.first.by_id.get(id).cloned()
    }

    pub(crate) fn by_name(&self, name: &str) -> Option<Arc<User>> {
        self.read().by_name.get(name).cloned()
    }

    /// True where passwords are hashed.
    pub(crate) fn hashes(&self) -> bool {
        self.passwords.costly()
    }

    /// True where `password` opens `user`. Without a user the same work is done, so that the time tells nothing.
    pub(crate) async fn password_opens(
        &self,
        user: Option<&User>,
        password: &str,
        skip_dummy: bool,
    ) -> Result<bool, Busy> {
        let kept = match user {
            Some(user) => &user.password,
            None if skip_dummy => return Ok(false),
            None => &self.dummy,
        };
        let known = user.is_some();
        if !self.passwords.costly() {
            return Ok(self.passwords.matches(kept, password) && known);
        }
        let (kept, passwords, password) = (kept.clone(), Arc::clone(&self.passwords), password.to_owned());
        self.costly(move || passwords.matches(&kept, &password) && known).await
    }

    /// Runs slow work off the async threads, at most as many at once as there are workers.
    ///
    /// Work that has begun holds its place to its end, also where the caller has gone: who asks and hangs up at once
    /// would otherwise start as many as it likes.
    pub(crate) async fn costly<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, Busy> {
        let waiting = Arc::clone(&self.queue).try_acquire_owned().map_err(|_| Busy::Full)?;
        let working = Arc::clone(&self.workers).acquire_owned().await.map_err(|_| Busy::Full)?;
        let places = (waiting, working);
        let worked = tokio::task::spawn_blocking(move || {
            let outcome = work();
            drop(places);
            outcome
        });
        worked.await.map_err(|_| Busy::Full)
    }

    /// How many passwords are in work or wait for it.
    pub(crate) fn in_work(&self) -> usize {
        self.places - self.queue.available_permits()
    }

    /// How long a caller should stay away when the queue is full.
    pub(crate) fn retry_after() -> Duration {
        Duration::from_secs(1)
    }

    /// Changes the user called `name`; false where there is none.
    pub(crate) fn change(&self, name: &str, change: impl FnOnce(&mut User)) -> bool {
        let mut directory = self.directory.write().unwrap_or_else(std::sync::PoisonError::into_inner);
        let Some(user) = directory.by_name.get(name) else { return false };
        let mut user = User::clone(user);
        change(&mut user);
        user.greeting = User::greet(&user.id, &user.name, &user.scope);
        directory.put(user);
        true
    }

    /// Takes the user called `name` out; false where there is none.
    pub(crate) fn delete(&self, name: &str) -> bool {
        let mut directory = self.directory.write().unwrap_or_else(std::sync::PoisonError::into_inner);
        let Some(user) = directory.by_name.remove(name) else { return false };
        directory.by_id.remove(&user.id);
        true
    }

    /// Gives the user called `name` another password, which ends the user's tokens.
    pub(crate) async fn set_password(&self, name: &str, password: &str) -> Result<bool, Busy> {
        let (passwords, password) = (Arc::clone(&self.passwords), password.to_owned());
        let kept = self.costly(move || passwords.keep(&password)).await?.map_err(|_| Busy::Full)?;
        Ok(self.change(name, |user| {
            user.password = kept;
            user.generation += 1;
        }))
    }

    /// The directory of the start again.
    pub(crate) fn reset(&self) {
        *self.directory.write().unwrap_or_else(std::sync::PoisonError::into_inner) = self.first.clone();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn work_whose_caller_hangs_up_keeps_its_place_until_it_ends() {
        let users = Arc::new(Users::new(&[], Hash::None, 1, 0).unwrap());
        let (end, ended) = std::sync::mpsc::channel::<()>();
        let asker = tokio::spawn({
            let users = Arc::clone(&users);
            async move { users.costly(move || ended.recv().is_ok()).await }
        });
        while users.in_work() == 0 {
            tokio::task::yield_now().await;
        }
        asker.abort();
        assert!(asker.await.unwrap_err().is_cancelled());
        assert_eq!(users.costly(|| ()).await, Err(Busy::Full));
        end.send(()).unwrap();
        while users.in_work() > 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert_eq!(users.costly(|| 7).await, Ok(7));
    }
}
