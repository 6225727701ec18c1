//! Can the target be judged at all? Controls before anything: genuine accepted, nothing and garbage refused.

use crate::record::{SkipReason, Warning};
use crate::target::{Issued, Meaning, TokenUse, Vars};

use super::answer::{Answer, Axis};
use super::descriptor::{Check, Need};
use super::engine::Event;
use super::probe::{NEXT_SECOND, Probe, Stop};
use super::session::{Held, Manner, PATIENCE, Session, Way};
use super::texts::nameless;

/// What is presented as garbage: no server reads this as a token.
const GARBAGE: &str = "assay-no-token";

/// Characters that are shown of a body that is no token server's.
const SHOWN_OF_STRANGER: usize = 60;

/// The calibration speaks through a probe of its own, under this name.
static CALIBRATION: Check =
    Check::control("calibration", "a genuine token is accepted, nothing and garbage are refused");

/// Tries every verify way with nothing, with garbage and with a genuine token.
///
/// # Errors
/// A target of which no check could say anything: it does not answer, or nothing that it says is what the profile
/// knows. What was expected, what was seen, and a hint.
pub(super) fn calibrate(
    session: &mut Session<'_>,
    on_event: &(dyn Fn(Event) + Sync),
    warnings: &mut Vec<Warning>,
) -> Result<(), String> {
    let names: Vec<String> = session.target.profile.verify_ways().into_iter().map(str::to_owned).collect();
    let topology = session.topology.to_owned();
    let target = session.target;
    let mut ways = Vec::new();
    for name in names {
        let operation = format!("verify.{name}");
        let takes_refresh = session
            .target
            .profile
            .operations
            .get(&operation)
            .and_then(|o| o.accepts.as_ref())
            .is_some_and(|kinds| kinds.contains(&TokenUse::Refresh));
        ways.push(Way {
            operation,
            name,
            takes_refresh,
            accepts_genuine: false,
            refuses_nothing: true,
            refuses_by: None,
        });
    }
    let no_login;
    {
        let mut probe = Probe::new(session, &CALIBRATION, on_event, None);
        let genuine = probe.access();
        no_login = matches!(genuine, Err(Stop::Skip(SkipReason::BlockedBy(_))));
        match &genuine {
            Err(_) => understood(&mut probe, &ways)?,
            Ok(_) => fits(&mut probe)?,
        }
        for way in &mut ways {
            let nothing = probe.call(&way.operation, &probe.vars());
            let garbage = probe.present(way, GARBAGE);
            let manner = |answer: &Result<Answer, Stop>| match answer {
                Ok(Answer { axis: Axis::Unclear(_), reply: Some(reply), .. }) if (200..300).contains(&reply.status) => {
                    Some(Manner { status: reply.status, identity: target.identity(reply) })
                }
                _ => None,
            };
            way.refuses_by = manner(&nothing).filter(|by| manner(&garbage).as_ref() == Some(by));
            if let Some(by) = &way.refuses_by {
                let text = format!(
                    "`{}` answers nothing and garbage with a {} that is neither acceptance nor refusal by the profile; it is taken for a refusal",
                    way.operation, by.status
                );
                let hint = "say so under `denied` in the profile (status and JSON)";
                warnings.push(Warning::new("refuses-with-2xx", text).at(&topology).hint(hint));
            }
            way.refuses_nothing = !nothing.is_ok_and(|a| a.accepted());
            if garbage.is_ok_and(|a| a.accepted()) {
                let text = format!("`{}` accepts garbage by the profile's predicate", way.operation);
                let hint = "if the server is right, make `accepted` in the profile stricter (status and JSON)";
                warnings.push(Warning::new("accepts-garbage", text).at(&topology).hint(hint));
            }
            let shown = genuine.as_ref().ok().and_then(|token| probe.present(way, token).ok());
            way.accepts_genuine = shown.as_ref().is_some_and(Answer::accepted);
            if !way.refuses_nothing {
                let text = format!("`{}` accepts a request without a token, so it cannot judge one", way.operation);
                let hint = "make `accepted` in the profile stricter, or name another operation";
                warnings.push(Warning::new("accepts-nothing", text).at(&topology).hint(hint));
            } else if let Some(answer) = shown.filter(|answer| !answer.accepted()) {
                let text = format!(
                    "`{}` does not accept a genuine access token ({} {}: {}): its refusals prove nothing",
                    way.operation,
                    answer.request.method(),
                    answer.request.uri().path(),
                    answer.describe()
                );
                let hint = match answer.status() {
                    404 | 405 => {
                        "name a path of yours that wants a token: in the profile, or by `assay init URL --resource PATH`"
                    }
                    _ => "look at `accepted` of this operation in the profile",
                };
                warnings.push(Warning::new("refuses-genuine", text).at(&topology).hint(hint));
            }
        }
        if genuine.is_err() && !ways.is_empty() {
            let text = "no login works, so that no genuine token can be shown beside a forged one";
            warnings.push(
                Warning::new("no-login", text)
                    .at(&topology)
                    .hint("give the right --user and --password, or `user:` in the profile"),
            );
        }
    }
    let usable = ways.iter().filter(|w| w.usable()).count();
    on_event(Event::Calibrated { ways: ways.len(), usable });
    session.ways = ways;
    session.no_login = no_login;
    Ok(())
}

