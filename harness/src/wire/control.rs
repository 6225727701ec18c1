//! How are documents fetched and servers set up, off the measured path? One request at a time by a full HTTP client.
//!
//! Discovery documents, key sets and admin hooks need what a browser has and a measurement must not have: HTTP/2 where
//! the server insists, and no care for stamps. So they go over `reqwest`, held to the addresses of the
//! [`Endpoint`](super::Endpoint): nothing is resolved again, no proxy of the environment is asked, no redirect is followed,
//! nothing is retried.

use std::error::Error as _;
use std::io::Read as _;
use std::time::Duration;

use bytes::Bytes;

use super::WireError;
use super::endpoint::{Endpoint, Scheme};
use super::reply::Reply;
use super::tls::TlsOptions;

/// The largest body that is held. Key sets and discovery documents are a few kilobytes.
const LARGEST_BODY: u64 = 4 << 20;

/// Sends one request to the endpoint (its path below the endpoint's own) and waits for the whole answer, whose stamps
/// are not filled in.
///
/// # Errors
/// What kept the answer from coming, by the same kinds as on the measured path.
pub fn ask(
    endpoint: &Endpoint,
    tls: &TlsOptions,
    request: &http::Request<Bytes>,
    patience: Duration,
) -> Result<Reply, WireError> {
    let unsendable = |e: &dyn std::fmt::Display| WireError::Address { url: endpoint.url(), reason: e.to_string() };
    let mut client = reqwest::blocking::Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .referer(false)
        .pool_max_idle_per_host(0)
        .timeout(patience)
        .connect_timeout(patience);
    // Who has to prove itself is the host, or whom the profile names in its place.
    let name = tls.server_name.as_deref().unwrap_or(&endpoint.host);
    client = client.resolve_to_addrs(name, &endpoint.addrs);
    if endpoint.scheme == Scheme::Https {
        client = client.tls_backend_preconfigured((*tls.config()?).clone());
    }
    let client = client.build().map_err(|e| local(&e))?;
    let host = if name.contains(':') { format!("[{name}]") } else { name.to_owned() };
    let path = request.uri().path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
    let url = format!("{}://{host}:{}{}{path}", endpoint.scheme.name(), endpoint.port, endpoint.base_path);
    let mut sent = client.request(request.method().clone(), url).body(request.body().to_vec());
    if !request.headers().contains_key(http::header::HOST) {
        sent = sent.header(http::header::HOST, endpoint.authority());
    }
    let sent = sent.headers(request.headers().clone()).build().map_err(|e| unsendable(&e))?;
    let failed = |e: reqwest::Error| failure(&e, endpoint, patience);
    let mut answer = client.execute(sent).map_err(failed)?;
    let mut reply = Reply {
        status: answer.status().as_u16(),
        headers: answer.headers().iter().map(|(name, value)| (name.to_string(), value.as_bytes().to_vec())).collect(),
        ..Reply::default()
    };
    answer.by_ref().take(LARGEST_BODY + 1).read_to_end(&mut reply.body).map_err(|e| {
        match e.get_ref().and_then(|inner| inner.downcast_ref::<reqwest::Error>()) {
            Some(inner) => failure(inner, endpoint, patience),
            None => WireError::Closed { during: "in the body" },
        }
    })?;
    if reply.body.len() as u64 > LARGEST_BODY {
        return Err(WireError::TooLarge { what: "body", limit: LARGEST_BODY as usize });
    }
    Ok(reply)
}

fn local(error: &reqwest::Error) -> WireError {
    WireError::Local { what: "make an HTTP client", reason: error.to_string() }
}

