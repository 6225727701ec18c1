//! Which server do the flags mean? A profile with what the command line says of user, variant and address.

use std::path::Path;

use assay::scenario::{Running, Scenario, Topologies, Topology, suggestion};
use assay::target::{self, Asked, Profile, User};

use super::args::ProfileArgs;
use super::{Failure, Global};

/// The profile that the flags name.
pub fn of_flags(how: &ProfileArgs) -> Result<Profile, Failure> {
    let Some(name) = &how.profile else {
        return Err(Failure::usage(
            "expected `--profile NAME|FILE` beside `--target`; hint: `assay list profiles` shows those built in, `assay init URL` writes one",
        ));
    };
    let profile = target::load(name, how.variant.as_deref(), Path::new("."))?;
    with_flags(profile, how)
}

/// A profile with the user of the command line.
pub fn with_flags(mut profile: Profile, how: &ProfileArgs) -> Result<Profile, Failure> {
    profile.asked = Asked { login: how.user.is_some(), password: how.password.is_some() };
    match (&how.user, &how.password) {
        (None, None) => {}
        (Some(login), Some(password)) => {
            // Whatever the server calls the profile's user, it calls another one otherwise.
            let id = profile.user.as_ref().filter(|user| user.login == *login).and_then(|user| user.id.clone());
            profile.user = Some(User { login: login.clone(), password: password.clone(), id });
        }
        (Some(login), None) => {
            let known = [&profile.user, &profile.second_user].into_iter().flatten().find(|user| user.login == *login);
            let Some(user) = known.cloned() else {
                return Err(Failure::usage(format!(
                    "--user {login}: expected a password beside it; hint: `--password`, or the variable ASSAY_PASSWORD"
                )));
            };
            profile.user = Some(user);
        }
        // The variable may be set for another command of the same script.
        (None, Some(password)) => match profile.user.as_mut() {
            Some(user) => user.password = password.clone(),
            None => {
                return Err(Failure::usage("--password: expected `--user` beside it, since the profile has no user"));
            }
        },
    }
    Ok(profile)
}

/// A scenario around addresses that already run.
pub fn scenario_of(name: &str, targets: &[(String, String)], how: &ProfileArgs, global: &Global) -> Scenario {
    let running = |url: &String| Topology::Running(Running { url: url.clone(), admin_url: how.admin.clone() });
    Scenario {
        schema: None,
        name: name.to_owned(),
        target: how.profile.clone().unwrap_or_default(),
        variant: how.variant.clone(),
        allow_remote: global.allow_remote.clone(),
        topologies: targets.iter().map(|(name, url)| (name.clone(), running(url))).collect::<Topologies>(),
        conformance: None,
        load: None,
        thresholds: Vec::new(),
        compare: None,
        reports: ["html", "json", "junit"].map(str::to_owned).to_vec(),
    }
}

/// Refuses operations in a mix that the profile does not have.
pub fn know_words<'a>(words: impl Iterator<Item = &'a String>, profile: &Profile) -> Result<(), Failure> {
    let known = profile.words();
    let names: Vec<&str> = known.iter().map(String::as_str).collect();
    for word in words {
        if profile.resolve(word).is_none() {
            let hint = suggestion(word, &names).map(|hint| format!("; hint: {hint}")).unwrap_or_default();
            return Err(Failure::usage(format!(
                "--mix: the profile `{}` has no operation `{word}`{hint}",
                profile.name
            )));
        }
    }
    Ok(())
}
