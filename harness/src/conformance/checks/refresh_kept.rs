//! What is kept over a refresh: who logged in and when, and the session where the answer was lost?

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Map, Value};

use crate::clock;
use crate::conformance::answer::Answer;
use crate::conformance::descriptor::{Check, Isolation, Levels, Need, cost};
use crate::conformance::forger::decode;
use crate::conformance::probe::{NEXT_SECOND, Probe, Stop};
use crate::record::{Level, SkipReason};
use crate::target::Issued;

use super::issue::unclean;

/// What outlives a refresh.
pub const CHECKS: &[Check] = &[
    Check {
        id: "refresh-id-token",
        group: "REFRESH",
        requirement: "the ID token of a refresh names the same issuer, user, audience and login as the first one, and says that it was issued now",
        sources: &["OpenID Connect Core section 12.2"],
        levels: Levels::only_oidc(Level::Must),
        needs: &[Need::Refresh],
        variants: ID_TOKEN_PARTS,
        isolation: Isolation::User,
        cost: cost(2, 2),
        intrusive: false,
        flaws: &["sub-changes", "id-token-elsewhere", "auth-time-moves", "id-token-copied", "nonce-anew"],
        sends: "a login and a refresh a second later, and compares the claims of the two ID tokens",
        why: "a client that meets another user, or a fresh login that never was, in a session that goes on has to take the session for another one, or is deceived",
        remedy: "keep issuer, subject, audience and the time of the login with the refresh token, and copy them; `iat` alone is of now, and `nonce` is left out or the same",
        run: id_token,
    },
    Check {
        id: "refresh-lost-response",
        group: "REFRESH",
        requirement: "what becomes of a session whose refresh was done and whose answer was lost is reported",
        sources: &["RFC 9700 section 4.14.2", "thephpleague/oauth2-server#1506"],
        levels: Levels::issuing(Level::Info),
        needs: &[Need::Refresh, Need::Rotation],
        variants: &[],
        isolation: Isolation::User,
        cost: cost(4, 1),
        intrusive: false,
        flaws: &["grace-600"],
        sends: "a refresh on a connection that is closed before its answer is read, and the same refresh token once more",
        why: "phones lose answers; where the retry counts as a theft, their users are logged out for it",
        remedy: "give a used token some seconds of grace in which it brings the same successor again, and declare them (`declares.grace_s`)",
        run: lost_response,
    },
];

const ID_TOKEN_PARTS: &[&str] = &["iss", "sub", "aud", "auth-time", "iat", "nonce"];

type Claims = Map<String, Value>;

/// The claims of an ID token among what was issued, or in the place where a login has it.
fn id_claims(p: &Probe<'_>, issued: &Issued, answer: Option<&Answer>) -> Option<Claims> {
    let named = issued.other.get("id_token").cloned();
    let token = named.or_else(|| {
        let place = p.profile().operations.get("issue")?.returns.get("id_token")?;
        answer?.reply.as_ref()?.json()?.pointer(place).cloned()
    })?;
    Some(decode(token.as_str()?)?.1)
}

fn id_token(p: &mut Probe<'_>) -> Result<(), Stop> {
    if p.target().is_command("refresh") {
        return Err(Stop::not_applicable("refreshing is a command of the profile"));
    }
    let first = p.login()?;
    let old = id_claims(p, &first, None).ok_or_else(|| {
        Stop::not_applicable("a login brings no ID token that can be read (`returns: {id_token: ...}`)")
    })?;
    let refresh = first.refresh.ok_or_else(|| Stop::needs(Need::Refresh))?;
    for part in ID_TOKEN_PARTS {
        p.offer(part, &refresh)?;
    }
    p.pause(NEXT_SECOND, "the next second")?;
    let answer = p.refresh(&refresh)?;
    let issued = p.brought(&answer).ok_or_else(|| Stop::blocked_by("refresh-basic"))?;
    // It need not come again.
    let new = id_claims(p, &issued, Some(&answer))
        .ok_or_else(|| Stop::not_applicable("a refresh brings no ID token, which it need not"))?;
    for part in ID_TOKEN_PARTS {
        match compared(part, &old, &new) {
            Found::Right(finding, text) => p.pass(Some(part), finding, text),
            Found::Wrong(finding, text, level) => {
                p.fail_told(Some(part), finding, "the claims of the first ID token", text, &answer);
                level.into_iter().for_each(|level| p.at_most(level));
            }
            Found::Nothing(why) => p.skip(part, SkipReason::NotApplicable(why)),
        }
    }
    Ok(())
}

