//! `assay forge CHECK[/VARIANT]`: the token of a finding, made again for its curl line.

use std::cell::Cell;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use assay::conformance::{ForgeError, forge, forgeable};
use assay::record::ExitCode;
use assay::run::preflight;
use assay::scenario::suggestion;
use serde_json::json;

use super::args::ForgeArgs;
use super::{Done, Failure, Global, carry, line, profile};

/// Prints the token, and nothing else; or runs the command that was given, with the token in `TOKEN`. Exit code 3 where
/// the check cannot be tried on this target.
pub fn run(args: &ForgeArgs, global: &Global) -> Done {
    let (id, variant) = match args.check.split_once('/') {
        Some((id, variant)) => (id, Some(variant)),
        None => (args.check.as_str(), None),
    };
    let check = forgeable(id).map_err(Failure::usage)?;
    if let Some(variant) = variant.filter(|v| !check.has_variant(v)) {
        let hint = suggestion(variant, check.variants).unwrap_or_else(|| format!("`assay explain {id}` lists them"));
        return Err(Failure::usage(format!("`{id}` has no variant `{variant}`; hint: {hint}")));
    }
    let Some(url) = &args.target.target else {
        return Err(Failure::usage("expected `--target URL` and `--profile NAME`: the token is made for a server"));
    };
    let how = &args.target.how;
    let profile = profile::of_flags(how, global)?;
    let target = preflight("target", &profile, url, how.admin.as_deref(), &global.allow_remote).map_err(carry::fail)?;
    let cancel = Arc::new(AtomicBool::new(false));
    let asked = Arc::clone(&cancel);
    ctrlc::set_handler(move || asked.store(true, Ordering::Relaxed))
        .map_err(|e| Failure::harness(format!("listening for signals: {e}")))?;
    let ran = Cell::new(None);
    let then = |token: &str| {
        if let Some((program, arguments)) = args.command.split_first() {
            ran.set(Some(Command::new(program).args(arguments).env("TOKEN", token).status()));
        }
    };
    let token = forge(&target, check, variant, &cancel, &then).map_err(|error| match error {
        ForgeError::Harness(why) => Failure::harness(why),
        ForgeError::NoToken(why) | ForgeError::NotTried(why) => Failure::Other(ExitCode::Target, why),
    })?;
    if let Some(ended) = ran.take() {
        let program = args.command[0].to_string_lossy();
        return match ended {
            Ok(status) if status.success() => Ok(ExitCode::Ok),
            Ok(status) => Err(Failure::Other(ExitCode::Target, format!("`{program}` ended with {status}"))),
            Err(why) => Err(Failure::usage(format!("`{program}` cannot be started: {why}"))),
        };
    }
    if global.json {
        line(format_args!("{:#}", json!({"check": args.check, "token": token})));
    } else {
        line(format_args!("{token}"));
    }
    Ok(ExitCode::Ok)
}
