//! Where does one HTTP/1.1 reply end? Framing without IO, shared by probes and the load loop.

use std::mem::MaybeUninit;

use super::WireError;

/// How much of a reply we are willing to hold. Everything a server sends is bounded by one of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of one head (status line and fields), of one trailer section, and of all interim heads together.
    pub head: usize,
    /// Bytes of body that a reply may have at all.
    pub body: u64,
    /// Bytes of body that are kept; the rest is counted and dropped.
    pub keep: usize,
    /// Interim (1xx) replies before the final one.
    pub interim: u32,
}

impl Default for Limits {
    /// 256 KiB of head, 16 MiB of body, all kept, 16 interim replies.
    fn default() -> Limits {
        Limits { head: 256 << 10, body: 16 << 20, keep: 16 << 20, interim: 16 }
    }
}

/// Fields in one head; more are an error. Servers in the wild stay below 100.
const MAX_FIELDS: usize = 128;
/// A chunk's size line with its extensions.
const MAX_CHUNK_LINE: usize = 4096;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Head,
    Length(u64),
    ChunkLine,
    ChunkData(u64),
    ChunkEnd,
    Trailers,
    UntilClose,
    Done,
}

/// The incremental parser of one reply at a time.
///
/// Bytes go in by [`feed`](Self::feed) in pieces of any size; the outcome does not depend on the pieces. After
/// warm-up it does not allocate: [`reset`](Self::reset) keeps its buffers.
#[derive(Debug)]
pub struct ResponseParser {
    limits: Limits,
    head_request: bool,
    state: State,
    head: Vec<u8>,
    scanned: usize,
    line: Vec<u8>,
    body: Vec<u8>,
    body_bytes: u64,
    status: u16,
    interim: u32,
    interim_bytes: usize,
    closes: bool,
    close_delimited: bool,
}

impl ResponseParser {
    /// A parser for the reply to one request; `head_request` says that it was a HEAD.
    pub fn new(limits: Limits, head_request: bool) -> ResponseParser {
        ResponseParser {
            limits,
            head_request,
            state: State::Head,
            head: Vec::new(),
            scanned: 0,
            line: Vec::new(),
            body: Vec::new(),
            body_bytes: 0,
            status: 0,
            interim: 0,
            interim_bytes: 0,
            closes: false,
            close_delimited: false,
        }
    }

    /// Ready for the reply to the next request. Keeps the buffers.
    pub fn reset(&mut self, head_request: bool) {
        self.head_request = head_request;
        self.state = State::Head;
        self.head.clear();
        self.scanned = 0;
        self.line.clear();
        self.body.clear();
        self.body_bytes = 0;
        self.status = 0;
        self.interim = 0;
        self.interim_bytes = 0;
        self.closes = false;
        self.close_delimited = false;
    }

    /// Takes the next bytes and says how many of them belong to this reply. Fewer than all only when the
    /// reply [is complete](Self::is_complete): the rest are bytes after the body.
    pub fn feed(&mut self, input: &[u8]) -> Result<usize, WireError> {
        let mut at = 0;
        while at < input.len() {
            let rest = &input[at..];
            at += match self.state {
                State::Done => break,
                State::Head => self.feed_head(rest)?,
                State::Length(left) => {
                    let taken = self.take(rest, left)?;
                    self.state = match left - taken as u64 {
                        0 => State::Done,
                        left => State::Length(left),
                    };
                    taken
                }
                State::UntilClose => self.take(rest, u64::MAX)?,
                State::ChunkLine => self.feed_chunk_line(rest)?,
                State::ChunkData(left) => {
                    let taken = self.take(rest, left)?;
                    self.state = match left - taken as u64 {
                        0 => State::ChunkEnd,
                        left => State::ChunkData(left),
                    };
                    taken
                }
                State::ChunkEnd => self.feed_chunk_end(rest)?,
                State::Trailers => self.feed_trailers(rest)?,
            };
        }
        Ok(at)
    }

