//! How does a reader see a finding again? The request redacted, and lines for a shell.

mod secret;
mod shell;

use super::answer::Answer;
use super::descriptor::{Check, Need};
use super::forge;
use super::session::Session;
use crate::target::Profile;
use crate::wire::{Scheme, encode};

use secret::{Found, Secret, Secrets};
use shell::{CURL, HTTPIE, Line, word};

pub use secret::Escape;

/// Bytes of a request or a reply that are kept as evidence.
const TEXT_LIMIT: usize = 2_000;
/// Bytes of a request or a reply in which secrets are looked for, many times more than are kept.
const LOOKED_AT: usize = 64 << 10;
/// A text under so many bytes is no token.
const SHORTEST_TOKEN: usize = 8;

/// Groups of checks that ask how a token travels and not what became of it: a token of another login shows the same.
const ANY_LOGIN: &[&str] = &["BEARER", "LEAK"];

/// Texts of one exchange.
pub(super) struct Lines {
    pub request: String,
    pub response: Option<String>,
    pub curl: Option<String>,
    pub httpie: Option<String>,
}

/// The texts of an exchange. The token is made again by `assay forge`; passwords are shell variables.
pub(super) fn lines(session: &Session<'_>, check: &Check, variant: Option<&str>, answer: &Answer) -> Lines {
    let bytes = encode(&answer.request, &session.target.endpoint);
    let part = variant.map_or_else(|| check.id.to_owned(), |v| format!("{}/{v}", check.id));
    let secrets = secrets(session, check, &part, answer, &bytes);
    let mut brought = brought(session, answer);
    brought.extend(answer.token.clone());
    let brought: Vec<&str> = brought.iter().map(String::as_str).collect();
    let shown = |text: &[u8]| {
        let whole = text.len();
        let text = String::from_utf8_lossy(&text[..text.len().min(LOOKED_AT)]);
        let text = match &answer.token {
            Some(token) => secrets.without_token(&text, &stand_in(session, token)),
            None => text.into_owned(),
        };
        short(&session.redact_exchange(&text, &brought), whole)
    };
    let request = shown(&bytes);
    let response = answer.reply.as_ref().map(|reply| {
        let mut all = reply.head.clone();
        all.extend_from_slice(&reply.body);
        shown(&all)
    });
    // One line is no race; and what was issued beside a token (a CSRF value) is nothing that a shell could be told.
    let target = session.target;
    let beside = |name: &String| target.mentions(&answer.operation, &format!("issued.{name}"));
    if answer.raced || target.issued_names().iter().any(beside) {
        return Lines { request, response, curl: None, httpie: None };
    }
    let url = session.target.endpoint.url();
    let (by_curl, by_httpie) = match session.target.endpoint.scheme {
        Scheme::Https => tls(&session.target.profile),
        Scheme::Http => Default::default(),
    };
    let forge = Forge::new(session, check, part);
    let with = |line: Line, program: &str, tls: &str| {
        // A line in which something had to be taken out (a token that no variable stands for) would not work.
        let whole = session.redact_exchange(&line.text, &brought) == line.text;
        let text = line.text.replacen(program, &format!("{program}{tls}"), 1);
        whole.then(|| forge.before(Line { text, ..line }))
    };
    let curl = shell::curl(&answer.request, &url, &secrets).and_then(|line| with(line, CURL, &by_curl));
    let httpie = shell::httpie(&answer.request, &url, &secrets).and_then(|line| with(line, HTTPIE, &by_httpie));
    Lines { request, response, curl, httpie }
}

/// The command that makes the token of a finding again.
struct Forge {
    /// What stands before the part, and what behind it.
    command: [String; 2],
    /// The part of the check that the finding is of.
    part: String,
    /// Variables that it takes, and what they hold.
    takes: Vec<(String, String)>,
    /// The token leads to a listener of ours, which has to be there while the token is shown.
    accompanied: bool,
}

