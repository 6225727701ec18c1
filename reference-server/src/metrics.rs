//! What happened so far, and how long did it take? Counters, gauges and histograms in one registry, written as OpenMetrics.

use std::borrow::Cow;
use std::sync::atomic::Ordering;
use std::time::Duration;

use http::{Method, StatusCode};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

/// The content type of the OpenMetrics text format.
pub(crate) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// A request by what bounds the number of series: the pattern of its route, a method that HTTP knows, and the status.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Answered {
    route: Cow<'static, str>,
    method: &'static str,
    status: u16,
}

/// One counter of [`Metrics`] with its name and what it counts.
macro_rules! counters {
    ($($name:ident: $help:literal,)*) => {
        /// What happened so far, by kind.
        #[derive(Debug, Default)]
        pub(crate) struct Counters {
            $(#[doc = $help] pub(crate) $name: Counter,)*
        }

        impl Counters {
            fn register(&self, registry: &mut Registry) {
                $(registry.register(stringify!($name), $help, self.$name.clone());)*
            }

            /// All counters with their names.
            pub(crate) fn all(&self) -> Vec<(&'static str, u64)> {
                vec![$((stringify!($name), self.$name.get()),)*]
            }

            /// Back to nothing.
            pub(crate) fn clear(&self) {
                $(self.$name.inner().store(0, Ordering::Relaxed);)*
            }
        }
    };
}

counters! {
    requests: "Requests that reached an endpoint",
    issued: "Logins that gave tokens",
    refreshed: "Refreshes that gave tokens",
    reused: "Refresh tokens that came after their use",
    revoked: "Tokens that were revoked",
    verified: "Tokens that the verify endpoints found good",
    refused: "Answers with an error of the caller",
    hashed: "Passwords that were looked at",
    overloaded: "Requests turned away for their number",
}

/// Everything that `/metrics` tells.
#[derive(Debug)]
pub(crate) struct Metrics {
    pub(crate) counters: Counters,
    /// Connections of the public port that are open.
    pub(crate) connections: Gauge,
    /// Passwords in work or waiting for it.
    pub(crate) hashing: Gauge,
    /// From the request for a hash to its end, waiting included; nothing where passwords are not hashed.
    hash_time: Histogram,
    request_time: Family<Answered, Histogram>,
    registry: Registry,
}

/// From 100 us to 26 s, doubled each time.
fn times() -> Histogram {
    Histogram::new(exponential_buckets(100e-6, 2.0, 19))
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("reference_server");
        let counters = Counters::default();
        counters.register(&mut registry);
        let (connections, hashing, hash_time) = (Gauge::default(), Gauge::default(), times());
        let request_time = Family::new_with_constructor(times as fn() -> Histogram);
        registry.register("connections", "Connections that are open", connections.clone());
        registry.register("hashing", "Passwords in work or waiting for it", hashing.clone());
        let unit = || Unit::Seconds;
        registry.register_with_unit("hash_time", "From asking for a hash to its end", unit(), hash_time.clone());
        registry.register_with_unit(
            "request_time",
            "From a request's head to its answer's",
            unit(),
            request_time.clone(),
        );
        Self { counters, connections, hashing, hash_time, request_time, registry }
    }
}

impl Metrics {
    /// Keeps how long a request took. `route` is the pattern that it matched.
    pub(crate) fn answered(&self, route: Option<&str>, method: &Method, status: StatusCode, took: Duration) {
        // A stranger may send any method: each would be a series for good.
        let known = ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"];
        let method = known.into_iter().find(|known| *known == method.as_str()).unwrap_or("other");
        let route = route.map_or(Cow::Borrowed("unmatched"), |route| Cow::Owned(route.to_owned()));
        let labels = Answered { route, method, status: status.as_u16() };
        self.request_time.get_or_create(&labels).observe(took.as_secs_f64());
    }

    /// Keeps how long one password took.
    pub(crate) fn hashed(&self, took: Duration) {
        self.hash_time.observe(took.as_secs_f64());
    }

    /// The registry in the OpenMetrics text format.
    pub(crate) fn text(&self) -> String {
        let mut text = String::with_capacity(4096);
        // Writing to a String cannot fail.
        let _ = encode(&mut text, &self.registry);
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_told_by_route_method_and_status_and_strange_methods_share_a_series() {
        let metrics = Metrics::default();
        for name in ["BREW", "WHEN"] {
            let method = Method::from_bytes(name.as_bytes()).unwrap();
            metrics.answered(None, &method, StatusCode::NOT_FOUND, Duration::from_millis(1));
        }
        metrics.answered(Some("/hello/"), &Method::GET, StatusCode::OK, Duration::from_micros(150));
        let text = metrics.text();
        let count = |labels: &str| text.contains(labels);
        let unmatched =
            r#"reference_server_request_time_seconds_count{route="unmatched",method="other",status="404"} 2"#;
        assert!(count(unmatched), "{text}");
        let hello = r#"request_time_seconds_bucket{le="0.0002",route="/hello/",method="GET",status="200"} 1"#;
        assert!(count(hello), "{text}");
        assert!(text.ends_with("# EOF\n"));
    }
}
