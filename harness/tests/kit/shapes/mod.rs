//! How do token servers of other people behave? Small ones that behave so, one per recipe of docs/profiles.md.
//!
//! Each is right in what it does with tokens, and odd in how it is spoken to.

mod keeper;
mod talk;

use base64::Engine as _;
use serde_json::{Value, json};

use keeper::Keeper;
use talk::{Asked, CLIENT, Said, says};
pub use talk::{Server, serve};

/// A server: what it does with a request.
pub type Shape = fn(&Keeper, &Asked) -> Said;

/// One per recipe, by the recipe's name.
pub const SHAPES: &[(&str, Shape)] = &[
    ("created", created),
    ("cookies", cookies),
    ("form-client", form_client),
    ("client-credentials", client_credentials),
    ("html-refusal", html_refusal),
    ("always-200", always_200),
    ("refresh-in-header", refresh_in_header),
    ("both-tokens", both_tokens),
    ("odd-places", odd_places),
    ("token-table", token_table),
    ("two-csrf", two_csrf),
    ("graphql", graphql),
    ("tenant", tenant),
    ("vhost", vhost),
    ("xml", xml),
    ("code", code),
];

/// Servers whose logout no document names: one has no effect, one takes the refresh token as a bearer token. And one
/// whose tokens are the same text for all logins and refreshes of a second.
pub const FOUND: &[(&str, Shape)] =
    &[("idle", idle_logout), ("by-refresh", logout_by_refresh), ("by-second", by_second), ("any-logout", any_logout)];

fn tokens_in_json(keeper: &Keeper, asked: &Asked) -> Said {
    match (asked.method.as_str(), asked.path.as_str()) {
        ("POST", "/login") => match Keeper::password(asked.json("username"), asked.json("password")) {
            Ok(user) => {
                let (access, refresh) = keeper.issue(&user);
                says(200, json!({"access": access, "refresh": refresh}))
            }
            Err(true) => unauthorised(),
            Err(false) => says(400, json!({"error": "username and password are required"})),
        },
        // As tutorials have it: POST /token renews.
        ("POST", "/token") => match keeper.rotate(asked.json("token").as_deref(), None) {
            Some((access, refresh)) => says(200, json!({"access": access, "refresh": refresh})),
            None => unauthorised(),
        },
        ("GET", "/me") => bearer_me(keeper, asked),
        ("GET", "/login" | "/token" | "/logout") => not_this_method(),
        _ => nothing_here(),
    }
}

fn idle_logout(keeper: &Keeper, asked: &Asked) -> Said {
    if !asked.is("POST", "/logout") {
        return tokens_in_json(keeper, asked);
    }
    match keeper.user_of(asked.after("bearer")) {
        Some(_) => says(200, json!({"bye": true})),
        None => unauthorised(),
    }
}

fn logout_by_refresh(keeper: &Keeper, asked: &Asked) -> Said {
    if !asked.is("DELETE", "/logout") {
        return tokens_in_json(keeper, asked);
    }
    match keeper.end(asked.after("bearer")) {
        Some(()) => says(200, json!({"bye": true})),
        None => unauthorised(),
    }
}

/// A logout that has nothing to say about what it is given.
fn any_logout(keeper: &Keeper, asked: &Asked) -> Said {
    if !asked.is("POST", "/bye") {
        return tokens_in_json(keeper, asked);
    }
    keeper.end(asked.json("token").as_deref());
    says(200, json!({"bye": true}))
}

/// Tokens without a `jti`, and nothing kept: each refresh brings a new pair, which is the old one within a second.
fn by_second(keeper: &Keeper, asked: &Asked) -> Said {
    let pair = |user: &str| {
        let sign = |kind, life| Keeper::sign_by_second(user, kind, life);
        says(200, json!({"access": sign("access", 300), "refresh": sign("refresh", 3600)}))
    };
    match (asked.method.as_str(), asked.path.as_str()) {
        ("POST", "/login") => match Keeper::password(asked.json("username"), asked.json("password")) {
            Ok(user) => pair(&user),
            Err(_) => unauthorised(),
        },
        ("POST", "/token") => match asked.json("token").as_deref().and_then(|token| Keeper::read(token, "refresh")) {
            Some((user, _)) => pair(&user),
            None => unauthorised(),
        },
        _ => tokens_in_json(keeper, asked),
    }
}

