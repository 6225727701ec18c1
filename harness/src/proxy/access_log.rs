//! What was asked for, and what came of it? One line per request, without headers and without the query.

use std::fs::{File, OpenOptions};
use std::io::{BufWriter, Write};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use crate::clock;
use crate::units::Nanos;

/// A run of minutes at full speed; what comes after is not written.
const LIMIT: u64 = 64 << 20;

/// An access log, shared by the threads.
pub(super) struct AccessLog {
    file: Mutex<(BufWriter<File>, u64)>,
}

impl AccessLog {
    /// Opens it for appending.
    pub(super) fn open(path: &Path) -> std::io::Result<AccessLog> {
        let file = OpenOptions::new().create(true).append(true).open(path)?;
        Ok(AccessLog { file: Mutex::new((BufWriter::with_capacity(64 << 10, file), 0)) })
    }

    /// One line. `more` is what a flaw adds to it.
    pub(super) fn line(&self, method: &http::Method, path: &str, status: u16, took: Nanos, more: &str) {
        let at = clock::unix();
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let (out, written) = &mut *file;
        if *written < LIMIT {
            let line =
                format!("{at:.3} 127.0.0.1 \"{method} {path} HTTP/1.1\" {status} {:.3}ms{more}\n", took.0 as f64 / 1e6);
            *written += line.len() as u64;
            let _ = out.write_all(line.as_bytes());
        }
    }

    /// Writes out what is buffered.
    pub(super) fn flush(&self) {
        let _ = self.file.lock().unwrap_or_else(PoisonError::into_inner).0.flush();
    }
}
