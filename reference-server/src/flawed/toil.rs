//! Which tokens keep a careless server busy? Every mistake here ends after a few seconds, so that nobody has to wait for a
//! server that was made wrong on purpose.

use std::hint::black_box;
use std::time::{Duration, Instant};

use aws_lc_rs::pbkdf2;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use num_bigint::BigUint;
use serde_json::Value;

use crate::der::{certificate_key, public_jwk};
use crate::flaws::{FlawId as F, FlawSet};
use crate::verify::{Place, Refusal};

/// No fault works longer.
const MOST: Duration = Duration::from_millis(2_500);
/// What the refusal of a token costs too much.
const HESITATION: Duration = Duration::from_millis(20);
/// The recursion limit of a common interpreter.
const DEPTH: usize = 1_000;
/// The most digits that it takes for a number.
const DIGITS: usize = 4_300;
/// A count of passwords is worked through in pieces of this size.
const ROUNDS: u32 = 50_000;

/// The mistakes of those who read what is not proven.
const READING: &[F] =
    &[F::P2cUnbounded, F::Recursion, F::LinearMembers, F::LinearClaims, F::CrashNumber, F::UseAnyKey, F::UseAnyChain];

/// Steps one after the other until there are none left or the time is over.
fn work(mut step: impl FnMut() -> bool) {
    let began = Instant::now();
    while began.elapsed() < MOST && step() {}
}

/// What is done with a token before anything about it is proven.
pub(crate) fn before(flaws: &FlawSet, place: Place, text: &str) -> Result<(), Refusal> {
    if (flaws.has(F::SplitAll) && place == Place::Resource) || (flaws.has(F::SplitBody) && place == Place::Verify) {
        let mut dots = text.match_indices('.');
        work(|| dots.next().is_some_and(|(at, _)| black_box(text[at..].split('.').count()) > 0));
    }
    if !READING.iter().any(|flaw| flaws.has(*flaw)) {
        return Ok(());
    }
    let decoded = |place: usize| {
        let segment = text.split('.').nth(place).unwrap_or_default();
        URL_SAFE_NO_PAD.decode(segment).unwrap_or_default()
    };
    let segments = [decoded(0), decoded(1)];
    let linear = [F::LinearMembers, F::LinearClaims];
    for (bytes, linear) in segments.iter().zip(linear) {
        if (flaws.has(F::Recursion) && depth(bytes) > DEPTH) || (flaws.has(F::CrashNumber) && digits(bytes) > DIGITS) {
            return Err(Refusal::Crash);
        }
        if flaws.has(linear) {
            compare_all(bytes);
        }
    }
    let header: Value = serde_json::from_slice(&segments[0]).unwrap_or_default();
    if flaws.has(F::P2cUnbounded) {
        count(&header);
    }
    if flaws.has(F::UseAnyKey) {
        raise(text, &header["jwk"]);
    }
    let certificate = header["x5c"][0].as_str().and_then(|text| STANDARD.decode(text).ok());
    if let (true, Some(certificate)) = (flaws.has(F::UseAnyChain), certificate) {
        raise(text, &certificate_key(&certificate).and_then(public_jwk).unwrap_or_default());
    }
    Ok(())
}

/// How deeply brackets are nested, wherever they stand.
fn depth(bytes: &[u8]) -> usize {
    let (mut depth, mut most) = (0_usize, 0);
    for byte in bytes {
        match byte {
            b'[' | b'{' => depth += 1,
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        most = most.max(depth);
    }
    most
}

/// The longest run of digits.
fn digits(bytes: &[u8]) -> usize {
    bytes.split(|byte| !byte.is_ascii_digit()).map(<[u8]>::len).max().unwrap_or(0)
}

/// Looks for each name among all others, as whoever keeps members in a list does to see that none comes twice.
fn compare_all(bytes: &[u8]) {
    let Ok(Value::Object(members)) = serde_json::from_slice(bytes) else { return };
    let names: Vec<&String> = members.keys().collect();
    let mut left = names.iter();
    work(|| left.next().is_some_and(|name| black_box(names.iter().filter(|other| *other == name).count()) > 0));
}

/// PBKDF2 by the count of the header.
fn count(header: &Value) {
    let alg = header["alg"].as_str().unwrap_or_default();
    let mut left = header["p2c"].as_u64().filter(|_| alg.starts_with("PBES2")).unwrap_or(0);
    work(|| {
        let Some(rounds) = std::num::NonZeroU32::new(left.min(u64::from(ROUNDS)) as u32) else { return false };
        let mut key = [0; 16];
        pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, rounds, b"salt", b"password", &mut key);
        left -= u64::from(rounds.get());
        black_box(key)[0] != 0 || left > 0
    });
}

