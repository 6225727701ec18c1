//! Which servers and proxies can be started, and what do they understand? One row each; nothing else names them.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use super::error::LaunchError;
use super::links;
use super::ready::ReadyBy;
use super::settings::{Setting, Settings};

/// What a link is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The first of a chain.
    Server,
    /// Stands in front of what is written before it.
    Proxy,
}

/// A program that is not ours.
#[derive(Clone, Copy, Debug)]
pub struct Program {
    /// Its name on `PATH` (and in the folders where systems put servers).
    pub name: &'static str,
    /// Arguments that make it print its version.
    pub version: &'static [&'static str],
    /// How it is installed.
    pub install: &'static str,
}

/// A kind of link.
#[derive(Debug)]
pub struct Row {
    /// As written in a chain.
    pub name: &'static str,
    /// What it is, one clause.
    pub what: &'static str,
    /// Server or proxy.
    pub kind: Kind,
    /// Whether it stands in for something real: reports say so.
    pub stand_in: bool,
    /// The program, where it is not ours.
    pub program: Option<Program>,
    /// The settings it understands.
    pub settings: &'static [Setting],
    /// Writes its configuration and says how it is started.
    pub(super) plan: fn(&Site) -> Result<Plan, LaunchError>,
}

/// All kinds of links.
pub fn topologies() -> &'static [Row] {
    &[
        links::reference::ROW,
        links::process::ROW,
        links::embedded::ROW,
        links::nginx::ROW,
        links::haproxy::ROW,
        links::caddy::ROW,
    ]
}

impl Row {
    /// The version that its program prints, where the program is installed.
    pub fn installed_version(&self) -> Option<String> {
        match self.program {
            // A process is the user's own: which version that is, nobody has said.
            None => (self.name != links::process::ROW.name).then(|| env!("CARGO_PKG_VERSION").to_owned()),
            Some(program) => find(program.name).map(|path| version(&path, program.version)),
        }
    }
}

/// Where a link is to stand.
pub(super) struct Site<'a> {
    /// Our own binary.
    pub(super) assay: &'a Path,
    /// The link's program, where it is not ours.
    pub(super) program: &'a Path,
    /// Checked settings.
    pub(super) settings: &'a Settings,
    /// The port to listen on; 0 where the link tells its port itself.
    pub(super) port: u16,
    /// Authority of the link before it: `127.0.0.1:40001`; empty for servers.
    pub(super) upstream: &'a str,
    /// A folder for its configuration, logs and temporary files.
    pub(super) dir: &'a Path,
    /// What relative paths in settings are relative to.
    pub(super) base: &'a Path,
    /// How readiness is asked over HTTP in this chain.
    pub(super) ready: &'a ReadyBy,
}

impl Site<'_> {
    /// Writes a file into the link's folder.
    pub(super) fn write(&self, name: &str, text: &str) -> Result<PathBuf, LaunchError> {
        let path = self.dir.join(name);
        std::fs::write(&path, text).map_err(LaunchError::io(format!("writing {}", path.display())))?;
        Ok(path)
    }

    /// The link's folder as text that no configuration language gives a meaning to.
    pub(super) fn dir_text(&self) -> Result<&str, LaunchError> {
        plain_path(self.dir)
    }
}

/// A path that can be written between double quotes in any of the configuration languages.
pub(super) fn plain_path(path: &Path) -> Result<&str, LaunchError> {
    path.to_str().filter(|text| !text.contains(|c: char| c.is_control() || "\"'\\${}#%".contains(c))).ok_or_else(|| {
        LaunchError::Io {
            what: format!("using the folder {}", path.display()),
            source: std::io::Error::new(
                std::io::ErrorKind::InvalidInput,
                "expected a path without quotes, backslashes and any of ${}#%, which configuration files give a meaning",
            ),
        }
    })
}

/// How a link is started.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) command: Vec<OsString>,
    pub(super) env: BTreeMap<String, OsString>,
    pub(super) cwd: Option<PathBuf>,
    /// A command that must succeed first: the program's own check of the configuration, and that file.
    pub(super) check: Option<(Vec<OsString>, PathBuf)>,
    pub(super) ready: ReadyBy,
    /// Logs that it writes itself.
    pub(super) logs: Vec<PathBuf>,
}

