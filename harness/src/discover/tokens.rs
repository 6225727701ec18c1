//! Where in a reply are the tokens, and what does a token say of itself?

use std::collections::BTreeMap;

use indexmap::IndexMap;
use serde_json::{Map, Value};

use crate::clock;
use crate::jose::base64url;
use crate::target::{TokenFormat, TokenKind};
use crate::wire::Reply;

/// What a value of a reply seems to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Access,
    Refresh,
    Id,
    Csrf,
    RefreshCsrf,
    ExpiresIn,
}

/// Claims that tell kinds of tokens apart, where they differ.
const TYPE_CLAIMS: &[&str] = &["token_type", "typ", "type", "token_use", "use", "tokenType", "kind"];
/// Claims that name the user, in the order of preference.
const SUBJECT_CLAIMS: &[&str] =
    &["sub", "user_id", "userId", "uid", "username", "user", "preferred_username", "email", "id"];
/// Headers that bring tokens.
const HEADERS: &[(&str, Role)] = &[
    ("authorization", Role::Access),
    ("x-auth-token", Role::Access),
    ("x-access-token", Role::Access),
    ("access-token", Role::Access),
    ("x-refresh-token", Role::Refresh),
    ("refresh-token", Role::Refresh),
    ("x-csrf-token", Role::Csrf),
];

/// Header and claims of a JWT, unverified.
pub(super) fn decode(token: &str) -> Option<(Map<String, Value>, Map<String, Value>)> {
    let mut parts = token.split('.');
    let mut object = || serde_json::from_slice(&base64url::decode(parts.next()?)?).ok();
    let (header, claims) = (object()?, object()?);
    (parts.next().is_some() && parts.next().is_none()).then_some((header, claims))
}

fn role_of_name(name: &str) -> Option<Role> {
    let name: String = name.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_ascii_lowercase();
    if name.contains("csrf") || name.contains("xsrf") {
        return Some(if name.contains("refresh") { Role::RefreshCsrf } else { Role::Csrf });
    }
    if name.contains("expiresin") || name == "ttl" {
        return (!name.contains("refresh")).then_some(Role::ExpiresIn);
    }
    if name.contains("type") || name.contains("expir") {
        return None;
    }
    if name.contains("refresh") {
        return Some(Role::Refresh);
    }
    if name == "idtoken" {
        return Some(Role::Id);
    }
    let access = name.contains("access") || name.ends_with("token") || name.contains("jwt");
    (access || matches!(name.as_str(), "bearer" | "key")).then_some(Role::Access)
}

/// What the claims of a token say that it is, where they do.
fn role_of_claims(token: &str) -> Option<Role> {
    let (_, claims) = decode(token)?;
    let said = TYPE_CLAIMS.iter().find_map(|name| claims.get(*name)?.as_str())?.to_ascii_lowercase();
    match said.as_str() {
        said if said.contains("refresh") => Some(Role::Refresh),
        "id" => Some(Role::Id),
        said if said.contains("access") || said == "bearer" => Some(Role::Access),
        _ => None,
    }
}

/// `returns` of an operation, read off a reply that grants; empty without an access token.
pub(super) fn returns(reply: &Reply) -> IndexMap<String, String> {
    let mut found: Vec<(Role, String, bool)> = Vec::new();
    let mut add = |role: Option<Role>, place: String, text: &str| {
        let jwt = decode(text.trim_start_matches("Bearer ")).is_some();
        let role = role_of_claims(text).or(role).or(jwt.then_some(Role::Access));
        // A handle is long; "ok" is none.
        if let Some(role) = role
            .filter(|role| jwt || text.len() >= 8 || matches!(role, Role::ExpiresIn | Role::Csrf | Role::RefreshCsrf))
        {
            found.push((role, place, jwt));
        }
    };
    match reply.json() {
        Some(json @ (Value::Object(_) | Value::Array(_))) => walk(&json, "", "", 0, &mut add),
        Some(Value::String(text)) => add(None, "body".to_owned(), &text),
        _ => add(None, "body".to_owned(), reply.text().trim()),
    }
    for line in reply.header_all("set-cookie") {
        let Some((name, value)) = line.split(';').next().and_then(|pair| pair.split_once('=')) else { continue };
        add(role_of_name(name.trim()), format!("cookie:{}", name.trim()), value.trim().trim_matches('"'));
    }
    for (name, role) in HEADERS {
        if let Some(value) = reply.header(name) {
            add(Some(*role), format!("header:{name}"), value.trim());
        }
    }
    let mut returns = IndexMap::new();
    for (role, name) in [
        (Role::Access, "access"),
        (Role::Refresh, "refresh"),
        (Role::Id, "id_token"),
        (Role::ExpiresIn, "expires_in"),
        (Role::Csrf, "csrf"),
        (Role::RefreshCsrf, "refresh_csrf"),
    ] {
        let mut of_role = found.iter().filter(|(r, _, _)| *r == role);
        // A JWT is surely a token; of names alone the first is as good as any.
        let best = of_role.clone().find(|(_, _, jwt)| *jwt).or_else(|| of_role.next());
        if let Some((_, place, _)) = best {
            returns.insert(name.to_owned(), place.clone());
        }
    }
    if returns.contains_key("access") { returns } else { IndexMap::new() }
}

