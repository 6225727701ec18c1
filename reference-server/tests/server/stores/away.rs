//! Its server crashes, freezes, forgets: answers are 503 until it is back, and nothing passes that was taken back.

use std::time::Duration;

use serde_json::{Value, json};

use crate::process::{Process, refused};
use crate::services::{self, pass_over};

/// How long a store may take to be back in use; a busy machine needs some of it.
const BACK: Duration = Duration::from_secs(60);

struct Client {
    url: String,
    http: reqwest::Client,
}

/// Status and body; a 503 must say when to come back.
type Reply = (u16, Value);

impl Client {
    fn of(process: &Process) -> Self {
        Self { url: process.url.clone(), http: reqwest::Client::builder().no_proxy().build().unwrap() }
    }

    async fn read(request: reqwest::RequestBuilder) -> Reply {
        let reply = request.send().await.unwrap();
        let status = reply.status().as_u16();
        if status == 503 {
            let after = reply.headers()["retry-after"].to_str().unwrap();
            assert!(after.parse::<u32>().is_ok_and(|seconds| seconds >= 1), "{after}");
        }
        (status, reply.json().await.unwrap_or(Value::Null))
    }

    async fn post(&self, path: &str, body: Value) -> Reply {
        Self::read(self.http.post(format!("{}{path}", self.url)).json(&body)).await
    }

    async fn login(&self) -> (String, String) {
        let (status, pair) =
            self.post("/api/token/", json!({"username": "alice", "password": "correct-horse-9"})).await;
        assert_eq!(status, 200, "a login needs no store");
        let text = |name: &str| pair[name].as_str().unwrap().to_owned();
        (text("access"), text("refresh"))
    }

    async fn refresh(&self, token: &str) -> Reply {
        self.post("/api/token/refresh/", json!({"refresh": token})).await
    }

    async fn verify(&self, token: &str) -> u16 {
        self.post("/api/token/verify/", json!({"token": token})).await.0
    }

    async fn hello(&self, token: &str) -> u16 {
        Self::read(self.http.get(format!("{}/hello/", self.url)).bearer_auth(token)).await.0
    }

    async fn end(&self, token: &str) -> u16 {
        self.post("/api/token/blacklist/", json!({"refresh": token})).await.0
    }

