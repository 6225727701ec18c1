//! Whose token is sent next? The sessions of one loop: theirs alone, so that nothing is locked.

use super::claims;
use super::plan::{Purpose, random, uniform};
use super::script::{Captured, Role, Slots, travels_plainly};
use super::shared::Exchanged;
use crate::scenario::Reuse;
use crate::target::{Issued, TokenUse};
use crate::units::Nanos;

/// A session: the tokens of one login.
#[derive(Clone, Debug, Default)]
pub(crate) struct Session {
    pub access: Vec<u8>,
    pub refresh: Vec<u8>,
    /// What `issue` returned beside tokens, in the order of the profile's `returns`.
    pub others: Vec<Vec<u8>>,
    /// When the access token may have ended at the earliest, and has ended at the latest, on the clock of
    /// [`crate::clock::mono`]; zero if nobody knows.
    pub expires: Nanos,
    pub ended_at: Nanos,
    /// A refresh, a revocation or a chore has it: its refresh token must not be used a second time.
    pub locked: bool,
    /// When its access token has to be renewed off the timed path.
    pub renew_at: Nanos,
    /// When we last began to end or to replace its tokens; zero if never.
    pub killed: Nanos,
    /// A walk through the steps of a flow has it.
    pub walked: bool,
    /// Its refresh token is used up without a successor, or it was revoked: a login has to replace it.
    pub ended: bool,
    /// It stands among those that have had a refresh token.
    renewable: bool,
    /// The drive in which the access token was first presented.
    presented: u32,
    plain: bool,
}

impl Session {
    /// What an issue returned.
    pub fn new(issued: &Issued, others: &[String], lifetime_s: Option<f64>, when: Exchanged) -> Session {
        let mut session = Session::default();
        session.renew(issued, Session::claims(issued), others, lifetime_s, when);
        session
    }

    /// What a new access token says of its lifetime.
    pub fn claims(issued: &Issued) -> Option<claims::Claims> {
        issued.access.as_deref().and_then(|token| claims::read(token, "", &mut Vec::new()))
    }

    /// A session with nothing but an access token of our own signing, which ends at `expires`.
    pub fn signed(mut access: Vec<u8>, others: usize, expires: Nanos) -> Session {
        access.shrink_to_fit();
        let plain = travels_plainly(&access);
        Session { access, expires, ended_at: expires, plain, others: vec![Vec::new(); others], ..Session::default() }
    }

    /// Stores what a refresh or a login returned; what it did not return stays. `claims` are those of the new access
    /// token; `lifetime_s` is used where neither they nor the reply say how long it lives.
    pub fn renew(
        &mut self,
        issued: &Issued,
        claims: Option<claims::Claims>,
        others: &[String],
        lifetime_s: Option<f64>,
        when: Exchanged,
    ) {
        let tokens = Captured {
            access: issued.access.as_deref(),
            refresh: issued.refresh.as_deref(),
            expires_in: issued.expires_in,
        };
        self.take(&tokens, claims, lifetime_s, when);
        self.others.resize(others.len(), Vec::new());
        for (mine, name) in self.others.iter_mut().zip(others) {
            if let Some(value) = issued.other.get(name) {
                let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                store(mine, text.as_bytes());
            }
        }
        self.settle();
    }

    /// The same of tokens as they stood in the reply, with nothing beside them. Does not allocate where they fit.
    pub fn renew_plain(
        &mut self,
        tokens: &Captured<'_>,
        claims: Option<claims::Claims>,
        lifetime_s: Option<f64>,
        when: Exchanged,
    ) {
        self.take(tokens, claims, lifetime_s, when);
        self.settle();
    }

    fn take(
        &mut self,
        tokens: &Captured<'_>,
        claims: Option<claims::Claims>,
        lifetime_s: Option<f64>,
        when: Exchanged,
    ) {
        if let Some(access) = tokens.access {
            store(&mut self.access, access.as_bytes());
            self.presented = 0;
            let lives = claims.and_then(lifetime).or(tokens.expires_in).or(lifetime_s);
            let after = |from: Nanos| lives.map_or(Nanos(0), |s| from + Nanos::from_secs_f64(s));
            // Whole seconds are rounded down by the server, so that a token may end that much earlier.
            self.expires = after(when.sent).since(ROUNDING);
            self.ended_at = after(when.received);
        }
        if let Some(refresh) = tokens.refresh {
            store(&mut self.refresh, refresh.as_bytes());
        }
    }

