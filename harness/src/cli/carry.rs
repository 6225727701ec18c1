//! How is a run carried out? Ctrl-C, progress, reports, the summary, and the exit code.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use assay::record::{ExitCode, Run, RunDir, Warning};
use assay::report::{self, Report};
use assay::run::{self, Ask, Executed, RunError};
use assay::scenario::{Scenario, Source};
use assay::target::Profile;

use super::progress::Show;
use super::{Done, Failure, Global, line, print, tell};

/// What is to be carried out.
pub struct Errand<'a> {
    /// `run`, `check`, `load` or `compare`.
    pub command: &'static str,
    /// What to do.
    pub scenario: &'a Scenario,
    /// Its file, where there is one.
    pub source: Option<&'a Source>,
    /// How the target speaks.
    pub profile: &'a Profile,
    /// Where the record goes.
    pub place: Place,
}

/// Where a record goes.
pub enum Place {
    /// A new folder inside this one.
    Inside(PathBuf),
    /// This very folder.
    At(PathBuf),
    /// Nowhere that stays: what is printed is all.
    Nowhere,
}

/// Carries a run out: progress to standard error, the summary (or `run.json`) and the path to standard output.
pub fn carry(errand: &Errand<'_>, global: &Global) -> Done {
    let mut temporary = None;
    let dir = match &errand.place {
        Place::Inside(root) => RunDir::create(root, &errand.scenario.name),
        Place::At(path) => RunDir::at(path.clone()),
        Place::Nowhere => {
            let folder = tempfile::tempdir().map_err(|e| Failure::harness(format!("no temporary folder: {e}")))?;
            let path = folder.path().join(&errand.scenario.name);
            temporary = Some(folder);
            RunDir::at(path)
        }
    }
    .map_err(|e| Failure::Other(ExitCode::Usage, format!("{e}; hint: `--out` names another folder")))?;
    let show = Show::new(global);
    let executed = run::execute(&Ask {
        command: errand.command,
        scenario: errand.scenario,
        source: errand.source,
        folder: errand.source.map_or_else(|| PathBuf::from("."), |source| source.folder.clone()),
        profile: errand.profile,
        keep_secrets: global.keep_secrets,
        assay: std::env::current_exe().map_err(|e| Failure::harness(format!("our own binary cannot be found: {e}")))?,
        dir: &dir,
        cancel: &interrupted(),
        listen: &|event| show.event(event),
    });
    show.done();
    let Executed { mut run, error } = executed.map_err(fail)?;
    if let Some(error) = error.as_ref().filter(|error| error.exit() == ExitCode::Usage) {
        // Nothing was seen, so there is nothing to sum up.
        return Err(Failure::usage(error));
    }
    let formats = if temporary.is_some() { Vec::new() } else { errand.scenario.reports.clone() };
    write_reports(&mut run, &dir, &formats);
    present(&run, global, temporary.is_none().then_some(dir.path()));
    match error {
        // It is in the summary's doubts too; here it stands where errors are looked for.
        Some(error) => Err(Failure::Other(exit(run.exit_code), error.to_string())),
        None => Ok(exit(run.exit_code)),
    }
}

/// The exit code of a number in a record.
pub fn exit(code: u8) -> ExitCode {
    use ExitCode::{Failed, Harness, Interrupted, Ok, Target, Usage};
    [Ok, Failed, Usage, Target, Harness, Interrupted].into_iter().find(|e| *e as u8 == code).unwrap_or(Harness)
}

/// An error of a run, as the process answers it.
pub fn fail(error: RunError) -> Failure {
    Failure::Other(error.exit(), error.to_string())
}

/// Renders what was asked for; `run.json` is there already, and is written again since warnings may have come.
fn write_reports(run: &mut Run, dir: &RunDir, formats: &[String]) {
    for name in formats.iter().filter(|name| *name != "json") {
        let Some(format) = report::format(name) else { continue };
        let mut bytes = Vec::new();
        let rendered = (format.render)(&Report::of(run), &mut bytes).map_err(|e| e.to_string());
        let written = rendered.and_then(|()| dir.write(format.file, &bytes).map_err(|e| e.to_string()));
        if let Err(why) = written {
            tell(format_args!("error: the {name} report could not be written: {why}"));
            run.warnings.push(Warning::new("no-report", format!("{name}: {why}")));
            run.exit_code = ExitCode::Harness as u8;
        }
    }
    if let Err(why) = dir.save(run) {
        tell(format_args!("error: {why}"));
        run.exit_code = ExitCode::Harness as u8;
    }
}

/// Results to standard output: the summary or the record, and as the last line where it lies.
fn present(run: &Run, global: &Global, folder: Option<&Path>) {
    let report = Report::of(run);
    if global.json {
        let mut bytes = Vec::new();
        match report::format("json").map(|json| (json.render)(&report, &mut bytes)) {
            Some(Ok(())) => print(&bytes),
            _ => tell(format_args!("error: the record could not be written as JSON")),
        }
        if let Some(folder) = folder {
            tell(format_args!("{}", best(folder).display()));
        }
        return;
    }
    if !global.quiet {
        print(report::summary(&report, global.paint()).as_bytes());
        if folder.is_some() {
            line(format_args!(""));
        }
    }
    if let Some(folder) = folder {
        line(format_args!("{}", best(folder).display()));
    }
}

/// The report for people where there is one, else the folder.
fn best(folder: &Path) -> PathBuf {
    let html = folder.join("report.html");
    if html.is_file() { html } else { folder.to_owned() }
}

/// Set by the first Ctrl-C (or SIGTERM, SIGHUP): what has been seen is reported. The second one ends at once.
pub fn interrupted() -> Arc<AtomicBool> {
    let flag = Arc::new(AtomicBool::new(false));
    let times = AtomicUsize::new(0);
    let set = Arc::clone(&flag);
    let handler = ctrlc::set_handler(move || {
        set.store(true, Ordering::Relaxed);
        if times.fetch_add(1, Ordering::Relaxed) > 0 {
            // Started processes end with us: each has a guard.
            std::process::exit(i32::from(ExitCode::Interrupted as u8));
        }
        tell(format_args!("\ninterrupted: finishing with what was seen; once more to stop at once"));
    });
    if let Err(why) = handler {
        tell(format_args!("warning: Ctrl-C will lose results: {why}"));
    }
    flag
}