/// What the comparison of a claim showed.
enum Found {
    Right(&'static str, String),
    /// With the most that it weighs, where that is less than the check does.
    Wrong(&'static str, String, Option<Level>),
    Nothing(String),
}

/// Holds one claim of the ID token of a refresh against the first one's.
fn compared(part: &str, old: &Claims, new: &Claims) -> Found {
    let name = part.replace('-', "_");
    let (before, after) = (old.get(&name), new.get(&name));
    let shown = |value: Option<&Value>| value.map_or("nothing".to_owned(), Value::to_string);
    let differs = || format!("`{name}` was {}, and is {} after the refresh", shown(before), shown(after));
    match (part, before, after) {
        ("nonce", _, None) => Found::Right("absent", "the ID token of the refresh has no nonce".to_owned()),
        ("nonce", None, Some(_)) => Found::Wrong("new", differs(), Some(Level::Should)),
        (_, None, _) => Found::Nothing(format!("the first ID token has no `{name}`")),
        // It says how old the login is, where it is there.
        ("auth-time", Some(_), None) => Found::Nothing("the ID token of the refresh has no `auth_time`".to_owned()),
        ("auth-time" | "iat", Some(before), Some(after)) => {
            let (Some(before), Some(after)) = (before.as_f64(), after.as_f64()) else {
                return Found::Wrong("no-time", differs(), None);
            };
            match part {
                // Times may be rounded here and cut there.
                "auth-time" if (after - before).abs() < 1.0 => Found::Right("same", "`auth_time` is the same".into()),
                "iat" if after > before => Found::Right("now", "`iat` is that of the refresh".into()),
                "iat" => Found::Wrong("copied", differs(), None),
                _ => Found::Wrong("moved", differs(), None),
            }
        }
        ("aud", Some(before), Some(after)) if audiences(before).is_subset(&audiences(after)) => {
            Found::Right("same", "`aud` names whom it named".to_owned())
        }
        (_, before, after) if before == after => Found::Right("same", format!("`{name}` is the same")),
        _ => Found::Wrong("another", differs(), None),
    }
}

/// One audience or a list of them.
fn audiences(value: &Value) -> BTreeSet<String> {
    match value {
        Value::Array(list) => list.iter().map(Value::to_string).collect(),
        one => [one.to_string()].into(),
    }
}

fn lost_response(p: &mut Probe<'_>) -> Result<(), Stop> {
    if p.target().is_command("refresh") {
        return Err(Stop::not_applicable("refreshing is a command of the profile"));
    }
    let first = p.fresh_refresh()?;
    let began = clock::mono();
    let token = p.refreshed(&first)?.refresh.filter(|token| *token != first);
    let took = clock::mono().since(began).duration();
    let token = token.ok_or_else(|| Stop::not_applicable("refreshing brings no new refresh token"))?;
    p.offer("", &token)?;
    // Long enough for the server to have done it, by the one before.
    let time = (took * 3 + Duration::from_millis(50)).min(Duration::from_secs(3));
    p.send_and_leave("refresh", &token, time)?;
    let answer = p.refresh(&token)?;
    if unclean(&answer) {
        p.fail_seen(None, &answer.finding(), "an orderly answer to a refresh that comes again", &answer);
    } else if answer.accepted() {
        p.pass(None, "recovered", "whose answer to a refresh was lost goes on with the token that was sent");
    } else {
        let text = format!(
            "whose answer to a refresh was lost has to log in again: the token that was sent is {}",
            answer.describe()
        );
        p.pass(None, "locked-out", text);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[track_caller]
    fn check(part: &str, old: Value, new: Value, expected: &str) {
        let name = part.replace('-', "_");
        let claims = |value: Value| if value.is_null() { Map::new() } else { Map::from_iter([(name.clone(), value)]) };
        let found = match compared(part, &claims(old), &claims(new)) {
            Found::Right(finding, _) => format!("right {finding}"),
            Found::Wrong(finding, ..) => format!("wrong {finding}"),
            Found::Nothing(_) => "nothing".to_owned(),
        };
        assert_eq!(found, expected, "{part}");
    }

    #[test]
    fn the_id_token_of_a_refresh_is_held_against_the_first_one() {
        check("sub", json!("1"), json!("1"), "right same");
        check("sub", json!("1"), json!(1), "wrong another");
        check("sub", json!("1"), json!(null), "wrong another");
        check("aud", json!("shop"), json!(["shop", "bank"]), "right same");
        check("aud", json!(["shop", "bank"]), json!("shop"), "wrong another");
        check("auth-time", json!(100), json!(100.4), "right same");
        check("auth-time", json!(100), json!(102), "wrong moved");
        check("auth-time", json!(100), json!(null), "nothing");
        check("auth-time", json!(null), json!(100), "nothing");
        check("iat", json!(100), json!(101), "right now");
        check("iat", json!(100), json!(100), "wrong copied");
        check("iat", json!(100), json!("101"), "wrong no-time");
        check("nonce", json!("a"), json!(null), "right absent");
        check("nonce", json!("a"), json!("a"), "right same");
        check("nonce", json!("a"), json!("b"), "wrong another");
        check("nonce", json!(null), json!("b"), "wrong new");
    }
}
