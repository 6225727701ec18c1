//! What does a server call itself, and what does it say of itself, that goes wrong about both?

use http::HeaderMap;
use http::header::HOST;
use serde_json::{Value, json};

use crate::flaws::{FlawId as F, FlawSet};

tokio::task_local! {
    static ASKED: String;
}

/// Answers a request with the host that it names at hand.
pub(crate) async fn asked_by_host<T>(headers: &HeaderMap, answer: impl Future<Output = T>) -> T {
    let named = headers.get("x-forwarded-host").or_else(|| headers.get(HOST));
    let named = named.and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
    ASKED.scope(named, answer).await
}

/// The issuer by the host that the request under way names; `None` where nobody has put that at hand.
pub(crate) fn issuer_by_host() -> Option<String> {
    ASKED.try_with(|host| format!("http://{host}")).ok()
}

/// What the mistakes make of a discovery document.
pub(crate) fn describe(flaws: &FlawSet, body: &mut Value) {
    if flaws.is_empty() {
        return;
    }
    let issuer = body["issuer"].as_str().unwrap_or_default().trim_end_matches('/').to_owned();
    if flaws.has(F::IssuerMismatch) {
        body["issuer"] = json!(format!("{issuer}/v2"));
    }
    if let (true, Some(members)) = (flaws.has(F::ThinMetadata), body.as_object_mut()) {
        members.remove("response_types_supported");
        members.remove("subject_types_supported");
    }
    if flaws.has(F::DeadEndpoint) {
        body["device_authorization_endpoint"] = json!(format!("{issuer}/oauth/device"));
    }
    if flaws.has(F::BoastfulMetadata) {
        body["id_token_signing_alg_values_supported"] = json!(["none", "ES512"]);
        body["token_endpoint_auth_signing_alg_values_supported"] = json!(["none"]);
    }
}
