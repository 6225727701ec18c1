//! Does a refresh give what was granted, and no more, when it asks for another scope?

use std::collections::BTreeSet;

use serde_json::Value;

use crate::conformance::answer::Answer;
use crate::conformance::descriptor::{Check, Isolation, Levels, Need, cost};
use crate::conformance::forger::decode;
use crate::conformance::probe::{Probe, Stop};
use crate::record::{Level, SkipReason};
use crate::target::{Issued, TokenPlace};

use super::claim_rights::error_of;
use super::fields::with_field;
use super::issue::unclean;

/// Scope and refreshing.
pub const CHECKS: &[Check] = &[Check {
    id: "refresh-scope",
    group: "REFRESH",
    requirement: "a refresh never gives more scope than its login was granted, and less only for once",
    sources: &["RFC 6749 section 6", "RFC 6749 section 3.3", "RFC 6749 section 5.2"],
    levels: Levels::only_oauth(Level::Must),
    needs: &[Need::Refresh],
    variants: &["wider", "narrower", "regains"],
    isolation: Isolation::User,
    cost: cost(10, 2),
    intrusive: false,
    flaws: &["scope-upgrade", "narrow-refused", "scope-shrinks"],
    sends: "a refresh that asks for one scope less, then one that asks for none in particular; and, after a login that was granted less, a refresh that asks for more",
    why: "a refresh token that was given to a reader must not make a writer; one that was narrowed for a single request must not have lost the rest",
    remedy: "keep the scope of the login with the refresh token; give what is asked of it, refuse more with 400 `invalid_scope`, and leave what is kept as it was",
    run: scope,
}];

/// Words that say how tokens are given, not what they may do: taking them away may take the refresh token along.
const OF_THE_PROTOCOL: &[&str] = &["openid", "offline_access", "offline"];

/// A scope that nobody has heard of, for servers of which no other one is known.
const UNHEARD_OF: &str = "assay-unheard-of";

type Words = BTreeSet<String>;

/// A scope in either of its forms: words between spaces, or a list.
fn words(value: &Value) -> Option<Words> {
    match value {
        Value::String(text) => Some(text.split_whitespace().map(str::to_owned).collect()),
        Value::Array(list) => list.iter().map(|one| one.as_str().map(str::to_owned)).collect(),
        _ => None,
    }
}

fn joined(words: &Words) -> String {
    words.iter().map(String::as_str).collect::<Vec<_>>().join(" ")
}

/// What a login or a refresh gave, as far as anybody says.
#[derive(Clone)]
struct Scope {
    /// What the access token may do: by itself, where it can be read; else by introspection; else by the answer.
    now: Words,
    /// That and what the answer says: a token for one service may show a part of what was granted.
    all: Words,
}

fn granted(p: &mut Probe<'_>, issued: &Issued, reply: Option<&Value>) -> Result<Option<Scope>, Stop> {
    let access = issued.access.clone().unwrap_or_default();
    let claims = decode(&access).map(|(_, claims)| claims).unwrap_or_default();
    let told = reply.and_then(|reply| words(reply.get("scope")?));
    let mut now = ["scope", "scp", "scopes"].iter().find_map(|name| words(claims.get(*name)?));
    for way in p.ways().into_iter().filter(|way| way.usable()) {
        if now.is_none() && p.target().token_place(&way.operation) == Some(TokenPlace::Body) {
            let said = p.present(&way, &access)?.reply.and_then(|reply| reply.json());
            now = said.filter(|said| said.get("active").is_some()).and_then(|said| words(said.get("scope")?));
        }
    }
    Ok(now
        .or_else(|| told.clone())
        .map(|now| Scope { all: now.iter().cloned().chain(told.into_iter().flatten()).collect(), now }))
}

/// What came of a login or a refresh: its answer, and where it was accepted the tokens and what they may do.
struct Granted {
    answer: Answer,
    tokens: Option<(Issued, Option<Scope>)>,
}

/// A login (`token`: none) or a refresh that asks for a scope, or for none in particular.
fn asked(p: &mut Probe<'_>, token: Option<&str>, scope: Option<&Words>) -> Result<Granted, Stop> {
    let (operation, vars) = match token {
        Some(token) => ("refresh", p.vars_with(token)),
        None => ("issue", p.vars()),
    };
    let request = match scope {
        Some(scope) => with_field(p, operation, &vars, "scope", &joined(scope))?,
        None => p.target().request(operation, &vars).map_err(Stop::unsendable)?,
    };
    let answer = p.send(operation, request, token.map(str::to_owned))?;
    let tokens = match p.brought(&answer) {
        None => None,
        Some(issued) => {
            let reply = answer.reply.as_ref().and_then(|reply| reply.json());
            let scope = granted(p, &issued, reply.as_ref())?;
            Some((issued, scope))
        }
    };
    Ok(Granted { answer, tokens })
}