    /// It is fresh: whatever was on its way is done.
    fn settle(&mut self) {
        self.plain = [&self.access, &self.refresh].into_iter().chain(&self.others).all(|v| travels_plainly(v));
        self.locked = false;
        self.ended = false;
    }

    /// What was issued beside its tokens, by name.
    pub fn values(&self, others: &[String]) -> std::collections::BTreeMap<String, serde_json::Value> {
        let text = |value: &Vec<u8>| String::from_utf8_lossy(value).into_owned().into();
        others.iter().cloned().zip(self.others.iter().map(text)).collect()
    }

    /// Whether its values can be spliced as they are.
    pub fn is_plain(&self) -> bool {
        self.plain
    }

    /// Whether the access token has ended by our own schedule.
    pub fn has_expired(&self, now: Nanos) -> bool {
        self.expires.0 > 0 && self.expires <= now
    }

    /// The values to splice for an operation that presents this kind of token.
    pub fn slots(&self, uses: TokenUse) -> SessionSlots<'_> {
        SessionSlots { session: self, uses }
    }
}

/// A session's values as a script splices them.
#[derive(Clone, Copy)]
pub(crate) struct SessionSlots<'a> {
    session: &'a Session,
    uses: TokenUse,
}

impl Slots for SessionSlots<'_> {
    fn slot(&self, index: usize) -> &[u8] {
        match (index, self.uses) {
            (0, TokenUse::Refresh) => &self.session.refresh,
            (0, _) => &self.session.access,
            (other, _) => self.session.others.get(other - 1).map_or(&[], Vec::as_slice),
        }
    }
}

/// Replaces bytes without allocating where they fit; a token's successor is about as long as the token.
fn store(into: &mut Vec<u8>, bytes: &[u8]) {
    into.clear();
    into.reserve_exact(bytes.len());
    into.extend_from_slice(bytes);
}

/// What the seconds of `exp` may be short of the moment that was meant.
const ROUNDING: Nanos = Nanos(1_000_000_000);

/// How many seconds a JWT lives by its own `iat` and `exp`: no clock of ours is in it.
fn lifetime(claims: claims::Claims) -> Option<f64> {
    Some(claims.exp? - claims.iat.unwrap_or_else(crate::clock::unix))
}

/// The sessions of one loop, and which of them is next.
#[derive(Debug, Default)]
pub(crate) struct Sessions {
    pub list: Vec<Session>,
    /// Tokens that ended long ago, for the share that is sent on purpose.
    pub expired: Vec<Vec<u8>>,
    /// Tokens that were revoked before the load, for the share that is sent on purpose.
    pub revoked: Vec<Vec<u8>>,
    /// Those that have had a refresh token. Of many sessions that we signed few may: a look at neighbours would miss them.
    renewable: Vec<u32>,
    reuse: Reuse,
    seed: u64,
    /// Number of this drive, for the distinct-token ratio.
    drive: u32,
    /// Sessions that were made for walks and are free again.
    empty: Vec<u32>,
    next_once: usize,
    next_issued: usize,
    pub distinct: u64,
    pub presentations: u64,
    /// Times `once` had to begin again.
    pub rounds: u64,
}

/// How many sessions are looked at before an arrival has to wait.
const LOOKED_AT: usize = 64;

impl Sessions {
    pub fn new(mut list: Vec<Session>, reuse: Reuse, seed: u64, drive: u32) -> Sessions {
        list.iter_mut().for_each(|session| session.renewable = false);
        let renewable = Vec::with_capacity(list.len());
        let mut sessions = Sessions { list, renewable, reuse, seed, drive, ..Sessions::default() };
        (0..sessions.list.len()).for_each(|at| sessions.renewed(at));
        sessions
    }

    /// The session has got tokens: it can be found by its refresh token from here on.
    pub fn renewed(&mut self, at: usize) {
        let Some(session) = self.list.get_mut(at) else { return };
        if !session.renewable && !session.refresh.is_empty() {
            session.renewable = true;
            self.renewable.push(at as u32);
        }
    }

    /// With tokens that are sent although they have ended or were revoked.
    pub fn with_spoilt(self, expired: Vec<Vec<u8>>, revoked: Vec<Vec<u8>>) -> Sessions {
        Sessions { expired, revoked, ..self }
    }

