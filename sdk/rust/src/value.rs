//! The value of a bin, and its way to and from the wire.

use bytes::Bytes;
use cairn_proto::v1::{self as proto, value::Kind};

/// Bytes values shorter than this are copied out of the message that brought them, so that keeping a small value
/// never keeps a large message in memory.
const SHARE_MIN: usize = 64 * 1024;

/// A bin's value.
///
/// ```
/// use cairn_sdk::Value;
///
/// let list = Value::from(vec![Value::from("a"), 1.into(), true.into()]);
/// assert_eq!(list.as_list().map(<[Value]>::len), Some(3));
/// assert_eq!(Value::from(7).as_int(), Some(7));
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Value {
    /// No value: writing it to a bin removes the bin. Inside a list or a map it is a value like others.
    #[default]
    Nil,
    /// True or false.
    Bool(bool),
    /// A signed 64-bit number.
    Int(i64),
    /// A double.
    Double(f64),
    /// Text.
    String(String),
    /// Bytes.
    Bytes(Bytes),
    /// Values in order. Lists and maps nest at most 32 deep.
    List(Vec<Value>),
    /// Pairs in the order they were written. Keys are strings, ints or bytes, each at most once.
    Map(Vec<(Value, Value)>),
}

impl Value {
    /// What kind of value this is, as users name it.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Nil => "nil",
            Self::Bool(_) => "bool",
            Self::Int(_) => "int",
            Self::Double(_) => "double",
            Self::String(_) => "string",
            Self::Bytes(_) => "bytes",
            Self::List(_) => "list",
            Self::Map(_) => "map",
        }
    }

    /// Whether this is [`Value::Nil`].
    pub fn is_nil(&self) -> bool {
        matches!(self, Self::Nil)
    }

    /// The bool, if it is one.
    pub fn as_bool(&self) -> Option<bool> {
        if let Self::Bool(value) = self { Some(*value) } else { None }
    }

    /// The int, if it is one.
    pub fn as_int(&self) -> Option<i64> {
        if let Self::Int(value) = self { Some(*value) } else { None }
    }

    /// The double, if it is one.
    pub fn as_double(&self) -> Option<f64> {
        if let Self::Double(value) = self { Some(*value) } else { None }
    }

    /// The text, if it is a string.
    pub fn as_str(&self) -> Option<&str> {
        if let Self::String(value) = self { Some(value) } else { None }
    }

    /// The bytes, if it is bytes.
    pub fn as_bytes(&self) -> Option<&[u8]> {
        if let Self::Bytes(value) = self { Some(value) } else { None }
    }

    /// The values, if it is a list.
    pub fn as_list(&self) -> Option<&[Self]> {
        if let Self::List(values) = self { Some(values) } else { None }
    }

    /// The pairs, if it is a map.
    pub fn as_map(&self) -> Option<&[(Self, Self)]> {
        if let Self::Map(pairs) = self { Some(pairs) } else { None }
    }

    pub(crate) fn into_proto(self) -> proto::Value {
        let kind = match self {
            Self::Nil => None,
            Self::Bool(value) => Some(Kind::Bool(value)),
            Self::Int(value) => Some(Kind::Int(value)),
            Self::Double(value) => Some(Kind::Double(value)),
            Self::String(value) => Some(Kind::String(value)),
            Self::Bytes(value) => Some(Kind::Bytes(value.into())),
            Self::List(values) => Some(Kind::List(proto::List {
                values: values.into_iter().map(Self::into_proto).collect(),
            })),
            Self::Map(pairs) => Some(Kind::Map(proto::Map {
                entries: pairs.into_iter().map(pair_into_proto).collect(),
            })),
        };
        proto::Value { kind }
    }

    pub(crate) fn from_proto(value: Option<proto::Value>) -> Self {
        match value.and_then(|value| value.kind) {
            None => Self::Nil,
            Some(Kind::Bool(value)) => Self::Bool(value),
            Some(Kind::Int(value)) => Self::Int(value),
            Some(Kind::Double(value)) => Self::Double(value),
            Some(Kind::String(value)) => Self::String(value),
            Some(Kind::Bytes(value)) if value.len() < SHARE_MIN => {
                Self::Bytes(Bytes::copy_from_slice(&value))
            }
            Some(Kind::Bytes(value)) => Self::Bytes(value.into()),
            Some(Kind::List(list)) => {
                Self::List(list.values.into_iter().map(|v| Self::from_proto(Some(v))).collect())
            }
            Some(Kind::Map(map)) => Self::Map(
                map.entries
                    .into_iter()
                    .map(|entry| (Self::from_proto(entry.key), Self::from_proto(entry.value)))
                    .collect(),
            ),
        }
    }
}

fn pair_into_proto((key, value): (Value, Value)) -> proto::MapEntry {
    proto::MapEntry { key: Some(key.into_proto()), value: Some(value.into_proto()) }
}

macro_rules! value_from {
    ($($from:ty => |$value:ident| $to:expr;)*) => {$(
        impl From<$from> for Value {
            fn from($value: $from) -> Self {
                $to
            }
        }
    )*};
}

value_from! {
    bool => |value| Self::Bool(value);
    i64 => |value| Self::Int(value);
    i32 => |value| Self::Int(value.into());
    u32 => |value| Self::Int(value.into());
    u16 => |value| Self::Int(value.into());
    f64 => |value| Self::Double(value);
    f32 => |value| Self::Double(value.into());
    &str => |value| Self::String(value.into());
    String => |value| Self::String(value);
    Vec<u8> => |value| Self::Bytes(value.into());
    &[u8] => |value| Self::Bytes(Bytes::copy_from_slice(value));
    Bytes => |value| Self::Bytes(value);
    Vec<Value> => |value| Self::List(value);
    Vec<(Value, Value)> => |value| Self::Map(value);
}

impl<T: Into<Self>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Nil, Into::into)
    }
}

/// Bins of several kinds for [`Client::put`](crate::Client::put): a `Vec<(String, Value)>`.
///
/// ```
/// let bins = cairn_sdk::bins! { "name" => "Ada", "age" => 36, "score" => 0.5 };
/// assert_eq!(bins[1], ("age".to_string(), cairn_sdk::Value::Int(36)));
/// ```
#[macro_export]
macro_rules! bins {
    ($($name:expr => $value:expr),* $(,)?) => {
        vec![$((::std::string::String::from($name), $crate::Value::from($value))),*]
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A value that changes on its way to the server and back is a value lost.
    #[test]
    fn every_kind_survives_the_wire() {
        let map =
            vec![(Value::from("k"), Value::Nil), (Value::from(-1), Value::from(vec![1u8, 0]))];
        let value = Value::List(vec![
            Value::Nil,
            true.into(),
            i64::MIN.into(),
            0.1.into(),
            "é".into(),
            vec![0u8; SHARE_MIN].into(),
            map.into(),
            Value::List(vec![]),
        ]);
        let bytes = prost::Message::encode_to_vec(&value.clone().into_proto());
        let back = <proto::Value as prost::Message>::decode(&bytes[..]).unwrap();
        assert_eq!(Value::from_proto(Some(back)), value);
    }
}
