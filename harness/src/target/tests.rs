//! Does a profile say what it should, and does a target do what its profile says?

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use serde_json::{Value, json};

use super::*;
use crate::scenario::{Source, decode, parse};

const HEAD: &str =
    "schema: 1\nname: t\ndialect: simple\nuser: {login: alice, password: pw}\nclient: {id: shop, secret: s e/c}\n";

/// A target with these operations (YAML) at a base path.
#[track_caller]
fn target(operations: &str) -> Target {
    let text = format!("{HEAD}operations:\n{operations}");
    // Types only: these tests also look at profiles that validation would refuse.
    let tree = parse(&Source::new("t.yaml", ".", text)).unwrap_or_else(|e| panic!("{}", e.render(false)));
    let profile = decode(&tree).unwrap_or_else(|e| panic!("{}", e.render(false)));
    Target::new(profile, "http://127.0.0.1:9/app", None, &[]).unwrap()
}

fn reply(status: u16, headers: &[(&str, &str)], body: &str) -> http::Response<Bytes> {
    let mut built = http::Response::builder().status(status);
    for (name, value) in headers {
        built = built.header(*name, *value);
    }
    built.body(Bytes::from(body.to_owned())).unwrap()
}

/// A request in a form that a table can hold.
fn shown(request: &http::Request<Bytes>) -> String {
    let mut lines = vec![format!("{} {}", request.method(), request.uri())];
    let mut headers: Vec<String> = request
        .headers()
        .iter()
        .filter(|(name, _)| !matches!(name.as_str(), "accept" | "user-agent"))
        .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
        .collect();
    headers.sort();
    lines.extend(headers);
    if !request.body().is_empty() {
        lines.push(String::from_utf8(request.body().to_vec()).unwrap());
    }
    lines.join("\n")
}

#[track_caller]
fn sends(operation: &str, vars: &Vars, expected: &str) {
    let target = target(&format!("  issue:\n    request: {operation}\n"));
    assert_eq!(shown(&target.request("issue", vars).unwrap()), expected);
}

#[test]
fn every_built_in_profile_and_every_variant_of_it_can_be_read() {
    for builtin in builtins() {
        let profile = load(builtin.name, None, Path::new(".")).unwrap_or_else(|e| panic!("{}", e.render(false)));
        assert_eq!(profile.name, builtin.name);
        assert!(profile.description.is_some(), "{}", builtin.name);
        for variant in profile.variants.keys() {
            load(builtin.name, Some(variant), Path::new(".")).unwrap_or_else(|e| panic!("{}", e.render(false)));
        }
    }
}

#[test]
fn the_token_travels_wherever_the_profile_puts_it() {
    let t = Vars::with_token("a.b+c");
    sends("{path: /me, auth: {bearer: '${token}'}}", &t, "GET /me\nauthorization: Bearer a.b+c");
    sends("{path: /me, headers: {X-Token: 'JWT ${token}'}}", &t, "GET /me\nx-token: JWT a.b+c");
    sends("{path: /me, cookies: {jwt: '${token}', lang: en}}", &t, "GET /me\ncookie: jwt=a.b+c; lang=en");
    sends(
        "{path: /v, fields: {token: '${token}'}}",
        &t,
        "POST /v\ncontent-type: application/json\n{\"token\":\"a.b+c\"}",
    );
    sends(
        "{path: /v, body: form, fields: {token: '${token}', scope: [a, b]}}",
        &t,
        "POST /v\ncontent-type: application/x-www-form-urlencoded\ntoken=a.b%2Bc&scope=a&scope=b",
    );
    sends("{path: '/v?x=1&token=${token}'}", &t, "GET /v?x=1&token=a.b%2Bc");
    sends("{path: '/v/${token}/x'}", &t, "GET /v/a.b%2Bc/x");
    sends("{method: PUT, path: /v, text: '${token}'}", &t, "PUT /v\ncontent-type: text/plain; charset=utf-8\na.b+c");
    sends(
        "{path: /v, auth: {basic: {user: token, password: '${token}'}}}",
        &t,
        "GET /v\nauthorization: Basic dG9rZW46YS5iK2M=",
    );
}

