//! Where does the output of a process go? Into a file that it writes itself, so that a chatty one never blocks
//! and never costs the generator time; the file is kept below a limit.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use super::error::LaunchError;

/// The most that is kept of one log: a load of minutes fits; what comes after the cut is kept instead of what came before it.
pub(super) const LIMIT: u64 = 64 << 20;
/// What stays of a log that reached the limit: its beginning.
const KEPT: u64 = 16 << 20;
/// Lines shown when something fails.
const SHOWN: usize = 20;
/// Bytes of them.
const SHOWN_BYTES: u64 = 16 << 10;

/// A log of one process; outlives its restarts.
#[derive(Clone, Debug)]
pub(super) struct Log {
    path: PathBuf,
    /// Where the present start begins.
    from: u64,
}

impl Log {
    /// Opens it for appending; what is in it stays.
    pub(super) fn open(path: &Path) -> Result<(Log, File), LaunchError> {
        let wrong = || LaunchError::io(format!("opening the log {}", path.display()));
        let file = OpenOptions::new().create(true).append(true).open(path).map_err(wrong())?;
        let from = file.metadata().map_err(wrong())?.len();
        Ok((Log { path: path.to_owned(), from }, file))
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The first bytes of this start, at most 64 KiB: where a ready line is.
    pub(super) fn head(&self) -> String {
        self.read(self.from, 64 << 10)
    }

    /// The last lines of this start.
    pub(super) fn tail(&self) -> String {
        let length = std::fs::metadata(&self.path).map_or(0, |meta| meta.len());
        let text = self.read(self.from.max(length.saturating_sub(SHOWN_BYTES)), SHOWN_BYTES);
        let lines: Vec<&str> = text.lines().collect();
        let shown = &lines[lines.len().saturating_sub(SHOWN)..];
        if shown.is_empty() { "  (no output)".to_owned() } else { format!("  {}", shown.join("\n  ")) }
    }

    fn read(&self, from: u64, most: u64) -> String {
        let mut bytes = Vec::new();
        let _ = File::open(&self.path).and_then(|mut file| {
            file.seek(SeekFrom::Start(from))?;
            file.take(most).read_to_end(&mut bytes)
        });
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

/// Cuts a log that reached the limit. Its writers append, so they go on behind the cut.
pub(super) fn keep_below_limit(path: &Path) {
    if std::fs::metadata(path).is_ok_and(|meta| meta.len() > LIMIT)
        && let Ok(file) = OpenOptions::new().write(true).open(path)
    {
        let _ = file.set_len(KEPT);
    }
}
