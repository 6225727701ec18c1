//! What was issued beside a token? A CSRF value, a session's number: a token travels with those of its own login.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Mutex;

use serde_json::{Map, Value};

use crate::target::{Issued, Target, Vars};

use super::forger::decode;
use super::session::lock;

/// At most this many tokens are remembered; the oldest are forgotten first.
const LIMIT: usize = 4_096;
/// So many of them are never forgotten: those of the latest logins that checks share.
const PINNED: usize = 16;

/// The values by name that one answer brought.
type Values = BTreeMap<String, Value>;

struct Known {
    token: String,
    claims: Option<Map<String, Value>>,
    values: Values,
}

/// What was issued beside every token, as far as the profile's requests mention such values.
pub struct Company {
    wanted: bool,
    known: Mutex<VecDeque<Known>>,
    pinned: Mutex<VecDeque<String>>,
}

impl Company {
    /// Nothing is known yet. Where no request of the profile mentions `${issued.NAME}`, nothing is remembered.
    pub fn new(target: &Target) -> Company {
        Company { wanted: !target.issued_names().is_empty(), known: Mutex::default(), pinned: Mutex::default() }
    }

    /// Keeps what was issued beside these tokens, however many come after: a check of many logins must not let the
    /// tokens that others hold travel with a stranger's values.
    pub fn pin(&self, issued: &Issued) {
        let mut pinned = lock(&self.pinned);
        for token in [&issued.access, &issued.refresh].into_iter().flatten() {
            pinned.retain(|known| known != token);
            pinned.push_back(token.clone());
        }
        let too_many = pinned.len().saturating_sub(PINNED);
        pinned.drain(..too_many);
    }

    /// Remembers what an answer brought. What a refresh does not bring anew stays what it was with `presented`.
    pub fn learn(&self, presented: Option<&str>, issued: &Issued) {
        if !self.wanted {
            return;
        }
        let mut values = presented.and_then(|token| self.beside(token)).unwrap_or_default();
        values.extend(issued.other.iter().map(|(name, value)| (name.clone(), value.clone())));
        let stays = if issued.refresh.is_none() { presented } else { None };
        let mut known = lock(&self.known);
        for token in [issued.access.as_deref(), issued.refresh.as_deref(), stays].into_iter().flatten() {
            known.retain(|k| k.token != token);
            let claims = decode(token).map(|(_, claims)| claims);
            known.push_back(Known { token: token.to_owned(), claims, values: values.clone() });
        }
        let mut too_many = known.len().saturating_sub(LIMIT);
        if too_many > 0 {
            let pinned = lock(&self.pinned);
            known.retain(|k| {
                let goes = too_many > 0 && !pinned.contains(&k.token);
                too_many -= usize::from(goes);
                !goes
            });
        }
    }

    /// The values for a request with this token: those that were issued with it; for a forged one those of the token
    /// that it resembles most; else `otherwise`, and those that were issued last where there are none.
    pub fn vars(&self, token: &Value, otherwise: &Values) -> Vars {
        let vars = Vars::new().token(token.clone());
        if !self.wanted {
            return vars.issued(otherwise);
        }
        let own = token.as_str().and_then(|token| self.beside(token));
        match own {
            Some(values) => vars.issued(&values),
            None if otherwise.is_empty() => vars.issued(&self.newest()),
            None => vars.issued(otherwise),
        }
    }

    /// The values of this token, or of the one that it was made from.
    fn beside(&self, token: &str) -> Option<Values> {
        self.exactly(token).or_else(|| self.like(token))
    }

    fn exactly(&self, token: &str) -> Option<Values> {
        lock(&self.known).iter().rev().find(|k| k.token == token).map(|k| k.values.clone())
    }