fn nothing_here() -> Said {
    says(404, json!({"error": "no such page"}))
}

fn not_this_method() -> Said {
    says(405, json!({"error": "method not allowed"})).with("allow", "POST")
}

fn unauthorised() -> Said {
    says(401, json!({"error": "unauthorised"})).with("www-authenticate", "Bearer realm=\"shape\"")
}

fn created(keeper: &Keeper, asked: &Asked) -> Said {
    match (asked.method.as_str(), asked.path.as_str()) {
        ("POST", "/sessions") => match Keeper::password(asked.json("email"), asked.json("password")) {
            Ok(user) => says(201, json!({"data": {"type": "session", "attributes": {"token": keeper.issue(&user).0}}})),
            Err(_) => says(422, json!({"errors": [{"title": "email or password"}]})),
        },
        ("GET", "/profile") => match keeper.user_of(asked.after("bearer")) {
            Some(user) => says(200, json!({"email": user})),
            None => says(403, json!({"errors": [{"title": "forbidden"}]})),
        },
        _ => nothing_here(),
    }
}

fn cookies(keeper: &Keeper, asked: &Asked) -> Said {
    let set = |said: Said, pair: (String, String)| {
        let csrf = format!("csrf-{}", keeper.number());
        said.with("set-cookie", format!("access_token={}; HttpOnly; Path=/", pair.0))
            .with("set-cookie", format!("refresh_token={}; HttpOnly; Path=/auth/refresh", pair.1))
            .with("set-cookie", format!("csrf_token={csrf}; Path=/"))
    };
    let csrf = asked.cookie("csrf_token").is_some_and(|csrf| asked.header("x-csrf-token") == Some(csrf));
    match (asked.method.as_str(), asked.path.as_str()) {
        ("POST", "/auth/login") => match Keeper::password(asked.json("username"), asked.json("password")) {
            Ok(user) => set(says(200, json!({"ok": true})), keeper.issue(&user)),
            Err(true) => unauthorised(),
            Err(false) => says(400, json!({"error": "username and password are required"})),
        },
        ("POST", "/auth/refresh") => match keeper.rotate(asked.cookie("refresh_token").filter(|_| csrf), None) {
            Some(pair) => set(says(200, json!({"ok": true})), pair),
            None => unauthorised(),
        },
        ("GET", "/auth/me") => match keeper.user_of(asked.cookie("access_token").filter(|_| csrf)) {
            Some(user) => says(200, json!({"username": user})),
            None => unauthorised(),
        },
        ("GET", "/auth/login" | "/auth/refresh") => not_this_method(),
        _ => nothing_here(),
    }
}

fn bearer_me(keeper: &Keeper, asked: &Asked) -> Said {
    match keeper.user_of(asked.after("bearer")) {
        Some(user) => says(200, json!({"name": user})),
        None => unauthorised(),
    }
}

fn form_client(keeper: &Keeper, asked: &Asked) -> Said {
    match (asked.method.as_str(), asked.path.as_str()) {
        ("POST", "/oauth/token") => {
            let fresh = |said: Said| said.with("cache-control", "no-store");
            let Some(grant) = asked.form("grant_type") else { return says(400, json!({"error": "invalid_request"})) };
            if asked.form("client_id").as_deref() != Some(CLIENT.0)
                || asked.form("client_secret").as_deref() != Some(CLIENT.1)
            {
                return says(401, json!({"error": "invalid_client"}));
            }
            if grant != "password" {
                return says(400, json!({"error": "unsupported_grant_type"}));
            }
            match Keeper::password(asked.form("username"), asked.form("password")) {
                Ok(user) => {
                    let (access, refresh) = keeper.issue(&user);
                    fresh(says(
                        200,
                        json!({"access_token": access, "refresh_token": refresh, "token_type": "Bearer", "expires_in": 300}),
                    ))
                }
                Err(true) => says(400, json!({"error": "invalid_grant"})),
                Err(false) => says(400, json!({"error": "invalid_request"})),
            }
        }
        ("GET", "/oauth/token") => not_this_method(),
        ("GET", "/me") => bearer_me(keeper, asked),
        _ => nothing_here(),
    }
}

