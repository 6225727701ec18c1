//! Who logs in? Pace, limit of failures, password and state of the user, and then the first pair.

use std::sync::Arc;
use std::time::Duration;

use super::{Denied, Grant, Pair};
use crate::flaws::FlawId as F;
use crate::state::State;
use crate::throttle::{Throttle, Turn};
use crate::token::random_id;
use crate::users::User;

/// How often and how long a login waits for another one of the same name that is under way.
const TURN_POLLS: usize = 400;
const TURN_POLL: Duration = Duration::from_millis(5);

/// A password of one name that is being looked at; where the caller goes away meanwhile it counts as not looked at.
struct Try<'t> {
    throttle: &'t Throttle,
    name: u64,
    opened: Option<bool>,
}

impl Try<'_> {
    fn ended(mut self, opened: bool) {
        self.opened = Some(opened);
    }
}

impl Drop for Try<'_> {
    fn drop(&mut self) {
        self.throttle.end(self.name, self.opened);
    }
}

impl State {
    /// Checks a login and gives its first pair.
    pub(crate) async fn login(&self, name: &str, password: &str) -> Result<Pair, Denied> {
        let user = self.authenticate(name, password).await?;
        let grant = Grant {
            session: random_id(),
            auth_time: self.now() as u64,
            scope: Some(user.scope.to_string()),
            ..Grant::default()
        };
        self.first_pair(user, grant)
    }

    /// The user whom `name` and `password` open.
    pub(crate) async fn authenticate(&self, name: &str, password: &str) -> Result<Arc<User>, Denied> {
        self.admit("user", name)?;
        let limit = self.config.login_limit.filter(|_| !self.has(F::NoThrottle));
        let turn = match limit {
            Some(limit) => Some(self.turn(name, limit).await?),
            None => None,
        };
        let user = self.users.by_name(name).or_else(|| {
            // Who is unknown is let in as somebody.
            self.has(F::CreateUser).then(|| self.users.by_name("bob")).flatten()
        });
        self.metrics.counters.hashed.inc();
        if self.has(F::UnboundedHash) && password.len() > 4096 {
            let password = password.to_owned();
            self.users.costly(move || crate::users::hash_without_end(&password)).await?;
        }
        let asked = self.users.hashes().then(std::time::Instant::now);
        let opens = self.users.password_opens(user.as_deref(), password, self.has(F::SkipDummyHash)).await;
        if let Some(asked) = asked {
            self.metrics.hashed(asked.elapsed());
        }
        let opens = opens.inspect_err(|_| _ = self.metrics.counters.overloaded.inc())?;
        // An inactive user is told what a wrong password is told, after the same work.
        match user {
            Some(user) if (opens || self.lets_in(name, password)) && (user.active || self.has(F::InactiveLogin)) => {
                if let Some(turn) = turn {
                    turn.ended(true);
                }
                Ok(if self.has(F::SharedStateLogin) { self.slips.shared(user).await } else { user })
            }
            found => {
                if let Some(turn) = turn {
                    turn.ended(false);
                }
                let told = found.is_none() && self.has(F::DistinctMessage);
                Err(if told { Denied::UnknownUser } else { Denied::Credentials })
            }
        }
    }

    /// Whether a mistake opens the door where the password does not.
    fn lets_in(&self, name: &str, password: &str) -> bool {
        self.has(F::AnyPassword)
            || (self.has(F::EmptyPassword) && password.is_empty())
            || (self.has(F::CreateUser) && self.users.by_name(name).is_none())
    }

    /// Waits until a password of `name` may be looked at; refused where too many have failed.
    async fn turn(&self, name: &str, limit: u32) -> Result<Try<'_>, Denied> {
        let name = self.short_name(&name);
        for _ in 0..TURN_POLLS {
            match self.throttle.begin(name, limit, self.now()) {
                Turn::Go => return Ok(Try { throttle: &self.throttle, name, opened: None }),
                Turn::Wait => tokio::time::sleep(TURN_POLL).await,
                Turn::Refused(seconds) => return Err(Denied::Throttled(seconds)),
            }
        }
        Err(Denied::Throttled(1))
    }
}
