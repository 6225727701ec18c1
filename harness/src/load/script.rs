//! Which bytes does an operation send, and which reply is success? Prepared once, spliced per request.

use std::collections::BTreeMap;
use std::ops::Range;

use bytes::Bytes;

use super::LoadError;
use super::claims;
use super::recorder::Failure;
use crate::target::{Answer, Case, Issued, Predicate, Target, TokenPlace, TokenUse, Vars};
use crate::wire::{Endpoint, ResponseParser, encode};

/// What an operation does to a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// Begins a session.
    Issue,
    /// Uses a refresh token up and stores what comes back.
    Refresh,
    /// Ends a session.
    Revoke,
    /// Presents the access token of a session.
    Present,
    /// Needs no session.
    Plain,
}

/// Which reply fits a case.
#[derive(Clone, Debug)]
enum Expect {
    /// The status alone decides.
    Status(Vec<u16>),
    /// The whole predicate of the profile; `body` says that it looks at nothing but status and body.
    Judge { statuses: Vec<u16>, case: Case, body: bool },
}

/// The values that are spliced into a request: slot 0 is the token, the others what `issue` returned beside.
pub(crate) trait Slots {
    /// The bytes of one slot, empty where there is nothing.
    fn slot(&self, index: usize) -> &[u8];
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Bytes(Vec<u8>),
    Slot(usize),
    /// The value of Content-Length.
    Length,
}

#[derive(Clone, Debug)]
enum Template {
    /// `body` is the length of the body without its slots, `in_body` the slots in it.
    Spliced { pieces: Vec<Piece>, body: usize, in_body: Vec<usize> },
    /// The values travel in a coding of their own (HTTP Basic), so that each request is made anew.
    Rebuilt,
}

/// One operation of the mix, ready to be sent.
#[derive(Debug)]
pub(crate) struct Script {
    /// The word of the mix.
    pub name: String,
    /// The operation of the profile.
    pub operation: String,
    pub role: Role,
    template: Template,
    accepted: Expect,
    refused: Expect,
    /// Whether the request is a HEAD.
    pub head: bool,
    /// Whether it may be sent again on another connection if the server closed the first without a word.
    pub safe: bool,
    returns_tokens: bool,
    /// Where the reply names the tokens, for samples.
    returns: Vec<(bool, String)>,
    /// The members of the reply that hold tokens, where all that is returned are members of one JSON object.
    members: Option<Members>,
}

/// Names of members of a JSON object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Members {
    access: Option<String>,
    refresh: Option<String>,
    expires_in: Option<String>,
}

impl Members {
    /// Of an operation's `returns`; none where anything is returned in another way.
    fn of<'a>(returns: impl Iterator<Item = (&'a String, &'a String)>) -> Option<Members> {
        let mut members = Members::default();
        for (name, place) in returns {
            let member = place.strip_prefix('/').filter(|m| !m.contains(['/', '~', '\\', '"']))?.to_owned();
            match name.as_str() {
                "access" => members.access = Some(member),
                "refresh" => members.refresh = Some(member),
                "expires_in" => members.expires_in = Some(member),
                _ => return None,
            }
        }
        Some(members)
    }
}

/// The tokens of a reply, as they stand in it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Captured<'r> {
    pub access: Option<&'r str>,
    pub refresh: Option<&'r str>,
    pub expires_in: Option<f64>,
}

/// A token as it stands in a JSON text; none where it is written in any way but its own letters.
fn plain_token(value: &[u8]) -> Option<&str> {
    let text = value.strip_prefix(b"\"")?.strip_suffix(b"\"")?;
    (!text.is_empty() && travels_plainly(text)).then(|| std::str::from_utf8(text).ok())?
}

/// The last body that satisfied a whole predicate: the same bytes with the same status satisfy it again, and
/// need not be parsed again. Replies to one operation are mostly alike.
#[derive(Debug, Default)]
pub(crate) struct Known {
    status: u16,
    body: Vec<u8>,
}

/// Longest body that is remembered.
const KNOWN_BYTES: usize = 16 << 10;

/// What a reply counts as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Completed,
    Failed(Failure),
}

/// What is wrong with the token of a request, on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Spoil {
    None,
    Expired,
    Tampered,
    Revoked,
}

/// A parser's reply as the target looks at it.
pub(crate) struct View<'a>(pub &'a ResponseParser);

impl Answer for View<'_> {
    fn status(&self) -> u16 {
        self.0.status()
    }
    fn header_values(&self, name: &str) -> Vec<&str> {
        self.0.field_values(name)
    }
    fn body(&self) -> &[u8] {
        self.0.body()
    }
}

