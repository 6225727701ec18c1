//! What lies in a capsule? Tokens of earlier runs by deployment, with all that is needed to judge them later.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::record::fingerprint;

/// At most this many tokens of one kind lie on a shelf.
pub(in crate::conformance) const SLOTS: usize = 6;
/// At most this many deployments have a shelf; the one that was used the longest ago goes first.
const SHELVES: usize = 16;
/// Bytes of a token with what was issued beside it; a longer one is not kept.
pub(in crate::conformance) const LONGEST: usize = 8 << 10;
/// So long after its end a token that nothing could be learnt of is thrown away, in seconds: a month.
const STALE_S: f64 = 30.0 * 86_400.0;

/// What a token was put in for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// An access token, to be shown after its end; until then a witness of what the server still knows.
    Access,
    /// A refresh token that nobody uses before its end.
    Refresh,
    /// A refresh token that the next run uses: a witness too.
    Witness,
    /// A token that was revoked, and refused afterwards.
    Revoked,
    /// An access token of a key that was retired, and refused afterwards.
    Retired,
}

/// Which state of the server a token hangs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// The keys of access tokens, and their table where there is one.
    Access,
    /// The sessions of refresh tokens.
    Refresh,
}

/// How long the server was seen to keep what it knew when a token was put in.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Memory {
    /// Until then (Unix seconds), by witnesses that were still taken.
    pub until: f64,
    /// A witness of that time was refused although it had not ended: what it knew then it has forgotten.
    pub lost: bool,
}

/// A token and what is known of it.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kept {
    /// What for.
    pub kind: Kind,
    /// The token.
    pub token: String,
    /// Whether it is shown to the refresh operation; else to the verify ways.
    pub refreshes: bool,
    /// What was issued beside it, where requests of the profile mention such values.
    pub beside: BTreeMap<String, Value>,
    /// When it ends (Unix seconds), by its own claim.
    pub exp: Option<f64>,
    /// When it was put in (Unix seconds).
    pub put: f64,
    /// The run that put it in, by when it began to look (Unix seconds).
    pub stamp: f64,
    /// When each way took it last, or the refresh operation issued it (Unix seconds, as sent).
    pub seen: BTreeMap<String, f64>,
    /// What the server still knew of access tokens of that time.
    pub access: Memory,
    /// The same of refresh tokens.
    pub refresh: Memory,
}

/// Without the token.
impl std::fmt::Debug for Kept {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let name = fingerprint(&self.token);
        f.debug_struct("Kept").field("kind", &self.kind).field("token", &name).field("exp", &self.exp).finish()
    }
}

/// The tokens of one deployment.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shelf {
    /// The deployment's name in records.
    pub topology: String,
    /// Its address; none where Assay starts it, on a port that is new each time.
    pub address: Option<String>,
    /// When it was used last (Unix seconds).
    pub used: f64,
    /// Its tokens, the oldest first.
    pub tokens: Vec<Kept>,
}

/// Everything in a capsule.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Content {
    /// The profile that speaks to these servers.
    pub profile: String,
    /// Its variant.
    pub variant: Option<String>,
    /// One for each deployment.
    pub shelves: Vec<Shelf>,
}

impl Kept {
    /// A token that was just put in by the run of this stamp.
    pub fn new(kind: Kind, token: &str, put: f64, stamp: f64) -> Kept {
        let memory = Memory { until: stamp, lost: false };
        Kept {
            kind,
            token: token.to_owned(),
            refreshes: matches!(kind, Kind::Refresh | Kind::Witness),
            beside: BTreeMap::new(),
            exp: None,
            put,
            stamp,
            seen: BTreeMap::new(),
            access: memory,
            refresh: memory,
        }
    }

    /// Whether it has ended, with `margin` seconds for a leeway.
    pub fn over(&self, now: f64, margin: f64) -> bool {
        self.exp.is_some_and(|exp| now >= exp + margin)
    }