fn client_credentials(keeper: &Keeper, asked: &Asked) -> Said {
    match (asked.method.as_str(), asked.path.as_str()) {
        ("POST", "/oauth/token") if asked.form("grant_type").is_none() => {
            says(400, json!({"error": "invalid_request"}))
        }
        ("POST", "/oauth/token") if !asked.client_by_basic() => {
            says(401, json!({"error": "invalid_client"})).with("www-authenticate", "Basic realm=\"shape\"")
        }
        ("POST", "/oauth/token") => {
            says(200, json!({"access_token": keeper.issue(CLIENT.0).0, "token_type": "Bearer", "expires_in": 300}))
                .with("cache-control", "no-store")
        }
        ("GET", "/oauth/token") => not_this_method(),
        ("GET", "/me") => bearer_me(keeper, asked),
        _ => nothing_here(),
    }
}

/// The login of recipes that say nothing about it.
fn login(keeper: &Keeper, asked: &Asked) -> Option<Said> {
    if asked.path != "/login" {
        return None;
    }
    if asked.method != "POST" {
        return Some(not_this_method());
    }
    Some(match Keeper::password(asked.json("name"), asked.json("password")) {
        Ok(user) => {
            let (access, refresh) = keeper.issue(&user);
            says(200, json!({"access": access, "refresh": refresh})).with("cache-control", "no-store")
        }
        Err(true) => unauthorised(),
        Err(false) => says(400, json!({"error": "name and password are required"})),
    })
}

fn html_refusal(keeper: &Keeper, asked: &Asked) -> Said {
    if let Some(said) = login(keeper, asked) {
        return said;
    }
    match keeper.user_of(asked.after("bearer")) {
        Some(user) if asked.is("GET", "/hello/") => says(200, json!({"username": user})),
        _ => Said {
            status: if asked.path == "/hello/" { 403 } else { 404 },
            headers: vec![("content-type", "text/html".into())],
            body: String::new(),
        },
    }
}

fn always_200(keeper: &Keeper, asked: &Asked) -> Said {
    match (asked.method.as_str(), asked.path.as_str()) {
        ("POST", "/rpc/login") => match Keeper::password(asked.json("name"), asked.json("password")) {
            Ok(user) => says(200, json!({"ok": true, "result": {"token": keeper.issue(&user).0}})),
            Err(_) => says(200, json!({"ok": false, "error": "login"})),
        },
        ("POST", "/rpc/check") => match keeper.user_of(asked.json("token").as_deref()) {
            Some(user) => says(200, json!({"active": true, "sub": user})),
            None => says(200, json!({"active": false})),
        },
        ("GET", "/rpc/login" | "/rpc/check") => not_this_method(),
        _ => nothing_here(),
    }
}

fn refresh_in_header(keeper: &Keeper, asked: &Asked) -> Said {
    let refuse = |asked: &Asked| match asked.header("authorization") {
        None => says(401, json!({"msg": "Missing Authorization Header"})),
        Some(_) => says(422, json!({"msg": "Not enough segments"})),
    };
    match (asked.method.as_str(), asked.path.as_str()) {
        ("POST", "/login") => match Keeper::password(asked.json("username"), asked.json("password")) {
            Ok(user) => {
                let (access, refresh) = keeper.issue(&user);
                says(200, json!({"access_token": access, "refresh_token": refresh}))
            }
            Err(true) => says(401, json!({"msg": "Bad username or password"})),
            Err(false) => says(400, json!({"msg": "Missing JSON"})),
        },
        ("POST", "/refresh") => match asked.after("bearer").and_then(|token| Keeper::read(token, "refresh")) {
            Some((user, session)) => says(200, json!({"access_token": keeper.sign(&user, &session, "access", 300)})),
            None => refuse(asked),
        },
        ("GET", "/protected") => match keeper.user_of(asked.after("bearer")) {
            Some(user) => says(200, json!({"logged_in_as": user})),
            None => refuse(asked),
        },
        ("GET", "/login" | "/refresh") => not_this_method(),
        _ => nothing_here(),
    }
}