    /// The session that arrival `n` uses, or none if all that were looked at are taken.
    pub fn pick(&mut self, role: Role, uses: TokenUse, n: u64, now: Nanos) -> Option<usize> {
        let by_access = uses == TokenUse::Access;
        let len = if by_access { self.list.len() } else { self.renewable.len() };
        if len == 0 {
            return None;
        }
        let once = self.reuse == Reuse::Once && role == Role::Present;
        let from = match self.reuse {
            Reuse::Once if once => self.next_once,
            Reuse::Zipf => {
                // The inverse of the distribution with weights ln((k+1)/k), which is Zipf's of exponent 1.
                let u = uniform(self.seed, n, Purpose::Session);
                ((u * ((len + 1) as f64).ln()).exp() as usize).saturating_sub(1).min(len - 1)
            }
            _ => (random(self.seed, n, Purpose::Session) % len as u64) as usize,
        };
        let mut stale = None;
        for step in 0..len.min(LOOKED_AT) {
            let place = (from + step) % len;
            let at = if by_access { place } else { self.renewable[place] as usize };
            let session = &self.list[at];
            let token = if by_access { &session.access } else { &session.refresh };
            // An access token is presented while others do so too; what uses a token up has it alone.
            let held = session.locked && !(by_access && role == Role::Present);
            if token.is_empty() || session.ended || session.walked || held {
                continue;
            }
            if uses == TokenUse::Access && session.has_expired(now) {
                stale.get_or_insert(at);
                continue;
            }
            if once {
                self.advance_once(place, len);
            }
            return Some(at);
        }
        // Better a token that has ended, and the refusal attributed to us, than nothing sent at all.
        stale
    }

    fn advance_once(&mut self, used: usize, of: usize) {
        self.next_once = used + 1;
        if self.next_once >= of {
            self.next_once = 0;
            self.rounds += 1;
        }
    }

    /// A session without tokens, for a walk that begins with a login.
    pub fn empty(&mut self) -> usize {
        match self.empty.pop() {
            Some(at) => at as usize,
            None => {
                self.list.push(Session::default());
                self.list.len() - 1
            }
        }
    }

    /// A walk has ended: its session is free for others, and one that was made for it is empty again.
    pub fn leave(&mut self, at: u32, prepared: usize) {
        let Some(session) = self.list.get_mut(at as usize) else { return };
        session.walked = false;
        if at as usize >= prepared {
            (session.ended, session.locked, session.killed) = (false, false, Nanos(0));
            session.access.clear();
            session.refresh.clear();
            self.empty.push(at);
        }
    }

    /// Counts a presented access token.
    pub fn presented(&mut self, at: usize) {
        self.presentations += 1;
        let session = &mut self.list[at];
        if session.presented != self.drive {
            session.presented = self.drive;
            self.distinct += 1;
        }
    }