fn walk(value: &Value, name: &str, pointer: &str, depth: u8, add: &mut impl FnMut(Option<Role>, String, &str)) {
    match value {
        Value::Object(members) if depth < 6 => {
            for (key, member) in members {
                let escaped = key.replace('~', "~0").replace('/', "~1");
                walk(member, key, &format!("{pointer}/{escaped}"), depth + 1, add);
            }
        }
        Value::Array(items) if depth < 6 => {
            for (n, item) in items.iter().take(8).enumerate() {
                walk(item, name, &format!("{pointer}/{n}"), depth + 1, add);
            }
        }
        Value::String(text) => {
            add(role_of_name(name).filter(|role| *role != Role::ExpiresIn), pointer.to_owned(), text)
        }
        Value::Number(number) if role_of_name(name) == Some(Role::ExpiresIn) => {
            add(Some(Role::ExpiresIn), pointer.to_owned(), &number.to_string());
        }
        _ => {}
    }
}

/// What a kind of token looks like, read off one; `other` is a token of another kind from the same login.
pub(super) fn kind(token: &str, other: Option<&str>) -> TokenKind {
    let Some((header, claims)) = decode(token) else {
        return TokenKind { format: Some(TokenFormat::Opaque), ..TokenKind::default() };
    };
    let number = |name: &str| claims.get(name).and_then(Value::as_f64);
    let lifetime = match (number("exp"), number("iat")) {
        (Some(exp), Some(iat)) => Some(exp - iat).filter(|s| *s > 0.0).map(sensible),
        (Some(exp), None) => Some(whole_lifetime(exp - clock::unix())).filter(|s| *s > 0.0),
        _ => None,
    };
    let others = other.and_then(decode).map(|(_, claims)| claims);
    let type_claim = TYPE_CLAIMS.iter().find_map(|name| {
        let value = claims.get(*name).filter(|value| value.is_string())?;
        let differs = others.as_ref().is_some_and(|others| others.get(*name) != Some(value));
        differs.then(|| BTreeMap::from([((*name).to_owned(), value.clone())]))
    });
    let typ = header.get("typ").filter(|typ| typ.is_string());
    TokenKind {
        format: Some(TokenFormat::Jwt),
        alg: header.get("alg").and_then(Value::as_str).map(str::to_owned),
        lifetime_s: lifetime,
        header: typ.map(|typ| BTreeMap::from([("typ".to_owned(), typ.clone())])).unwrap_or_default(),
        type_claim: type_claim.unwrap_or_default(),
        subject_claim: subject(&claims).map(|(name, _)| name.to_owned()).filter(|name| name != "sub"),
    }
}

/// What was configured, from two times that a server took one after the other: whole seconds, and whole minutes where one is
/// missing or too many.
pub(super) fn sensible(lifetime_s: f64) -> f64 {
    let minutes = (lifetime_s / 60.0).round() * 60.0;
    if minutes > 0.0 && (lifetime_s - minutes).abs() <= 1.0 { minutes } else { lifetime_s.round().max(1.0) }
}

/// What was configured, from what is left of it: without `iat`, the login itself has taken a moment of it.
fn whole_lifetime(left_s: f64) -> f64 {
    let round = |step: f64| (left_s / step).ceil() * step;
    [60.0, 10.0, 5.0].into_iter().map(round).find(|whole| whole - left_s <= 3.0).unwrap_or_else(|| left_s.round())
}

/// The claim that names the user, and whom it names.
pub(super) fn subject(claims: &Map<String, Value>) -> Option<(&'static str, String)> {
    SUBJECT_CLAIMS.iter().find_map(|name| match claims.get(*name)? {
        Value::String(text) => Some((*name, text.clone())),
        Value::Number(number) => Some((*name, number.to_string())),
        _ => None,
    })
}

