//! Which server do the flags mean? A profile with what the command line says of user, variant and address.

use std::path::Path;

use assay::run::{ReadScenario, open_scenario};
use assay::scenario::{Running, Scenario, Topologies, Topology, suggestion};
use assay::target::{self, Asked, Profile, User};

use super::args::ProfileArgs;
use super::{Failure, Global, tell};

/// The profile that the flags name.
pub fn of_flags(how: &ProfileArgs, global: &Global) -> Result<Profile, Failure> {
    let Some(name) = &how.profile else {
        return Err(Failure::usage(
            "expected `--profile NAME|FILE` beside `--target`; hint: `assay list profiles` shows those built in, `assay init URL` writes one",
        ));
    };
    let profile = target::load(name, how.variant.as_deref(), Path::new("."))?;
    with_flags(profile, how, global)
}

/// Refuses the address of hooks where none is used.
pub fn without_hooks(how: &ProfileArgs, what: &str) -> Result<(), Failure> {
    match how.admin {
        None => Ok(()),
        Some(_) => Err(Failure::usage(format!(
            "--admin: {what} uses no admin hooks; hint: leave it out here, `assay check` takes it"
        ))),
    }
}

/// What a scenario and the flags beside it ask for: its profile and its servers, as the flags change them.
pub fn beside_scenario(
    file: &Path,
    how: &ProfileArgs,
    global: &Global,
) -> Result<(ReadScenario, Scenario, Profile), Failure> {
    let read = open_scenario(file, &global.allow_remote)?;
    super::run::warn(&read.warnings, global);
    let mut scenario = read.loaded.scenario.clone();
    let mut profile = read.profile.clone();
    if let Some(variant) = &how.variant {
        profile = target::load(&scenario.target, Some(variant), &read.loaded.source.folder)?;
        scenario.variant = Some(variant.clone());
    }
    if let Some(admin) = &how.admin {
        let running: Vec<&mut Running> = scenario
            .topologies
            .values_mut()
            .filter_map(|topology| match topology {
                Topology::Running(running) => Some(running),
                Topology::Chain(_) => None,
            })
            .collect();
        if running.is_empty() {
            return Err(Failure::usage(
                "--admin: expected a topology with `url:` in the scenario, saw only servers that Assay starts; hint: it knows the hooks of those",
            ));
        }
        running.into_iter().for_each(|running| running.admin_url = Some(admin.clone()));
    }
    let profile = with_flags(profile, how, global)?;
    Ok((read, scenario, profile))
}

/// A profile with the users of the command line.
fn with_flags(mut profile: Profile, how: &ProfileArgs, global: &Global) -> Result<Profile, Failure> {
    profile.asked = Asked {
        login: how.user.is_some(),
        password: how.password.is_some(),
        second_login: how.second_user.is_some(),
        second_password: how.second_password.is_some(),
    };
    if let Some(login) = &how.user {
        first_user(&mut profile, login, how, global)?;
    } else if let Some(password) = &how.password {
        // The variable may be set for another command of the same script.
        match profile.user.as_mut() {
            Some(user) => user.password.clone_from(password),
            None => {
                return Err(Failure::usage("--password: expected `--user` beside it, since the profile has no user"));
            }
        }
    }
    second_user(&mut profile, how)?;
    Ok(profile)
}

/// Lets the second user be whom the flags name.
fn second_user(profile: &mut Profile, how: &ProfileArgs) -> Result<(), Failure> {
    let first = profile.user.as_ref().map(|user| user.login.as_str());
    let Some(login) = &how.second_user else {
        if let (Some(user), Some(password)) = (profile.second_user.as_mut(), &how.second_password) {
            user.password.clone_from(password);
        }
        return Ok(());
    };
    if first == Some(login.as_str()) {
        return Err(Failure::usage(format!(
            "--second-user {login}: expected another user than the first; hint: checks let the two look at each other's things"
        )));
    }
    let known = profile.second_user.take().filter(|user| user.login == *login);
    let Some(password) = how.second_password.clone().or_else(|| known.as_ref().map(|user| user.password.clone()))
    else {
        return Err(Failure::usage(format!(
            "--second-user {login}: expected a password beside it; hint: `--second-password`, or the variable ASSAY_SECOND_PASSWORD"
        )));
    };
    profile.second_user = Some(User { login: login.clone(), password, id: known.and_then(|user| user.id) });
    Ok(())
}

/// Lets `login` be the profile's user. Who is known as the second user changes places with the first; beside a stranger the
/// second user of the profile may be anybody, so it is not used.
fn first_user(profile: &mut Profile, login: &str, how: &ProfileArgs, global: &Global) -> Result<(), Failure> {
    let named = |user: &Option<User>| user.as_ref().is_some_and(|user| user.login == login);
    if named(&profile.second_user) {
        std::mem::swap(&mut profile.user, &mut profile.second_user);
    }
    if named(&profile.user) {
        if let (Some(user), Some(password)) = (profile.user.as_mut(), &how.password) {
            user.password.clone_from(password);
        }
        return Ok(());
    }
    let Some(password) = &how.password else {
        return Err(Failure::usage(format!(
            "--user {login}: expected a password beside it; hint: `--password`, or the variable ASSAY_PASSWORD"
        )));
    };
    profile.user = Some(User { login: login.to_owned(), password: password.clone(), id: None });
    if let (Some(second), None) = (profile.second_user.take(), &how.second_user)
        && !global.quiet
    {
        tell(format_args!(
            "note: `{login}` is no user of the profile `{}`, so its second user `{}` is not used either; `--second-user` names one",
            profile.name, second.login
        ));
    }
    Ok(())
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
