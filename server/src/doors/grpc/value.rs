//! Values from an encoded record to the bytes of a [`v1::Value`](cairn_proto::v1::Value).

use bytes::BufMut;
use cairn_engine::format::{Items, Malformed, ValueRef};

use super::wire::{number_len, put_bytes, put_head, put_number, sized_len, zigzag};

/// Fields of [`v1::Value`](cairn_proto::v1::Value).
mod value_field {
    pub const BOOL: u8 = 1;
    pub const INT: u8 = 2;
    pub const DOUBLE: u8 = 3;
    pub const STRING: u8 = 4;
    pub const BYTES: u8 = 5;
    pub const LIST: u8 = 6;
    pub const MAP: u8 = 7;
}

/// Bytes of a value.
pub fn value_len(value: ValueRef<'_>) -> Result<usize, Malformed> {
    Ok(match value {
        ValueRef::Nil => 0,
        ValueRef::Bool(_) => 2,
        ValueRef::Int(i) => number_len(zigzag(i)),
        ValueRef::Double(_) => 9,
        ValueRef::Str(s) => sized_len(s.len()),
        ValueRef::Bytes(b) => sized_len(b.len()),
        ValueRef::List(items) => sized_len(list_len(items)?),
        ValueRef::Map(items) => sized_len(map_len(items)?),
    })
}

fn list_len(mut items: Items<'_>) -> Result<usize, Malformed> {
    items.try_fold(0, |sum, item| Ok(sum + sized_len(value_len(item?)?)))
}

fn map_len(mut items: Items<'_>) -> Result<usize, Malformed> {
    let mut len = 0;
    while let Some(key) = items.next() {
        len += sized_len(pair_len(key?, items.next().ok_or(Malformed)??)?);
    }
    Ok(len)
}

fn pair_len(key: ValueRef<'_>, value: ValueRef<'_>) -> Result<usize, Malformed> {
    Ok(sized_len(value_len(key)?) + sized_len(value_len(value)?))
}

/// Writes a value whose length was taken before, so that it parses.
pub fn put_value(value: ValueRef<'_>, out: &mut impl BufMut) {
    match value {
        ValueRef::Nil => {}
        ValueRef::Bool(b) => put_number(value_field::BOOL, b.into(), out),
        ValueRef::Int(i) => put_number(value_field::INT, zigzag(i), out),
        ValueRef::Double(d) => {
            out.put_u8(value_field::DOUBLE << 3 | 1);
            out.put_f64_le(d);
        }
        ValueRef::Str(s) => put_bytes(value_field::STRING, s.as_bytes(), out),
        ValueRef::Bytes(b) => put_bytes(value_field::BYTES, b, out),
        ValueRef::List(items) => {
            put_head(value_field::LIST, list_len(items).unwrap_or(0), out);
            items.flatten().for_each(|item| put_nested(1, item, out));
        }
        ValueRef::Map(items) => {
            put_head(value_field::MAP, map_len(items).unwrap_or(0), out);
            let mut items = items.flatten();
            while let (Some(key), Some(value)) = (items.next(), items.next()) {
                put_head(1, pair_len(key, value).unwrap_or(0), out);
                put_nested(1, key, out);
                put_nested(2, value, out);
            }
        }
    }
}

fn put_nested(field: u8, value: ValueRef<'_>, out: &mut impl BufMut) {
    put_head(field, value_len(value).unwrap_or(0), out);
    put_value(value, out);
}
