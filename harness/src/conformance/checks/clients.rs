//! Must a client prove itself? Wherever a request carries a client's secret, it must not pass with another one or without.

use crate::conformance::descriptor::{Check, Isolation, Levels, Need, cost};
use crate::conformance::probe::{Probe, Stop};
use crate::conformance::session::Way;
use crate::record::Level;
use crate::target::ClientEntry;

use super::issue::good_login;

/// Clients where tokens are issued.
pub const ISSUE: &[Check] = &[Check {
    id: "issue-client-auth",
    group: "ISSUE",
    requirement: "a client that does not prove itself gets no tokens, neither by a login nor by a refresh",
    sources: &["RFC 6749 section 3.2.1", "RFC 6749 section 2.3.1", "RFC 9700 section 2.5"],
    levels: Levels::issuing(Level::Must),
    needs: &[Need::Issue],
    variants: &["login-wrong-secret", "login-no-secret", "refresh-wrong-secret"],
    isolation: Isolation::Exclusive,
    cost: cost(6, 3),
    intrusive: false,
    flaws: &["any-client", "any-client-refresh", "nameless-client"],
    sends: "a good login; then the same with a wrong client secret and without one, and a refresh token with a wrong client secret",
    why: "the secret is what binds refresh tokens to their client: where nobody looks at it, a stolen token serves whoever has it",
    remedy: "authenticate the client before the grant is looked at, and answer 401 `invalid_client`",
    run: issue,
}];

/// Clients that ask about tokens.
pub const VERIFY: &[Check] = &[Check {
    id: "verify-auth",
    group: "VERIFY",
    requirement: "a verify way that is asked with a client's secret tells nobody else about a token",
    sources: &["RFC 7662 section 2.1", "RFC 7662 section 4"],
    levels: Levels::MUST,
    needs: &[Need::VerifyWay],
    variants: &["*"],
    isolation: Isolation::Exclusive,
    cost: cost(4, 0),
    intrusive: false,
    flaws: &["open-introspection", "any-client", "nameless-client"],
    sends: "a genuine token to each verify way whose request carries a client's secret: as it is, without the client, and with a wrong secret",
    why: "an open introspection endpoint lets anybody try tokens, and read their claims",
    remedy: "authenticate whoever asks, and answer 401 before the token is looked at",
    run: verify,
}];

/// The profile's client with a secret that is not its own.
pub(super) fn impostor(p: &Probe<'_>) -> Option<ClientEntry> {
    let client = p.target().client()?;
    client.secret.as_ref()?;
    Some(ClientEntry { id: client.id.clone(), secret: Some("assay-wrong-secret-1".to_owned()) })
}

/// Whether a request of this operation carries a client's secret.
pub(super) fn carries_secret(p: &Probe<'_>, operation: &str) -> bool {
    p.target().has(operation) && !p.target().is_command(operation) && p.target().mentions(operation, "client.secret")
}

fn issue(p: &mut Probe<'_>) -> Result<(), Stop> {
    let (login, refresh) = (carries_secret(p, "issue"), carries_secret(p, "refresh"));
    let Some(impostor) = impostor(p).filter(|_| login || refresh) else {
        return Err(Stop::not_applicable("its requests carry no client's secret"));
    };
    // Where the configured secret itself is wrong, every refusal below would look right.
    good_login(p)?;
    if login {
        let cases = [
            ("login-wrong-secret", p.vars().client(&impostor)),
            ("login-no-secret", p.vars().without("client.secret")),
        ];
        for (variant, vars) in cases {
            let answer = p.call("issue", &vars)?;
            p.judge_refusal(Some(variant), "a login refused whose client does not prove itself", &answer);
        }
    }
    if refresh {
        let variant = "refresh-wrong-secret";
        let token = p.fresh_refresh()?;
        p.offer(variant, &token)?;
        let mut answer = p.call("refresh", &p.vars_with(token.as_str()).client(&impostor))?;
        answer.token = Some(token);
        let again = p.fresh_refresh()?;
        if !p.refresh(&again)?.accepted() {
            return Err(Stop::blocked_by("refresh-basic"));
        }
        p.judge_refusal(Some(variant), "a refresh refused whose client does not prove itself", &answer);
    }
    Ok(())
}

fn verify(p: &mut Probe<'_>) -> Result<(), Stop> {
    let ways: Vec<Way> =
        p.ways().into_iter().filter(|way| way.accepts_genuine && carries_secret(p, &way.operation)).collect();
    let Some(impostor) = impostor(p).filter(|_| !ways.is_empty()) else {
        return Err(Stop::not_applicable("no verify way is asked with a client's secret"));
    };
    for way in ways {
        let token = p.access()?;
        let known = p.vars_with(token.as_str());
        let cases = [
            ("nobody", known.clone().without("client.secret").without("client.id")),
            ("wrong-secret", known.client(&impostor)),
        ];
        for (who, vars) in cases {
            let variant = format!("{}-{who}", way.name);
            p.offer(&variant, &token)?;
            let mut answer = p.call(&way.operation, &vars)?;
            answer.token = Some(token.clone());
            if !p.present(&way, &token)?.accepted() {
                let text = format!("`{}` refuses the genuine token too, so nothing was learnt", way.name);
                p.inconclusive(Some(&variant), "controls-refused", text);
                continue;
            }
            p.judge_refusal(Some(&variant), "nothing told to who does not prove itself", &answer);
        }
    }
    Ok(())
}
