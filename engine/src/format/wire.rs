//! Little-endian fields at fixed offsets, numbers of as many bytes as they need, and the checksum of everything.

use xxhash_rust::xxh3::xxh3_64_with_seed;

/// The checksum of all structures on a device: xxh3-64 with a seed.
pub(super) fn checksum(bytes: &[u8], seed: u64) -> u64 {
    xxh3_64_with_seed(bytes, seed)
}

/// Reads the `N` bytes at `at`. The caller has checked the length of `bytes`.
#[inline]
pub(super) fn array<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    bytes[at..at + N].try_into().expect("a slice of N bytes")
}

#[inline]
pub(super) fn get_u16(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes(array(bytes, at))
}

#[inline]
pub(super) fn get_u32(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(array(bytes, at))
}

#[inline]
pub(super) fn get_u64(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(array(bytes, at))
}

/// A number of `N` bytes, at most 8.
#[inline]
pub(super) fn get_uint<const N: usize>(bytes: &[u8], at: usize) -> u64 {
    let mut wide = [0; 8];
    wide[..N].copy_from_slice(&bytes[at..at + N]);
    u64::from_le_bytes(wide)
}

pub(super) fn put(bytes: &mut [u8], at: usize, field: &[u8]) {
    bytes[at..at + field.len()].copy_from_slice(field);
}

/// The low `N` bytes of `value`.
pub(super) fn put_uint<const N: usize>(bytes: &mut [u8], at: usize, value: u64) {
    debug_assert!(N == 8 || value >> (8 * N) == 0);
    put(bytes, at, &value.to_le_bytes()[..N]);
}

/// Text in a field of one length byte and `field_len - 1` bytes.
pub(super) fn put_text(bytes: &mut [u8], at: usize, field_len: usize, text: &str) {
    assert!(text.len() < field_len);
    bytes[at] = text.len() as u8;
    put(bytes, at + 1, text.as_bytes());
}

pub(super) fn get_text(bytes: &[u8], at: usize, field_len: usize) -> Option<String> {
    let len = usize::from(bytes[at]);
    let raw = bytes[at + 1..at + field_len].get(..len)?;
    String::from_utf8(raw.to_vec()).ok()
}

/// Appends `value` as a varint: 7 bits a byte, low first; the top bit says that more follow.
pub(super) fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Takes a varint off the front of `bytes`. `None` when it is cut short or takes more than 64 bits.
#[inline]
pub(super) fn take_varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..70).step_by(7) {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        let low = u64::from(byte & 0x7f);
        if shift == 63 && low > 1 {
            return None;
        }
        value |= low << shift;
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}

/// Small for what is near 0 on either side.
pub(super) fn zigzag(value: i64) -> u64 {
    (value << 1 ^ value >> 63) as u64
}

/// The number that [`zigzag`] made this one of.
pub(super) fn unzigzag(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}
