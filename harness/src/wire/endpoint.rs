//! Where does a target listen, and may we speak to it?

use std::fmt;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};

use super::WireError;

/// Whether the connection is encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// Plain TCP.
    Http,
    /// TLS.
    Https,
}

impl Scheme {
    /// `http` or `https`.
    pub fn name(self) -> &'static str {
        match self {
            Scheme::Http => "http",
            Scheme::Https => "https",
        }
    }
    /// The port that a URL without one means.
    pub fn default_port(self) -> u16 {
        match self {
            Scheme::Http => 80,
            Scheme::Https => 443,
        }
    }
}

/// The base address of a target, resolved once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Plain or encrypted.
    pub scheme: Scheme,
    /// The host without the brackets of an IPv6 address.
    pub host: String,
    /// The port.
    pub port: u16,
    /// Where the host leads; never empty.
    pub addrs: Vec<SocketAddr>,
    /// What stands before every path: empty, or `/prefix` without a slash at the end.
    pub base_path: String,
}

impl Endpoint {
    /// Reads and resolves `http://host:port/base`. A host that does not lead to loopback alone is refused
    /// unless `allow_remote` names it (`host` or `host:port`).
    pub fn parse(url: &str, allow_remote: &[String]) -> Result<Endpoint, WireError> {
        let wrong = |reason: &str| WireError::Address { url: without_password(url), reason: reason.to_owned() };
        let uri: http::Uri = url.trim().parse().map_err(|e: http::uri::InvalidUri| wrong(&e.to_string()))?;
        let scheme = match uri.scheme_str() {
            Some("http") => Scheme::Http,
            Some("https") => Scheme::Https,
            Some(other) => return Err(wrong(&format!("`{other}` is neither http nor https"))),
            None => return Err(wrong("it has no scheme")),
        };
        let authority = uri.authority().ok_or_else(|| wrong("it has no host"))?;
        if authority.as_str().contains('@') {
            return Err(wrong("it holds a user name; hint: credentials belong into the profile"));
        }
        if uri.query().is_some() {
            return Err(wrong("a base address has no query"));
        }
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase();
        if host.is_empty() {
            return Err(wrong("it has no host"));
        }
        // The `http` crate takes a port that is none for a missing one.
        let port = match authority.as_str().rsplit_once(authority.host()).and_then(|(_, port)| port.strip_prefix(':')) {
            None => scheme.default_port(),
            Some(text) => match text.parse() {
                Ok(port) if port > 0 => port,
                _ => return Err(wrong("its port is not between 1 and 65535")),
            },
        };
        let addrs = resolve(&host, port)?;
        let named = |name: &String| {
            let name = name.trim().trim_start_matches('[').replace("]:", ":").replace(']', "").to_ascii_lowercase();
            name == host || name == format!("{host}:{port}")
        };
        if let Some(far) = addrs.iter().find(|a| !is_loopback(a.ip()))
            && !allow_remote.iter().any(named)
        {
            return Err(WireError::NotAllowed { host, address: far.ip().to_string() });
        }
        let base_path = uri.path().trim_end_matches('/').to_owned();
        Ok(Endpoint { scheme, host, port, addrs, base_path })
    }

    /// `http://host:port/base`, without a slash at the end. The port is always written.
    pub fn url(&self) -> String {
        format!("{}://{}:{}{}", self.scheme.name(), self.bracketed(), self.port, self.base_path)
    }

    /// What the Host field says: `host:port`, without the scheme's default port.
    pub fn authority(&self) -> String {
        if self.port == self.scheme.default_port() {
            self.bracketed()
        } else {
            format!("{}:{}", self.bracketed(), self.port)
        }
    }

    /// Whether every address is on loopback.
    pub fn is_loopback(&self) -> bool {
        self.addrs.iter().all(|a| is_loopback(a.ip()))
    }

    fn bracketed(&self) -> String {
        if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.url())
    }
}

