//! Protobuf by hand, for the few messages that most of this door's work is made of.
//!
//! Reading borrows from the message and allocates nothing. It takes a message only as every encoder writes it; whoever meets
//! another one, which may be valid all the same (a field twice, an unknown one), leaves it to the generated types.

use bytes::BufMut;
use prost::encoding::{decode_varint, encode_varint, encoded_len_varint};

use crate::codes::Problem;

/// The message is not as encoders write it, or not a message at all: the generated types know which.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Odd;

/// A field's value, as far as its wire type tells.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Raw<'a> {
    /// A varint.
    Number(u64),
    /// Eight bytes.
    Fixed(u64),
    /// What has a length: a string, bytes or a message.
    Bytes(&'a [u8]),
}

impl<'a> Raw<'a> {
    /// The bytes of a field that has a length.
    pub fn bytes(self) -> Result<&'a [u8], Odd> {
        if let Self::Bytes(bytes) = self { Ok(bytes) } else { Err(Odd) }
    }

    /// The text of a string field.
    pub fn text(self) -> Result<&'a str, Odd> {
        std::str::from_utf8(self.bytes()?).map_err(|_| Odd)
    }

    /// The value of a number field.
    pub fn number(self) -> Result<u64, Odd> {
        if let Self::Number(number) = self { Ok(number) } else { Err(Odd) }
    }
}

/// The fields of a message, in the order they stand there.
#[derive(Clone, Copy, Debug)]
pub struct Fields<'a>(pub &'a [u8]);

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u64, Raw<'a>), Odd>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        (!self.0.is_empty()).then(|| self.field())
    }
}

impl<'a> Fields<'a> {
    #[inline]
    fn field(&mut self) -> Result<(u64, Raw<'a>), Odd> {
        let tag = varint(&mut self.0)?;
        let value = match tag & 7 {
            0 => Raw::Number(varint(&mut self.0)?),
            1 => {
                let (fixed, rest) = self.0.split_first_chunk().ok_or(Odd)?;
                self.0 = rest;
                Raw::Fixed(u64::from_le_bytes(*fixed))
            }
            2 => {
                let length = usize::try_from(varint(&mut self.0)?).map_err(|_| Odd)?;
                let (bytes, rest) = self.0.split_at_checked(length).ok_or(Odd)?;
                self.0 = rest;
                Raw::Bytes(bytes)
            }
            _ => return Err(Odd),
        };
        Ok((tag >> 3, value))
    }
}

#[inline]
fn varint(bytes: &mut &[u8]) -> Result<u64, Odd> {
    match *bytes {
        // Most lengths, all tags and small numbers are one byte.
        [byte @ ..0x80, rest @ ..] => {
            *bytes = rest;
            Ok(u64::from(*byte))
        }
        _ => decode_varint(bytes).map_err(|_| Odd),
    }
}

/// The entries of a message that is little else than a repeated field 1: their bytes, one after the other.
#[derive(Debug)]
pub struct Entries<B> {
    message: B,
    /// Where the next field begins.
    at: usize,
}

impl<B: AsRef<[u8]>> Entries<B> {
    /// The entries of `message`. One of more than `max` is refused, and one that is none.
    pub fn new(message: B, max: usize) -> Result<Self, Problem> {
        let mut count = 0;
        for field in Fields(message.as_ref()) {
            match field {
                Ok((ENTRY, Raw::Bytes(_))) => count += 1,
                Ok((ENTRY, _)) | Err(Odd) => return Err(Odd.into()),
                Ok(_) => {}
            }
            if count > max {
                let what = format!("a message of more than {max} entries, which is the most");
                return Err(Problem::Limit(what.into()));
            }
        }
        Ok(Self { message, at: 0 })
    }

    /// The next entry.
    pub fn next(&mut self) -> Option<&[u8]> {
        let bytes = self.message.as_ref();
        let mut fields = Fields(&bytes[self.at..]);
        // Fields that this version does not know are passed over; nothing else is left but entries.
        let entry = fields.find_map(|field| match field {
            Ok((ENTRY, Raw::Bytes(entry))) => Some(entry),
            _ => None,
        });
        self.at = bytes.len() - fields.0.len();
        entry
    }
}

