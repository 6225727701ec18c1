//! What does a running server hold? Everything that its handlers share.

use std::borrow::Cow;

use secrecy::ExposeSecret;

use crate::clock::Clock;
use crate::config::Config;
use crate::flaws::{FlawId, FlawSet};
use crate::keys::{Key, KeyError};
use crate::metrics::Metrics;
use crate::ring::KeyRing;
use crate::sealing::Sealer;
use crate::session::Denied;
use crate::store::{RotationRules, Store, StoreConfig};
use crate::token::Purpose;
use crate::users::Users;
use crate::verify::{Gate, Place};

/// Why the server does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The key cannot be used.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// A password cannot be hashed.
    #[error("cannot hash the configured passwords: {0}")]
    Password(String),
    /// Two values of the configuration contradict each other.
    #[error("{0}")]
    Config(String),
    /// The token store cannot be opened.
    #[error("the token store: {0}")]
    Store(String),
    /// An address cannot be bound, or a file not be read.
    #[error("{what}: {source}")]
    Io {
        /// What was attempted.
        what: String,
        /// What the system said.
        source: std::io::Error,
    },
}

/// What each endpoint asks of a token.
#[derive(Debug)]
pub(crate) struct Gates {
    /// The protected resource.
    pub(crate) resource: Gate,
    /// The verify endpoint: any token that we signed and that has not ended.
    pub(crate) verify: Gate,
    /// The refresh and revocation endpoints.
    pub(crate) refresh: Gate,
}

impl Gates {
    fn of(config: &Config) -> Self {
        let on = |flaw: FlawId| config.flaws.has(flaw);
        let leeway_s = if on(FlawId::Leeway600) {
            600.0
        } else if on(FlawId::EarlyExpiry) {
            -5.0
        } else {
            config.leeway.as_secs_f64()
        };
        let strict = Gate {
            place: Place::Resource,
            purposes: vec![Purpose::Access],
            leeway_s,
            check_exp: !on(FlawId::IgnoreExp),
            inclusive_exp: on(FlawId::InclusiveExp),
            require_exp: !on(FlawId::ExpOptional) && !on(FlawId::IgnoreExp),
            check_nbf: !on(FlawId::NbfOff),
            early_s: if on(FlawId::EarlyNbf) { 600.0 } else { 0.0 },
            issuer: config.issuer.clone().filter(|_| !on(FlawId::SharedKey)),
            audience: if on(FlawId::AudOff) || on(FlawId::SharedKey) { Vec::new() } else { config.audience.clone() },
            lax: false,
            require_access_typ: config.rfc9068 && !on(FlawId::TypIgnored),
        };
        let mut verify =
            Gate { place: Place::Verify, purposes: vec![Purpose::Access, Purpose::Refresh], ..strict.clone() };
        let mut refresh = Gate {
            place: Place::Refresh,
            purposes: vec![Purpose::Refresh],
            require_access_typ: false,
            ..strict.clone()
        };
        let mut resource = strict;
        if on(FlawId::TwoLeeways) {
            resource.leeway_s += 15.0;
        }
        if on(FlawId::NoTypeCheck) {
            resource.purposes.clear();
        }
        if on(FlawId::AcceptIdToken) {
            resource.purposes.push(Purpose::Id);
        }
        if on(FlawId::RefreshIdToken) {
            refresh.purposes.push(Purpose::Id);
            // An ID token is for the client.
            refresh.audience.clear();
        }
        if on(FlawId::NoTypeCheckRefresh) {
            refresh.purposes.clear();
        }
        if on(FlawId::LaxRefresh) {
            (refresh.lax, refresh.require_exp) = (true, false);
        }
        if on(FlawId::ImmortalRefresh) {
            refresh.check_exp = false;
        }
        if on(FlawId::TypeBlind) {
            // An ID token is for the client.
            (verify.purposes, verify.audience) = (Vec::new(), Vec::new());
        }
        if on(FlawId::VerifySignatureOnly) {
            verify = Gate {
                purposes: Vec::new(),
                check_exp: false,
                require_exp: false,
                check_nbf: false,
                issuer: None,
                audience: Vec::new(),
                require_access_typ: false,
                ..verify
            };
        }
        Self { resource, verify, refresh }
    }
}