fn both_tokens(keeper: &Keeper, asked: &Asked) -> Said {
    let pair = |(access, refresh)| says(200, json!({"accessToken": access, "refreshToken": refresh}));
    match (asked.method.as_str(), asked.path.as_str()) {
        ("POST", "/login") => match Keeper::password(asked.json("username"), asked.json("password")) {
            Ok(user) => pair(keeper.issue(&user)),
            Err(true) => unauthorised(),
            Err(false) => says(400, json!({"title": "One or more validation errors occurred."})),
        },
        ("POST", "/refresh") => match (asked.json("accessToken"), asked.json("refreshToken")) {
            (Some(access), Some(refresh)) => {
                keeper.rotate(Some(&refresh), Some(&access)).map_or_else(unauthorised, pair)
            }
            _ => says(400, json!({"title": "One or more validation errors occurred."})),
        },
        ("POST", "/logout") => match (keeper.user_of(asked.after("bearer")), asked.json("refreshToken")) {
            (None, _) => unauthorised(),
            (_, None) => says(400, json!({"title": "One or more validation errors occurred."})),
            (Some(_), Some(refresh)) => match keeper.end(Some(&refresh)) {
                Some(()) => Said { status: 204, headers: Vec::new(), body: String::new() },
                None => unauthorised(),
            },
        },
        ("GET", "/me") => bearer_me(keeper, asked),
        ("GET", "/login" | "/refresh" | "/logout") => not_this_method(),
        _ => nothing_here(),
    }
}

fn odd_places(keeper: &Keeper, asked: &Asked) -> Said {
    if let Some(said) = login(keeper, asked) {
        return said;
    }
    let token = match asked.path.as_str() {
        "/me" => asked.after("jwt"),
        "/key" => asked.header("x-auth-token"),
        "/stream" => asked.query.get("access_token").map(String::as_str),
        _ => return nothing_here(),
    };
    match keeper.user_of(token) {
        Some(user) => says(200, json!({"name": user})),
        None => says(401, json!({"error": "unauthorised"})).with("www-authenticate", "JWT realm=\"shape\""),
    }
}

fn token_table(keeper: &Keeper, asked: &Asked) -> Said {
    match (asked.method.as_str(), asked.path.as_str()) {
        ("POST", "/login") => match Keeper::password(asked.json("name"), asked.json("password")) {
            Ok(user) => says(200, json!({"access": keeper.handle(&user), "refresh": keeper.handle("nobody")})),
            Err(true) => unauthorised(),
            Err(false) => says(400, json!({"error": "name and password are required"})),
        },
        ("GET", "/me") => match keeper.user_of_handle(asked.after("bearer")).filter(|user| user != "nobody") {
            Some(user) => says(200, json!({"name": user})),
            None => unauthorised(),
        },
        ("GET", "/login") => not_this_method(),
        _ => nothing_here(),
    }
}

/// As Flask-JWT-Extended: every token has a CSRF value of its own, and a refresh brings a new access token alone.
fn two_csrf(keeper: &Keeper, asked: &Asked) -> Said {
    two_csrf_by(Keeper::read, keeper, asked)
}

/// The same, but that it looks at no token's kind: the CSRF values alone keep one from doing the other's work.
pub fn two_csrf_of_any_kind(keeper: &Keeper, asked: &Asked) -> Said {
    two_csrf_by(|token, _| ["access", "refresh"].iter().find_map(|kind| Keeper::read(token, kind)), keeper, asked)
}

fn two_csrf_by(read_as: fn(&str, &str) -> Option<(String, String)>, keeper: &Keeper, asked: &Asked) -> Said {
    let value_of = |token: &str| format!("csrf-{}", token.rsplit('.').next().unwrap_or_default());
    let set = |said: Said, kind: &str, token: &str| {
        said.with("set-cookie", format!("{kind}_token_cookie={token}; HttpOnly; Path=/"))
            .with("set-cookie", format!("csrf_{kind}_token={}; Path=/", value_of(token)))
    };
    let shown = |kind: &str| {
        let token = asked.cookie(&format!("{kind}_token_cookie"))?;
        (asked.header("x-csrf-token") == Some(value_of(token).as_str())).then_some(token)
    };
    let ended = |session: &str| keeper.user_of_handle(Some(&format!("ended {session}"))).is_some();
    let read = |kind: &str| shown(kind).and_then(|token| read_as(token, kind));
    let living = |kind: &str| read(kind).filter(|(_, session)| !ended(session));
    let refuse = || says(401, json!({"msg": "Missing or wrong token"}));
    match (asked.method.as_str(), asked.path.as_str()) {
        ("POST", "/login") => match Keeper::password(asked.json("username"), asked.json("password")) {
            Ok(user) => {
                let (access, refresh) = keeper.issue(&user);
                set(set(says(200, json!({"login": true})), "access", &access), "refresh", &refresh)
            }
            Err(true) => refuse(),
            Err(false) => says(400, json!({"msg": "Missing JSON"})),
        },
        ("POST", "/refresh") => match living("refresh") {
            Some((user, session)) => {
                set(says(200, json!({"refresh": true})), "access", &keeper.sign(&user, &session, "access", 300))
            }
            None => refuse(),
        },
        ("DELETE", "/logout") => match living("access") {
            Some((user, session)) => {
                keeper.keep(format!("ended {session}"), &user);
                says(200, json!({"msg": "session ended"}))
            }
            None => refuse(),
        },
        ("POST", "/protected") => match living("access") {
            Some((user, _)) => says(200, json!({"logged_in_as": user})),
            None => refuse(),
        },
        (_, "/login" | "/refresh" | "/logout" | "/protected") => not_this_method(),
        _ => nothing_here(),
    }
}

