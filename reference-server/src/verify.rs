//! Is this token genuine, in time, and of the right kind? The strict reading; `flawed.rs` holds the deliberate mistakes.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::flawed::{self, Fetched};
use crate::flaws::FlawSet;
use crate::keys::Key;
use crate::ring::Ring;
use crate::token::{Claims, Header, Purpose, object};

/// Why a token is refused. The order is the order of the questions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// No JWT by its form, or not signed by us.
    Forged,
    /// Signed by us, but a claim is missing, of the wrong type or not for us.
    Claims,
    /// Past its `exp`.
    Expired,
    /// Before its `nbf`.
    Early,
    /// An access token where a refresh token belongs, or the other way round.
    WrongType,
    /// Taken back before its end.
    Revoked,
    /// Its user is unknown, deleted or inactive.
    User,
    /// Told apart from a forged one only by a mistake: how far its decryption came.
    Undeciphered,
    /// A deliberate fault of the server: answered with 500.
    Crash,
}

/// Which endpoint asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// The protected resource.
    Resource,
    /// The verify endpoint, or introspection.
    Verify,
    /// Refresh and revocation.
    Refresh,
}

/// What one endpoint asks of a token. Made once per endpoint from the configuration and the flaws.
#[derive(Debug, Clone)]
pub(crate) struct Gate {
    pub(crate) place: Place,
    /// The purposes that may pass; empty where the type is not looked at.
    pub(crate) purposes: Vec<Purpose>,
    /// How long past `exp` and before `nbf` a token still passes, in seconds.
    pub(crate) leeway_s: f64,
    pub(crate) check_exp: bool,
    /// Compares whole seconds, and lets the last one pass.
    pub(crate) inclusive_exp: bool,
    pub(crate) require_exp: bool,
    pub(crate) check_nbf: bool,
    /// How long before `nbf` a token passes beyond the leeway, in seconds.
    pub(crate) early_s: f64,
    /// The issuer that must be named, where one is configured.
    pub(crate) issuer: Option<String>,
    /// The audiences of which one must be named, where any is configured.
    pub(crate) audience: Vec<String>,
    /// A mistake: neither `crit` nor an end before 1970 is looked at.
    pub(crate) lax: bool,
    /// RFC 9068: an access token's header must say so.
    pub(crate) require_access_typ: bool,
}

/// The three segments of a compact serialisation.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Parts<'t> {
    pub(crate) header: &'t str,
    pub(crate) payload: &'t str,
    pub(crate) signature: &'t str,
    /// `header.payload`, what the signature is over.
    pub(crate) signed: &'t str,
}

impl<'t> Parts<'t> {
    /// Splits at exactly two dots; no segment may be empty.
    pub(crate) fn of(text: &'t str) -> Option<Self> {
        let (header, rest) = text.split_once('.')?;
        let (payload, signature) = rest.split_once('.')?;
        if header.is_empty() || payload.is_empty() || signature.is_empty() || signature.contains('.') {
            return None;
        }
        Some(Self { header, payload, signature, signed: &text[..header.len() + 1 + payload.len()] })
    }
}

/// A payload whose signature was checked, with what its header said about its type.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Opened {
    /// The header's `typ` is `at+jwt`.
    pub(crate) access_typ: bool,
}

/// The longest signature of any algorithm: RSA with 8192 bits.
const SIGNATURE_BYTES: usize = 1024;

/// `typ: at+jwt`, with or without the `application/` prefix, in any case (RFC 7515 section 4.1.9).
pub(crate) fn is_access_typ(typ: &str) -> bool {
    typ.eq_ignore_ascii_case("at+jwt") || typ.eq_ignore_ascii_case("application/at+jwt")
}

pub(crate) fn is_known_typ(typ: &str) -> bool {
    is_access_typ(typ) || typ.eq_ignore_ascii_case("jwt") || typ.eq_ignore_ascii_case("application/jwt")
}

/// Checks form, header and signature; leaves the payload's bytes in `payload`.
pub(crate) fn open(ring: &Ring, text: &str, payload: &mut Vec<u8>) -> Option<Opened> {
    let parts = Parts::of(text)?;
    let (key, access_typ) = key_of(ring, &parts)?;
    let mut signature = [0_u8; SIGNATURE_BYTES];
    // The engine refuses padding, foreign characters and set trailing bits.
    let length = URL_SAFE_NO_PAD.decode_slice(parts.signature, &mut signature).ok()?;
    if !key.verifies(parts.signed.as_bytes(), &signature[..length]) {
        return None;
    }
    payload.clear();
    URL_SAFE_NO_PAD.decode_vec(parts.payload, payload).ok()?;
    Some(Opened { access_typ })
}

