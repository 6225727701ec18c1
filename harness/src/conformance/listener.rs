//! Does the target fetch what a token tells it to? A listener on loopback that writes down who called.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use super::session::lock;

/// Bytes of a request that are read: its first line is what counts.
const REQUEST_LIMIT: usize = 8 * 1024;
/// Calls that are remembered.
const CALL_LIMIT: usize = 1_000;

/// What the listener answers at a path.
#[derive(Clone, Debug)]
pub enum Page {
    /// 200 with a body of a type.
    Body {
        /// The content type.
        kind: &'static str,
        /// The body.
        text: String,
    },
    /// 302 to another path of the listener.
    Redirect(&'static str),
}

/// A listener on 127.0.0.1 with a port of its own. Ends when it is dropped.
pub struct Listener {
    address: SocketAddr,
    calls: Arc<Mutex<Vec<String>>>,
    ended: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Listener {
    /// Listens and answers: the first page whose path the request's path begins with; else 404.
    ///
    /// # Errors
    /// Where no port can be bound.
    pub fn start(pages: Vec<(&'static str, Page)>) -> std::io::Result<Listener> {
        let socket = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = socket.local_addr()?;
        let (calls, ended) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
        let thread = {
            let (calls, ended) = (Arc::clone(&calls), Arc::clone(&ended));
            std::thread::spawn(move || {
                for stream in socket.incoming() {
                    if ended.load(Ordering::Acquire) {
                        return;
                    }
                    if let Ok(stream) = stream {
                        // A caller that breaks off is a caller all the same.
                        let _ = answer(stream, &pages, &calls);
                    }
                }
            })
        };
        Ok(Listener { address, calls, ended, thread: Some(thread) })
    }

    /// `127.0.0.1:PORT`.
    pub fn authority(&self) -> String {
        self.address.to_string()
    }

    /// `http://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The request lines so far whose text contains a mark.
    pub fn calls_with(&self, mark: &str) -> Vec<String> {
        lock(&self.calls).iter().filter(|line| line.contains(mark)).cloned().collect()
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Release);
        // Wakes the thread that waits in accept.
        let _ = TcpStream::connect_timeout(&self.address, Duration::from_secs(1));
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn answer(mut stream: TcpStream, pages: &[(&'static str, Page)], calls: &Mutex<Vec<String>>) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_millis(500)))?;
    stream.set_write_timeout(Some(Duration::from_millis(500)))?;
    let mut seen = Vec::new();
    let mut part = [0; 1024];
    while seen.len() < REQUEST_LIMIT && !seen.windows(4).any(|w| w == b"\r\n\r\n") {
        match stream.read(&mut part) {
            Ok(0) | Err(_) => break,
            Ok(n) => seen.extend_from_slice(&part[..n]),
        }
    }
    let line: String = String::from_utf8_lossy(&seen).lines().next().unwrap_or_default().chars().take(300).collect();
    if line.is_empty() {
        return Ok(());
    }
    {
        let mut calls = lock(calls);
        if calls.len() < CALL_LIMIT {
            calls.push(line.clone());
        }
    }
    let path = line.split_ascii_whitespace().nth(1).unwrap_or_default();
    let reply = match pages.iter().find(|(at, _)| path.starts_with(at)).map(|(_, page)| page) {
        Some(Page::Body { kind, text }) => format!(
            "HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{text}",
            text.len()
        ),
        Some(Page::Redirect(to)) => {
            format!("HTTP/1.1 302 Found\r\nlocation: {to}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
        }
        None => "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n".to_owned(),
    };
    stream.write_all(reply.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn get(listener: &Listener, path: &str) -> String {
        let mut stream = TcpStream::connect(listener.address).unwrap();
        stream.write_all(format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n").as_bytes()).unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        text
    }

    #[test]
    fn a_call_is_answered_and_remembered() {
        let pages = vec![
            ("/redirect", Page::Redirect("/keys")),
            ("/keys", Page::Body { kind: "application/json", text: "{\"keys\":[]}".to_owned() }),
        ];
        let listener = Listener::start(pages).unwrap();
        assert!(get(&listener, "/keys/mark-1").ends_with("{\"keys\":[]}"));
        assert!(get(&listener, "/redirect").contains("location: /keys"));
        assert!(get(&listener, "/other").starts_with("HTTP/1.1 404"));
        assert_eq!(listener.calls_with("mark-1"), ["GET /keys/mark-1 HTTP/1.1"]);
        assert!(listener.calls_with("mark-2").is_empty());
    }
}
