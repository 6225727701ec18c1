//! How do token servers go wrong in ways that the reference server does not? SimpleJWT's endpoints with one twist each.
#![allow(dead_code, reason = "every test file takes the twists that it needs")]

use std::collections::{HashMap, HashSet};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde_json::{Value, json};

use crate::servers::{assay, said};

const KEY: &[u8] = b"a-secret-that-is-long-enough-for-hs256";
const LOGIN: &str = "/api/token/";
pub const PASSWORD: &str = "correct-horse-9";

/// The exit code of `check --only ...` by a profile against a twisted server, and words that it says.
#[track_caller]
pub fn check(profile: &str, twist: Twist, only: &[&str], code: i32, says: &str) {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Twisted::start(twist);
    let fixed = ["check", "--target", &server.url, "--profile", profile];
    let only: Vec<&str> = only.iter().flat_map(|id| ["--only", *id]).collect();
    let output = assay(folder.path(), &[&fixed[..], &only].concat());
    assert_eq!(output.status.code(), Some(code), "{twist:?} {only:?}\n{}", said(&output));
    assert!(said(&output).contains(says), "{twist:?}: expected `{says}` in\n{}", said(&output));
}

/// What a server does otherwise than its neighbours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Twist {
    /// Nothing.
    None,
    /// One worker of two takes unsecured tokens: the one that gets connections of this parity.
    NoneOnOneWorker(u64),
    /// Unsecured tokens are taken where `alg` is all that the header has.
    NoneAlone,
    /// Access tokens live for three seconds, and every verdict takes its time.
    Fleeting,
    /// The same, and unsecured tokens are taken where `alg` is all that the header has, until their `exp`.
    FleetingTakesNone,
    /// The resource is a public page.
    Public,
    /// Nothing refreshes under the usual path, and a logout answers as done.
    RefreshElsewhere,
    /// `iat` is written in another time zone, and refresh tokens say that they ended in 1970.
    OddTimes,
    /// Every so manieth verdict is lost in the proxy.
    Noisy(u64),
    /// More than 20 verdicts a second are not given: a bare 503, as nginx answers.
    Limited,
    /// The first verdicts on what is signed again are lost in the proxy; no signature of its own holds `-` or `_`.
    LosesControls,
    /// The clock is five seconds behind ours, and tokens are taken nearly five minutes after their end.
    BehindWithLeeway,
    /// The tokens of this user are good for nothing.
    Refuses(&'static str),
    /// A refresh token opens the resource when it comes a second time.
    RefreshTheSecondTime,
    /// A refusal (not that of the verify endpoint, whose 200 means acceptance) is a 200 with an error in its body.
    RefusesWith200,
    /// The same, and unsecured tokens are taken.
    RefusesWith200AndTakesNone,
    /// A wrong password is answered with 429.
    LimitsWrongPasswords,
    /// The first logins work; then the user is locked.
    LocksAfter(u64),
    /// A login ends the user's session before it.
    OneSession,
    /// One column for a user's refresh token, which every login and every refresh writes; access tokens are looked up
    /// nowhere, and none has a `jti`.
    OneRefreshToken,
    /// Tokens without a `jti`, so that two logins within a second bring one text, which a logout ends.
    SameText,
    /// Refresh tokens rotate, and a logout ends the one text that it is sent: nobody looks an access token up, and what
    /// a refresh has made of the token meanwhile lives on.
    RevokesOneText,
    /// A token with a header member that the server does not know is refused.
    KnownHeadersOnly,
    /// The end of a token is looked at nowhere.
    EndlessTokens,
    /// Who has no token is shown a page of the resource's; a bad one is refused.
    PageForNobody,
    /// Every refusal of a login brings cookies as frameworks make them: Base64 of JSON, sealed or signed.
    FrameworkCookies,
    /// After so many wrong passwords for an account the right one is refused too.
    LocksAfterWrong(u64),
    /// A connection ends with its first answer.
    OneAnswerPerConnection,
    /// GET on the login's address shows a page.
    LoginPage,
    /// Tokens that nobody can read, with replies that may be stored and that echo what came.
    Opaque,
    /// Tokens that no header can carry.
    UnsendableTokens,
    /// Error replies full of markup and control characters.
    Evil,
}

