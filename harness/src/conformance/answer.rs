//! What did the target make of a request? Two axes: was it accepted, and how was it refused.

use bytes::Bytes;

use serde_json::Value;

use super::window::{Offset, parse_http_date};
use crate::clock;
use crate::jose::base64url;
use crate::record::{ControlShown, Evidence};
use crate::target::Meaning;
use crate::units::Nanos;
use crate::wire::Reply;

/// Bytes of a request's head that every server reads (RFC 9112 section 3 recommends 8,000 octets for the request line; common
/// servers stop between 8 and 64 KiB of all fields).
const LONGEST_HEAD: usize = 8 * 1024;

/// The outcome of one exchange.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The operation of the profile, or what was sent instead of one.
    pub operation: String,
    /// The request as it was built.
    pub request: http::Request<Bytes>,
    /// The token under test, if one was sent.
    pub token: Option<String>,
    /// The reply, where there was one.
    pub reply: Option<Reply>,
    /// What it means.
    pub axis: Axis,
    /// The number of its connection, counted over the examination from 1; 0 where none could be opened.
    pub connection: u64,
    /// Whether genuine tokens before and after it were accepted, where some were shown.
    pub beside: Option<(bool, bool)>,
    /// It was one of several at the same time.
    pub raced: bool,
    /// Its number among the check's exchanges that may have used their token up, where it is one.
    pub used: Option<u64>,
    /// Just before the first byte was sent (monotonic).
    pub sent: Nanos,
    /// Just after the last byte was received, or the attempt was given up (monotonic).
    pub received: Nanos,
}

/// Accepted, or refused how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Axis {
    /// The profile's predicate for acceptance holds.
    Accepted,
    /// Refused as the profile says, or with any 4xx.
    Refused,
    /// A reply that is neither acceptance nor a refusal by the profile (a redirect, a 200 with another body).
    Unclear(String),
    /// A 5xx.
    Crashed(u16),
    /// No reply within the deadline.
    Hung,
    /// The connection ended without a reply: the kind of the error.
    Dropped(String),
}

impl Answer {
    /// What came of one exchange that stands alone: `outcome` as [`super::crowd::axis`] tells it, `at` when it was sent and answered.
    pub(super) fn new(
        operation: &str,
        request: http::Request<Bytes>,
        token: Option<String>,
        outcome: (Axis, Option<Reply>),
        connection: u64,
        at: (Nanos, Nanos),
    ) -> Answer {
        let ((axis, reply), (sent, received)) = (outcome, at);
        let operation = operation.to_owned();
        Answer {
            operation,
            request,
            token,
            reply,
            axis,
            connection,
            beside: None,
            raced: false,
            used: None,
            sent,
            received,
        }
    }

    /// Judges a reply by the profile's meaning.
    pub(super) fn axis_of(meaning: &Meaning, status: u16) -> Axis {
        match meaning {
            Meaning::Accepted => Axis::Accepted,
            _ if status >= 500 => Axis::Crashed(status),
            Meaning::Denied | Meaning::Invalid | Meaning::WrongMethod | Meaning::NoToken => Axis::Refused,
            Meaning::Unexpected { .. } if (400..500).contains(&status) => Axis::Refused,
            Meaning::Unexpected { why } => Axis::Unclear(why.clone()),
        }
    }

    /// Whether the profile's predicate for acceptance holds.
    pub fn accepted(&self) -> bool {
        self.axis == Axis::Accepted
    }

    /// Whether it was refused with an answer of the 4xx kind, or as the profile says.
    pub fn refused(&self) -> bool {
        self.axis == Axis::Refused
    }

    /// Whether it is no orderly answer: a server error, a hang, a connection that ends without a word. A server may close
    /// on a head that is longer than it reads: its 431 or 400 is then lost with what it has not read.
    pub fn unclean(&self) -> bool {
        let head: usize =
            self.request.headers().iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
        match self.axis {
            Axis::Crashed(_) | Axis::Hung => true,
            Axis::Dropped(_) => head <= LONGEST_HEAD,
            _ => false,
        }
    }

    /// Whether the target answered at all, in whatever way.
    pub fn answered(&self) -> bool {
        self.reply.is_some()
    }

