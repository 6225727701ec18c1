//! How is a token made that no library would make?
//!
//! A [`Forge`] is a token in the making: a header and a payload that are either lists of members (which may
//! repeat) or raw bytes, and a signature that is made by any key, or is any bytes. Nothing is checked.

use num_bigint::BigUint;
use rand::CryptoRng;
use serde_json::Value;

use super::algorithms::{Algorithm, Curve, Hash};
use super::key::{KeyError, SigningKey, VerifyingKey};
use super::{base64url, der, sign};

/// A header or a payload.
#[derive(Clone, Debug, PartialEq)]
pub enum Part {
    /// JSON members in order: the name as JSON text (with its quotes), the value as JSON text. Names may
    /// repeat, and neither text need be valid.
    Members(Vec<(String, String)>),
    /// Any bytes.
    Raw(Vec<u8>),
}

impl Part {
    /// The members of an object, or the text of any other value.
    pub fn from_value(value: &Value) -> Part {
        match value.as_object() {
            Some(map) => Part::Members(map.iter().map(|(n, v)| (quoted(n), v.to_string())).collect()),
            None => Part::Raw(value.to_string().into_bytes()),
        }
    }

    /// Bytes as members where they are a JSON object, else raw.
    pub fn from_bytes(bytes: &[u8]) -> Part {
        match serde_json::from_slice::<Value>(bytes) {
            Ok(value @ Value::Object(_)) => Part::from_value(&value),
            _ => Part::Raw(bytes.to_vec()),
        }
    }

    /// The bytes of the segment before base64url.
    pub fn bytes(&self) -> Vec<u8> {
        match self {
            Part::Raw(bytes) => bytes.clone(),
            Part::Members(members) => {
                let texts: Vec<String> = members.iter().map(|(n, v)| format!("{n}:{v}")).collect();
                format!("{{{}}}", texts.join(",")).into_bytes()
            }
        }
    }

    /// The value of the first member of a name, where it is valid JSON.
    pub fn get(&self, name: &str) -> Option<Value> {
        let Part::Members(members) = self else { return None };
        let name = quoted(name);
        members.iter().find(|(n, _)| *n == name).and_then(|(_, v)| serde_json::from_str(v).ok())
    }

    fn members(&mut self) -> &mut Vec<(String, String)> {
        if let Part::Raw(bytes) = self {
            *self = match Part::from_bytes(bytes) {
                members @ Part::Members(_) => members,
                Part::Raw(_) => Part::Members(Vec::new()),
            };
        }
        match self {
            Part::Members(members) => members,
            // The branch above has just turned raw bytes into members.
            Part::Raw(_) => unreachable!("raw bytes were replaced by members"),
        }
    }

    /// Sets a member in place, or adds it at the end; the value is JSON text of any kind.
    pub fn set_text(&mut self, name: &str, value: &str) {
        let name = quoted(name);
        let members = self.members();
        match members.iter_mut().find(|(n, _)| *n == name) {
            Some((_, v)) => value.clone_into(v),
            None => members.push((name, value.to_owned())),
        }
    }

    /// Removes every member of a name.
    pub fn remove(&mut self, name: &str) {
        let name = quoted(name);
        self.members().retain(|(n, _)| *n != name);
    }

    /// Adds a member whatever is there, at the front or at the end. Both texts go in as they are: the name
    /// with its quotes (`"\u0065xp"` stays an escape).
    pub fn insert_text(&mut self, name: &str, value: &str, front: bool) {
        let member = (name.to_owned(), value.to_owned());
        let members = self.members();
        if front {
            members.insert(0, member);
        } else {
            members.push(member);
        }
    }
}

fn quoted(name: &str) -> String {
    Value::from(name).to_string()
}

/// A token in the making.
#[derive(Clone, Debug, PartialEq)]
pub struct Forge {
    /// The first segment.
    pub header: Part,
    /// The second segment.
    pub payload: Part,
    /// The third segment: bytes before base64url.
    pub signature: Vec<u8>,
}

