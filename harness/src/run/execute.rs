//! How does a run go from its first step to its record?

use std::path::{Component, PathBuf};

use sha2::{Digest as _, Sha256};

use super::arms::{Armed, Arms, stopped};
use super::ask::Ask;
use super::compare::compare;
use super::drive::{Wheel, answered, mishaps};
use super::environment::environment;
use super::error::RunError;
use super::event::Event;
use super::exit::{exit_of, unjudged, why_unjudged};
use super::plan::{Step, plan};
use super::thresholds::judge;
use super::under_load::grade_findings;
use crate::clock;
use crate::conformance::capsule::{Capsule, KEY_VARIABLE, Shelf, Written};
use crate::conformance::{self, Examination, Findings, Selection};
use crate::launch::CpuPlan;
use crate::load::write_hlog;
use crate::record::{
    ExaminationRecord, ExitCode, FoundRecord, Level, LoadRecord, Redactor, Run, SCHEMA_VERSION, StoreError, Warning,
};
use crate::scenario::{FailOn, Threshold, Workload};
use crate::target::builtin;
use crate::units::{Nanos, Rate};

/// A run that has ended.
#[derive(Debug)]
pub struct Executed {
    /// What was seen, whole or until it ended; saved in the run's folder.
    pub run: Run,
    /// Why it ended early, if it did.
    pub error: Option<RunError>,
}

/// Does everything that was asked for, step by step, and saves the record after each.
///
/// # Errors
/// Only where not even a record could be begun: globs that name no check, a capsule that cannot be opened, more cores
/// than there are, or a folder that cannot be written.
pub fn execute(ask: &Ask<'_>) -> Result<Executed, RunError> {
    let selection = ask
        .scenario
        .conformance
        .as_ref()
        .map(|asked| Selection::new(asked, conformance::catalogue()))
        .transpose()
        .map_err(RunError::Usage)?;
    let cores = ask.scenario.load.as_ref().and_then(|load| load.cores);
    let cpus = CpuPlan::with_generators(cores.unwrap_or(1)).map_err(RunError::Usage)?;
    let mut redactor = Redactor::new(ask.keep_secrets);
    let capsule = capsule(ask, &mut redactor)?;
    let mut state = State { run: begun(ask), selection, capsule, redactor, cpus, from: clock::mono() };
    ask.dir.save(&state.run)?;
    let error = state.go(ask).err();
    state.run.interrupted = matches!(error, Some(RunError::Interrupted));
    let code = exit_of(&state.run, ask.scenario).and(error.as_ref().map_or(ExitCode::Ok, RunError::exit));
    state.run.exit_code = code as u8;
    if let Some(error) = error.as_ref().filter(|e| !matches!(e, RunError::Interrupted)) {
        state.run.warnings.push(Warning::new("ended-early", state.redactor.text(&error.to_string())));
    }
    state.save(ask)?;
    Ok(Executed { run: state.run, error })
}

/// A path as a record may hold it: relative to this folder. Where people keep their files is nobody else's business.
fn below_here(path: &str) -> Option<String> {
    let here = std::env::current_dir().ok()?;
    let mut whole = PathBuf::new();
    for part in here.join(path).components() {
        match part {
            Component::ParentDir => _ = whole.pop(),
            other => whole.push(other),
        }
    }
    whole.strip_prefix(here).ok()?.to_str().map(str::to_owned)
}

/// The capsule that the scenario names, opened with the passphrase of the environment.
fn capsule(ask: &Ask<'_>, redactor: &mut Redactor) -> Result<Option<Capsule>, RunError> {
    let Some(file) = ask.scenario.conformance.as_ref().and_then(|asked| asked.capsule.as_ref()) else {
        return Ok(None);
    };
    let passphrase = std::env::var(KEY_VARIABLE).ok();
    passphrase.iter().for_each(|secret| redactor.learn(secret));
    let opened = Capsule::open(&ask.folder.join(file), passphrase.as_deref(), ask.profile);
    opened.map(Some).map_err(|error| RunError::Usage(error.to_string()))
}

