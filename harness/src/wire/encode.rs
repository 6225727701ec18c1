//! Which bytes is a request? One buffer, head and body together.

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, HOST, TRANSFER_ENCODING};

use super::Endpoint;

/// A request as HTTP/1.1 bytes: origin-form below the endpoint's base path, Host from the endpoint,
/// Content-Length from the body. Host, Content-Length and Transfer-Encoding that the request states itself
/// are sent as stated. A fragment is never sent.
pub fn encode(request: &http::Request<Bytes>, endpoint: &Endpoint) -> Vec<u8> {
    let body = request.body();
    let mut out = Vec::with_capacity(256 + body.len());
    out.extend_from_slice(request.method().as_str().as_bytes());
    out.push(b' ');
    out.extend_from_slice(endpoint.base_path.as_bytes());
    let path = request.uri().path_and_query().map_or("/", |p| p.as_str());
    if !path.starts_with('/') {
        out.push(b'/');
    }
    out.extend_from_slice(path.as_bytes());
    out.extend_from_slice(b" HTTP/1.1\r\n");
    let headers = request.headers();
    if !headers.contains_key(HOST) {
        field(&mut out, "host", endpoint.authority().as_bytes());
    }
    for (name, value) in headers {
        field(&mut out, name.as_str(), value.as_bytes());
    }
    let expects_body = matches!(request.method().as_str(), "POST" | "PUT" | "PATCH");
    let stated = headers.contains_key(CONTENT_LENGTH) || headers.contains_key(TRANSFER_ENCODING);
    if !stated && (expects_body || !body.is_empty()) {
        field(&mut out, "content-length", body.len().to_string().as_bytes());
    }
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(body);
    out
}

/// Names are written `Title-Case`, as most programs send them: some home-made servers compare case.
fn field(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    let mut first = true;
    for byte in name.bytes() {
        out.push(if first { byte.to_ascii_uppercase() } else { byte });
        first = byte == b'-';
    }
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(request: http::request::Builder, body: &'static str, expected: &str) {
        let endpoint = Endpoint::parse("http://127.0.0.1:8080/base/", &[]).unwrap();
        let bytes = encode(&request.body(Bytes::from_static(body.as_bytes())).unwrap(), &endpoint);
        assert_eq!(String::from_utf8(bytes).unwrap(), expected);
    }

    #[test]
    fn a_request_is_one_buffer() {
        check(
            http::Request::post("/token?x=1").header("content-type", "application/json"),
            "{}",
            "POST /base/token?x=1 HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}",
        );
        check(
            http::Request::get("/me").header("authorization", "Bearer x"),
            "",
            "GET /base/me HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nAuthorization: Bearer x\r\n\r\n",
        );
        check(
            http::Request::post("/out"),
            "",
            "POST /base/out HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nContent-Length: 0\r\n\r\n",
        );
    }

    #[test]
    fn what_the_request_states_itself_is_sent_as_stated() {
        check(
            http::Request::post("/x").header("host", "other").header("content-length", "9"),
            "ab",
            "POST /base/x HTTP/1.1\r\nHost: other\r\nContent-Length: 9\r\n\r\nab",
        );
    }
}
