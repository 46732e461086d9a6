//! When a block is worth looking through for records that have expired.
//!
//! Looking through a block costs one read of its footer, so it is done when enough of its records have expired, a few times in its
//! life: when a quarter of what is left has, and somewhat sooner if a few have been waiting for long.

use crate::model::{NEVER, VoidTime};

/// Of what expires, the part that makes a look worth its while.
const PART: usize = 4;
/// A record that has expired is looked for after so many milliseconds at the latest, or after [`LAG_PART`] of how long the block had to wait
/// for it, whichever is longer.
const LAG_MS: u64 = 30_000;
/// See [`LAG_MS`].
const LAG_PART: u64 = 8;

/// When a block with records of these void times should be looked through, in milliseconds since 1970; `u64::MAX` for never. Records that
/// should be looked for already are counted by `now_ms` as the others.
pub(crate) fn when(void_times: impl Iterator<Item = VoidTime>, now_ms: u64) -> u64 {
    let mut voids: Vec<u64> = void_times.filter(|&void| void != NEVER).map(|void| void.0).collect();
    if voids.is_empty() {
        return u64::MAX;
    }
    let at = voids.len().div_ceil(PART) - 1;
    let (before, &mut enough, _) = voids.select_nth_unstable(at);
    let first = before.iter().copied().min().unwrap_or(enough);
    let wait = first.saturating_sub(now_ms);
    enough.min(first.saturating_add(LAG_MS.max(wait / LAG_PART)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(voids: &[u64]) -> u64 {
        when(voids.iter().map(|&void| VoidTime(void)), 1000)
    }

    /// Looked for too late, expired records fill the device; too early, the footers are read for nothing.
    #[test]
    fn a_look_pays() {
        assert_eq!(of(&[]), u64::MAX);
        assert_eq!(of(&[0, 0]), u64::MAX, "records that never expire");
        assert_eq!(of(&[5000]), 5000);
        assert_eq!(of(&[9000, 5000, 6000, 7000, 8000, 0]), 6000, "a quarter of them");
        assert_eq!(of(&[5000, 900_000, 900_001, 900_002, 900_003]), 35_000, "one waits");
        assert_eq!(of(&[801_000, 9_900_000, 9_900_000, 9_900_000, 9_900_000]), 901_000);
    }
}
