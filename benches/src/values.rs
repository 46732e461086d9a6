//! Values that prove themselves when they are read: made of their key and the number of their write.
//!
//! ```text
//! value := key:u64  version:u64  words...      little-endian, cut at the length; the words from a generator seeded by both
//! ```

use crate::keys::{Random, mix};

/// The shortest value that carries key and version.
pub const MIN: usize = 16;

/// Puts the value of write number `version` of `key` into `out`, which is at least [`MIN`] bytes long.
pub fn fill(out: &mut [u8], key: u64, version: u64) {
    let (head, body) = out.split_at_mut(MIN);
    head[..8].copy_from_slice(&key.to_le_bytes());
    head[8..].copy_from_slice(&version.to_le_bytes());
    let mut words = words(key, version);
    for chunk in body.chunks_mut(8) {
        chunk.copy_from_slice(&words.bits().to_le_bytes()[..chunk.len()]);
    }
}

/// The number of the write that `value` comes from; `None` if it is not, to the last byte, a value of `key`.
pub fn version(value: &[u8], key: u64) -> Option<u64> {
    let (head, body) = value.split_at_checked(MIN)?;
    let version = u64::from_le_bytes(head[8..].try_into().ok()?);
    let mut words = words(key, version);
    let mut fits = |chunk: &[u8]| *chunk == words.bits().to_le_bytes()[..chunk.len()];
    (head[..8] == key.to_le_bytes() && body.chunks(8).all(&mut fits)).then_some(version)
}

fn words(key: u64, version: u64) -> Random {
    Random::new(mix(key) ^ version.wrapping_mul(0x9e37_79b9_7f4a_7c15))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A benchmark that verifies must see a single wrong bit, and another key's value.
    #[test]
    fn wrong_values_do_not_pass() {
        for len in [16, 17, 64] {
            let mut value = vec![0; len];
            fill(&mut value, 7, 3);
            assert_eq!((version(&value, 7), version(&value, 8)), (Some(3), None));
            for bit in (0..64).chain(128..len * 8) {
                value[bit / 8] ^= 1 << (bit % 8);
                assert_eq!(version(&value, 7), None, "bit {bit} of {len} bytes");
                value[bit / 8] ^= 1 << (bit % 8);
            }
        }
    }
}
