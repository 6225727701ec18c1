//! How is the server changed from outside? The admin hooks of a profile.

use std::time::Duration;

use crate::target::{Target, Vars};
use crate::wire;

/// The longest that a hook may take: a restart is the slowest.
const DEADLINE: Duration = Duration::from_secs(20);

/// Calls a hook and sees that it did its work; else what went wrong.
pub(super) fn run(target: &Target, hook: &str, vars: &Vars) -> Result<(), String> {
    if let Some(result) = target.hook_command(hook, vars) {
        return result.map_err(|e| e.to_string());
    }
    let (request, endpoint) = target
        .hook(hook, vars)
        .ok_or_else(|| format!("the profile has no hook `{hook}`"))?
        .map_err(|e| e.to_string())?;
    let reply = wire::ask(endpoint, &target.tls, &request, DEADLINE).map_err(|e| e.to_string())?;
    if target.hook_accepted(hook, &reply) {
        Ok(())
    } else {
        Err(format!("it answered {}: {}", reply.status, reply.text().chars().take(200).collect::<String>()))
    }
}