    /// The status, 0 without a reply.
    pub fn status(&self) -> u16 {
        self.reply.as_ref().map_or(0, |r| r.status)
    }

    /// The normalised finding: the same whenever the target does the same.
    pub fn finding(&self) -> String {
        match &self.axis {
            Axis::Accepted => "accepted".into(),
            Axis::Refused => format!("refused {}", self.status()),
            Axis::Unclear(_) => format!("unclear {}", self.status()),
            Axis::Crashed(status) => format!("crash {status}"),
            Axis::Hung => "hang".into(),
            Axis::Dropped(kind) => format!("dropped {kind}"),
        }
    }

    /// One clause for people.
    pub fn describe(&self) -> String {
        match &self.axis {
            Axis::Accepted => format!("accepted with {}", self.status()),
            Axis::Refused => format!("refused with {}", self.status()),
            Axis::Unclear(why) => format!("answered {} that is neither acceptance nor refusal ({why})", self.status()),
            Axis::Crashed(status) => format!("a server error {status}"),
            Axis::Hung => "no answer within the deadline".into(),
            Axis::Dropped(kind) if kind == "protocol" => "an answer that is no HTTP/1.1".into(),
            Axis::Dropped(kind) if kind == "too-large" => "an answer larger than any reader takes".into(),
            Axis::Dropped(kind) => format!("the connection ended without an answer ({kind})"),
        }
    }

    /// Whether the reply holds a token that can be read as one, in its body, a cookie or a redirect.
    pub fn carries_token(&self) -> bool {
        let Some(reply) = &self.reply else { return false };
        let headers = reply.header_all("set-cookie").into_iter().chain(reply.header_all("location"));
        holds_token(&reply.text()) || headers.into_iter().any(holds_token)
    }

    /// Whether the reply carries a `Bearer` challenge that parses.
    pub fn bearer_challenge(&self) -> Option<Vec<(String, String)>> {
        let reply = self.reply.as_ref()?;
        reply
            .header_all("www-authenticate")
            .iter()
            .flat_map(|v| challenges(v))
            .find_map(|(scheme, params)| scheme.eq_ignore_ascii_case("bearer").then_some(params))
    }

    /// An evidence entry without the texts, which need a redactor. `began`: when the examination did.
    pub(super) fn evidence(&self, variant: Option<&str>, expected: &str, seen: &str, began: Nanos) -> Evidence {
        let shown = |(before, after)| ControlShown { operation: self.operation.clone(), before, after };
        Evidence {
            variant: variant.map(str::to_owned),
            expected: expected.to_owned(),
            seen: seen.to_owned(),
            service_ns: self.reply.as_ref().map(|r| r.timing.done.since(r.timing.sent).0),
            sent_s: Some(self.sent.since(began).as_secs_f64()),
            answered_s: Some(self.received.since(began).as_secs_f64()),
            connection: (self.connection > 0).then_some(self.connection),
            clock_offset_s: self.clock_offset(),
            controls: self.beside.map(shown).into_iter().collect(),
            ..Evidence::default()
        }
    }

    /// Between which seconds the server's clock is ahead of ours, by the reply's `Date`.
    pub(super) fn clock_offset(&self) -> Option<(f64, f64)> {
        let date = self.reply.as_ref()?.header("date").and_then(parse_http_date)?;
        let mut offset = Offset::default();
        offset.see(date, clock::unix_at(self.sent), clock::unix_at(self.received));
        offset.interval()
    }
}

/// Whether a text holds a compact JWS or JWE. A framework's cookies are Base64 of JSON objects too (an encrypted value, a
/// signed session): the header of a token names its algorithm (RFC 7515 section 4.1.1, RFC 7516 section 4.1.1).
fn holds_token(text: &str) -> bool {
    let in_token = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    let begins = |run: &str| -> bool {
        let (header, rest) = run.split_once('.').unwrap_or_default();
        let object: Option<Value> = serde_json::from_slice(&base64url::decode_lenient(header)).ok();
        rest.contains('.') && object.is_some_and(|object| object.get("alg").is_some())
    };
    // Behind `%22` or another prefix only the usual first letters tell where it begins.
    text.split(|c| !in_token(c)).any(|run| begins(run) || run.match_indices("eyJ").any(|(at, _)| begins(&run[at..])))
}

