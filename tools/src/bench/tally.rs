//! What is counted while a job runs: latencies, bytes and failures, for each kind of operation and each half second.

use std::{collections::BTreeMap, time::Duration};

use hdrhistogram::Histogram;

use super::job::Op;

/// Latencies are kept to three digits, up to this many nanoseconds (100 s).
const LATENCY_MAX_NS: u64 = 100_000_000_000;
/// How long a slice is.
pub const SLICE: Duration = Duration::from_millis(500);
/// Depths of fio's table: 1, 2, 4, 8, 16, 32, 64 and more.
pub const DEPTHS: usize = 7;
/// ACT's limits: 1, 2, 4, ... 64 ms.
pub const LIMITS: usize = 7;

/// An empty histogram of nanoseconds.
pub fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, LATENCY_MAX_NS, 3).expect("the bounds are sound")
}

/// One kind of operation.
#[derive(Clone, Debug)]
pub struct Side {
    /// Latencies in nanoseconds; in an open loop from the intended start.
    pub latency: Histogram<u64>,
    /// Bytes of the values.
    pub bytes: u64,
    /// Each half second with an operation that ended in it.
    pub slices: BTreeMap<u32, Slice>,
}

/// What ended within one half second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Slice {
    /// Operations.
    pub ops: u64,
    /// Bytes of their values.
    pub bytes: u64,
    /// How many took longer than 1, 2, 4, ... 64 ms.
    pub over: [u32; LIMITS],
}

impl Default for Side {
    fn default() -> Self {
        Self { latency: histogram(), bytes: 0, slices: BTreeMap::new() }
    }
}

impl Side {
    /// An operation that took so long and ended in this slice.
    pub fn add(&mut self, took: Duration, slice: u32, bytes: usize) {
        let ns = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX).max(1);
        self.latency.saturating_record(ns);
        self.bytes += bytes as u64;
        let slice = self.slices.entry(slice).or_default();
        slice.ops += 1;
        slice.bytes += bytes as u64;
        if ns > 1_000_000 {
            for (power, over) in slice.over.iter_mut().enumerate() {
                *over += u32::from(ns > 1_000_000 << power);
            }
        }
    }

    /// Adds what another counted.
    pub fn merge(&mut self, other: &Self) {
        self.latency.add(&other.latency).expect("all histograms have the same bounds");
        self.bytes += other.bytes;
        for (index, slice) in &other.slices {
            self.slices.entry(*index).or_default().merge(slice);
        }
    }

    fn clear(&mut self) {
        self.latency.clear();
        self.bytes = 0;
        self.slices.clear();
    }
}

impl Slice {
    /// Adds another.
    pub fn merge(&mut self, other: &Self) {
        self.ops += other.ops;
        self.bytes += other.bytes;
        self.over.iter_mut().zip(other.over).for_each(|(mine, over)| *mine += over);
    }
}

/// What a thread counted, or all threads of a job together.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// One for each kind of operation that was met, by [`Op::index`].
    sides: [Option<Box<Side>>; Op::ALL.len()],
    /// Open loop: how long after its intended instant each operation was started, in nanoseconds.
    pub delay: Option<Box<Histogram<u64>>>,
    /// Open loop: starts that were due while as many as allowed were in flight.
    pub late: u64,
    /// Open loop: starts that were due before the end and were never made.
    pub unmade: u64,
    /// How many were in flight at each start, the new one included: 1, 2 to 3, 4 to 7, ... 64 and more.
    pub depths: [u64; DEPTHS],
    /// Reads that found nothing.
    pub misses: u64,
    /// Values that were not what had been written.
    pub mismatches: u64,
    /// Read-modify-writes that began again since somebody else had written.
    pub conflicts: u64,
    /// Operations that failed.
    pub errors: u64,
    /// The first failure.
    pub first_error: Option<String>,
}

impl Tally {
    /// The side of this operation.
    pub fn side(&mut self, op: Op) -> &mut Side {
        self.sides[op.index()].get_or_insert_default()
    }

    /// The operations that were met, in order.
    pub fn sides(&self) -> impl Iterator<Item = (Op, &Side)> {
        let met = |op: Op| self.sides[op.index()].as_deref().map(|side| (op, side));
        Op::ALL.into_iter().filter_map(met).filter(|(_, side)| !side.latency.is_empty())
    }

    /// Reads and scans together, or everything else.
    pub fn direction(&self, reads: bool) -> Side {
        let mut together = Side::default();
        self.sides()
            .filter(|(op, _)| op.is_read() == reads)
            .for_each(|(_, side)| together.merge(side));
        together
    }

    /// All latencies.
    pub fn all(&self) -> Side {
        let mut together = Side::default();
        self.sides().for_each(|(_, side)| together.merge(side));
        together
    }

    /// An operation failed.
    pub fn failed(&mut self, error: String) {
        self.errors += 1;
        self.first_error.get_or_insert(error);
    }

    /// An operation was started this long after its instant.
    pub fn delayed(&mut self, by: Duration) {
        let delay = self.delay.get_or_insert_with(|| Box::new(histogram()));
        delay.saturating_record(u64::try_from(by.as_nanos()).unwrap_or(u64::MAX).max(1));
    }

    /// An operation was started as the `in_flight`-th.
    pub fn started(&mut self, in_flight: usize) {
        self.depths[(in_flight.max(1).ilog2() as usize).min(DEPTHS - 1)] += 1;
    }

    /// Adds what another counted.
    pub fn merge(&mut self, other: &Self) {
        for (mine, side) in self.sides.iter_mut().zip(&other.sides) {
            if let Some(side) = side {
                mine.get_or_insert_default().merge(side);
            }
        }
        if let Some(delay) = &other.delay {
            let mine = self.delay.get_or_insert_with(|| Box::new(histogram()));
            mine.add(&**delay).expect("all histograms have the same bounds");
        }
        self.late += other.late;
        self.unmade += other.unmade;
        self.depths.iter_mut().zip(other.depths).for_each(|(mine, depth)| *mine += depth);
        self.misses += other.misses;
        self.mismatches += other.mismatches;
        self.conflicts += other.conflicts;
        self.errors += other.errors;
        if self.first_error.is_none() {
            self.first_error.clone_from(&other.first_error);
        }
    }

    /// Empties it and keeps its memory.
    pub fn clear(&mut self) {
        let mut sides = std::mem::take(&mut self.sides);
        sides.iter_mut().flatten().for_each(|side| side.clear());
        let mut delay = self.delay.take();
        if let Some(delay) = &mut delay {
            delay.clear();
        }
        *self = Self { sides, delay, ..Self::default() };
    }

    /// Operations that succeeded.
    pub fn ops(&self) -> u64 {
        self.sides.iter().flatten().map(|side| side.latency.len()).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A slow operation is found in every limit that it broke, and threads add up.
    #[test]
    fn slices_count_what_was_over() {
        let mut tally = Tally::default();
        tally.side(Op::Read).add(Duration::from_micros(999), 0, 10);
        tally.side(Op::Read).add(Duration::from_micros(1001), 0, 10);
        tally.side(Op::Read).add(Duration::from_millis(65), 3, 10);
        let mut total = tally.clone();
        total.merge(&tally);
        let (_, side) = total.sides().next().unwrap();
        assert_eq!(side.slices[&0].over, [2, 0, 0, 0, 0, 0, 0]);
        assert_eq!((side.slices[&3].over, side.bytes), ([2; LIMITS], 60));
        tally.clear();
        assert_eq!((tally.ops(), total.ops()), (0, 6));
    }
}