    /// Whether it has not ended, whatever clocks differ by.
    pub fn alive(&self, now: f64) -> bool {
        self.exp.is_none_or(|exp| now < exp - 2.0)
    }

    /// What the server still knows of its time.
    pub fn memory(&self, state: State) -> Memory {
        match state {
            State::Access => self.access,
            State::Refresh => self.refresh,
        }
    }

    fn memory_mut(&mut self, state: State) -> &mut Memory {
        match state {
            State::Access => &mut self.access,
            State::Refresh => &mut self.refresh,
        }
    }

    /// Bytes that it takes.
    pub fn size(&self) -> usize {
        self.token.len() + serde_json::to_string(&self.beside).map_or(0, |text| text.len())
    }
}

impl Shelf {
    /// An empty one.
    pub(super) fn new(topology: &str, address: Option<&str>) -> Shelf {
        Shelf { topology: topology.to_owned(), address: address.map(str::to_owned), used: 0.0, tokens: Vec::new() }
    }

    /// A witness that the run of `stamp` put in was taken now: the server knows what it knew at that time, and so what it
    /// had been seen to know until then.
    pub fn remembers(&mut self, state: State, stamp: f64, now: f64) {
        for kept in &mut self.tokens {
            let memory = kept.memory_mut(state);
            if memory.until >= stamp {
                memory.until = memory.until.max(now);
            }
        }
    }

    /// A witness of `stamp` was refused although it had not ended: what the server knew then and before, it has forgotten,
    /// but where a witness that was taken now says otherwise.
    pub fn forgot(&mut self, state: State, stamp: f64, now: f64) {
        for kept in &mut self.tokens {
            let of_that_time = kept.stamp <= stamp;
            let memory = kept.memory_mut(state);
            memory.lost |= of_that_time && memory.until < now;
        }
    }

    /// Tokens of a kind.
    pub fn of(&self, kind: Kind) -> impl Iterator<Item = &Kept> {
        self.tokens.iter().filter(move |kept| kept.kind == kind)
    }

    /// Whether another token of a kind that lives for so long is wanted: a few that end one after the other, so that some
    /// run soon finds one that has just ended.
    pub fn wants(&self, kind: Kind, life_s: f64, now: f64) -> bool {
        let newest = self.of(kind).map(|kept| kept.put).fold(f64::NEG_INFINITY, f64::max);
        self.of(kind).count() < SLOTS && now - newest >= life_s / SLOTS as f64
    }

    /// Throws away what can say nothing any more.
    pub fn tidy(&mut self, now: f64) {
        // Revoked and retired tokens are refused for their end, too, once they have one.
        self.tokens.retain(|kept| match kept.kind {
            Kind::Access | Kind::Refresh => !kept.over(now, STALE_S),
            Kind::Witness | Kind::Revoked | Kind::Retired => kept.alive(now),
        });
        for kind in [Kind::Access, Kind::Refresh, Kind::Witness, Kind::Revoked, Kind::Retired] {
            let mut too_many = self.of(kind).count().saturating_sub(SLOTS);
            self.tokens.retain(|kept| {
                let goes = kept.kind == kind && too_many > 0;
                too_many -= usize::from(goes);
                !goes
            });
        }
    }
}

