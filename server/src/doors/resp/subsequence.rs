//! The longest sequence of bytes that two strings have in common, in order but with gaps.
//!
//! The table of lengths is worked out 64 cells at a time: of a row, only where the length grows from one column to the next is kept,
//! one bit a cell. Those bits are enough to walk back from the last cell, so rows cost an eighth of a byte a cell, and none are kept
//! when only the length is asked for. Time and room grow with the product of both lengths; who calls bounds it.
//!
//! Among several longest ones the choice is that of Redis: from the end, a byte that both have is taken, and else the walk goes back in
//! the second string unless that loses a byte.

use std::ops::Range;

/// Where a run of equal bytes lies in both strings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// In the first.
    pub a: Range<usize>,
    /// In the second.
    pub b: Range<usize>,
}

/// How many bytes the longest common subsequence has.
pub fn length(a: &[u8], b: &[u8]) -> usize {
    let masks = Masks::new(a, b);
    let mut row = vec![u64::MAX; masks.words];
    for byte in a {
        next_row(&mut row, masks.of(*byte));
    }
    row.iter().map(|word| word.count_zeros() as usize).sum()
}

/// The longest common subsequence: its runs, the last one first.
pub fn runs(a: &[u8], b: &[u8]) -> Vec<Run> {
    let masks = Masks::new(a, b);
    let words = masks.words;
    let mut row = vec![u64::MAX; words];
    let mut rows = Vec::with_capacity(words * a.len());
    for byte in a {
        next_row(&mut row, masks.of(*byte));
        rows.extend_from_slice(&row);
    }
    let grows = |i: usize, j: usize| rows[i * words + j / 64] >> (j % 64) & 1 == 0;

    let (mut i, mut j) = (a.len(), b.len());
    let mut runs: Vec<Run> = Vec::new();
    while i > 0 && j > 0 {
        if a[i - 1] == b[j - 1] {
            (i, j) = (i - 1, j - 1);
            match runs.last_mut() {
                Some(run) if run.a.start == i + 1 && run.b.start == j + 1 => {
                    (run.a.start, run.b.start) = (i, j);
                }
                _ => runs.push(Run { a: i..i + 1, b: j..j + 1 }),
            }
        } else if grows(i - 1, j - 1) {
            i -= 1;
        } else {
            j -= 1;
        }
    }
    runs
}

/// Of each byte, where it stands in the second string, one bit a place.
struct Masks {
    words: usize,
    /// Which of the masks is a byte's.
    number: [u16; 256],
    masks: Vec<u64>,
}

impl Masks {
    const NONE: u16 = u16::MAX;

    /// For the bytes that `a` has; of no others is asked.
    fn new(a: &[u8], b: &[u8]) -> Self {
        let words = b.len().div_ceil(64);
        let (mut number, mut count) = ([Self::NONE; 256], 0);
        for byte in a {
            let number = &mut number[usize::from(*byte)];
            if *number == Self::NONE {
                *number = count;
                count += 1;
            }
        }
        let mut masks = vec![0; usize::from(count) * words];
        for (at, byte) in b.iter().enumerate() {
            let number = number[usize::from(*byte)];
            if number != Self::NONE {
                masks[usize::from(number) * words + at / 64] |= 1 << (at % 64);
            }
        }
        Self { words, number, masks }
    }

    fn of(&self, byte: u8) -> &[u64] {
        let from = usize::from(self.number[usize::from(byte)]) * self.words;
        &self.masks[from..from + self.words]
    }
}

/// From one row to the next: a 0 stands where the length grows by one. In every group of ones that ends in a 0, the first place that
/// has the byte becomes the 0; the carry of an addition does that for all groups at once.
fn next_row(row: &mut [u64], mask: &[u64]) {
    let mut carry = false;
    for (word, mask) in row.iter_mut().zip(mask) {
        let matched = *word & mask;
        let (sum, over) = word.overflowing_add(matched);
        let (sum, over_too) = sum.overflowing_add(u64::from(carry));
        carry = over || over_too;
        *word = sum | (*word & !mask);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The table of lengths as a textbook has it, and the walk back through it.
    fn plainly(a: &[u8], b: &[u8]) -> Vec<(usize, usize)> {
        let mut table = vec![vec![0u32; b.len() + 1]; a.len() + 1];
        for i in 1..=a.len() {
            for j in 1..=b.len() {
                table[i][j] = match a[i - 1] == b[j - 1] {
                    true => table[i - 1][j - 1] + 1,
                    false => table[i - 1][j].max(table[i][j - 1]),
                };
            }
        }
        let (mut i, mut j, mut pairs) = (a.len(), b.len(), Vec::new());
        while i > 0 && j > 0 {
            if a[i - 1] == b[j - 1] {
                (i, j) = (i - 1, j - 1);
                pairs.push((i, j));
            } else if table[i - 1][j] > table[i][j - 1] {
                i -= 1;
            } else {
                j -= 1;
            }
        }
        pairs
    }

    /// Words of 64 cells must not show, whatever the lengths.
    #[test]
    fn it_is_what_the_table_says() {
        let mut state = 7u64;
        let mut chance = |below: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 33) % below
        };
        for round in 0..400 {
            let letters = 1 + chance(5);
            let mut text = |longest| -> Vec<u8> {
                let len = chance(longest);
                (0..len).map(|_| b'a' + chance(letters) as u8).collect()
            };
            let (a, b) = (text(90), text(200));
            let expected = plainly(&a, &b);
            let found = runs(&a, &b);
            let pairs: Vec<_> =
                found.iter().flat_map(|run| run.a.clone().rev().zip(run.b.clone().rev())).collect();
            assert_eq!(pairs, expected, "round {round}");
            assert_eq!(length(&a, &b), expected.len(), "round {round}");
        }
    }

    /// Neighbours are one run, and the last run comes first.
    #[test]
    fn runs_are_joined() {
        let found = runs(b"ohmytext", b"mynewtext");
        assert_eq!(found, [Run { a: 4..8, b: 5..9 }, Run { a: 2..4, b: 0..2 }]);
        assert_eq!(length(b"ohmytext", b"mynewtext"), 6);
        assert_eq!(runs(b"", b"abc"), []);
    }
}
