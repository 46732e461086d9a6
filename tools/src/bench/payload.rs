//! Values that can be checked when they are read: derived from the key and a counter of its writes.
//!
//! ```text
//! value := key:u64  counter:u64  words...      little-endian, cut at the length
//! ```
//!
//! The words are those of a table of noise, begun somewhere, each with another number for every round through the table: start and
//! numbers come from key and counter. So making a value costs about what copying it costs, and the device finds nothing to compress.

use std::sync::LazyLock;

use super::random::{Random, mix};

/// The bin of records that have one.
pub const BIN: &str = "v";

const HEAD: usize = 16;
/// Words of the table: few enough to stay in a core's own cache.
const NOISE: usize = 2048;

static TABLE: LazyLock<Box<[u64]>> = LazyLock::new(|| {
    let mut random = Random::new(1);
    (0..NOISE).map(|_| random.next()).collect()
});

/// Writes the value of the `counter`-th write of `key` into `out`, `len` bytes long.
pub fn fill(out: &mut Vec<u8>, key: u64, counter: u64, len: usize) {
    out.clear();
    out.reserve(len.next_multiple_of(8).max(HEAD));
    out.extend_from_slice(&key.to_le_bytes());
    out.extend_from_slice(&counter.to_le_bytes());
    for (noise, number) in runs(key, counter, len.saturating_sub(HEAD).div_ceil(8)) {
        let at = out.len();
        out.resize(at + 8 * noise.len(), 0);
        let (words, _) = out[at..].as_chunks_mut();
        words.iter_mut().zip(noise).for_each(|(to, word)| *to = (word ^ number).to_le_bytes());
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
    let Some(mut body) = value.get(HEAD..) else {
        return value.get(8..).is_none_or(|rest| rest == &counter.to_le_bytes()[..rest.len()]);
    };
    runs(key, counter, body.len().div_ceil(8)).all(|(noise, number)| {
        let (run, rest) = body.split_at(body.len().min(8 * noise.len()));
        body = rest;
        let (words, end) = run.as_chunks();
        let equal = |(word, noise): (&[u8; 8], &u64)| u64::from_le_bytes(*word) == noise ^ number;
        words.iter().zip(noise).all(equal)
            && (end.is_empty() || end == &(noise[words.len()] ^ number).to_le_bytes()[..end.len()])
    })
}

/// The pieces of the table that make so many words, each with its number.
fn runs(key: u64, counter: u64, words: usize) -> impl Iterator<Item = (&'static [u64], u64)> {
    let table: &'static [u64] = &TABLE;
    let mut random = Random::new(mix(key) ^ counter.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let (mut from, mut left) = (random.below(NOISE as u64) as usize, words);
    std::iter::from_fn(move || {
        let run = &table[from..NOISE.min(from + left)];
        (from, left) = (0, left - run.len());
        (!run.is_empty()).then(|| (run, random.next()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A value is recognised as the write it came from, at every length.
    #[test]
    fn values_are_recognised() {
        for len in [0, 1, 7, 8, 15, 16, 17, 100, 4096, 65_536, 65_537] {
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