/// Letters and digits only: no coding of JSON, forms or addresses changes them.
fn sentinel(slot: usize) -> String {
    format!("assaySlot{slot:03}TokenGoesHere")
}

/// Whether bytes travel unchanged through JSON, forms, addresses and header fields.
pub(crate) fn travels_plainly(bytes: &[u8]) -> bool {
    bytes.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b'~'))
}

impl Script {
    /// The script of a word of the mix. `others` are the names, beside tokens, that `issue` returns.
    pub fn new(target: &Target, word: &str, others: &[String]) -> Result<Script, LoadError> {
        let operation = target.resolve(word).unwrap_or_else(|| word.to_owned());
        if target.is_command(&operation) {
            return Err(LoadError::Usage(format!(
                "operation `{word}` is a command of the profile, which no load can drive; hint: leave it out of the mix"
            )));
        }
        let role = match operation.as_str() {
            "issue" => Role::Issue,
            "refresh" => Role::Refresh,
            "revoke" => Role::Revoke,
            _ if target.token_place(&operation).is_some_and(|place| place != TokenPlace::Elsewhere) => Role::Present,
            _ => Role::Plain,
        };
        let mut vars = Vars::new();
        if role != Role::Issue && role != Role::Plain {
            vars = vars.token(sentinel(0));
        }
        let named: BTreeMap<String, serde_json::Value> =
            others.iter().enumerate().map(|(i, name)| (name.clone(), sentinel(i + 1).into())).collect();
        let request = target.request(&operation, &vars.issued(&named))?;
        let described = target.operation(&operation)?;
        let expect = |case: Case, given: Option<&Predicate>| {
            let statuses = target.statuses(&operation, case);
            match given {
                Some(p) if !is_status_only(p) => Expect::Judge { statuses, case, body: p.headers.is_empty() },
                _ => Expect::Status(statuses),
            }
        };
        let tokens = described.returns.contains_key("access") || described.returns.contains_key("refresh");
        Ok(Script {
            name: word.to_owned(),
            role,
            template: template(&request, &target.endpoint, others.len() + 1, role),
            accepted: expect(Case::Accepted, described.accepted.as_ref()),
            refused: expect(Case::Denied, described.denied.as_ref()),
            head: request.method() == http::Method::HEAD,
            safe: matches!(role, Role::Present | Role::Plain),
            returns_tokens: tokens && matches!(role, Role::Issue | Role::Refresh),
            returns: ["access", "refresh"]
                .into_iter()
                .filter_map(|name| Some((name == "access", described.returns.get(name)?.clone())))
                .collect(),
            members: Members::of(described.returns.iter()),
            operation,
        })
    }

    /// A script of fixed bytes, for servers without a profile (the null server, truth servers).
    pub fn fixed(name: &str, request: &[u8], status: u16) -> Script {
        Script {
            name: name.to_owned(),
            operation: name.to_owned(),
            role: Role::Plain,
            template: Template::Spliced { pieces: vec![Piece::Bytes(request.to_vec())], body: 0, in_body: Vec::new() },
            accepted: Expect::Status(vec![status]),
            refused: Expect::Status(Vec::new()),
            head: request.starts_with(b"HEAD "),
            safe: true,
            returns_tokens: false,
            returns: Vec::new(),
            members: None,
        }
    }

    /// Which token of a session it presents: the refresh token or the access token.
    pub fn presents(&self, target: &Target) -> TokenUse {
        match self.role {
            Role::Refresh => TokenUse::Refresh,
            Role::Revoke => target.revocable().first().copied().unwrap_or(TokenUse::Refresh),
            _ => TokenUse::Access,
        }
    }

    /// Writes the request into `out` (cleared first) and says where the token lies in it. `None`: the values
    /// cannot be spliced, the request has to be [rebuilt](Self::rebuild). Does not allocate once `out` has grown.
    pub fn splice(&self, slots: &impl Slots, out: &mut Vec<u8>) -> Option<Range<usize>> {
        out.clear();
        let Template::Spliced { pieces, body, in_body } = &self.template else { return None };
        let mut token = 0..0;
        for piece in pieces {
            match piece {
                Piece::Bytes(bytes) => out.extend_from_slice(bytes),
                Piece::Slot(slot) => {
                    let value = slots.slot(*slot);
                    if *slot == 0 {
                        token = out.len()..out.len() + value.len();
                    }
                    out.extend_from_slice(value);
                }
                Piece::Length => {
                    let length = body + in_body.iter().map(|slot| slots.slot(*slot).len()).sum::<usize>();
                    decimal(length, out);
                }
            }
        }
        Some(token)
    }