/// The refresh token that comes next: the successor, or the same one where none was given.
fn next(issued: &Issued, token: &str) -> String {
    issued.refresh.clone().unwrap_or_else(|| token.to_owned())
}

/// A refresh that asks for nothing in particular: the next token, and what was granted.
fn plain(p: &mut Probe<'_>, token: &str) -> Result<(String, Option<Scope>), Stop> {
    match asked(p, Some(token), None)?.tokens {
        Some((issued, scope)) => Ok((next(&issued, token), scope)),
        None => Err(Stop::blocked_by("refresh-basic")),
    }
}

/// The scope that a refresh can do without.
fn spare(whole: &Words) -> Option<&str> {
    let spare = whole.iter().rfind(|word| !OF_THE_PROTOCOL.contains(&word.as_str()));
    spare.filter(|_| whole.len() > 1).map(String::as_str)
}

/// A login as the profile has it, once refreshed, and what it was granted; where that is one scope or none in particular, a
/// login that asks for all that the profile declares.
fn richest(p: &mut Probe<'_>) -> Result<(String, Scope), Stop> {
    let token = p.fresh_refresh()?;
    let (token, given) = plain(p, &token)?;
    let mut all = given.as_ref().map(|given| given.all.clone()).unwrap_or_default();
    all.extend(p.profile().declares.scopes.iter().cloned());
    let poor = given.as_ref().is_none_or(|given| spare(&given.now).is_none());
    if poor
        && spare(&all).is_some()
        && !p.target().is_command("issue")
        && let Some((issued, _)) = asked(p, None, Some(&all))?.tokens
        && let Some(token) = issued.refresh
        && let (token, Some(given)) = plain(p, &token)?
        && spare(&given.now).is_some()
    {
        return Ok((token, given));
    }
    given.filter(|given| !given.now.is_empty()).map(|given| (token, given)).ok_or_else(|| {
        Stop::not_applicable("neither its tokens nor introspection nor its answers say what scope was granted")
    })
}

fn scope(p: &mut Probe<'_>) -> Result<(), Stop> {
    if p.target().is_command("refresh") {
        return Err(Stop::not_applicable("refreshing is a command of the profile"));
    }
    let (token, given) = richest(p)?;
    let whole = &given.now;
    // One word less, and not one that the next refresh hangs on.
    let spare = spare(whole);
    let without = |spare: &str| -> Words { whole.iter().filter(|word| *word != spare).cloned().collect() };
    let less = spare.map(|spare| (spare.to_owned(), without(spare)));
    match &less {
        Some((spare, less)) => narrower(p, token, whole, spare, less)?,
        None => {
            for variant in ["narrower", "regains"] {
                p.skip(variant, SkipReason::NotApplicable(format!("a login is granted `{}` only", joined(whole))));
            }
        }
    }
    wider(p, &given, less.as_ref().map(|(_, less)| less))
}

fn narrower(p: &mut Probe<'_>, token: String, whole: &Words, spare: &str, less: &Words) -> Result<(), Stop> {
    p.offer("narrower", &token)?;
    let Granted { answer, tokens } = asked(p, Some(&token), Some(less))?;
    let refused_after = |p: &mut Probe<'_>, why: &str| p.skip("regains", SkipReason::NotApplicable(why.to_owned()));
    let Some((issued, given)) = tokens else {
        let expected = format!("a refresh accepted that asks for `{}` of `{}`", joined(less), joined(whole));
        p.fail_seen(Some("narrower"), &answer.finding(), &expected, &answer);
        // Nobody gets in by that.
        p.at_most(Level::Should);
        refused_after(p, "a refresh that asks for less is not accepted");
        return Ok(());
    };
    let given = given.map_or_else(|| whole.clone(), |given| given.now);
    if given.contains(spare) {
        // A server may ignore what is asked for (RFC 6749 section 3.3).
        let text = format!("a refresh that asks for less brings `{}`: the server goes by the login", joined(&given));
        p.pass(Some("narrower"), "ignored", text);
        refused_after(p, "a refresh that asks for less brings as much as ever");
        return Ok(());
    }
    p.pass(Some("narrower"), "narrowed", format!("a refresh that asks for less brings `{}`", joined(&given)));
    let token = next(&issued, &token);
    p.offer("regains", &token)?;
    let Granted { answer, tokens } = asked(p, Some(&token), None)?;
    match tokens {
        None => {
            let expected = "the next refresh accepted, after one that asked for less";
            p.fail_seen(Some("regains"), &answer.finding(), expected, &answer);
            p.at_most(Level::Should);
        }
        Some((_, None)) => p.inconclusive(Some("regains"), "untold", "nothing says what the next refresh was granted"),
        Some((_, Some(given))) if whole.is_subset(&given.now) => {
            p.pass(Some("regains"), "whole", "the next refresh brings all that the login was granted");
        }
        Some((_, Some(given))) => {
            let text = format!(
                "after a refresh that asked for less, the next one brings `{}` of `{}`",
                joined(&given.now),
                joined(whole)
            );
            p.fail_told(Some("regains"), "lost", "all that the login was granted", text, &answer);
        }
    }
    Ok(())
}

