//! From the engine to protobuf: straight from the encoded record to the bytes that are sent, without objects in between.
//!
//! Lengths stand before what they measure, so a record is looked through twice: once when it is read, for its length and to see
//! that all of it parses, and once when it is written.

use std::collections::HashSet;

use bytes::BufMut;
use cairn_engine::{
    Metadata, Record,
    format::Malformed,
    model::{Key, UserKey, Value, check_bin_name, limits::BINS_MAX},
};
use cairn_proto::v1::{self, value::Kind};
use prost::Message;

use super::{
    value::{put_value, value_len},
    wire::{number_len, put_bytes, put_head, put_number, sized_len},
};
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

/// What an operation is answered with, when it succeeded.
#[derive(Debug)]
pub enum Answer {
    /// A record that was read.
    Found(Found),
    /// What the other operations answer with, by the field of [`v1::Response`] it is.
    Done(u8, Option<Metadata>),
    /// What an operate read and left.
    Operated(v1::OperateResponse),
}

/// Fields of [`v1::Response`].
const FAILURE: u8 = 1;
const GET: u8 = 2;
/// The answer of a put.
pub const PUT: u8 = 3;
/// The answer of a delete.
pub const DELETE: u8 = 4;
/// The answer of a touch.
pub const TOUCH: u8 = 5;
/// The answer of an exists.
pub const EXISTS: u8 = 6;
const OPERATE: u8 = 7;

impl Answer {
    fn field(&self) -> u8 {
        match self {
            Self::Found(_) => GET,
            Self::Done(field, _) => *field,
            Self::Operated(_) => OPERATE,
        }
    }

    /// Bytes of the answer as the message of its unary call.
    pub fn len(&self) -> usize {
        match self {
            Self::Found(found) => sized_len(found.len),
            Self::Done(_, metadata) => metadata.map_or(0, |found| sized_len(metadata_len(found))),
            Self::Operated(operated) => operated.encoded_len(),
        }
    }

    /// Writes the answer as the message of its unary call.
    pub fn put(&self, out: &mut impl BufMut) {
        match self {
            Self::Found(found) => {
                put_head(1, found.len, out);
                put_record(&found.record, &found.wanted, out);
            }
            Self::Done(_, metadata) => {
                metadata.iter().for_each(|found| put_metadata(1, *found, out))
            }
            Self::Operated(operated) => operated.encode_raw(out),
        }
    }
}

/// What came of a request: one [`v1::Response`].
pub type Outcome = Result<Answer, Problem>;

/// Writes a [`v1::Response`], as it stands in a batch or a pipeline's answer; `front` is called before, with its length.
pub fn put_outcome(outcome: &Outcome, out: &mut Vec<u8>, front: impl FnOnce(usize, &mut Vec<u8>)) {
    match outcome {
        Ok(answer) => {
            let len = answer.len();
            out.reserve(len + ROOM);
            front(sized_len(len), out);
            put_head(answer.field(), len, out);
            answer.put(out);
        }
        Err(problem) => {
            let failure = problem.failure().encode_to_vec();
            front(sized_len(failure.len()), out);
            put_bytes(FAILURE, &failure, out);
        }
    }
}

/// Room for what stands around an answer, at most.
const ROOM: usize = 64;

/// Bytes of [`v1::Metadata`].
fn metadata_len(metadata: Metadata) -> usize {
    let number = |number| if number == 0 { 0 } else { number_len(number) };
    number(metadata.generation.into()) + number(metadata.void_time.0)
}

/// Writes [`v1::Metadata`] as field `field`.
fn put_metadata(field: u8, metadata: Metadata, out: &mut impl BufMut) {
    put_head(field, metadata_len(metadata), out);
    for (field, number) in [(1, metadata.generation.into()), (2, metadata.void_time.0)] {
        if number != 0 {
            put_number(field, number, out);
        }
    }
}

/// Metadata.
pub fn metadata(metadata: Metadata) -> v1::Metadata {
    v1::Metadata { generation: metadata.generation.into(), void_time_ms: metadata.void_time.0 }
}

/// A record and the bins wanted of it, which all parse. It holds the memory the record was read into, so write it soon.
#[derive(Debug)]
pub struct Found {
    record: Record,
    wanted: Wanted,
    /// Bytes as a [`v1::Record`].
    len: usize,
}

impl Found {
    /// Looks through the record once, for its length.
    pub fn new(record: Record, wanted: Wanted) -> Result<Self, Malformed> {
        let len = record_len(&record, &wanted)?;
        Ok(Self { record, wanted, len })
    }
}

/// Bytes of a [`v1::Record`] without its key.
fn record_len(record: &Record, wanted: &Wanted) -> Result<usize, Malformed> {
    let mut len = sized_len(metadata_len(record.metadata()));
    if !matches!(wanted, Wanted::None) {
        for bin in record.bins()? {
            let (name, value) = bin?;
            if wanted.wants(name) {
                len += sized_len(sized_len(name.len()) + sized_len(value_len(value)?));
            }
        }
    }
    Ok(len)
}

/// Writes a [`v1::Record`] without its key. Its length was taken before, so that all of it parses and nothing is left out.
fn put_record(record: &Record, wanted: &Wanted, out: &mut impl BufMut) {
    put_metadata(2, record.metadata(), out);
    if matches!(wanted, Wanted::None) {
        return;
    }
    for (name, value) in record.bins().into_iter().flatten().flatten() {
        if wanted.wants(name) {
            let len = value_len(value).unwrap_or(0);
            put_head(3, sized_len(name.len()) + sized_len(len), out);
            put_bytes(1, name.as_bytes(), out);
            put_head(2, len, out);
            put_value(value, out);
        }
    }
}

/// Writes a record with its key, as a [`v1::ScanResponse`] holds it. Returns its bytes.
pub fn put_scanned(
    namespace: &str,
    record: &Record,
    wanted: &Wanted,
    out: &mut Vec<u8>,
) -> Result<usize, Malformed> {
    let key = key(namespace, &record.key()?);
    let key_len = key.encoded_len();
    let len = sized_len(key_len) + record_len(record, wanted)?;
    out.reserve(sized_len(len));
    put_head(1, len, out);
    put_head(1, key_len, out);
    key.encode_raw(out);
    put_record(record, wanted, out);
    Ok(sized_len(len))
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
