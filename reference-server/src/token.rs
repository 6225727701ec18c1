//! What is in a token? The claims that are issued, and the claims that are read, each type strict.

use std::borrow::Cow;
use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::de::{self, Deserializer, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What a token is for; the value of the `token_type` claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Opens the protected resource.
    Access,
    /// Is exchanged for the next pair.
    Refresh,
    /// Tells a client who logged in (OpenID Connect).
    Id,
}

impl Purpose {
    /// The claim's value.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Access => "access",
            Self::Refresh => "refresh",
            Self::Id => "id",
        }
    }
}

/// 128 random bits, in 22 characters of base64url.
pub(crate) fn random_id() -> String {
    let bytes: [u8; 16] = rand::random();
    URL_SAFE_NO_PAD.encode(bytes)
}

/// The claims as they are written. Times are seconds since 1970.
#[derive(Debug, Serialize)]
pub(crate) struct Issue<'a> {
    pub(crate) token_type: &'a str,
    pub(crate) exp: u64,
    pub(crate) iat: u64,
    pub(crate) jti: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) sub: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) user_id: Option<&'a str>,
    /// The session: all tokens that go back to one login carry the same.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) sid: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) iss: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) aud: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) scope: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) client_id: Option<&'a str>,
    /// The user's generation: a password change or a deactivation starts the next one.
    #[serde(skip_serializing_if = "Option::is_none", rename = "gen")]
    pub(crate) generation: Option<u32>,
    /// When the login that began the session happened.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) auth_time: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) nonce: Option<&'a str>,
    /// The login name, in an ID token with the scope `profile`.
    #[serde(skip_serializing_if = "Option::is_none", rename = "preferred_username")]
    pub(crate) name: Option<&'a str>,
    /// What must never be here; one of the mistakes puts it in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) password: Option<&'a str>,
    /// Private claims of the configuration, written behind the others: flattening would slow all of them.
    #[serde(skip)]
    pub(crate) more: Option<&'a serde_json::Map<String, Value>>,
}

impl Issue<'_> {
    /// Writes the claims as one JSON object.
    pub(crate) fn write(&self, into: &mut Vec<u8>) -> serde_json::Result<()> {
        serde_json::to_writer(&mut *into, self)?;
        if let Some(more) = self.more.filter(|more| !more.is_empty()) {
            // `{..}` and `{..}` become `{.., ..}`.
            into.pop();
            into.push(b',');
            let joint = into.len();
            serde_json::to_writer(&mut *into, more)?;
            into.remove(joint);
        }
        Ok(())
    }
}

/// A JSON string; any other type is an error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Text<'a>(pub(crate) Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Strings;
        impl<'de> Visitor<'de> for Strings {
            type Value = Text<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }
            fn visit_borrowed_str<E: de::Error>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Text(Cow::Borrowed(text)))
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Text(Cow::Owned(text.to_owned())))
            }
        }
        deserializer.deserialize_str(Strings)
    }
}

impl AsRef<str> for Text<'_> {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

/// A NumericDate of RFC 7519 section 2: seconds since 1970, fractions allowed; only a JSON number.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub(crate) struct NumericDate(pub(crate) f64);

impl<'de> Deserialize<'de> for NumericDate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Numbers;
        impl Visitor<'_> for Numbers {
            type Value = NumericDate;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number of seconds")
            }
            fn visit_i64<E: de::Error>(self, number: i64) -> Result<Self::Value, E> {
                Ok(NumericDate(number as f64))
            }
            fn visit_u64<E: de::Error>(self, number: u64) -> Result<Self::Value, E> {
                Ok(NumericDate(number as f64))
            }
            fn visit_f64<E: de::Error>(self, number: f64) -> Result<Self::Value, E> {
                if number.is_finite() { Ok(NumericDate(number)) } else { Err(E::custom("a finite number expected")) }
            }
        }
        deserializer.deserialize_any(Numbers)
    }
}