#[test]
fn without_a_token_every_part_that_mentions_it_is_left_out() {
    let none = Vars::new();
    sends("{path: /me, auth: {bearer: '${token}'}}", &none, "GET /me");
    sends("{path: /me, headers: {X-Token: 'JWT ${token}', X-Other: y}}", &none, "GET /me\nx-other: y");
    sends("{path: /me, cookies: {jwt: '${token}'}}", &none, "GET /me");
    sends("{path: /v, fields: {token: '${token}'}}", &none, "POST /v\ncontent-type: application/json\n{}");
    sends(
        "{path: /v, fields: {a: {token: '${token}', kind: x}, list: ['${token}', 1]}}",
        &none,
        "POST /v\ncontent-type: application/json\n{\"a\":{\"kind\":\"x\"},\"list\":[1]}",
    );
    sends("{path: '/v?x=1&token=${token}'}", &none, "GET /v?x=1");
    sends("{method: PUT, path: /v, text: '${token}'}", &none, "PUT /v");
}

#[test]
fn the_same_rule_holds_for_a_password_and_a_client_secret() {
    let issue = "{path: /t, fields: {u: '${user.login}', p: '${user.password}'}, auth: {basic: {user: '${client.id}', password: '${client.secret}', urlencode: true}}}";
    let json = "content-type: application/json\n";
    sends(
        issue,
        &Vars::new(),
        &format!("POST /t\nauthorization: Basic c2hvcDpzK2UlMkZj\n{json}{{\"u\":\"alice\",\"p\":\"pw\"}}"),
    );
    sends(
        issue,
        &Vars::new().without("user.password").without("client.secret"),
        &format!("POST /t\n{json}{{\"u\":\"alice\"}}"),
    );
    sends(
        issue,
        &Vars::new().set("user.password", "wrong").without("client.id"),
        &format!("POST /t\n{json}{{\"u\":\"alice\",\"p\":\"wrong\"}}"),
    );
    let bob = User { login: "bob".into(), password: "b".into(), id: None };
    sends(
        issue,
        &Vars::new().user(&bob).without("client.id"),
        &format!("POST /t\n{json}{{\"u\":\"bob\",\"p\":\"b\"}}"),
    );
}

