//! Which servers are started, and which checks examine each?

use std::collections::BTreeMap;
use std::path::Path;

use globset::{Glob, GlobSet, GlobSetBuilder};
use serde::Serialize;

use crate::conformance::descriptor::Check;
use crate::scenario::Budget;
use crate::target::{OneOrMany, Profile, load};
use crate::units::Span;

use super::{Flaw, Matrix};

/// The algorithms under which the clean server must show nothing. The first one carries the flaws that need none.
pub const ALGORITHMS: &[&str] = &["HS256", "RS256", "PS256", "ES256", "EdDSA"];

/// Checks that examine every flawed server beside those that it concerns: cheap, without waiting, and spread over
/// all that a server does, so that a flaw that breaks more than its row says is seen.
const SENTINELS: &[&str] = &[
    "issue-basic",
    "issue-bad-credentials",
    "issue-no-store",
    "issue-post-only",
    "issue-claims-shape",
    "struct-segments",
    "struct-not-a-string",
    "struct-b64-junk",
    "sig-tamper",
    "sig-wrong-key",
    "sig-alg-none",
    "time-exp-rejected",
    "time-exp-missing",
    "type-token-type",
    "claim-refresh-as-access",
    "claim-access-as-refresh",
    "refresh-invalid",
    "refresh-old-rejected",
    "bearer-missing",
    "bearer-grammar",
];

/// A check on an `also` list that takes longer than this is left out at the CI budget: it may turn, and nobody
/// waits to see whether it does.
const ALSO_SECONDS: u32 = 3;

/// A check that asks at least this often draws a sample. It examines the clean servers and the flaws that concern it:
/// beside every other flaw it would take most of the processor's time to see the same again.
const SAMPLE: u32 = 1_000;

/// A dialect of the reference server, and how it is spoken to.
struct Spoken {
    name: &'static str,
    profile: &'static str,
    /// Its variant; in the first dialect variants name the algorithm.
    variant: Option<&'static str>,
    algorithm: &'static str,
    settings: &'static [(&'static str, &'static str)],
}

/// The first one carries the flaws that need none.
const DIALECTS: &[Spoken] = &[
    Spoken { name: "simple", profile: "reference", variant: None, algorithm: "HS256", settings: &[] },
    Spoken { name: "oauth", profile: "reference-oauth", variant: None, algorithm: "HS256", settings: &[] },
    Spoken { name: "oidc", profile: "reference-oauth", variant: Some("oidc"), algorithm: "RS256", settings: &[] },
    Spoken {
        name: "rfc9068",
        profile: "reference-oauth",
        variant: Some("rfc9068"),
        algorithm: "HS256",
        settings: &[("rfc9068", "on"), ("issuer", "https://tokens.test"), ("audience", "shop")],
    },
];

/// Whose flaw it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Side {
    /// The reference server's.
    Server,
    /// The embedded proxy's, in front of a clean server.
    Proxy,
}

/// A server as it is started.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Setup {
    /// The algorithm that tokens are signed with.
    pub algorithm: String,
    /// The dialect that is spoken to it: `simple`, `oauth`, `oidc`, `rfc9068`.
    pub dialect: &'static str,
    /// Further settings of the reference server by name.
    pub settings: BTreeMap<String, String>,
    /// Behind the embedded proxy.
    pub proxied: bool,
    /// The fault that is on, and whose.
    pub flaw: Option<(Side, &'static str)>,
}

/// A server and the checks that examine it.
#[derive(Clone, Debug)]
pub struct Cell {
    /// The server.
    pub setup: Setup,
    /// Its flaw, where it has one.
    pub flaw: Option<Flaw>,
    /// The checks, in the catalogue's order.
    pub checks: Vec<&'static Check>,
}

impl Setup {
    fn clean(algorithm: &str) -> Setup {
        // A cheap hash, since it is not the hash that is examined; an issuer and an audience, so that the checks of
        // both apply.
        let settings = [("hash", "none"), ("issuer", "https://issuer.example"), ("audience", "assay")];
        Setup {
            algorithm: algorithm.to_owned(),
            dialect: DIALECTS[0].name,
            settings: settings.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
            proxied: false,
            flaw: None,
        }
    }

