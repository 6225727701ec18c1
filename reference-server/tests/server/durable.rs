//! What was answered stays so, whatever becomes of the process.

use serde_json::{Value, json};

use super::process::Process;
#[cfg(any(feature = "postgres", feature = "redis"))]
use super::services;

#[derive(Clone)]
struct Client(reqwest::Client);

impl Client {
    async fn post(&self, url: &str, path: &str, body: Value) -> Option<(u16, Value)> {
        let reply = self.0.post(format!("{url}{path}")).json(&body).send().await.ok()?;
        Some((reply.status().as_u16(), reply.json().await.ok()?))
    }

    async fn login(&self, process: &Process) -> (String, String) {
        let body = json!({"username": "alice", "password": "correct-horse-9"});
        let (_, tokens) = self.post(&process.url, "/api/token/", body).await.unwrap();
        let text = |name: &str| tokens[name].as_str().unwrap().to_owned();
        (text("access"), text("refresh"))
    }

    async fn refresh(&self, process: &Process, token: &str) -> Option<(u16, Value)> {
        self.post(&process.url, "/api/token/refresh/", json!({"refresh": token})).await
    }

    async fn status(&self, process: &Process, path: &str, body: Value) -> u16 {
        self.post(&process.url, path, body).await.unwrap().0
    }
}

#[tokio::test]
async fn on_redb_a_used_or_revoked_token_stays_so_over_fifty_kills() {
    let folder = tempfile::tempdir().unwrap();
    fifty_kills(&format!("redb:{}", folder.path().join("tokens.redb").display())).await;
}

#[cfg(feature = "postgres")]
#[tokio::test]
async fn on_postgres_a_used_or_revoked_token_stays_so_over_fifty_kills() {
    match services::postgres() {
        Ok(server) => fifty_kills(&server.database()).await,
        Err(why) => services::pass_over("postgres", why),
    }
}

#[cfg(feature = "redis")]
#[tokio::test]
async fn on_redis_a_used_or_revoked_token_stays_so_over_fifty_kills() {
    match services::redis() {
        Ok(server) => fifty_kills(&server.database()).await,
        Err(why) => services::pass_over("redis", why),
    }
}

/// The token server is killed; its store is not.
async fn fifty_kills(store: &str) {
    let client = Client(reqwest::Client::builder().no_proxy().pool_max_idle_per_host(0).build().unwrap());
    let mut process = Process::start(&["--store", store]);
    for round in 0..50 {
        let (_, refresh) = client.login(&process).await;
        let (status, next) = client.refresh(&process, &refresh).await.unwrap();
        assert_eq!(status, 200);
        let (access, ended) = client.login(&process).await;
        assert_eq!(client.status(&process, "/api/token/blacklist/", json!({"refresh": ended})).await, 200);
        // Killed while others are being used: each of these is either answered and used, or neither.
        let mut sessions = Vec::new();
        for _ in 0..4 {
            sessions.push(client.login(&process).await.1);
        }
        let (told, mut answers) = tokio::sync::mpsc::unbounded_channel();
        let url = process.url.clone();
        for token in sessions {
            let (told, client, url) = (told.clone(), client.clone(), url.clone());
            tokio::spawn(async move {
                let reply = client.post(&url, "/api/token/refresh/", json!({"refresh": token})).await;
                if reply.is_some_and(|(status, _)| status == 200) {
                    let _ = told.send(token);
                }
            });
        }
        drop(told);
        let mut answered = Vec::new();
        while answered.len() < round % 4 {
            answered.push(answers.recv().await.unwrap());
        }
        process.kill();
        while let Some(token) = answers.recv().await {
            answered.push(token);
        }

        process = Process::start(&["--store", store]);
        for token in &answered {
            assert_eq!(client.refresh(&process, token).await.unwrap().0, 401, "round {round}: used before the kill");
        }
        let live = next["refresh"].as_str().unwrap();
        assert_eq!(client.status(&process, "/api/token/verify/", json!({"token": live})).await, 200, "round {round}");
        assert_eq!(client.refresh(&process, &refresh).await.unwrap().0, 401, "round {round}: used before the kill");
        assert_eq!(
            client.refresh(&process, live).await.unwrap().0,
            401,
            "round {round}: its family ended by the reuse"
        );
        for token in [&access, &ended] {
            let status = client.status(&process, "/api/token/verify/", json!({"token": token})).await;
            assert_eq!(status, 401, "round {round}: revoked before the kill");
        }
    }
    process.kill();
}