    /// The server closed the connection: complete if the body was delimited by that, else an error.
    pub fn finish(&mut self) -> Result<(), WireError> {
        match self.state {
            State::Done => Ok(()),
            State::UntilClose => {
                self.state = State::Done;
                Ok(())
            }
            _ => Err(WireError::Closed { during: self.during() }),
        }
    }

    /// Whether the whole reply is here.
    pub fn is_complete(&self) -> bool {
        self.state == State::Done
    }

    /// Whether any byte of the reply is here.
    pub fn has_begun(&self) -> bool {
        !self.head.is_empty() || self.state != State::Head || self.interim > 0
    }

    /// Where in the reply we are, for error messages.
    pub fn during(&self) -> &'static str {
        match self.state {
            State::Head if !self.has_begun() => "before the status line",
            State::Head => "in the head",
            State::Done => "after the reply",
            _ => "in the body",
        }
    }

    /// What a reply that never ends keeps us waiting for.
    pub fn awaits(&self) -> &'static str {
        match self.state {
            State::Head if !self.has_begun() => "reply",
            State::Head => "end of the reply's head",
            _ => "end of the reply's body",
        }
    }

    /// The final status; 0 before the head is complete.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// The bytes of the final head, blank line included.
    pub fn head(&self) -> &[u8] {
        &self.head
    }

    /// The body as far as it is kept, transfer coding removed.
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// Bytes of body seen, kept or not.
    pub fn body_bytes(&self) -> u64 {
        self.body_bytes
    }

    /// Interim (1xx) replies skipped.
    pub fn interim(&self) -> u32 {
        self.interim
    }

    /// Whether the server closes the connection after this reply.
    pub fn closes(&self) -> bool {
        self.closes
    }

    /// Whether only the end of the connection ends the body.
    pub fn is_close_delimited(&self) -> bool {
        self.close_delimited
    }

    /// The fields of the final head in order, names as sent.
    pub fn fields(&self) -> Vec<(String, Vec<u8>)> {
        if self.status == 0 {
            return Vec::new();
        }
        let mut storage = [const { MaybeUninit::uninit() }; MAX_FIELDS];
        match parse_head(&self.head, &mut storage) {
            Ok(parsed) => parsed.headers.iter().map(|h| (h.name.to_owned(), h.value.to_vec())).collect(),
            Err(_) => Vec::new(),
        }
    }

    /// The values of a field that are text, in order.
    pub fn field_values(&self, name: &str) -> Vec<&str> {
        if self.status == 0 {
            return Vec::new();
        }
        let mut storage = [const { MaybeUninit::uninit() }; MAX_FIELDS];
        let Ok(parsed) = parse_head(&self.head, &mut storage) else { return Vec::new() };
        let named = |h: &&httparse::Header<'_>| h.name.eq_ignore_ascii_case(name);
        // The values borrow from the head, which outlives the table of fields.
        let values: Vec<&[u8]> = parsed.headers.iter().filter(|h| named(h)).map(|h| h.value).collect();
        values.into_iter().filter_map(|v| std::str::from_utf8(v).ok()).collect()
    }

    /// Takes at most `left` bytes of body.
    fn take(&mut self, rest: &[u8], left: u64) -> Result<usize, WireError> {
        let taken = usize::try_from(left).unwrap_or(usize::MAX).min(rest.len());
        self.body_bytes += taken as u64;
        if self.body_bytes > self.limits.body {
            return Err(self.body_too_large());
        }
        let kept = taken.min(self.limits.keep.saturating_sub(self.body.len()));
        self.body.extend_from_slice(&rest[..kept]);
        Ok(taken)
    }

    fn body_too_large(&self) -> WireError {
        WireError::TooLarge { what: "body", limit: usize::try_from(self.limits.body).unwrap_or(usize::MAX) }
    }

    fn feed_head(&mut self, rest: &[u8]) -> Result<usize, WireError> {
        let before = self.head.len();
        let room = self.limits.head.saturating_sub(before);
        self.head.extend_from_slice(&rest[..rest.len().min(room)]);
        // Garbage is told at its first byte and not at the size limit.
        const START: &[u8] = b"HTTP/1.";
        let seen = self.head.len().min(START.len());
        if self.head[..seen] != START[..seen] {
            return Err(WireError::Protocol(format!("a reply that begins with {}", shown(&self.head))));
        }
        let Some(end) = end_of_head(&self.head, self.scanned) else {
            if self.head.len() >= self.limits.head {
                return Err(WireError::TooLarge { what: "head", limit: self.limits.head });
            }
            self.scanned = self.head.len();
            return Ok(self.head.len() - before);
        };
        self.head.truncate(end);
        self.scanned = 0;
        self.read_head()?;
        Ok(end - before)
    }

    fn read_head(&mut self) -> Result<(), WireError> {
        let mut storage = [const { MaybeUninit::uninit() }; MAX_FIELDS];
        let parsed = parse_head(&self.head, &mut storage)?;
        let status = parsed.code.unwrap_or_default();
        let minor = parsed.version.unwrap_or_default();
        let mut length: Option<u64> = None;
        let mut coded = false;
        let mut chunked = false;
        let mut close = minor == 0;
        for field in parsed.headers.iter() {
            if field.name.eq_ignore_ascii_case("content-length") {
                for item in field.value.split(|b| *b == b',') {
                    let value = decimal(item.trim_ascii())?;
                    if length.is_some_and(|seen| seen != value) {
                        return Err(WireError::Protocol("two different content lengths".into()));
                    }
                    length = Some(value);
                }
            } else if field.name.eq_ignore_ascii_case("transfer-encoding") {
                // Only the last coding frames the message (RFC 9112 section 6.3).
                coded = true;
                let last = field.value.rsplit(|b| *b == b',').next().unwrap_or_default();
                chunked = last.trim_ascii().eq_ignore_ascii_case(b"chunked");
            } else if field.name.eq_ignore_ascii_case("connection") {
                for option in field.value.split(|b| *b == b',') {
                    let option = option.trim_ascii();
                    if option.eq_ignore_ascii_case(b"close") {
                        close = true;
                    } else if option.eq_ignore_ascii_case(b"keep-alive") && minor == 0 {
                        close = false;
                    }
                }
            }
        }
        if status == 101 {
            return Err(WireError::Protocol("101 switching protocols, which nobody asked for".into()));
        }
        if (100..200).contains(&status) {
            self.interim += 1;
            self.interim_bytes += self.head.len();
            if self.interim > self.limits.interim {
                return Err(WireError::TooLarge { what: "interim replies", limit: self.limits.interim as usize });
            }
            if self.interim_bytes > self.limits.head {
                return Err(WireError::TooLarge { what: "interim head", limit: self.limits.head });
            }
            self.head.clear();
            return Ok(());
        }
        self.status = status;
        self.closes = close;
        self.state = if self.head_request || status == 204 || status == 304 {
            State::Done
        } else if coded && chunked && minor > 0 {
            State::ChunkLine
        } else if coded {
            self.until_close()
        } else {
            match length {
                Some(0) => State::Done,
                Some(length) if length > self.limits.body => return Err(self.body_too_large()),
                Some(length) => State::Length(length),
                None => self.until_close(),
            }
        };
        Ok(())
    }

    fn until_close(&mut self) -> State {
        self.closes = true;
        self.close_delimited = true;
        State::UntilClose
    }

    fn feed_chunk_line(&mut self, rest: &[u8]) -> Result<usize, WireError> {
        let taken = self.take_line(rest, MAX_CHUNK_LINE, "chunk line")?;
        if self.line.last() != Some(&b'\n') {
            return Ok(taken);
        }
        let wrong = |line: &[u8]| WireError::Protocol(format!("a chunk size line {}", shown(line)));
        if !self.line.first().is_some_and(u8::is_ascii_hexdigit) {
            return Err(wrong(&self.line));
        }
        let size = match httparse::parse_chunk_size(&self.line) {
            Ok(httparse::Status::Complete((_, size))) => size,
            _ => return Err(wrong(&self.line)),
        };
        if size > self.limits.body.saturating_sub(self.body_bytes) {
            return Err(self.body_too_large());
        }
        self.line.clear();
        self.state = if size == 0 { State::Trailers } else { State::ChunkData(size) };
        Ok(taken)
    }

    fn feed_chunk_end(&mut self, rest: &[u8]) -> Result<usize, WireError> {
        let expected = if self.line.is_empty() { b'\r' } else { b'\n' };
        if rest[0] != expected {
            return Err(WireError::Protocol(format!("{} where a chunk had to end", shown(&rest[..1]))));
        }
        self.line.push(rest[0]);
        if expected == b'\n' {
            self.line.clear();
            self.state = State::ChunkLine;
        }
        Ok(1)
    }

    fn feed_trailers(&mut self, rest: &[u8]) -> Result<usize, WireError> {
        // `line` holds the section; it ends with an empty line.
        let mut taken = 0;
        while taken < rest.len() {
            let byte = rest[taken];
            taken += 1;
            self.line.push(byte);
            let ended = byte == b'\n' && (matches!(self.line.as_slice(), b"\r\n" | b"\n") || ends_blank(&self.line));
            if ended {
                let mut storage = [httparse::EMPTY_HEADER; MAX_FIELDS];
                if httparse::parse_headers(&self.line, &mut storage).is_err() {
                    return Err(WireError::Protocol(format!("trailers {}", shown(&self.line))));
                }
                self.line.clear();
                self.state = State::Done;
                break;
            }
            if self.line.len() >= self.limits.head {
                return Err(WireError::TooLarge { what: "trailers", limit: self.limits.head });
            }
        }
        Ok(taken)
    }

    /// Appends to `line` up to and including a line feed.
    fn take_line(&mut self, rest: &[u8], limit: usize, what: &'static str) -> Result<usize, WireError> {
        let taken = memchr::memchr(b'\n', rest).map_or(rest.len(), |i| i + 1);
        if self.line.len() + taken > limit {
            return Err(WireError::TooLarge { what, limit });
        }
        self.line.extend_from_slice(&rest[..taken]);
        Ok(taken)
    }
}

