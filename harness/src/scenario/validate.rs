//! Does the scenario make sense beyond its types? Every problem, each at its place.

use std::collections::BTreeSet;

use globset::Glob;

use super::diagnostic::{Diagnostic, Diagnostics, Place, listed, suggestion};
use super::flow::Walked;
use super::parse::{Kind, Node};
use super::threshold::Threshold;
use super::types::{Arrival, Link, MOST_CONNECTIONS, Scenario, Stage, Topology, Workload};

/// What the rest of the program knows by name, for the parts of a scenario that name something.
#[derive(Clone, Debug, Default)]
pub struct Vocabulary {
    /// Links of topologies.
    pub links: Vec<LinkWord>,
    /// Words that the mix can use; `None` while the profile is not known.
    pub operations: Option<Vec<String>>,
    /// Ids and groups of checks, and capabilities for `require`.
    pub checks: Vec<String>,
    /// Formats of reports.
    pub formats: Vec<String>,
    /// Variants of the profile; `None` while the profile is not known.
    pub variants: Option<Vec<String>>,
}

/// A link that topologies can name.
#[derive(Clone, Debug)]
pub struct LinkWord {
    /// As written.
    pub name: String,
    /// Starts a chain; the others stand in front of something.
    pub server: bool,
    /// Names of its settings; any if empty.
    pub settings: Vec<String>,
}

/// Most that a spike multiplies the rate by.
const MAX_SPIKE: f64 = 1000.0;
/// Shortest period of a wave: shorter ones are a rate, not a wave.
const MIN_PERIOD: std::time::Duration = std::time::Duration::from_millis(100);
/// Most loops of one load.
const MAX_CORES: u32 = 256;
/// Most control operations, as a share of the load.
const MAX_CONTROL: f64 = 0.2;
/// Most streams of one HTTP/2 connection.
const MAX_STREAMS: u32 = 1000;
/// Most sessions of a population.
const MAX_SESSIONS: u32 = 10_000_000;
/// Longest load that is planned: the plan is checked for plausibility, not for patience.
const MAX_HOURS: u64 = 48;

/// Checks a scenario against itself and against what there is. `tree` gives the places.
pub fn validate(scenario: &Scenario, tree: &Node, vocabulary: &Vocabulary) -> Diagnostics {
    let mut look = Look { tree, found: Vec::new() };
    look.head(scenario, vocabulary);
    look.topologies(scenario, vocabulary);
    look.conformance(scenario, vocabulary);
    look.load(scenario, vocabulary);
    let thresholds = look.thresholds(scenario);
    look.compare(scenario, &thresholds);
    look.reports(scenario, vocabulary);
    look.found.sort_by_key(|d| d.place.as_ref().map_or(0, |place| place.span.start));
    Diagnostics(look.found)
}

struct Look<'a> {
    tree: &'a Node,
    found: Vec<Diagnostic>,
}