/// The signing key and those that only verify.
fn keys_of(config: &Config) -> Result<(Key, Vec<Key>), StartError> {
    let mut keys: Vec<Key> = Vec::new();
    for given in &config.keys {
        let key = Key::configured(given.algorithm, given.kid.as_deref(), given.text.expose_secret())?
            .with_flaws(&config.flaws);
        if keys.iter().any(|known| known.kid == key.kid) {
            return Err(StartError::Config(format!(
                "expected keys with different names, saw `{}` twice\nhint: give each a `kid`",
                key.kid
            )));
        }
        keys.push(key);
    }
    if keys.is_empty() {
        let algorithm = config.algorithm;
        let key = if config.flaws.has(FlawId::SecretSecret) && algorithm.is_symmetric() {
            Key::raw_secret(algorithm, algorithm.development_kid.to_owned(), "c2VjcmV0")?
        } else {
            Key::development(algorithm)?
        };
        keys.push(key.with_flaws(&config.flaws));
    }
    let first = keys.remove(0);
    if config.keys.first().is_some_and(|given| !crate::material::may_sign(given.text.expose_secret())) {
        return Err(StartError::Config(format!(
            "expected `sign` in the `key_ops` of the first key, saw none in those of `{}`\nhint: the first key signs",
            first.kid
        )));
    }
    if !first.signs() {
        return Err(StartError::Config(format!(
            "expected a private key or a secret as the first key, saw the public key `{}`\nhint: the first key signs",
            first.kid
        )));
    }
    Ok((first, keys))
}

/// No two users of one name, and scopes that RFC 6749 section 3.3 allows.
fn check_names(config: &Config) -> Result<(), StartError> {
    let mut names = std::collections::HashSet::with_capacity(config.users.len());
    if let Some(twice) = config.users.iter().find(|user| !names.insert(&*user.name)) {
        return Err(StartError::Config(format!("expected users of different names, saw `{}` twice", twice.name)));
    }
    let scopes = config.users.iter().map(|user| &user.scope).chain(config.clients.iter().map(|client| &client.scope));
    for scope in scopes.flatten() {
        if !scope.is_empty() && !crate::scope::well_formed(scope) {
            return Err(StartError::Config(format!(
                "expected a scope of words between single spaces, without quotes and backslashes, saw `{scope}`"
            )));
        }
    }
    if config.rate_limit == Some(0) {
        return Err(StartError::Config(
            "expected a rate limit of 1 or more, saw 0\nhint: leave it out for no limit".to_owned(),
        ));
    }
    Ok(())
}

/// Everything that the handlers share.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) config: Config,
    pub(crate) flaws: FlawSet,
    pub(crate) clock: Clock,
    pub(crate) keys: KeyRing,
    /// Hides tokens, where that is configured.
    pub(crate) sealer: Option<Sealer>,
    pub(crate) users: Users,
    pub(crate) clients: crate::client::Clients,
    /// What the discovery documents call this server.
    pub(crate) issuer: String,
    pub(crate) store: Store,
    pub(crate) gates: Gates,
    pub(crate) rotation: RotationRules,
    pub(crate) metrics: Metrics,
    /// How fast one user or client may ask, where that is limited.
    pub(crate) pace: Option<governor::DefaultKeyedRateLimiter<u64>>,
    /// What names are kept as, where a stranger chooses them: a name may be long, and there is no end of them.
    names: std::hash::RandomState,
    pub(crate) throttle: crate::throttle::Throttle,
    pub(crate) notes: crate::notes::Notes,
    pub(crate) stall: crate::stall::Stall,
    /// What only the mistakes remember.
    pub(crate) slips: crate::slips::Slips,
}

