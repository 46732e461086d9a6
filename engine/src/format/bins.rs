//! The body of a record: its bins, encoded.
//!
//! ```text
//! body  := count:u16  bin*
//! bin   := name-length:u8  name  value
//! value := 0 | 1 | 2                        nil, false, true
//!        | 3 zigzag-varint                  int
//!        | 4 8 bytes little-endian          double
//!        | 5 length:varint bytes            string (UTF-8)
//!        | 6 length:varint bytes            bytes
//!        | 7 length:varint count:varint value*            list; length counts the bytes behind it
//!        | 8 length:varint count:varint (value value)*    map
//! varint := 7 bits a byte, low first, the top bit says that more follow; at most 10 bytes
//! ```
//!
//! Reading borrows from the encoded bytes and never trusts them: whatever does not fit is [`Malformed`], never a panic.

use super::wire::{put_varint, take_varint, unzigzag, zigzag};
use crate::model::{InvalidValue, Value, check_bin_name, limits};

/// The encoded bytes do not follow the grammar.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the encoded bins are malformed")]
pub struct Malformed;

/// A bin's value, borrowed from an encoded body.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum ValueRef<'a> {
    /// No value; only inside lists and maps.
    Nil,
    /// True or false.
    Bool(bool),
    /// A signed 64-bit number.
    Int(i64),
    /// A double.
    Double(f64),
    /// Text.
    Str(&'a str),
    /// Bytes.
    Bytes(&'a [u8]),
    /// Values in order.
    List(Items<'a>),
    /// Keys and values in turn: twice as many items as pairs.
    Map(Items<'a>),
}

/// The values of a list, or the keys and values of a map in turn.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Items<'a> {
    bytes: &'a [u8],
    left: u64,
}

impl Items<'_> {
    /// How many values are left to come.
    pub fn len(&self) -> u64 {
        self.left
    }

    /// Whether no value is left.
    pub fn is_empty(&self) -> bool {
        self.left == 0
    }
}

impl<'a> Iterator for Items<'a> {
    type Item = Result<ValueRef<'a>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        let value = take_value(&mut self.bytes);
        if value.is_err() {
            self.left = 0;
        }
        Some(value)
    }
}

impl ValueRef<'_> {
    /// An owned copy; fails when the bytes are malformed or nested too deep.
    pub fn to_value(self) -> Result<Value, Malformed> {
        self.to_value_at(0)
    }

    fn to_value_at(self, depth: usize) -> Result<Value, Malformed> {
        if depth > limits::NESTING_MAX {
            return Err(Malformed);
        }
        Ok(match self {
            Self::Nil => Value::Nil,
            Self::Bool(b) => Value::Bool(b),
            Self::Int(i) => Value::Int(i),
            Self::Double(d) => Value::Double(d),
            Self::Str(s) => Value::Str(s.into()),
            Self::Bytes(b) => Value::Bytes(b.to_vec()),
            Self::List(items) => {
                Value::List(items.map(|v| v?.to_value_at(depth + 1)).collect::<Result<_, _>>()?)
            }
            Self::Map(mut items) => {
                let mut pairs = Vec::new();
                while let Some(key) = items.next() {
                    let value = items.next().ok_or(Malformed)??;
                    pairs.push((key?.to_value_at(depth + 1)?, value.to_value_at(depth + 1)?));
                }
                Value::Map(pairs)
            }
        })
    }
}

/// The bins of an encoded body, in the order they were written.
#[derive(Clone, Debug)]
pub struct Bins<'a> {
    bytes: &'a [u8],
    left: u16,
}

impl<'a> Bins<'a> {
    /// The bins of `body`.
    pub fn new(body: &'a [u8]) -> Result<Self, Malformed> {
        let (count, bytes) = body.split_first_chunk::<2>().ok_or(Malformed)?;
        Ok(Self { bytes, left: u16::from_le_bytes(*count) })
    }

    /// How many bins are left to come.
    pub fn len(&self) -> usize {
        usize::from(self.left)
    }

    /// Whether no bin is left.
    pub fn is_empty(&self) -> bool {
        self.left == 0
    }
}

impl<'a> Iterator for Bins<'a> {
    type Item = Result<(&'a str, ValueRef<'a>), Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        let bin = take_bin(&mut self.bytes);
        if bin.is_err() {
            self.left = 0;
        }
        Some(bin)
    }
}

