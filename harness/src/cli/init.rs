//! `assay init URL`: which profile speaks to this server? Looks, asks, tries, explains, writes.

use std::io::{BufRead as _, IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock};

use assay::discover::{DiscoverError, Draft, Question, Talk, Wanted, discover};
use assay::record::ExitCode;
use assay::target::{BodyKind, Tls};
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use serde_json::json;

use super::{Done, Failure, Global, line, tell};

/// Arguments of `assay init`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  assay init http://127.0.0.1:8000 --user alice --password correct-horse-9
  assay init http://127.0.0.1:8000 --name shop --login /sessions --field email='${user.login}' --field pin='${user.password}'
  assay init http://127.0.0.1:9000 --client shop --client-secret secret-9 --user alice
  assay init https://127.0.0.1:8443 --ca ca.pem --header 'X-Tenant: shop' --user alice
  assay init http://127.0.0.1:8000 --out shop --login-command python3 login.py --tenant 7

Writes NAME.profile.yaml and NAME.yaml. On a terminal it asks for what it cannot find out. Some hundred requests are sent,
one at a time, a few wrong logins among them: use an account for tests.")]
pub struct Args {
    /// Address of a token server that runs
    #[arg(value_name = "URL")]
    url: String,
    /// What the files and the profile are called; by default the kind of server that was found
    #[arg(long, value_name = "NAME", value_parser = name)]
    name: Option<String>,
    /// Who logs in
    #[arg(long, value_name = "USER")]
    user: Option<String>,
    /// That user's password; from ASSAY_PASSWORD it stays out of the file
    #[arg(long, value_name = "PASSWORD")]
    password: Option<String>,
    /// client_id of an OAuth client
    #[arg(long, value_name = "ID")]
    client: Option<String>,
    /// Its client_secret; from ASSAY_CLIENT_SECRET it stays out of the file
    #[arg(long, value_name = "SECRET")]
    client_secret: Option<String>,
    /// Path of the login
    #[arg(long, value_name = "PATH")]
    login: Option<String>,
    /// A field of the login, as NAME=VALUE with ${user.login} and ${user.password}; may be given several times
    #[arg(long = "field", value_name = "NAME=VALUE", value_parser = field)]
    fields: Vec<(String, String)>,
    /// How the fields travel: `json` or `form`
    #[arg(long, value_name = "KIND", value_parser = body)]
    body: Option<BodyKind>,
    /// A program that logs in and prints {"access": "..."}; the last flag, since all that follows are the program's arguments
    #[arg(long, value_name = "PROGRAM", num_args = 1.., allow_hyphen_values = true)]
    login_command: Vec<String>,
    /// Path of a GET that needs a token
    #[arg(long, value_name = "PATH")]
    resource: Option<String>,
    /// Path of the refresh
    #[arg(long, value_name = "PATH")]
    refresh: Option<String>,
    /// A header that every request carries, as 'NAME: VALUE'; '${env:API_KEY}' as the value stays out of the file; may be
    /// given several times
    #[arg(long = "header", value_name = "HEADER", value_parser = header)]
    headers: Vec<(String, String)>,
    /// Who signed the server's certificate: a PEM file
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// Take any certificate: for throw-away servers
    #[arg(long, conflicts_with = "ca")]
    insecure: bool,
    /// A certificate of your own in PEM, where the server asks for one
    #[arg(long, value_name = "FILE", requires = "key")]
    certificate: Option<PathBuf>,
    /// Its key
    #[arg(long, value_name = "FILE", requires = "certificate")]
    key: Option<PathBuf>,
    /// The folder that gets the files
    #[arg(long, value_name = "DIR", default_value = ".")]
    out: PathBuf,
    /// Write over files that are there
    #[arg(long)]
    force: bool,
}