    /// Makes the request anew from the profile. Allocates.
    pub fn rebuild(&self, target: &Target, slots: &impl Slots, others: &[String]) -> Result<Vec<u8>, LoadError> {
        let text = |slot: usize| String::from_utf8_lossy(slots.slot(slot)).into_owned();
        let mut vars = Vars::new();
        if !slots.slot(0).is_empty() {
            vars = vars.token(text(0));
        }
        let named: BTreeMap<String, serde_json::Value> =
            others.iter().enumerate().map(|(i, name)| (name.clone(), text(i + 1).into())).collect();
        let request = target.request(&self.operation, &vars.issued(&named))?;
        Ok(encode(&request, &target.endpoint))
    }

    /// What the reply counts as. `expired` says that the token had ended by our own schedule; `known` belongs to this
    /// script and to one loop. Does not allocate for a reply like the one before.
    pub fn judge(
        &self,
        target: Option<&Target>,
        reply: &impl Answer,
        spoil: Spoil,
        expired: bool,
        known: &mut Known,
    ) -> Outcome {
        let status = reply.status();
        let fits = |expect: &Expect| match (expect, target) {
            (Expect::Status(statuses), _) | (Expect::Judge { statuses, .. }, None) => statuses.contains(&status),
            (Expect::Judge { statuses, case, .. }, Some(target)) => {
                statuses.contains(&status) && target.matches(&self.operation, *case, reply).is_ok()
            }
        };
        let remembers = matches!(self.accepted, Expect::Judge { body: true, .. });
        let accepted = if remembers && known.status == status && known.body == reply.body() {
            true
        } else {
            let accepted = fits(&self.accepted);
            if accepted && remembers && reply.body().len() <= KNOWN_BYTES {
                known.status = status;
                known.body.clear();
                known.body.extend_from_slice(reply.body());
            }
            accepted
        };
        match spoil {
            Spoil::None if accepted => Outcome::Completed,
            Spoil::None if fits(&self.refused) => {
                Outcome::Failed(if expired { Failure::ExpiredByUs } else { Failure::Refused(status) })
            }
            Spoil::Expired if accepted => Outcome::Failed(Failure::Accepted("an expired")),
            Spoil::Tampered if accepted => Outcome::Failed(Failure::Accepted("a tampered")),
            Spoil::Revoked if accepted => Outcome::Failed(Failure::Accepted("a revoked")),
            // A verify endpoint may refuse a token as `invalid` where a resource says `denied`.
            _ if spoil != Spoil::None && (fits(&self.refused) || matches!(status, 400 | 401 | 403 | 422)) => {
                Outcome::Completed
            }
            _ => {
                let (Expect::Status(statuses) | Expect::Judge { statuses, .. }) = &self.accepted;
                let right = statuses.contains(&status);
                Outcome::Failed(if right { Failure::Body(status) } else { Failure::Status(status) })
            }
        }
    }

    /// Whether a completed reply brings tokens.
    pub fn returns_tokens(&self) -> bool {
        self.returns_tokens
    }

    /// The tokens of a completed reply, without allocating: `None` where the reply has to be read as a whole, since
    /// something is not as it mostly is. Then [`tokens`](Self::tokens) says.
    pub fn capture<'r>(&self, body: &'r [u8]) -> Option<Captured<'r>> {
        let members = self.members.as_ref()?;
        let is = |wanted: &Option<String>, name: &[u8]| wanted.as_ref().is_some_and(|w| w.as_bytes() == name);
        let mut captured = Captured::default();
        let mut all = claims::Members::of(body);
        for (name, value) in all.by_ref() {
            if is(&members.access, name) {
                captured.access = Some(plain_token(value)?);
            } else if is(&members.refresh, name) {
                captured.refresh = Some(plain_token(value)?);
            } else if is(&members.expires_in, name) {
                captured.expires_in = Some(std::str::from_utf8(value).ok()?.parse().ok()?);
            }
        }
        let whole = all.ended()
            && captured.access.is_some() == members.access.is_some()
            && captured.refresh.is_some() == members.refresh.is_some();
        whole.then_some(captured)
    }

    /// The tokens of a completed reply.
    pub fn tokens(&self, target: &Target, reply: &impl Answer) -> Option<Issued> {
        target.tokens(reply, &self.operation).ok()
    }

    /// The access and the refresh token of a reply that holds them in its JSON body, for samples.
    pub fn tokens_as_sent(&self, reply: &impl Answer) -> (Option<String>, Option<String>) {
        let json: serde_json::Value = serde_json::from_slice(reply.body()).unwrap_or_default();
        let mut found = (None, None);
        for (access, pointer) in &self.returns {
            let value = json.pointer(pointer).and_then(|v| v.as_str()).map(str::to_owned);
            if *access { found.0 = value } else { found.1 = value }
        }
        found
    }
}