fn parse_head<'h, 'b>(
    head: &'b [u8],
    storage: &'h mut [MaybeUninit<httparse::Header<'b>>; MAX_FIELDS],
) -> Result<httparse::Response<'h, 'b>, WireError> {
    let mut parsed = httparse::Response::new(&mut []);
    match httparse::ParserConfig::default().parse_response_with_uninit_headers(&mut parsed, head, storage) {
        Ok(httparse::Status::Complete(_)) => Ok(parsed),
        Ok(httparse::Status::Partial) => Err(WireError::Protocol(format!("an incomplete head {}", shown(head)))),
        Err(httparse::Error::TooManyHeaders) => Err(WireError::TooLarge { what: "headers", limit: MAX_FIELDS }),
        Err(error) => Err(WireError::Protocol(format!("a head with {error}: {}", shown(head)))),
    }
}

/// The index after the blank line, searching from `from` on (the three bytes before belong to it too).
fn end_of_head(head: &[u8], from: usize) -> Option<usize> {
    let mut at = from;
    while let Some(found) = memchr::memchr(b'\n', &head[at..]) {
        let end = at + found + 1;
        if ends_blank(&head[..end]) {
            return Some(end);
        }
        at = end;
    }
    None
}

/// Whether the bytes end with an empty line after another line.
fn ends_blank(bytes: &[u8]) -> bool {
    bytes.ends_with(b"\n\r\n") || bytes.ends_with(b"\n\n")
}