/// The challenges of one `WWW-Authenticate` value with their parameters (RFC 9110 section 11.6.1: a list in which
/// both challenges and parameters are separated by commas). Malformed remainders end the list.
pub fn challenges(value: &str) -> Vec<(String, Vec<(String, String)>)> {
    let mut out: Vec<(String, Vec<(String, String)>)> = Vec::new();
    for part in split_list(value) {
        let part = part.trim();
        if part.is_empty() {
            continue;
        }
        let (first, rest) = match part.find([' ', '\t']) {
            Some(at) => (&part[..at], part[at..].trim_start()),
            None => (part, ""),
        };
        // `Bearer realm="api"` begins a challenge, `error="invalid_token"` goes on with one.
        let parameter = if first.contains('=') || rest.starts_with('=') {
            part
        } else {
            out.push((first.to_owned(), Vec::new()));
            rest
        };
        if let (Some((name, text)), Some((_, params))) = (parameter.split_once('='), out.last_mut()) {
            params.push((name.trim().to_ascii_lowercase(), unquote(text.trim())));
        }
    }
    out
}

/// Splits at commas outside of quoted strings.
fn split_list(value: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let (mut start, mut quoted, mut escaped) = (0, false, false);
    for (at, c) in value.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            ',' if !quoted => {
                parts.push(&value[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&value[start..]);
    parts
}

fn unquote(text: &str) -> String {
    let Some(inner) = text.strip_prefix('"').and_then(|t| t.strip_suffix('"')) else { return text.to_owned() };
    let mut out = String::with_capacity(inner.len());
    let mut chars = inner.chars();
    while let Some(c) = chars.next() {
        out.push(if c == '\\' { chars.next().unwrap_or('\\') } else { c });
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(value: &str, expected: &[(&str, &[(&str, &str)])]) {
        let expected: Vec<(String, Vec<(String, String)>)> = expected
            .iter()
            .map(|(s, ps)| ((*s).to_owned(), ps.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect()))
            .collect();
        assert_eq!(challenges(value), expected);
    }

    #[test]
    fn a_token_is_told_from_the_cookies_of_frameworks() {
        let token = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhIn0.c2lnbmF0dXJl";
        let encrypted = format!("{}.e.i.c.t", base64url::encode(r#"{"alg":"dir","enc":"A128GCM"}"#));
        let pretty = format!("{}.eyJzdWIiOiJhIn0.c2ln", base64url::encode("{ \"alg\": \"none\" }"));
        for text in [
            format!("{{\"access\":\"{token}\"}}"),
            format!("access_token={token}; Path=/; HttpOnly"),
            format!("https://app.example/#access_token={token}&x=1"),
            format!("token=%22{token}%22"),
            encrypted,
            pretty,
        ] {
            assert!(holds_token(&text), "{text}");
        }
        let sealed = base64url::encode(r#"{"iv":"q8Zt0mWc2VdKx71LrPaN","value":"Zm9v","mac":"9f86d081"}"#);
        for text in [
            format!("XSRF-TOKEN={sealed}%3D; Path=/"),
            format!("session={}.ZnA1aQ.9f86d081884c7d659a2f; HttpOnly", base64url::encode(r#"{"_fresh":false}"#)),
            "the header eyJhbGciOiJIUzI1NiJ9 alone. Not more. Really".to_owned(),
        ] {
            assert!(!holds_token(&text), "{text}");
        }
    }

    #[test]
    fn a_challenge_is_parsed_as_a_list_not_compared_as_text() {
        check(r#"Bearer realm="api""#, &[("Bearer", &[("realm", "api")])]);
        check("Bearer", &[("Bearer", &[])]);
        check(
            r#"Basic realm="a, b", bearer realm="x", error="invalid_token", error_description="it \"ended\"""#,
            &[
                ("Basic", &[("realm", "a, b")]),
                ("bearer", &[("realm", "x"), ("error", "invalid_token"), ("error_description", "it \"ended\"")]),
            ],
        );
        check(r#"Bearer realm = "api""#, &[("Bearer", &[("realm", "api")])]);
        check("", &[]);
        check(",,", &[]);
    }
}