/// Looks at the server and writes both files; their paths are the result.
pub fn run(args: &Args, global: &Global) -> Done {
    swallowed(&args.login_command)?;
    let environment =
        |name: &str, flag: &Option<String>| std::env::var(name).ok().filter(|text| !text.is_empty() && flag.is_none());
    for (name, value) in &args.headers {
        // Before anything is sent: what a header takes from the environment has to be there.
        assay::target::environment(value).map_err(|why| Failure::usage(format_args!("--header {name}: {why}")))?;
    }
    let password = environment(PASSWORD, &args.password);
    let client_secret = environment(CLIENT_SECRET, &args.client_secret);
    let wanted = Wanted {
        url: args.url.clone(),
        name: args.name.clone(),
        user: args.user.clone(),
        password_from: password.as_ref().map(|_| PASSWORD.to_owned()),
        password: args.password.clone().or(password),
        client: args.client.clone(),
        client_secret_from: client_secret.as_ref().map(|_| CLIENT_SECRET.to_owned()),
        client_secret: args.client_secret.clone().or(client_secret),
        login: args.login.clone(),
        fields: args.fields.clone(),
        body: args.body,
        command: found_from_anywhere(&args.login_command),
        resource: args.resource.clone(),
        refresh: args.refresh.clone(),
        headers: args.headers.clone(),
        tls: tls(args)?,
        allow_remote: global.allow_remote.clone(),
    };
    std::fs::create_dir_all(&args.out).map_err(|why| {
        Failure::usage(format_args!("--out {}: {why}; hint: `--out` names another folder", args.out.display()))
    })?;
    // A name that is given is known to be free before anything is sent.
    if let Some(name) = &args.name {
        free(args, name)?;
    }
    let mut terminal = Terminal { quiet: global.quiet || global.json, asks: std::io::stdin().is_terminal() };
    let draft = discover(wanted, &mut terminal).map_err(failure)?;
    free(args, &draft.name)?;
    let [profile, scenario] = write(args, &draft)?;
    let held: Vec<String> = [("password:", "the password"), ("secret:", "a secret")]
        .into_iter()
        .filter(|(key, _)| draft.profile.lines().any(|line| in_clear(line, key)))
        .map(|(_, what)| what.to_owned())
        .chain(args.headers.iter().filter(|(name, value)| confides(name, value)).map(|(name, _)| format!("`{name}`")))
        .collect();
    if !held.is_empty() {
        terminal.say(&format!(
            "{} holds {} and is readable by you alone; `${{env:NAME}}` in its place keeps it out",
            profile.display(),
            held.join(" and ")
        ));
    }
    if global.json {
        let paths = json!({"name": draft.name, "profile": profile.display().to_string(), "scenario": scenario.display().to_string()});
        line(format_args!("{paths:#}"));
    } else {
        line(format_args!("{}", profile.display()));
        line(format_args!("{}", scenario.display()));
        let scenario = scenario.display();
        terminal.say(&format!("next: assay check {scenario} --out out/    (assay run {scenario} drives its load too)"));
    }
    Ok(ExitCode::Ok)
}

/// Variables that secrets may come from: the profile then names them instead.
const PASSWORD: &str = "ASSAY_PASSWORD";
const CLIENT_SECRET: &str = "ASSAY_CLIENT_SECRET";

/// Whether a line of the profile gives `key` a value that is no reference.
fn in_clear(line: &str, key: &str) -> bool {
    let comment = line.trim_start().starts_with('#');
    !comment
        && line.split_once(key).is_some_and(|(_, value)| !value.trim_start_matches([' ', '"', '\'']).starts_with("${"))
}

/// Whether a header's name says that its value is a secret, and the value is written out.
fn confides(name: &str, value: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let told = ["auth", "key", "token", "secret", "cookie", "password", "credential"];
    told.iter().any(|word| name.contains(word)) && !value.contains("${env:")
}

/// A flag of ours behind `--login-command` was meant for us: the program would get it, and nobody would notice.
fn swallowed(command: &[String]) -> Result<(), Failure> {
    let name = |argument: &String| argument.split('=').next().unwrap_or_default().to_owned();
    let init = <Args as clap::Args>::augment_args(clap::Command::new("init"));
    let ours = |argument: &&String| {
        init.get_arguments().any(|arg| arg.get_long().is_some_and(|long| name(argument) == format!("--{long}")))
    };
    match command.iter().find(ours) {
        Some(argument) => Err(Failure::usage(format_args!(
            "--login-command: expected a program and its arguments to the end, saw `{argument}`; hint: flags of `assay init` go before --login-command; a program that needs one of that name goes into a script"
        ))),
        None => Ok(()),
    }
}

/// The command with whole paths of the files that it names: the profile may lie elsewhere, and its commands run where it
/// lies. A program without a slash comes from PATH.
fn found_from_anywhere(command: &[String]) -> Vec<String> {
    let whole = |(place, word): (usize, &String)| {
        let path = Path::new(word);
        let named = (place > 0 || word.contains('/')) && path.is_relative() && path.is_file();
        let there = named.then(|| std::path::absolute(path).ok()).flatten();
        there.map_or_else(|| word.clone(), |path| path.to_string_lossy().into_owned())
    };
    command.iter().enumerate().map(whole).collect()
}

/// What the flags say of TLS; the profile lies elsewhere, so its paths are whole.
fn tls(args: &Args) -> Result<Option<Tls>, Failure> {
    let whole = |flag: &str, path: &Option<PathBuf>| {
        let resolve = |path: &PathBuf| {
            path.canonicalize().map_err(|why| Failure::usage(format_args!("--{flag} {}: {why}", path.display())))
        };
        path.as_ref().map(resolve).transpose().map(|path| path.map(|path| path.to_string_lossy().into_owned()))
    };
    let said = Tls {
        ca: whole("ca", &args.ca)?,
        insecure: args.insecure,
        server_name: None,
        certificate: whole("certificate", &args.certificate)?,
        key: whole("key", &args.key)?,
    };
    Ok((said != Tls::default()).then_some(said))
}

