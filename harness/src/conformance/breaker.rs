//! What does a proxy do whose server takes a request and then lets it down? A server on loopback that breaks on demand, and
//! counts what reaches it.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use super::session::lock;

/// Bytes of a request's head or body.
const MOST: u64 = 1 << 20;
/// How long a read waits before it is looked whether the connection is to end.
const LOOK: Duration = Duration::from_millis(20);
/// How often: a connection over which nothing comes for longer is given up.
const LOOKS: usize = 3_000;

/// What becomes of a request that would change something, once it is there whole. Others (a proxy that asks for a sign of
/// life) are answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// It is answered with 200.
    Answers,
    /// The connection ends without a word.
    HangsUp,
    /// It is answered with 500.
    Fails,
}

struct Shared {
    manner: Mutex<Manner>,
    /// The number of each request that would change something, on its connection, from 0.
    seen: Mutex<Vec<usize>>,
    /// Raised to end idle connections.
    era: AtomicU64,
    ended: AtomicBool,
}

/// The server. Ends when it is dropped.
pub struct Breaker {
    address: SocketAddr,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Breaker {
    /// Listens on 127.0.0.1 and answers.
    ///
    /// # Errors
    /// Where no port can be bound.
    pub fn start() -> std::io::Result<Breaker> {
        let socket = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = socket.local_addr()?;
        let shared = Arc::new(Shared {
            manner: Mutex::new(Manner::Answers),
            seen: Mutex::default(),
            era: AtomicU64::new(0),
            ended: AtomicBool::new(false),
        });
        let of = Arc::clone(&shared);
        let thread = std::thread::spawn(move || {
            for stream in socket.incoming() {
                if of.ended.load(Ordering::Acquire) {
                    return;
                }
                if let Ok(stream) = stream {
                    let of = Arc::clone(&of);
                    // A proxy that breaks off has ended its connection.
                    std::thread::spawn(move || _ = serve(stream, &of));
                }
            }
        });
        Ok(Breaker { address, shared, thread: Some(thread) })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on it treats requests like this, and has seen none.
    pub fn behave(&self, manner: Manner) {
        *lock(&self.shared.manner) = manner;
        lock(&self.shared.seen).clear();
    }

    /// Which requests have come since: the number of each on its connection, from 0.
    pub fn seen(&self) -> Vec<usize> {
        lock(&self.shared.seen).clone()
    }

    /// Ends the connections that are idle, and waits until they have ended.
    pub fn end_idle(&self) {
        self.shared.era.fetch_add(1, Ordering::Release);
        std::thread::sleep(LOOK * 4);
    }
}

impl Drop for Breaker {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::Release);
        self.shared.era.fetch_add(1, Ordering::Release);
        // Wakes the thread that waits in accept.
        let _ = TcpStream::connect_timeout(&self.address, Duration::from_secs(1));
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Serves one connection until it ends, or is to.
fn serve(stream: TcpStream, shared: &Shared) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut out = stream.try_clone()?;
    let mut stream = BufReader::new(stream);
    let number = AtomicUsize::new(0);
    let era = shared.era.load(Ordering::Acquire);
    loop {
        // Idle: waits for the first byte, and looks up now and then.
        stream.get_ref().set_read_timeout(Some(LOOK))?;
        let mut looks = 0;
        while stream.buffer().is_empty() {
            match stream.fill_buf() {
                Ok([]) => return Ok(()),
                Ok(_) => {}
                Err(e) if matches!(e.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut) => {
                    looks += 1;
                    if looks > LOOKS || shared.era.load(Ordering::Acquire) != era {
                        return out.shutdown(Shutdown::Both);
                    }
                }
                Err(e) => return Err(e),
            }
        }
        stream.get_ref().set_read_timeout(Some(Duration::from_secs(5)))?;
        let changes = read_request(&mut stream)?;
        let manner = if changes { *lock(&shared.manner) } else { Manner::Answers };
        if changes {
            lock(&shared.seen).push(number.load(Ordering::Relaxed));
        }
        number.fetch_add(1, Ordering::Relaxed);
        let status = match manner {
            Manner::HangsUp => return out.shutdown(Shutdown::Both),
            Manner::Answers => "200 OK",
            Manner::Fails => "500 Internal Server Error",
        };
        let fields = "content-type: application/json\r\ncontent-length: 2";
        out.write_all(format!("HTTP/1.1 {status}\r\n{fields}\r\n\r\n{{}}").as_bytes())?;
    }
}

/// Reads a whole request; whether it would change something.
fn read_request(stream: &mut BufReader<TcpStream>) -> std::io::Result<bool> {
    let broken = || std::io::Error::from(std::io::ErrorKind::UnexpectedEof);
    let line = |stream: &mut BufReader<TcpStream>| -> std::io::Result<String> {
        let mut text = Vec::new();
        match stream.take(MOST).read_until(b'\n', &mut text)? {
            0 => Err(broken()),
            _ => Ok(String::from_utf8_lossy(&text).trim().to_owned()),
        }
    };
    let first = line(stream)?;
    let (mut length, mut chunked) = (0, false);
    loop {
        let field = line(stream)?.to_ascii_lowercase();
        if field.is_empty() {
            break;
        }
        if let Some(value) = field.strip_prefix("content-length:") {
            length = value.trim().parse().map_err(|_| broken())?;
        }
        chunked |= field.starts_with("transfer-encoding:") && field.ends_with("chunked");
    }
    let skip = |stream: &mut BufReader<TcpStream>, bytes: u64| -> std::io::Result<()> {
        let there = std::io::copy(&mut stream.take(bytes.min(MOST)), &mut std::io::sink())?;
        if there == bytes { Ok(()) } else { Err(broken()) }
    };
    if !chunked {
        skip(stream, length)?;
    }
    while chunked {
        let size = line(stream)?;
        let size = u64::from_str_radix(size.split(';').next().unwrap_or_default(), 16).map_err(|_| broken())?;
        skip(stream, size)?;
        // The end of the chunk, or of the trailers.
        while !line(stream)?.is_empty() {}
        chunked = size > 0;
    }
    Ok(!["GET ", "HEAD ", "OPTIONS "].iter().any(|method| first.starts_with(method)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(stream: &mut TcpStream, text: &str) -> String {
        stream.write_all(text.as_bytes()).unwrap();
        let mut seen = [0; 1000];
        let length = stream.read(&mut seen).unwrap_or(0);
        String::from_utf8_lossy(&seen[..length]).into_owned()
    }

    #[test]
    fn it_counts_what_would_change_something_and_breaks_on_demand() {
        let server = Breaker::start().unwrap();
        let open = || TcpStream::connect(server.address()).unwrap();
        let post = "POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi";
        let mut kept = open();
        assert!(ask(&mut kept, "GET / HTTP/1.1\r\nHost: a\r\n\r\n").starts_with("HTTP/1.1 200"));
        assert!(ask(&mut kept, post).starts_with("HTTP/1.1 200"));
        assert_eq!(server.seen(), [1]);
        server.behave(Manner::Fails);
        let chunked = "POST /x HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n";
        assert!(ask(&mut kept, chunked).starts_with("HTTP/1.1 500"));
        assert_eq!(server.seen(), [2]);
        server.behave(Manner::HangsUp);
        assert_eq!(ask(&mut kept, post), "");
        assert_eq!(ask(&mut open(), post), "");
        assert_eq!(server.seen(), [3, 0]);
        let mut idle = open();
        assert!(ask(&mut idle, "GET / HTTP/1.1\r\nHost: a\r\n\r\n").starts_with("HTTP/1.1 200"));
        server.end_idle();
        assert_eq!(ask(&mut idle, "GET / HTTP/1.1\r\nHost: a\r\n\r\n"), "");
    }
}