impl Look<'_> {
    fn key(&self, path: &[&str]) -> Place {
        self.tree.place_of(path)
    }
    /// The value at a path, or the nearest key that is there.
    fn value(&self, path: &[&str]) -> Place {
        self.tree.find(path).map_or_else(|| self.key(path), |node| node.place.clone())
    }
    fn add(&mut self, place: Place, message: impl Into<String>, hint: Option<String>) {
        let mut diagnostic = Diagnostic::new(message).at(place);
        diagnostic.hint = hint;
        self.found.push(diagnostic);
    }
    fn doubt(&mut self, place: Place, message: impl Into<String>, hint: Option<String>) {
        let mut diagnostic = Diagnostic::new(message).at(place).warning();
        diagnostic.hint = hint;
        self.found.push(diagnostic);
    }

    fn head(&mut self, scenario: &Scenario, vocabulary: &Vocabulary) {
        if !is_name(&scenario.name) {
            let hint = Some("it names the run's folder, as `bare-vs-proxy`".to_owned());
            self.add(
                self.value(&["name"]),
                format!("expected letters, digits and dashes (at most 64), saw `{}`", scenario.name),
                hint,
            );
        }
        if let (Some(variant), Some(known)) = (&scenario.variant, &vocabulary.variants)
            && !known.contains(variant)
        {
            let names: Vec<&str> = known.iter().map(String::as_str).collect();
            let hint = suggestion(variant, &names).or_else(|| Some("the profile has no variants".into()));
            self.add(self.value(&["variant"]), format!("the profile has no variant `{variant}`"), hint);
        }
        for (n, host) in scenario.allow_remote.iter().enumerate() {
            if host.trim().is_empty() || host.contains(['/', '*', ' ']) {
                let hint = Some("a host, or host:port: `allow-remote: [login.example.org]`".to_owned());
                self.add(
                    self.value(&["allow-remote", &n.to_string()]),
                    format!("expected a host name, saw `{host}`"),
                    hint,
                );
            }
        }
        if scenario.conformance.is_none() && scenario.load.is_none() {
            let hint = Some("add `conformance: {}` for the checks, `load:` for a load, or both".to_owned());
            self.add(
                self.key(&["name"]),
                "this scenario asks for nothing: it has neither `conformance` nor `load`",
                hint,
            );
        }
    }

    fn topologies(&mut self, scenario: &Scenario, vocabulary: &Vocabulary) {
        if scenario.topologies.is_empty() {
            let hint = Some("`bare: [reference-server]`, or `mine: {url: http://127.0.0.1:8000}`".to_owned());
            self.add(self.key(&["topologies"]), "expected at least one topology", hint);
        }
        for (name, topology) in &scenario.topologies {
            if !is_name(name) {
                self.add(
                    self.key(&["topologies", name]),
                    format!("expected letters, digits and dashes, saw `{name}`"),
                    None,
                );
            }
            match topology {
                Topology::Running(running) => {
                    self.address(&["topologies", name, "url"], &running.url, &scenario.allow_remote);
                    if let Some(admin) = &running.admin_url {
                        self.address(&["topologies", name, "admin-url"], admin, &scenario.allow_remote);
                    }
                }
                Topology::Chain(links) if links.is_empty() => {
                    self.add(
                        self.value(&["topologies", name]),
                        "expected a chain of at least one server, saw an empty list",
                        None,
                    );
                }
                Topology::Chain(links) => {
                    for (n, link) in links.iter().enumerate() {
                        self.link(name, n, link, vocabulary);
                    }
                }
            }
        }
    }

    fn link(&mut self, topology: &str, n: usize, link: &Link, vocabulary: &Vocabulary) {
        let at = n.to_string();
        let path = ["topologies", topology, at.as_str()];
        let (name, settings) = match link {
            Link::Name(name) => (name, None),
            Link::Settings(map) => match map.iter().next() {
                Some((name, settings)) if map.len() == 1 => (name, Some(settings)),
                _ => {
                    let hint = Some(
                        "every link is an element of its own: `[reference-server, {nginx: {keepalive: 64}}]`"
                            .to_owned(),
                    );
                    self.add(
                        self.value(&path),
                        format!("expected one name with its settings, saw {} names", map.len()),
                        hint,
                    );
                    return;
                }
            },
        };
        if vocabulary.links.is_empty() {
            return;
        }
        let Some(word) = vocabulary.links.iter().find(|word| word.name == *name) else {
            let names: Vec<&str> = vocabulary.links.iter().map(|word| word.name.as_str()).collect();
            self.add(self.value(&path), format!("there is no server or proxy `{name}`"), suggestion(name, &names));
            return;
        };
        if n == 0 && !word.server {
            self.add(
                self.value(&path),
                format!("expected a server first, saw the proxy `{name}`"),
                Some("the chain begins with the server; the outermost proxy comes last".into()),
            );
        }
        if n > 0 && word.server {
            self.add(
                self.value(&path),
                format!("expected a proxy in front of the server, saw the server `{name}`"),
                Some("the chain begins with the one server; the outermost proxy comes last".into()),
            );
        }
        let Some(settings) = settings else { return };
        let known: Vec<&str> = word.settings.iter().map(String::as_str).collect();
        for setting in settings.keys().filter(|setting| !known.is_empty() && !known.contains(&setting.as_str())) {
            let place = self.key(&["topologies", topology, &at, name, setting]);
            self.add(place, format!("`{name}` has no setting `{setting}`"), suggestion(setting, &known));
        }
    }

    /// An address that will be spoken to: http or https, and on loopback unless allowed by name.
    fn address(&mut self, path: &[&str], url: &str, allowed: &[String]) {
        let place = self.value(path);
        let uri: Option<http::Uri> = url.trim().parse().ok();
        let host = uri.as_ref().filter(|u| matches!(u.scheme_str(), Some("http" | "https"))).and_then(http::Uri::host);
        let Some(host) = host else {
            self.add(place, format!("expected an address such as `http://127.0.0.1:8000`, saw `{url}`"), None);
            return;
        };
        let host = host.trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase();
        let loopback = host == "localhost"
            || host.ends_with(".localhost")
            || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback() || ip.to_canonical().is_loopback());
        let named = allowed.iter().any(|name| {
            let name = name.trim().to_ascii_lowercase();
            name == host || name.rsplit_once(':').is_some_and(|(name, _)| name == host)
        });
        if !loopback && !named {
            let hint = Some(format!(
                "`allow-remote: [{host}]` says that load and forged tokens may go there; or --allow-remote {host}"
            ));
            self.add(place, format!("`{host}` is not this machine"), hint);
        }
    }

    fn conformance(&mut self, scenario: &Scenario, vocabulary: &Vocabulary) {
        let Some(conformance) = &scenario.conformance else { return };
        let lists = [("only", &conformance.only), ("skip", &conformance.skip), ("require", &conformance.require)];
        for (key, list) in lists {
            for (n, text) in list.iter().enumerate() {
                let place = self.value(&["conformance", key, &n.to_string()]);
                let glob = match Glob::new(&text.to_ascii_lowercase()) {
                    Ok(glob) => glob.compile_matcher(),
                    Err(why) => {
                        self.add(place, format!("expected a glob such as `sig-*`, saw `{text}`: {}", why.kind()), None);
                        continue;
                    }
                };
                let names = |word: &String| glob.is_match(word.to_ascii_lowercase());
                if !vocabulary.checks.is_empty() && !vocabulary.checks.iter().any(names) {
                    let words: Vec<&str> = vocabulary.checks.iter().map(String::as_str).collect();
                    let near = if text.contains('*') { None } else { super::diagnostic::nearest(text, words) };
                    let hint = near.map_or_else(
                        || "`assay list checks` prints them".to_owned(),
                        |near| format!("did you mean `{near}`?"),
                    );
                    self.add(place, format!("no check is called `{text}`"), Some(hint));
                }
            }
        }
        if conformance.only.is_empty() {
            self.add(
                self.key(&["conformance", "only"]),
                "expected at least one glob, saw an empty list: no check would run",
                Some("`only: [\"*\"]` runs all".into()),
            );
        }
    }

    fn load(&mut self, scenario: &Scenario, vocabulary: &Vocabulary) {
        let Some(load) = &scenario.load else { return };
        match &load.arrival {
            Arrival::Closed(closed) if closed.users == 0 || closed.users > MOST_CONNECTIONS => {
                self.add(
                    self.value(&["load", "arrival", "closed", "users"]),
                    format!("expected 1 to {MOST_CONNECTIONS} users, saw {}", closed.users),
                    None,
                );
            }
            Arrival::Open(open) if open.rate.0 > 1e7 => {
                self.add(
                    self.value(&["load", "arrival", "open", "rate"]),
                    format!("expected at most 10,000,000/s, saw {}", open.rate),
                    None,
                );
            }
            _ => {}
        }
        self.arrivals(load);
        for (operation, weight) in &load.mix {
            if !weight.is_finite() || *weight < 0.0 {
                self.add(
                    self.value(&["load", "mix", operation]),
                    format!("expected a weight of zero or more, saw {weight}"),
                    None,
                );
            }
        }
        let words = load.mix.keys().map(|word| ("mix", word)).chain(load.rates.keys().map(|word| ("rates", word)));
        for (list, operation) in words {
            if let Some(known) = &vocabulary.operations
                && !known.contains(operation)
            {
                let names: Vec<&str> = known.iter().map(String::as_str).collect();
                self.add(
                    self.key(&["load", list, operation]),
                    format!("the profile has no operation `{operation}`"),
                    suggestion(operation, &names),
                );
            }
        }
        self.flow(load, vocabulary);
        if !load.mix.is_empty() && load.mix.values().all(|weight| *weight == 0.0) {
            self.add(self.key(&["load", "mix"]), "expected a weight above zero, saw none", None);
        }
        if load.stages.is_empty() {
            self.add(
                self.key(&["load", "stages"]),
                "expected at least one stage, saw none",
                Some("`stages: [{ramp: 2s}, {hold: 20s}]`".into()),
            );
        }
        let mut total = std::time::Duration::ZERO;
        for (n, stage) in load.stages.iter().enumerate() {
            let at = n.to_string();
            if stage.lasts().is_zero() {
                self.add(self.value(&["load", "stages", &at]), "expected a stage that lasts, saw 0s", None);
            }
            total = total.saturating_add(stage.lasts());
            let closed = matches!(load.arrival, Arrival::Closed(_)) && load.rates.is_empty();
            let shape = match stage {
                Stage::Hold(_) => None,
                Stage::Ramp(_) => Some("ramp"),
                Stage::Spike(_) => Some("spike"),
                Stage::Sine(_) => Some("sine"),
            };
            if let Some(shape) = shape.filter(|_| closed || load.find.is_some()) {
                let (why, hint) = if closed {
                    (
                        "a closed model has no rate that it could change",
                        "`hold` here, or `arrival: {open: {rate: 500/s}}`",
                    )
                } else {
                    ("each try of a search holds one rate", "`stages: [{hold: 10s}]` says how long")
                };
                let place = self.value(&["load", "stages", &at]);
                self.add(place, format!("`{shape}` has no meaning here: {why}"), Some(hint.into()));
            }
            match stage {
                Stage::Spike(spike) if !(spike.height > 0.0 && spike.height <= MAX_SPIKE) => self.add(
                    self.value(&["load", "stages", &at, "spike", "height"]),
                    format!(
                        "expected a multiple of the full rate above 0 and at most {MAX_SPIKE}, saw {}",
                        spike.height
                    ),
                    None,
                ),
                Stage::Sine(sine) if sine.period.0 < MIN_PERIOD || sine.period.0 > sine.lasts.0 => self.add(
                    self.value(&["load", "stages", &at, "sine", "period"]),
                    format!("expected a period of at least 100ms that fits into {}, saw {}", sine.lasts, sine.period),
                    None,
                ),
                _ => {}
            }
        }
        if total > std::time::Duration::from_secs(MAX_HOURS * 3600) {
            self.add(
                self.key(&["load", "stages"]),
                format!("expected at most {MAX_HOURS} hours altogether, saw {}", humantime::format_duration(total)),
                None,
            );
        }
        if !total.is_zero() && load.warmup.0 > total {
            self.doubt(
                self.value(&["load", "warmup"]),
                format!(
                    "the warm-up ({}) is longer than what is recorded ({})",
                    load.warmup,
                    humantime::format_duration(total)
                ),
                None,
            );
        }
        if load.timeout.0.is_zero() {
            self.add(self.value(&["load", "timeout"]), "expected a deadline above zero, saw 0s", None);
        }
        if let Some(cores) = load.cores.filter(|n| !(1..=MAX_CORES).contains(n)) {
            let place = self.value(&["load", "cores"]);
            self.add(place, format!("expected 1 to {MAX_CORES} cores, saw {cores}"), None);
        }
        if let (Some(cores), Some(connections)) = (load.cores, load.connections)
            && connections > 0
            && connections < cores
        {
            let hint = Some("every loop needs a connection of its own at least".to_owned());
            let place = self.value(&["load", "connections"]);
            self.add(
                place,
                format!("expected at least {cores} connections for {cores} cores, saw {connections}"),
                hint,
            );
        }
        if load.control.0 > MAX_CONTROL {
            let place = self.value(&["load", "control"]);
            let hint = Some("they stand beside the load, and must not become it".to_owned());
            self.add(place, format!("expected at most 20% control operations, saw {}", load.control), hint);
        }
        if let Some(connections) = load.connections.filter(|n| !(1..=MOST_CONNECTIONS).contains(n)) {
            let place = self.value(&["load", "connections"]);
            self.add(place, format!("expected 1 to {MOST_CONNECTIONS} connections, saw {connections}"), None);
        }
        if let Some(streams) = load.streams.filter(|n| !(1..=MAX_STREAMS).contains(n)) {
            let place = self.value(&["load", "streams"]);
            self.add(place, format!("expected 1 to {MAX_STREAMS} streams, saw {streams}"), None);
        }
        let sessions = load.tokens.sessions;
        if sessions == 0 || sessions > MAX_SESSIONS {
            let place = self.value(&["load", "tokens", "sessions"]);
            self.add(place, format!("expected 1 to {MAX_SESSIONS} sessions, saw {sessions}"), None);
        }
        let shares = [load.tokens.expired, load.tokens.tampered, load.tokens.revoked];
        if shares.iter().flatten().map(|r| r.0).sum::<f64>() > 1.0 {
            self.add(
                self.key(&["load", "tokens"]),
                "expected `expired`, `tampered` and `revoked` to be at most all tokens together, saw more than 100 %",
                None,
            );
        }
        if load.find.is_some() {
            if scenario.thresholds.is_empty() {
                let hint = Some("`thresholds: [access.response.p99 < 20ms, failed.ratio < 0.1%]`".to_owned());
                self.add(self.key(&["load", "find"]), "expected thresholds that the rate is held to, saw none", hint);
            }
            if matches!(load.arrival, Arrival::Closed(_)) && load.rates.is_empty() {
                let hint = Some("`arrival: {open: {rate: 20000/s}}` says how far to look".to_owned());
                self.add(self.key(&["load", "find"]), "expected an open arrival model to search in", hint);
            }
        }
    }

    /// Steps that say something, of operations that there are; and one at least that sends something.
    fn flow(&mut self, load: &Workload, vocabulary: &Vocabulary) {
        let mut sends = load.flow.is_empty();
        let mut revoked = false;
        for (n, step) in load.flow.iter().enumerate() {
            let at = n.to_string();
            let word = match step.read() {
                Ok(Walked::Pause(_)) => continue,
                Ok(Walked::Operation { word, .. }) => word,
                Err(why) => {
                    self.add(self.value(&["load", "flow", &at]), why, None);
                    continue;
                }
            };
            sends = true;
            if revoked && word != "issue" {
                let hint = Some("begin anew with `issue`, or put `revoke` last".to_owned());
                let text = format!("after `revoke` a session has nothing for `{word}` to present");
                self.doubt(self.value(&["load", "flow", &at]), text, hint);
            }
            revoked = word == "revoke" || revoked && word != "issue";
            if let Some(known) = &vocabulary.operations
                && !known.contains(&word)
            {
                let names: Vec<&str> = known.iter().map(String::as_str).collect();
                let text = format!("the profile has no operation `{word}`");
                self.add(self.value(&["load", "flow", &at]), text, suggestion(&word, &names));
            }
        }
        if !sends {
            self.add(self.key(&["load", "flow"]), "expected a step that sends something, saw pauses only", None);
        }
    }

    /// Either `rates`, or `arrival` and one of `mix` and `flow`.
    fn arrivals(&mut self, load: &Workload) {
        let given = |key: &str| self.tree.find(&["load", key]).is_some();
        if load.rates.is_empty() {
            if !given("arrival") {
                let hint = Some("`arrival: {open: {rate: 500/s}}` or `{closed: {users: 50}}`".to_owned());
                self.add(self.key(&["load"]), "missing key `arrival`", hint);
            }
            if !load.flow.is_empty() && given("mix") {
                let hint = Some("leave `mix` out, or `flow`".to_owned());
                self.add(self.key(&["load", "mix"]), "`flow` says what is sent; `mix` stands beside it", hint);
            }
            if load.mix.is_empty() && load.flow.is_empty() {
                self.add(
                    self.key(&["load", "mix"]),
                    "expected at least one operation with its weight, saw none",
                    Some("`mix: {issue: 1, verify: 40, access: 50}`".into()),
                );
            }
            return;
        }
        for other in ["arrival", "mix", "flow"] {
            if self.tree.find(&["load", other]).is_some() {
                let hint = Some(format!("leave `{other}` out, or `rates`"));
                self.add(self.key(&["load", other]), format!("`rates` says it all; `{other}` stands beside it"), hint);
            }
        }
    }

    fn thresholds(&mut self, scenario: &Scenario) -> Vec<Threshold> {
        let mut parsed = Vec::new();
        for (n, text) in scenario.thresholds.iter().enumerate() {
            let at = n.to_string();
            let place = self.value(&["thresholds", &at]);
            let threshold = match text.parse::<Threshold>() {
                Ok(threshold) => threshold,
                Err(error) => {
                    let place = inside(self.tree.find(&["thresholds", &at]), &place, &error.span);
                    self.add(place, error.message, error.hint);
                    continue;
                }
            };
            if let Some(topology) =
                threshold.topology.as_deref().filter(|name| !scenario.topologies.contains_key(*name))
            {
                let names: Vec<&str> = scenario.topologies.keys().map(String::as_str).collect();
                self.add(place.clone(), format!("there is no topology `{topology}`"), suggestion(topology, &names));
            }
            if let (Some(operation), Some(load)) = (&threshold.operation, &scenario.load)
                && !load.mix.contains_key(operation)
                && !load.rates.contains_key(operation)
            {
                let names: Vec<&str> = load.mix.keys().chain(load.rates.keys()).map(String::as_str).collect();
                self.add(
                    place.clone(),
                    format!("the mix has no operation `{operation}`"),
                    suggestion(operation, &names),
                );
            }
            match &scenario.load {
                None => self.add(place, "expected a `load` that the threshold is held to, saw none", None),
                Some(load) => self.window(&threshold, load, place),
            }
            parsed.push(threshold);
        }
        parsed
    }

    /// A window has to lie in the time that is recorded.
    fn window(&mut self, threshold: &Threshold, load: &Workload, place: Place) {
        let Some(window) = &threshold.window else { return };
        let lasts: std::time::Duration = load.stages.iter().map(Stage::lasts).sum();
        let time = humantime::format_duration;
        if window.from >= lasts {
            let hint = Some("times of a window count from the end of the warm-up".to_owned());
            let message = format!("the window begins {} in, and the load lasts {}", time(window.from), time(lasts));
            self.add(place, message, hint);
        } else if let Some(to) = window.to.filter(|to| *to > lasts) {
            let message = format!("the window ends {} in, and the load lasts {}", time(to), time(lasts));
            self.doubt(place, message, Some("leave `to` out where it ends with the load".into()));
        }
    }

    fn compare(&mut self, scenario: &Scenario, _thresholds: &[Threshold]) {
        let Some(compare) = &scenario.compare else { return };
        if !scenario.topologies.contains_key(&compare.baseline) {
            let names: Vec<&str> = scenario.topologies.keys().map(String::as_str).collect();
            self.add(
                self.value(&["compare", "baseline"]),
                format!("there is no topology `{}`", compare.baseline),
                suggestion(&compare.baseline, &names),
            );
        }
        if scenario.topologies.len() < 2 {
            self.add(self.key(&["compare"]), "expected at least two topologies to compare, saw one", None);
        }
        if scenario.load.is_none() {
            self.add(self.key(&["compare"]), "expected a `load` to compare the topologies by, saw none", None);
        }
    }

    fn reports(&mut self, scenario: &Scenario, vocabulary: &Vocabulary) {
        let mut seen = BTreeSet::new();
        let names: Vec<&str> = vocabulary.formats.iter().map(String::as_str).collect();
        for (n, format) in scenario.reports.iter().enumerate() {
            let place = self.value(&["reports", &n.to_string()]);
            if !names.is_empty() && !names.contains(&format.as_str()) {
                self.add(
                    place,
                    format!("there is no report format `{format}`, only {}", listed(&names)),
                    suggestion(format, &names).filter(|s| s.starts_with("did")),
                );
            } else if !seen.insert(format) {
                self.doubt(place, format!("`{format}` is asked for twice"), None);
            }
        }
    }
}

/// The place of a part of a scalar, where the text stands in the file as it is.
fn inside(node: Option<&Node>, place: &Place, part: &std::ops::Range<usize>) -> Place {
    let text = match node.map(|node| &node.kind) {
        Some(Kind::Scalar(_, text)) => text,
        _ => return place.clone(),
    };
    let written = place.source.text.get(place.span.clone()).unwrap_or("");
    match written.find(text.as_str()) {
        Some(offset) if !text.is_empty() => {
            let start = place.span.start + offset + part.start;
            Place { source: place.source.clone(), span: start..start + part.len() }
        }
        _ => place.clone(),
    }
}

/// Whether a text can name a folder: letters, digits and dashes.
fn is_name(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= 64
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
        && !text.starts_with(['-', '.'])
}
