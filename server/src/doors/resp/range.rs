//! From where to where: two places in a string as commands name them, the last one included, negative ones counted from the end.

/// What lies from `start` to `end` in `len` units: the first and the last; `None` when nothing does.
///
/// Places before the beginning are the beginning, also when both are: of `abc`, -100 to -50 is `a`. That is how Redis counts.
pub fn within(start: i64, end: i64, len: u64) -> Option<(u64, u64)> {
    let last = len.checked_sub(1)?;
    let (start, end) = (place(start, len), place(end, len).min(last));
    (start <= end).then_some((start, end))
}

/// The same, but for places that are both counted from the end, in the wrong order: between those lies nothing, however short the
/// string is.
pub fn within_in_order(start: i64, end: i64, len: u64) -> Option<(u64, u64)> {
    if start < 0 && end < 0 && start > end {
        return None;
    }
    within(start, end, len)
}

fn place(at: i64, len: u64) -> u64 {
    match u64::try_from(at) {
        Ok(at) => at,
        Err(_) => len.saturating_sub(at.unsigned_abs()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The ends of the range of numbers are where such arithmetic goes wrong, with a slice out of bounds.
    #[test]
    fn places_are_cut_to_the_string() {
        let table = [
            (0, -1, 3, Some((0, 2))),
            (1, 1, 3, Some((1, 1))),
            (-2, 10, 3, Some((1, 2))),
            (-10, -3, 3, Some((0, 0))),
            (-100, -50, 3, Some((0, 0))),
            (-50, -100, 3, None),
            (-1, -2, 3, None),
            (2, 1, 3, None),
            (3, 10, 3, None),
            (0, i64::MAX, 3, Some((0, 2))),
            (i64::MIN, i64::MAX, 3, Some((0, 2))),
            (i64::MIN, i64::MIN, 3, Some((0, 0))),
            (0, 0, 0, None),
            (-1, -1, 0, None),
        ];
        for (start, end, len, expected) in table {
            assert_eq!(within_in_order(start, end, len), expected, "{start} to {end} of {len}");
        }
        assert_eq!(within(-50, -100, 3), Some((0, 0)));
    }
}
