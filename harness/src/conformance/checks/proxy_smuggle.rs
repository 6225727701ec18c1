//! Do proxy and server agree where a request ends? Requests of which each could see another end, and a stranger's request
//! behind each, which must be answered as itself.

use std::time::Duration;

use crate::conformance::answer::Answer;
use crate::conformance::descriptor::{Check, Isolation, Levels, Need, cost};
use crate::conformance::probe::{Probe, Stop};
use crate::conformance::session::{PATIENCE, Way};
use crate::record::Level;
use crate::target::TokenPlace;
use crate::wire::Connection;

use super::proxy::{bearer_way, genuine_past, request};

/// How long an ambiguous request may be waited for: one side may want more of it for ever.
const AMBIGUOUS: Duration = Duration::from_millis(1_000);
/// Bytes of a stranger's request that a smuggled one swallows, so that it is answered when the stranger's comes.
const SWALLOWED: usize = 4;
/// What ends a chunk, and a chunked body.
const LAST_CHUNK: &str = "\r\n0\r\n\r\n";

/// The family's part.
pub const CHECKS: &[Check] = &[Check {
    id: "proxy-smuggle",
    group: "PROXY",
    requirement: "a request whose end can be read in two ways does not reach into the next caller's",
    sources: &[
        "RFC 9112 section 6.1",
        "RFC 9112 section 6.3",
        "RFC 9112 section 11.2",
        "RFC 9112 section 2.2",
        "RFC 9112 section 7.1.1",
        "CWE-444",
    ],
    levels: Levels::issuing(Level::Must),
    needs: &[Need::Peer, Need::Resource, Need::Issue],
    variants: &[
        "cl-te",
        "te-cl",
        "te-te-space",
        "te-te-unknown",
        "te-te-twice",
        "cl-zero",
        "two-lengths",
        "bare-lf",
        "chunk-extension",
    ],
    isolation: Isolation::Exclusive,
    cost: cost(80, 4),
    intrusive: true,
    flaws: &["cl-te", "cl-zero", "lf-as-space", "te-cl", "te-te", "two-lengths"],
    sends: "requests with Content-Length and Transfer-Encoding, with a Transfer-Encoding that is written oddly or twice, with two lengths, with a body where none is expected, with bare line feeds and chunk extensions, each with the start of a request that carries a good token in its body; then the resource without a token from other connections",
    why: "where proxy and server disagree on the end of a request, what one caller sends becomes the start of the next caller's: an attacker takes over other people's requests, or reads their answers",
    remedy: "update proxy and server, refuse what has both headers or is malformed, speak HTTP/2 between them, or keep no connection to the server",
    run: smuggle,
}];

/// What ambiguous requests are made of.
struct Ground {
    host: String,
    /// A path that takes a POST, and one that a token opens.
    posted: String,
    opened: String,
    token: String,
}

impl Ground {
    fn head(&self, line: &str, fields: &str) -> String {
        let kind = "Content-Type: application/x-www-form-urlencoded";
        format!("{line} HTTP/1.1\r\nHost: {}\r\n{kind}\r\n{fields}\r\n", self.host)
    }

    fn post(&self, fields: &str, body: &str) -> String {
        self.head(&format!("POST {}", self.posted), fields) + body
    }

    /// A request with a good token that is not at its end: whatever comes next becomes the value of its last field.
    fn open(&self) -> String {
        format!("GET {} HTTP/1.1\r\nAuthorization: Bearer {}\r\nX-Assay: ", self.opened, self.token)
    }

    /// The same with a body, which is what ends the ambiguous request and the first bytes of what comes next.
    fn swallowing(&self) -> String {
        let length = LAST_CHUNK.len() + SWALLOWED;
        let token = &self.token;
        self.head(
            &format!("GET {}", self.opened),
            &format!("Authorization: Bearer {token}\r\nContent-Length: {length}\r\n"),
        )
    }

    /// Longer by its length than by its chunks.
    fn long(&self, encoding: &str) -> String {
        let body = format!("0\r\n\r\n{}", self.open());
        self.post(&format!("Content-Length: {}\r\n{encoding}", body.len()), &body)
    }

    /// Longer by its chunks than by its length.
    fn short(&self, encoding: &str) -> String {
        let inner = self.swallowing();
        let size = format!("{:x}\r\n", inner.len());
        let body = format!("{size}{inner}{LAST_CHUNK}");
        self.post(&format!("Content-Length: {}\r\n{encoding}", size.len()), &body)
    }