impl Forge {
    /// From a header and claims.
    pub fn new(header: &Value, claims: &Value) -> Forge {
        Forge { header: Part::from_value(header), payload: Part::from_value(claims), signature: Vec::new() }
    }

    /// From a genuine token, whose parts are kept where they are not edited. None where it is not three
    /// segments with JSON objects in the first two.
    pub fn of(token: &str) -> Option<Forge> {
        let mut segments = token.split('.');
        let (header, payload, signature) = (segments.next()?, segments.next()?, segments.next()?);
        if segments.next().is_some() {
            return None;
        }
        let header = Part::from_bytes(&base64url::decode_lenient(header));
        let payload = Part::from_bytes(&base64url::decode_lenient(payload));
        let signature = base64url::decode_lenient(signature);
        let both = matches!((&header, &payload), (Part::Members(_), Part::Members(_)));
        both.then_some(Forge { header, payload, signature })
    }

    /// Sets a header member.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl Into<Value>) -> Forge {
        self.header.set_text(name, &value.into().to_string());
        self
    }

    /// Sets a header member to JSON text of any kind (`1e400`, `{"a":`).
    #[must_use]
    pub fn header_text(mut self, name: &str, value: &str) -> Forge {
        self.header.set_text(name, value);
        self
    }

    /// Removes a header member.
    #[must_use]
    pub fn without_header(mut self, name: &str) -> Forge {
        self.header.remove(name);
        self
    }

    /// Replaces the header by any bytes.
    #[must_use]
    pub fn raw_header(mut self, bytes: impl Into<Vec<u8>>) -> Forge {
        self.header = Part::Raw(bytes.into());
        self
    }

    /// Sets a claim.
    #[must_use]
    pub fn claim(mut self, name: &str, value: impl Into<Value>) -> Forge {
        self.payload.set_text(name, &value.into().to_string());
        self
    }

    /// Sets a claim to JSON text of any kind (`1e400`, `NaN`).
    #[must_use]
    pub fn claim_text(mut self, name: &str, value: &str) -> Forge {
        self.payload.set_text(name, value);
        self
    }

    /// Removes a claim.
    #[must_use]
    pub fn without_claim(mut self, name: &str) -> Forge {
        self.payload.remove(name);
        self
    }

    /// Adds a claim beside one of the same name, before or after it.
    #[must_use]
    pub fn duplicate_claim(mut self, name: &str, value: impl Into<Value>, front: bool) -> Forge {
        self.payload.insert_text(&quoted(name), &value.into().to_string(), front);
        self
    }

    /// Adds a header member beside one of the same name, before or after it.
    #[must_use]
    pub fn duplicate_header(mut self, name: &str, value: impl Into<Value>, front: bool) -> Forge {
        self.header.insert_text(&quoted(name), &value.into().to_string(), front);
        self
    }

    /// Replaces the payload by any bytes.
    #[must_use]
    pub fn raw_payload(mut self, bytes: impl Into<Vec<u8>>) -> Forge {
        self.payload = Part::Raw(bytes.into());
        self
    }

    /// What is signed: the first two segments with their dot (RFC 7515 section 5.1).
    pub fn signing_input(&self) -> String {
        format!("{}.{}", base64url::encode(self.header.bytes()), base64url::encode(self.payload.bytes()))
    }

    /// Signs with a key by an algorithm, whatever the header says.
    pub fn sign(mut self, key: &SigningKey, algorithm: &Algorithm, rng: &mut dyn CryptoRng) -> Result<Forge, KeyError> {
        self.signature = key.sign(algorithm, self.signing_input().as_bytes(), rng)?;
        Ok(self)
    }

    /// Signs with an HMAC over any key bytes, whatever the header says.
    #[must_use]
    pub fn sign_hmac(mut self, hash: Hash, key: &[u8]) -> Forge {
        self.signature = sign::hmac(hash, key, self.signing_input().as_bytes());
        self
    }

    /// Any bytes for a signature.
    #[must_use]
    pub fn with_signature(mut self, bytes: impl Into<Vec<u8>>) -> Forge {
        self.signature = bytes.into();
        self
    }

    /// The compact serialization.
    pub fn token(&self) -> String {
        format!("{}.{}", self.signing_input(), base64url::encode(&self.signature))
    }

    /// The flattened JSON serialization (RFC 7515 section 7.2.2), with an unprotected header if given.
    pub fn flattened_json(&self, unprotected: Option<&Value>) -> String {
        let mut object = serde_json::Map::new();
        object.insert("payload".into(), base64url::encode(self.payload.bytes()).into());
        object.insert("protected".into(), base64url::encode(self.header.bytes()).into());
        if let Some(header) = unprotected {
            object.insert("header".into(), header.clone());
        }
        object.insert("signature".into(), base64url::encode(&self.signature).into());
        Value::Object(object).to_string()
    }

    /// The general JSON serialization (RFC 7515 section 7.2.1) with further signatures after the own one,
    /// all over this payload.
    pub fn general_json(&self, others: &[Forge]) -> String {
        let one = |forge: &Forge| {
            serde_json::json!({
                "protected": base64url::encode(forge.header.bytes()),
                "signature": base64url::encode(&forge.signature),
            })
        };
        let all: Vec<Value> = std::iter::once(self).chain(others).map(one).collect();
        serde_json::json!({"payload": base64url::encode(self.payload.bytes()), "signatures": all}).to_string()
    }
}

