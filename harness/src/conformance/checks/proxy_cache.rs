//! Does a proxy keep what it must not: tokens, and answers that are one caller's?

use crate::conformance::answer::Answer;
use crate::conformance::descriptor::Need;
use crate::conformance::probe::{Probe, Stop};
use crate::record::SkipReason;
use crate::target::User;
use crate::wire::Reply;

use super::issue::first_user;
use super::proxy::{both, identity, peer, request, two_users};
use super::refresh::second_vars;

pub(super) fn cache_token(p: &mut Probe<'_>) -> Result<(), Stop> {
    if p.target().is_command("issue") {
        return Err(Stop::not_applicable("the login is a command of the profile"));
    }
    let user = first_user(p)?;
    let second = second_vars(p)?;
    let wrong = p.vars().user(&User { password: "assay-wrong-password-1".into(), ..user });
    let failed = p.call("issue", &wrong)?;
    let own = p.vars();
    let first = p.call("issue", &own)?;
    let other = p.call("issue", &second)?;
    // In tokens, not bodies: where they travel in cookies or headers, all bodies are alike.
    let access = |a: &Answer| p.target().tokens(a.reply.as_ref().filter(|_| a.accepted())?, "issue").ok()?.access;
    match (access(&first), access(&other)) {
        (Some(one), Some(two)) if one == two => {
            p.fail_told(Some("two-users"), "shared", "tokens of one's own", "two users got one token", &other);
        }
        (Some(_), Some(_)) => p.pass(Some("two-users"), "apart", "two users get tokens of their own"),
        _ => {
            let text = format!("the logins of two users: {}, and {}", first.describe(), other.describe());
            p.inconclusive(Some("two-users"), "no-login", text);
        }
    }
    if failed.refused() && first.accepted() {
        p.pass(Some("after-failure"), "fresh", "a right password after a wrong one works");
    } else {
        p.fail_seen(Some("after-failure"), &first.finding(), "a right password after a wrong one accepted", &first);
    }
    judge_hits(p, &[&failed, &first, &other]);
    Ok(())
}

/// Whether a reply says that it comes out of a cache. An `Age` of 0 is what a cache writes on what it has just fetched.
fn out_of_cache(reply: &Reply) -> bool {
    let status = ["x-cache", "x-cache-status", "cache-status", "cf-cache-status"];
    reply.header("age").and_then(|age| age.trim().parse::<u64>().ok()).is_some_and(|age| age > 0)
        || status.iter().any(|n| reply.header(n).is_some_and(|v| v.to_ascii_lowercase().contains("hit")))
}

/// Judges whether one of these answers came out of a cache.
fn judge_hits(p: &mut Probe<'_>, answers: &[&Answer]) {
    match answers.iter().find(|a| a.reply.as_ref().is_some_and(out_of_cache)) {
        Some(answer) => {
            p.fail_told(Some("headers"), "hit", "no cache", "an answer says that it comes out of a cache", answer)
        }
        None => p.pass(Some("headers"), "no-hit", "no answer says that it comes out of a cache"),
    }
}

pub(super) fn cache_authz(p: &mut Probe<'_>) -> Result<(), Stop> {
    let way = p.resource()?;
    let [(first, _), (second, name)] = two_users(p, &way)?;
    p.present(&way, &first)?;
    let answer = p.present(&way, &second)?;
    match identity(p, &answer) {
        Some(seen) if seen == name => p.pass(Some("second-user"), "own", "the second user gets an answer of their own"),
        Some(_) => {
            let text = "the second user got another user's answer";
            p.fail_told(Some("second-user"), "another", "the caller's own answer", text, &answer);
        }
        None => p.fail_seen(Some("second-user"), &answer.finding(), "the second user's token accepted", &answer),
    }
    if let Err(Stop::Skip(open)) = p.guarded() {
        p.skip("nobody", open);
        return Ok(());
    }
    let vars = p.vars();
    let answer = p.call(&way.operation, &vars)?;
    p.judge_refusal(Some("nobody"), "a request without a token refused after good ones", &answer);
    Ok(())
}

pub(super) fn no_store_kept(p: &mut Probe<'_>) -> Result<(), Stop> {
    if p.target().is_command("issue") {
        return Err(Stop::not_applicable("the login is a command of the profile"));
    }
    let control = |a: &Answer| a.reply.as_ref().map(|r| r.header_all("cache-control").join(", ")).unwrap_or_default();
    let vars = p.vars();
    let login = request(p, "issue", &vars)?;
    let (past, through) = both(p, "issue", &login, None)?;
    let tokens = |p: &Probe<'_>, a: &Answer, o: &str| a.reply.as_ref().and_then(|r| p.target().tokens(r, o).ok());
    let refresh =
        tokens(p, &past, "issue").and_then(|i| i.refresh).zip(tokens(p, &through, "issue").and_then(|i| i.refresh));
    let mut pairs = vec![("issue", past, through)];
    if let Some((one, two)) = refresh.filter(|_| p.has(Need::Refresh) && !p.target().is_command("refresh")) {
        let bare = peer(p)?;
        let first = request(p, "refresh", &p.vars_with(one.as_str()))?;
        let past = p.send_to(bare, "refresh", first, Some(one))?;
        let through = p.refresh(&two)?;
        pairs.push(("refresh", past, through));
    }
    for (variant, past, through) in pairs {
        let (before, after) = (control(&past), control(&through));
        if !before.contains("no-store") {
            p.skip(variant, SkipReason::NotApplicable("the server itself says no `no-store`".into()));
        } else if after.contains("no-store") {
            p.pass(Some(variant), "kept", "`no-store` reaches the caller");
        } else {
            let text = format!("the server says `{before}`, the caller sees `{after}`");
            p.fail_told(Some(variant), "lost", "`no-store`", text, &through);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_cache_has_just_fetched_does_not_come_out_of_it() {
        let with = |name: &str, value: &str| {
            let headers = vec![(name.to_owned(), value.as_bytes().to_vec())];
            Reply { status: 200, headers, ..Reply::default() }
        };
        for (name, value, hit) in [
            ("Age", "0", false),
            ("age", " 12 ", true),
            ("X-Cache", "Miss from cloudfront", false),
            ("X-Cache-Status", "HIT", true),
            ("Cache-Status", "edge; fwd=miss", false),
            ("content-type", "application/json", false),
        ] {
            assert_eq!(out_of_cache(&with(name, value)), hit, "{name}: {value}");
        }
    }
}
