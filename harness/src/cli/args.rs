//! Which arguments do several commands share?

use std::ffi::OsString;
use std::io::IsTerminal;
use std::path::PathBuf;

use assay::scenario::{Budget, Effort, FailOn};
use assay::units::{Rate, Span};
use clap::{Args, ValueEnum};

/// Flags that every command understands.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Everywhere")]
pub struct Global {
    /// Print results as JSON
    #[arg(long, global = true)]
    pub json: bool,
    /// Let load and forged tokens go to this host beyond loopback; may be given several times
    #[arg(long, global = true, value_name = "HOST")]
    pub allow_remote: Vec<String>,
    /// Keep tokens and passwords readable in records and reports
    #[arg(long, global = true)]
    pub keep_secrets: bool,
    /// Say nothing but results and errors
    #[arg(long, short, global = true)]
    pub quiet: bool,
    /// When to use colours
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto")]
    pub color: Color,
}

/// When to use colours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Color {
    /// On a terminal, unless NO_COLOR is set
    #[default]
    Auto,
    /// Also into files and pipes
    Always,
    /// Never
    Never,
}

impl Global {
    /// Whether standard error gets colours.
    pub fn colors_on_stderr(&self) -> bool {
        self.colors(std::io::stderr().is_terminal())
    }
    /// How summaries on standard output are painted.
    pub fn paint(&self) -> assay::report::Paint {
        match self.colors(std::io::stdout().is_terminal()) {
            true => assay::report::Paint::Colour,
            false => assay::report::Paint::Plain,
        }
    }
    fn colors(&self, terminal: bool) -> bool {
        let unwanted = std::env::var_os("NO_COLOR").is_some_and(|v| !v.is_empty())
            || std::env::var_os("TERM").is_some_and(|v| v == "dumb");
        match self.color {
            Color::Always => true,
            Color::Never => false,
            Color::Auto => terminal && !unwanted,
        }
    }
}

/// Arguments of `assay run`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Examples:
  assay run scenarios/bare-vs-proxy.yaml
  assay run my.yaml --out /tmp/reports --quiet     only the report's path on standard output")]
pub struct RunArgs {
    /// The scenario's YAML file
    #[arg(value_name = "SCENARIO")]
    pub scenario: PathBuf,
    /// The folder that gets the run's folder
    #[arg(long, value_name = "DIR", default_value = "reports")]
    pub out: PathBuf,
    /// Only these topologies of the scenario; may be given several times
    #[arg(long = "topology", value_name = "NAME")]
    pub topologies: Vec<String>,
    /// Another seed than the scenario's
    #[arg(long)]
    pub seed: Option<u64>,
    /// Loops that drive the load, each on a core of its own, instead of the scenario's `cores`
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=256))]
    pub cores: Option<u32>,
}

/// Which server is meant, and how it is spoken to.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Target")]
pub struct TargetArgs {
    /// Address of a token server that already runs
    #[arg(long, value_name = "URL")]
    pub target: Option<String>,
    #[command(flatten)]
    pub how: ProfileArgs,
}

/// How a server is spoken to.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Target")]
pub struct ProfileArgs {
    /// How it speaks: a built-in profile (`assay list profiles`) or a file
    #[arg(long, value_name = "NAME|FILE")]
    pub profile: Option<String>,
    /// A variant of the profile
    #[arg(long, value_name = "NAME")]
    pub variant: Option<String>,
    /// Log in as this user instead of the profile's; where it is the profile's second user, the two change places
    #[arg(long, value_name = "USER")]
    pub user: Option<String>,
    /// That user's password; better through the environment
    #[arg(long, value_name = "PASSWORD", env = "ASSAY_PASSWORD", hide_env_values = true)]
    pub password: Option<String>,
    /// Another user, for checks that two people take part in
    #[arg(long, value_name = "USER")]
    pub second_user: Option<String>,
    /// The second user's password; better through the environment
    #[arg(long, value_name = "PASSWORD", env = "ASSAY_SECOND_PASSWORD", hide_env_values = true)]
    pub second_password: Option<String>,
    /// Address of the admin hooks that the profile names
    #[arg(long, value_name = "URL")]
    pub admin: Option<String>,
}

/// Arguments of `assay check`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Examples:
  assay check --target http://127.0.0.1:8000 --profile simplejwt --user alice --password correct-horse-9
  assay check scenarios/ci-conformance.yaml --require signing-key --fail-on should
  assay check --target http://127.0.0.1:8080 --profile reference --only 'sig-*' --json
  assay check --kill-matrix                        proves that every check can fail")]