fn decimal(text: &[u8]) -> Result<u64, WireError> {
    let wrong = || WireError::Protocol(format!("a content length {}", shown(text)));
    if text.is_empty() || text.len() > 19 || !text.iter().all(u8::is_ascii_digit) {
        return Err(wrong());
    }
    Ok(text.iter().fold(0, |n, b| n * 10 + u64::from(b - b'0')))
}

/// The first bytes as text for a message.
fn shown(bytes: &[u8]) -> String {
    let short = &bytes[..bytes.len().min(40)];
    let dots = if bytes.len() > short.len() { "..." } else { "" };
    format!("`{}{dots}`", short.escape_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[derive(Debug, PartialEq)]
    struct Seen {
        status: u16,
        body: Vec<u8>,
        closes: bool,
        left: usize,
    }

    fn small() -> Limits {
        Limits { head: 600, body: 1000, keep: 1000, interim: 3 }
    }

    /// The outcome of a byte stream that ends, fed in pieces that end at the given places.
    fn outcome(stream: &[u8], cuts: &[usize], head_request: bool) -> Result<Seen, WireError> {
        let mut parser = ResponseParser::new(small(), head_request);
        let mut at = 0;
        let mut used = 0;
        for cut in cuts.iter().copied().chain([stream.len()]) {
            let cut = cut.clamp(at, stream.len());
            used += parser.feed(&stream[at..cut])?;
            at = cut;
        }
        parser.finish()?;
        Ok(Seen {
            status: parser.status(),
            body: parser.body().to_vec(),
            closes: parser.closes(),
            left: stream.len() - used,
        })
    }

    #[track_caller]
    fn check(stream: &str, status: u16, body: &str, closes: bool, left: usize) {
        let expected = Seen { status, body: body.into(), closes, left };
        assert_eq!(outcome(stream.as_bytes(), &[], false).unwrap(), expected, "in one piece");
        let cuts: Vec<usize> = (0..stream.len()).collect();
        assert_eq!(outcome(stream.as_bytes(), &cuts, false).unwrap(), expected, "byte by byte");
    }

    #[track_caller]
    fn refuse(stream: &str, kind: &str, says: &str) {
        let cuts: Vec<usize> = (0..stream.len()).collect();
        let whole = outcome(stream.as_bytes(), &[], false).unwrap_err();
        assert_eq!(whole.kind(), outcome(stream.as_bytes(), &cuts, false).unwrap_err().kind());
        assert_eq!(whole.kind(), kind, "{whole}");
        assert!(whole.to_string().contains(says), "{whole}");
    }

    #[test]
    fn a_length_delimits_the_body() {
        check("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", 200, "hello", false, 0);
        check("HTTP/1.1 200 OK\r\nContent-Length: 5, 5\r\nConnection: x, Close\r\n\r\nhello", 200, "hello", true, 0);
        check("HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n", 200, "", true, 0);
        check("HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 1\r\n\r\nx", 200, "x", false, 0);
    }

    #[test]
    fn chunks_are_joined_and_trailers_skipped() {
        let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
        check(&format!("{head}5\r\nhello\r\n6;x=y\r\n world\r\n0\r\n\r\n"), 200, "hello world", false, 0);
        check(&format!("{head}0\r\nx-sum: 1\r\ny: 2\r\n\r\nHTTP"), 200, "", false, 4);
    }

    #[test]
    fn without_a_length_the_end_of_the_connection_ends_the_body() {
        check("HTTP/1.1 200 OK\r\n\r\nall of it", 200, "all of it", true, 0);
    }

    #[test]
    fn interim_replies_are_skipped_up_to_a_bound() {
        let early = "HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n";
        check(&format!("{early}{early}HTTP/1.1 204 No Content\r\n\r\n"), 204, "", false, 0);
        refuse(&early.repeat(4), "too-large", "interim");
        refuse("HTTP/1.1 101 Switching Protocols\r\n\r\n", "protocol", "101");
    }

    #[test]
    fn replies_without_a_body_end_with_their_head() {
        check("HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n", 304, "", false, 0);
        let head = outcome(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nleft", &[], true).unwrap();
        assert_eq!((head.status, head.left), (200, 4));
    }

    #[test]
    fn bytes_after_the_body_are_left_over() {
        check("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhiHTTP/1.1 200 OK\r\n", 200, "hi", false, 17);
    }

    #[test]
    fn bad_framing_is_refused_by_kind() {
        refuse("SSH-2.0-OpenSSH_9\r\n", "protocol", "SSH");
        refuse("HTTP/1.1 2x0 OK\r\n\r\n", "protocol", "head");
        refuse("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello", "protocol", "two different");
        refuse("HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\nhello", "protocol", "content length");
        refuse("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhell", "closed", "in the body");
        refuse("HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n", "too-large", "body");
        let chunked = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
        refuse(&format!("{chunked}xyz\r\n"), "protocol", "chunk size");
        refuse(&format!("{chunked}\r\n"), "protocol", "chunk size");
        refuse(&format!("{chunked}5\r\nhelloXX"), "protocol", "chunk had to end");
        refuse(&format!("{chunked}fffffffff\r\n"), "too-large", "body");
        refuse(&format!("{chunked}5\r\nhello\r\n"), "closed", "in the body");
        refuse("HTTP/1.1 200 OK\r\nConte", "closed", "in the head");
        refuse("", "closed", "before the status line");
    }

    #[test]
    fn a_head_without_end_is_bounded() {
        refuse(&format!("HTTP/1.1 200 OK\r\nx: {}", "y".repeat(5000)), "too-large", "head");
        let many: String = (0..130).map(|i| format!("{i}:\r\n")).collect();
        let stream = format!("HTTP/1.1 200 OK\r\n{many}\r\n");
        let mut parser = ResponseParser::new(Limits::default(), false);
        assert_eq!(parser.feed(stream.as_bytes()).unwrap_err().kind(), "too-large");
    }

    #[test]
    fn a_body_beyond_what_is_kept_is_still_framed() {
        let mut parser = ResponseParser::new(Limits { keep: 3, ..Limits::default() }, false);
        parser.feed(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n0123456789").unwrap();
        assert!(parser.is_complete());
        assert_eq!((parser.body(), parser.body_bytes()), (&b"012"[..], 10));
    }

    #[test]
    fn a_parser_is_reused_without_traces() {
        let mut parser = ResponseParser::new(small(), false);
        parser.feed(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.0 500 Oh\r\nContent-Length: 1\r\n\r\nx").unwrap();
        assert!(parser.is_complete() && parser.closes());
        parser.reset(false);
        assert!(!parser.has_begun());
        parser.feed(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\ny").unwrap();
        assert_eq!((parser.status(), parser.body(), parser.closes()), (200, &b"y"[..], false));
        assert_eq!(parser.fields(), [("Content-Length".to_owned(), b"1".to_vec())]);
    }

    /// Streams that are HTTP more often than not.
    fn streams() -> impl Strategy<Value = Vec<u8>> {
        let piece = prop_oneof![
            Just(b"HTTP/1.1 200 OK\r\n".to_vec()),
            Just(b"HTTP/1.1 100 Continue\r\n\r\n".to_vec()),
            Just(b"Content-Length: 7\r\n".to_vec()),
            Just(b"Transfer-Encoding: chunked\r\n".to_vec()),
            Just(b"Connection: close\r\n".to_vec()),
            Just(b"\r\n".to_vec()),
            Just(b"3\r\nabc\r\n".to_vec()),
            Just(b"0\r\n".to_vec()),
            Just(b"\n".to_vec()),
            proptest::collection::vec(any::<u8>(), 0..12),
        ];
        proptest::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #[test]
        fn any_bytes_in_any_pieces_end_alike(
            stream in streams(),
            mut cuts in proptest::collection::vec(0usize..200, 0..8),
            head_request: bool,
            begins_well: bool,
        ) {
            let stream = if begins_well { [&b"HTTP/1.1 200 OK\r\n"[..], &stream].concat() } else { stream };
            cuts.sort_unstable();
            let kind = |e: WireError| e.kind();
            let whole = outcome(&stream, &[], head_request).map_err(kind);
            prop_assert_eq!(whole, outcome(&stream, &cuts, head_request).map_err(kind));
        }
    }
}
