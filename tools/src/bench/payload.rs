//! Values that can be checked when they are read: derived from the key and a counter of its writes.
//!
//! ```text
//! value := key:u64  counter:u64  words...      little-endian, cut at the length; words from a generator seeded by both
//! ```

use super::random::{Random, mix};

/// The bin of records that have one.
pub const BIN: &str = "v";

const HEAD: usize = 16;

/// Writes the value of the `counter`-th write of `key` into `out`, `len` bytes long.
pub fn fill(out: &mut Vec<u8>, key: u64, counter: u64, len: usize) {
    out.clear();
    out.reserve(len + 8);
    out.extend_from_slice(&key.to_le_bytes());
    out.extend_from_slice(&counter.to_le_bytes());
    let mut random = words(key, counter);
    while out.len() < len {
        out.extend_from_slice(&random.next().to_le_bytes());
    }
    out.truncate(len);
}

/// The value as an owned piece.
pub fn value(key: u64, counter: u64, len: usize) -> Vec<u8> {
    let mut out = Vec::new();
    fill(&mut out, key, counter, len);
    out
}

/// Whether `value` is whole and of `key`; gives the counter of the write it came from. Values too short to carry it
/// count as the first write.
pub fn check(value: &[u8], key: u64) -> Option<u64> {
    let counter = match value.get(8..HEAD) {
        Some(bytes) => u64::from_le_bytes(bytes.try_into().ok()?),
        None => 0,
    };
    let head = &value[..value.len().min(8)];
    let whole = head == &key.to_le_bytes()[..head.len()] && body_fits(value, key, counter);
    whole.then_some(counter)
}

fn body_fits(value: &[u8], key: u64, counter: u64) -> bool {
    let Some(body) = value.get(HEAD..) else {
        return value.get(8..).is_none_or(|rest| rest == &counter.to_le_bytes()[..rest.len()]);
    };
    let mut random = words(key, counter);
    body.chunks(8).all(|chunk| chunk == &random.next().to_le_bytes()[..chunk.len()])
}

fn words(key: u64, counter: u64) -> Random {
    Random::new(mix(key) ^ counter.wrapping_mul(0x9e37_79b9_7f4a_7c15))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A value is recognised as the write it came from, at every length.
    #[test]
    fn values_are_recognised() {
        for len in [0, 1, 7, 8, 15, 16, 17, 100, 4096] {
            let counter = if len < HEAD { 0 } else { 42 };
            assert_eq!(check(&value(7, counter, len), 7), Some(counter), "{len}");
        }
    }

    /// Another key's value, or one with a single wrong bit, does not pass.
    #[test]
    fn wrong_values_do_not_pass() {
        let good = value(7, 3, 64);
        assert_eq!(check(&good, 8), None);
        for bit in 0..good.len() * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(check(&bad, 7), None, "bit {bit}");
        }
    }
}
