//! Do the libraries of others understand the server, and it them? PyJWT, SimpleJWT, Authlib, requests-oauthlib, jose and openid-client, as
//! they come from PyPI and npm, on every algorithm. Where Python, node or the package index are out of reach, a test says so.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use reference_server::{Algorithm, Encryption};
use serde_json::{Value, json};

use super::process::Process;
use super::services::pass_over;

fn here() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/interop")
}

/// Where prepared environments are kept, as by `assay`.
fn cache() -> PathBuf {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    set("ASSAY_CACHE")
        .or_else(|| set("XDG_CACHE_HOME").map(|folder| folder.join("assay")))
        .or_else(|| set("HOME").map(|folder| folder.join(".cache/assay")))
        .unwrap_or_else(|| std::env::temp_dir().join("assay-cache"))
}

fn run(program: &Path, arguments: &[&str], folder: &Path) -> Result<String, String> {
    let output = Command::new(program)
        .args(arguments)
        .current_dir(folder)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("{}: {error}", program.display()))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    Err(format!("{}: {}", program.display(), said.lines().last().unwrap_or("it fails and says nothing")))
}

/// A folder that `make` fills once for what `named` says; kept for the next run.
fn prepared(kind: &str, named: &[String], make: impl FnOnce(&Path) -> Result<(), String>) -> Result<PathBuf, String> {
    let mut hasher = DefaultHasher::new();
    named.hash(&mut hasher);
    let folder = cache().join(format!("{kind}-{:016x}", hasher.finish()));
    std::fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    // Another test run may be making the same one.
    let complete = folder.join("assay-complete");
    let lock = std::fs::File::create(folder.with_extension("lock")).map_err(|error| error.to_string())?;
    lock.lock().map_err(|error| error.to_string())?;
    if !complete.exists() {
        make(&folder)?;
        std::fs::write(&complete, "").map_err(|error| error.to_string())?;
    }
    Ok(folder)
}

fn python() -> Result<PathBuf, String> {
    let which = Path::new("python3");
    let version = run(which, &["-c", "import sys; print(sys.implementation.cache_tag, sys.base_prefix)"], &here())?;
    let requirements = std::fs::read_to_string(here().join("requirements.txt")).expect("requirements.txt");
    let folder = prepared("peers-python", &[version, requirements], |folder| {
        let at = folder.display().to_string();
        run(which, &["-m", "venv", "--clear", &at], &here())?;
        let quiet = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", "requirements.txt"];
        run(&folder.join("bin/python"), &quiet, &here()).map(drop)
    })?;
    Ok(folder.join("bin/python"))
}

fn node() -> Result<PathBuf, String> {
    let version = run(Path::new("node"), &["--version"], &here())?;
    let major = version.trim().trim_start_matches('v').split('.').next().and_then(|text| text.parse::<u32>().ok());
    if major.is_none_or(|major| major < 20) {
        return Err(format!("jose needs node 20 or later, saw {}", version.trim()));
    }
    let files = ["package.json", "package-lock.json"];
    let texts = files.map(|name| std::fs::read_to_string(here().join(name)).expect(name));
    let named: Vec<String> = [version].into_iter().chain(texts).collect();
    prepared("peers-node", &named, |folder| {
        for name in files {
            std::fs::copy(here().join(name), folder.join(name)).map_err(|error| error.to_string())?;
        }
        run(Path::new("npm"), &["ci", "--no-audit", "--no-fund", "--ignore-scripts"], folder).map(drop)
    })
}

/// A server of each algorithm, and one of each encryption, with the files of its keys.
fn servers() -> (Vec<Process>, Value) {
    let mut all = Vec::new();
    let mut described = |option: &str, alg: &str, is_secret: bool| {
        let process = Process::start(&[option, alg]);
        let key = |ending: &str| {
            let name = format!("keys/{}-development-only.{ending}", alg.to_ascii_lowercase());
            Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
        };
        let private = key(if is_secret { "secret" } else { "pem" });
        let told = json!({"alg": alg, "url": process.url, "private": private, "public": key("pub.pem")});
        all.push(process);
        told
    };
    let signed: Vec<Value> =
        Algorithm::all().iter().map(|row| described("--alg", row.name, row.name.starts_with("HS"))).collect();
    let sealed: Vec<Value> =
        Encryption::ALL.iter().map(|row| described("--encrypt", row.name(), row.name() == "dir")).collect();
    (all, json!({"servers": signed, "sealed": sealed}))
}

/// Runs a script of `tests/interop` with the servers on its input; gives the lines that it wrote, one per peer and algorithm.
fn lines(program: &Path, script: &Path) -> Vec<String> {
    let (servers, plan) = servers();
    let mut child = Command::new(program)
        .arg(script)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it ran before");
    let input = child.stdin.take().expect("piped");
    serde_json::to_writer(input, &plan).expect("the plan is read");
    let output = child.wait_with_output().expect("it ends");
    drop(servers);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect()
}

fn told<'a>(peer: &'a str, algorithms: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    algorithms.into_iter().map(|alg| format!("{peer} {alg}")).collect()
}

#[test]
fn python_s_libraries_and_the_server_understand_each_other() {
    let python = match python() {
        Ok(python) => python,
        Err(why) => return pass_over("PyJWT, SimpleJWT, Authlib, requests-oauthlib", &why),
    };
    let mut expected = told("PyJWT", Algorithm::all().iter().map(|row| row.name));
    expected.extend(["SimpleJWT HS256", "Authlib ES256", "requests-oauthlib ES256"].map(str::to_owned));
    expected.extend(["Authlib RS256", "requests-oauthlib RS256"].map(str::to_owned));
    assert_eq!(lines(&python, &here().join("peers.py")), expected);
}

#[test]
fn jose_and_openid_client_and_the_server_understand_each_other() {
    let folder = match node() {
        Ok(folder) => folder,
        Err(why) => return pass_over("jose, openid-client", &why),
    };
    // Node looks for packages beside the script.
    let script = folder.join("peers.mjs");
    std::fs::copy(here().join("peers.mjs"), &script).expect("the folder can be written");
    let mut expected = told("jose", Algorithm::all().iter().map(|row| row.name));
    expected.extend(told("jose", Encryption::ALL.iter().map(|row| row.name())));
    expected.extend(told("openid-client", ["RS256", "ES256", "EdDSA"]));
    assert_eq!(lines(Path::new("node"), &script), expected);
}