/// A server on a free port of loopback, ended when dropped.
pub struct Twisted {
    pub url: String,
    /// Every token it gave out.
    pub issued: Arc<Mutex<Vec<String>>>,
    stop: Arc<AtomicBool>,
}

struct Shared {
    twist: Twist,
    count: AtomicU64,
    connections: AtomicU64,
    logins: AtomicU64,
    verdicts: AtomicU64,
    seen: Mutex<HashMap<String, u64>>,
    /// The refresh token that is on record for a user.
    column: Mutex<HashMap<String, String>>,
    /// Tokens that a logout or a refresh has ended.
    ended: Mutex<HashSet<String>>,
    issued: Arc<Mutex<Vec<String>>>,
}

struct Asked {
    method: String,
    path: String,
    bearer: Option<String>,
    body: Vec<u8>,
    worker: u64,
}

struct Said(u16, Vec<(&'static str, String)>, Vec<u8>);

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs()
}

/// An instant as HTTP writes it.
fn date(unix: u64) -> String {
    let instant = jiff::Timestamp::from_second(unix.cast_signed()).expect("in range");
    instant.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()
}

fn says(status: u16, body: &Value) -> Said {
    Said(status, vec![("content-type", "application/json".into())], body.to_string().into_bytes())
}

impl Twisted {
    pub fn start(twist: Twist) -> Twisted {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let issued = Arc::new(Mutex::new(Vec::new()));
        let stop = Arc::new(AtomicBool::new(false));
        let shared = Arc::new(Shared {
            twist,
            count: AtomicU64::new(0),
            connections: AtomicU64::new(0),
            logins: AtomicU64::new(0),
            verdicts: AtomicU64::new(0),
            seen: Mutex::default(),
            column: Mutex::default(),
            ended: Mutex::default(),
            issued: issued.clone(),
        });
        let ended = stop.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if ended.load(Ordering::Relaxed) {
                    return;
                }
                let shared = shared.clone();
                let worker = shared.connections.fetch_add(1, Ordering::Relaxed);
                // A caller that goes away in the middle is no matter of the server's.
                std::thread::spawn(move || drop(shared.connection(stream, worker)));
            }
        });
        Twisted { url, issued, stop }
    }
}

impl Drop for Twisted {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(self.url.trim_start_matches("http://"));
    }
}