pub struct CheckArgs {
    /// A scenario, of which only the conformance part is run
    #[arg(value_name = "SCENARIO", conflicts_with_all = ["target", "profile", "kill_matrix"])]
    pub scenario: Option<PathBuf>,
    #[command(flatten)]
    pub target: TargetArgs,
    /// Run only checks whose id or group matches; may be given several times
    #[arg(long, value_name = "GLOB", help_heading = "Selection")]
    pub only: Vec<String>,
    /// Leave out checks whose id or group matches
    #[arg(long, value_name = "GLOB", help_heading = "Selection")]
    pub skip: Vec<String>,
    /// Fail when a check, a group or a capability such as `signing-key` is skipped
    #[arg(long, value_name = "GLOB", help_heading = "Selection")]
    pub require: Vec<String>,
    /// How long checks may take: `ci` takes 10 to 90 s (ten minutes at most), `thorough` waits out whole lifetimes; by default `ci`
    #[arg(long, value_name = "BUDGET", value_parser = budget, help_heading = "Selection")]
    pub budget: Option<Budget>,
    /// The same as `--budget thorough`; with --kill-matrix, each flaw under every algorithm, with every check (those that draw a thousand tokens and more only where the flaw concerns them)
    #[arg(long, conflicts_with = "budget", help_heading = "Selection")]
    pub thorough: bool,
    /// Also run checks that could harm the target
    #[arg(long, help_heading = "Selection")]
    pub intrusive: bool,
    /// From which level a failure ends with exit code 1: `must` (the default) or `should`
    #[arg(long, value_name = "LEVEL", value_parser = fail_on, help_heading = None::<&'static str>)]
    pub fail_on: Option<FailOn>,
    /// Keep a few tokens in this file, encrypted, and show those of earlier runs that have ended; the variable ASSAY_CAPSULE_KEY holds
    /// its passphrase
    #[arg(long, value_name = "FILE", help_heading = None::<&'static str>)]
    pub capsule: Option<PathBuf>,
    /// The folder that gets run.json, junit.xml and report.html; without it only what is printed is kept
    #[arg(long, value_name = "DIR", help_heading = None::<&'static str>)]
    pub out: Option<PathBuf>,
    /// Check the checks: the clean reference server, then each flaw of it; exit 1 if one is missed
    #[arg(long, help_heading = None::<&'static str>, conflicts_with_all = ["target", "profile", "variant", "user", "admin", "skip", "require", "fail_on", "intrusive", "capsule", "out"])]
    pub kill_matrix: bool,
}

/// Arguments of `assay forge`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Examples:
  TOKEN=$(assay forge sig-alg-none/None --target http://127.0.0.1:8080 --profile reference)
  curl -H \"Authorization: Bearer $TOKEN\" http://127.0.0.1:8080/hello/
  assay forge sig-remote-key/jku --target http://127.0.0.1:8080 --profile reference -- \\
    sh -c 'curl -H \"Authorization: Bearer $TOKEN\" http://127.0.0.1:8080/hello/'")]
pub struct ForgeArgs {
    /// The check, or one variant of it: `sig-alg-none/None`; `login/access` and `login/refresh` for genuine tokens
    #[arg(value_name = "CHECK[/VARIANT]")]
    pub check: String,
    #[command(flatten)]
    pub target: TargetArgs,
    /// Run this with the token in TOKEN, while what the token leads to is served, instead of printing the token
    #[arg(last = true, value_name = "COMMAND")]
    pub command: Vec<OsString>,
}

/// Arguments of `assay load`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Examples:
  assay load --target http://127.0.0.1:8080 --profile reference --rate 2000/s --duration 10s
  assay load --target http://127.0.0.1:8080 --profile reference --mix verify=9,issue=1 --users 64
  assay load scenarios/bare-vs-proxy.yaml          only the load of a scenario")]
pub struct LoadArgs {
    /// A scenario, of which only the load is driven
    #[arg(value_name = "SCENARIO", conflicts_with_all = ["target", "profile"])]
    pub scenario: Option<PathBuf>,
    #[command(flatten)]
    pub target: TargetArgs,
    #[command(flatten)]
    pub shape: LoadShape,
    #[command(flatten)]
    pub course: LoadCourse,
    /// The folder that gets the run's folder; without it only what is printed is kept
    #[arg(long, value_name = "DIR", help_heading = None::<&'static str>)]
    pub out: Option<PathBuf>,
}

/// What a load looks like, for commands without a scenario.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Load")]
pub struct LoadShape {
    /// Weights of operations, as `verify=9,issue=1`; by default `access` alone, where the profile has it
    #[arg(long, value_name = "OP=WEIGHT,...", value_delimiter = ',', value_parser = weight)]
    pub mix: Vec<(String, f64)>,
    /// Arrivals per second, whatever the target does: `2000/s`; by default 100/s
    #[arg(long)]
    pub rate: Option<Rate>,
    /// Connections held open
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=60_000))]
    pub connections: Option<u32>,
    /// Loops that drive, each on a core of its own
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=256))]
    pub cores: Option<u32>,
    /// Makes a run repeatable
    #[arg(long)]
    pub seed: Option<u64>,
    /// Sessions that hold tokens of their own, each with a login before the start; by default 100
    #[arg(long, value_name = "N")]
    pub sessions: Option<u32>,
}