    /// The values of the token with which this one shares most claims, the newest among equals.
    fn like(&self, token: &str) -> Option<Values> {
        let (_, claims) = decode(token)?;
        let shared = |known: &Known| {
            let theirs = known.claims.as_ref()?;
            Some(claims.iter().filter(|(name, value)| theirs.get(*name) == Some(value)).count())
        };
        let known = lock(&self.known);
        let nearest = known.iter().filter_map(|k| Some((shared(k)?, k))).max_by_key(|(shared, _)| *shared);
        nearest.filter(|(shared, _)| *shared > 0).map(|(_, k)| k.values.clone())
    }

    fn newest(&self) -> Values {
        lock(&self.known).back().map(|k| k.values.clone()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jose::base64url;
    use crate::scenario::Source;
    use crate::target::parse_profile;
    use serde_json::json;

    const CSRF: &str = r#"
schema: 1
name: csrf
dialect: simple
user: {login: a, password: b}
operations:
  issue: {request: {path: /login, fields: {n: "${user.login}"}}, returns: {access: /a, refresh: /r, csrf: /c}}
  verify.resource: {request: {path: /me, cookies: {t: "${token}"}, headers: {X-CSRF: "${issued.csrf}"}}}
"#;

    fn target() -> Target {
        let profile = parse_profile(&Source::new("csrf.yaml", ".", CSRF), None).unwrap();
        Target::new(profile, "http://127.0.0.1:9", None, &[]).unwrap()
    }

    fn jwt(claims: Value, signature: &str) -> String {
        format!("{}.{}.{signature}", base64url::encode("{}"), base64url::encode(claims.to_string()))
    }

    fn issued(access: &str, refresh: Option<&str>, csrf: &str) -> Issued {
        Issued {
            access: Some(access.to_owned()),
            refresh: refresh.map(str::to_owned),
            other: BTreeMap::from([("csrf".to_owned(), json!(csrf))]),
            ..Issued::default()
        }
    }

    #[track_caller]
    fn check(company: &Company, token: &str, csrf: &str) {
        let vars = company.vars(&json!(token), &BTreeMap::new());
        let request = target().request("verify.resource", &vars).unwrap();
        assert_eq!(request.headers()["x-csrf"], csrf, "{token}");
    }

    #[test]
    fn every_token_travels_with_what_was_issued_beside_it() {
        let company = Company::new(&target());
        let (alice, bob) = (jwt(json!({"sub": "alice", "n": 1}), "s"), jwt(json!({"sub": "bob", "n": 2}), "s"));
        company.learn(None, &issued(&alice, Some("refresh-a"), "csrf-a"));
        company.learn(None, &issued(&bob, Some("refresh-b"), "csrf-b"));
        check(&company, &alice, "csrf-a");
        check(&company, "refresh-a", "csrf-a");
        check(&company, &bob, "csrf-b");
        check(&company, &jwt(json!({"sub": "alice", "n": 1}), "forged"), "csrf-a");
        check(&company, &jwt(json!({"sub": "alice", "assay": 1}), "forged"), "csrf-a");
        check(&company, "garbage", "csrf-b");
        company.learn(Some("refresh-a"), &issued("new-access", None, "csrf-c"));
        check(&company, "new-access", "csrf-c");
        check(&company, "refresh-a", "csrf-c");
        check(&company, &alice, "csrf-a");
    }

    #[test]
    fn tokens_that_checks_share_keep_their_company_however_many_come_after() {
        let company = Company::new(&target());
        let shared = jwt(json!({"sub": "alice", "n": 0}), "s");
        let held = issued(&shared, None, "csrf-shared");
        company.learn(None, &held);
        company.pin(&held);
        for n in 1..=LIMIT + 8 {
            company.learn(None, &issued(&jwt(json!({"sub": "alice", "n": n}), "s"), None, "csrf-other"));
        }
        check(&company, &shared, "csrf-shared");
        assert_eq!(lock(&company.known).len(), LIMIT);
    }

    #[test]
    fn before_any_login_the_parts_that_mention_it_are_left_out() {
        let request = target().request("verify.resource", &Vars::new()).unwrap();
        assert!(!request.headers().contains_key("x-csrf") && !request.headers().contains_key("cookie"));
    }
}