fn take_bin<'a>(bytes: &mut &'a [u8]) -> Result<(&'a str, ValueRef<'a>), Malformed> {
    let len = usize::from(take(bytes, 1)?[0]);
    let name = std::str::from_utf8(take(bytes, len)?).map_err(|_| Malformed)?;
    Ok((name, take_value(bytes)?))
}

fn take_value<'a>(bytes: &mut &'a [u8]) -> Result<ValueRef<'a>, Malformed> {
    Ok(match take(bytes, 1)?[0] {
        0 => ValueRef::Nil,
        1 => ValueRef::Bool(false),
        2 => ValueRef::Bool(true),
        3 => ValueRef::Int(unzigzag(take_number(bytes)?)),
        4 => {
            let raw = take(bytes, 8)?.try_into().map_err(|_| Malformed)?;
            ValueRef::Double(f64::from_le_bytes(raw))
        }
        5 => ValueRef::Str(std::str::from_utf8(take_sized(bytes)?).map_err(|_| Malformed)?),
        6 => ValueRef::Bytes(take_sized(bytes)?),
        7 => ValueRef::List(take_items(bytes, 1)?),
        8 => ValueRef::Map(take_items(bytes, 2)?),
        _ => return Err(Malformed),
    })
}

fn take_items<'a>(bytes: &mut &'a [u8], values_each: u64) -> Result<Items<'a>, Malformed> {
    let mut inner = take_sized(bytes)?;
    let count = take_number(&mut inner)?;
    // Every value takes a byte at least, so a count from damaged bytes cannot promise more than is there.
    let left =
        count.checked_mul(values_each).filter(|&n| n <= inner.len() as u64).ok_or(Malformed)?;
    Ok(Items { bytes: inner, left })
}

fn take<'a>(bytes: &mut &'a [u8], len: usize) -> Result<&'a [u8], Malformed> {
    let (front, rest) = bytes.split_at_checked(len).ok_or(Malformed)?;
    *bytes = rest;
    Ok(front)
}

fn take_sized<'a>(bytes: &mut &'a [u8]) -> Result<&'a [u8], Malformed> {
    let len = usize::try_from(take_number(bytes)?).map_err(|_| Malformed)?;
    take(bytes, len)
}

fn take_number(bytes: &mut &[u8]) -> Result<u64, Malformed> {
    take_varint(bytes).ok_or(Malformed)
}

/// Writes a record's body, bin by bin.
#[derive(Debug)]
pub struct BodyWriter<'a> {
    out: &'a mut Vec<u8>,
    start: usize,
    count: usize,
}

impl<'a> BodyWriter<'a> {
    /// Starts a body at the end of `out`.
    pub fn new(out: &'a mut Vec<u8>) -> Self {
        let start = out.len();
        out.extend_from_slice(&[0, 0]);
        Self { out, start, count: 0 }
    }

    /// Adds a bin. The caller has checked that the name is not there yet and that the value is not nil.
    pub fn bin(&mut self, name: &str, value: &Value) -> Result<(), InvalidValue> {
        self.name(name)?;
        value.check()?;
        put_value(self.out, value);
        Ok(())
    }

    /// Adds a bin as another body holds it.
    pub fn bin_ref(&mut self, name: &str, value: ValueRef<'_>) -> Result<(), InvalidValue> {
        self.name(name)?;
        put_value_ref(self.out, value);
        Ok(())
    }

    fn name(&mut self, name: &str) -> Result<(), InvalidValue> {
        check_bin_name(name)?;
        self.count += 1;
        self.out.push(name.len() as u8);
        self.out.extend_from_slice(name.as_bytes());
        Ok(())
    }

    /// Completes the body and returns how many bins it has.
    pub fn finish(self) -> Result<usize, InvalidValue> {
        if self.count > limits::BINS_MAX {
            return Err(InvalidValue::TooManyBins(self.count));
        }
        self.out[self.start..self.start + 2].copy_from_slice(&(self.count as u16).to_le_bytes());
        Ok(self.count)
    }
}