/// The three segments of a token as text, missing ones empty.
fn segments(token: &str) -> [&str; 3] {
    let mut parts = token.splitn(3, '.');
    [parts.next().unwrap_or_default(), parts.next().unwrap_or_default(), parts.next().unwrap_or_default()]
}

/// The token with one segment (0 header, 1 payload, 2 signature) replaced by any text.
pub fn replace_segment(token: &str, segment: usize, text: &str) -> String {
    let mut parts = segments(token);
    parts[segment.min(2)] = text;
    parts.join(".")
}

/// The text of one segment: 0 header, 1 payload, 2 signature.
pub fn segment(token: &str, segment: usize) -> &str {
    segments(token)[segment.min(2)]
}

/// The token with one bit of a segment's *bytes* flipped, counted from the end.
pub fn flip_bit(token: &str, segment_at: usize, bit_from_end: usize) -> String {
    let mut bytes = base64url::decode_lenient(segment(token, segment_at));
    let len = bytes.len();
    if let Some(byte) = len.checked_sub(1 + bit_from_end / 8).and_then(|at| bytes.get_mut(at)) {
        *byte ^= 1 << (bit_from_end % 8);
    }
    replace_segment(token, segment_at, &base64url::encode(bytes))
}

/// The token with text inserted into a segment before its `at`-th character (or at its end).
pub fn insert_junk(token: &str, segment_at: usize, at: usize, junk: &str) -> String {
    let text = segment(token, segment_at);
    let at = (0..=at.min(text.len())).rev().find(|i| text.is_char_boundary(*i)).unwrap_or(0);
    replace_segment(token, segment_at, &format!("{}{junk}{}", &text[..at], &text[at..]))
}

/// The token with an unused bit set in the last character of a segment: another text, the same bytes. None
/// where the segment's length leaves no unused bit.
pub fn set_unused_bits(token: &str, segment_at: usize) -> Option<String> {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let text = segment(token, segment_at);
    if !matches!(text.len() % 4, 2 | 3) {
        return None;
    }
    let (last, rest) = text.as_bytes().split_last()?;
    let value = ALPHABET.iter().position(|c| c == last)?;
    let changed = ALPHABET[value ^ 1] as char;
    let rest = std::str::from_utf8(rest).ok()?;
    Some(replace_segment(token, segment_at, &format!("{rest}{changed}")))
}

/// The token with `-` and `_` of a segment written `+` and `/`. None where the segment has neither.
pub fn standard_alphabet(token: &str, segment_at: usize) -> Option<String> {
    let text = segment(token, segment_at);
    text.contains(['-', '_']).then(|| replace_segment(token, segment_at, &text.replace('-', "+").replace('_', "/")))
}

