//! Where does a run lie on disk, and how is it written so that a crash leaves the old or the new?

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use super::{Run, SCHEMA_VERSION};

/// A run that could not be written or read.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The folder or a file in it could not be written.
    #[error("could not write {}: {source}", path.display())]
    Write {
        /// What was being written.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The run could not be read.
    #[error("could not read {}: {source}", path.display())]
    Read {
        /// What was being read.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is not a run.
    #[error("{} is not a run of Assay: {reason}", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// Where it differs.
        reason: String,
    },
}

/// The folder of one run: `reports/<scenario>-<utc>-<id>/`.
#[derive(Clone, Debug)]
pub struct RunDir {
    path: PathBuf,
    id: String,
}

impl RunDir {
    /// Makes `<root>/<scenario>-<utc>-<random>/`, creating `root` too.
    pub fn create(root: &Path, scenario: &str) -> Result<RunDir, StoreError> {
        let stamp: String = crate::clock::utc_text().chars().filter(|c| !matches!(c, '-' | ':')).collect();
        let slug: String =
            scenario.chars().map(|c| if c.is_ascii_alphanumeric() || c == '-' { c } else { '-' }).collect();
        let id = format!("{slug}-{stamp}-{:06x}", rand::random::<u32>() & 0xff_ffff);
        RunDir::at(root.join(&id))
    }

    /// Uses a folder that the user named, creating it if need be.
    pub fn at(path: PathBuf) -> Result<RunDir, StoreError> {
        fs::create_dir_all(&path).map_err(|source| StoreError::Write { path: path.clone(), source })?;
        let id = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        let dir = RunDir { path, id };
        dir.write("logs/.probe", b"")?;
        let _ = fs::remove_file(dir.path.join("logs/.probe"));
        Ok(dir)
    }

    /// The folder's name.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where the logs of started processes go.
    pub fn logs(&self) -> PathBuf {
        self.path.join("logs")
    }

    /// Writes one file of the run: complete or not at all.
    pub fn write(&self, name: &str, bytes: &[u8]) -> Result<PathBuf, StoreError> {
        let path = self.path.join(name);
        let attempt = || -> std::io::Result<()> {
            let folder = path.parent().unwrap_or(&self.path);
            fs::create_dir_all(folder)?;
            let mut file = tempfile::NamedTempFile::new_in(folder)?;
            file.write_all(bytes)?;
            file.as_file().sync_data()?;
            use std::os::unix::fs::PermissionsExt as _;
            file.as_file().set_permissions(fs::Permissions::from_mode(0o644))?;
            file.persist(&path).map_err(|e| e.error)?;
            Ok(())
        };
        attempt().map_err(|source| StoreError::Write { path: path.clone(), source })?;
        Ok(path)
    }

    /// Writes `run.json`.
    pub fn save(&self, run: &Run) -> Result<PathBuf, StoreError> {
        let mut text = serde_json::to_vec_pretty(run)
            .map_err(|e| StoreError::Write { path: self.path.join("run.json"), source: std::io::Error::other(e) })?;
        text.push(b'\n');
        self.write("run.json", &text)
    }
}

/// Reads a run from its folder or from its `run.json`.
pub fn load(path: &Path) -> Result<Run, StoreError> {
    let file = if path.is_dir() { path.join("run.json") } else { path.to_owned() };
    let bytes = fs::read(&file).map_err(|source| StoreError::Read { path: file.clone(), source })?;
    let value: serde_json::Value =
        serde_json::from_slice(&bytes).map_err(|e| StoreError::Format { path: file.clone(), reason: e.to_string() })?;
    match value.get("schema_version").and_then(|v| v.as_u64()) {
        Some(v) if v == u64::from(SCHEMA_VERSION) => {}
        Some(v) => {
            let reason = format!("expected schema_version {SCHEMA_VERSION}, saw {v}");
            return Err(StoreError::Format { path: file, reason });
        }
        None => return Err(StoreError::Format { path: file, reason: "it has no schema_version".into() }),
    }
    serde_json::from_value(value).map_err(|e| StoreError::Format { path: file, reason: e.to_string() })
}