#[test]
fn a_token_alone_keeps_its_json_type() {
    let head = "POST /v\ncontent-type: application/json\n";
    let verify = "{path: /v, fields: {token: '${token}', text: 'x${token}'}}";
    for (token, body) in [
        (json!(7), r#"{"token":7,"text":"x7"}"#),
        (json!(null), r#"{"token":null,"text":"xnull"}"#),
        (json!(["a"]), r#"{"token":["a"],"text":"x[\"a\"]"}"#),
        (json!(true), r#"{"token":true,"text":"xtrue"}"#),
    ] {
        sends(verify, &Vars::new().token(token), &format!("{head}{body}"));
    }
}

#[test]
fn values_of_the_login_serve_later_requests() {
    let issued = BTreeMap::from([("csrf".to_owned(), json!("c-1"))]);
    sends(
        "{path: /r, body: json, cookies: {rt: '${token}'}, headers: {X-CSRF: '${issued.csrf}'}}",
        &Vars::with_token("r").issued(&issued),
        "POST /r\ncontent-type: application/json\ncookie: rt=r\nx-csrf: c-1\n{}",
    );
}

#[test]
fn a_dollar_sign_can_be_written() {
    sends(
        "{path: /t, fields: {a: '$${token} $5 $'}}",
        &Vars::new(),
        "POST /t\ncontent-type: application/json\n{\"a\":\"${token} $5 $\"}",
    );
}

#[test]
fn headers_of_ours_can_be_replaced_and_removed() {
    let target = target("  issue:\n    request: {path: /t, headers: {Accept: '', User-Agent: x, Host: shop.test}}\n");
    let request = target.request("issue", &Vars::new()).unwrap();
    assert!(!request.headers().contains_key("accept"));
    assert_eq!(request.headers()["user-agent"], "x");
    assert_eq!(request.headers()["host"], "shop.test");
}

#[test]
fn what_cannot_be_filled_in_says_what_to_do() {
    #[track_caller]
    fn refuses(request: &str, says: &str) {
        let target = target(&format!("  issue:\n    request: {request}\n"));
        let error = target.request("issue", &Vars::with_token("t\n")).unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
    }
    refuses("{path: /t, fields: {a: '${second_user.login}'}}", "give `second_user: {login, password}`");
    refuses("{path: /t, fields: {a: '${issued.csrf}'}}", "let `returns`");
    refuses("{path: /t, fields: {a: '${usr.login}'}}", "there are token, user");
    refuses("{path: /t, fields: {a: '${env:ASSAY_SURELY_NOT_SET}'}}", "export ASSAY_SURELY_NOT_SET=");
    refuses("{path: /t, fields: {a: '${token'}}", "expected `}`");
    refuses("{path: /t, auth: {bearer: '${token}'}}", "cannot be sent");
    let target = target("  issue:\n    request: {path: /t}\n");
    assert!(target.request("isue", &Vars::new()).unwrap_err().to_string().contains("did you mean `issue`?"));
}

#[test]
fn a_discovery_document_gives_paths_whatever_its_host_and_prefix() {
    let mut target = target(
        "  issue:\n    request: {path: '${discovery.token_endpoint}'}\n  keys:\n    request: {path: '${discovery.jwks_uri}?v=1'}\n",
    );
    target.set_discovery(&json!({"token_endpoint": "https://id.test/app/o/token", "jwks_uri": "/keys"}));
    assert_eq!(target.request("issue", &Vars::new()).unwrap().uri(), "/o/token");
    assert_eq!(target.request("keys", &Vars::new()).unwrap().uri(), "/keys?v=1");
}

/// Every default and every explicit predicate, by one table.
#[test]
fn a_reply_means_what_the_profile_says() {
    #[track_caller]
    fn means(operation: &str, reply: http::Response<Bytes>, expected: &str) {
        let target =
            target(&format!("  op:\n    {}\n", operation.replace('\n', "\n    ")).replace("op:", "verify.op:"));
        let meaning = target.judge("verify.op", &reply);
        assert!(format!("{meaning:?}").starts_with(expected), "{meaning:?} is not {expected}");
    }
    let bearer = "request: {path: /me, auth: {bearer: '${token}'}}";
    means(bearer, reply(200, &[], ""), "Accepted");
    means(bearer, reply(201, &[], ""), "Unexpected");
    means(bearer, reply(301, &[], ""), "Unexpected");
    means(bearer, reply(401, &[], ""), "Denied");
    means(bearer, reply(400, &[], ""), "Invalid");
    means(bearer, reply(405, &[], ""), "WrongMethod");
    means(bearer, reply(403, &[], ""), "Unexpected");
    let named = format!(
        "{bearer}\naccepted: {{status: [200, 204], present: [/user/name]}}\ndenied: {{status: [401, 403, 422]}}"
    );
    means(&named, reply(200, &[], "{\"user\": {\"name\": \"alice\"}}"), "Accepted");
    means(&named, reply(200, &[], "{\"user\": {}}"), "Unexpected");
    means(&named, reply(200, &[], "<html>"), "Unexpected");
    means(&named, reply(422, &[], ""), "Denied");
    let introspect = "request: {path: /i, body: form, fields: {token: '${token}'}}\naccepted: {json: {/active: true}}\ndenied: {status: 200, json: {/active: false}}";
    means(introspect, reply(200, &[], "{\"active\": true}"), "Accepted");
    means(introspect, reply(200, &[], "{\"active\": false}"), "Denied");
    means(introspect, reply(200, &[], "{\"active\": \"true\"}"), "Unexpected");
    means(introspect, reply(200, &[], "{}"), "Unexpected");
    let page = format!(
        "{bearer}\naccepted: {{absent: [/error]}}\ndenied: {{status: 302, headers: {{location: /Login}}}}\ninvalid: {{status: 200, contains: sorry}}"
    );
    means(&page, reply(200, &[], "{\"a\": 1}"), "Accepted");
    means(&page, reply(200, &[], "{\"error\": \"sorry\"}"), "Invalid");
    means(&page, reply(302, &[("location", "http://x/login?next=")], ""), "Denied");
    means(&page, reply(302, &[("location", "/elsewhere")], ""), "Unexpected");
}

#[test]
fn a_request_without_a_token_is_refused_as_invalid_only_where_the_token_is_in_the_body() {
    let target = target(concat!(
        "  verify.head:\n    request: {path: /me, auth: {bearer: '${token}'}}\n    denied: {status: 403}\n",
        "  verify.body:\n    request: {path: /v, fields: {token: '${token}'}}\n    invalid: {status: 422}\n",
        "  verify.own:\n    request: {path: /v, fields: {token: '${token}'}}\n    no_token: {status: 418}\n",
    ));
    assert_eq!(target.statuses("verify.head", Case::NoToken), [403]);
    assert_eq!(target.statuses("verify.body", Case::NoToken), [422]);
    assert_eq!(target.statuses("verify.own", Case::NoToken), [418]);
    assert!(target.matches("verify.own", Case::NoToken, &reply(418, &[], "")).is_ok());
}

#[test]
fn tokens_are_taken_from_body_cookie_and_header() {
    let target = target(concat!(
        "  issue:\n    request: {path: /t}\n    returns: {access: 'cookie:at', refresh: /data/rt, csrf: 'header:X-CSRF', expires_in: /data/ttl}\n",
        "  refresh:\n    request: {path: /r}\n    returns: {access: 'header:authorization', refresh: /rt}\n",
        "  verify.raw:\n    request: {path: /raw}\n    returns: {access: body}\n",
    ));
    let login = reply(
        200,
        &[("set-cookie", "at=; Max-Age=0"), ("set-cookie", "at=\"A.b.c\"; HttpOnly; Path=/"), ("x-csrf", "c1")],
        "{\"data\": {\"rt\": \"R\", \"ttl\": \"300\"}}",
    );
    let issued = target.tokens(&login, "issue").unwrap();
    assert_eq!(
        (issued.access.as_deref(), issued.refresh.as_deref(), issued.expires_in),
        (Some("A.b.c"), Some("R"), Some(300.0))
    );
    assert_eq!(issued.other["csrf"], "c1");
    assert!(target.accepted("issue", &login));
    let refreshed = target.tokens(&reply(200, &[("authorization", "Bearer N")], ""), "refresh").unwrap();
    assert_eq!((refreshed.access.as_deref(), refreshed.refresh.as_deref()), (Some("N"), None));
    assert_eq!(target.tokens(&reply(200, &[], "raw\n"), "verify.raw").unwrap().access.as_deref(), Some("raw"));
}

#[test]
fn a_grant_without_its_token_is_no_grant() {
    let target = target("  issue:\n    request: {path: /t}\n    returns: {access: /access, refresh: /refresh}\n");
    for body in [
        "{}",
        "{\"access\": \"a\"}",
        "{\"access\": \"\", \"refresh\": \"r\"}",
        "{\"access\": {}, \"refresh\": \"r\"}",
        "login failed",
    ] {
        let answer = reply(200, &[], body);
        let Meaning::Unexpected { why } = target.judge("issue", &answer) else {
            panic!("{body} was taken for a grant")
        };
        assert!(why.contains("see `returns`"), "{why}");
    }
    assert!(target.accepted("issue", &reply(200, &[], "{\"access\": \"a\", \"refresh\": \"r\"}")));
}

#[test]
fn the_words_of_a_mix_lead_to_operations() {
    let target = target(concat!(
        "  issue: {request: {path: /t}}\n  verify.resource: {request: {path: /me}}\n",
        "  verify.introspect: {request: {path: /i}}\n  verify.userinfo: {request: {path: /u}}\n",
    ));
    for (word, operation) in [
        ("issue", "issue"),
        ("access", "verify.resource"),
        ("verify", "verify.introspect"),
        ("userinfo", "verify.userinfo"),
    ] {
        assert_eq!(target.resolve(word).as_deref(), Some(operation));
    }
    assert_eq!(target.resolve("refresh"), None);
    assert_eq!(target.profile.words(), ["issue", "access", "verify", "userinfo"]);
}

#[test]
fn a_script_stands_for_a_browser() {
    let target = target(concat!(
        "  issue:\n    command: [sh, -c, 'echo \"{\\\"at\\\": \\\"A\\\", \\\"who\\\": \\\"$0\\\"}\"', '${user.login}']\n    returns: {access: /at, who: /who}\n",
        "  refresh: {command: [sh, -c, 'echo too late >&2; exit 3']}\n",
        "  revoke: {command: [sh, -c, 'sleep 60 & sleep 60'], deadline: 50ms}\n",
        "  keys: {command: [sh, -c, 'yes']}\n",
    ));
    let issued = target.command("issue", &Vars::new()).unwrap();
    assert_eq!(issued.access.as_deref(), Some("A"));
    assert_eq!(issued.other["who"], Value::from("alice"));
    let error = |operation: &str| target.command(operation, &Vars::new()).unwrap_err().to_string();
    assert!(error("refresh").contains("exit status: 3; it said: too late"), "{}", error("refresh"));
    let started = std::time::Instant::now();
    assert!(error("revoke").contains("did not end within 50ms"));
    assert!(started.elapsed() < std::time::Duration::from_secs(10));
    assert!(target.request("issue", &Vars::new()).unwrap_err().to_string().contains("is a command"));
}

#[test]
fn secrets_are_known_and_never_shown() {
    let target = target("  issue: {request: {path: /t}}\n");
    assert_eq!(target.secrets(), ["pw", "s e/c"]);
    let shown = format!("{target:?}");
    assert!(!shown.contains("pw") && !shown.contains("s e/c"), "{shown}");
}

#[test]
fn a_profile_can_extend_another_and_a_variant_can_remove() {
    let text = "schema: 1\nname: mine\ndialect: simple\nextends: simplejwt\noperations:\n  revoke: null\n  verify.resource: {request: {path: /api/me}}\nvariants:\n  static: {operations: {refresh: null}}\n";
    let source = Source::new("mine.yaml", ".", text);
    let profile = parse_profile(&source, None).unwrap();
    assert!(!profile.operations.contains_key("revoke"));
    let resource = profile.operations["verify.resource"].request.clone().unwrap();
    assert_eq!(resource.path, "/api/me");
    assert!(resource.auth.is_some());
    assert!(!parse_profile(&source, Some("static")).unwrap().operations.contains_key("refresh"));
    let error = parse_profile(&source, Some("statik")).unwrap_err();
    assert!(error.to_string().contains("did you mean `static`?"), "{error}");
}

/// Everything that is said about a profile.
fn said(text: &str) -> String {
    examine(&Source::new("p.yaml", ".", text)).render(false)
}

#[test]
fn every_mistake_of_a_profile_is_shown_where_it_is() {
    insta::assert_snapshot!(said(concat!(
        "schema: 2\nname: mine\ndialect: simpel\nidentity: user.name\nuser: {login: a, password: b}\nsecond_user: {login: a, password: b}\n",
        "operations:\n  isue:\n    request: {path: /t}\n    returns: {access: access_token}\n",
        "  issue:\n    request: {method: post, path: token, fields: {u: '${usr.login}', c: '${client.id}', x: '${issued.csrf}'}}\n    rotates: true\n",
        "  refresh:\n    request: {path: /r, text: x, body: json}\n    returns: {access: /a}\n    rotates: true\n",
        "  verify: {request: {path: /v}}\n",
        "  verify.both: {request: {path: /v, auth: {bearer: '${token}'}}, command: [x], denied: {status: [200, 999], json: {active: true}}}\n",
        "admin:\n  disable_usr: {request: {path: /d}}\n  restart: {}\n",
        "known:\n  'sig-[': {reason: ''}\n  sig-none: {outcome: fials, reason: x, until: soon}\n",
    )));
}

#[test]
fn what_is_wrong_beyond_the_types_of_a_profile_is_shown_too() {
    insta::assert_snapshot!(said(concat!(
        "schema: 2\nname: mine\ndialect: simple\nidentity: user.name\nuser: {login: a, password: b}\nsecond_user: {login: a, password: b}\n",
        "operations:\n  isue:\n    request: {path: /t}\n    returns: {access: access_token}\n",
        "  issue:\n    request: {method: post, path: token, fields: {u: '${usr.login}', c: '${client.id}', x: '${issued.csrf}'}}\n    rotates: true\n",
        "  refresh:\n    request: {path: /r, text: x, body: json}\n    returns: {access: /a}\n    rotates: true\n",
        "  verify: {request: {path: /v}}\n",
        "  verify.both: {request: {path: /v, auth: {bearer: '${token}'}}, command: [x], denied: {status: [200, 999], json: {active: true}}}\n",
        "admin:\n  disable_usr: {request: {path: /d}}\n  restart: {}\n",
        "known:\n  'sig-[': {reason: ''}\n  sig-none: {outcome: fail, reason: x, until: soon}\n",
        "variants:\n  none: {operations: {issue: null}}\n",
    )));
}

/// A certificate for a name, with its key, as PEM files of a folder.
fn certificate(folder: &Path, name: &str) -> rcgen::CertifiedKey<rcgen::KeyPair> {
    let made = rcgen::generate_simple_self_signed(vec![name.to_owned()]).unwrap();
    std::fs::write(folder.join(format!("{name}.pem")), made.cert.pem()).unwrap();
    std::fs::write(folder.join(format!("{name}.key")), made.signing_key.serialize_pem()).unwrap();
    made
}

/// A TLS server that asks for the certificate `who`, and says hello to whoever has it.
fn server_that_asks_who(
    shop: &rcgen::CertifiedKey<rcgen::KeyPair>,
    who: &rcgen::CertifiedKey<rcgen::KeyPair>,
) -> String {
    use std::io::{Read as _, Write as _};
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut roots = rustls::RootCertStore::empty();
    roots.add(who.cert.der().clone()).unwrap();
    let verifier = rustls::server::WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
        .build()
        .unwrap();
    let key = rustls_pki_types::PrivateKeyDer::try_from(shop.signing_key.serialize_der()).unwrap();
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(verifier)
        .with_single_cert(vec![shop.cert.der().clone()], key)
        .unwrap();
    let config = Arc::new(config);
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let session = rustls::ServerConnection::new(Arc::clone(&config)).unwrap();
            let mut tls = rustls::StreamOwned::new(session, stream);
            if tls.read(&mut [0; 1000]).is_ok_and(|n| n > 0) {
                let _ = tls.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi");
            }
        }
    });
    url
}

/// What a profile with this `tls` meets at the address: the body, or the error in words.
fn greeted(folder: &Path, url: &str, tls: &str) -> Result<String, String> {
    let text = format!("schema: 1\nname: t\ndialect: rs-only\noperations: {{}}\n{tls}");
    let profile = parse_profile(&Source::new("t.yaml", folder, &*text), None).map_err(|e| e.render(false))?;
    let target = Target::new(profile, url, None, &[]).map_err(|e| e.to_string())?;
    let soon = std::time::Duration::from_secs(10);
    crate::wire::Connection::open(&target.endpoint, &target.tls, soon)
        .and_then(|mut connection| connection.exchange(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", false, soon))
        .map(|reply| reply.text())
        .map_err(|e| e.to_string())
}

#[test]
fn tls_is_spoken_as_the_profile_says_and_a_refusal_names_the_key_that_helps() {
    let folder = tempfile::tempdir().unwrap();
    let (shop, me) = (certificate(folder.path(), "shop.test"), certificate(folder.path(), "me"));
    let url = server_that_asks_who(&shop, &me);
    let greeted = |tls: &str| greeted(folder.path(), &url, tls);
    let mine = "certificate: me.pem, key: me.key";
    assert_eq!(greeted(&format!("tls: {{ca: shop.test.pem, server_name: shop.test, {mine}}}")).as_deref(), Ok("hi"));
    assert_eq!(greeted(&format!("tls: {{insecure: true, {mine}}}")).as_deref(), Ok("hi"));
    #[track_caller]
    fn says(seen: Result<String, String>, hint: &str) {
        let seen = seen.expect_err("it is refused");
        assert!(seen.contains(hint), "{seen}");
    }
    says(greeted(&format!("tls: {{ca: shop.test.pem, {mine}}}")), "server_name");
    says(greeted(&format!("tls: {{ca: me.pem, server_name: shop.test, {mine}}}")), "tls: {ca: FILE}");
    // What it says may be lost with the connection, so only that it is refused can be relied on.
    assert!(greeted("tls: {insecure: true}").is_err());
    says(greeted("tls: {insecure: true, certificate: me.pem}"), "`certificate` and `key` together");
    says(greeted("tls: {ca: none.pem}"), "none.pem");
    says(greeted("tls: {ca: me.key}"), "no certificate in PEM");
}