impl State {
    /// Prepares keys, users and rules.
    pub(crate) fn new(config: Config) -> Result<Self, StartError> {
        if config.access_lifetime.is_zero() || config.refresh_lifetime.is_zero() {
            return Err(StartError::Config(
                "expected lifetimes of one second or more\nhint: --access-lifetime 5m --refresh-lifetime 24h"
                    .to_owned(),
            ));
        }
        let mut config = config;
        if let Some(first) = config.keys.first() {
            config.algorithm = first.algorithm;
        }
        for name in [
            "iss",
            "sub",
            "aud",
            "exp",
            "nbf",
            "iat",
            "jti",
            "sid",
            "gen",
            "scope",
            "client_id",
            "token_type",
            "user_id",
        ] {
            if config.claims.contains_key(name) {
                return Err(StartError::Config(format!("expected private claims of other names, saw `{name}`")));
            }
        }
        check_names(&config)?;
        let (key, others) = keys_of(&config)?;
        let sealer = config
            .encryption
            .map(|alg| Sealer::new(alg, config.encryption_key.as_ref().map(|key| key.expose_secret())))
            .transpose()
            .map_err(StartError::Config)?;
        let mut published: Vec<_> = sealer.iter().filter_map(|sealer| sealer.jwk.clone()).collect();
        published.extend(key.published_by_mistake(&config.flaws)?);
        let workers = std::thread::available_parallelism().map_or(1, usize::from);
        let users = Users::new(&config.users, config.hash, workers, config.hash_queue).map_err(StartError::Password)?;
        let store = Store::open(&config.store).map_err(|error| match &config.store {
            // Nothing was reached yet: the address itself is wrong.
            StoreConfig::Postgres(_) | StoreConfig::Redis(_) => StartError::Config(format!("store: {}", error.0)),
            _ => StartError::Store(error.0),
        })?;
        let clients = crate::client::Clients::new(&config.clients).map_err(StartError::Config)?;
        Ok(Self {
            clients,
            issuer: config.issuer.clone().unwrap_or_else(|| config.address.clone()),
            flaws: config.flaws,
            clock: Clock::default(),
            keys: KeyRing::new(key, others, published),
            sealer,
            users,
            store,
            gates: Gates::of(&config),
            rotation: RotationRules {
                grace_s: if config.flaws.has(FlawId::Grace600) { 600.0 } else { config.grace.as_secs_f64() },
                end_session: !config.flaws.has(FlawId::NoFamily),
            },
            metrics: Metrics::default(),
            pace: config
                .rate_limit
                .and_then(std::num::NonZeroU32::new)
                .map(|limit| governor::RateLimiter::keyed(governor::Quota::per_second(limit))),
            names: std::hash::RandomState::new(),
            throttle: crate::throttle::Throttle::default(),
            notes: crate::notes::Notes::default(),
            stall: crate::stall::Stall::default(),
            slips: crate::slips::Slips::default(),
            config,
        })
    }

    /// Seconds since 1970, by this server's clock.
    pub(crate) fn now(&self) -> f64 {
        let skew = if self.has(FlawId::SkewedWorker) && self.metrics.counters.requests.get().is_multiple_of(4) {
            5.0
        } else {
            0.0
        };
        self.clock.now() + skew
    }

    /// Forgets what no token can ask for any more, by a clock that is never put back: see [`Clock::settled`].
    pub(crate) async fn sweep(&self) -> Result<(), crate::store::StoreError> {
        self.sweep_by(self.clock.settled()).await
    }

    /// Forgets what no token can ask for any more from this moment on.
    ///
    /// Entries end with the refresh token that they are about. Access tokens of its session may have been issued until then, and a leeway
    /// lets each pass a little longer, once at the refresh and once at the resource.
    pub(crate) async fn sweep_by(&self, now: f64) -> Result<(), crate::store::StoreError> {
        let [resource, verify, refresh] = [&self.gates.resource, &self.gates.verify, &self.gates.refresh];
        let leeway_s = resource.leeway_s.max(verify.leeway_s).max(refresh.leeway_s).max(0.0);
        let longer_s = self.config.access_lifetime.as_secs_f64() + 2.0 * leeway_s;
        self.store.sweep(now - longer_s).await
    }

    /// Counts a request of `who`, a user or client, or says how many seconds it must wait.
    pub(crate) fn admit(&self, kind: &str, who: &str) -> Result<(), Denied> {
        use governor::clock::Clock as _;
        let Some(pace) = &self.pace else { return Ok(()) };
        pace.check_key(&self.short_name(&(kind, who))).map_err(|not_yet| {
            self.metrics.counters.overloaded.inc();
            let wait = not_yet.wait_time_from(governor::clock::DefaultClock::default().now());
            Denied::Paced(wait.as_secs() + 1)
        })
    }

    /// A name as the limits remember it.
    pub(crate) fn short_name(&self, name: &impl std::hash::Hash) -> u64 {
        use std::hash::BuildHasher;
        self.names.hash_one(name)
    }

    /// What this server calls itself: always the same, but for a mistake.
    pub(crate) fn issuer_of_request(&self) -> Cow<'_, str> {
        let named = self.has(FlawId::HostHeaderIssuer).then(crate::flawed::issuer_by_host).flatten();
        named.map_or(Cow::Borrowed(&*self.issuer), Cow::Owned)
    }

    /// True where this flaw is on.
    pub(crate) fn has(&self, flaw: FlawId) -> bool {
        self.flaws.has(flaw)
    }
}