/// Replaces `${name}` in a template by the values given. What is not given stays.
pub(super) fn fill(template: &str, values: &[(&str, &str)]) -> String {
    let mut text = String::with_capacity(template.len() + 256);
    let mut rest = template;
    while let Some(start) = rest.find("${") {
        let Some(length) = rest[start..].find('}') else { break };
        let name = &rest[start + 2..start + length];
        text.push_str(&rest[..start]);
        match values.iter().find(|(known, _)| *known == name) {
            Some((_, value)) => text.push_str(value),
            None => text.push_str(&rest[start..=start + length]),
        }
        rest = &rest[start + length + 1..];
    }
    text.push_str(rest);
    text
}

/// Where a program is: on `PATH`, or in the folders of servers that a user's `PATH` leaves out.
/// Nowhere, if `ASSAY_WITHOUT` (names with commas between) has its name: for a machine whose program is not to be used.
pub(super) fn find(program: &str) -> Option<PathBuf> {
    let unwanted = std::env::var("ASSAY_WITHOUT").unwrap_or_default();
    if unwanted.split(',').any(|name| name.trim() == program) {
        return None;
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let usual = ["/usr/local/sbin", "/usr/sbin", "/sbin", "/usr/local/bin", "/usr/bin", "/opt/homebrew/bin"];
    std::env::split_paths(&path)
        .chain(usual.iter().map(PathBuf::from))
        .map(|folder| folder.join(program))
        .find(|candidate| is_executable(candidate))
}

pub(super) fn is_executable(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    std::fs::metadata(path).is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

/// What a program prints as its version: the first word with a digit and a dot, or the first line. Asked once.
pub(super) fn version(program: &Path, arguments: &[&str]) -> String {
    static ASKED: Mutex<BTreeMap<PathBuf, String>> = Mutex::new(BTreeMap::new());
    let mut asked = ASKED.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if let Some(version) = asked.get(program) {
        return version.clone();
    }
    let said = std::process::Command::new(program)
        .args(arguments)
        .stdin(std::process::Stdio::null())
        .output()
        .map(|output| [output.stdout, output.stderr].concat())
        .unwrap_or_default();
    let version = first_version(&String::from_utf8_lossy(&said));
    asked.insert(program.to_owned(), version.clone());
    version
}

pub(super) fn first_version(text: &str) -> String {
    let first = text.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default();
    let versionlike = |word: &&str| word.contains('.') && word.bytes().any(|b| b.is_ascii_digit());
    let word = first.split_ascii_whitespace().find(versionlike).unwrap_or(first);
    let word = word.rsplit('/').next().unwrap_or(word).trim_start_matches('v');
    word.chars().take(80).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_keeps_what_is_not_its_own() {
        assert_eq!(
            fill("listen ${port}; set $host ${unknown} ${", &[("port", "80")]),
            "listen 80; set $host ${unknown} ${"
        );
    }

    #[test]
    fn versions_are_found_in_what_programs_print() {
        assert_eq!(first_version("nginx version: nginx/1.22.1\n"), "1.22.1");
        assert_eq!(
            first_version("HAProxy version 2.6.12-1+deb12u4 2026/10/17 - https://haproxy.org/"),
            "2.6.12-1+deb12u4"
        );
        assert_eq!(first_version("2.6.2\n"), "2.6.2");
        assert_eq!(first_version("v2.8.4 h1:q3p\n"), "2.8.4");
        assert_eq!(first_version(""), "");
    }

    #[test]
    fn every_setting_is_named_and_described_once() {
        for row in topologies() {
            let mut names: Vec<&str> = row.settings.iter().map(|setting| setting.name).collect();
            names.sort_unstable();
            let count = names.len();
            names.dedup();
            assert_eq!(names.len(), count, "{} names a setting twice", row.name);
            assert!(row.settings.iter().all(|setting| !setting.what.is_empty()), "{}", row.name);
        }
    }
}
