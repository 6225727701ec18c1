//! How does a request that was spliced for HTTP/1.1 become a message of HTTP/2?

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Request};

use crate::load::LoadError;

/// What the requests of one script have in common, so that it is read once: the address and the names of the fields.
#[derive(Default)]
pub(super) struct Mould {
    path: String,
    uri: http::Uri,
    names: Vec<(String, Option<HeaderName>)>,
}

impl Mould {
    /// The bytes of an HTTP/1.1 request as a message: what the scripts splice serves both protocols.
    pub fn message(&mut self, bytes: &[u8], origin: &str) -> Result<Request<Bytes>, LoadError> {
        let wrong = |what: &dyn std::fmt::Display| LoadError::Internal(format!("a request that is none: {what}"));
        let mut fields = [httparse::EMPTY_HEADER; 64];
        let mut parsed = httparse::Request::new(&mut fields);
        let head = match parsed.parse(bytes).map_err(|e| wrong(&e))? {
            httparse::Status::Complete(head) => head,
            httparse::Status::Partial => return Err(wrong(&"its head has no end")),
        };
        let path = parsed.path.unwrap_or("/");
        if self.path != path {
            self.uri = [origin, path].concat().parse().map_err(|e| wrong(&e))?;
            path.clone_into(&mut self.path);
        }
        let mut request = Request::new(Bytes::copy_from_slice(&bytes[head..]));
        *request.method_mut() = Method::from_bytes(parsed.method.unwrap_or("GET").as_bytes()).map_err(|e| wrong(&e))?;
        *request.uri_mut() = self.uri.clone();
        *request.version_mut() = http::Version::HTTP_2;
        request.headers_mut().reserve(parsed.headers.len());
        for (n, field) in parsed.headers.iter().enumerate() {
            if self.names.get(n).is_none_or(|(known, _)| known != field.name) {
                self.names.truncate(n);
                self.names.push((field.name.to_owned(), travels(field.name).map_err(|e| wrong(&e))?));
            }
            if let Some((_, Some(name))) = self.names.get(n) {
                let value = HeaderValue::from_bytes(field.value).map_err(|e| wrong(&e))?;
                request.headers_mut().append(name.clone(), value);
            }
        }
        Ok(request)
    }
}

/// The name of a field; none for what speaks of one connection, which has no place in HTTP/2 (RFC 9113 section 8.2.2).
fn travels(name: &str) -> Result<Option<HeaderName>, http::header::InvalidHeaderName> {
    let stays = ["host", "connection", "transfer-encoding", "keep-alive"].iter().any(|n| name.eq_ignore_ascii_case(n));
    if stays { Ok(None) } else { HeaderName::from_bytes(name.as_bytes()).map(Some) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mould_gives_each_request_its_own_values() {
        let mut mould = Mould::default();
        let mut made = |text: &str| mould.message(text.as_bytes(), "https://a.test:1").unwrap();
        let one = made("GET /x?y=1 HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer one\r\nX: 1\r\n\r\n");
        assert_eq!((one.method().as_str(), one.uri().to_string()), ("GET", "https://a.test:1/x?y=1".to_owned()));
        assert_eq!((one.headers().len(), one.headers()["authorization"].as_bytes()), (2, &b"Bearer one"[..]));
        let two = made("GET /x?y=1 HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer two\r\nX: 1\r\n\r\n");
        assert_eq!(two.headers()["authorization"], "Bearer two");
        // Other fields in the same places, another path, and a body.
        let three = made("POST /z HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi");
        assert_eq!((three.uri().path(), three.body().as_ref()), ("/z", &b"hi"[..]));
        assert_eq!((three.headers().len(), &three.headers()["content-length"]), (1, &HeaderValue::from_static("2")));
        assert!(mould.message(b"no request", "https://a.test:1").is_err());
    }
}