/// The signature to the power of a key's exponent.
fn raise(text: &str, jwk: &Value) {
    let number = |text: &str| BigUint::from_bytes_be(&URL_SAFE_NO_PAD.decode(text).unwrap_or_default());
    let [n, e] = ["n", "e"].map(|name| number(jwk[name].as_str().unwrap_or_default()));
    if n == BigUint::ZERO {
        return;
    }
    let base = number(text.rsplit('.').next().unwrap_or_default()) % &n;
    let (mut bit, mut power) = (e.bits(), BigUint::from(1_u8));
    work(|| {
        let Some(next) = bit.checked_sub(1) else { return false };
        bit = next;
        power = &power * &power % &n;
        if e.bit(bit) {
            power = &power * &base % &n;
        }
        true
    });
    black_box(power);
}

/// What is done with claims that are proven.
pub(super) fn after(flaws: &FlawSet, payload: &[u8]) {
    let expressions = [(F::RedosAud, "aud"), (F::RedosIss, "iss"), (F::RedosSub, "sub")];
    if !expressions.iter().any(|(flaw, _)| flaws.has(*flaw)) {
        return;
    }
    let claims: Value = serde_json::from_slice(payload).unwrap_or_default();
    for (_, name) in expressions.iter().filter(|(flaw, _)| flaws.has(*flaw)) {
        let text = claims[*name].as_str().or_else(|| claims[*name][0].as_str()).unwrap_or_default();
        // Deeper than this nobody comes in the time that there is.
        let text = &text.as_bytes()[..text.len().min(64)];
        let until = Instant::now() + MOST;
        black_box(matches(text, until));
    }
}

/// `^([a-z]+)+!$` by trying: every way to part a run of letters is one to look at.
fn matches(text: &[u8], until: Instant) -> bool {
    if text == b"!" {
        return true;
    }
    let run = text.iter().take_while(|byte| byte.is_ascii_lowercase()).count();
    (1..=run).rev().any(|end| Instant::now() < until && matches(&text[end..], until))
}

/// Works for nothing before it refuses.
pub(super) fn hesitate(flaws: &FlawSet) {
    if flaws.has(F::VerifyExpensiveFirst) {
        let until = Instant::now() + HESITATION;
        while Instant::now() < until {
            black_box(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, b"work"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinary_tokens_are_no_work() {
        let all: Vec<F> = READING.iter().copied().chain([F::SplitAll, F::RedosAud, F::RedosIss, F::RedosSub]).collect();
        let flaws = FlawSet::of(&all);
        let began = Instant::now();
        let claims = br#"{"aud":"assay","iss":"https://issuer.example","sub":"1","exp":1900000000}"#;
        let token =
            format!("{}.{}.c2ln", URL_SAFE_NO_PAD.encode(br#"{"alg":"HS256"}"#), URL_SAFE_NO_PAD.encode(claims));
        assert_eq!(before(&flaws, Place::Resource, &token), Ok(()));
        after(&flaws, claims);
        assert!(began.elapsed() < MOST / 2);
    }

    #[test]
    fn what_is_too_deep_or_too_long_crashes_and_nothing_else() {
        assert_eq!(depth(br#"{"a":[[{}]],"b":[]}"#), 4);
        assert_eq!(digits(b"12,3456,7"), 4);
        let token = |depth: usize| URL_SAFE_NO_PAD.encode("[".repeat(depth));
        let flaws = FlawSet::of(&[F::Recursion]);
        assert_eq!(before(&flaws, Place::Verify, &token(DEPTH)), Ok(()));
        assert_eq!(before(&flaws, Place::Verify, &token(DEPTH + 1)), Err(Refusal::Crash));
    }
}