/// The token with one character of its last part changed: nobody issued it.
pub(super) fn tampered(token: &str) -> String {
    let last = token.rfind('.').map_or(0, |at| at + 1);
    let at = last + (token.len() - last) / 2;
    token
        .char_indices()
        .map(|(n, c)| match c {
            c if n != at => c,
            'A' => 'B',
            _ => 'A',
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn jwt(claims: Value) -> String {
        format!(
            "{}.{}.c2ln",
            base64url::encode(r#"{"alg":"HS256","typ":"JWT"}"#),
            base64url::encode(claims.to_string())
        )
    }

    fn reply(headers: &[(&str, &str)], body: String) -> Reply {
        Reply {
            status: 200,
            headers: headers.iter().map(|(n, v)| ((*n).to_owned(), v.as_bytes().to_vec())).collect(),
            body: body.into_bytes(),
            ..Reply::default()
        }
    }

    #[track_caller]
    fn check(reply: &Reply, wanted: &[(&str, &str)]) {
        let found = returns(reply);
        let found: Vec<(&str, &str)> = found.iter().map(|(n, p)| (n.as_str(), p.as_str())).collect();
        assert_eq!(found, wanted);
    }

    #[test]
    fn tokens_are_found_wherever_servers_put_them() {
        let (access, refresh) =
            (jwt(serde_json::json!({"sub": "1"})), jwt(serde_json::json!({"token_type": "refresh"})));
        check(
            &reply(&[], format!(r#"{{"refresh": "{refresh}", "access": "{access}"}}"#)),
            &[("access", "/access"), ("refresh", "/refresh")],
        );
        check(
            &reply(&[], r#"{"access_token": "Ab3dEfGh1jKl", "expires_in": 300, "token_type": "Bearer", "scope": "read write all", "refresh_token": "zYxWvUtSr"}"#.into()),
            &[("access", "/access_token"), ("refresh", "/refresh_token"), ("expires_in", "/expires_in")],
        );
        check(
            &reply(&[], format!(r#"{{"data": {{"session": {{"value": "{access}"}}}}}}"#)),
            &[("access", "/data/session/value")],
        );
        check(&reply(&[], format!("\"{access}\"")), &[("access", "body")]);
        check(&reply(&[], access.clone()), &[("access", "body")]);
        check(
            &reply(
                &[
                    ("Set-Cookie", &format!("at={access}; HttpOnly")),
                    ("Set-Cookie", "csrf_token=0123456789ab"),
                    ("Set-Cookie", "lang=en"),
                ],
                "{\"user\": \"alice in wonderland\"}".into(),
            ),
            &[("access", "cookie:at"), ("csrf", "cookie:csrf_token")],
        );
        check(
            &reply(
                &[
                    ("Set-Cookie", &format!("at={access}; HttpOnly")),
                    ("Set-Cookie", "csrf_access_token=0123456789ab"),
                    ("Set-Cookie", &format!("rt={refresh}; HttpOnly")),
                    ("Set-Cookie", "csrf_refresh_token=ba9876543210"),
                ],
                "{}".into(),
            ),
            &[
                ("access", "cookie:at"),
                ("refresh", "cookie:rt"),
                ("csrf", "cookie:csrf_access_token"),
                ("refresh_csrf", "cookie:csrf_refresh_token"),
            ],
        );
        check(
            &reply(&[("Authorization", &format!("Bearer {access}"))], String::new()),
            &[("access", "header:authorization")],
        );
        check(&reply(&[], "<html>welcome back, alice</html>".into()), &[]);
        check(&reply(&[], r#"{"status": "ok", "token_type": "bearer bearer"}"#.into()), &[]);
    }

    #[test]
    fn a_token_tells_its_kind() {
        let access = jwt(serde_json::json!({"token_type": "access", "user_id": "7", "iat": 100, "exp": 400}));
        let refresh = jwt(serde_json::json!({"token_type": "refresh", "user_id": "7"}));
        let kind = kind(&access, Some(&refresh));
        assert_eq!((kind.alg.as_deref(), kind.lifetime_s), (Some("HS256"), Some(300.0)));
        assert_eq!(kind.type_claim["token_type"], "access");
        assert_eq!(kind.subject_claim.as_deref(), Some("user_id"));
        assert_eq!(super::kind("0123456789", None).format, Some(TokenFormat::Opaque));
    }

    #[test]
    fn a_lifetime_without_a_beginning_is_a_round_one() {
        for (left, whole) in [(1799.2, 1800.0), (299.9, 300.0), (29.1, 30.0), (4.6, 5.0), (1234.4, 1235.0)] {
            assert_eq!(whole_lifetime(left), whole);
        }
        for (seen, whole) in [(900.365434885025, 900.0), (599.0, 600.0), (61.0, 60.0), (45.2, 45.0), (3.9, 4.0)] {
            assert_eq!(sensible(seen), whole);
        }
    }

    #[test]
    fn a_tampered_token_differs_in_its_last_part_alone() {
        let token = "aaa.bbb.ccccc";
        assert_eq!(tampered(token), "aaa.bbb.ccAcc");
        assert_ne!(tampered("AAAAAA"), "AAAAAA");
    }
}