impl Content {
    /// The shelf of a deployment put back.
    pub fn put_back(&mut self, shelf: Shelf) {
        self.shelves.retain(|known| known.topology != shelf.topology);
        self.shelves.push(shelf);
        self.shelves.sort_by(|a, b| b.used.total_cmp(&a.used));
        self.shelves.truncate(SHELVES);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shelf(puts: &[(Kind, f64)]) -> Shelf {
        let tokens = puts.iter().map(|(kind, at)| Kept { exp: Some(at + 100.0), ..Kept::new(*kind, "t", *at, *at) });
        Shelf { tokens: tokens.collect(), ..Shelf::new("bare", None) }
    }

    #[test]
    fn witnesses_hand_the_memory_on_from_run_to_run() {
        // Put in at 0; the witness of 0 is taken at 10, that of 10 at 20.
        let mut all = shelf(&[(Kind::Refresh, 0.0)]);
        all.remembers(State::Refresh, 0.0, 10.0);
        all.tokens.push(Kept::new(Kind::Refresh, "u", 11.0, 10.0));
        all.remembers(State::Refresh, 10.0, 20.0);
        let until: Vec<f64> = all.tokens.iter().map(|kept| kept.refresh.until).collect();
        assert_eq!(until, [20.0, 20.0]);
        // Of access tokens nothing was seen.
        assert_eq!(all.tokens[0].access.until, 0.0);
    }

    #[test]
    fn a_gap_between_witnesses_is_no_memory() {
        // Nobody was asked at 10: what the witness of 10 says is nothing about 0.
        let mut all = shelf(&[(Kind::Refresh, 0.0), (Kind::Refresh, 10.0)]);
        all.remembers(State::Refresh, 10.0, 20.0);
        let until: Vec<f64> = all.tokens.iter().map(|kept| kept.refresh.until).collect();
        assert_eq!(until, [0.0, 20.0]);
    }

    #[test]
    fn a_witness_that_is_refused_takes_all_before_it_along() {
        let mut all = shelf(&[(Kind::Access, 0.0), (Kind::Access, 10.0), (Kind::Access, 15.0)]);
        all.forgot(State::Access, 10.0, 20.0);
        assert_eq!(all.tokens.iter().map(|kept| kept.access.lost).collect::<Vec<_>>(), [true, true, false]);
    }

    #[test]
    fn tokens_are_put_in_at_distances_so_that_they_end_one_after_the_other() {
        let all = shelf(&[(Kind::Access, 0.0)]);
        assert!(!all.wants(Kind::Access, 600.0, 99.0) && all.wants(Kind::Access, 600.0, 100.0));
        assert!(all.wants(Kind::Refresh, 600.0, 1.0));
        let full = shelf(&[(Kind::Access, 0.0); SLOTS]);
        assert!(!full.wants(Kind::Access, 600.0, 1e6));
    }

    #[test]
    fn a_shelf_stays_small_and_drops_the_oldest() {
        let mut all = shelf(&[(Kind::Revoked, 0.0), (Kind::Revoked, 150.0)]);
        all.tidy(120.0);
        assert_eq!(all.tokens.iter().map(|kept| kept.put).collect::<Vec<_>>(), [150.0]);
        let mut many: Vec<(Kind, f64)> = (0..9).map(|n| (Kind::Access, f64::from(n))).collect();
        many.push((Kind::Refresh, 9.0));
        let mut all = shelf(&many);
        all.tidy(20.0);
        let left: Vec<f64> = all.of(Kind::Access).map(|kept| kept.put).collect();
        assert_eq!(left, [3.0, 4.0, 5.0, 6.0, 7.0, 8.0]);
        assert_eq!(all.of(Kind::Refresh).count(), 1);
        all.tidy(20.0 + 100.0 + STALE_S);
        assert!(all.tokens.is_empty());
    }

    #[test]
    fn the_deployment_that_was_used_the_longest_ago_gives_its_place() {
        let mut content = Content { profile: "p".into(), variant: None, shelves: Vec::new() };
        for n in 0..=SHELVES {
            content.put_back(Shelf { used: n as f64, ..Shelf::new(&format!("s{n}"), None) });
        }
        assert_eq!(content.shelves.len(), SHELVES);
        assert!(content.shelves.iter().all(|shelf| shelf.topology != "s0"));
        content.put_back(Shelf { used: 99.0, ..Shelf::new("s1", None) });
        assert_eq!((content.shelves.len(), content.shelves[0].topology.as_str()), (SHELVES, "s1"));
    }
}