fn is_status_only(p: &Predicate) -> bool {
    p.json.is_empty() && p.present.is_empty() && p.absent.is_empty() && p.headers.is_empty() && p.contains.is_none()
}

fn template(request: &http::Request<Bytes>, endpoint: &Endpoint, slots: usize, role: Role) -> Template {
    const LENGTH: &[u8] = b"\r\nContent-Length: ";
    let bytes = encode(request, endpoint);
    let find = |needle: &[u8], from: usize| memchr::memmem::find(&bytes[from..], needle).map(|at| at + from);
    let head = find(b"\r\n\r\n", 0).map_or(bytes.len(), |at| at + 4);
    // Where something else than plain bytes stands, in order.
    let mut marks: Vec<(Range<usize>, Piece)> = Vec::new();
    if let Some(at) = find(LENGTH, 0).filter(|at| *at < head) {
        let from = at + LENGTH.len();
        let digits = bytes[from..].iter().take_while(|b| b.is_ascii_digit()).count();
        marks.push((from..from + digits, Piece::Length));
    }
    let mut in_body = Vec::new();
    let mut token_found = false;
    for slot in 0..slots {
        let needle = sentinel(slot);
        let mut from = 0;
        while let Some(at) = find(needle.as_bytes(), from) {
            marks.push((at..at + needle.len(), Piece::Slot(slot)));
            token_found |= slot == 0;
            if at >= head {
                in_body.push(slot);
            }
            from = at + needle.len();
        }
    }
    if !token_found && matches!(role, Role::Refresh | Role::Revoke | Role::Present) {
        return Template::Rebuilt;
    }
    marks.sort_by_key(|(range, _)| range.start);
    let mut pieces = Vec::new();
    let mut at = 0;
    for (range, piece) in marks {
        pieces.push(Piece::Bytes(bytes[at..range.start].to_vec()));
        pieces.push(piece);
        at = range.end;
    }
    pieces.push(Piece::Bytes(bytes[at..].to_vec()));
    let body = bytes.len() - head - in_body.iter().map(|slot| sentinel(*slot).len()).sum::<usize>();
    Template::Spliced { pieces, body, in_body }
}