impl Shared {
    fn connection(&self, stream: TcpStream, worker: u64) -> std::io::Result<()> {
        stream.set_nodelay(true)?;
        let mut reader = BufReader::new(stream.try_clone()?);
        let mut writer = stream;
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line)? == 0 {
                return Ok(());
            }
            let mut words = line.split_whitespace().map(str::to_owned);
            let (Some(method), Some(path)) = (words.next(), words.next()) else { return Ok(()) };
            let (mut length, mut bearer) = (0, None);
            loop {
                let mut field = Vec::new();
                reader.read_until(b'\n', &mut field)?;
                let field = String::from_utf8_lossy(&field);
                let Some((name, value)) = field.trim_end().split_once(':') else { break };
                match name.to_ascii_lowercase().as_str() {
                    "content-length" => length = value.trim().parse().unwrap_or(0),
                    "authorization" => {
                        let token = value.trim().split_once(' ').filter(|(s, _)| s.eq_ignore_ascii_case("bearer"));
                        bearer = token.map(|(_, token)| token.to_owned());
                    }
                    _ => {}
                }
            }
            let mut body = vec![0; length];
            reader.read_exact(&mut body)?;
            let head = method == "HEAD";
            let path = path.split('?').next().unwrap_or_default().to_owned();
            let Said(status, headers, body) = self.answer(&Asked { method, path, bearer, body, worker });
            let mut reply = format!("HTTP/1.1 {status} x\r\ncontent-length: {}\r\n", body.len()).into_bytes();
            if self.twist == Twist::BehindWithLeeway {
                reply.extend_from_slice(format!("date: {}\r\n", date(now() - 5)).as_bytes());
            }
            for (name, value) in headers {
                reply.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
            }
            let once = self.twist == Twist::OneAnswerPerConnection;
            if once {
                reply.extend_from_slice(b"connection: close\r\n");
            }
            reply.extend_from_slice(b"\r\n");
            if !head {
                reply.extend_from_slice(&body);
            }
            writer.write_all(&reply)?;
            if once {
                return Ok(());
            }
        }
    }

    fn answer(&self, asked: &Asked) -> Said {
        let field = |name: &str| {
            let body: Value = serde_json::from_slice(&asked.body).ok()?;
            body.get(name)?.as_str().map(str::to_owned)
        };
        match (asked.method.as_str(), asked.path.as_str()) {
            ("POST", LOGIN) => match (field("username"), field("password")) {
                (Some(user), Some(password)) => self.login(&user, &password),
                _ => says(400, &json!({"detail": "username and password"})),
            },
            ("POST", "/api/token/refresh/") if self.twist == Twist::RefreshElsewhere => says(404, &json!({})),
            ("POST", "/api/token/blacklist/") if self.twist == Twist::RefreshElsewhere => says(200, &json!({})),
            // Answered as done, and looked at nowhere.
            ("POST", "/api/token/blacklist/") if self.twist == Twist::Fleeting => says(200, &json!({})),
            ("POST", "/api/token/blacklist/") if self.ends_texts() => {
                // Later than a refresh that was asked for at the same time.
                std::thread::sleep(Duration::from_millis(20));
                self.ended.lock().expect("sound").insert(field("refresh").unwrap_or_default());
                says(200, &json!({}))
            }
            ("GET", "/hello/") if self.twist == Twist::PageForNobody && asked.bearer.is_none() => {
                says(200, &json!({"please": "log in"}))
            }
            ("GET", "/hello/") if self.twist == Twist::Public => says(200, &json!({"username": "alice"})),
            ("GET", "/hello/") | ("POST", "/api/token/verify/") if self.loses(asked) => {
                says(if self.twist == Twist::Limited { 503 } else { 502 }, &json!({"detail": "not now"}))
            }
            ("POST", "/api/token/refresh/") => match field("refresh").filter(|t| !t.is_empty()) {
                None => says(400, &json!({"detail": "refresh"})),
                Some(token) => match self.subject(&token, "refresh", asked) {
                    Some(user) if self.twist == Twist::OneRefreshToken => match self.on_record(&user) == Some(token) {
                        true => self.pair(&user),
                        false => self.refuse(&asked.path),
                    },
                    Some(_) if self.ends_texts() && self.ended.lock().expect("sound").contains(&token) => {
                        self.refuse(&asked.path)
                    }
                    Some(user) if self.twist == Twist::RevokesOneText => {
                        self.ended.lock().expect("sound").insert(token);
                        self.pair(&user)
                    }
                    Some(user) => says(200, &json!({"access": self.token(&user, "access", self.life())})),
                    None => self.refuse(&asked.path),
                },
            },
            ("POST", "/api/token/verify/") => match field("token").filter(|t| !t.is_empty()) {
                None => says(400, &json!({"detail": "token"})),
                Some(token) => {
                    let known = ["access", "refresh"].iter().any(|kind| self.subject(&token, kind, asked).is_some());
                    if known { says(200, &json!({"detail": "good"})) } else { self.refuse(&asked.path) }
                }
            },
            ("GET", "/hello/") => match asked.bearer.as_deref().and_then(|t| self.subject(t, "access", asked)) {
                Some(user) => says(200, &json!({"username": user})),
                None => self.refuse(&asked.path),
            },
            ("GET" | "HEAD", LOGIN) if self.twist == Twist::LoginPage => {
                Said(200, vec![("content-type", "text/html".into())], b"<html>please log in</html>".to_vec())
            }
            (_, path) if path.starts_with("/api/token/") || path == "/hello/" => {
                says(405, &json!({"detail": "method"}))
            }
            _ => says(404, &json!({"detail": "nothing here"})),
        }
    }

    fn login(&self, user: &str, password: &str) -> Said {
        let mut seen = self.seen.lock().expect("sound");
        let failed = seen.entry(format!("wrong passwords for {user}")).or_default();
        let locked = matches!(self.twist, Twist::LocksAfterWrong(most) if *failed >= most);
        *failed += u64::from(password != PASSWORD);
        drop(seen);
        if locked || !["alice", "bob"].contains(&user) || password != PASSWORD {
            return match self.twist {
                Twist::LimitsWrongPasswords => says(429, &json!({"detail": "later"})),
                Twist::Opaque => says(401, &json!({"detail": "wrong", "you": user, "sent": password})),
                _ => self.refuse(LOGIN),
            };
        }
        if let Twist::LocksAfter(most) = self.twist
            && self.logins.fetch_add(1, Ordering::Relaxed) >= most
        {
            return self.refuse(LOGIN);
        }
        *self.seen.lock().expect("sound").entry(format!("session of {user}")).or_default() += 1;
        self.pair(user)
    }

    /// Whether a logout ends the text that it is sent.
    fn ends_texts(&self) -> bool {
        matches!(self.twist, Twist::SameText | Twist::RevokesOneText)
    }

    fn on_record(&self, user: &str) -> Option<String> {
        self.column.lock().expect("sound").get(user).cloned()
    }

    fn pair(&self, user: &str) -> Said {
        let (access, refresh) = (self.token(user, "access", self.life()), self.token(user, "refresh", 86_400));
        self.column.lock().expect("sound").insert(user.to_owned(), refresh.clone());
        let mut said = says(200, &json!({"access": access, "refresh": refresh}));
        if self.twist != Twist::Opaque {
            said.1.push(("cache-control", "no-store".into()));
        }
        said
    }

    fn refuse(&self, path: &str) -> Said {
        match self.twist {
            Twist::FrameworkCookies => {
                let sealed = URL_SAFE_NO_PAD.encode(r#"{"iv":"q8Zt0mWc2VdKx71LrPaN","value":"Zm9v","mac":"9f86d081"}"#);
                let signed = URL_SAFE_NO_PAD.encode(r#"{"_fresh":false}"#);
                let mut said = says(401, &json!({"detail": "not valid"}));
                said.1.push(("set-cookie", format!("XSRF-TOKEN={sealed}%3D; Path=/")));
                said.1.push(("set-cookie", format!("session={signed}.ZnA1aQ.9f86d081884c7d659a2f; HttpOnly; Path=/")));
                said
            }
            Twist::RefusesWith200 | Twist::RefusesWith200AndTakesNone if path != "/api/token/verify/" => {
                says(200, &json!({"error": "unauthorised"}))
            }
            Twist::Evil => {
                let body = b"{\"detail\":\"<script>alert(1)</script>\x1b[31m\x07\x00]]>&\xff \xc2\x9b2J\"}".to_vec();
                Said(500, vec![("x-evil", "\u{9b}31m<b>".into())], body)
            }
            _ => {
                let mut said = says(401, &json!({"detail": "not valid"}));
                said.1.push(("www-authenticate", "Bearer realm=\"api\"".into()));
                said
            }
        }
    }

    fn token(&self, user: &str, kind: &str, life: u64) -> String {
        let number = self.count.fetch_add(1, Ordering::Relaxed);
        let now = now();
        let session = self.session(user);
        let (iat, exp) = match (self.twist, kind) {
            (Twist::OddTimes, "refresh") => (now, 0),
            (Twist::OddTimes, _) => (now + 7_200, now + life),
            _ => (now, now + life),
        };
        let mut claims = json!({
            "user_id": user, "token_type": kind, "jti": format!("{number:032}"), "iat": iat, "exp": exp, "sid": session,
        });
        if matches!(self.twist, Twist::OneRefreshToken | Twist::SameText) {
            claims.as_object_mut().expect("claims").retain(|name, _| !["jti", "sid"].contains(&name.as_str()));
        }
        let token = jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &EncodingKey::from_secret(KEY))
            .expect("signed");
        // So that a check which looks for one of the two characters has to sign for itself.
        if self.twist == Twist::LosesControls && token.rsplit('.').next().is_some_and(|part| part.contains(['-', '_']))
        {
            return self.token(user, kind, life);
        }
        let token = match self.twist {
            Twist::Opaque => format!("{kind}-{}", token.rsplit('.').next().unwrap_or_default()),
            Twist::UnsendableTokens => format!("two words\u{1b}[31m{number}"),
            _ => token,
        };
        if self.twist == Twist::Opaque {
            self.seen.lock().expect("sound").insert(format!("{token} {user}"), 0);
        }
        self.issued.lock().expect("sound").push(token.clone());
        token
    }

    /// Whether the verdict that is asked for does not reach the caller.
    fn loses(&self, asked: &Asked) -> bool {
        let asks = |number: &AtomicU64| number.fetch_add(1, Ordering::Relaxed);
        match self.twist {
            Twist::Noisy(every) => asks(&self.verdicts) % every == every - 1,
            Twist::Limited => {
                let key = format!("verdicts in second {}", now());
                let mut seen = self.seen.lock().expect("sound");
                let given = seen.entry(key).or_default();
                *given += 1;
                *given > 20
            }
            Twist::LosesControls => {
                let payload = asked.bearer.as_deref().and_then(|token| token.split('.').nth(1));
                let payload = payload.and_then(|part| URL_SAFE_NO_PAD.decode(part).ok()).unwrap_or_default();
                String::from_utf8_lossy(&payload).contains(r#""assay":"control""#) && asks(&self.verdicts) < 2
            }
            _ => false,
        }
    }

    /// How many seconds access tokens live.
    fn life(&self) -> u64 {
        if self.fleeting() { 3 } else { 300 }
    }

    fn fleeting(&self) -> bool {
        matches!(self.twist, Twist::Fleeting | Twist::FleetingTakesNone)
    }

    /// The number of a user's last login.
    fn session(&self, user: &str) -> u64 {
        self.seen.lock().expect("sound").get(&format!("session of {user}")).copied().unwrap_or_default()
    }

    /// Whose token it is, where it is good for a use.
    fn subject(&self, token: &str, kind: &str, asked: &Asked) -> Option<String> {
        if self.twist == Twist::Opaque {
            let seen = self.seen.lock().expect("sound");
            let user = ["alice", "bob"].iter().find(|user| seen.contains_key(&format!("{token} {user}")))?;
            return token.starts_with(kind).then(|| (*user).to_owned());
        }
        if self.fleeting() {
            std::thread::sleep(Duration::from_millis(50));
        }
        let mut parts = token.split('.');
        let header = URL_SAFE_NO_PAD.decode(parts.next()?).ok()?;
        let claims = |part: &str| serde_json::from_slice::<Value>(&URL_SAFE_NO_PAD.decode(part).ok()?).ok();
        let known = |name: &String| ["alg", "typ"].contains(&name.as_str());
        let strict = self.twist == Twist::KnownHeadersOnly;
        if strict && !serde_json::from_slice::<serde_json::Map<_, Value>>(&header).ok()?.keys().all(known) {
            return None;
        }
        let unsecured = serde_json::from_slice::<Value>(&header).ok()?.get("alg") == Some(&json!("none"));
        let takes_none = match self.twist {
            Twist::NoneOnOneWorker(parity) => asked.worker % 2 == parity,
            Twist::NoneAlone | Twist::FleetingTakesNone => header == br#"{"alg":"none"}"#,
            Twist::RefusesWith200AndTakesNone => true,
            _ => false,
        };
        let claims = if unsecured && takes_none {
            claims(parts.next()?).filter(|claims| claims["exp"].as_u64().is_some_and(|exp| exp > now()))?
        } else {
            let mut validation = Validation::new(Algorithm::HS256);
            let leeway = if self.twist == Twist::BehindWithLeeway { 303 } else { 0 };
            (validation.leeway, validation.validate_aud) = (leeway, false);
            validation.validate_exp = self.twist != Twist::EndlessTokens;
            jsonwebtoken::decode::<Value>(token, &DecodingKey::from_secret(KEY), &validation).ok()?.claims
        };
        let times = match (self.twist, asked.path.as_str()) {
            (Twist::RefreshTheSecondTime, "/hello/") => {
                let mut seen = self.seen.lock().expect("sound");
                let times = seen.entry(token.to_owned()).or_default();
                *times += 1;
                *times
            }
            _ => 0,
        };
        let right = claims.get("token_type")? == kind || times > 1;
        let user = claims.get("user_id").and_then(Value::as_str).filter(|_| right)?;
        let ended = self.twist == Twist::OneSession && claims.get("sid") != Some(&json!(self.session(user)));
        (!ended && self.twist != Twist::Refuses(if user == "bob" { "bob" } else { "alice" })).then(|| user.to_owned())
    }
}