    /// Where the tokens of a new login go: one session after the other, but none whose refresh is on its way.
    pub fn place_for_issued(&mut self) -> Option<usize> {
        let len = self.list.len();
        for step in 0..len.min(LOOKED_AT) {
            let at = (self.next_issued + step) % len;
            if !self.list[at].locked {
                self.next_issued = at + 1;
                return Some(at);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT_ONCE: Exchanged = Exchanged { sent: Nanos(0), received: Nanos(0) };

    fn sessions(n: usize, reuse: Reuse) -> Sessions {
        let issued = Issued { access: Some("a.b.c".into()), refresh: Some("r".into()), ..Issued::default() };
        let list = (0..n).map(|_| Session::new(&issued, &[], Some(60.0), AT_ONCE)).collect();
        Sessions::new(list, reuse, 42, 1)
    }

    fn picks(sessions: &mut Sessions, times: u64) -> Vec<usize> {
        (0..times)
            .map(|n| {
                let at = sessions.pick(Role::Present, TokenUse::Access, n, Nanos(1)).unwrap();
                sessions.presented(at);
                at
            })
            .collect()
    }

    #[test]
    fn every_token_once_then_round_again() {
        let mut sessions = sessions(10, Reuse::Once);
        assert_eq!(picks(&mut sessions, 10), (0..10).collect::<Vec<_>>());
        assert_eq!((sessions.distinct, sessions.presentations, sessions.rounds), (10, 10, 1));
        picks(&mut sessions, 5);
        assert_eq!((sessions.distinct, sessions.presentations), (10, 15));
    }

    #[test]
    fn uniform_reuse_reaches_all_and_zipf_prefers_few() {
        let mut even = sessions(100, Reuse::Uniform);
        picks(&mut even, 5000);
        assert_eq!(even.distinct, 100);
        let mut skewed = sessions(100, Reuse::Zipf);
        let picked = picks(&mut skewed, 20_000);
        let share = |k: usize| picked.iter().filter(|at| **at == k).count() as f64 / 20_000.0;
        let expected = 2f64.ln() / 101f64.ln();
        assert!((share(0) - expected).abs() < 0.015, "{} instead of {expected}", share(0));
        assert!(share(0) > share(1) && share(1) > share(9));
    }

    #[test]
    fn a_session_has_one_refresh_at_a_time() {
        let mut sessions = sessions(1, Reuse::Uniform);
        let at = sessions.pick(Role::Refresh, TokenUse::Refresh, 0, Nanos(1)).unwrap();
        sessions.list[at].locked = true;
        assert_eq!(sessions.pick(Role::Refresh, TokenUse::Refresh, 1, Nanos(1)), None);
        assert!(sessions.pick(Role::Present, TokenUse::Access, 1, Nanos(1)).is_some());
        let next = Issued { access: Some("d.e.f".into()), refresh: Some("s".into()), ..Issued::default() };
        sessions.list[at].renew(&next, None, &[], None, AT_ONCE);
        assert_eq!(sessions.list[at].refresh, b"s");
        assert!(sessions.pick(Role::Refresh, TokenUse::Refresh, 2, Nanos(1)).is_some());
    }

    #[test]
    fn the_few_that_can_be_refreshed_are_found_among_many() {
        let mut sessions = sessions(20_000, Reuse::Uniform);
        let few = [3, 11_111, 19_999];
        sessions.list.iter_mut().for_each(|session| session.refresh.clear());
        few.iter().for_each(|at| sessions.list[*at].refresh.push(b'r'));
        let mut sessions = Sessions::new(sessions.list, Reuse::Uniform, 42, 1);
        let mut picked = std::collections::BTreeSet::new();
        for n in 0..100 {
            picked.extend(sessions.pick(Role::Refresh, TokenUse::Refresh, n, Nanos(1)));
        }
        assert_eq!(Vec::from_iter(picked), few);
        // A login brings one more.
        sessions.list[7].refresh.push(b'r');
        sessions.renewed(7);
        assert!((0..100).any(|n| sessions.pick(Role::Revoke, TokenUse::Refresh, n, Nanos(1)) == Some(7)));
    }

    #[test]
    fn an_access_token_is_revoked_once_and_needs_no_refresh_token_beside_it() {
        let mut sessions = sessions(3, Reuse::Uniform);
        sessions.list.iter_mut().for_each(|session| session.refresh.clear());
        let mut sessions = Sessions::new(sessions.list, Reuse::Uniform, 42, 1);
        let mut ended = std::collections::BTreeSet::new();
        for n in 0..3 {
            let at = sessions.pick(Role::Revoke, TokenUse::Access, n, Nanos(1)).unwrap();
            sessions.list[at].locked = true;
            ended.insert(at);
        }
        assert_eq!((ended.len(), sessions.pick(Role::Revoke, TokenUse::Access, 3, Nanos(1))), (3, None));
        assert!(sessions.pick(Role::Present, TokenUse::Access, 4, Nanos(1)).is_some());
    }

    #[test]
    fn expired_tokens_are_passed_over_while_there_are_others() {
        let mut sessions = sessions(2, Reuse::Uniform);
        sessions.list[0].expires = Nanos(5);
        for n in 0..20 {
            assert_eq!(sessions.pick(Role::Present, TokenUse::Access, n, Nanos(6)), Some(1));
        }
        sessions.list[1].expires = Nanos(5);
        assert!(sessions.pick(Role::Present, TokenUse::Access, 0, Nanos(6)).is_some());
    }

    #[test]
    fn a_token_ends_by_its_own_word_counted_from_when_it_was_sent_for() {
        use base64::Engine as _;
        let encode = |text: &str| base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(text);
        let token = format!("{}.{}.x", encode("{}"), encode(r#"{"iat":1000,"exp":1300}"#));
        let when = Exchanged { sent: Nanos(7), received: Nanos(2_000_000_007) };
        let ends = |access: &str, said: Option<f64>| {
            let issued = Issued { access: Some(access.into()), expires_in: said, ..Issued::default() };
            let session = Session::new(&issued, &[], Some(5.0), when);
            (session.expires.0, session.ended_at.0)
        };
        assert_eq!(ends(&token, Some(1.0)), (299_000_000_007, 302_000_000_007));
        assert_eq!(ends("opaque", Some(60.0)), (59_000_000_007, 62_000_000_007));
        assert_eq!(ends("opaque", None), (4_000_000_007, 7_000_000_007));
    }
}