/// How long a load lasts and who waits for whom; a comparison decides both by itself.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Load")]
pub struct LoadCourse {
    /// Users who wait for their answers, instead of a rate
    #[arg(long, value_name = "N", conflicts_with = "rate", value_parser = clap::value_parser!(u32).range(1..=60_000))]
    pub users: Option<u32>,
    /// How long to drive and record; by default 10s
    #[arg(long, value_name = "TIME")]
    pub duration: Option<Span>,
    /// How long to drive before recording; by default 1s
    #[arg(long, value_name = "TIME")]
    pub warmup: Option<Span>,
}

/// Arguments of `assay compare`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Examples:
  assay compare --target bare=http://127.0.0.1:8080 --target nginx=http://127.0.0.1:8081 --profile reference
  assay compare reports/a reports/b                two stored runs (they were not interleaved: a hint, no proof)

Each target is first driven as fast as it answers, for 0.4 s, and again in every round (`quick` 0.2 s, `standard` 2 s): that is
how throughput is compared, and --rate does not limit it. The blocks between go at --rate, or at 60 % of what the slowest target
gave, if that is less.")]
pub struct CompareArgs {
    /// Two stored runs: folders or run.json files
    #[arg(value_name = "RUN", num_args = 2, conflicts_with = "targets", required_unless_present = "targets")]
    pub runs: Vec<PathBuf>,
    /// A deployment that already runs, as `name=URL`; the first is the baseline
    #[arg(long = "target", value_name = "NAME=URL", value_parser = named_url)]
    pub targets: Vec<(String, String)>,
    #[command(flatten)]
    pub how: ProfileArgs,
    /// How many pairs: `quick` 6 of 2 s, `standard` 12 of 5 s
    #[arg(long, value_name = "EFFORT", value_parser = effort, help_heading = "Load")]
    pub effort: Option<Effort>,
    #[command(flatten)]
    pub shape: LoadShape,
    /// The folder that gets the run's folder; without it only what is printed is kept
    #[arg(long, value_name = "DIR", help_heading = None::<&'static str>)]
    pub out: Option<PathBuf>,
}

fn weight(text: &str) -> Result<(String, f64), String> {
    let wrong = || format!("expected an operation and its weight such as `verify=9`, saw `{text}`");
    let (name, weight) = text.split_once('=').unwrap_or((text, "1"));
    let weight: f64 = weight.trim().parse().map_err(|_| wrong())?;
    if name.trim().is_empty() || !weight.is_finite() || weight < 0.0 {
        return Err(wrong());
    }
    Ok((name.trim().to_owned(), weight))
}

fn named_url(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, url)) if !name.is_empty() && !name.contains(['/', ':']) && url.contains("://") => {
            Ok((name.to_owned(), url.to_owned()))
        }
        _ => Err(format!("expected a name and an address such as `nginx=http://127.0.0.1:8081`, saw `{text}`")),
    }
}

fn budget(text: &str) -> Result<Budget, String> {
    one_of(text, &[("ci", Budget::Ci), ("thorough", Budget::Thorough)])
}
pub(super) fn effort(text: &str) -> Result<Effort, String> {
    one_of(text, &[("quick", Effort::Quick), ("standard", Effort::Standard)])
}
fn fail_on(text: &str) -> Result<FailOn, String> {
    one_of(text, &[("must", FailOn::Must), ("should", FailOn::Should)])
}

fn one_of<T: Copy>(text: &str, words: &[(&str, T)]) -> Result<T, String> {
    words.iter().find(|(word, _)| *word == text).map(|(_, value)| *value).ok_or_else(|| {
        format!("expected one of {}", words.iter().map(|(word, _)| format!("`{word}`")).collect::<Vec<_>>().join(", "))
    })
}
