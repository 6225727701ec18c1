//! What do the parts of the load loop and of the token forge cost, beside the libraries under or next to them?
//!
//! `cargo bench -p jwt-assay --bench parts`. The load loop as a whole is measured beside other load generators by `make bench-load`.
#![allow(missing_docs, reason = "a benchmark")]

use std::hint::black_box;
use std::time::Duration;

use assay::jose::{Forge, KeyEntry, KeySet, Policy, SigningKey, algorithm, verify};
use assay::load::{Pacer, Stripe};
use assay::scenario::Process;
use assay::units::Nanos;
use assay::wire::{Limits, ResponseParser};
use criterion::{Criterion, criterion_group, criterion_main};
use hdrhistogram::Histogram;
use serde_json::{Value, json};

const LENGTH: &[u8] = b"HTTP/1.1 200 OK\r\nserver: nginx\r\ndate: Fri, 27 Nov 2026 12:00:00 GMT\r\ncontent-type: application/json\r\n\
content-length: 62\r\nconnection: keep-alive\r\ncache-control: no-store\r\n\r\n{\"message\":\"hello, alice\",\"user\":\"alice\",\"scope\":\"read write\"}";

const CHUNKED: &[u8] = b"HTTP/1.1 200 OK\r\nserver: nginx\r\ndate: Fri, 27 Nov 2026 12:00:00 GMT\r\ncontent-type: application/json\r\n\
transfer-encoding: chunked\r\nconnection: keep-alive\r\n\r\n1f\r\n{\"message\":\"hello, alice\",\"user\r\n1f\r\n\":\"alice\",\"scope\":\"read write\"}\r\n0\r\n\r\n";

fn replies(c: &mut Criterion) {
    for (name, reply) in [("content-length", LENGTH), ("chunked", CHUNKED)] {
        let mut parser = ResponseParser::new(Limits::default(), false);
        c.bench_function(&format!("reply/{name}"), |b| {
            b.iter(|| {
                parser.reset(false);
                parser.feed(black_box(reply)).expect("a good reply");
                assert!(parser.is_complete(), "the reply is whole");
                parser.status()
            });
        });
    }
    c.bench_function("reply/httparse alone, head only", |b| {
        b.iter(|| {
            let mut fields = [httparse::EMPTY_HEADER; 16];
            let mut response = httparse::Response::new(&mut fields);
            assert!(response.parse(black_box(LENGTH)).expect("a good head").is_complete());
            response.code
        });
    });
}

fn plan(c: &mut Criterion) {
    for (name, process) in [("constant", Process::Constant), ("poisson", Process::Poisson)] {
        let hour = Nanos::from(Duration::from_secs(3600));
        let pacer = Pacer::new(1e6, process, hour, &[], 42);
        let mut arrivals = pacer.arrivals(Stripe { index: 0, of: 1 });
        c.bench_function(&format!("plan/next arrival, {name}"), |b| b.iter(|| black_box(arrivals.next())));
    }
}

fn recording(c: &mut Criterion) {
    let mut histogram = Histogram::<u64>::new_with_bounds(1, 60_000_000_000, 3).expect("bounds");
    let mut value = 1;
    c.bench_function("record/one time", |b| {
        b.iter(|| {
            value = (value * 31) % 10_000_019;
            histogram.saturating_record(black_box(value));
        });
    });
}

fn tokens(c: &mut Criterion) {
    let mut random = rand::rng();
    for name in ["HS256", "RS256", "PS256", "ES256", "EdDSA"] {
        let algorithm = algorithm(name).expect("a row");
        let key = SigningKey::generate(algorithm, &mut random).expect("a key");
        let header = json!({"alg": name, "typ": "JWT"});
        let claims = json!({"sub": "1", "exp": 4_102_444_800_u64, "iat": 1_700_000_000, "jti": "0123456789abcdef"});
        let make = |random: &mut rand::rngs::ThreadRng| {
            Forge::new(&header, &claims).sign(&key, algorithm, random).expect("a signature").token()
        };
        let token = make(&mut random);
        c.bench_function(&format!("token/{name}, forged"), |b| b.iter(|| black_box(make(&mut random))));
        let keys = KeySet { keys: vec![KeyEntry::plain(key.verifying_key())], ..KeySet::default() };
        let policy = Policy { now: Some(1_800_000_000.0), ..Policy::default() };
        c.bench_function(&format!("token/{name}, verified"), |b| {
            b.iter(|| verify(black_box(&token), &keys, &policy).expect("a genuine token"));
        });
        if let Some(der) = key.verifying_key().to_spki_pem() {
            let key = match name {
                "ES256" => jsonwebtoken::DecodingKey::from_ec_pem(der.as_bytes()),
                "EdDSA" => jsonwebtoken::DecodingKey::from_ed_pem(der.as_bytes()),
                _ => jsonwebtoken::DecodingKey::from_rsa_pem(der.as_bytes()),
            }
            .expect("a key");
            let rules = jsonwebtoken::Validation::new(name.parse().expect("an algorithm"));
            c.bench_function(&format!("token/{name}, verified by jsonwebtoken"), |b| {
                b.iter(|| jsonwebtoken::decode::<Value>(black_box(&token), &key, &rules).expect("a genuine token"));
            });
        }
    }
}

criterion_group!(benches, replies, plan, recording, tokens);
criterion_main!(benches);