/// One path, the operation in the text, everything answered with 200.
fn graphql(keeper: &Keeper, asked: &Asked) -> Said {
    if !asked.is("POST", "/graphql") {
        return if asked.path == "/graphql" { not_this_method() } else { nothing_here() };
    }
    let error = |text: &str| says(200, json!({"data": null, "errors": [{"message": text}]}));
    let Some(query) = asked.json("query") else { return says(400, json!({"errors": [{"message": "no query"}]})) };
    let body: Value = serde_json::from_slice(&asked.body).unwrap_or_default();
    let variable = |name: &str| body.pointer(&format!("/variables/{name}"))?.as_str().map(str::to_owned);
    let tokens = |pair: (String, String)| json!({"tokens": {"access": pair.0, "refresh": pair.1}});
    if query.contains("login(") {
        match Keeper::password(variable("u"), variable("p")) {
            Ok(user) => says(200, json!({"data": {"login": tokens(keeper.issue(&user))}})),
            Err(_) => error("Please enter valid credentials"),
        }
    } else if query.contains("refreshToken(") {
        match keeper.rotate(variable("t").as_deref(), None) {
            Some(pair) => says(200, json!({"data": {"refreshToken": tokens(pair)}})),
            None => error("Invalid refresh token"),
        }
    } else {
        match keeper.user_of(asked.after("bearer")) {
            Some(user) => says(200, json!({"data": {"me": user}})),
            None => error("Signature has expired or you are nobody"),
        }
    }
}

/// Wants two headers with everything, redirects after a login and instead of refusing.
fn tenant(keeper: &Keeper, asked: &Asked) -> Said {
    if asked.header("x-tenant") != Some("shop") || asked.header("x-api-key") != Some("gateway-key-9") {
        return nothing_here();
    }
    let page = |status: u16, text: &str| Said {
        status,
        headers: vec![("content-type", "text/html".into())],
        body: format!("<html>{text}</html>"),
    };
    match (asked.method.as_str(), asked.path.as_str()) {
        ("POST", "/login") => match Keeper::password(asked.form("user"), asked.form("pin")) {
            Ok(user) => page(303, "").with("location", "/account").with(
                "set-cookie",
                format!("sid_token={}; Secure; HttpOnly; SameSite=Lax; Path=/", keeper.issue(&user).0),
            ),
            Err(true) => page(200, "wrong name or PIN"),
            Err(false) => page(400, "name and PIN, please"),
        },
        ("GET", "/account") => match keeper.user_of(asked.cookie("sid_token")) {
            Some(user) => page(200, &user),
            None => page(302, "").with("location", "/login?next=/account"),
        },
        ("GET", "/login") => not_this_method(),
        _ => nothing_here(),
    }
}

/// Answers for one host alone.
fn vhost(keeper: &Keeper, asked: &Asked) -> Said {
    match asked.header("host") {
        Some("shop.test") => login(keeper, asked).unwrap_or_else(|| match asked.path.as_str() {
            "/me" => bearer_me(keeper, asked),
            _ => nothing_here(),
        }),
        _ => Said {
            status: 400,
            headers: vec![("content-type", "text/html".into())],
            body: "<h1>Bad Request</h1>".into(),
        },
    }
}