impl Forge {
    fn new(session: &Session<'_>, check: &Check, part: String) -> Forge {
        let (target, profile) = (session.target, &session.target.profile);
        let mut takes: Vec<(String, String)> = Vec::new();
        let mut command = String::new();
        for name in target.environment_names() {
            command.push_str(&format!(" {name}=\"${name}\""));
            takes.push((name, "what the profile takes from it".to_owned()));
        }
        let asked = profile.asked;
        let users = [
            (&profile.user, "--user", "PASSWORD", asked.login, asked.password),
            (&profile.second_user, "--second-user", "SECOND_PASSWORD", asked.second_login, asked.second_password),
        ];
        let users = users.map(|(user, flag, variable, login, password)| {
            (user.as_ref().map(|user| user.login.as_str()).unwrap_or_default(), flag, variable, login, password)
        });
        for (user, _, variable, _, _) in users.iter().filter(|(.., password)| *password) {
            command.push_str(&format!(" ASSAY_{variable}=\"${variable}\""));
            takes.push(((*variable).to_owned(), format!("the password of {user}")));
        }
        let before = format!("{command} assay forge ").trim_start().to_owned();
        let source = if profile.source.is_empty() { &profile.name } else { &profile.source };
        let mut after = String::new();
        let mut say = |flag: &str, value: &str| after.push_str(&format!(" {flag} {}", word(value)));
        say("--target", &target.endpoint.url());
        say("--profile", source);
        profile.variant.iter().for_each(|variant| say("--variant", variant));
        users.iter().filter(|(_, _, _, login, _)| *login).for_each(|(user, flag, ..)| say(flag, user));
        target.admin.iter().for_each(|admin| say("--admin", &admin.url()));
        if !target.endpoint.is_loopback() {
            say("--allow-remote", &target.endpoint.host);
        }
        let accompanied = check.needs.contains(&Need::Listener);
        Forge { command: [before, after], part, takes, accompanied }
    }

    /// The command for a part of a check.
    fn of(&self, part: &str) -> String {
        let [before, after] = &self.command;
        format!("{before}{}{after}", word(part))
    }

    /// A line with everything that has to stand before it.
    fn before(&self, line: Line) -> String {
        if self.accompanied && line.uses.only_token() {
            return format!("{}{} -- sh -c {}", Found::demands(&self.takes), self.of(&self.part), word(&line.text));
        }
        format!("{}{}", line.uses.prelude(&|part| self.of(part), &self.takes), line.text)
    }
}

/// What must not stand in a line for a shell: the token under test, every password and client secret, and genuine tokens
/// beside the one under test, where it is all the same which login they are of.
fn secrets(session: &Session<'_>, check: &Check, part: &str, answer: &Answer, bytes: &[u8]) -> Secrets {
    let token = answer.token.as_deref().map(|token| Secret::token(token, part));
    let told = session.target.credentials();
    let told = told.iter().map(|known| Secret::told(&known.variable, &known.value, &known.about));
    let beside = match ANY_LOGIN.contains(&check.group) {
        true => session.issued_in(&String::from_utf8_lossy(bytes)),
        false => Vec::new(),
    };
    let beside = beside.iter().map(|(name, token)| {
        Secret::forged(&name.to_ascii_uppercase().replace('-', "_"), token, &format!("{}/{name}", forge::LOGIN.id))
    });
    Secrets::of(token.into_iter().chain(told).chain(beside).collect())
}

/// What curl and HTTPie have to be told to speak TLS as the profile says.
fn tls(profile: &Profile) -> (String, String) {
    let Some(said) = &profile.tls else { return Default::default() };
    let (mut curl, mut httpie) = (String::new(), String::new());
    let file = |text: &String| word(&profile.path(text).to_string_lossy());
    match &said.ca {
        // A reader who repeats a finding need not be told again who the server is.
        _ if said.insecure || said.server_name.is_some() => {
            curl.push_str(" -k");
            httpie.push_str(" --verify no");
        }
        Some(ca) => {
            curl.push_str(&format!(" --cacert {}", file(ca)));
            httpie.push_str(&format!(" --verify {}", file(ca)));
        }
        None => {}
    }
    if let (Some(certificate), Some(key)) = (&said.certificate, &said.key) {
        curl.push_str(&format!(" --cert {} --key {}", file(certificate), file(key)));
        httpie.push_str(&format!(" --cert {} --cert-key {}", file(certificate), file(key)));
    }
    (curl, httpie)
}

/// The values that a reply brought and that may be live tokens, whether it was accepted or not.
fn brought(session: &Session<'_>, answer: &Answer) -> Vec<String> {
    let Some(reply) = &answer.reply else { return Vec::new() };
    let Ok(issued) = session.target.tokens(reply, &answer.operation) else { return Vec::new() };
    let beside = issued.other.values().filter_map(|value| value.as_str());
    let texts = beside.chain([issued.access.as_deref(), issued.refresh.as_deref()].into_iter().flatten());
    // Shorter ones are words: a token type, a scope.
    texts.filter(|text| text.len() >= SHORTEST_TOKEN).map(str::to_owned).collect()
}

fn stand_in(session: &Session<'_>, token: &str) -> String {
    format!("<token {}>", session.view(token).fingerprint)
}

fn short(text: &str, whole: usize) -> String {
    if text.len() <= TEXT_LIMIT && whole <= LOOKED_AT {
        return text.to_owned();
    }
    let end = (0..=TEXT_LIMIT.min(text.len())).rev().find(|i| text.is_char_boundary(*i)).unwrap_or(0);
    format!("{}... ({whole} bytes in all)", &text[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_are_cut_with_their_length() {
        let text = "\u{e9}".repeat(3_000);
        assert!(short(&text, text.len()).ends_with("(6000 bytes in all)"));
    }
}