/// Whether a login brings what requests of the profile send along. Where it does not, no request could be made, and every
/// check would say so once more.
fn fits(probe: &mut Probe<'_>) -> Result<(), String> {
    let Ok(issued) = probe.pooled() else { return Ok(()) };
    let Some(issue) = probe.profile().operations.get("issue") else { return Ok(()) };
    let names = probe.target().issued_names();
    let lacks = names.iter().filter(|name| !issued.other.contains_key(*name));
    let lacks = lacks.filter_map(|name| issue.returns.get(name).map(|place| (name, place)));
    let list: Vec<String> = lacks
        .map(|(name, place)| match place.split_once(':') {
            Some((kind, what)) => format!("{kind} {what} (`{name}`)"),
            None => format!("{place} (`{name}`)"),
        })
        .collect();
    match list.is_empty() {
        true => Ok(()),
        false => Err(format!(
            "the login brings no {}, which requests of the profile `{}` send along; hint: does the server hand it out in this \
             configuration? Else take it out of `returns` and of the requests",
            list.join(" and no "),
            probe.profile().name
        )),
    }
}

/// Whether the others that the profile names can log in: a mistake in their passwords would leave checks out without a
/// word. Asked only where a check of the plan needs them.
pub(super) fn others(
    session: &Session<'_>,
    planned: &[&Check],
    on_event: &(dyn Fn(Event) + Sync),
    warnings: &mut Vec<Warning>,
) {
    let needing = |need: Need| planned.iter().filter(|check| check.needs.contains(&need)).count();
    let mut probe = Probe::new(session, &CALIBRATION, on_event, None);
    if session.no_login || !probe.has(Need::Issue) {
        return;
    }
    let mut warn = |id: &'static str, who: String, seen: &str, left_out: usize, hint: &str| {
        let seen = if seen.is_empty() { String::new() } else { format!(" ({seen})") };
        let checks =
            if left_out == 1 { "1 check that needs".to_owned() } else { format!("{left_out} checks that need") };
        let text = format!("the login of {who} does not work{seen}: {checks} it will learn nothing");
        warnings.push(Warning::new(id, text).at(session.topology).hint(hint));
    };
    let second = probe.target().second_user().ok().flatten();
    if let Some(second) = second.filter(|_| needing(Need::SecondUser) > 0) {
        let vars = probe.vars().user(&second);
        if probe.login_with(&vars).is_err_and(|stop| matches!(stop, Stop::Skip(_) | Stop::Inconclusive(_))) {
            let who = format!("the second user `{}`", second.login);
            let hint = "look at `second_user` in the profile, or at --second-user and --second-password";
            warn("no-second-login", who, probe.last_refusal(), needing(Need::SecondUser), hint);
        }
    }
    // A client that the login does not ask for is shown at the refresh alone.
    let by_request = !probe.target().is_command("issue") && probe.target().mentions("issue", "client.id");
    let client = probe.target().second_client().cloned().filter(|_| by_request && needing(Need::SecondClient) > 0);
    if let Some(client) = client {
        let vars = probe.vars().client(&client);
        // A client may be known and have no right to log users in; only one that is not known is a mistake.
        let unknown = |answer: &Answer| {
            let named = answer.reply.as_ref().is_some_and(|reply| reply.text().contains("invalid_client"));
            answer.refused() && (named || answer.status() == 401)
        };
        if let Ok(answer) = probe.call("issue", &vars)
            && unknown(&answer)
        {
            let who = format!("the second client `{}`", client.id);
            let hint = "look at `second_client` in the profile";
            warn("no-second-client", who, &answer.describe(), needing(Need::SecondClient), hint);
        }
    }
}

/// Whether a login ends the user's session before it, or its refresh token alone (a server that keeps one per user):
/// then checks run one after another, each on a login of its own.
pub(super) fn sessions(session: &Session<'_>, on_event: &(dyn Fn(Event) + Sync), warnings: &mut Vec<Warning>) {
    let ways: Vec<Way> = session.ways.iter().filter(|way| way.usable()).cloned().collect();
    let mut probe = Probe::new(session, &CALIBRATION, on_event, None);
    let refreshes = probe.has(Need::Refresh) && !probe.target().is_command("refresh");
    if !refreshes && ways.is_empty() || !probe.has(Need::Issue) || probe.target().is_command("issue") {
        return;
    }
    let Ok(first) = probe.pooled() else { return };
    repeated(&mut probe, &first);
    let Some(second) = login_apart(&mut probe, &first) else { return };
    let what = if access_ended(&mut probe, &ways, &first, &second) {
        "the user's session before it"
    } else if refreshes && refresh_ended(&mut probe, &first, &second) {
        "the refresh token of the user's login before it"
    } else {
        // The first one's session has been refreshed: the second's is whole.
        if let Some(held) = session.held().filter(|_| refreshes) {
            session.pool(Held { issued: second, ..held });
        }
        return;
    };
    session.drain();
    session.note_one_session();
    let text = format!("a login ends {what}: checks run one after another, and each logs in anew");
    let hint = "where it is not meant to be so, look at what ends the first session";
    warnings.push(Warning::new("one-session", text).at(session.topology).hint(hint));
}