/// A failure of the client by the kinds of the measured path: what the operating system or the TLS library said is
/// somewhere down its chain of causes.
fn failure(error: &reqwest::Error, endpoint: &Endpoint, patience: Duration) -> WireError {
    let mut cause = error.source();
    while let Some(inner) = cause {
        if let Some(tls) = inner.downcast_ref::<rustls::Error>() {
            return WireError::tls(tls);
        }
        if let Some(io) = inner.downcast_ref::<std::io::Error>() {
            if let Some(tls) = io.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
                return WireError::tls(tls);
            }
            let during = if error.is_connect() { "while connecting" } else { "before the reply's end" };
            match io.kind() {
                std::io::ErrorKind::ConnectionRefused => {
                    let address = endpoint.addrs.first().map_or_else(|| endpoint.authority(), ToString::to_string);
                    return WireError::Refused { address };
                }
                std::io::ErrorKind::ConnectionReset => return WireError::Reset { during },
                std::io::ErrorKind::UnexpectedEof => return WireError::Closed { during },
                _ => {}
            }
        }
        cause = inner.source();
    }
    if error.is_timeout() {
        let what = if error.is_connect() { "connection" } else { "reply" };
        return WireError::Timeout { what, after: patience };
    }
    let mut said = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        said = inner.to_string();
        cause = inner.source();
    }
    WireError::Protocol(said)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::net::TcpListener;

    use super::*;

    /// A server that reads one head and writes these bytes.
    fn server(answer: &'static [u8]) -> (Endpoint, std::thread::JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/base", listener.local_addr().unwrap());
        let thread = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut seen = Vec::new();
            let mut chunk = [0; 4096];
            while !seen.windows(4).any(|four| four == b"\r\n\r\n") {
                match stream.read(&mut chunk).unwrap() {
                    0 => break,
                    n => seen.extend_from_slice(&chunk[..n]),
                }
            }
            stream.write_all(answer).unwrap();
            String::from_utf8_lossy(&seen).into_owned()
        });
        (Endpoint::parse(&url, &[]).unwrap(), thread)
    }

    fn get(endpoint: &Endpoint) -> Result<Reply, WireError> {
        let request = http::Request::get("/doc?x=1").header("accept", "application/json").body(Bytes::new()).unwrap();
        ask(endpoint, &TlsOptions::default(), &request, Duration::from_secs(5))
    }

    #[test]
    fn a_document_comes_with_status_fields_and_body_and_the_path_stands_below_the_base() {
        let (endpoint, thread) =
            server(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 8\r\n\r\n{\"a\": 1}");
        let reply = get(&endpoint).unwrap();
        assert_eq!((reply.status, reply.json().unwrap()["a"].as_i64()), (200, Some(1)));
        assert_eq!(reply.header("Content-Type"), Some("application/json"));
        let seen = thread.join().unwrap();
        assert!(seen.starts_with("GET /base/doc?x=1 HTTP/1.1\r\n"), "{seen}");
        assert!(seen.to_lowercase().contains(&format!("host: {}\r\n", endpoint.authority())), "{seen}");
    }

    #[test]
    fn a_redirect_is_an_answer_and_not_followed() {
        let (endpoint, thread) =
            server(b"HTTP/1.1 302 Found\r\nlocation: http://192.0.2.1/\r\ncontent-length: 0\r\n\r\n");
        assert_eq!(get(&endpoint).unwrap().status, 302);
        thread.join().unwrap();
    }

    #[test]
    fn what_goes_wrong_has_the_kinds_of_the_measured_path() {
        let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let nobody = Endpoint::parse(&format!("http://{free}"), &[]).unwrap();
        assert_eq!(get(&nobody).unwrap_err().kind(), "refused");
        let (endpoint, thread) = server(b"SSH-2.0-OpenSSH_9.2\r\n\r\n");
        assert_eq!(get(&endpoint).unwrap_err().kind(), "protocol");
        thread.join().unwrap();
        let (endpoint, thread) = server(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf");
        assert_eq!(get(&endpoint).unwrap_err().kind(), "closed");
        thread.join().unwrap();
        let silent = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = Endpoint::parse(&format!("http://{}", silent.local_addr().unwrap()), &[]).unwrap();
        let request = http::Request::get("/").body(Bytes::new()).unwrap();
        let waited = ask(&endpoint, &TlsOptions::default(), &request, Duration::from_millis(50));
        assert_eq!(waited.unwrap_err().kind(), "timeout");
    }
}