/// XML both ways, the token in a header.
fn xml(keeper: &Keeper, asked: &Asked) -> Said {
    let says = |status: u16, body: String| Said { status, headers: vec![("content-type", "text/xml".into())], body };
    let text = String::from_utf8_lossy(&asked.body).into_owned();
    let of = |name: &str| {
        let (_, rest) = text.split_once(&format!("<{name}>"))?;
        rest.split_once(&format!("</{name}>")).map(|(value, _)| value.to_owned())
    };
    match (asked.method.as_str(), asked.path.as_str()) {
        ("POST", "/soap/login") => match Keeper::password(of("name"), of("password")) {
            Ok(user) => says(200, "<login><ok/></login>".into()).with("x-token", keeper.issue(&user).0),
            Err(_) => says(200, "<login><fault>login</fault></login>".into()),
        },
        ("GET", "/soap/me") => match keeper.user_of(asked.header("x-token")) {
            Some(user) => says(200, format!("<me><name>{user}</name></me>")),
            None => says(403, "<me><fault>token</fault></me>".into()),
        },
        ("GET", "/soap/login") => not_this_method(),
        _ => nothing_here(),
    }
}

/// Authorization code with PKCE: a login page with a CSRF field, a code for one use, rotating refresh tokens.
fn code(keeper: &Keeper, asked: &Asked) -> Said {
    let fresh = |said: Said| said.with("cache-control", "no-store");
    let page =
        |body: &str| Said { status: 200, headers: vec![("content-type", "text/html".into())], body: body.into() };
    let to = |place: &str| Said { status: 302, headers: vec![("location", place.to_owned())], body: String::new() };
    let error = |name: &str| fresh(says(400, json!({"error": name})));
    let pair = |(access, refresh): (String, String)| {
        fresh(says(
            200,
            json!({"access_token": access, "refresh_token": refresh, "token_type": "Bearer", "expires_in": 300}),
        ))
    };
    // What a browser was given is a session of the keeper under its own name.
    let keep = |name: String, value: &str| keeper.keep(name, value);
    let take = |name: String| keeper.take(&name);
    let next = || keeper.number();
    match (asked.method.as_str(), asked.path.as_str()) {
        ("GET", "/authorize") => {
            let who = asked.cookie("browser").and_then(|b| keeper.user_of_handle(Some(&format!("browser {b}"))));
            let (Some(user), Some(challenge)) = (who, asked.query.get("code_challenge")) else { return to("/login") };
            let code = format!("code-{}", next());
            keep(format!("code {code}"), &format!("{user} {challenge}"));
            to(&format!("{}?code={code}&state=s", asked.query.get("redirect_uri").map_or("/", String::as_str)))
        }
        ("GET", "/login") => {
            let csrf = format!("csrf-{}", next());
            page(&format!(r#"<form method="post"><input type="hidden" name="csrf" value="{csrf}"></form>"#))
                .with("set-cookie", format!("csrf={csrf}; Path=/"))
        }
        ("POST", "/login") if asked.form("csrf").as_deref() != asked.cookie("csrf") => page("try again"),
        ("POST", "/login") => match Keeper::password(asked.form("username"), asked.form("password")) {
            Ok(user) => {
                let browser = next();
                keep(format!("browser {browser}"), &user);
                to("/").with("set-cookie", format!("browser={browser}; Path=/"))
            }
            Err(_) => page("try again"),
        },
        ("POST", "/token") => match asked.form("grant_type").as_deref() {
            Some("authorization_code") => {
                let kept = asked.form("code").and_then(|code| take(format!("code {code}")));
                let digest = asked.form("code_verifier").map(|v| <sha2::Sha256 as sha2::Digest>::digest(v.as_bytes()));
                let shown = digest.map(|d| base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(d));
                match (kept.as_deref().and_then(|kept| kept.split_once(' ')), shown) {
                    (Some((user, challenge)), Some(shown)) if challenge == shown => pair(keeper.issue(user)),
                    _ => error("invalid_grant"),
                }
            }
            Some("refresh_token") if asked.form("client_id").as_deref() != Some("spa") => error("invalid_client"),
            Some("refresh_token") => match asked.form("refresh_token") {
                Some(token) => keeper.rotate(Some(&token), None).map_or_else(|| error("invalid_grant"), pair),
                None => error("invalid_request"),
            },
            _ => error("unsupported_grant_type"),
        },
        ("GET", "/me") => bearer_me(keeper, asked),
        ("GET", "/token") => not_this_method(),
        _ => nothing_here(),
    }
}
