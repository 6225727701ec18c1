//! What is a check? Its static description: everything that can be said without sending a byte.

use crate::record::Level;
use crate::target::Dialect;

use super::probe::{Probe, Stop};

/// One entry of the catalogue.
///
/// The texts are published as they stand (`assay explain`, docs/checks.md, reports), so they are written for
/// the person whose server fails.
#[derive(Debug)]
pub struct Check {
    /// `group-what`: never reused, never changes its meaning.
    pub id: &'static str,
    /// Upper-case group of the catalogue: ISSUE, STRUCT, SIG, TIME, ...
    pub group: &'static str,
    /// The requirement in one line, quoted in every failure.
    pub requirement: &'static str,
    /// RFC sections, CVEs and documents.
    pub sources: &'static [&'static str],
    /// How much it weighs in which dialect.
    pub levels: Levels,
    /// Without these it does not apply or cannot be tried.
    pub needs: &'static [Need],
    /// The parts it reports on, in the order they are tried; empty where it is one whole. A name may end in `*`
    /// where the parts depend on the target (one per verify way, for instance).
    pub variants: &'static [&'static str],
    /// What may happen beside it.
    pub isolation: Isolation,
    /// What it costs, roughly.
    pub cost: Cost,
    /// It could harm the target: runs only with `--intrusive`.
    pub intrusive: bool,
    /// Flaws of the reference server that must make it fail. Written here for `explain`; the flaw table decides.
    pub flaws: &'static [&'static str],
    /// What is sent, in one or two sentences.
    pub sends: &'static str,
    /// Why it matters: what an attacker or a user meets where it does not hold.
    pub why: &'static str,
    /// How a server is mended that fails it.
    pub remedy: &'static str,
    /// Does it. Findings are told to the probe; `Err` ends the check early.
    pub run: fn(&mut Probe<'_>) -> Result<(), Stop>,
}

impl Check {
    /// Something that speaks through a probe and is no check of the catalogue: shared, and not to be run by itself.
    pub(super) const fn control(id: &'static str, requirement: &'static str) -> Check {
        Check {
            id,
            group: "CONTROL",
            requirement,
            sources: &[],
            levels: Levels::MUST,
            needs: &[],
            variants: &[],
            isolation: Isolation::Shared,
            cost: cost(10, 5),
            intrusive: false,
            flaws: &[],
            sends: "",
            why: "",
            remedy: "",
            run: |_| Ok(()),
        }
    }

    /// The level in a dialect, `None` where the dialect has no such requirement.
    pub fn level(&self, dialect: Dialect) -> Option<Level> {
        self.levels.of(dialect)
    }

    /// Whether the check reports on a part of this name.
    pub fn has_variant(&self, name: &str) -> bool {
        self.variants.iter().any(|v| match v.split_once('*') {
            Some((head, tail)) => name.starts_with(head) && name.ends_with(tail),
            None => *v == name,
        })
    }
}

/// A level per dialect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Levels {
    simple: Option<Level>,
    oauth: Option<Level>,
    oidc: Option<Level>,
    rfc9068: Option<Level>,
    rs_only: Option<Level>,
}

impl Levels {
    /// Must, whatever the target is.
    pub const MUST: Levels = Levels::all(Level::Must);
    /// Should, whatever the target is.
    pub const SHOULD: Levels = Levels::all(Level::Should);
    /// Worth knowing, whatever the target is.
    pub const INFO: Levels = Levels::all(Level::Info);

