//! What kind of token server answers at this address, and which profile speaks to it?
//!
//! [`discover`] looks for documents and well-known paths, logs in, watches what the server grants and refuses, and
//! writes down what it saw: a [`Draft`] of a profile and of a scenario that run as they are. What it cannot find out it
//! asks for through [`Talk`].

mod documents;
mod login;
mod observe;
mod renewal;
mod scout;
mod tokens;
mod write;

use crate::target::{BodyKind, Tls};
use crate::wire::WireError;

/// What the user knows already.
#[derive(Clone, Default)]
pub struct Wanted {
    /// Where the server is.
    pub url: String,
    /// What profile and scenario are called; found out if absent.
    pub name: Option<String>,
    /// Who logs in.
    pub user: Option<String>,
    /// With which password.
    pub password: Option<String>,
    /// The environment variable that holds the password: the profile then names it instead of the password.
    pub password_from: Option<String>,
    /// `client_id` of OAuth.
    pub client: Option<String>,
    /// `client_secret`.
    pub client_secret: Option<String>,
    /// The environment variable that holds it: the profile then names it instead.
    pub client_secret_from: Option<String>,
    /// Path of the login.
    pub login: Option<String>,
    /// Fields of the login, as templates: `email` is `${user.login}`.
    pub fields: Vec<(String, String)>,
    /// How the fields travel.
    pub body: Option<BodyKind>,
    /// A program that logs in, and its arguments.
    pub command: Vec<String>,
    /// Path of a `GET` that needs a token.
    pub resource: Option<String>,
    /// Path of the refresh.
    pub refresh: Option<String>,
    /// Headers that every request carries, such as the tenant's; `${env:NAME}` in a value stays out of the profile.
    pub headers: Vec<(String, String)>,
    /// How TLS is spoken.
    pub tls: Option<Tls>,
    /// Hosts beyond loopback that may be spoken to.
    pub allow_remote: Vec<String>,
}

/// Without the secrets.
impl std::fmt::Debug for Wanted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Wanted").field("url", &self.url).field("user", &self.user).finish_non_exhaustive()
    }
}

/// Something that only the user knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Question {
    /// Who logs in.
    User,
    /// With which password.
    Password,
    /// `client_id`.
    Client,
    /// `client_secret`.
    ClientSecret,
    /// Where the login is.
    Login,
    /// A request that needs a token.
    Resource,
}

impl Question {
    /// As asked on a terminal.
    pub fn text(self) -> &'static str {
        self.row().0
    }
    /// The flag that answers it.
    pub fn flag(self) -> &'static str {
        self.row().1
    }
    /// Whether the answer is not to be shown while it is typed.
    pub fn is_secret(self) -> bool {
        matches!(self, Question::Password | Question::ClientSecret)
    }
    fn row(self) -> (&'static str, &'static str) {
        match self {
            Question::User => ("who logs in (a user for tests)", "--user"),
            Question::Password => ("the password of that user", "--password (or ASSAY_PASSWORD)"),
            Question::Client => ("the client_id of an OAuth client", "--client"),
            Question::ClientSecret => ("the client_secret (empty for a public client)", "--client-secret"),
            Question::Login => ("the path of the login, such as /api/login", "--login"),
            Question::Resource => ("the path of a GET that needs a token, such as /api/me", "--resource"),
        }
    }
}

/// Whom discovery talks to.
pub trait Talk {
    /// Tells what was seen.
    fn say(&mut self, line: &str);
    /// Asks; `None` where nobody can answer.
    fn ask(&mut self, question: Question) -> Option<String>;
}

/// What discovery found out, as files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draft {
    /// What both are called.
    pub name: String,
    /// The profile's YAML.
    pub profile: String,
    /// The scenario's YAML; it names the profile `<name>.profile.yaml`.
    pub scenario: String,
}

/// Why there is no draft.
#[derive(Debug, thiserror::Error)]
pub enum DiscoverError {
    /// The address cannot be used: a mistake of the caller.
    #[error(transparent)]
    Address(WireError),
    /// Nobody answers there.
    #[error("expected a server at {url}, saw none: {why}{}", start_first(why))]
    Unreachable {
        /// The address.
        url: String,
        /// What happened.
        why: WireError,
    },
    /// Something has to be known, and nobody could be asked.
    #[error("expected {}; hint: give {}", .0.text(), .0.flag())]
    Missing(Question),
    /// No login worked.
    #[error("no login worked:\n{tried}; hint: {hint}")]
    NoLogin {
        /// What was tried, one line each.
        tried: String,
        /// What to give.
        hint: String,
    },
    /// What was written does not hold: our fault.
    #[error("the profile that was found does not hold: {0}")]
    Contradiction(String),
}

/// A certificate that nobody trusts has a hint of its own.
fn start_first(why: &WireError) -> &'static str {
    match why {
        WireError::Tls(_) => "; hint: here `--ca FILE`, `--insecure`, or `--certificate FILE --key FILE`",
        why if why.to_string().contains("hint:") => "",
        _ => "; hint: start it first",
    }
}

/// Looks at a server and writes down how to speak to it.
///
/// Sends at most some hundred requests, one at a time: documents, empty logins at well-known paths, logins of this user, and
/// the requests that show what is granted and refused.
///
/// # Errors
/// See [`DiscoverError`].
pub fn discover(wanted: Wanted, talk: &mut dyn Talk) -> Result<Draft, DiscoverError> {
    let mut scout = scout::Scout::new(wanted, talk)?;
    let documents = documents::read(&mut scout);
    let login = login::find(&mut scout, &documents)?;
    observe::observe(&mut scout, &login, &documents);
    write::draft(&mut scout, &login)
}