    /// The clean server of a dialect.
    fn speaking(spoken: &Spoken) -> Setup {
        let mut setup = Setup { dialect: spoken.name, ..Setup::clean(spoken.algorithm) };
        setup.settings.extend(spoken.settings.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())));
        setup
    }

    fn spoken(&self) -> &'static Spoken {
        DIALECTS.iter().find(|d| d.name == self.dialect).unwrap_or(&DIALECTS[0])
    }

    /// What a reader calls it: `HS256`, `HS256 allow-none`, `HS256 proxied`.
    pub fn name(&self) -> String {
        let mut name = self.algorithm.clone();
        if self.dialect != DIALECTS[0].name {
            name.push_str(&format!(" {}", self.dialect));
        }
        let clean = Setup { algorithm: self.algorithm.clone(), ..Setup::speaking(self.spoken()) };
        for (setting, value) in self.settings.iter().filter(|(s, v)| clean.settings.get(*s) != Some(v)) {
            name.push_str(&format!(" {setting}={value}"));
        }
        if self.proxied {
            name.push_str(" proxied");
        }
        if let Some((_, flaw)) = self.flaw {
            name.push_str(&format!(" {flaw}"));
        }
        name
    }

    /// The same without its flaw: what it is compared with.
    pub fn baseline(&self) -> Setup {
        Setup { flaw: None, ..self.clone() }
    }

    /// The profile that speaks to it and declares what it was started with.
    ///
    /// # Errors
    /// A fault of ours: the built-in profile does not know the algorithm.
    pub fn profile(&self) -> Result<Profile, String> {
        let spoken = self.spoken();
        let by_algorithm = (self.algorithm != ALGORITHMS[0]).then(|| self.algorithm.to_ascii_lowercase());
        let encrypted = self.settings.get("encrypt").map(|alg| format!("encrypted-{}", alg.to_ascii_lowercase()));
        let by_setup = encrypted.or(by_algorithm).filter(|_| spoken.profile == DIALECTS[0].profile);
        let variant = spoken.variant.or(by_setup.as_deref());
        let mut profile =
            load(spoken.profile, variant, Path::new(".")).map_err(|e| format!("the built-in profile: {e}"))?;
        let setting = |name: &str| self.settings.get(name).cloned();
        if setting("store").is_some() {
            let durable = load(DIALECTS[0].profile, Some("durable"), Path::new("."))
                .map_err(|e| format!("the built-in profile: {e}"))?;
            profile.admin.extend(durable.admin);
        }
        let seconds = |name: &str| setting(name).and_then(|text| text.parse::<Span>().ok()).map(|s| s.0.as_secs_f64());
        if let Some(issuer) = setting("issuer") {
            profile.declares.issuer = Some(issuer);
        }
        if let Some(audience) = setting("audience") {
            profile.declares.audience = Some(OneOrMany::One(audience));
        }
        if let Some(end) = seconds("absolute-lifetime") {
            profile.declares.absolute_end_s = Some(end);
        }
        if let Some(life) = seconds("refresh-lifetime") {
            profile.tokens.refresh.lifetime_s = Some(life);
        }
        if let Some(life) = seconds("access-lifetime") {
            profile.tokens.access.lifetime_s = Some(life);
        }
        Ok(profile)
    }

    /// The setup that a flaw needs, or why there is none.
    fn of(flaw: &Flaw, algorithm: &str, checks: &[&'static Check]) -> Result<Setup, String> {
        let dialect = flaw.needs.iter().find_map(|need| need.strip_prefix("dialect="));
        let mut setup = match dialect {
            None => Setup::clean(algorithm),
            Some(name) => DIALECTS
                .iter()
                .find(|d| d.name == name)
                .map(Setup::speaking)
                .ok_or_else(|| format!("the reference server does not speak the dialect {name}"))?,
        };
        for need in flaw.needs.iter().filter_map(|need| need.strip_prefix("--")) {
            match need.split_once('=') {
                Some(("alg", value)) => setup.algorithm = value.to_owned(),
                given => {
                    let (name, value) = given.unwrap_or((need, "on"));
                    setup.settings.insert(name.to_owned(), value.to_owned());
                }
            }
        }
        setup.proxied = flaw.side == Side::Proxy || checks.iter().any(|c| c.group == "PROXY");
        setup.flaw = Some((flaw.side, flaw.name));
        Ok(setup)
    }
}