/// The `aud` claim: one string or a list of strings (RFC 7519 section 4.1.3).
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Audience<'a> {
    One(Cow<'a, str>),
    Many(Vec<Cow<'a, str>>),
}

impl Audience<'_> {
    /// True where `wanted` is one of the audiences.
    pub(crate) fn names(&self, wanted: impl Fn(&str) -> bool) -> bool {
        match self {
            Self::One(one) => wanted(one),
            Self::Many(many) => many.iter().any(|one| wanted(one)),
        }
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Audience<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = Audience<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string or a list of strings")
            }
            fn visit_borrowed_str<E: de::Error>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Audience::One(Cow::Borrowed(text)))
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Audience::One(Cow::Owned(text.to_owned())))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
                let mut many = Vec::new();
                while let Some(Text(one)) = seq.next_element()? {
                    many.push(one);
                }
                Ok(Audience::Many(many))
            }
        }
        deserializer.deserialize_any(Either)
    }
}

/// `null` is a value of the wrong type, not an absent member: without this serde would read it as `None`.
fn present<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

/// The claims as they are read. A member of the wrong type, and a known member that comes twice, is an error.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Claims<'a> {
    #[serde(default, borrow, deserialize_with = "present")]
    pub(crate) token_type: Option<Text<'a>>,
    #[serde(default, deserialize_with = "present")]
    pub(crate) exp: Option<NumericDate>,
    #[serde(default, deserialize_with = "present")]
    pub(crate) nbf: Option<NumericDate>,
    #[serde(default, deserialize_with = "present")]
    pub(crate) iat: Option<NumericDate>,
    #[serde(default, borrow, deserialize_with = "present")]
    pub(crate) jti: Option<Text<'a>>,
    #[serde(default, borrow, deserialize_with = "present")]
    pub(crate) sub: Option<Text<'a>>,
    #[serde(default, borrow, deserialize_with = "present")]
    pub(crate) sid: Option<Text<'a>>,
    #[serde(default, borrow, deserialize_with = "present")]
    pub(crate) iss: Option<Text<'a>>,
    #[serde(default, borrow, deserialize_with = "present")]
    pub(crate) aud: Option<Audience<'a>>,
    #[serde(default, borrow, deserialize_with = "present")]
    pub(crate) scope: Option<Text<'a>>,
    #[serde(default, borrow, deserialize_with = "present")]
    pub(crate) client_id: Option<Text<'a>>,
    #[serde(default, rename = "gen", deserialize_with = "present")]
    pub(crate) generation: Option<u32>,
    #[serde(default, deserialize_with = "present")]
    pub(crate) auth_time: Option<NumericDate>,
}

impl Claims<'_> {
    /// The session that the token belongs to; a token without `sid` is a session of its own.
    pub(crate) fn session(&self) -> &str {
        self.sid.as_ref().or(self.jti.as_ref()).map_or("", AsRef::as_ref)
    }
}

/// The members of a header that are read; RFC 7515 section 4.1.
#[derive(Debug, Deserialize)]
pub(crate) struct Header<'a> {
    #[serde(borrow)]
    pub(crate) alg: Text<'a>,
    #[serde(default, borrow, deserialize_with = "present")]
    pub(crate) kid: Option<Text<'a>>,
    #[serde(default, borrow, deserialize_with = "present")]
    pub(crate) typ: Option<Text<'a>>,
    /// No extension is understood, so its mere presence is a reason to refuse.
    #[serde(default, deserialize_with = "present")]
    pub(crate) crit: Option<de::IgnoredAny>,
    /// RFC 7797 section 7 forbids it in a JWT.
    #[serde(default, deserialize_with = "present")]
    pub(crate) b64: Option<de::IgnoredAny>,
}

/// Parses `bytes` as a JSON object in UTF-8 and nothing else.
pub(crate) fn object<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Option<T> {
    let text = std::str::from_utf8(bytes).ok()?;
    // A struct would also be read from an array, member by member.
    if !text.trim_ascii_start().starts_with('{') {
        return None;
    }
    serde_json::from_str(text).ok()
}
