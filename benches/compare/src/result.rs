//! What was measured, as the child hands it to the parent and as `--json` writes it.

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

/// One engine's run.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Outcome {
    /// The engine's name.
    pub engine: String,
    /// What a reader of the figures must know.
    pub notes: Vec<String>,
    /// Why the run ended early, if it did.
    pub failure: Option<String>,
    /// Whether a control group bounded the process's memory, page cache included.
    pub bounded: bool,
    /// The phases, in their order.
    pub phases: Vec<Phase>,
    /// Bytes of disk after loading and settling.
    pub space_loaded: u64,
    /// Bytes of disk at the end.
    pub space_end: u64,
    /// Resident bytes at the end, less those before the engine was opened.
    pub resident: u64,
    /// The most that was ever resident.
    pub resident_peak: u64,
    /// Bytes that caches of values held at the end.
    pub cache: u64,
    /// Records.
    pub records: u64,
    /// Bytes of keys and values.
    pub data: u64,
}

/// One phase.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Phase {
    /// Its name, as the table knows it.
    pub name: String,
    /// Operations in flight.
    pub depth: u64,
    /// Operations done.
    pub ops: u64,
    /// Reads that found nothing.
    pub misses: u64,
    /// Writes for which there was no room.
    pub refused: u64,
    /// How long it took.
    pub seconds: f64,
    /// How long the engine worked on afterwards; 0 where it was not asked to settle.
    pub settle_seconds: f64,
    /// User and system time of the process, settling included, in seconds.
    pub cpu_seconds: f64,
    /// Bytes of keys and values written by the user.
    pub user_bytes: u64,
    /// Bytes written by the process, settling included, as `/proc/self/io` counts them.
    pub written_bytes: u64,
    /// Bytes written to the whole disk meanwhile, by anybody; 0 where the disk is not known.
    pub disk_written_bytes: u64,
    /// Latency of reads.
    pub reads: Option<Latency>,
    /// Latency of writes.
    pub writes: Option<Latency>,
}

/// Latencies in microseconds.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Latency {
    /// Half were faster.
    pub p50: f64,
    /// One in a hundred was slower.
    pub p99: f64,
    /// One in a thousand was slower.
    pub p999: f64,
    /// The slowest.
    pub max: f64,
}

impl Latency {
    /// That of a histogram of nanoseconds; `None` when it is empty.
    pub fn of(histogram: &Histogram<u64>) -> Option<Self> {
        let at = |quantile| histogram.value_at_quantile(quantile) as f64 / 1e3;
        (!histogram.is_empty()).then(|| Self {
            p50: at(0.5),
            p99: at(0.99),
            p999: at(0.999),
            max: histogram.max() as f64 / 1e3,
        })
    }
}

impl Outcome {
    /// The phase of this name.
    pub fn phase(&self, name: &str) -> Option<&Phase> {
        self.phases.iter().find(|phase| phase.name == name)
    }
}

impl Phase {
    /// Operations a second while the load ran.
    pub fn rate(&self) -> f64 {
        self.ops as f64 / self.seconds
    }

    /// Operations a second, the time included that the engine worked on afterwards.
    pub fn settled_rate(&self) -> f64 {
        self.ops as f64 / (self.seconds + self.settle_seconds)
    }

    /// Microseconds of processor time for each operation.
    pub fn cpu(&self) -> f64 {
        self.cpu_seconds * 1e6 / self.ops as f64
    }

    /// Bytes written for each byte of the user's.
    pub fn amplification(&self) -> f64 {
        self.written_bytes as f64 / self.user_bytes as f64
    }
}