fn decimal(mut n: usize, out: &mut Vec<u8>) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (n % 10) as u8;
        n /= 10;
        if n == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Limits;

    struct Values(Vec<&'static [u8]>);
    impl Slots for Values {
        fn slot(&self, index: usize) -> &[u8] {
            self.0.get(index).copied().unwrap_or_default()
        }
    }

    fn target(name: &str) -> Target {
        let profile = crate::target::load(name, None, std::path::Path::new(".")).unwrap();
        Target::new(profile, "http://127.0.0.1:8000/base", None, &[]).unwrap()
    }

    fn spliced(target: &Target, word: &str, values: Vec<&'static [u8]>) -> String {
        let script = Script::new(target, word, &[]).unwrap();
        let mut out = Vec::new();
        let token = script.splice(&Values(values.clone()), &mut out).unwrap();
        if let Some(value) = values.first() {
            assert_eq!(&out[token], *value);
        }
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_spliced_request_is_the_one_the_target_makes() {
        let target = target("reference");
        for (word, operation) in [("access", "verify.resource"), ("verify", "verify.endpoint"), ("refresh", "refresh")]
        {
            let token = "aaaa.bbbb.cccc-_";
            let made = target.request(operation, &Vars::with_token(token)).unwrap();
            let made = String::from_utf8(encode(&made, &target.endpoint)).unwrap();
            assert_eq!(spliced(&target, word, vec![token.as_bytes()]), made);
        }
        let made = target.request("issue", &Vars::new()).unwrap();
        assert_eq!(spliced(&target, "issue", vec![]).into_bytes(), encode(&made, &target.endpoint));
    }

    #[test]
    fn a_reply_is_judged_by_the_profile() {
        let target = target("reference");
        let script = Script::new(&target, "access", &[]).unwrap();
        let answered = |status: u16, body: &str, spoil, expired| {
            let mut parser = ResponseParser::new(Limits::default(), false);
            let reply = format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\n\r\n{body}", body.len());
            parser.feed(reply.as_bytes()).unwrap();
            script.judge(Some(&target), &View(&parser), spoil, expired, &mut Known::default())
        };
        // The profile wants to see the user's name in what the resource grants.
        let judge = |status, spoil, expired| answered(status, "{\"user\":\"alice\"}", spoil, expired);
        assert_eq!(answered(200, "{}", Spoil::None, false), Outcome::Failed(Failure::Body(200)));
        assert_eq!(judge(200, Spoil::None, false), Outcome::Completed);
        assert_eq!(judge(401, Spoil::None, false), Outcome::Failed(Failure::Refused(401)));
        assert_eq!(judge(401, Spoil::None, true), Outcome::Failed(Failure::ExpiredByUs));
        assert_eq!(judge(503, Spoil::None, false), Outcome::Failed(Failure::Status(503)));
        assert_eq!(judge(401, Spoil::Tampered, false), Outcome::Completed);
        assert_eq!(judge(200, Spoil::Expired, false), Outcome::Failed(Failure::Accepted("an expired")));
        assert_eq!(judge(500, Spoil::Expired, false), Outcome::Failed(Failure::Status(500)));
    }

    #[test]
    fn a_known_body_is_only_known_with_its_status() {
        let target = target("reference");
        let script = Script::new(&target, "access", &[]).unwrap();
        let mut known = Known::default();
        let mut judge = |reply: &str| {
            let mut parser = ResponseParser::new(Limits::default(), false);
            parser.feed(reply.as_bytes()).unwrap();
            script.judge(Some(&target), &View(&parser), Spoil::None, false, &mut known)
        };
        let good = "HTTP/1.1 200 X\r\nContent-Length: 12\r\n\r\n{\"user\":\"a\"}";
        assert_eq!((judge(good), judge(good)), (Outcome::Completed, Outcome::Completed));
        assert_eq!(judge(&good.replace("200", "503")), Outcome::Failed(Failure::Status(503)));
        assert_eq!(judge(&good.replace("user", "uzer")), Outcome::Failed(Failure::Body(200)));
        assert_eq!(judge(good), Outcome::Completed);
    }

    #[test]
    fn tokens_are_captured_as_they_stand_or_left_to_be_read_whole() {
        let target = target("reference");
        let script = Script::new(&target, "issue", &[]).unwrap();
        let captured = |body: &'static str| script.capture(body.as_bytes());
        let both = Captured { access: Some("a.b-c"), refresh: Some("r"), expires_in: None };
        assert_eq!(captured(r#"{"access":"a.b-c","x":{"access":"no"},"refresh": "r"}"#), Some(both));
        assert_eq!(captured(r#" {"refresh":"r", "access":"a.b-c"} "#), Some(both));
        for left in [
            r#"{"access":"a.b-c"}"#,
            r#"{"access":"a.b-c","refresh":"r""#,
            r#"{"access":"a.b-c","refresh":"r"} and more"#,
            r#"{"access":"Bearer a.b-c","refresh":"r"}"#,
            r#"{"access":"a\u002eb","refresh":"r"}"#,
            r#"{"access":7,"refresh":"r"}"#,
            "access",
        ] {
            assert_eq!(captured(left), None, "{left}");
        }
        let oauth = Script::new(&self::target("reference-oauth"), "issue", &[]);
        if let Ok(oauth) = oauth {
            let body = br#"{"access_token":"a","token_type":"Bearer","expires_in":300,"refresh_token":"r"}"#;
            let expected = Captured { access: Some("a"), refresh: Some("r"), expires_in: Some(300.0) };
            assert_eq!(oauth.capture(body), Some(expected));
        }
    }

    #[test]
    fn roles_follow_from_the_profile() {
        let target = target("reference");
        for (word, role) in [
            ("issue", Role::Issue),
            ("refresh", Role::Refresh),
            ("revoke", Role::Revoke),
            ("access", Role::Present),
            ("keys", Role::Plain),
        ] {
            assert_eq!(Script::new(&target, word, &[]).unwrap().role, role, "{word}");
        }
        assert!(Script::new(&target, "no-such", &[]).is_err());
    }

    #[test]
    fn only_bytes_that_no_coding_changes_are_spliced() {
        assert!(travels_plainly(b"eyJ.a-b_c~"));
        assert!(!travels_plainly(b"a+b") && !travels_plainly(b"a\"b") && !travels_plainly(b"a=="));
    }
}
