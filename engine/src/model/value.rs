//! The value of a bin.

use super::limits::{BIN_NAME_MAX, NESTING_MAX};

/// A bin's value.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// No value: writing it to a bin removes the bin. Inside a list or a map it is a value like others.
    Nil,
    /// True or false.
    Bool(bool),
    /// A signed 64-bit number.
    Int(i64),
    /// An IEEE 754 double; every bit pattern is kept.
    Double(f64),
    /// UTF-8 text.
    Str(Box<str>),
    /// Bytes.
    Bytes(Vec<u8>),
    /// Values in order.
    List(Vec<Value>),
    /// Pairs in the order they were written; keys are text, numbers or bytes, each at most once.
    Map(Vec<(Value, Value)>),
}

/// Why a value or a bin's name was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidValue {
    /// Lists and maps in each other deeper than [`NESTING_MAX`].
    #[error("lists and maps are nested deeper than {NESTING_MAX}")]
    TooDeep,
    /// A map's key is neither text, a number nor bytes.
    #[error("a map key must be a string, an integer or bytes")]
    MapKeyKind,
    /// A map has the same key twice.
    #[error("a map has the same key twice")]
    MapKeyTwice,
    /// A bin's name is empty.
    #[error("a bin name is empty")]
    BinNameEmpty,
    /// A bin's name has more than [`BIN_NAME_MAX`] bytes.
    #[error("a bin name has {0} bytes; at most {BIN_NAME_MAX} are allowed")]
    BinNameTooLong(usize),
    /// A bin's name has a control character.
    #[error("a bin name has a control character")]
    BinNameControl,
    /// The same bin is written twice.
    #[error("a bin is named twice")]
    BinTwice,
    /// More bins than [`super::limits::BINS_MAX`].
    #[error("the record would have {0} bins; at most {max} are allowed", max = super::limits::BINS_MAX)]
    TooManyBins(usize),
}

/// Whether `name` can be the name of a bin: 1 to [`BIN_NAME_MAX`] bytes, no control character.
pub fn check_bin_name(name: &str) -> Result<(), InvalidValue> {
    match name.len() {
        0 => Err(InvalidValue::BinNameEmpty),
        1..=BIN_NAME_MAX if name.chars().any(char::is_control) => Err(InvalidValue::BinNameControl),
        1..=BIN_NAME_MAX => Ok(()),
        len => Err(InvalidValue::BinNameTooLong(len)),
    }
}

impl Value {
    /// What kind of value this is, as users name it.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Nil => "nil",
            Self::Bool(_) => "bool",
            Self::Int(_) => "int",
            Self::Double(_) => "double",
            Self::Str(_) => "string",
            Self::Bytes(_) => "bytes",
            Self::List(_) => "list",
            Self::Map(_) => "map",
        }
    }

    /// Whether nesting and map keys are within the limits.
    pub fn check(&self) -> Result<(), InvalidValue> {
        self.check_at(0)
    }

    fn check_at(&self, depth: usize) -> Result<(), InvalidValue> {
        match self {
            Self::List(_) | Self::Map(_) if depth >= NESTING_MAX => Err(InvalidValue::TooDeep),
            Self::List(items) => items.iter().try_for_each(|item| item.check_at(depth + 1)),
            Self::Map(pairs) => {
                check_map_keys(pairs)?;
                pairs.iter().try_for_each(|(_, value)| value.check_at(depth + 1))
            }
            _ => Ok(()),
        }
    }
}

fn check_map_keys(pairs: &[(Value, Value)]) -> Result<(), InvalidValue> {
    let mut seen = std::collections::HashSet::with_capacity(pairs.len());
    for (key, _) in pairs {
        let fresh = match key {
            Value::Str(text) => seen.insert((0, text.as_bytes())),
            Value::Bytes(bytes) => seen.insert((1, bytes)),
            // A number's own bytes cannot be borrowed for the set, so numbers are checked by a second pass.
            Value::Int(_) => true,
            _ => return Err(InvalidValue::MapKeyKind),
        };
        if !fresh {
            return Err(InvalidValue::MapKeyTwice);
        }
    }
    let mut numbers = std::collections::HashSet::new();
    let twice = pairs.iter().any(|(key, _)| matches!(key, Value::Int(n) if !numbers.insert(*n)));
    if twice { Err(InvalidValue::MapKeyTwice) } else { Ok(()) }
}