impl From<Odd> for Problem {
    fn from(_: Odd) -> Self {
        Self::Invalid("not a message of this call".into())
    }
}

/// The field that holds the entries.
const ENTRY: u64 = 1;

/// A signed number from its zigzag form.
pub fn unzigzag(number: u64) -> i64 {
    (number >> 1) as i64 ^ -((number & 1) as i64)
}

/// A signed number in its zigzag form.
pub fn zigzag(number: i64) -> u64 {
    (number << 1 ^ number >> 63) as u64
}

/// Bytes of the number field `field`, below 16.
pub fn number_len(number: u64) -> usize {
    1 + encoded_len_varint(number)
}

/// Bytes of a field, below 16, that has a length and `len` bytes behind it.
pub fn sized_len(len: usize) -> usize {
    number_len(len as u64) + len
}

/// Writes the number field `field`, below 16.
pub fn put_number(field: u8, number: u64, out: &mut impl BufMut) {
    out.put_u8(field << 3);
    encode_varint(number, out);
}

/// Writes what stands before the `len` bytes of field `field`, below 16.
pub fn put_head(field: u8, len: usize, out: &mut impl BufMut) {
    out.put_u8(field << 3 | 2);
    encode_varint(len as u64, out);
}

/// Writes field `field`, below 16, with `bytes`.
pub fn put_bytes(field: u8, bytes: &[u8], out: &mut impl BufMut) {
    put_head(field, bytes.len(), out);
    out.put_slice(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(bytes: &[u8]) -> Result<Vec<(u64, Raw<'_>)>, Odd> {
        Fields(bytes).collect()
    }

    /// Whatever bytes come, reading ends, stays inside them and gives no field that is not there.
    #[test]
    fn nonsense_is_odd() {
        assert_eq!(all(&[]), Ok(vec![]));
        for bytes in [&[0x80][..], &[0x08], &[0x0a, 2, 0], &[0x09, 1, 2], &[0x0b], &[0xff; 11]] {
            assert_eq!(all(bytes), Err(Odd), "{bytes:?}");
        }
        let huge = [&[0x0a][..], &[0xff; 9], &[1]].concat();
        assert_eq!(all(&huge), Err(Odd));
    }

    /// A small message of very many empty entries would fill memory before its count was looked at: the count is exact, and
    /// nonsense is refused before the first entry is executed.
    #[test]
    fn entries_are_counted_before_they_are_read() {
        let entries = |bytes: &[u8], max| {
            let mut entries = Entries::new(bytes.to_vec(), max)?;
            let mut all = Vec::new();
            while let Some(entry) = entries.next() {
                all.push(entry.to_vec());
            }
            Ok::<_, Problem>(all)
        };
        let message = [0x0a, 1, 5].repeat(7);
        assert_eq!(entries(&message, 7).unwrap(), vec![vec![5]; 7]);
        assert!(matches!(entries(&message, 6), Err(Problem::Limit(_))));
        let others = [&[0x10, 1, 0x12, 1, 0x0a][..], &message, &[0x18, 1]].concat();
        assert_eq!(entries(&others, 7).unwrap(), vec![vec![5]; 7]);
        assert_eq!(entries(&[], 0).unwrap(), Vec::<Vec<u8>>::new());
        for nonsense in [&[0x0a, 200, 1, 0][..], &[0x0a, 0, 0x08, 1], &[0x0a, 0, 0xff]] {
            assert!(matches!(entries(nonsense, 9), Err(Problem::Invalid(_))), "{nonsense:?}");
        }
    }

    /// What is written is read back, at both ends of every range.
    #[test]
    fn fields_are_read_back() {
        for number in [0, 1, 127, 128, u64::MAX] {
            let mut out = Vec::new();
            put_number(3, number, &mut out);
            assert_eq!(out.len(), number_len(number));
            assert_eq!(all(&out), Ok(vec![(3, Raw::Number(number))]));
            assert_eq!(zigzag(unzigzag(number)), number);
        }
        for len in [0, 1, 127, 128, 70_000] {
            let (bytes, mut out) = (vec![7; len], Vec::new());
            put_bytes(15, &bytes, &mut out);
            assert_eq!(out.len(), sized_len(len));
            assert_eq!(all(&out), Ok(vec![(15, Raw::Bytes(&bytes))]));
        }
    }
}
