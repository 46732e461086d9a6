//! Counts and latencies of operations, per worker and without contention.
//!
//! Each worker has its own [`WorkerMetrics`], written by its own thread alone: an increment is a plain load and store. A reader
//! adds the workers up and may see a moment in between.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use cairn_proto::v1::Code;

/// The kinds of operation that are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Kind {
    /// A read of a record.
    Get,
    /// A write of bins.
    Put,
    /// A delete.
    Delete,
    /// A new lifetime.
    Touch,
    /// A look whether a record exists.
    Exists,
    /// Several operations on a record.
    Operate,
    /// One message of a scan.
    Scan,
}

/// How many codes there are.
pub const CODES: usize = Code::Internal as usize + 1;
/// Buckets of a latency histogram: bucket `i` holds what took less than 2^i microseconds, the last one all the rest.
pub const BUCKETS: usize = 26;

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 7] =
        [Self::Get, Self::Put, Self::Delete, Self::Touch, Self::Exists, Self::Operate, Self::Scan];

    /// The name in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::Put => "put",
            Self::Delete => "delete",
            Self::Touch => "touch",
            Self::Exists => "exists",
            Self::Operate => "operate",
            Self::Scan => "scan",
        }
    }

    /// Whether it may change a record.
    pub fn writes(self) -> bool {
        !matches!(self, Self::Get | Self::Exists | Self::Scan)
    }
}

/// The counters of one kind.
#[derive(Debug, Default)]
pub struct KindMetrics {
    /// Operations by code.
    pub codes: [AtomicU64; CODES],
    /// Operations by duration.
    pub buckets: [AtomicU64; BUCKETS],
    /// All durations together.
    pub nanos: AtomicU64,
}

/// The counters of one worker.
#[derive(Debug)]
#[repr(align(128))]
pub struct WorkerMetrics {
    /// Of each namespace, in the order of the configuration; behind them, of requests that reached none.
    namespaces: Box<[[KindMetrics; Kind::ALL.len()]]>,
    /// Operations in flight now.
    pub in_flight: AtomicUsize,
    /// Bytes it holds of messages that are not complete yet.
    pub receiving: AtomicUsize,
    /// Scans it serves now.
    pub scans: AtomicUsize,
    /// Calls of services other than Records it serves now.
    pub other_calls: AtomicUsize,
    /// Connections it serves now.
    pub connections: AtomicUsize,
}

/// One of the places that a worker has for something, until it is dropped.
#[derive(Debug)]
pub struct Place {
    metrics: Arc<WorkerMetrics>,
    taken: fn(&WorkerMetrics) -> &AtomicUsize,
}

impl Place {
    /// Takes one of `places`, of which `taken` counts those that are taken; `None` when that are all.
    pub fn take(
        metrics: &Arc<WorkerMetrics>,
        taken: fn(&WorkerMetrics) -> &AtomicUsize,
        places: usize,
    ) -> Option<Self> {
        if taken(metrics).load(Relaxed) >= places {
            return None;
        }
        taken(metrics).fetch_add(1, Relaxed);
        Some(Self { metrics: Arc::clone(metrics), taken })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        (self.taken)(&self.metrics).fetch_sub(1, Relaxed);
    }
}

fn add(counter: &AtomicU64, by: u64) {
    counter.store(counter.load(Relaxed).wrapping_add(by), Relaxed);
}

impl Default for WorkerMetrics {
    /// Those of a node without a namespace.
    fn default() -> Self {
        Self::new(0)
    }
}

impl WorkerMetrics {
    /// Counters for so many namespaces.
    pub fn new(namespaces: usize) -> Self {
        Self {
            namespaces: (0..=namespaces).map(|_| Default::default()).collect(),
            in_flight: AtomicUsize::new(0),
            receiving: AtomicUsize::new(0),
            scans: AtomicUsize::new(0),
            other_calls: AtomicUsize::new(0),
            connections: AtomicUsize::new(0),
        }
    }

    /// Counts an operation on the namespace of this place, if it reached one. Only the worker's own thread may call this.
    pub fn count(&self, namespace: Option<usize>, kind: Kind, code: Code, took: Duration) {
        let metrics = self.kind(namespace, kind);
        let nanos = took.as_nanos() as u64;
        let bucket = (u64::BITS - (nanos / 1000).leading_zeros()) as usize;
        add(&metrics.codes[code as usize], 1);
        add(&metrics.buckets[bucket.min(BUCKETS - 1)], 1);
        add(&metrics.nanos, nanos);
    }

    /// The counters of a kind on the namespace of this place, or of those that reached none.
    pub fn kind(&self, namespace: Option<usize>, kind: Kind) -> &KindMetrics {
        let none = self.namespaces.len() - 1;
        &self.namespaces[namespace.map_or(none, |place| place.min(none))][kind as usize]
    }

    /// Operations of all kinds and codes.
    pub fn operations(&self) -> u64 {
        let codes = self.namespaces.iter().flatten().flat_map(|kind| &kind.codes);
        codes.map(|count| count.load(Relaxed)).sum()
    }
}