/// The key that the header names, where the header is one that we accept.
fn key_of<'r>(ring: &'r Ring, parts: &Parts<'_>) -> Option<(&'r Key, bool)> {
    // Our own headers are known by their bytes: nothing to decode for nearly every request.
    for key in &ring.keys {
        if key.head.strip_suffix('.') == Some(parts.header) {
            return Some((key, false));
        }
        if key.head_access.strip_suffix('.') == Some(parts.header) {
            return Some((key, true));
        }
    }
    let bytes = URL_SAFE_NO_PAD.decode(parts.header).ok()?;
    let header: Header<'_> = object(&bytes)?;
    if header.crit.is_some() || header.b64.is_some() {
        return None;
    }
    let typ = header.typ.as_ref().map(AsRef::as_ref);
    if typ.is_some_and(|typ| !is_known_typ(typ)) {
        return None;
    }
    let key = ring.named(header.kid.as_ref().map(AsRef::as_ref))?;
    // One key, one algorithm (RFC 8725 section 3.1): the header may only confirm it.
    (key.algorithm.name == header.alg.as_ref()).then_some((key, typ.is_some_and(is_access_typ)))
}

/// With what a token is read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reading<'r> {
    pub(crate) ring: &'r Ring,
    pub(crate) flaws: &'r FlawSet,
    pub(crate) gate: &'r Gate,
    /// Seconds since 1970.
    pub(crate) now: f64,
    /// Keys that a mistake fetched.
    pub(crate) fetched: &'r Fetched,
}

/// Reads the token and holds it against the gate.
pub(crate) fn verify<'p>(reading: &Reading<'_>, text: &str, payload: &'p mut Vec<u8>) -> Result<Claims<'p>, Refusal> {
    let opened = if reading.flaws.is_empty() {
        open(reading.ring, text, payload).ok_or(Refusal::Forged)?
    } else {
        flawed::open(reading, text, payload)?
    };
    let claims: Claims<'p> = object(payload).ok_or(Refusal::Claims)?;
    judge(reading, &claims, &opened)?;
    Ok(claims)
}

/// The questions about the claims alone.
fn judge(reading: &Reading<'_>, claims: &Claims<'_>, opened: &Opened) -> Result<(), Refusal> {
    let Reading { gate, now, .. } = reading;
    match claims.exp {
        Some(exp) if gate.check_exp && (exp.0 > 0.0 || !gate.lax) => {
            // An inclusive comparison of whole seconds lets the second of the end itself pass.
            let now = if gate.inclusive_exp { now.floor() - 1.0 } else { *now };
            if now >= exp.0 + gate.leeway_s {
                return Err(Refusal::Expired);
            }
        }
        Some(_) => {}
        None if gate.require_exp => return Err(Refusal::Claims),
        None => {}
    }
    if gate.check_nbf && claims.nbf.is_some_and(|nbf| *now < nbf.0 - gate.leeway_s - gate.early_s) {
        return Err(Refusal::Early);
    }
    if !gate.purposes.is_empty() {
        let claimed = claims.token_type.as_ref().map(AsRef::as_ref);
        if !gate.purposes.iter().any(|purpose| claimed == Some(purpose.name())) {
            return Err(Refusal::WrongType);
        }
    }
    // The typ is asked of access tokens; the other kinds, where they may pass at all, have the plain one.
    let other_kind = gate.place == Place::Verify
        && claims.token_type.as_ref().is_some_and(|claimed| claimed.as_ref() != Purpose::Access.name());
    if gate.require_access_typ && !opened.access_typ && !other_kind {
        return Err(Refusal::WrongType);
    }
    if let Some(issuer) = &gate.issuer {
        let named = claims.iss.as_ref().map(AsRef::as_ref);
        if named != Some(issuer.as_str()) && !flawed::issuer_passes(reading, issuer, named) {
            return Err(Refusal::Claims);
        }
    }
    if !gate.audience.is_empty() {
        let ours = |one: &str| {
            gate.audience.iter().any(|wanted| wanted == one || flawed::audience_passes(reading, wanted, one))
        };
        if !claims.aud.as_ref().is_some_and(|aud| aud.names(ours)) {
            return Err(Refusal::Claims);
        }
    }
    Ok(())
}
