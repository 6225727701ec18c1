//! How does a proxy go wrong about where a request ends? Byte by byte, since a library that frames requests right cannot
//! be made to frame them wrong. What it makes of a request goes to a server that frames as it should.

use std::cell::RefCell;
use std::rc::Rc;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::forward::Forward;
use crate::wire::{Limits, ResponseParser};

/// Bytes of a request's head or body, far more than any that is sent here.
const MOST: usize = 4 << 20;

/// Which rule ends a request, and what goes on of what it said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// Content-Length beats Transfer-Encoding, and stays behind.
    ByLength,
    /// Transfer-Encoding beats Content-Length, and stays behind.
    KeepsLength,
    /// Only a Transfer-Encoding that stands alone and is written plainly counts; any other goes on as one that is.
    MendsEncoding,
    /// Content-Length ends a GET, and stays behind.
    DropsLength,
    /// The largest Content-Length ends a request, the smallest goes on.
    LastLength,
    /// LF ends a line; where no CR stands before it, it goes on as a space.
    LfAsSpace,
}

/// The upstream connections of one thread, the one used last on top, with what came unasked on each.
pub(super) type Lines = Rc<RefCell<Vec<(TcpStream, Vec<u8>)>>>;

/// One field of a head as it was written.
struct Line {
    name: String,
    value: String,
    raw: Vec<u8>,
}

/// A request as the rule sees it: what goes on, and how its body ends.
struct Head {
    onward: Vec<u8>,
    body: Body,
    is_head: bool,
}

#[derive(Debug, PartialEq, Eq)]
enum Body {
    Length(usize),
    Chunked,
}

