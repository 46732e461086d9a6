//! Values as JSON, both ways, without loss.
//!
//! | value | JSON |
//! |---|---|
//! | nil, bool, string, list | null, true/false, "text", [..] |
//! | int | a number without fraction or exponent |
//! | double | a number with a fraction or exponent; `{"$double": "NaN"}`, `"inf"`, `"-inf"` |
//! | bytes | `{"$bytes": "base64"}` |
//! | map | `{..}`; `{"$map": [[key, value], ..]}` when a key is no string, or begins with `$` |

use std::fmt;

use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use cairn_sdk::{UserKey, Value};
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{self, MapAccess, SeqAccess, Visitor},
    ser::{SerializeMap, SerializeSeq},
};

const BYTES: &str = "$bytes";
const DOUBLE: &str = "$double";
const MAP: &str = "$map";

/// A value that is read from JSON.
#[derive(Clone, Debug, PartialEq)]
pub struct FromJson(pub Value);

/// A value to be written as JSON.
#[derive(Clone, Copy, Debug)]
pub struct ToJson<'a>(pub &'a Value);

/// Bins to be written as a JSON object.
#[derive(Clone, Copy, Debug)]
pub struct BinsToJson<'a>(pub &'a [(String, Value)]);

/// A user key as JSON: text, a number, or `{"$bytes": "base64"}`.
pub fn user_key_to_value(key: UserKey) -> Value {
    match key {
        UserKey::Text(text) => text.into(),
        UserKey::Int(number) => number.into(),
        UserKey::Bytes(bytes) => bytes.into(),
    }
}

/// A user key out of the value that stands for it.
pub fn value_to_user_key(value: Value) -> Result<UserKey, String> {
    match value {
        Value::String(text) => Ok(text.into()),
        Value::Int(number) => Ok(number.into()),
        Value::Bytes(bytes) => Ok(bytes.into()),
        other => Err(format!("a key is text, an int or bytes, not a {}", other.kind())),
    }
}

/// A value as a command line gives it: JSON where the text is JSON, the text itself otherwise.
pub fn parse_argument(text: &str) -> Result<Value, String> {
    match serde_json::from_str::<FromJson>(text) {
        Ok(FromJson(value)) => Ok(value),
        // JSON by its form, but not a value that a bin can have: taking it for text would hide the mistake.
        Err(error) if error.is_data() => Err(error.to_string()),
        Err(_) => Ok(text.into()),
    }
}

impl Serialize for ToJson<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Value::Nil => serializer.serialize_unit(),
            Value::Bool(value) => serializer.serialize_bool(*value),
            Value::Int(value) => serializer.serialize_i64(*value),
            Value::Double(value) if value.is_finite() => serializer.serialize_f64(*value),
            Value::Double(value) => one(serializer, DOUBLE, &value.to_string()),
            Value::String(value) => serializer.serialize_str(value),
            Value::Bytes(value) => one(serializer, BYTES, &BASE64.encode(value)),
            Value::List(values) => {
                let mut seq = serializer.serialize_seq(Some(values.len()))?;
                values.iter().try_for_each(|value| seq.serialize_element(&ToJson(value)))?;
                seq.end()
            }
            Value::Map(pairs) => serialize_map(pairs, serializer),
        }
    }
}

fn one<S: Serializer>(serializer: S, key: &str, value: &impl Serialize) -> Result<S::Ok, S::Error> {
    let mut map = serializer.serialize_map(Some(1))?;
    map.serialize_entry(key, value)?;
    map.end()
}

fn serialize_map<S: Serializer>(
    pairs: &[(Value, Value)],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let plain = pairs.iter().all(|(key, _)| key.as_str().is_some_and(|key| !key.starts_with('$')));
    if !plain {
        let pairs: Vec<_> = pairs.iter().map(|(key, value)| [ToJson(key), ToJson(value)]).collect();
        return one(serializer, MAP, &pairs);
    }
    let mut map = serializer.serialize_map(Some(pairs.len()))?;
    for (key, value) in pairs {
        map.serialize_entry(key.as_str().unwrap_or_default(), &ToJson(value))?;
    }
    map.end()
}

impl Serialize for BinsToJson<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, value)| (name, ToJson(value))))
    }
}

impl<'de> Deserialize<'de> for FromJson {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ValueVisitor).map(Self)
    }
}

struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a bin's value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Nil)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Value, E> {
        let fits = i64::try_from(value);
        fits.map(Value::Int)
            .map_err(|_| E::custom(format!("{value} does not fit a signed 64-bit number")))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        while let Some(FromJson(value)) = seq.next_element()? {
            values.push(value);
        }
        Ok(Value::List(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut pairs = Vec::new();
        while let Some((key, FromJson(value))) = map.next_entry::<String, FromJson>()? {
            pairs.push((key, value));
        }
        match &mut pairs[..] {
            [(key, value)] if key.starts_with('$') => {
                special(key, std::mem::take(value)).map_err(de::Error::custom)
            }
            _ => {
                Ok(Value::Map(pairs.into_iter().map(|(key, value)| (key.into(), value)).collect()))
            }
        }
    }
}

/// The value behind an object with one key that begins with `$`.
fn special(key: &str, value: Value) -> Result<Value, String> {
    match (key, value) {
        (BYTES, Value::String(text)) => {
            let bytes = BASE64.decode(text).map_err(|error| format!("{BYTES}: {error}"))?;
            Ok(bytes.into())
        }
        (DOUBLE, Value::String(text)) => {
            text.parse::<f64>().map(Value::Double).map_err(|error| format!("{DOUBLE}: {error}"))
        }
        (MAP, Value::List(pairs)) => {
            pairs.into_iter().map(pair).collect::<Result<_, _>>().map(Value::Map)
        }
        (key, _) => {
            Err(format!("{key:?} is none of {BYTES}, {DOUBLE} and {MAP}, or holds the wrong kind"))
        }
    }
}

fn pair(value: Value) -> Result<(Value, Value), String> {
    match value {
        Value::List(pair) => {
            let [key, value]: [Value; 2] =
                pair.try_into().map_err(|_| format!("{MAP}: a pair has two parts"))?;
            Ok((key, value))
        }
        other => Err(format!("{MAP}: a pair is a list, not a {}", other.kind())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn back(value: &Value) -> Value {
        let text = serde_json::to_string(&ToJson(value)).unwrap();
        serde_json::from_str::<FromJson>(&text).unwrap_or_else(|e| panic!("{text}: {e}")).0
    }

    /// A scan written to a file and loaded again must give the same records: every value comes back as it was.
    #[test]
    fn every_value_survives_json() {
        let dollar = vec![(Value::from("$bytes"), Value::from("not base64"))];
        let numbers =
            vec![(Value::from(1), Value::from("one")), (vec![0u8, 255].into(), Value::Nil)];
        let plain = vec![(Value::from("z"), 1.into()), (Value::from("a"), Value::List(vec![]))];
        for value in [
            Value::Nil,
            true.into(),
            i64::MIN.into(),
            i64::MAX.into(),
            1.0.into(),
            0.1.into(),
            (-0.0).into(),
            f64::MIN_POSITIVE.into(),
            1e300.into(),
            f64::INFINITY.into(),
            f64::NEG_INFINITY.into(),
            "é\n\"\u{0}".into(),
            vec![0u8, 1, 255].into(),
            dollar.into(),
            numbers.into(),
            plain.into(),
            Value::Map(vec![]),
        ] {
            assert_eq!(back(&value), value);
        }
        assert!(back(&f64::NAN.into()).as_double().unwrap().is_nan());
    }

    /// What people type is what they get: JSON where it is JSON, text otherwise, and no silent loss.
    #[test]
    fn arguments_are_json_or_text() {
        let value = |text| parse_argument(text).unwrap();
        assert_eq!(value("42"), 42.into());
        assert_eq!(value("4.0"), 4.0.into());
        assert_eq!(value("\"42\""), "42".into());
        assert_eq!(value("hello world"), "hello world".into());
        assert_eq!(value("nul"), "nul".into());
        assert_eq!(value("null"), Value::Nil);
        assert_eq!(value("[1, \"a\"]"), Value::List(vec![1.into(), "a".into()]));
        assert_eq!(value(r#"{"$bytes": "AP8="}"#), vec![0u8, 255].into());
        assert_eq!(value(""), "".into());
        for text in ["9223372036854775808", r#"{"$bytes": "?"}"#, r#"{"$time": 1}"#] {
            assert!(parse_argument(text).is_err(), "{text}");
        }
    }
}
