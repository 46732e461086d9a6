//! From the engine to protobuf: straight from the encoded record, without an engine value in between.

use std::collections::HashSet;

use cairn_engine::{
    Metadata, Record,
    format::{Malformed, ValueRef},
    model::{Key, UserKey, Value, check_bin_name, limits::BINS_MAX},
};
use cairn_proto::v1::{self, value::Kind};

use crate::codes::Problem;

/// Which bins a reader asked for.
#[derive(Debug)]
pub enum Wanted {
    /// Every bin.
    All,
    /// Those named.
    Few(Vec<String>),
    /// The same, when they are too many to be compared one by one.
    Many(HashSet<String>),
    /// None: metadata only.
    None,
}

/// Names up to which comparing with each is fastest.
const FEW: usize = 16;

impl Wanted {
    /// The bins of this list, or all when it is empty. Refused when there are more than a record may have, or a name that no bin
    /// can have.
    pub fn named(names: Vec<String>) -> Result<Self, Problem> {
        let (count, max) = (names.len(), BINS_MAX);
        if count > max {
            let what = format!("{count} bins; at most {max} may be named");
            return Err(Problem::Invalid(what.into()));
        }
        names.iter().try_for_each(|name| check_bin_name(name))?;
        Ok(match count {
            0 => Self::All,
            1..=FEW => Self::Few(names),
            _ => Self::Many(names.into_iter().collect()),
        })
    }

    /// How many bins of a record with so many may be wanted.
    fn count(&self, stored: usize) -> usize {
        match self {
            Self::All => stored,
            Self::Few(names) => names.len().min(stored),
            Self::Many(names) => names.len().min(stored),
            Self::None => 0,
        }
    }

    fn wants(&self, name: &str) -> bool {
        match self {
            Self::All => true,
            Self::Few(names) => names.iter().any(|wanted| wanted == name),
            Self::Many(names) => names.contains(name),
            Self::None => false,
        }
    }
}

/// The engine has checked the record's checksum, so bytes that do not parse are a fault of the program that wrote them.
impl From<Malformed> for Problem {
    fn from(_: Malformed) -> Self {
        Self::Internal("a record with a valid checksum does not parse".into())
    }
}

/// Metadata.
pub fn metadata(metadata: Metadata) -> v1::Metadata {
    v1::Metadata { generation: metadata.generation.into(), void_time_ms: metadata.void_time.0 }
}

/// A record, without its key.
pub fn record(record: &Record, wanted: &Wanted) -> Result<v1::Record, Malformed> {
    let mut bins = Vec::new();
    if !matches!(wanted, Wanted::None) {
        let stored = record.bins()?;
        bins.reserve_exact(wanted.count(stored.len()));
        for bin in stored {
            let (name, value) = bin?;
            if wanted.wants(name) {
                bins.push(v1::Bin { name: name.to_owned(), value: Some(value_ref(value)?) });
            }
        }
    }
    Ok(v1::Record { key: None, metadata: Some(metadata(record.metadata())), bins })
}

/// A record with its key, as a scan sends it.
pub fn scanned(namespace: &str, stored: &Record, wanted: &Wanted) -> Result<v1::Record, Malformed> {
    Ok(v1::Record { key: Some(key(namespace, &stored.key()?)), ..record(stored, wanted)? })
}

fn key(namespace: &str, key: &Key) -> v1::Key {
    use v1::key::UserKey as Wire;
    let user = match key.user() {
        UserKey::Str(text) => Wire::Text(text.to_string()),
        UserKey::Int(number) => Wire::Number(*number),
        UserKey::Bytes(bytes) => Wire::Binary(bytes.clone()),
    };
    v1::Key { namespace: namespace.into(), set: key.set().into(), user_key: Some(user) }
}

fn value_ref(value: ValueRef<'_>) -> Result<v1::Value, Malformed> {
    let kind = match value {
        ValueRef::Nil => None,
        ValueRef::Bool(b) => Some(Kind::Bool(b)),
        ValueRef::Int(i) => Some(Kind::Int(i)),
        ValueRef::Double(d) => Some(Kind::Double(d)),
        ValueRef::Str(s) => Some(Kind::String(s.to_owned())),
        ValueRef::Bytes(b) => Some(Kind::Bytes(b.to_vec())),
        ValueRef::List(items) => {
            let values = items.map(|item| value_ref(item?)).collect::<Result<_, _>>()?;
            Some(Kind::List(v1::List { values }))
        }
        ValueRef::Map(mut items) => {
            let mut entries = Vec::with_capacity((items.len() / 2) as usize);
            while let Some(key) = items.next() {
                let value = items.next().ok_or(Malformed)??;
                let (key, value) = (Some(value_ref(key?)?), Some(value_ref(value)?));
                entries.push(v1::MapEntry { key, value });
            }
            Some(Kind::Map(v1::Map { entries }))
        }
    };
    Ok(v1::Value { kind })
}

/// The bins that `operate` read.
pub fn bins(bins: Vec<(Box<str>, Value)>) -> Vec<v1::Bin> {
    let bin =
        |(name, value): (Box<str>, Value)| v1::Bin { name: name.into(), value: Some(owned(value)) };
    bins.into_iter().map(bin).collect()
}

fn owned(value: Value) -> v1::Value {
    let kind = match value {
        Value::Nil => None,
        Value::Bool(b) => Some(Kind::Bool(b)),
        Value::Int(i) => Some(Kind::Int(i)),
        Value::Double(d) => Some(Kind::Double(d)),
        Value::Str(s) => Some(Kind::String(s.into())),
        Value::Bytes(b) => Some(Kind::Bytes(b)),
        Value::List(values) => {
            Some(Kind::List(v1::List { values: values.into_iter().map(owned).collect() }))
        }
        Value::Map(pairs) => {
            let entry =
                |(key, value)| v1::MapEntry { key: Some(owned(key)), value: Some(owned(value)) };
            Some(Kind::Map(v1::Map { entries: pairs.into_iter().map(entry).collect() }))
        }
    };
    v1::Value { kind }
}
