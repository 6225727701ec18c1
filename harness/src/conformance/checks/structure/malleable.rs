//! Does a revoked token stay revoked in every other spelling?

use http::header::{AUTHORIZATION, HeaderValue};

use super::super::material::all_refused;
use super::super::revoke::takes_refresh;
use crate::conformance::descriptor::{Check, Isolation, Levels, Need, cost};
use crate::conformance::probe::{Probe, Stop};
use crate::jose::{Algorithm, Family, Forge, algorithm, base64url, forge};
use crate::record::SkipReason;
use crate::target::{TokenPlace, TokenUse};

pub(super) const DENYLIST: Check = Check {
    id: "struct-malleable-denylist",
    group: "STRUCT",
    requirement: "a revoked token is refused in every spelling in which it would verify",
    sources: &["ASVS 7.4.1", "RFC 7009 section 2.1", "GHSA-hxm8-2xgr-2p9m"],
    levels: Levels::MUST,
    needs: &[Need::Issue, Need::Revoke],
    variants: &[
        "padding",
        "two-padding",
        "junk",
        "line-end",
        "unused-bits",
        "high-s",
        "trailing-blank",
        "same",
        "access-*",
        "own-access-*",
    ],
    isolation: Isolation::User,
    cost: cost(90, 2),
    intrusive: false,
    flaws: &["denylist-access-string", "denylist-by-string"],
    sends: "a revoked refresh token (and the access token that ended with it), and an access token that was revoked itself, with padding, foreign characters, unused bits for ECDSA the other `s`, or behind the scheme in another case",
    why: "a denylist of texts forgets the token that is written differently",
    remedy: "keep `jti` (or a digest of the signed part) on the denylist, never the token's text",
    run: |probe| {
        let jwt_refresh = probe.has(Need::Refresh) && probe.has(Need::JwtRefresh);
        let by_refresh = jwt_refresh && takes_refresh(probe).is_ok();
        let by_access = probe.has(Need::JwtAccess) && probe.target().revocable().contains(&TokenUse::Access);
        if !by_refresh && !by_access {
            return Err(Stop::not_applicable("a revocation takes no token that could be written otherwise"));
        }
        if by_refresh {
            refresh_revoked(probe)?;
        }
        if by_access {
            access_revoked(probe)?;
        }
        Ok(())
    },
};

/// An access token is revoked itself, as by a logout that takes it, and shown in every other spelling.
fn access_revoked(probe: &mut Probe<'_>) -> Result<(), Stop> {
    let access = probe.login()?.access.unwrap_or_default();
    let Some(spelled) = spellings(&access) else { return Ok(()) };
    for (variant, text) in &spelled {
        if let Some(text) = text {
            probe.offer(&format!("own-access-{variant}"), text)?;
        }
    }
    if !probe.call_with_token("revoke", &access)?.accepted() {
        return Err(Stop::blocked_by("revoke-effective"));
    }
    after(probe, &access, &spelled, "own-access")
}

fn refresh_revoked(probe: &mut Probe<'_>) -> Result<(), Stop> {
    let login = probe.login()?;
    let revoked = login.refresh.ok_or_else(|| Stop::needs(Need::Refresh))?;
    let spelled = spellings(&revoked).ok_or_else(|| Stop::needs(Need::JwtRefresh))?;
    let access = login.access.unwrap_or_default();
    let access_spelled = spellings(&access).unwrap_or_default();
    for (variant, text) in &spelled {
        if let Some(text) = text {
            probe.offer(variant, text)?;
        }
    }
    for (variant, text) in &access_spelled {
        if let Some(text) = text {
            probe.offer(&format!("access-{variant}"), text)?;
        }
    }
    let answer = probe.call_with_token("revoke", &revoked)?;
    if !answer.accepted() {
        return Err(Stop::blocked_by("revoke-effective"));
    }
    for (variant, text) in &spelled {
        let Some(text) = text else {
            probe.skip(variant, SkipReason::NotApplicable("this algorithm has no such spelling".to_owned()));
            continue;
        };
        // A line end cannot stand in a form, a header or a cookie.
        let Ok(answer) = probe.refresh(text) else { continue };
        if *variant == "same" && answer.accepted() {
            return Err(Stop::blocked_by("revoke-effective"));
        }
        probe.judge_refusal(Some(variant), "refused after revocation", &answer);
    }
    after(probe, &access, &access_spelled, "access")
}

/// Where the revocation ended the access token as well, it has to stay ended in every spelling.
fn after(probe: &mut Probe<'_>, access: &str, spelled: &[(&str, Option<String>)], name: &str) -> Result<(), Stop> {
    let mut ways = Vec::new();
    for way in probe.ways() {
        if way.usable() && probe.present(&way, access)?.refused() {
            ways.push(way);
        }
    }
    if ways.is_empty() {
        // A self-contained token that outlives the revocation is the subject of revoke-access.
        return Ok(());
    }
    for (variant, text) in spelled {
        let Some(text) = text else { continue };
        let mut answers = Vec::new();
        for way in &ways {
            answers.extend(probe.present_value(way, &text.as_str().into())?);
        }
        if !answers.is_empty() {
            all_refused(probe, &format!("{name}-{variant}"), "refused after revocation", &answers);
        }
    }
    // The scheme's name has no case (RFC 9110 section 11.1), and is no part of the token.
    let mut answers = Vec::new();
    for way in &ways {
        if probe.target().token_place(&way.operation) != Some(TokenPlace::Bearer) {
            continue;
        }
        let vars = probe.vars().token(access);
        let Ok(mut request) = probe.target().request(&way.operation, &vars) else { continue };
        let Ok(value) = HeaderValue::from_str(&format!("BEARER {access}")) else { continue };
        request.headers_mut().insert(AUTHORIZATION, value);
        answers.push(probe.send(&way.operation, request, Some(access.to_owned()))?);
    }
    if !answers.is_empty() {
        all_refused(probe, &format!("{name}-scheme-case"), "refused after revocation", &answers);
    }
    Ok(())
}

/// The token in other texts; none where the algorithm has no such spelling. None at all for what is no JWT.
fn spellings(token: &str) -> Option<Vec<(&'static str, Option<String>)>> {
    let parts = Forge::of(token)?;
    let name = parts.header.get("alg");
    let row = name.as_ref().and_then(|v| v.as_str()).and_then(algorithm);
    let half = forge::segment(token, 2).len() / 2;
    Some(vec![
        ("padding", Some(format!("{token}="))),
        ("two-padding", Some(format!("{token}=="))),
        ("junk", Some(forge::insert_junk(token, 2, half, "!"))),
        ("line-end", Some(format!("{token}\n"))),
        ("unused-bits", forge::set_unused_bits(token, 2)),
        ("high-s", other_s(token, row, &parts.signature)),
        ("trailing-blank", Some(format!("{token} "))),
        ("same", Some(token.to_owned())),
    ])
}

/// The same ECDSA signature with `n - s` for `s`: it verifies as well as the first.
fn other_s(token: &str, algorithm: Option<&Algorithm>, signature: &[u8]) -> Option<String> {
    let algorithm = algorithm.filter(|a| a.family == Family::Ecdsa)?;
    let negated = forge::negate_s(algorithm, signature)?;
    Some(forge::replace_segment(token, 2, &base64url::encode(negated)))
}
