//! Which log files are whose, and what has been written to them since?

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use crate::conformance::probe::Probe;
use crate::launch::{Kind, LogFile, topologies};
use crate::target::Profile;

/// At most this much of a log is read: what a check writes is far less, and a busy server's log is not ours to keep.
const MOST: u64 = 16 << 20;

/// Where logs ended when a check began.
pub(super) struct Logs {
    ends: BTreeMap<PathBuf, (u64, bool)>,
    /// Of these we have the profile's word only.
    named: Vec<PathBuf>,
}

/// What was written to a log since.
pub(super) struct Written {
    /// The log.
    pub(super) path: PathBuf,
    /// Written by a proxy.
    pub(super) proxys: bool,
    /// The new text.
    pub(super) text: String,
    /// The profile names it: whether the server writes there shows only when it does. Of what Assay started it knows.
    named: bool,
}

impl Written {
    /// Whether it shows what the server writes, be that nothing.
    pub(super) fn tells(&self) -> bool {
        !self.named || !self.text.trim().is_empty()
    }
}

impl Logs {
    /// The logs of the profile and of what Assay started, as they are now.
    pub(super) fn now(p: &Probe<'_>) -> Logs {
        let end = |path: &Path| std::fs::metadata(path).map(|m| m.len()).unwrap_or(0);
        let ends = p.session.logs.iter().map(|log| (log.path.clone(), (end(&log.path), log.proxys))).collect();
        Logs { ends, named: named_logs(p.profile()).map(|log| log.path).collect() }
    }

    /// What was written since, by file. A file that was cut meanwhile is read whole.
    pub(super) fn since(&self) -> impl Iterator<Item = Written> {
        self.ends.iter().filter_map(|(path, (end, proxys))| {
            let (named, text) = (self.named.contains(path), read_from(path, *end)?);
            Some(Written { path: path.clone(), proxys: *proxys, text, named })
        })
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }
}

/// The logs that a profile names; whose they are is told by their names.
pub(in crate::conformance) fn named_logs(profile: &Profile) -> impl Iterator<Item = LogFile> {
    profile.logs.iter().map(|log| profile.path(log)).map(|path| LogFile { proxys: is_proxys(&path), path })
}

fn read_from(path: &Path, end: u64) -> Option<String> {
    let mut file = File::open(path).ok()?;
    let length = file.metadata().ok()?.len();
    let start = if length < end { 0 } else { end };
    file.seek(SeekFrom::Start(start.max(length.saturating_sub(MOST)))).ok()?;
    let mut bytes = Vec::new();
    file.take(MOST).read_to_end(&mut bytes).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

/// Whether a log is a proxy's, by the usual names of files and folders: `nginx.log`, `nginx/access.log`.
fn is_proxys(path: &Path) -> bool {
    let kind_of = |name: &str| topologies().iter().find(|row| name.contains(row.name)).map(|row| row.kind);
    let stem = path.file_stem().and_then(|s| s.to_str()).unwrap_or_default();
    let folder = path.parent().and_then(Path::file_name).and_then(|s| s.to_str()).unwrap_or_default();
    kind_of(stem).or_else(|| kind_of(folder)) == Some(Kind::Proxy)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logs_are_told_apart_by_their_names() {
        for (path, proxys) in [
            ("/var/log/haproxy.log", true),
            ("/srv/logs/reference-server.log", false),
            ("/srv/logs/embedded-proxy.log", true),
            ("/var/log/nginx/access.log", true),
            ("/srv/app/django.log", false),
        ] {
            assert_eq!(is_proxys(Path::new(path)), proxys, "{path}");
        }
    }

    #[test]
    fn only_what_is_new_is_read_unless_the_file_was_cut() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.log");
        std::fs::write(&path, "old new").unwrap();
        assert_eq!(read_from(&path, 4).unwrap(), "new");
        assert_eq!(read_from(&path, 400).unwrap(), "old new");
        assert_eq!(read_from(Path::new("/nowhere"), 0), None);
    }
}
