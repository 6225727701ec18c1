//! Is this text one JSON object, without doubt about what it says?

use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// A JSON value in which no object names a member twice, at any depth.
struct Unique(Value);

/// Reads one JSON object in UTF-8 whose member names are unique (the stricter reading of RFC 7515
/// section 4 and RFC 7519 section 4). The error is a sentence.
pub fn object(bytes: &[u8]) -> Result<Map<String, Value>, String> {
    let text = std::str::from_utf8(bytes).map_err(|_| "not UTF-8".to_owned())?;
    match serde_json::from_str::<Unique>(text) {
        Ok(Unique(Value::Object(map))) => Ok(map),
        Ok(_) => Err("not a JSON object".to_owned()),
        Err(e) => Err(e.to_string()),
    }
}

struct Strict;

impl<'de> Visitor<'de> for Strict {
    type Value = Unique;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a JSON value")
    }
    fn visit_unit<E>(self) -> Result<Unique, E> {
        Ok(Unique(Value::Null))
    }
    fn visit_bool<E>(self, v: bool) -> Result<Unique, E> {
        Ok(Unique(Value::Bool(v)))
    }
    fn visit_i64<E>(self, v: i64) -> Result<Unique, E> {
        Ok(Unique(v.into()))
    }
    fn visit_u64<E>(self, v: u64) -> Result<Unique, E> {
        Ok(Unique(v.into()))
    }
    fn visit_f64<E>(self, v: f64) -> Result<Unique, E> {
        Ok(Unique(Number::from_f64(v).map_or(Value::Null, Value::Number)))
    }
    fn visit_str<E>(self, v: &str) -> Result<Unique, E> {
        Ok(Unique(Value::String(v.to_owned())))
    }
    fn visit_string<E>(self, v: String) -> Result<Unique, E> {
        Ok(Unique(Value::String(v)))
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Unique, A::Error> {
        let mut out = Vec::new();
        while let Some(Unique(value)) = seq.next_element()? {
            out.push(value);
        }
        Ok(Unique(Value::Array(out)))
    }
    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Unique, A::Error> {
        let mut out = Map::new();
        while let Some(name) = access.next_key::<String>()? {
            if out.contains_key(&name) {
                return Err(de::Error::custom(format_args!("member {name:?} occurs twice")));
            }
            let Unique(value) = access.next_value()?;
            out.insert(name, value);
        }
        Ok(Unique(Value::Object(out)))
    }
}

impl<'de> Deserialize<'de> for Unique {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Unique, D::Error> {
        deserializer.deserialize_any(Strict)
    }
}

#[cfg(test)]
mod tests {
    use super::object;

    #[test]
    fn a_member_may_occur_once_at_any_depth() {
        assert!(object(br#"{"a":1,"b":{"c":[1,null,true,-2,1.5,"x"]}}"#).is_ok());
        assert!(object(br#"{"a":1,"a":1}"#).unwrap_err().contains("twice"));
        assert!(object(br#"{"a":[{"b":1,"b":2}]}"#).is_err());
        // Escapes do not hide a name.
        assert!(object(br#"{"exp":1,"\u0065xp":2}"#).is_err());
    }

    #[test]
    fn only_one_object_in_utf8_will_do() {
        for bad in [&b""[..], b"[]", b"1", b"\"x\"", b"null", b"{} {}", b"\xef\xbb\xbf{}", b"{\"a\":\"\xff\"}"] {
            assert!(object(bad).is_err(), "{bad:?}");
        }
        assert!(object(" {} \n".as_bytes()).is_ok());
    }
}
