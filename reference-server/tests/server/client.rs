//! A server on a free port, and requests to it.

use reference_server::{App, Config, Hash, app};
use reqwest::{Method, RequestBuilder, StatusCode};
use serde_json::{Value, json};

/// A running server with its admin hooks; ends with its runtime.
pub struct Server {
    pub url: String,
    pub admin: String,
    pub http: reqwest::Client,
    pub app: App,
}

/// What came back.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: reqwest::header::HeaderMap,
    pub body: Value,
}

impl Answer {
    pub fn text(&self, name: &str) -> &str {
        self.body[name].as_str().unwrap_or_else(|| panic!("no text `{name}` in {self:?}"))
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or("")
    }

    #[track_caller]
    pub fn refused(self, status: u16, error: &str) -> Self {
        assert_eq!((self.status.as_u16(), self.text("error")), (status, error), "{self:?}");
        assert_eq!(self.header("cache-control"), "no-store");
        self
    }
}

/// Cheap passwords, everything else as by default.
pub fn quick() -> Config {
    Config { hash: Hash::None, ..Config::default() }
}

async fn listen(router: axum::Router) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await });
    url
}

impl Server {
    pub async fn start(config: Config) -> Self {
        let app = app(config).unwrap();
        let (url, admin) = (listen(app.router(true)).await, listen(app.admin()).await);
        Self { url, admin, http: reqwest::Client::builder().no_proxy().build().unwrap(), app }
    }

    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("{}{path}", self.url))
    }

    pub async fn send(&self, request: RequestBuilder) -> Answer {
        let response = request.send().await.unwrap();
        let (status, headers) = (response.status(), response.headers().clone());
        let bytes = response.bytes().await.unwrap();
        Answer { status, headers, body: serde_json::from_slice(&bytes).unwrap_or(Value::Null) }
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.send(self.request(Method::GET, path)).await
    }

    pub async fn bearer(&self, path: &str, token: &str) -> Answer {
        self.send(self.request(Method::GET, path).bearer_auth(token)).await
    }

    pub async fn post(&self, path: &str, body: Value) -> Answer {
        self.send(self.request(Method::POST, path).json(&body)).await
    }

    pub async fn hook(&self, path: &str, body: Value) -> Answer {
        let answer = self.send(self.http.post(format!("{}{path}", self.admin)).json(&body)).await;
        assert!(answer.status.is_success(), "{path}: {answer:?}");
        answer
    }

    /// A form from the client `who` (`id:secret`, or a public client's `id`).
    pub async fn form(&self, path: &str, who: &str, fields: &[(&str, &str)]) -> Answer {
        let mut fields = fields.to_vec();
        let mut request = self.request(Method::POST, path);
        match who.split_once(':') {
            Some((id, secret)) => request = request.basic_auth(id, Some(secret)),
            None if who.is_empty() => {}
            None => fields.push(("client_id", who)),
        }
        self.send(request.form(&fields)).await
    }

    /// A password login at the OAuth endpoint.
    pub async fn login(&self, who: &str, scope: &str) -> Answer {
        let mut fields = vec![("grant_type", "password"), ("username", "alice"), ("password", "correct-horse-9")];
        if !scope.is_empty() {
            fields.push(("scope", scope));
        }
        self.form("/oauth/token", who, &fields).await
    }

    pub async fn refresh(&self, who: &str, token: &str) -> Answer {
        self.form("/oauth/token", who, &[("grant_type", "refresh_token"), ("refresh_token", token)]).await
    }

    /// A login at the JSON endpoint.
    pub async fn json_login(&self, user: &str) -> Answer {
        self.post("/api/token/", json!({"username": user, "password": "correct-horse-9"})).await
    }
}

/// The claims of a token, unverified.
pub fn claims(token: &str) -> Value {
    use base64::Engine;
    let payload = token.split('.').nth(1).unwrap();
    serde_json::from_slice(&base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap()
}