    fn both(&self, encoding: &str) -> Vec<String> {
        vec![self.long(encoding), self.short(encoding)]
    }

    /// With a chunk whose size line ends at the LF for one reader, and at the CR LF behind it for another.
    fn extended(&self) -> String {
        let inner = format!("0\r\n\r\n{}", self.swallowing());
        let size = format!("{:x}", inner.len());
        let digits = size.len();
        let body = format!("{digits};\n{}\r\n{size}\r\n{inner}{LAST_CHUNK}", "x".repeat(digits));
        self.post("Transfer-Encoding: chunked\r\n", &body)
    }
}

/// The ambiguous requests of each part.
fn attacks(ground: &Ground) -> Vec<(&'static str, Vec<String>)> {
    let plain = "Transfer-Encoding: chunked\r\n";
    let open = ground.open();
    let length = open.len();
    let with_body = format!("Content-Length: {length}\r\n");
    let two = |first: usize, second: usize| {
        ground.post(&format!("Content-Length: {first}\r\nContent-Length: {second}\r\n"), &open)
    };
    vec![
        ("cl-te", vec![ground.long(plain)]),
        ("te-cl", vec![ground.short(plain)]),
        ("te-te-space", ground.both("Transfer-Encoding : chunked\r\n")),
        ("te-te-unknown", ground.both("Transfer-Encoding: xchunked\r\n")),
        ("te-te-twice", ground.both(&format!("{plain}Transfer-Encoding: identity\r\n"))),
        (
            "cl-zero",
            vec![ground.post(&with_body, &open), ground.head(&format!("GET {}", ground.opened), &with_body) + &open],
        ),
        ("two-lengths", vec![two(0, length), two(length, 0)]),
        ("bare-lf", ground.both(&format!("X-Assay: a\n{plain}"))),
        ("chunk-extension", vec![ground.extended()]),
    ]
}

/// How a stranger was answered.
enum Stranger {
    /// As before.
    Undisturbed,
    /// With what only the smuggled token opens.
    LetIn(Answer),
    /// In another way than before.
    Disturbed(Answer),
}

fn smuggle(p: &mut Probe<'_>) -> Result<(), Stop> {
    p.guarded()?;
    let way = bearer_way(p)?;
    let token = genuine_past(p)?;
    // The request as the profile has it, beside which nothing is wrong with the proxy.
    if !p.present(&way, &token)?.accepted() {
        return Err(Stop::Inconclusive("the proxy passes no genuine token on".into()));
    }
    let before = stranger(p, &way)?.finding();
    let opened = request(p, &way.operation, &p.vars_with(token.as_str()))?;
    if opened.method() != http::Method::GET {
        return Err(Stop::not_applicable("the resource is not asked by GET"));
    }
    let base = &p.target().endpoint.base_path;
    let path = |request: &http::Request<bytes::Bytes>| {
        format!("{base}{}", request.uri().path_and_query().map_or("/", |path| path.as_str()))
    };
    let ground = Ground {
        host: p.target().endpoint.authority(),
        posted: posted(p).unwrap_or_else(|| path(&opened)),
        opened: path(&opened),
        token,
    };
    for (variant, attacks) in attacks(&ground) {
        let (mut worst, mut sent) = (Stranger::Undisturbed, String::new());
        for attack in attacks {
            worst = attacked(p, &way, &attack, &before)?;
            // One answer that is otherwise may be chance: a connection that a server has just closed.
            if matches!(worst, Stranger::Disturbed(_)) {
                worst = attacked(p, &way, &attack, &before)?;
            }
            if !matches!(worst, Stranger::Undisturbed) {
                sent = attack;
                break;
            }
        }
        match worst {
            Stranger::Undisturbed => p.pass(Some(variant), "in-step", "the requests of others were answered as before"),
            Stranger::LetIn(answer) => {
                let text = format!("a request without a token, sent by another caller, was {}", answer.describe());
                p.fail(Some(variant), "desync", text);
                p.shows_bytes(&sent, &[&ground.token]);
            }
            Stranger::Disturbed(answer) => {
                let text = format!("another caller's request: `{before}` before, then {}", answer.describe());
                p.fail(Some(variant), "disturbed", text);
                p.shows_bytes(&sent, &[&ground.token]);
                p.at_most(Level::Should);
            }
        }
    }
    let way_still = p.present(&way, &ground.token)?;
    if !way_still.accepted() || stranger(p, &way)?.finding() != before {
        return Err(Stop::Inconclusive("the proxy does not answer as before any more".into()));
    }
    Ok(())
}