/// `http://name:password@host/` as it may be shown.
fn without_password(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    match rest[..end].rsplit_once('@') {
        Some((_, host)) => format!("{scheme}://...@{host}{}", &rest[end..]),
        None => url.to_owned(),
    }
}

fn is_loopback(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(v4) => v4.is_loopback(),
        IpAddr::V6(v6) => v6.is_loopback() || v6.to_ipv4_mapped().is_some_and(|v4| v4.is_loopback()),
    }
}

/// IPv4 first: most servers of development listen there only, and a refused first try costs a timestamp.
fn resolve(host: &str, port: u16) -> Result<Vec<SocketAddr>, WireError> {
    if let Ok(ip) = host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(ip, port)]);
    }
    let failed = |reason: String| WireError::Resolve { host: host.to_owned(), reason };
    let mut addrs: Vec<SocketAddr> = (host, port).to_socket_addrs().map_err(|e| failed(e.to_string()))?.collect();
    addrs.sort_by_key(SocketAddr::is_ipv6);
    addrs.dedup();
    if addrs.is_empty() { Err(failed("it has no address".into())) } else { Ok(addrs) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(url: &str, shown: &str, authority: &str) {
        let endpoint = Endpoint::parse(url, &[]).unwrap();
        assert_eq!(endpoint.url(), shown);
        assert_eq!(endpoint.authority(), authority);
        assert!(endpoint.is_loopback());
    }

    #[track_caller]
    fn refuse(url: &str, kind: &str, says: &str) {
        let error = Endpoint::parse(url, &["elsewhere.test".into()]).unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.to_string().contains(says), "{error}");
    }

    #[test]
    fn loopback_is_spoken_to_under_every_name() {
        check("http://127.0.0.1:8080", "http://127.0.0.1:8080", "127.0.0.1:8080");
        check("http://127.0.0.9", "http://127.0.0.9:80", "127.0.0.9");
        check("https://[::1]:8443/base/", "https://[::1]:8443/base", "[::1]:8443");
        check("http://[::ffff:127.0.0.1]:1/", "http://[::ffff:127.0.0.1]:1", "[::ffff:127.0.0.1]:1");
        check("http://LocalHost:8000/a/b", "http://localhost:8000/a/b", "localhost:8000");
    }

    #[test]
    fn a_remote_host_is_refused_unless_named() {
        refuse("http://192.0.2.7:80", "not-allowed", "--allow-remote 192.0.2.7");
        refuse("http://0.0.0.0:80", "not-allowed", "not on loopback");
        refuse("http://[2001:db8::1]:80", "not-allowed", "2001:db8::1");
        assert!(Endpoint::parse("http://192.0.2.7:80", &["192.0.2.7".into()]).is_ok());
        assert!(Endpoint::parse("http://192.0.2.7:80", &["192.0.2.7:80".into()]).is_ok());
        assert!(Endpoint::parse("http://[2001:db8::1]:80", &["[2001:db8::1]:80".into()]).is_ok());
        assert!(Endpoint::parse("http://192.0.2.7:80", &["192.0.2.7:81".into()]).is_err());
    }

    #[test]
    fn what_is_no_address_says_why() {
        refuse("ftp://127.0.0.1", "address", "neither http nor https");
        refuse("127.0.0.1:80", "address", "expected an address");
        refuse("http://a:b@127.0.0.1", "address", "user name");
        let error = Endpoint::parse("http://alice:correct-horse-9@127.0.0.1/x", &[]).unwrap_err().to_string();
        assert!(error.contains("http://...@127.0.0.1/x") && !error.contains("horse"), "{error}");
        refuse("http://127.0.0.1:0", "address", "port");
        refuse("http://127.0.0.1:99999", "address", "");
        refuse("http://127.0.0.1/?x=1", "address", "query");
        refuse("http://no-such-host.invalid", "resolve", "no-such-host.invalid");
    }
}