/// An ECDSA signature of two numbers as DER (what TLS uses, and JWS does not).
pub fn ecdsa_der(raw: &[u8]) -> Vec<u8> {
    let (r, s) = raw.split_at(raw.len() / 2);
    der::sequence(&[der::integer(r), der::integer(s)])
}

/// The order of a Weierstrass curve's group, big-endian, as long as a coordinate (SP 800-186 section 3.2.1);
/// that of Ed25519 for its curve.
pub fn ecdsa_order(curve: Curve) -> Vec<u8> {
    use p256::elliptic_curve::ff::PrimeField as _;
    // -1 modulo the order is the order less one; the orders are odd, so adding one changes the last byte only.
    let mut bytes = match curve {
        Curve::P256 => (-p256::Scalar::ONE).to_repr().to_vec(),
        Curve::P384 => (-p384::Scalar::ONE).to_repr().to_vec(),
        Curve::P521 => (-p521::Scalar::ONE).to_repr().to_vec(),
        Curve::Ed25519 => return ED25519_ORDER.iter().rev().copied().collect(),
    };
    if let Some(last) = bytes.last_mut() {
        *last |= 1;
    }
    bytes
}

/// The other signature that verifies as well: `n - s` for `s`. None where the bytes are no ECDSA signature.
pub fn negate_s(algorithm: &Algorithm, signature: &[u8]) -> Option<Vec<u8>> {
    macro_rules! negate {
        ($curve:ident) => {{
            let signature = $curve::ecdsa::Signature::from_slice(signature).ok()?;
            let (r, s) = signature.split_scalars();
            Some($curve::ecdsa::Signature::from_scalars(*r, -*s).ok()?.to_vec())
        }};
    }
    match algorithm.curve? {
        Curve::P256 => negate!(p256),
        Curve::P384 => negate!(p384),
        Curve::P521 => negate!(p521),
        Curve::Ed25519 => None,
    }
}

/// L of RFC 8032 section 5.1, little-endian.
const ED25519_ORDER: [u8; 32] = [
    0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, 0, 0, 0, 0, 0, 0,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
];

/// An Ed25519 signature with `S + L` for `S`: what verifies where `S < L` is not checked. Other lengths than 64
/// stay as they are.
pub fn ed25519_twin(signature: &[u8]) -> Vec<u8> {
    let mut out = signature.to_vec();
    if let Some(s) = out.get_mut(32..64) {
        let mut carry = 0;
        for (byte, add) in s.iter_mut().zip(ED25519_ORDER) {
            let sum = u16::from(*byte) + u16::from(add) + carry;
            *byte = sum.to_le_bytes()[0];
            carry = sum >> 8;
        }
    }
    out
}

/// An Ed25519 signature whose R is the neutral element, a point of small order, and whose S makes the equation hold for
/// this message: S is H(R, A, M) times the secret scalar. None for other keys.
pub fn ed25519_small_order(key: &SigningKey, message: &[u8]) -> Option<Vec<u8>> {
    let SigningKey::Ed25519(key) = key else { return None };
    let mut scalar = sign::digest(Hash::Sha512, &key.to_bytes());
    scalar.truncate(32);
    // RFC 8032 section 5.1.5, step 2.
    (scalar[0], scalar[31]) = (scalar[0] & 0xf8, scalar[31] & 0x7f | 0x40);
    let mut signature = vec![0; 32];
    signature[0] = 1;
    let hashed = sign::digest(Hash::Sha512, &[&signature[..], key.verifying_key().as_bytes(), message].concat());
    let number = |bytes: &[u8]| BigUint::from_bytes_le(bytes);
    let s = number(&scalar) * number(&hashed) % number(&ED25519_ORDER);
    signature.extend(s.to_bytes_le());
    signature.resize(64, 0);
    Some(signature)
}

