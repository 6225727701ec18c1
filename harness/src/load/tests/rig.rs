//! What tokens are got from: a strict server, and drives against it.

use super::*;

/// A strict token server in the wire form of the reference profile: a refresh token works exactly once.
#[derive(Default)]
pub(super) struct TokenServer {
    pub(super) next: AtomicU64,
    pub(super) live: Mutex<HashSet<String>>,
    pub(super) access: Mutex<HashSet<String>>,
    pub(super) replayed: AtomicU64,
    /// Access tokens that were refused.
    pub(super) refused: AtomicU64,
    /// Refresh tokens end as Base64 does, so that they cannot be spliced as they are.
    pub(super) padded: AtomicBool,
    pub(super) logins: AtomicU64,
    /// What logins return as access token, if not a text of their own.
    pub(super) jwt: std::sync::OnceLock<String>,
}

impl TokenServer {
    pub(super) fn pair(&self) -> String {
        let n = self.next.fetch_add(1, Ordering::Relaxed);
        let padding = if self.padded.load(Ordering::Relaxed) { "==" } else { "" };
        let (access, refresh) =
            (format!("access-{n}-abcdefghijklmnopqrst"), format!("refresh-{n}-abcdefghijklmnopqrst{padding}"));
        self.live.lock().unwrap().insert(refresh.clone());
        self.access.lock().unwrap().insert(access.clone());
        format!("{{\"access\":\"{access}\",\"refresh\":\"{refresh}\"}}")
    }

    pub(super) fn answer(&self, asked: &Asked) -> Act {
        let body: serde_json::Value = serde_json::from_str(&asked.body).unwrap_or_default();
        let act = |status: u16, body: String| Act { status, body, ..Act::default() };
        if asked.line.starts_with("POST /api/token/ ") {
            self.logins.fetch_add(1, Ordering::Relaxed);
            match self.jwt.get() {
                Some(jwt) => act(200, format!("{{\"access\":\"{jwt}\",\"refresh\":\"r\"}}")),
                None => act(200, self.pair()),
            }
        } else if asked.line.starts_with("POST /api/token/refresh/ ") {
            let used = self.live.lock().unwrap().remove(body["refresh"].as_str().unwrap_or_default());
            if used {
                act(200, self.pair())
            } else {
                self.replayed.fetch_add(1, Ordering::Relaxed);
                act(401, "{\"code\":\"token_not_valid\"}".into())
            }
        } else if asked.line.starts_with("POST /api/token/blacklist/ ") {
            self.live.lock().unwrap().remove(body["refresh"].as_str().unwrap_or_default());
            act(200, "{}".into())
        } else if asked.line.starts_with("GET /hello/ ") {
            let known = self.access.lock().unwrap().contains(&asked.bearer);
            if known {
                act(200, "{\"user\":\"alice\"}".into())
            } else {
                self.refused.fetch_add(1, Ordering::Relaxed);
                act(401, "{}".into())
            }
        } else {
            act(404, String::new())
        }
    }
}

/// Without control operations, since these servers count what they are asked.
pub(super) fn workload(mut yaml: serde_json::Value) -> Workload {
    yaml["control"] = "0%".into();
    serde_json::from_value(yaml).unwrap()
}

pub(super) struct Rig {
    pub(super) server: Arc<TokenServer>,
    pub(super) target: Target,
}

pub(super) fn rig() -> Rig {
    let server = Arc::new(TokenServer::default());
    let answers = Arc::clone(&server);
    let url = serve(move |asked| answers.answer(asked));
    let profile = crate::target::load("reference", None, std::path::Path::new(".")).unwrap();
    Rig { server, target: Target::new(profile, &url, None, &[]).unwrap() }
}

impl Rig {
    pub(super) fn with<T>(&self, workload: &Workload, act: impl FnOnce(&Drive<'_>) -> T) -> T {
        act(&Drive {
            target: &self.target,
            workload,
            topology: "bare",
            tls: &TlsOptions::default(),
            seed: None,
            duration: None,
            warmup: None,
            rate: None,
            full_speed: false,
            control: None,
            cpus: None,
            own_cpus: false,
            neighbours: &[],
            redactor: &Redactor::new(false),
            on_progress: &|_| {},
            cancel: &AtomicBool::new(false),
        })
    }
    pub(super) fn drive(&self, workload: &Workload, population: &mut Population) -> Driven {
        self.with(workload, |d| drive_and_check(d, population))
    }
    pub(super) fn drive_held_to(
        &self,
        workload: &Workload,
        population: &mut Population,
        thresholds: &[crate::scenario::Threshold],
    ) -> Driven {
        let driven = self.with(workload, |d| drive_watched(d, population, thresholds).unwrap());
        adds_up(&driven);
        driven
    }
    pub(super) fn prepare(&self, workload: &Workload) -> Population {
        Population::prepare(&self.target, workload, &TlsOptions::default(), &|_| {}, &AtomicBool::new(false)).unwrap()
    }
}

pub(super) fn drive_and_check(d: &Drive<'_>, population: &mut Population) -> Driven {
    let driven = drive(d, population).unwrap();
    adds_up(&driven);
    driven
}