    /// The first answer that is no 503.
    async fn verified_again(&self, token: &str) -> u16 {
        let end = std::time::Instant::now() + BACK;
        loop {
            let status = self.verify(token).await;
            if status != 503 || std::time::Instant::now() > end {
                return status;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

/// A store's server that can crash.
trait Crash {
    fn crash(&mut self);
    fn again(&mut self);
}

#[cfg(feature = "postgres")]
impl Crash for services::Postgres {
    fn crash(&mut self) {
        services::Postgres::crash(self);
    }
    fn again(&mut self) {
        services::Postgres::again(self);
    }
}

#[cfg(feature = "redis")]
impl Crash for services::Redis {
    fn crash(&mut self) {
        services::Redis::crash(self);
    }
    fn again(&mut self) {
        services::Redis::again(self);
    }
}

/// The server under test with its store's address out of its arguments.
fn start(store: &str, folder: &tempfile::TempDir) -> Process {
    let file = folder.path().join("store");
    std::fs::write(&file, store).unwrap();
    Process::start(&["--store", &format!("file:{}", file.display())])
}

async fn goes_away_and_comes_back(server: &mut impl Crash, store: &str, crashes: usize) {
    let folder = tempfile::tempdir().unwrap();
    let process = start(store, &folder);
    let client = std::sync::Arc::new(Client::of(&process));
    for round in 0..crashes {
        let (access, used) = client.login().await;
        let (status, pair) = client.refresh(&used).await;
        assert_eq!(status, 200);
        let next = pair["refresh"].as_str().unwrap().to_owned();
        let (ended_access, ended) = client.login().await;
        assert_eq!(client.end(&ended).await, 200);
        let (_, waiting) = client.login().await;

        // It goes while tokens are being used: what was answered must stay so.
        let mut uses = tokio::task::JoinSet::new();
        for _ in 0..8 {
            let client = std::sync::Arc::clone(&client);
            uses.spawn(async move {
                let mut answered = Vec::new();
                loop {
                    let (_, token) = client.login().await;
                    match client.refresh(&token).await {
                        (200, _) => answered.push(token),
                        (503, _) => return answered,
                        other => panic!("{other:?}"),
                    }
                }
            });
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
        server.crash();
        let answered = uses.join_all().await.concat();

        for token in [&access, &ended_access, &ended, &next, &used] {
            assert_eq!(client.verify(token).await, 503, "round {round}: nobody can know");
        }
        assert_eq!(client.hello(&ended_access).await, 503, "round {round}");
        assert_eq!(client.hello(&access).await, 503, "round {round}");
        for token in [&used, &ended, &waiting] {
            assert_eq!(client.refresh(token).await.0, 503, "round {round}");
        }
        assert_eq!(client.end(&next).await, 503, "round {round}");

        server.again();
        assert_eq!(client.verified_again(&access).await, 200, "round {round}: it is back");
        for token in [&ended_access, &ended] {
            assert_eq!(client.verify(token).await, 401, "round {round}: taken back before");
        }
        assert_eq!(client.hello(&ended_access).await, 401, "round {round}");
        assert_eq!(client.refresh(&waiting).await.0, 200, "round {round}: never used while it was away");
        assert_eq!(client.refresh(&next).await.0, 200, "round {round}");
        for token in answered.iter().chain([&used, &waiting, &ended]) {
            assert_eq!(client.refresh(token).await.0, 401, "round {round}: used or ended before");
        }
    }
    process.kill();
}

#[cfg(feature = "postgres")]
#[tokio::test]
async fn postgres_crashes_and_is_back_and_nothing_is_forgotten() {
    match services::Postgres::start() {
        Ok(mut server) => {
            let store = server.database();
            goes_away_and_comes_back(&mut server, &store, 3).await;
        }
        Err(why) => pass_over("postgres", &why),
    }
}

#[cfg(feature = "redis")]
#[tokio::test]
async fn redis_is_killed_and_back_and_nothing_is_forgotten() {
    match services::Redis::start(&services::DURABLE) {
        Ok(mut server) => {
            let store = server.database();
            goes_away_and_comes_back(&mut server, &store, 10).await;
        }
        Err(why) => pass_over("redis", &why),
    }
}

#[cfg(feature = "redis")]
#[tokio::test]
async fn a_redis_that_answers_nothing_is_503_and_then_it_goes_on() {
    let server = match services::Redis::start(&services::DURABLE) {
        Ok(server) => server,
        Err(why) => return pass_over("redis", &why),
    };
    let folder = tempfile::tempdir().unwrap();
    let process = start(&server.database(), &folder);
    let client = Client::of(&process);
    let (access, refresh) = client.login().await;
    server.freeze();
    let frozen = (client.refresh(&refresh).await.0, client.verify(&access).await);
    server.thaw();
    assert_eq!(frozen, (503, 503));
    assert_eq!(client.verified_again(&access).await, 200);
    process.kill();
}

#[cfg(feature = "redis")]
#[tokio::test]
async fn a_redis_that_comes_back_empty_is_not_believed() {
    let mut server = match services::Redis::start(&services::DURABLE) {
        Ok(server) => server,
        Err(why) => return pass_over("redis", &why),
    };
    let folder = tempfile::tempdir().unwrap();
    let store = server.database();
    let process = start(&store, &folder);
    let client = Client::of(&process);
    let (access, _) = client.login().await;
    let (ended_access, ended) = client.login().await;
    assert_eq!(client.end(&ended).await, 200);
    // Emptied under an open connection, and behind a closed one.
    assert_eq!(server.say("FLUSHALL"), "+OK");
    for _ in 0..3 {
        assert_eq!((client.verify(&ended_access).await, client.verify(&access).await), (503, 503));
    }
    server.stop();
    std::fs::remove_dir_all(server.folder().join("appendonlydir")).unwrap();
    server.again();
    // Longer than a failed attempt answers for the next ones.
    for _ in 0..5 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert_eq!((client.verify(&ended_access).await, client.refresh(&ended).await.0), (503, 503));
    }
    process.kill();
    let process = start(&store, &folder);
    assert_eq!(Client::of(&process).verify(&access).await, 200, "whoever starts it again accepts what is there");
    process.kill();
}

#[cfg(feature = "redis")]
#[test]
fn a_redis_that_may_forget_is_refused_unless_that_is_accepted() {
    let server = match services::Redis::start(&["--appendonly", "no", "--maxmemory-policy", "allkeys-lru"]) {
        Ok(server) => server,
        Err(why) => return pass_over("redis", &why),
    };
    let store = server.database();
    let (code, said) = refused(&["--port", "0", "--store", &store]);
    assert_eq!(code, 3, "{said}");
    for part in ["appendonly yes, saw no", "appendfsync always, saw everysec", "noeviction, saw allkeys-lru", "relaxed"]
    {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert!(!said.contains("p@ss") && !said.contains("p%40ss"), "{said}");
    let process = Process::start(&["--store", &format!("{store}?durability=relaxed")]);
    let (status, said) = process.end();
    assert!(status.success() && said.contains("warning: Redis: expected appendonly yes, saw no"), "{said}");
}