/// A login that was granted less than others are: its refresh token, what it was granted, and a scope beyond that.
fn limited(p: &mut Probe<'_>, whole: &Scope, less: Option<&Words>) -> Result<(String, Words, String), Stop> {
    if let Some(less) = less.filter(|_| !p.target().is_command("issue"))
        && let Some((issued, Some(given))) = asked(p, None, Some(less))?.tokens
        && let Some(beyond) = whole.now.difference(&given.all).next().cloned()
        && let Some(token) = issued.refresh
    {
        return Ok((token, given.all, beyond));
    }
    // Logins are all granted the same: then it is one that none of them has.
    let token = p.fresh_refresh()?;
    let declared = p.profile().declares.scopes.iter().find(|scope| !whole.all.contains(*scope)).cloned();
    Ok((token, whole.all.clone(), declared.unwrap_or_else(|| UNHEARD_OF.to_owned())))
}

fn wider(p: &mut Probe<'_>, whole: &Scope, less: Option<&Words>) -> Result<(), Stop> {
    let (token, given, beyond) = limited(p, whole, less)?;
    p.offer("wider", &token)?;
    let mut more = given.clone();
    more.insert(beyond.clone());
    let Granted { answer, tokens } = asked(p, Some(&token), Some(&more))?;
    let expected = format!("no more than `{}`, which the login was granted", joined(&given));
    let Some((_, now)) = tokens else {
        let login = less.filter(|_| whole.now.contains(&beyond));
        return refused(p, &token, login, &expected, &answer);
    };
    let told = answer.reply.as_ref().and_then(|reply| reply.json()).is_some_and(|reply| reply.get("scope").is_some());
    match now {
        Some(scope) if !scope.now.is_subset(&given) => {
            let text = format!(
                "a login that was granted `{}` is refreshed with the scope `{}`, and given `{}`",
                joined(&given),
                joined(&more),
                joined(&scope.now)
            );
            p.fail_told(Some("wider"), "upgraded", &expected, text, &answer);
        }
        None => p.inconclusive(Some("wider"), "untold", "nothing says what a refresh that asks for more was granted"),
        Some(_) if told => {
            p.pass(Some("wider"), "ignored", "a refresh that asks for more brings what the login was granted");
        }
        Some(_) => {
            let text = format!(
                "a refresh that asks for `{beyond}` besides is accepted without it, and `scope` is missing in the answer: its caller takes it for granted"
            );
            p.fail_told(
                Some("wider"),
                "untold",
                "`scope` in the answer, where it is not what was asked for",
                text,
                &answer,
            );
            p.at_most(Level::Should);
        }
    }
    Ok(())
}

/// A refresh that asks for more was not accepted: that says something where one that asks for nothing more is.
fn refused(p: &mut Probe<'_>, token: &str, login: Option<&Words>, expected: &str, answer: &Answer) -> Result<(), Stop> {
    let mut works = p.refresh(token)?.accepted();
    if !works {
        // The attempt may have used the token up.
        let again = match login {
            Some(less) => asked(p, None, Some(less))?.tokens.and_then(|(issued, _)| issued.refresh),
            None => Some(p.fresh_refresh()?),
        };
        works = match again {
            Some(again) => p.refresh(&again)?.accepted(),
            None => false,
        };
    }
    if !works {
        p.skip("wider", SkipReason::BlockedBy("refresh-basic".into()));
        return Ok(());
    }
    p.judge_refusal(Some("wider"), expected, answer);
    if unclean(answer) || !answer.refused() {
        return Ok(());
    }
    let code = error_of(answer);
    if code.as_ref().and_then(Value::as_str) != Some("invalid_scope") {
        let told = code.map_or("none".to_owned(), |code| code.to_string());
        let text = format!("expected `error` invalid_scope, saw {told}");
        p.fail_told(Some("wider"), "error-code", "the error code of the standard", text, answer);
        p.at_most(Level::Should);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_scope_is_a_text_of_words_or_a_list() {
        let two: Words = ["read", "write"].map(str::to_owned).into();
        assert_eq!(words(&json!("write  read")), Some(two.clone()));
        assert_eq!(words(&json!(["read", "write"])), Some(two));
        assert_eq!(words(&json!(["read", 1])), None);
        assert_eq!(words(&json!(null)), None);
    }
}