/// The plan: the clean servers first, so that what is ended early can be judged, then the flawed ones, the slowest first.
pub(super) fn cells(matrix: &Matrix<'_>) -> Result<Vec<Cell>, String> {
    let only = Only::new(matrix)?;
    let mut cells: Vec<Cell> = Vec::new();
    for flaw in matrix.flaws.iter().filter(|f| only.flaw(f)) {
        let bound = flaw.needs.iter().any(|n| n.starts_with("--alg=") || n.starts_with("dialect="));
        let algorithms = if matrix.budget == Budget::Thorough && !bound { ALGORITHMS } else { &ALGORITHMS[..1] };
        for algorithm in algorithms {
            let killed: Vec<_> = matrix.catalogue.iter().copied().filter(|c| flaw.kills.contains(&c.id)).collect();
            if killed.is_empty() {
                continue;
            }
            let Ok(setup) = Setup::of(flaw, algorithm, &killed) else { continue };
            let proxied = setup.proxied;
            let checks = matrix
                .catalogue
                .iter()
                .copied()
                .filter(|c| concerns(flaw, c, matrix.budget) && (proxied || c.group != "PROXY"))
                .collect();
            cells.push(Cell { setup, flaw: Some(*flaw), checks });
        }
    }
    cells.extend(baselines(matrix, &only, &cells));
    let seconds = |cell: &Cell| cell.checks.iter().map(|c| c.cost.seconds).max().unwrap_or(0);
    cells.sort_by_key(|cell| (cell.flaw.is_some(), std::cmp::Reverse(seconds(cell))));
    Ok(cells)
}

