//! What does a running server hold? Everything that its handlers share.

use secrecy::ExposeSecret;

use crate::clock::Clock;
use crate::config::Config;
use crate::flaws::{FlawId, FlawSet};
use crate::keys::{Key, KeyError, KeyRing};
use crate::metrics::Metrics;
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
    if !first.signs() {
        return Err(StartError::Config(format!(
            "expected a private key or a secret as the first key, saw the public key `{}`\nhint: the first key signs",
            first.kid
        )));
    }
    Ok((first, keys))
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
    pub(crate) pace: Option<governor::DefaultKeyedRateLimiter<String>>,
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
        let (key, others) = keys_of(&config)?;
        let sealer = config
            .encryption
            .map(|alg| Sealer::new(alg, config.encryption_key.as_ref().map(|key| key.expose_secret())))
            .transpose()
            .map_err(StartError::Config)?;
        let published = sealer.iter().filter_map(|sealer| sealer.jwk.clone()).collect();
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

    /// Counts a request of `who`, a user or client, or says how many seconds it must wait.
    pub(crate) fn admit(&self, kind: &str, who: &str) -> Result<(), Denied> {
        use governor::clock::Clock as _;
        let Some(pace) = &self.pace else { return Ok(()) };
        pace.check_key(&format!("{kind} {who}")).map_err(|not_yet| {
            self.metrics.counters.overloaded.inc();
            let wait = not_yet.wait_time_from(governor::clock::DefaultClock::default().now());
            Denied::Throttled(wait.as_secs() + 1)
        })
    }

    /// True where this flaw is on.
    pub(crate) fn has(&self, flaw: FlawId) -> bool {
        self.flaws.has(flaw)
    }
}