/// A record in which nothing has been seen yet.
fn begun(ask: &Ask<'_>) -> Run {
    Run {
        schema_version: SCHEMA_VERSION,
        id: ask.dir.id().to_owned(),
        command: ask.command.to_owned(),
        assay_version: env!("CARGO_PKG_VERSION").to_owned(),
        scenario: ask.scenario.name.clone(),
        scenario_file: ask.source.and_then(|source| below_here(&source.name)),
        scenario_sha256: ask
            .source
            .map(|source| Sha256::digest(source.text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()),
        profile: ask.profile.name.clone(),
        profile_file: Some(&ask.profile.source)
            .filter(|source| !source.is_empty() && builtin(source).is_none())
            .and_then(|source| below_here(source)),
        dialect: ask.profile.dialect.name().to_owned(),
        seed: ask.scenario.load.as_ref().map_or(0, |load| load.seed),
        started: clock::utc_text(),
        duration_ms: 0,
        interrupted: true,
        environment: environment(),
        topologies: Vec::new(),
        checks: Vec::new(),
        examinations: Vec::new(),
        windows: Vec::new(),
        loads: Vec::new(),
        comparisons: Vec::new(),
        thresholds: Vec::new(),
        warnings: Vec::new(),
        notes: Vec::new(),
        fail_on: match ask.scenario.conformance.as_ref().map(|c| c.fail_on).unwrap_or_default() {
            FailOn::Must => Level::Must,
            FailOn::Should => Level::Should,
        },
        // As long as it goes on: whoever reads this record reads an unfinished one.
        exit_code: ExitCode::Interrupted as u8,
    }
}

struct State {
    run: Run,
    selection: Option<Selection>,
    capsule: Option<Capsule>,
    redactor: Redactor,
    cpus: CpuPlan,
    from: Nanos,
}

impl State {
    fn save(&mut self, ask: &Ask<'_>) -> Result<(), RunError> {
        self.run.duration_ms = clock::mono().since(self.from).0 / 1_000_000;
        ask.dir.save(&self.run)?;
        Ok(())
    }

    fn warn(&mut self, ask: &Ask<'_>, warning: Warning) {
        (ask.listen)(Event::Warning(&warning));
        self.run.warnings.push(warning);
    }

    fn go(&mut self, ask: &Ask<'_>) -> Result<(), RunError> {
        let steps = plan(ask.scenario, ask.command == "compare");
        let tell =
            |number: usize| (ask.listen)(Event::Step { step: &steps[number], number: number + 1, of: steps.len() });
        tell(0);
        let mut arms = Arms::up(ask, &self.cpus, &mut self.run.warnings)?;
        for arm in &arms.list {
            arm.target.secrets().iter().for_each(|secret| self.redactor.learn(secret));
            // Known before the first examination, not after it.
            self.shelf(arm)?;
        }
        if ask.scenario.load.is_some() {
            self.processors(ask, &arms);
        }
        let mut ended = Ok(());
        for (number, step) in steps.iter().enumerate().skip(1) {
            tell(number);
            ended = self.step(ask, step, &mut arms);
            self.run.topologies = arms.records(ask);
            self.save(ask)?;
            if ended.is_err() {
                break;
            }
        }
        self.run.topologies = arms.records(ask);
        ended
    }

    /// Says who runs where, since it is in every number.
    fn processors(&mut self, ask: &Ask<'_>, arms: &Arms) {
        if arms.list.iter().all(|arm| !arm.started) {
            let warning = Warning::new(
                "cores-unknown",
                "the target's processors are not ours to choose: it may share the generator's",
            );
            return self.warn(ask, warning);
        }
        self.run.notes.push(format!("Processors: {}.", self.cpus.describe()));
        if self.cpus.shared {
            let warning = Warning::new("shared-cores", self.cpus.describe())
                .hint("with three processors or more, server and proxy get their own");
            self.warn(ask, warning);
        }
    }

    fn step(&mut self, ask: &Ask<'_>, step: &Step, arms: &mut Arms) -> Result<(), RunError> {
        stopped(ask.cancel)?;
        match step {
            Step::Launch => Ok(()),
            Step::Examine(names) => {
                let places = names.iter().filter_map(|name| arms.find(name));
                self.examine(ask, &places.map(|place| &arms.list[place]).collect::<Vec<_>>())
            }
            Step::Drive(name) => match arms.find(name) {
                Some(index) => self.drive(ask, &mut arms.list[index]),
                None => Ok(()),
            },
            Step::Compare => self.compare(ask, arms),
        }?;
        stopped(ask.cancel)?;
        arms.died()
    }

    /// The tokens that earlier runs have kept of a deployment.
    fn shelf(&self, arm: &Armed) -> Result<Option<Shelf>, RunError> {
        let address = (!arm.started).then(|| arm.target.endpoint.url());
        let shelf = self.capsule.as_ref().map(|capsule| capsule.shelf(&arm.name, address.as_deref()));
        shelf.transpose().map_err(|error| RunError::Usage(error.to_string()))
    }

    /// Writes the capsule, where there is one.
    fn seal(&mut self, ask: &Ask<'_>) -> Result<(), RunError> {
        let Some(capsule) = &mut self.capsule else { return Ok(()) };
        let path = capsule.path().to_owned();
        match capsule.save().map_err(|source| StoreError::Write { path: path.clone(), source })? {
            Written::Done => {}
            Written::Overtaken => {
                let text =
                    format!("{} was written by another run meanwhile: what this one kept is not in it", path.display());
                let hint = "let one run at a time have a capsule";
                self.warn(ask, Warning::new("capsule-overtaken", text).hint(hint));
            }
        }
        Ok(())
    }

    fn examine(&mut self, ask: &Ask<'_>, arms: &[&Armed]) -> Result<(), RunError> {
        let Some(selection) = &self.selection else { return Ok(()) };
        for arm in arms {
            // What the profile names and is not there is a mistake of the user's, and no doubt about the target.
            let named = arm.target.user().and(arm.target.second_user()).map(drop);
            let keys = arm.target.signing_key().and(arm.target.refresh_key()).and(arm.target.verify_key()).map(drop);
            named.and(keys).map_err(RunError::target(&arm.name))?;
        }
        let redactor = &self.redactor;
        let one = |arm: &Armed, capsule: Option<Shelf>| {
            let told = |event: conformance::Event| (ask.listen)(Event::Check { topology: &arm.name, event });
            conformance::examine(&Examination {
                target: &arm.target,
                topology: &arm.name,
                selection,
                redactor: redactor.clone(),
                logs: arm.deployment.logs(),
                peer: arm.peer.as_ref(),
                deployment: Some(&arm.deployment),
                capsule,
                catalogue: conformance::catalogue(),
                on_event: &told,
                cancel: ask.cancel,
            })
        };
        let shelves: Vec<Option<Shelf>> = arms.iter().map(|arm| self.shelf(arm)).collect::<Result<_, _>>()?;
        let one = &one;
        let found: Vec<(&str, Findings)> = std::thread::scope(|scope| {
            let each = arms.iter().zip(shelves);
            let threads: Vec<_> =
                each.map(|(arm, shelf)| (arm.name.as_str(), scope.spawn(move || one(arm, shelf)))).collect();
            let join = |(name, thread): (_, std::thread::ScopedJoinHandle<'_, _>)| match thread.join() {
                Ok(Ok(findings)) => Ok((name, findings)),
                Ok(Err(why)) => Err(RunError::Usage(why)),
                Err(_) => Err(RunError::Internal(format!("the examination of {name} ended in a panic"))),
            };
            threads.into_iter().map(join).collect::<Result<_, _>>()
        })?;
        let (mut unusable, mut kept) = (None, false);
        for (name, findings) in found {
            if let Some(problem) = findings.unusable {
                unusable.get_or_insert(RunError::Unexpected { topology: name.to_owned(), problem });
            } else if unjudged(findings.checks.iter()) {
                let why = why_unjudged(findings.checks.iter());
                let text =
                    format!("nothing was judged: of {} checks none could be tried, {why}", findings.checks.len());
                let hint = "each skipped check says what it lacks; `assay check --only issue-basic` shows what the others build on";
                self.warn(ask, Warning::new("nothing-judged", text).at(name).hint(hint));
            }
            self.run.checks.extend(findings.checks);
            self.run.windows.extend(findings.windows);
            self.run.notes.push(traffic_note(&findings.traffic));
            self.run.examinations.push(findings.traffic);
            if let (Some(capsule), Some((shelf, text))) = (&mut self.capsule, findings.capsule) {
                capsule.put_back(shelf);
                kept = true;
                self.run.notes.push(format!("Capsule of {name}: {text}."));
            }
            if let Some(note) = thorough_note(name, &findings.more) {
                self.run.notes.push(note);
            }
            for warning in findings.warnings {
                self.warn(ask, warning);
            }
        }
        if kept {
            self.seal(ask)?;
        }
        // What cannot be spoken to cannot be driven either.
        unusable.map_or(Ok(()), Err)
    }

    fn drive(&mut self, ask: &Ask<'_>, arm: &mut Armed) -> Result<(), RunError> {
        let Some(workload) = ask.scenario.load.clone().map(Workload::plain) else { return Ok(()) };
        let redactor = self.redactor.clone();
        let thresholds: Vec<Threshold> = ask.scenario.thresholds.iter().filter_map(|t| t.parse().ok()).collect();
        let wheel = Wheel::new(ask, &workload, &redactor, &self.cpus);
        let (mut driven, ended) = wheel.drive_held(arm, &thresholds)?;
        grade_findings(&mut self.run.checks, &mut driven.record, &arm.target, &redactor).map_err(RunError::Usage)?;
        self.say_of_load(ask, &driven.record);
        let file = format!("load-{}.hlog", arm.name);
        let mut text = Vec::new();
        match write_hlog(&driven, &mut text) {
            Ok(()) => {
                ask.dir.write(&file, &text)?;
                driven.record.hlog = Some(file);
            }
            Err(why) => self.warn(ask, Warning::new("no-interval-log", format!("{file}: {why}")).at(&arm.name)),
        }
        if driven.record.certificate.is_void() && ask.scenario.thresholds.is_empty() {
            let why = driven.record.certificate.void.join("; ");
            self.warn(ask, Warning::new("void-load", format!("the load says nothing: {why}")).at(&arm.name));
        }
        self.run.loads.push(driven.record);
        self.run.thresholds = judge(&thresholds, &self.run.loads);
        if driven.interrupted {
            return Err(RunError::Interrupted);
        }
        if let Some(error) = ended {
            return Err(error);
        }
        self.run.loads.last().map_or(Ok(()), answered)
    }

    /// What a load found beside its numbers.
    fn say_of_load(&mut self, ask: &Ask<'_>, load: &LoadRecord) {
        if load.accounting.failed + load.accounting.timed_out > 0 {
            let warning = Warning::new("failed-requests", mishaps(load)).at(&load.topology);
            self.warn(ask, warning.hint("a threshold such as `failed.ratio < 0.1%` makes it count"));
        }
        if let Some(expression) = &load.aborted_by {
            let text = format!("`{expression}` was missed and ended the load after {:.1} s", load.duration_s);
            self.warn(ask, Warning::new("aborted", text).at(&load.topology));
        }
        if let Some(found) = &load.found {
            self.run.notes.push(format!("{}: {}", load.topology, what_was_found(found)));
        }
    }

    fn compare(&mut self, ask: &Ask<'_>, arms: &mut Arms) -> Result<(), RunError> {
        let load = ask.scenario.load.clone().map(Workload::plain);
        let (Some(workload), Some(asked)) = (&load, &ask.scenario.compare) else { return Ok(()) };
        let redactor = self.redactor.clone();
        let wheel = Wheel::new(ask, workload, &redactor, &self.cpus);
        // An end that was not planned leaves what the rounds before it say.
        let (warnings, comparisons) = (&mut self.run.warnings, &mut self.run.comparisons);
        let ended = compare(&wheel, arms, asked, workload.seed, warnings, comparisons);
        for index in 0..self.run.comparisons.len() {
            let comparison = &self.run.comparisons[index];
            if let Some(why) = comparison.void.first() {
                let text = format!(
                    "the comparison of {} with {} says nothing: {why}",
                    comparison.candidate, comparison.baseline
                );
                self.warn(ask, Warning::new("void-comparison", text));
            }
        }
        ended
    }
}

/// What a search for the highest rate found, in a sentence.
fn what_was_found(found: &FoundRecord) -> String {
    let (rate, low, high) = (Rate(found.rate_per_s), Rate(found.low_per_s), Rate(found.high_per_s));
    let tries = format!("{} tries", found.tries.len());
    let early = match (&found.ended, found.interrupted) {
        (_, true) => " The search was interrupted.".to_owned(),
        (Some(why), _) => format!(" The search ended early: {why}."),
        _ => String::new(),
    };
    match found {
        f if f.at_least && f.by_generator => {
            format!("every threshold held at {low}, and above it the generator itself was the limit ({tries}).{early}")
        }
        f if f.at_least => format!("every threshold held at {rate}, the highest rate that was to be tried.{early}"),
        FoundRecord { unjudged: Some(why), .. } => {
            let more = if found.by_generator { "" } else { "; longer stages bring more samples" };
            format!("no highest rate could be told: {why} ({tries}){more}.{early}")
        }
        f if f.searches > 0 => format!(
            "the highest rate at which every threshold holds is about {rate}: the median of {} searches lies between {low} and {high} with {:.1} % confidence ({tries}).{early}",
            f.searches,
            f.level * 100.0
        ),
        f if f.low_per_s > 0.0 => format!("every threshold held at {low}, and not at {high} ({tries}).{early}"),
        _ => format!("the thresholds were missed at every rate that was tried, down to {high} ({tries}).{early}"),
    }
}

/// What an examination asked of its target, in a sentence.
fn traffic_note(traffic: &ExaminationRecord) -> String {
    let ExaminationRecord { topology, requests, logins, server_errors, unanswered, dropped, duration_ms } = traffic;
    let seconds = Nanos(duration_ms * 1_000_000).as_secs_f64();
    format!(
        "Conformance of {topology} took {requests} requests in {seconds:.1} s, {logins} of them logins; {server_errors} \
         were answered with a server error, {unanswered} not at all, and {dropped} connections ended without an answer."
    )
}

/// What the CI budget left out, in a sentence; none where there was nothing.
fn thorough_note(topology: &str, more: &[(String, String)]) -> Option<String> {
    let all: Vec<String> = more.iter().map(|(id, what)| format!("{id} ({what})")).collect();
    (!all.is_empty())
        .then(|| format!("Conformance of {topology}: `--budget thorough` would do more: {}.", all.join("; ")))
}