/// Why a flaw is not tried, where it is not.
pub(super) fn untried(flaw: &Flaw, catalogue: &[&'static Check]) -> Option<String> {
    let killed: Vec<_> = catalogue.iter().copied().filter(|c| flaw.kills.contains(&c.id)).collect();
    if killed.is_empty() {
        return Some(format!("no check is built yet: {}", flaw.kills.join(", ")));
    }
    Setup::of(flaw, ALGORITHMS[0], &killed).err()
}

fn concerns(flaw: &Flaw, check: &Check, budget: Budget) -> bool {
    if flaw.kills.contains(&check.id) {
        return true;
    }
    if budget == Budget::Thorough {
        return check.cost.requests < SAMPLE || flaw.also.contains(&check.id);
    }
    // Where anything may turn, there is nothing to be seen beside the kills.
    if flaw.also.contains(&"*") {
        return false;
    }
    SENTINELS.contains(&check.id) || flaw.also.contains(&check.id) && check.cost.seconds <= ALSO_SECONDS
}

/// The clean servers: one for every algorithm with the whole catalogue, and one for every other setup of a flaw with
/// the checks that are compared.
fn baselines(matrix: &Matrix<'_>, only: &Only, flawed: &[Cell]) -> Vec<Cell> {
    let mut wanted: BTreeMap<Setup, Vec<&'static str>> = BTreeMap::new();
    for cell in flawed {
        wanted.entry(cell.setup.baseline()).or_default().extend(cell.checks.iter().map(|c| c.id));
    }
    if only.everything {
        for algorithm in ALGORITHMS {
            let all = matrix.catalogue.iter().filter(|c| c.group != "PROXY").map(|c| c.id);
            wanted.entry(Setup::clean(algorithm)).or_default().extend(all);
        }
        for dialect in DIALECTS {
            let all = matrix.catalogue.iter().filter(|c| c.group != "PROXY").map(|c| c.id);
            wanted.entry(Setup::speaking(dialect)).or_default().extend(all);
        }
    }
    wanted
        .into_iter()
        .map(|(setup, ids)| Cell {
            setup,
            flaw: None,
            checks: matrix.catalogue.iter().copied().filter(|c| ids.contains(&c.id)).collect(),
        })
        .collect()
}

/// Which flaws the user wants.
struct Only {
    everything: bool,
    globs: GlobSet,
}

impl Only {
    fn new(matrix: &Matrix<'_>) -> Result<Only, String> {
        let mut builder = GlobSetBuilder::new();
        for text in matrix.only {
            let glob = Glob::new(&text.to_ascii_lowercase())
                .map_err(|e| format!("only `{text}`: expected a glob on flaws or checks: {e}"))?;
            let alone = glob.compile_matcher();
            if !matrix.flaws.iter().any(|f| alone.is_match(f.name) || f.kills.iter().any(|k| alone.is_match(k))) {
                return Err(format!(
                    "only `{text}`: expected a glob on flaws or on checks that flaws kill, it names none; hint: \
                     `assay list flaws` shows all"
                ));
            }
            builder.add(glob);
        }
        let globs = builder.build().map_err(|e| format!("only: {e}"))?;
        Ok(Only { everything: matrix.only.is_empty(), globs })
    }

    fn flaw(&self, flaw: &Flaw) -> bool {
        self.everything || self.globs.is_match(flaw.name) || flaw.kills.iter().any(|k| self.globs.is_match(k))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conformance::catalogue;

    const FLAW: Flaw = Flaw {
        name: "allow-none",
        breaks: "alg none passes",
        needs: &["--audience=shop"],
        kills: &["sig-alg-none"],
        also: &["verify-agreement"],
        side: Side::Server,
    };

    #[test]
    fn a_flaw_is_examined_by_what_it_concerns_and_by_some_that_it_must_leave_alone() {
        let flaws = [FLAW];
        let matrix = Matrix {
            flaws: &flaws,
            catalogue: catalogue(),
            budget: Budget::Ci,
            only: &["sig-alg-*".to_owned()],
            side_by_side: 1,
            start: &|_| Err("nothing is started".into()),
            on_progress: &|_| {},
            cancel: &std::sync::atomic::AtomicBool::new(false),
        };
        let cells = cells(&matrix).unwrap();
        let names: Vec<String> = cells.iter().map(|c| c.setup.name()).collect();
        assert_eq!(names, ["HS256 audience=shop", "HS256 audience=shop allow-none"]);
        let ids: Vec<&str> = cells[1].checks.iter().map(|c| c.id).collect();
        assert!(ids.contains(&"sig-alg-none") && ids.contains(&"verify-agreement") && ids.contains(&"bearer-missing"));
        assert_eq!(ids, cells[0].checks.iter().map(|c| c.id).collect::<Vec<_>>());
    }

    #[test]
    fn large_samples_are_drawn_only_where_a_flaw_concerns_them() {
        let sample = crate::conformance::find("issue-unique-load").unwrap();
        let other = crate::conformance::find("sig-tamper").unwrap();
        let concerned = Flaw { also: &["issue-unique-load"], ..FLAW };
        for budget in [Budget::Ci, Budget::Thorough] {
            assert!(!concerns(&FLAW, sample, budget));
        }
        assert!(concerns(&concerned, sample, Budget::Thorough) && concerns(&FLAW, other, Budget::Thorough));
    }

    #[test]
    fn sentinels_are_checks_that_do_not_wait() {
        for id in SENTINELS {
            let check = crate::conformance::find(id).unwrap();
            assert!(check.cost.seconds <= 5, "{id} takes {} s", check.cost.seconds);
        }
    }

    #[test]
    fn the_profile_declares_what_the_server_was_started_with() {
        let setup = Setup::of(&FLAW, "ES256", &[]).unwrap();
        let profile = setup.profile().unwrap();
        assert_eq!(profile.declares.audience, Some(OneOrMany::One("shop".to_owned())));
        assert_eq!(profile.tokens.access.alg.as_deref(), Some("ES256"));
    }
}
