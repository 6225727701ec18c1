//! What does a profile's own program answer? Scripts for flows that need a browser, with a deadline and bounded output.

use std::io::Read;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::judge::Issued;
use super::server::{Target, TargetError};
use super::template::{Filled, TemplateError, Vars};

/// How long a command may take if the profile does not say.
const DEADLINE: Duration = Duration::from_secs(30);
/// Longest output that is read: tokens, not pages.
const MAX_OUTPUT: u64 = 256 * 1024;

impl Target {
    /// Runs the command of an operation and takes the tokens from the JSON that it prints. `returns` are pointers into
    /// that JSON; without them its members `access`, `refresh` and `expires_in` are taken, and all others beside.
    pub fn command(&self, operation: &str, vars: &Vars) -> Result<Issued, TargetError> {
        let described = self.operation(operation)?;
        let Some(command) = &described.command else {
            return Err(TargetError::Command {
                operation: operation.to_owned(),
                why: "the profile gives a request, not a command".into(),
            });
        };
        let deadline = described.deadline.map_or(DEADLINE, |span| span.0);
        let output = self.run(operation, command, vars, deadline)?;
        let failed = |why: String| TargetError::Command { operation: operation.to_owned(), why };
        let json: Value = serde_json::from_str(output.trim()).map_err(|why| {
            failed(format!(
                "expected one JSON object on standard output, saw {} bytes that are none: {why}",
                output.len()
            ))
        })?;
        if !described.returns.is_empty() {
            return self.collect(operation, described, |place| json.pointer(place).filter(|v| !v.is_null()).cloned());
        }
        let members = json.as_object().ok_or_else(|| failed("expected a JSON object on standard output".into()))?;
        let values: std::collections::BTreeMap<_, _> =
            members.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
        let issued = super::judge::issued(values);
        match (operation, &issued.access) {
            ("issue" | "refresh", None) => Err(failed("expected a member `access` in the JSON that it prints".into())),
            _ => Ok(issued),
        }
    }

    /// Runs the command of an admin hook; success is exit status 0.
    pub fn hook_command(&self, name: &str, vars: &Vars) -> Option<Result<(), TargetError>> {
        let hook = self.profile.admin.get(name)?;
        let command = hook.command.as_ref()?;
        let admin = self.admin.as_ref().unwrap_or(&self.endpoint).url();
        let vars = vars.clone().set("admin_url", admin);
        Some(self.run(name, command, &vars, hook.deadline.map_or(DEADLINE, |span| span.0)).map(drop))
    }

    fn run(&self, operation: &str, command: &[String], vars: &Vars, deadline: Duration) -> Result<String, TargetError> {
        let vars = vars.clone().set("url", self.endpoint.url());
        let scope = self.scope(&vars);
        let failed = |why: String| TargetError::Command { operation: operation.to_owned(), why };
        let mut words = Vec::with_capacity(command.len());
        for word in command {
            match scope
                .text(word)
                .map_err(|source: TemplateError| TargetError::Template { operation: operation.to_owned(), source })?
            {
                Filled::With(text) => words.push(text),
                Filled::LeftOut => {}
            }
        }
        let (program, arguments) =
            words.split_first().ok_or_else(|| failed("expected a program, saw an empty list".into()))?;
        // A program with a slash is the profile's own, found from its folder; any other comes from PATH.
        let program_path = if program.contains('/') { self.profile.path(program) } else { program.into() };
        let mut command = Command::new(program_path);
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        if self.profile.folder.is_dir() {
            command.current_dir(&self.profile.folder);
        }
        // Its own process group, so that what it started (a browser, say) ends with it.
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let mut child = Tree(command.spawn().map_err(|why| failed(format!("`{program}` does not start: {why}")))?);
        let stdout = reader(child.0.stdout.take());
        let stderr = reader(child.0.stderr.take());
        let until = Instant::now() + deadline;
        let mut output = None;
        let mut trouble = None;
        // Both pipes are drained by threads; the answer counts once the program has closed its standard output.
        while output.is_none() {
            let left = until.saturating_duration_since(Instant::now());
            match stdout.recv_timeout(left) {
                Ok(text) => output = Some(text),
                Err(_) => {
                    trouble = Some(format!("`{program}` did not end within {}", humantime::format_duration(deadline)));
                    break;
                }
            }
        }
        let status = loop {
            match child.0.try_wait() {
                Ok(Some(status)) => break Some(status),
                Ok(None) if trouble.is_none() && Instant::now() < until => std::thread::sleep(Duration::from_millis(2)),
                _ => break None,
            }
        };
        let said = || {
            let text = stderr.recv_timeout(Duration::from_millis(200)).unwrap_or_default();
            let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
            if lines.is_empty() {
                String::new()
            } else {
                format!("; it said: {}", lines[lines.len().saturating_sub(3)..].join(" | "))
            }
        };
        if let Some(why) = trouble {
            return Err(failed(why));
        }
        match status {
            Some(status) if status.success() => {}
            Some(status) => return Err(failed(format!("`{program}` ended with {status}{}", said()))),
            None => {
                return Err(failed(format!("`{program}` did not end within {}", humantime::format_duration(deadline))));
            }
        }
        let output = output.unwrap_or_default();
        if output.len() as u64 >= MAX_OUTPUT {
            return Err(failed(format!("`{program}` printed more than {} KiB", MAX_OUTPUT / 1024)));
        }
        Ok(output)
    }
}

/// A child whose whole process group ends with us.
struct Tree(Child);

impl Drop for Tree {
    fn drop(&mut self) {
        let group = i32::try_from(self.0.id()).ok().and_then(rustix::process::Pid::from_raw);
        if let Some(group) = group {
            // Nobody is left in the group of a program that ended well; that is no failure.
            let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        }
        let _ = self.0.wait();
    }
}

/// Reads a pipe on a thread of its own, up to the limit, and hands the text over at its end.
fn reader(pipe: Option<impl Read + Send + 'static>) -> std::sync::mpsc::Receiver<String> {
    let (hand, take) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(pipe) = pipe {
            let mut pipe = pipe;
            let read = pipe.by_ref().take(MAX_OUTPUT).read_to_end(&mut bytes);
            if read.is_ok() && bytes.len() as u64 >= MAX_OUTPUT {
                // The rest is thrown away, so that the program does not hang on a full pipe.
                let _ = std::io::copy(&mut pipe, &mut std::io::sink());
            }
        }
        let _ = hand.send(String::from_utf8_lossy(&bytes).into_owned());
    });
    take
}