/// Looks whether two logins of one second bring one text, where nothing in the tokens is there to tell them apart. A
/// second may end between two logins, hardly between three.
fn repeated(probe: &mut Probe<'_>, first: &Issued) {
    if ![&first.access, &first.refresh].into_iter().flatten().any(|token| nameless(token)) {
        return;
    }
    for _ in 0..2 {
        // The login itself sees whether it was given its text before.
        if probe.login().is_err() || probe.session.texts.repeat() {
            return;
        }
    }
}

/// A login whose tokens can be told from the first one's: without a `jti` those of one second are one text.
fn login_apart(probe: &mut Probe<'_>, first: &Issued) -> Option<Issued> {
    let second = probe.login().ok()?;
    if second.access != first.access && (second.refresh != first.refresh || first.refresh.is_none()) {
        return Some(second);
    }
    probe.pause(NEXT_SECOND, "the next second").ok()?;
    probe.login().ok()
}

/// Whether the second login's access token is taken where the first one's no longer is.
fn access_ended(probe: &mut Probe<'_>, ways: &[Way], first: &Issued, second: &Issued) -> bool {
    let (Some(first), Some(second)) = (&first.access, &second.access) else { return false };
    let mut refused = |way: &Way, token: &str| probe.present(way, token).is_ok_and(|answer| answer.refused());
    first != second && ways.iter().any(|way| refused(way, first) && !refused(way, second))
}

/// Whether the first login's refresh token is refused after the second, and a fresh one is not. That is a third
/// login's: a server that takes the refused one for stolen may have ended the second's.
fn refresh_ended(probe: &mut Probe<'_>, first: &Issued, second: &Issued) -> bool {
    let Some(old) = first.refresh.as_ref().filter(|_| first.refresh != second.refresh) else { return false };
    probe.refresh(old).is_ok_and(|answer| answer.refused())
        && probe.fresh_refresh().and_then(|fresh| probe.refresh(&fresh)).is_ok_and(|answer| answer.accepted())
}

/// Where no login works: whether anything that the target says is what the profile knows, so that a refused login
/// (whose credentials may be wrong) is told from another kind of server.
fn understood(probe: &mut Probe<'_>, ways: &[Way]) -> Result<(), String> {
    let mut stranger: Option<Answer> = None;
    let login = (probe.has(Need::Issue) && !probe.target().is_command("issue")).then_some("issue");
    for operation in login.into_iter().chain(ways.iter().map(|way| way.operation.as_str())) {
        let vars = if Some(operation) == login { probe.vars() } else { Vars::new() };
        let answer = match probe.call(operation, &vars) {
            Ok(answer) => answer,
            Err(Stop::Inconclusive(why)) => return Err(why),
            // Ours, or the user's wish to end: no word on the target.
            Err(_) => return Ok(()),
        };
        match probe.meaning(&answer) {
            // A page that is the same for everybody is no sign that logins are refused.
            Some(Meaning::Accepted) if login.is_some() && Some(operation) != login => {}
            // The method was right, so that 405 (or 404) tells of another server.
            Some(Meaning::Unexpected { .. } | Meaning::WrongMethod) | None => {}
            Some(_) => return Ok(()),
        }
        // What hangs at the login once more would hang in every check.
        let hung = answer.axis == Axis::Hung;
        stranger.get_or_insert(answer);
        if hung {
            break;
        }
    }
    stranger.map_or(Ok(()), |answer| Err(no_token_server(probe, &answer)))
}

/// What was expected and what came instead, with a hint.
fn no_token_server(probe: &Probe<'_>, answer: &Answer) -> String {
    let asked = format!("{} {}", answer.request.method(), answer.request.uri().path());
    let profile = &probe.profile().name;
    let Some(reply) = &answer.reply else {
        let seen = match &answer.axis {
            Axis::Hung => format!("no answer within {} s", PATIENCE.as_secs()),
            _ => answer.describe(),
        };
        return format!(
            "expected an answer to {asked}, saw {seen}; hint: is it the token server that listens there, and is it well?"
        );
    };
    let kind = reply.header("content-type").unwrap_or("no content type");
    let text = probe.session.redact(&String::from_utf8_lossy(&reply.body));
    let start: String = text.chars().filter(|c| !c.is_control()).take(SHOWN_OF_STRANGER).collect();
    format!(
        "expected an answer to {asked} as the profile `{profile}` says, saw {} with {kind}: `{}`; \
         hint: is it the right address, and the right profile? `assay init URL` looks at a server and writes a profile",
        reply.status,
        start.trim()
    )
}