/// Serves one client to its end.
pub(super) async fn serve(
    forward: &Forward,
    framing: Framing,
    lines: &Lines,
    mut client: TcpStream,
) -> std::io::Result<()> {
    let mut seen = Vec::new();
    loop {
        let Some(end) = until(&mut client, &mut seen, |seen| find(seen, b"\r\n\r\n").map(|at| at + 4)).await? else {
            return Ok(());
        };
        let head: Vec<u8> = seen.drain(..end).collect();
        let Some(head) = read_head(framing, &head) else {
            return client
                .write_all(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
                .await;
        };
        let length = until(&mut client, &mut seen, |seen| match head.body {
            Body::Length(length) => (seen.len() >= length).then_some(length),
            Body::Chunked => chunks_end(framing, seen),
        });
        let Some(length) = length.await? else { return Ok(()) };
        let mut onward = head.onward;
        onward.extend(seen.drain(..length));
        if framing == Framing::LfAsSpace {
            spaces_for_lf(&mut onward);
        }
        let answer = tokio::time::timeout(forward.timeout, exchange(forward, lines, &onward, head.is_head)).await;
        match answer {
            Ok(Ok((answer, goes_on))) => {
                client.write_all(&announced(&answer, &forward.mischief.names())).await?;
                if !goes_on {
                    return client.shutdown().await;
                }
            }
            _ => {
                let refusal = b"HTTP/1.1 502 Bad Gateway\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
                return client.write_all(refusal).await;
            }
        }
    }
}

/// Reads until the end is there; `None` where the client ends first, or says too much.
async fn until(
    client: &mut TcpStream,
    seen: &mut Vec<u8>,
    end: impl Fn(&[u8]) -> Option<usize>,
) -> std::io::Result<Option<usize>> {
    loop {
        if let Some(end) = end(seen) {
            return Ok(Some(end));
        }
        if seen.len() > MOST || client.read_buf(seen).await? == 0 {
            return Ok(None);
        }
    }
}

/// One exchange with the server: the reply as it came, and whether the connection of the client goes on.
async fn exchange(forward: &Forward, lines: &Lines, request: &[u8], is_head: bool) -> std::io::Result<(Vec<u8>, bool)> {
    let kept = lines.borrow_mut().pop();
    if let Some((mut line, pending)) = kept
        && let Ok(Some(reply)) = asked(&mut line, pending, request, is_head).await
    {
        return Ok(given(lines, line, reply));
    }
    let mut line = TcpStream::connect(forward.authority.as_str()).await?;
    line.set_nodelay(true)?;
    match asked(&mut line, Vec::new(), request, is_head).await? {
        Some(reply) => Ok(given(lines, line, reply)),
        None => Err(std::io::ErrorKind::UnexpectedEof.into()),
    }
}

/// A reply, what came behind it, and whether the server goes on.
struct Reply {
    bytes: Vec<u8>,
    behind: Vec<u8>,
    goes_on: bool,
}

/// Puts the connection back on top.
fn given(lines: &Lines, line: TcpStream, reply: Reply) -> (Vec<u8>, bool) {
    if reply.goes_on {
        lines.borrow_mut().push((line, reply.behind));
    }
    (reply.bytes, reply.goes_on)
}

/// Sends a request and reads one reply, which may have been there before; `None` where the server ends without a word.
async fn asked(
    line: &mut TcpStream,
    mut pending: Vec<u8>,
    request: &[u8],
    is_head: bool,
) -> std::io::Result<Option<Reply>> {
    let sent = line.write_all(request).await;
    if pending.is_empty() {
        sent?;
    }
    let mut parser = ResponseParser::new(Limits::default(), is_head);
    let broken = |_| std::io::Error::from(std::io::ErrorKind::InvalidData);
    let mut bytes = Vec::new();
    loop {
        let used = parser.feed(&pending).map_err(broken)?;
        bytes.extend(pending.drain(..used));
        if parser.is_complete() {
            return Ok(Some(Reply { bytes, behind: pending, goes_on: !parser.closes() }));
        }
        if line.read_buf(&mut pending).await? == 0 {
            let whole = parser.finish().is_ok();
            return Ok(whole.then_some(Reply { bytes, behind: pending, goes_on: false }));
        }
    }
}

/// Reads a head by the rule; `None` where it is none.
fn read_head(framing: Framing, head: &[u8]) -> Option<Head> {
    let mut lines = split(framing, head).into_iter();
    let first = lines.next()?;
    let method = std::str::from_utf8(&first).ok()?.split(' ').next()?.to_owned();
    let fields: Vec<Line> = lines.filter(|line| !line.is_empty()).map(field).collect::<Option<_>>()?;
    let named = |name: &str| fields.iter().filter(|f| f.name.trim() == name).collect::<Vec<_>>();
    let (lengths, encodings) = (named("content-length"), named("transfer-encoding"));
    let sizes: Vec<usize> = lengths.iter().map(|f| f.value.parse().ok()).collect::<Option<_>>()?;
    let plain = encodings.len() == 1 && encodings[0].name == "transfer-encoding" && encodings[0].value == "chunked";
    let chunked = plain && (framing != Framing::ByLength || sizes.is_empty());
    let body = match chunked {
        true => Body::Chunked,
        false => Body::Length(sizes.iter().copied().max().unwrap_or(0)),
    };
    let stays_behind = |f: &&Line| match (framing, f.name.trim()) {
        (Framing::KeepsLength, "transfer-encoding") => chunked && !sizes.is_empty(),
        (Framing::ByLength, "content-length") => plain,
        (Framing::MendsEncoding, "transfer-encoding") => !plain,
        (Framing::MendsEncoding, "content-length") => !plain && !encodings.is_empty(),
        (Framing::DropsLength, "content-length") => method == "GET",
        (Framing::LastLength, "content-length") => f.value.parse().ok() != sizes.iter().copied().min(),
        _ => false,
    };
    let separator: &[u8] = if framing == Framing::LfAsSpace { b"" } else { b"\r\n" };
    let mut onward = [&first, separator].concat();
    for line in fields.iter().filter(|f| !stays_behind(f)) {
        onward.extend_from_slice(&line.raw);
        onward.extend_from_slice(separator);
    }
    if framing == Framing::MendsEncoding && !plain && !encodings.is_empty() {
        onward.extend_from_slice(b"Transfer-Encoding: chunked\r\n");
    }
    onward.extend_from_slice(b"\r\n");
    Some(Head { onward, body, is_head: method == "HEAD" })
}

/// The lines of a head without their ends; where an end is to be kept as it was, with it.
fn split(framing: Framing, head: &[u8]) -> Vec<Vec<u8>> {
    if framing == Framing::LfAsSpace {
        let whole = head.strip_suffix(b"\r\n").unwrap_or(head);
        return whole.split_inclusive(|b| *b == b'\n').map(<[u8]>::to_vec).collect();
    }
    let mut lines = Vec::new();
    let mut rest = head;
    while let Some(at) = find(rest, b"\r\n") {
        lines.push(rest[..at].to_vec());
        rest = &rest[at + 2..];
    }
    lines
}

fn field(raw: Vec<u8>) -> Option<Line> {
    let text = String::from_utf8_lossy(&raw).into_owned();
    let (name, value) = text.split_once(':')?;
    Some(Line { name: name.to_ascii_lowercase(), value: value.trim().to_ascii_lowercase(), raw })
}

/// Where a chunked body ends, trailers included, once it is all there.
fn chunks_end(framing: Framing, seen: &[u8]) -> Option<usize> {
    let end: &[u8] = if framing == Framing::LfAsSpace { b"\n" } else { b"\r\n" };
    let mut at = 0;
    loop {
        let line = find(&seen[at..], end)?;
        let text = String::from_utf8_lossy(&seen[at..at + line]);
        let size = usize::from_str_radix(text.split(';').next().unwrap_or_default().trim(), 16).unwrap_or(0);
        at += line + end.len();
        if size == 0 {
            break;
        }
        at = at.checked_add(size)?.checked_add(2).filter(|at| *at <= seen.len())?;
    }
    loop {
        let line = find(&seen[at..], b"\r\n")?;
        at += line + 2;
        if line == 0 {
            return Some(at);
        }
    }
}

/// Writes a space for every LF without a CR before it.
fn spaces_for_lf(bytes: &mut [u8]) {
    for at in 0..bytes.len() {
        if bytes[at] == b'\n' && (at == 0 || bytes[at - 1] != b'\r') {
            bytes[at] = b' ';
        }
    }
}

/// The reply with the names of the flaws in its head, as every reply of a flawed proxy has them.
fn announced(reply: &[u8], names: &str) -> Vec<u8> {
    let at = find(reply, b"\r\n").map_or(0, |at| at + 2);
    [&reply[..at], format!("{}: {names}\r\n", super::flaws::ANNOUNCED).as_bytes(), &reply[at..]].concat()
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(framing: Framing, fields: &str, onward: &str, body: Body) {
        let head = read_head(framing, format!("POST /x HTTP/1.1\r\n{fields}\r\n").as_bytes()).unwrap();
        let mut seen = head.onward;
        if framing == Framing::LfAsSpace {
            spaces_for_lf(&mut seen);
        }
        assert_eq!(String::from_utf8(seen).unwrap(), format!("POST /x HTTP/1.1\r\n{onward}\r\n"));
        assert_eq!(head.body, body);
    }

    #[test]
    fn each_rule_ends_a_request_in_its_way_and_passes_on_what_it_says() {
        let both = "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n";
        check(Framing::ByLength, both, "Transfer-Encoding: chunked\r\n", Body::Length(4));
        check(Framing::KeepsLength, both, "Content-Length: 4\r\n", Body::Chunked);
        let spaced = "Content-Length: 4\r\nTransfer-Encoding : chunked\r\n";
        check(Framing::MendsEncoding, spaced, "Transfer-Encoding: chunked\r\n", Body::Length(4));
        check(Framing::MendsEncoding, both, both, Body::Chunked);
        let two = "Content-Length: 0\r\nContent-Length: 9\r\n";
        check(Framing::LastLength, two, "Content-Length: 0\r\n", Body::Length(9));
        let hidden = "X: a\nTransfer-Encoding: chunked\r\nContent-Length: 4\r\n";
        let joined = "X: a Transfer-Encoding: chunked\r\nContent-Length: 4\r\n";
        check(Framing::LfAsSpace, hidden, joined, Body::Chunked);
        check(Framing::ByLength, hidden, hidden, Body::Length(4));
        let get = read_head(Framing::DropsLength, b"GET /x HTTP/1.1\r\nContent-Length: 4\r\n\r\n").unwrap();
        assert_eq!((get.onward, get.body), (b"GET /x HTTP/1.1\r\n\r\n".to_vec(), Body::Length(4)));
    }

    #[test]
    fn a_chunked_body_ends_behind_its_trailers() {
        let text = b"2;x\r\nab\r\n0\r\nX: y\r\n\r\nGET";
        assert_eq!(chunks_end(Framing::ByLength, text), Some(text.len() - 3));
        assert_eq!(chunks_end(Framing::ByLength, &text[..10]), None);
        let bare = b"2;\nab\r\n0\r\n\r\n";
        assert_eq!(chunks_end(Framing::LfAsSpace, bare), Some(bare.len()));
        assert_eq!(chunks_end(Framing::ByLength, bare), None);
    }
}
