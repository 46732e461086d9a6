//! What is known of a key during a replay, and so what a read of it may show.

use super::payload;

/// What is known of a key.
#[derive(Clone, Debug, Default)]
pub struct Known {
    /// Writes so far; the counter of the last one.
    pub counter: u64,
    /// What a read may show. Empty while the key was not written by this replay: then anything whole will do.
    possible: Vec<Option<(u64, usize)>>,
}

impl Known {
    /// A write or delete of the key is over; `sure` that it was applied.
    pub fn written(&mut self, to: Option<(u64, usize)>, sure: bool) {
        if sure {
            self.possible.clear();
        } else if self.possible.is_empty() {
            // Nothing was known before, and now even less.
            return;
        }
        self.possible.push(to);
    }

    /// Whether a read may show this.
    pub fn allows(&self, key: u64, value: Option<&[u8]>) -> bool {
        let seen = match value {
            None => None,
            Some(value) => match payload::check(value, key) {
                None => return false,
                Some(counter) => Some((counter, value.len())),
            },
        };
        let short = |len: usize| len < 16;
        self.possible.is_empty()
            || self.possible.iter().any(|possible| match (possible, seen) {
                // A short value does not carry its counter.
                (Some((_, a)), Some((_, b))) if short(*a) => *a == b,
                (possible, seen) => *possible == seen,
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A store that loses, keeps or changes a write does not pass.
    #[test]
    fn wrong_values_are_told() {
        let mut known = Known::default();
        assert!(known.allows(1, None) && known.allows(1, Some(&payload::value(1, 9, 100))));
        known.written(Some((1, 100)), true);
        known.written(Some((2, 100)), true);
        assert!(known.allows(1, Some(&payload::value(1, 2, 100))));
        assert!(!known.allows(1, Some(&payload::value(1, 1, 100))), "an older write");
        assert!(!known.allows(1, Some(&payload::value(1, 2, 99))), "another length");
        assert!(!known.allows(1, None), "lost");
        known.written(None, false);
        assert!(
            known.allows(1, None) && known.allows(1, Some(&payload::value(1, 2, 100))),
            "in doubt"
        );
        known.written(None, true);
        assert!(
            known.allows(1, None) && !known.allows(1, Some(&payload::value(1, 2, 100))),
            "came back"
        );
    }
}
