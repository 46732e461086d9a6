//! What `DUMP` says and `RESTORE` reads: a value as Redis writes it into its own files, then the version of that format and a checksum.
//!
//! Strings only. Of these, all forms that Redis writes are read: plain, as a number of 1, 2 or 4 bytes, packed. Nothing is reserved for a
//! length before as many bytes are there.

use cairn_engine::model::limits::WRITE_BLOCK_MAX;

use super::{
    fail::{Fail, TOO_LONG},
    lzf,
    number::integer,
};

/// The version that is written, that of Redis 7.0.
const VERSION: u16 = 10;
/// The newest version that is read, that of Redis 7.2: the form of strings is the same.
const NEWEST: u16 = 11;
/// What no record can hold is not unpacked.
const UNPACKED_MAX: usize = WRITE_BLOCK_MAX as usize;
/// Bytes of version and checksum.
const FOOTER: usize = 10;

const DAMAGED: Fail = Fail::text("ERR DUMP payload version or checksum are wrong");
const MALFORMED: Fail = Fail::text("ERR Bad data format");

/// The kind of value that a payload begins with.
const STRING: u8 = 0;
/// First bytes of a string in another form than plain.
const BYTE: u8 = 0xc0;
const TWO_BYTES: u8 = 0xc1;
const FOUR_BYTES: u8 = 0xc2;
const PACKED: u8 = 0xc3;
/// First bytes of a length of 4 and of 8 bytes.
const LENGTH_4: u8 = 0x80;
const LENGTH_8: u8 = 0x81;

/// The payload of a string.
pub fn of_string(value: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(value.len() + 6 + FOOTER);
    out.push(STRING);
    match integer(value).and_then(|number| i32::try_from(number).ok()) {
        Some(number) => put_number(&mut out, number),
        None => {
            put_length(&mut out, value.len());
            out.extend_from_slice(value);
        }
    }
    out.extend_from_slice(&VERSION.to_le_bytes());
    let sum = crc64(&out);
    out.extend_from_slice(&sum.to_le_bytes());
    out
}

/// The string of a payload.
///
/// # Errors
///
/// In Redis's words when it is damaged, too new or malformed; in Cairn's when it is another kind of value.
pub fn string_of(payload: &[u8]) -> Result<Vec<u8>, Fail> {
    let (rest, sum) = payload.split_last_chunk().ok_or(DAMAGED)?;
    let (_, version) = rest.split_last_chunk().ok_or(DAMAGED)?;
    if u16::from_le_bytes(*version) > NEWEST || crc64(rest) != u64::from_le_bytes(*sum) {
        return Err(DAMAGED);
    }
    if payload.len() == FOOTER {
        return Err(MALFORMED);
    }
    match payload.split_first() {
        // As in Redis, a length may reach into the footer, and more than the string may follow.
        Some((&STRING, value)) => string(value).unwrap_or(Err(MALFORMED)),
        Some((kind, _)) => Err(other_kind(*kind)),
        None => Err(MALFORMED),
    }
}

fn other_kind(kind: u8) -> Fail {
    let name = match kind {
        1 | 10 | 14 | 18 => "a list",
        2 | 11 | 20 => "a set",
        3 | 5 | 12 | 17 => "a sorted set",
        4 | 9 | 13 | 16 => "a hash",
        15 | 19 | 21 => "a stream",
        7 => "a value of a module",
        _ => return MALFORMED,
    };
    Fail::new(format!("ERR this payload holds {name}, but only strings can be restored"))
}

fn put_number(out: &mut Vec<u8>, number: i32) {
    if let Ok(number) = i8::try_from(number) {
        out.push(BYTE);
        out.extend_from_slice(&number.to_le_bytes());
    } else if let Ok(number) = i16::try_from(number) {
        out.push(TWO_BYTES);
        out.extend_from_slice(&number.to_le_bytes());
    } else {
        out.push(FOUR_BYTES);
        out.extend_from_slice(&number.to_le_bytes());
    }
}

fn put_length(out: &mut Vec<u8>, len: usize) {
    match len {
        0..0x40 => out.push(len as u8),
        0x40..0x4000 => out.extend_from_slice(&(len as u16 | 0x4000).to_be_bytes()),
        _ => match u32::try_from(len) {
            Ok(len) => {
                out.push(LENGTH_4);
                out.extend_from_slice(&len.to_be_bytes());
            }
            Err(_) => {
                out.push(LENGTH_8);
                out.extend_from_slice(&(len as u64).to_be_bytes());
            }
        },
    }
}

/// `None` when it is malformed.
fn string(bytes: &[u8]) -> Option<Result<Vec<u8>, Fail>> {
    let (first, rest) = bytes.split_first()?;
    Some(Ok(match *first {
        BYTE => decimal(i8::from_le_bytes(*rest.first_chunk()?).into()),
        TWO_BYTES => decimal(i16::from_le_bytes(*rest.first_chunk()?).into()),
        FOUR_BYTES => decimal(i32::from_le_bytes(*rest.first_chunk()?)),
        PACKED => {
            let (packed_len, rest) = length(rest)?;
            let (len, rest) = length(rest)?;
            let packed = rest.get(..packed_len)?;
            match len {
                // Redis takes anything for the empty string.
                0 => Vec::new(),
                UNPACKED_MAX.. if lzf::may_be(packed, len) => return Some(Err(TOO_LONG)),
                _ => lzf::unpack(packed, len)?,
            }
        }
        _ => {
            let (len, rest) = length(bytes)?;
            rest.get(..len)?.to_vec()
        }
    }))
}