/// A path that takes a POST whose body is read, where the profile has one.
fn posted(p: &Probe<'_>) -> Option<String> {
    let ways = p.ways().into_iter().map(|way| way.operation);
    let request = ways.chain(["refresh".to_owned(), "issue".to_owned()]).find_map(|operation| {
        let bearer = matches!(p.target().token_place(&operation), Some(TokenPlace::Bearer));
        let request = p.target().request(&operation, &p.vars_with("assay-no-token")).ok()?;
        (request.method() == http::Method::POST && !bearer).then_some(request)
    })?;
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
    Some(format!("{}{path}", p.target().endpoint.base_path))
}

/// The resource without a token.
fn stranger(p: &mut Probe<'_>, way: &Way) -> Result<Answer, Stop> {
    let request = request(p, &way.operation, &p.vars())?;
    p.send(&way.operation, request, None)
}

/// Sends an ambiguous request and then strangers' from other connections: twice over one, and once over another, since a
/// proxy may choose a server's connection by the caller's.
fn attacked(p: &mut Probe<'_>, way: &Way, attack: &str, before: &str) -> Result<Stranger, Stop> {
    let target = p.target();
    let mut connection = Connection::open(&target.endpoint, &target.tls, PATIENCE)
        .map_err(|e| Stop::Inconclusive(format!("the proxy takes no connection: {e}")))?;
    // Whatever it is answered, and if it is not: only what becomes of others counts.
    let _ = p.asked_by_hand(&mut connection, attack.as_bytes(), AMBIGUOUS)?;
    let mut worst = Stranger::Undisturbed;
    for number in 0..3 {
        if number != 1 {
            p.hang_up();
        }
        let answer = stranger(p, way)?;
        if answer.accepted() {
            worst = Stranger::LetIn(answer);
            break;
        }
        if answer.finding() != before && matches!(worst, Stranger::Undisturbed) {
            worst = Stranger::Disturbed(answer);
        }
    }
    p.hang_up();
    Ok(worst)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ground() -> Ground {
        let text = |text: &str| text.to_owned();
        Ground { host: text("a"), posted: text("/in"), opened: text("/me"), token: "t".repeat(700) }
    }

    /// Where a request ends by a length, counted from its body.
    fn body(request: &str) -> &str {
        request.split_once("\r\n\r\n").unwrap().1
    }

    #[test]
    fn each_ambiguous_request_has_two_ends_and_a_request_behind_the_first() {
        let ground = ground();
        let long = ground.long("Transfer-Encoding: chunked\r\n");
        assert!(long.contains(&format!("Content-Length: {}\r\n", body(&long).len())));
        assert_eq!(body(&long).strip_prefix("0\r\n\r\n"), Some(ground.open().as_str()));

        let short = ground.short("Transfer-Encoding: chunked\r\n");
        let (size, rest) = body(&short).split_once("\r\n").unwrap();
        assert!(short.contains(&format!("Content-Length: {}\r\n", size.len() + 2)));
        let size = usize::from_str_radix(size, 16).unwrap();
        assert_eq!((&rest[..size], &rest[size..]), (ground.swallowing().as_str(), LAST_CHUNK));
    }

    #[test]
    fn a_chunk_extension_ends_at_the_lf_or_behind_it() {
        let ground = ground();
        let extended = ground.extended();
        // Who ends the line at the LF: a chunk of x, then one that holds all the rest.
        let rest = body(&extended).split_once(";\nxxx\r\n").unwrap().1;
        let (size, inner) = rest.split_once("\r\n").unwrap();
        assert_eq!(&inner[usize::from_str_radix(size, 16).unwrap()..], LAST_CHUNK);
        // Who ends it at the CR LF: a chunk that holds the size, then the last one, then a request.
        assert_eq!(body(&extended).split(';').next(), Some(size.len().to_string().as_str()));
        assert!(inner.starts_with("0\r\n\r\nGET /me HTTP/1.1\r\nHost: a\r\n"));
    }
}
