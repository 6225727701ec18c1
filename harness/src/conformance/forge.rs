//! How is the token of a finding made again? The check itself is run, up to the moment where it has that token.

use std::sync::atomic::AtomicBool;

use crate::record::{Redactor, Verdict};
use crate::scenario::Budget;
use crate::target::Target;

use super::calibrate;
use super::catalogue::find;
use super::descriptor::{Check, Isolation, Need, cost};
use super::engine::{capabilities, redactor};
use super::probe::{Forged, Probe, Stop, Wanted};
use super::session::Session;

/// Why there is no token.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ForgeError {
    /// The check sends no token under this name, or none at all.
    #[error("{0}")]
    NoToken(String),
    /// The check cannot be tried on this target: what is missing.
    #[error("{0}")]
    NotTried(String),
    /// A fault of ours.
    #[error("{0}")]
    Harness(String),
}

/// Genuine tokens, for the lines of findings that show one beside another; no check of the catalogue.
pub(super) static LOGIN: Check = Check {
    needs: &[Need::Issue],
    variants: &["access", "refresh", "second-access", "second-refresh"],
    isolation: Isolation::User,
    cost: cost(2, 1),
    sends: "the credentials of the profile's users",
    run: |probe| {
        let own = probe.login()?;
        let offer = |probe: &Probe<'_>, name: &str, token: Option<String>| {
            token.map_or(Ok(()), |token| probe.offer(name, &token))
        };
        offer(probe, "access", own.access)?;
        offer(probe, "refresh", own.refresh)?;
        let second = probe.profile().second_user.clone().ok_or_else(|| Stop::needs(Need::SecondUser))?;
        let vars = probe.vars().user(&second);
        let other = probe.login_with(&vars)?;
        offer(probe, "second-access", other.access)?;
        offer(probe, "second-refresh", other.refresh)
    },
    ..Check::control("login", "a login brings tokens")
};

/// The check whose token is to be made: one of the catalogue, or `login` for genuine tokens.
///
/// # Errors
/// In words for the user, with a hint.
pub fn forgeable(id: &str) -> Result<&'static Check, String> {
    if id == LOGIN.id { Ok(&LOGIN) } else { find(id) }
}

/// Makes the token that a check sends: that of a variant, or the first one. What the check does to the target before
/// it has the token (a login, a revocation) is done. `then` is told of the token while all that the check has set up for
/// it, such as a listener that it leads to, is still there.
///
/// # Errors
/// See [`ForgeError`].
pub fn forge(
    target: &Target,
    check: &'static Check,
    variant: Option<&str>,
    cancel: &AtomicBool,
    then: &dyn Fn(&str),
) -> Result<String, ForgeError> {
    let quiet = |_: &str| {};
    let first = Wanted { variant: variant.unwrap_or_default(), then, before: None };
    let (ended, forged) = attempt(target, check, first, cancel)?;
    // What a refresh or a revocation has used up shows nothing again: another one is made, up to where it was used.
    if let (false, Some(_), Some(number)) = (matches!(ended, Err(Stop::Captured(_))), &forged.token, forged.used_by) {
        let again = Wanted { then: &quiet, before: Some(number), ..first };
        if let (Err(Stop::Captured(token)), _) = attempt(target, check, again, cancel)? {
            then(&token);
            return Ok(token);
        }
    }
    let blank = || {
        let what = variant.map_or_else(|| check.id.to_owned(), |v| format!("{}/{v}", check.id));
        ForgeError::NoToken(format!("{what} sends no token that could be made beforehand, or found nothing this time"))
    };
    match (ended, forged.token) {
        (Err(Stop::Captured(token)), _) => Ok(token),
        (_, Some(token)) => {
            then(&token);
            Ok(token)
        }
        (Err(Stop::Skip(reason)), None) => Err(ForgeError::NotTried(format!("{}: {reason}", check.id))),
        (Err(Stop::Inconclusive(why)), None) => Err(ForgeError::NotTried(why)),
        (Err(Stop::Cancelled | Stop::Alone), None) => Err(ForgeError::NotTried("interrupted".to_owned())),
        (Err(Stop::Harness(why)), None) => Err(ForgeError::Harness(why)),
        (Ok(()), None) => {
            let of_variant = |name: &Option<String>| variant.is_none() || name.as_deref() == variant;
            let skipped = forged
                .observations
                .iter()
                .find(|o| of_variant(&o.variant) && matches!(o.verdict, Verdict::NotApplicable | Verdict::Blocked));
            Err(skipped.map_or_else(blank, |o| ForgeError::NotTried(format!("{}: {}", check.id, o.summary))))
        }
    }
}

/// Runs the check once, for a token.
fn attempt(
    target: &Target,
    check: &'static Check,
    wanted: Wanted<'_>,
    cancel: &AtomicBool,
) -> Result<(Result<(), Stop>, Forged), ForgeError> {
    let logs = Vec::new();
    let mut session = Session::new(target, "forge", cancel, redactor(target, &Redactor::default()));
    session.has = capabilities(target, None, &logs, Budget::Ci);
    if let Some(need) = check.needs.iter().find(|need| !session.has.contains(need)) {
        let (name, by) = (need.name(), need.provided_by());
        return Err(ForgeError::NotTried(format!("{} needs {name}; hint: {by}", check.id)));
    }
    calibrate::calibrate(&mut session, &|_| {}, &mut Vec::new()).map_err(ForgeError::NotTried)?;
    let mut probe = Probe::new(&session, check, &|_| {}, Some(wanted));
    let ended = (check.run)(&mut probe);
    Ok((ended, probe.finish_forging()))
}
