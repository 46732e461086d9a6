//! A record at random, without reading all of them.

use super::{Namespace, Record};
use crate::{error::Error, index::Entry, model::PARTITIONS};

/// Up to so many entries of a partition each is drawn as likely as any other; of more, one out of so many behind a random place.
const DRAWN_FROM: u32 = 4096;

impl Namespace {
    /// A record of `set` at random, near uniformly: a random one of all records of the namespace, up to `tries` times until one is of
    /// the set. `None` when none was met; [`Self::scan_from`] a random cursor finds one then, if there is any. Holds one record at a time.
    ///
    /// # Errors
    ///
    /// [`Error::Stopping`].
    pub async fn sample(&self, set: &str, tries: usize) -> Result<Option<Record>, Error> {
        self.check_open()?;
        for _ in 0..tries {
            let Some((partition, tag, entry)) = self.draw() else { return Ok(None) };
            match self.scan_one(partition, tag, entry, Some(set)).await {
                Ok(Some(record)) => return Ok(Some(record)),
                Ok(None) | Err(Error::Corruption { .. } | Error::ReadFailed { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    /// An entry of the index at random: first a partition, as likely as it has entries, then one of them.
    fn draw(&self) -> Option<(u16, u64, Entry)> {
        let [which, place, member] = random();
        let mut left = which % self.index.len().max(1);
        // Records come and go meanwhile, so the count may be short of the sum: then the last partition that has any will do.
        let (mut partition, mut len) = (0, 0);
        for candidate in 0..PARTITIONS as u16 {
            match self.index.partition_len(candidate) {
                0 => continue,
                found => (partition, len) = (candidate, found),
            }
            match left.checked_sub(u64::from(len)) {
                Some(less) => left = less,
                None => break,
            }
        }
        let mut entries = Vec::new();
        if len > DRAWN_FROM {
            self.index.page(partition, Some(place), DRAWN_FROM as usize, &mut entries);
        }
        if entries.is_empty() {
            self.index.page(partition, None, DRAWN_FROM as usize, &mut entries);
        }
        if entries.is_empty() {
            return None;
        }
        let (tag, entry) = entries.swap_remove((member % entries.len() as u64) as usize);
        Some((partition, tag, entry))
    }
}

/// Three numbers that nobody can foresee.
fn random() -> [u64; 3] {
    let mut bytes = [0; 24];
    getrandom::fill(&mut bytes).expect("the operating system has a random source");
    let (numbers, _) = bytes.as_chunks::<8>();
    [0, 1, 2].map(|at| u64::from_le_bytes(numbers[at]))
}
