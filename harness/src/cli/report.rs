//! `assay report RUN`: renders a stored run again, years later if need be.

use std::path::PathBuf;

use assay::record::{self, ExitCode};
use assay::report::{self, Report, formats};
use assay::scenario::suggestion;

use super::{Done, Failure, Global, line, print};

/// Arguments of `assay report`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  assay report reports/bare-vs-proxy-20261125T120000Z-1a2b3c                    the summary again
  assay report reports/sample --format sarif,md --out out/
  assay report reports/sample --format md                                     a single format to standard output")]
pub struct Args {
    /// A run's folder, or its run.json
    #[arg(value_name = "RUN")]
    run: PathBuf,
    /// Formats, see `assay list formats`; the summary for the terminal if absent
    #[arg(long, value_name = "FORMAT,...", value_delimiter = ',')]
    format: Vec<String>,
    /// The folder that gets the files; several formats go into the run's own folder if absent
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

/// Renders.
pub fn run(args: &Args, global: &Global) -> Done {
    let run = record::load(&args.run)
        .map_err(|why| Failure::usage(format!("{why}; hint: a run is a folder below `reports/`, or its run.json")))?;
    let names: Vec<&str> = formats().iter().map(|format| format.name).collect();
    let mut wanted = Vec::new();
    for name in &args.format {
        wanted.push(report::format(name).ok_or_else(|| {
            let hint = suggestion(name, &names).map(|hint| format!("; hint: {hint}")).unwrap_or_default();
            Failure::usage(format!("--format: there is no format `{name}`{hint}"))
        })?);
    }
    if global.json && wanted.is_empty() {
        wanted.extend(report::format("json"));
    }
    let report = Report::of(&run);
    if wanted.is_empty() {
        print(report::summary(&report, global.paint()).as_bytes());
        return Ok(ExitCode::Ok);
    }
    let folder = match (&args.out, wanted.len()) {
        (Some(folder), _) => folder.clone(),
        (None, 1) => {
            let mut bytes = Vec::new();
            (wanted[0].render)(&report, &mut bytes).map_err(Failure::harness)?;
            print(&bytes);
            return Ok(ExitCode::Ok);
        }
        (None, _) if args.run.is_dir() => args.run.clone(),
        (None, _) => args.run.parent().map(PathBuf::from).unwrap_or_default(),
    };
    let dir = record::RunDir::at(folder).map_err(Failure::usage)?;
    for format in wanted {
        let mut bytes = Vec::new();
        (format.render)(&report, &mut bytes).map_err(Failure::harness)?;
        let path = dir.write(format.file, &bytes).map_err(Failure::usage)?;
        line(format_args!("{}", path.display()));
    }
    Ok(ExitCode::Ok)
}