fn failure(error: DiscoverError) -> Failure {
    let code = match &error {
        DiscoverError::Address(_) | DiscoverError::Missing(_) => ExitCode::Usage,
        DiscoverError::Unreachable { .. } | DiscoverError::NoLogin { .. } => ExitCode::Target,
        DiscoverError::Contradiction(_) => ExitCode::Harness,
    };
    Failure::Other(code, error.to_string())
}

fn files(args: &Args, name: &str) -> [PathBuf; 2] {
    [args.out.join(format!("{name}.profile.yaml")), args.out.join(format!("{name}.yaml"))]
}

fn free(args: &Args, name: &str) -> Result<(), Failure> {
    match files(args, name).iter().find(|path| !args.force && path.exists()) {
        Some(path) => Err(Failure::usage(format_args!(
            "expected no file {}, saw one; hint: --name NAME, --out DIR, or --force to write over it",
            path.display()
        ))),
        None => Ok(()),
    }
}

fn write(args: &Args, draft: &Draft) -> Result<[PathBuf; 2], Failure> {
    let failed = |path: &Path, why: std::io::Error| Failure::usage(format_args!("{}: {why}", path.display()));
    let [profile, scenario] = files(args, &draft.name);
    private(&profile, &draft.profile).map_err(|why| failed(&profile, why))?;
    std::fs::write(&scenario, &draft.scenario).map_err(|why| failed(&scenario, why))?;
    Ok([profile, scenario])
}

/// The profile may hold a password: nobody else reads it.
fn private(path: &Path, text: &str) -> std::io::Result<()> {
    use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
    let mut file = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.set_permissions(std::fs::Permissions::from_mode(0o600))?;
    file.write_all(text.as_bytes())
}

struct Terminal {
    quiet: bool,
    asks: bool,
}

impl Talk for Terminal {
    fn say(&mut self, text: &str) {
        if !self.quiet {
            tell(format_args!("{text}"));
        }
    }
    fn ask(&mut self, question: Question) -> Option<String> {
        if !self.asks {
            return None;
        }
        let quiet = if question.is_secret() { Quiet::new() } else { None };
        let shown = if question.is_secret() && quiet.is_none() { " (it will be seen)" } else { "" };
        let mut stderr = std::io::stderr().lock();
        write!(stderr, "{}{shown}? ", question.text()).and_then(|()| stderr.flush()).ok()?;
        let mut answer = String::new();
        let read = std::io::stdin().lock().read_line(&mut answer).ok()?;
        if quiet.is_some() {
            // The line end that was typed was not shown either.
            writeln!(stderr).ok()?;
        }
        drop(quiet);
        let answer = answer.trim_end_matches(['\r', '\n']).to_owned();
        (read > 0 && (!answer.is_empty() || question == Question::ClientSecret)).then_some(answer)
    }
}

/// A terminal that does not show what is typed, until this is dropped or the user interrupts.
struct Quiet;

/// How the terminal was before.
static BEFORE: Mutex<Option<Termios>> = Mutex::new(None);

impl Quiet {
    /// `None` where the terminal cannot be told so.
    fn new() -> Option<Quiet> {
        static HANDLED: OnceLock<bool> = OnceLock::new();
        let handled = || {
            let restored = || {
                restore();
                std::process::exit(ExitCode::Interrupted as i32);
            };
            ctrlc::set_handler(restored).is_ok()
        };
        if !*HANDLED.get_or_init(handled) {
            return None;
        }
        let before = tcgetattr(std::io::stdin()).ok()?;
        let mut silent = before.clone();
        silent.local_modes.remove(LocalModes::ECHO);
        *BEFORE.lock().ok()? = Some(before);
        tcsetattr(std::io::stdin(), OptionalActions::Flush, &silent).ok()?;
        Some(Quiet)
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        restore();
    }
}

fn restore() {
    if let Some(before) = BEFORE.lock().ok().and_then(|mut before| before.take()) {
        // A terminal that has gone cannot be restored, and needs no restoring.
        let _ = tcsetattr(std::io::stdin(), OptionalActions::Now, &before);
    }
}

fn header(text: &str) -> Result<(String, String), String> {
    match text.split_once(':') {
        Some((name, value)) if !name.trim().is_empty() => Ok((name.trim().to_owned(), value.trim().to_owned())),
        _ => Err(format!("expected a header such as `X-Tenant: shop`, saw `{text}`")),
    }
}

fn name(text: &str) -> Result<String, String> {
    let fine = text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'));
    if fine && !text.is_empty() && text.len() <= 64 && !text.starts_with(['-', '.']) {
        Ok(text.to_owned())
    } else {
        Err("expected letters, digits and dashes".to_owned())
    }
}

fn field(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.trim().is_empty() => Ok((name.trim().to_owned(), value.to_owned())),
        _ => Err(format!("expected a field and its value such as `email=${{user.login}}`, saw `{text}`")),
    }
}

fn body(text: &str) -> Result<BodyKind, String> {
    match text {
        "json" => Ok(BodyKind::Json),
        "form" => Ok(BodyKind::Form),
        _ => Err("expected `json` or `form`".to_owned()),
    }
}
