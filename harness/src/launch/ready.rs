//! Is it ready, and on which port?

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Mutex;
use std::time::Duration;

/// How a process says that it is ready.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ReadyBy {
    /// A line `listening on http://127.0.0.1:PORT`, and `admin on ...` as well if `admin` is set.
    Line {
        /// Whether the second line is waited for.
        admin: bool,
    },
    /// An answer over HTTP on its port.
    Http {
        /// `GET`.
        method: String,
        /// Where to ask.
        path: String,
        /// The statuses that mean ready; any below 500 if empty.
        statuses: Vec<u16>,
    },
}

/// The addresses in the ready lines, where they are complete lines already: where it listens, and its admin address.
pub(super) fn ready_lines(text: &str) -> (Option<String>, Option<String>) {
    let complete = text.rfind('\n').map_or("", |end| &text[..end]);
    let after = |start: &str| {
        complete
            .lines()
            .find_map(|line| line.strip_prefix(start))
            .map(|url| url.trim().trim_end_matches('/').to_owned())
    };
    (after("listening on "), after("admin on "))
}

/// One request on a connection of its own; the status of the answer.
pub(super) fn probe(port: u16, method: &str, path: &str, deadline: Duration) -> std::io::Result<u16> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let mut stream = TcpStream::connect_timeout(&address, deadline)?;
    stream.set_read_timeout(Some(deadline))?;
    stream.set_write_timeout(Some(deadline))?;
    stream.set_nodelay(true)?;
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUser-Agent: assay\r\nAccept: */*\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes())?;
    // The status line is all that matters: `HTTP/1.1 200`.
    let mut head = [0_u8; 12];
    stream.read_exact(&mut head)?;
    std::str::from_utf8(&head)
        .ok()
        .filter(|head| head.starts_with("HTTP/1."))
        .and_then(|head| head[9..].parse().ok())
        .ok_or_else(|| std::io::Error::new(std::io::ErrorKind::InvalidData, "the answer is not HTTP/1"))
}

/// A port that is free now. Those chosen lately are left alone, so that parallel starts do not meet.
pub(super) fn reserve_port() -> std::io::Result<u16> {
    static LATELY: Mutex<VecDeque<u16>> = Mutex::new(VecDeque::new());
    let mut lately = LATELY.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    for _ in 0..64 {
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
        if !lately.contains(&port) {
            lately.push_back(port);
            if lately.len() > 256 {
                lately.pop_front();
            }
            return Ok(port);
        }
    }
    Err(std::io::Error::new(std::io::ErrorKind::AddrInUse, "no free port on 127.0.0.1 in 64 tries"))
}

/// Whether a process that died says that its port was taken.
pub(super) fn says_port_in_use(log: &str) -> bool {
    let log = log.to_ascii_lowercase();
    ["address already in use", "eaddrinuse", "cannot bind socket", "port is already in use", "os error 98"]
        .iter()
        .any(|words| log.contains(words))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ready_line_counts_once_it_is_whole() {
        assert_eq!(ready_lines("listening on http://127.0.0.1:80"), (None, None));
        let (url, admin) = ready_lines("warning\nlistening on http://127.0.0.1:8080\nadmin on http://127.0.0.1:9\n");
        assert_eq!(url.as_deref(), Some("http://127.0.0.1:8080"));
        assert_eq!(admin.as_deref(), Some("http://127.0.0.1:9"));
    }

    #[test]
    fn reserved_ports_differ() {
        let ports: std::collections::HashSet<u16> = (0..32).filter_map(|_| reserve_port().ok()).collect();
        assert_eq!(ports.len(), 32);
    }

    #[test]
    fn a_probe_reads_the_status_and_nothing_else() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("bind");
        let port = listener.local_addr().expect("addr").port();
        std::thread::spawn(move || {
            for answer in ["HTTP/1.1 204 No Content\r\n\r\n", "SSH-2.0-OpenSSH_9.2\r\n"] {
                let (mut stream, _) = listener.accept().expect("accept");
                let _ = stream.read(&mut [0; 512]);
                let _ = stream.write_all(answer.as_bytes());
            }
        });
        assert_eq!(probe(port, "GET", "/", Duration::from_secs(5)).expect("probe"), 204);
        assert!(probe(port, "GET", "/", Duration::from_secs(5)).is_err());
    }
}
