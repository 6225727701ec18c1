//! Which headers travel on, and which belong to one connection only?

use http::header::{self, HeaderMap, HeaderName, HeaderValue};

/// Headers of one connection (RFC 9110, 7.6.1), and what must not be passed on as a client wrote it.
const HOP_BY_HOP: &[&str] = &[
    "connection",
    "keep-alive",
    "proxy-connection",
    "proxy-authenticate",
    "proxy-authorization",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "http2-settings",
];

/// Headers that a client must not be able to strip by naming them in `Connection`: they are meant for the server.
const END_TO_END: &[&str] = &[
    "authorization",
    "cookie",
    "host",
    "content-length",
    "content-type",
    "cache-control",
    "forwarded",
    "via",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
];

/// Headers by which a proxy tells a server who the user is: a client's own are dropped, in either spelling.
const IDENTITY: &[&str] = &[
    "x-user",
    "x-remote-user",
    "remote-user",
    "x-forwarded-user",
    "x-forwarded-email",
    "x-authenticated-user",
    "x-auth-request-user",
    "x-auth-request-email",
    "x-auth-request-access-token",
];

/// What `Connection` lists, without the names that are not the connection's to strip.
fn listed(headers: &HeaderMap) -> Vec<HeaderName> {
    headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| HeaderName::try_from(name.trim()).ok())
        .filter(|name| !END_TO_END.contains(&name.as_str()))
        .collect()
}

/// Whether `Connection` lists this name.
pub(super) fn connection_lists(headers: &HeaderMap, wanted: &str) -> bool {
    let values = headers.get_all(header::CONNECTION).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|name| name.trim().eq_ignore_ascii_case(wanted))
}

/// Takes away what belongs to the connection that a message came on.
pub(super) fn strip_hop_by_hop(headers: &mut HeaderMap) {
    if headers.contains_key(header::CONNECTION) {
        for name in listed(headers) {
            headers.remove(name);
        }
    }
    for name in HOP_BY_HOP {
        headers.remove(*name);
    }
}

/// The name of a user identity in either spelling: some servers read `X_User` as `X-User`.
pub(super) fn is_identity(name: &str) -> bool {
    let twin;
    let name = if name.contains('_') {
        twin = name.replace('_', "-");
        &twin
    } else {
        name
    };
    IDENTITY.contains(&name)
}

/// Makes a client's request headers ours: hop-by-hop and identity headers go, forwarding headers come.
pub(super) fn for_upstream(headers: &mut HeaderMap, client: &str) {
    strip_hop_by_hop(headers);
    // Our server has answered it already.
    headers.remove(header::EXPECT);
    let spoofed: Vec<HeaderName> = headers.keys().filter(|name| is_identity(name.as_str())).cloned().collect();
    for name in spoofed {
        headers.remove(name);
    }
    let earlier: Vec<&[u8]> = headers.get_all("x-forwarded-for").iter().map(HeaderValue::as_bytes).collect();
    let chain = match earlier.is_empty() {
        true => HeaderValue::from_str(client),
        false => {
            HeaderValue::from_bytes(&[earlier.join(&b", "[..]), b", ".to_vec(), client.as_bytes().to_vec()].concat())
        }
    };
    if let Ok(chain) = chain {
        headers.insert("x-forwarded-for", chain);
    }
    headers.insert("x-forwarded-proto", HeaderValue::from_static("http"));
    match headers.get(header::HOST).cloned() {
        Some(host) => headers.insert("x-forwarded-host", host),
        None => headers.remove("x-forwarded-host"),
    };
    headers.append(header::VIA, HeaderValue::from_static("1.1 assay"));
}

/// Makes an upstream's reply headers ours.
pub(super) fn for_client(headers: &mut HeaderMap) {
    strip_hop_by_hop(headers);
    headers.append(header::VIA, HeaderValue::from_static("1.1 assay"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(sent: &[(&str, &str)], passed_on: &[(&str, &str)]) {
        let mut headers = HeaderMap::new();
        for (name, value) in sent {
            headers.append(HeaderName::try_from(*name).expect("name"), HeaderValue::from_str(value).expect("value"));
        }
        for_upstream(&mut headers, "127.0.0.1");
        let mut seen: Vec<(String, String)> = headers
            .iter()
            .filter(|(name, _)| *name != "via" && *name != "x-forwarded-proto")
            .map(|(name, value)| (name.to_string(), value.to_str().expect("text").to_owned()))
            .collect();
        seen.sort();
        let expected: Vec<(String, String)> =
            passed_on.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        assert_eq!(seen, expected);
    }

    #[test]
    fn what_connection_lists_goes_with_it() {
        check(
            &[("Connection", "close, X-Trace"), ("X-Trace", "1"), ("Keep-Alive", "5"), ("TE", "trailers")],
            &[("x-forwarded-for", "127.0.0.1")],
        );
    }

    #[test]
    fn connection_cannot_strip_what_is_meant_for_the_server() {
        check(
            &[("Connection", "close, Authorization, Host"), ("Authorization", "Bearer x"), ("Host", "a")],
            &[
                ("authorization", "Bearer x"),
                ("host", "a"),
                ("x-forwarded-for", "127.0.0.1"),
                ("x-forwarded-host", "a"),
            ],
        );
    }

    #[test]
    fn a_client_cannot_name_its_user_in_either_spelling() {
        check(
            &[
                ("X-User", "bob"),
                ("X_Forwarded_User", "bob"),
                ("x-auth-request-user", "bob"),
                ("X-Forwarded-For", "10.0.0.1"),
            ],
            &[("x-forwarded-for", "10.0.0.1, 127.0.0.1")],
        );
    }

    #[test]
    fn several_authorization_headers_stay_several() {
        check(
            &[("Authorization", "Bearer a"), ("Authorization", "Bearer b")],
            &[("authorization", "Bearer a"), ("authorization", "Bearer b"), ("x-forwarded-for", "127.0.0.1")],
        );
    }
}