fn decimal(number: i32) -> Vec<u8> {
    itoa::Buffer::new().format(number).into()
}

/// A length, and what stands behind it.
fn length(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let (first, rest) = bytes.split_first()?;
    match *first {
        short @ 0..0x40 => Some((short.into(), rest)),
        high @ 0x40..0x80 => {
            let (low, rest) = rest.split_first()?;
            Some((usize::from(high & 0x3f) << 8 | usize::from(*low), rest))
        }
        LENGTH_4 => {
            let (len, rest) = rest.split_first_chunk()?;
            Some((u32::from_be_bytes(*len) as usize, rest))
        }
        LENGTH_8 => {
            let (len, rest) = rest.split_first_chunk()?;
            Some((usize::try_from(u64::from_be_bytes(*len)).ok()?, rest))
        }
        _ => None,
    }
}

/// CRC-64 with the polynomial of Jones, both ways reflected, begun with 0 and not inverted at the end.
fn crc64(bytes: &[u8]) -> u64 {
    const REFLECTED: u64 = 0x95ac_9329_ac4b_c9b5;
    static TABLE: [u64; 256] = {
        let mut table = [0; 256];
        let mut byte = 0;
        while byte < 256 {
            let (mut crc, mut bit) = (byte as u64, 0);
            while bit < 8 {
                crc = (crc >> 1) ^ (REFLECTED & (crc & 1).wrapping_neg());
                bit += 1;
            }
            table[byte] = crc;
            byte += 1;
        }
        table
    };
    let step = |crc: u64, byte: &u8| (crc >> 8) ^ TABLE[usize::from(crc as u8 ^ byte)];
    bytes.iter().fold(0, step)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn closed(body: &[u8], version: u16) -> Vec<u8> {
        let mut out = [body, &version.to_le_bytes()].concat();
        out.extend(crc64(&out).to_le_bytes());
        out
    }

    /// The value that the format's description gives for these digits.
    #[test]
    fn the_checksum_is_the_formats_own() {
        assert_eq!(crc64(b"123456789"), 0xe9c6_d914_c4b8_d9ca);
    }

    /// What redis-server 7.0.15 dumped: read, and written the same.
    #[test]
    fn payloads_are_those_of_redis() {
        let table: [(&[u8], &[u8]); 6] = [
            (b"v", b"\x00\x01v\n\x00\x91\x08\xce\xb2\x198\x8a\xce"),
            (b"12", b"\x00\xc0\x0c\n\x00<*\xf8Q\\\x04\xbc\xd5"),
            (b"-129", b"\x00\xc1\x7f\xff\n\x00\x17`\x82(T\x80\x84\x80"),
            (b"-2147483648", b"\x00\xc2\x00\x00\x00\x80\n\x00\xc7O\x87>3U\x81\x87"),
            (b"2147483648", b"\x00\n2147483648\n\x00\xe7\xb1)\xa3L\x1dv\xee"),
            (b"-0", b"\x00\x02-0\n\x00\xd5A\x1f\xd9\xd6\xd0P\xcc"),
        ];
        for (value, payload) in table {
            assert_eq!(of_string(value), payload);
            assert_eq!(string_of(payload).unwrap(), value);
        }
        let packed = b"\x00\xc3\n(\x02aba\xe0\x1a\x01\x01ab\n\x00\xf7'\xec4\x072\xc3\xb6";
        assert_eq!(string_of(packed).unwrap(), b"ab".repeat(20));
    }

    /// Every length comes back, at the ends of every form that a length has.
    #[test]
    fn what_is_dumped_is_restored() {
        for len in [0, 1, 63, 64, 16_383, 16_384, 70_000] {
            let value = vec![b'x'; len];
            assert_eq!(string_of(&of_string(&value)).unwrap(), value);
        }
    }

    /// One flipped bit anywhere must not become a value.
    #[test]
    fn a_damaged_payload_is_refused() {
        let payload = of_string(b"value");
        for bit in 0..payload.len() * 8 {
            let mut damaged = payload.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(string_of(&damaged), Err(DAMAGED), "bit {bit}");
        }
        for len in 0..payload.len() {
            assert!(string_of(&payload[..len]).is_err());
        }
        assert_eq!(string_of(&closed(b"\x00\x01a", NEWEST + 1)), Err(DAMAGED));
        assert_eq!(string_of(&closed(b"\x00\x01a", NEWEST)).unwrap(), b"a");
    }

    /// What a checksum cannot tell: lengths beyond the payload, forms there are not, and kinds of value there are not yet.
    #[test]
    fn a_malformed_payload_is_refused() {
        let table: [&[u8]; 12] = [
            b"",
            b"\x00\xc4\x00",
            b"\x00\x3fa",
            b"\x00\x80\x7f\xff\xff\xffa",
            b"\x00\x81\xff\xff\xff\xff\xff\xff\xff\xffa",
            b"\x00\x82\x01a",
            b"\x00\xc3\x03\x03\x01ab",
            b"\x00\xc3\x3f\x02\x01ab",
            b"\x00\xc3\x04\x80\xff\xff\xff\xff\x01ab",
            b"\x06\x01a",
            b"\x16\x01a",
            b"\xff\x01a",
        ];
        for body in table {
            assert_eq!(string_of(&closed(body, VERSION)), Err(MALFORMED), "{body:?}");
        }
        let list = string_of(&closed(b"\x01\x01\x01a", VERSION)).unwrap_err();
        assert_eq!(list.code(), b"ERR");
        assert_ne!(list, MALFORMED);
    }
}