fn put_value(out: &mut Vec<u8>, value: &Value) {
    match value {
        Value::Nil => out.push(0),
        Value::Bool(b) => out.push(1 + u8::from(*b)),
        Value::Int(i) => {
            out.push(3);
            put_varint(out, zigzag(*i));
        }
        Value::Double(d) => {
            out.push(4);
            out.extend_from_slice(&d.to_le_bytes());
        }
        Value::Str(s) => put_sized(out, 5, s.as_bytes()),
        Value::Bytes(b) => put_sized(out, 6, b),
        Value::List(items) => put_nested(out, 7, items.len(), |out| {
            items.iter().for_each(|item| put_value(out, item));
        }),
        Value::Map(pairs) => put_nested(out, 8, pairs.len(), |out| {
            for (key, value) in pairs {
                put_value(out, key);
                put_value(out, value);
            }
        }),
    }
}

fn put_value_ref(out: &mut Vec<u8>, value: ValueRef<'_>) {
    let (tag, items, each) = match value {
        ValueRef::Nil => return out.push(0),
        ValueRef::Bool(b) => return out.push(1 + u8::from(b)),
        ValueRef::Int(i) => return put_value(out, &Value::Int(i)),
        ValueRef::Double(d) => return put_value(out, &Value::Double(d)),
        ValueRef::Str(s) => return put_sized(out, 5, s.as_bytes()),
        ValueRef::Bytes(b) => return put_sized(out, 6, b),
        ValueRef::List(items) => (7, items, 1),
        ValueRef::Map(items) => (8, items, 2),
    };
    put_nested(out, tag, (items.left / each) as usize, |out| out.extend_from_slice(items.bytes));
}

fn put_nested(out: &mut Vec<u8>, tag: u8, count: usize, fill: impl FnOnce(&mut Vec<u8>)) {
    out.push(tag);
    let start = out.len();
    put_varint(out, count as u64);
    fill(out);
    // The length stands in front, so that a reader can skip the whole; its own width is known only now.
    let mut length = Vec::with_capacity(5);
    put_varint(&mut length, (out.len() - start) as u64);
    out.splice(start..start, length);
}

fn put_sized(out: &mut Vec<u8>, tag: u8, bytes: &[u8]) {
    out.push(tag);
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Vec<(&'static str, Value)> {
        let map = Value::Map(vec![
            (
                Value::Str("role".into()),
                Value::List(vec![Value::Str("program".into()), Value::Nil]),
            ),
            (Value::Int(-1), Value::Bool(true)),
            (Value::Bytes(vec![0, 255]), Value::Map(vec![])),
        ]);
        vec![
            ("min", Value::Int(i64::MIN)),
            ("max", Value::Int(i64::MAX)),
            ("pi", Value::Double(std::f64::consts::PI)),
            ("no", Value::Bool(false)),
            ("text", Value::Str("é".into())),
            ("raw", Value::Bytes(vec![7; 300])),
            ("map", map),
        ]
    }

    fn encode(bins: &[(&str, Value)]) -> Vec<u8> {
        let mut body = Vec::new();
        let mut writer = BodyWriter::new(&mut body);
        for (name, value) in bins {
            writer.bin(name, value).unwrap();
        }
        writer.finish().unwrap();
        body
    }

    /// What a user wrote is what a user reads, through both ways of writing a bin.
    #[test]
    fn bins_come_back_as_written() {
        let body = encode(&sample());
        let mut copy = Vec::new();
        let mut writer = BodyWriter::new(&mut copy);
        for (bin, (name, value)) in Bins::new(&body).unwrap().zip(sample()) {
            let (got_name, got) = bin.unwrap();
            assert_eq!((got_name, got.to_value().unwrap()), (name, value));
            writer.bin_ref(got_name, got).unwrap();
        }
        writer.finish().unwrap();
        assert_eq!(copy, body);
    }

    /// Damaged bytes that pass for a body must neither panic nor make a reader allocate what is not there.
    #[test]
    fn every_cut_and_every_flipped_bit_is_survived() {
        let body = encode(&sample());
        let read = |bytes: &[u8]| -> Result<usize, Malformed> {
            let mut count = 0;
            for bin in Bins::new(bytes)? {
                bin?.1.to_value()?;
                count += 1;
            }
            Ok(count)
        };
        for len in 0..body.len() {
            assert!(read(&body[..len]).is_err(), "cut at {len}");
        }
        for bit in 0..body.len() * 8 {
            let mut bad = body.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            let _ = read(&bad);
        }
    }
}
