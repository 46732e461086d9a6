//! What is counted while a run goes, and what is left of it when it is over.

use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use super::{cpu, plan::Plan};

/// Latencies are kept to three digits, up to this many nanoseconds (100 s).
const LATENCY_MAX_NS: u64 = 100_000_000_000;

/// Latencies of one kind of operation, and the bytes it moved.
#[derive(Clone, Debug)]
pub struct Side {
    /// Latencies in nanoseconds.
    pub latency: Histogram<u64>,
    /// Bytes of the values.
    pub bytes: u64,
}

impl Default for Side {
    fn default() -> Self {
        let latency = Histogram::new_with_bounds(1, LATENCY_MAX_NS, 3);
        Self { latency: latency.expect("the bounds are sound"), bytes: 0 }
    }
}

impl Side {
    /// An operation that took so long.
    pub fn add(&mut self, took: Duration, bytes: usize) {
        self.latency.saturating_record(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX).max(1));
        self.bytes += bytes as u64;
    }

    fn merge(&mut self, other: &Self) {
        self.latency.add(&other.latency).expect("all histograms have the same bounds");
        self.bytes += other.bytes;
    }
}

/// What one job counted, or all of them together.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Reads.
    pub reads: Side,
    /// Writes and deletes.
    pub writes: Side,
    /// Reads that found nothing.
    pub misses: u64,
    /// Values that were not what had been written.
    pub mismatches: u64,
    /// Operations that failed.
    pub errors: u64,
    /// The first failure.
    pub first_error: Option<String>,
    /// When the measured operations were done, and the CPU used by then, where something else follows them.
    pub ended: Option<(Instant, Duration)>,
}

impl Tally {
    /// An operation failed.
    pub fn failed(&mut self, error: String) {
        self.errors += 1;
        self.first_error.get_or_insert(error);
    }

    /// The measured operations are done; what follows does not count.
    pub fn end(&mut self) {
        self.ended = Some((Instant::now(), cpu::used()));
    }

    /// Adds what another job counted.
    pub fn merge(&mut self, other: &Self) {
        self.reads.merge(&other.reads);
        self.writes.merge(&other.writes);
        self.misses += other.misses;
        self.mismatches += other.mismatches;
        self.errors += other.errors;
        self.ended = self.ended.max(other.ended);
        if self.first_error.is_none() {
            self.first_error.clone_from(&other.first_error);
        }
    }

    /// Operations that succeeded.
    pub fn ops(&self) -> u64 {
        self.reads.latency.len() + self.writes.latency.len()
    }
}

/// One run and what it gave.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// What was run, for the table: `embedded`, `grpc pipeline`, ...
    pub name: String,
    /// What it did.
    pub plan: Plan,
    /// What the jobs counted together.
    pub total: Tally,
    /// How long it was measured.
    pub took: Duration,
    /// CPU that this process used meanwhile.
    pub cpu: Duration,
    /// CPU that the node used meanwhile.
    pub server_cpu: Option<Duration>,
}

impl Outcome {
    /// Operations a second.
    pub fn rate(&self) -> f64 {
        self.total.ops() as f64 / self.took.as_secs_f64().max(1e-9)
    }

    /// Microseconds of `cpu` for each operation.
    pub fn per_op(&self, cpu: Duration) -> f64 {
        cpu.as_secs_f64() * 1e6 / self.total.ops().max(1) as f64
    }
}