    /// The same in every dialect.
    pub const fn all(level: Level) -> Levels {
        Levels {
            simple: Some(level),
            oauth: Some(level),
            oidc: Some(level),
            rfc9068: Some(level),
            rs_only: Some(level),
        }
    }
    /// For servers that issue tokens: nothing to ask of a mere resource server.
    pub const fn issuing(level: Level) -> Levels {
        Levels { rs_only: None, ..Levels::all(level) }
    }
    /// Another level for simple servers.
    pub const fn simple(self, level: Level) -> Levels {
        Levels { simple: Some(level), ..self }
    }
    /// Another level for OAuth 2 servers and the dialects built on it (OpenID Connect, RFC 9068).
    pub const fn oauth(self, level: Level) -> Levels {
        Levels { oauth: Some(level), oidc: Some(level), rfc9068: Some(level), ..self }
    }
    /// Another level for OpenID Connect.
    pub const fn oidc(self, level: Level) -> Levels {
        Levels { oidc: Some(level), ..self }
    }
    /// Nothing to ask of simple servers.
    pub const fn not_simple(self) -> Levels {
        Levels { simple: None, ..self }
    }
    /// Another level for RFC 9068 access tokens.
    pub const fn rfc9068(self, level: Level) -> Levels {
        Levels { rfc9068: Some(level), ..self }
    }
    /// Only where OAuth 2 is spoken, or a dialect built on it.
    pub const fn only_oauth(level: Level) -> Levels {
        Levels { simple: None, rs_only: None, ..Levels::all(level) }
    }
    /// Only where the dialect is OpenID Connect.
    pub const fn only_oidc(level: Level) -> Levels {
        Levels { simple: None, oauth: None, oidc: Some(level), rfc9068: None, rs_only: None }
    }
    /// The level in a dialect.
    pub const fn of(&self, dialect: Dialect) -> Option<Level> {
        match dialect {
            Dialect::Simple => self.simple,
            Dialect::Oauth => self.oauth,
            Dialect::Oidc => self.oidc,
            Dialect::Rfc9068 => self.rfc9068,
            Dialect::RsOnly => self.rs_only,
        }
    }
    /// Every dialect with its level, for listings.
    pub fn rows(&self) -> [(&'static str, Option<Level>); 5] {
        [
            ("simple", self.simple),
            ("oauth", self.oauth),
            ("oidc", self.oidc),
            ("rfc9068", self.rfc9068),
            ("rs-only", self.rs_only),
        ]
    }
}

/// A capability of the target, of its profile or of the run, without which a check is skipped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Need {
    /// The profile has an `issue` operation and a user.
    Issue,
    /// The profile has a `refresh` operation and issues refresh tokens.
    Refresh,
    /// Refreshing hands out a new refresh token.
    Rotation,
    /// The profile has a `revoke` operation.
    Revoke,
    /// At least one way to have an access token judged.
    VerifyWay,
    /// A protected resource (`verify.resource`) that takes the token in the Authorization header.
    Resource,
    /// A verify endpoint or introspection beside the protected resource.
    SecondWay,
    /// Access tokens are JWTs.
    JwtAccess,
    /// Refresh tokens are JWTs.
    JwtRefresh,
    /// The key that signs is known: tokens can be forged that verify.
    SigningKey,
    /// The public key is known, by file or JWKS.
    PublicKey,
    /// The key that the server decrypts tokens with is known.
    DecryptionKey,
    /// The key can be forged with, tokens live short enough to wait for their end, or the server's clock can be moved.
    ForgeOrWait,
    /// The same, or a file that keeps tokens from run to run.
    ForgeWaitOrCapsule,
    /// The target can call back: it is on loopback, where the harness listens.
    Listener,
    /// A second user.
    SecondUser,
    /// A second OAuth client.
    SecondClient,
    /// An admin hook that disables a user.
    DisableUser,
    /// An admin hook that deletes a user.
    DeleteUser,
    /// An admin hook that replaces the signing key.
    RotateKeys,
    /// An admin hook that restarts the server.
    Restart,
    /// An admin hook that moves the server's clock.
    Clock,
    /// Log files of the server.
    Logs,
    /// The same server's address without the proxy.
    Peer,
    /// A proxy that we have started ourselves, and can start once more in front of something else.
    OwnProxy,
}

