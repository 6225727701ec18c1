//! The program itself, as a user starts it.
#![allow(dead_code, reason = "every test file takes the part that it needs")]

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

/// A scenario with one small server.
pub const HEAD: &str = "name: small\ntarget: reference\ntopologies:\n  bare: [{reference-server: {hash: none}}]\n";

/// What the program answered.
pub struct Said {
    pub code: i32,
    pub out: String,
    pub err: String,
}

pub fn assay(arguments: &[&str]) -> Said {
    said(
        Command::new(env!("CARGO_BIN_EXE_assay"))
            .args(arguments)
            .current_dir(root())
            .output()
            .expect("the program starts"),
    )
}

pub fn said(output: Output) -> Said {
    Said {
        code: output.status.code().unwrap_or(-1),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// The repository.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace")
}

/// `assay serve`, ended when dropped.
pub struct Served {
    pub child: Child,
    pub url: String,
    pub admin: String,
}

impl Served {
    pub fn start(arguments: &[&str]) -> Served {
        let mut child = Command::new(env!("CARGO_BIN_EXE_assay"))
            .args(["serve", "--port", "0", "--admin-port", "0", "--hash", "none"])
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the server starts");
        let mut lines = BufReader::new(child.stdout.take().expect("its output")).lines();
        let mut next = |what: &str| {
            let line = lines.next().expect("a line").expect("text");
            line.strip_prefix(what).unwrap_or_else(|| panic!("expected `{what}...`, saw `{line}`")).to_owned()
        };
        let url = next("listening on ");
        let admin = next("admin on ");
        Served { child, url, admin }
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub fn scenario(text: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("s.yaml"), text).expect("written");
    folder
}