/// A PKCS#1 v1.5 signature over a key whose exponent is 3, made without the private half (Bleichenbacher, CRYPTO 2006):
/// the cube of it begins with a padding that is too short, the digest and then whatever it takes. None for other keys.
pub fn rsa_cube_root(key: &VerifyingKey, hash: Hash, message: &[u8]) -> Option<Vec<u8>> {
    if BigUint::from_bytes_be(&key.rsa_exponent()?) != BigUint::from(3_u8) {
        return None;
    }
    let size = key.rsa_modulus()?.len();
    let mut encoded = [&[0, 1][..], &[0xff; 8], &[0], &super::recover::digest_info(hash, message)].concat();
    let free = size.checked_sub(encoded.len())?;
    encoded.resize(size, 0xff);
    let root = BigUint::from_bytes_be(&encoded).cbrt();
    // The cube must differ from the wish in the free bytes alone.
    let kept = |number: &BigUint| number >> (8 * free);
    if kept(&root.pow(3)) != kept(&BigUint::from_bytes_be(&encoded)) {
        return None;
    }
    let bytes = root.to_bytes_be();
    Some([vec![0; size.checked_sub(bytes.len())?], bytes].concat())
}

/// A certificate in DER with an RSA key of any size and exponent, big-endian, under a signature that is none.
pub fn rsa_certificate(modulus: &[u8], exponent: &[u8], name: &str, rng: &mut dyn CryptoRng) -> Vec<u8> {
    let oid = |last: u8| vec![6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, last];
    let (encryption, signature) = (der::sequence(&[oid(1), vec![5, 0]]), der::sequence(&[oid(0x0b), vec![5, 0]]));
    let key = der::sequence(&[der::integer(modulus), der::integer(exponent)]);
    let validity = [b"200101000000Z", b"491231235959Z"].map(|time| der::element(0x17, time));
    let tbs = der::sequence(&[
        der::element(0xa0, &[2, 1, 2]),
        der::integer(&[1]),
        signature.clone(),
        der::common_name(name),
        der::sequence(&validity),
        der::common_name(name),
        der::sequence(&[encryption, der::bit_string(&key)]),
    ]);
    let mut bytes = [0; 256];
    rng.fill_bytes(&mut bytes);
    der::sequence(&[tbs, signature, der::bit_string(&bytes)])
}

/// A self-signed X.509 certificate in DER, for an `x5c` header: the key's public half, signed by it.
///
/// `not_before` and `not_after` are `YYMMDDHHMMSSZ` (RFC 5280 section 4.1.2.5.1).
pub fn self_signed_certificate(
    key: &SigningKey,
    name: &str,
    not_before: &str,
    not_after: &str,
    rng: &mut dyn CryptoRng,
) -> Result<Vec<u8>, KeyError> {
    let mismatch = || KeyError::Mismatch {
        algorithm: "a certificate".to_owned(),
        needs: "an RSA, P-256, P-384, P-521 or Ed25519 key".to_owned(),
        found: key.kind(),
    };
    let algorithm = key.default_algorithm();
    // RFC 8017 appendix A.2.4, RFC 5758 section 3.2, RFC 8410 section 3.
    let identifier = match algorithm.name {
        "RS256" => der::sequence(&[vec![6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 0x0b], vec![5, 0]]),
        "ES256" => der::sequence(&[vec![6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2]]),
        "ES384" => der::sequence(&[vec![6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 3]]),
        "ES512" => der::sequence(&[vec![6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 4]]),
        "EdDSA" => der::sequence(&[vec![6, 3, 0x2b, 0x65, 0x70]]),
        _ => return Err(mismatch()),
    };
    let spki = key.verifying_key().to_spki_der().ok_or_else(mismatch)?;
    let mut serial = [0; 8];
    rng.fill_bytes(&mut serial);
    serial[0] = serial[0] & 0x7f | 0x40;
    let validity =
        der::sequence(&[der::element(0x17, not_before.as_bytes()), der::element(0x17, not_after.as_bytes())]);
    let tbs = der::sequence(&[
        der::element(0xa0, &[2, 1, 2]),
        der::integer(&serial),
        identifier.clone(),
        der::common_name(name),
        validity,
        der::common_name(name),
        spki,
    ]);
    let signature = key.sign(algorithm, &tbs, rng)?;
    let signature = if algorithm.name.starts_with("ES") { ecdsa_der(&signature) } else { signature };
    Ok(der::sequence(&[tbs, identifier, der::bit_string(&signature)]))
}