impl Need {
    /// Every capability, for listings.
    pub const ALL: &'static [Need] = &[
        Need::Issue,
        Need::Refresh,
        Need::Rotation,
        Need::Revoke,
        Need::VerifyWay,
        Need::Resource,
        Need::SecondWay,
        Need::JwtAccess,
        Need::JwtRefresh,
        Need::SigningKey,
        Need::PublicKey,
        Need::DecryptionKey,
        Need::ForgeOrWait,
        Need::ForgeWaitOrCapsule,
        Need::Listener,
        Need::SecondUser,
        Need::SecondClient,
        Need::DisableUser,
        Need::DeleteUser,
        Need::RotateKeys,
        Need::Restart,
        Need::Clock,
        Need::Logs,
        Need::Peer,
        Need::OwnProxy,
    ];

    /// The name in skip reasons (`needs:signing-key`) and for `--require`.
    pub const fn name(self) -> &'static str {
        self.row().0
    }
    /// How a profile or a command line provides it.
    pub const fn provided_by(self) -> &'static str {
        self.row().1
    }
    const fn row(self) -> (&'static str, &'static str) {
        match self {
            Need::Issue => ("issue", "`operations.issue` and `user` in the profile"),
            Need::Refresh => ("refresh", "`operations.refresh` in the profile"),
            Need::Rotation => ("rotation", "`operations.refresh.rotates: true` in the profile"),
            Need::Revoke => ("revoke", "`operations.revoke` in the profile"),
            Need::VerifyWay => ("verify", "an operation `verify.<name>` in the profile"),
            Need::Resource => ("resource", "`operations.verify.resource` in the profile"),
            Need::SecondWay => ("second-way", "two operations `verify.<name>` in the profile"),
            Need::JwtAccess => ("jwt-access", "access tokens that are JWTs (`tokens.access.format: jwt`)"),
            Need::JwtRefresh => ("jwt-refresh", "refresh tokens that are JWTs (`tokens.refresh.format: jwt`)"),
            Need::SigningKey => ("signing-key", "`keys.sign` in the profile"),
            Need::PublicKey => ("public-key", "`keys.verify` or `operations.keys` in the profile"),
            Need::DecryptionKey => ("decryption-key", "`keys.decrypt` in the profile"),
            Need::ForgeOrWait => (
                "signing-key-or-short-lifetime",
                "`keys.sign` in the profile, a lifetime that fits the budget, or `admin.advance_clock`",
            ),
            Need::ForgeWaitOrCapsule => (
                "signing-key-short-lifetime-or-capsule",
                "`keys.sign` in the profile, a lifetime that fits the budget, `admin.advance_clock`, or `--capsule FILE`",
            ),
            Need::Listener => ("listener", "a target on loopback, where Assay listens for its calls"),
            Need::SecondUser => ("second-user", "`second_user` in the profile"),
            Need::SecondClient => ("second-client", "`second_client` in the profile"),
            Need::DisableUser => ("admin-disable-user", "`admin.disable_user` in the profile"),
            Need::DeleteUser => ("admin-delete-user", "`admin.delete_user` in the profile"),
            Need::RotateKeys => ("admin-rotate-keys", "`admin.rotate_keys` in the profile"),
            Need::Restart => ("admin-restart", "`admin.restart` in the profile"),
            Need::Clock => ("clock", "`admin.advance_clock` in the profile"),
            Need::Logs => ("logs", "`logs` in the profile, or a server that Assay started"),
            Need::Peer => ("peer", "the address of the same server without its proxy"),
            Need::OwnProxy => ("own-proxy", "a chain under `topologies` of the scenario whose proxies Assay starts"),
        }
    }
}

/// What may happen beside a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isolation {
    /// Runs beside others on pooled tokens.
    Shared,
    /// Runs beside others on a login of its own.
    User,
    /// Runs alone: it moves the clock, rotates keys, floods or times.
    Exclusive,
    /// Runs alone after all others: it judges what they saw.
    Last,
    /// Runs alone after those even: it may lock an account, or the caller out.
    Locking,
}

impl Isolation {
    /// The name in listings.
    pub const fn name(self) -> &'static str {
        match self {
            Isolation::Shared => "shared",
            Isolation::User => "user",
            Isolation::Exclusive => "exclusive",
            Isolation::Last => "last",
            Isolation::Locking => "locking",
        }
    }
}

/// What a check costs, roughly, against a fast server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cost {
    /// Requests, controls included.
    pub requests: u32,
    /// Wall time in seconds.
    pub seconds: u32,
}

/// A cost.
pub const fn cost(requests: u32, seconds: u32) -> Cost {
    Cost { requests, seconds }
}
