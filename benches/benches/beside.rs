//! How long reads take alone, beside writes, and beside writes that the defragmenter must make room for.
//!
//! ```text
//! cargo bench -p cairn-benches --bench beside -- --path /disk/beside.dat --size 1GiB
//! ```
//!
//! One thread reads, another overwrites with durability `buffer`, both at fixed rates (open loop): latency counts from the instant at which an operation
//! should have begun, so a slow answer is not hidden by those that wait behind it. Caches are off for the reads. A full device is measured
//! alone and beside the writes, with the defragmenter at work; then one of twice the size, with the same records, on which free blocks are plenty and
//! nothing is moved. Between the loads and the measurements everything is flushed. The defragmenter's own share is the second ratio.

use std::{
    future::Future,
    path::{Path, PathBuf},
    pin::Pin,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    task::{Context, Poll},
    time::{Duration, Instant},
};

use cairn_benches::{
    keys::{Chooser, Distribution, Random},
    sizes::Size,
    subject::{self, Subject},
    values,
};
use cairn_engine::{
    device::reactor,
    format::FOOTER_SHARE,
    model::{Durability, ReadPolicy, Ttl},
};
use clap::Parser;
use futures_util::stream::{FuturesUnordered, Stream};

#[derive(Parser, Clone)]
#[command(about = "Latency of reads beside the defragmenter")]
struct Options {
    /// The device file; made, and removed at the end. A second one is made beside it.
    #[arg(long, default_value = "beside.dat")]
    path: PathBuf,
    /// Size of the full device, such as 1GiB.
    #[arg(long, default_value = "1GiB")]
    size: Size,
    /// How full it is, in per cent of its size.
    #[arg(long, default_value_t = 80, value_parser = clap::value_parser!(u64).range(1..=95))]
    fill: u64,
    /// Reads a second: half of what the device can do, or less.
    #[arg(long, default_value_t = 30_000)]
    reads: u64,
    /// Overwrites a second.
    #[arg(long, default_value_t = 40_000)]
    writes: u64,
    /// Which records are overwritten: uniform or zipf (theta 0.99). Reads are uniform.
    #[arg(long, default_value = "uniform")]
    distribution: Distribution,
    /// Bytes of each value, 16 or more.
    #[arg(long, default_value_t = 1024)]
    value_size: usize,
    /// Seconds of each measurement.
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// First number of all random choices.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Given by `cargo bench`.
    #[arg(long, hide = true)]
    bench: bool,
}

/// Operations in flight in a closed loop, on each of the two threads.
const DEPTH: u64 = 32;
/// Operations in flight in an open loop: those that are due meanwhile begin late, which counts.
const IN_FLIGHT_MOST: usize = 256;

fn main() {
    let options = Options::parse();
    println!(
        "{} reads/s uniform, {} overwrites/s {:?}, {} keys of {} bytes; seed {}",
        options.reads,
        options.writes,
        options.distribution,
        options.keys(),
        options.value_size,
        options.seed
    );
    println!(
        "{:<22} {:>8} {:>8} {:>8} {:>8} {:>8} {:>8} {:>9} {:>7} {:>10}",
        "",
        "reads/s",
        "p50 us",
        "p99 us",
        "p99.9",
        "max us",
        "writes/s",
        "p99 us",
        "moved/s",
        "MB/s out"
    );
    let (alone, reclaiming) = with_device(&options, &options.path, options.size.0, |subject| {
        // Once over, so that blocks are as they are after a long time.
        let (count, done) = (options.keys(), AtomicU64::new(0));
        let chooser = Chooser::new(count, options.distribution);
        closed_loop(&options, subject, |random| {
            (done.fetch_add(1, Relaxed) < count).then(|| chooser.key(random))
        });
        subject.settle();
        let alone = measure(&options, subject, "reads alone", 0);
        (alone, measure(&options, subject, "with the defragmenter", options.writes))
    });
    let roomy = options.path.with_added_extension("roomy");
    let beside = with_device(&options, &roomy, 2 * options.size.0, |subject| {
        subject.settle();
        measure(&options, subject, "with writes only", options.writes)
    });
    println!(
        "p99 with the defragmenter: {:.2} times that of reads alone, {:.2} times that beside writes only; \
         beside writes only: {:.2} times that alone",
        reclaiming / alone,
        reclaiming / beside,
        beside / alone
    );
}

impl Options {
    /// Keys that make the full device as full as asked for.
    fn keys(&self) -> u64 {
        self.size.0 * self.fill / 100 / (subject::record_bytes(self.value_size) + FOOTER_SHARE)
    }
}

/// Makes a device with all records on it, and removes it when `work` is done.
fn with_device<R>(
    options: &Options,
    path: &Path,
    size: u64,
    work: impl FnOnce(&Subject) -> R,
) -> R {
    let _ = std::fs::remove_file(path);
    let subject = Subject::open(&subject::config(path, size));
    let subject = subject.unwrap_or_else(|error| panic!("{error}"));
    let next = AtomicU64::new(0);
    closed_loop(options, &subject, |_| {
        Some(next.fetch_add(1, Relaxed)).filter(|key| *key < options.keys())
    });
    let result = work(&subject);
    drop(subject);
    let _ = std::fs::remove_file(path);
    result
}

/// Writes what `next` chooses until it ends, as fast as it goes.
fn closed_loop(
    options: &Options,
    subject: &Subject,
    next: impl Fn(&mut Random) -> Option<u64> + Sync,
) {
    subject.lanes(2, DEPTH, |lane| {
        let (next, mut random) = (&next, Random::new(options.seed << 20 | lane));
        async move {
            while let Some(key) = next(&mut random) {
                put(options, subject, key).await;
            }
        }
    });
}

async fn put(options: &Options, subject: &Subject, key: u64) {
    let mut value = vec![0; options.value_size];
    values::fill(&mut value, key, 1);
    let put = subject.put(key, value, Durability::Buffer, Ttl::Never).await;
    put.unwrap_or_else(|error| panic!("a write: {error}"));
}

async fn get(subject: &Subject, key: u64) {
    let policy = ReadPolicy { bypass_cache: true };
    let found = subject.get(key, &policy, |value| values::version(value, key)).await;
    assert_eq!(found.expect("a read"), Some(Some(1)), "key {key}");
}

/// Reads, beside `writes` a second if that is not 0; prints what came of it and returns the reads' p99 in microseconds.
fn measure(options: &Options, subject: &Subject, what: &str, writes: u64) -> f64 {
    let (before, started) = (subject.namespace.stats(), Instant::now());
    let end = started + Duration::from_secs(options.seconds);
    let count = options.keys();
    let (reads, written) = std::thread::scope(|scope| {
        let writer = (writes > 0).then(|| {
            scope.spawn(|| {
                let mut random = Random::new(options.seed ^ 0x77);
                let chooser = Chooser::new(count, options.distribution);
                subject.on_thread(async {
                    open_loop(writes, end, || put(options, subject, chooser.key(&mut random)))
                })
            })
        });
        let mut random = Random::new(options.seed ^ 0x88);
        let chooser = Chooser::new(count, Distribution::Uniform);
        let reads = subject.on_thread(async {
            open_loop(options.reads, end, || get(subject, chooser.key(&mut random)))
        });
        (reads, writer.map(|writer| writer.join().expect("the writer panicked")))
    });
    let seconds = started.elapsed().as_secs_f64();
    let now = subject.namespace.stats();
    let rate = |count: u64| count as f64 / seconds;
    println!(
        "{what:<22} {:>8.0} {:>8.0} {:>8.0} {:>8.0} {:>8.0} {:>8.0} {:>9.0} {:>7.0} {:>10.1}",
        rate(reads.0.len() as u64),
        reads.at(0.5),
        reads.at(0.99),
        reads.at(0.999),
        reads.at(1.0),
        rate(now.writes - before.writes),
        written.map_or(0.0, |written| written.at(0.99)),
        rate(now.records_moved - before.records_moved),
        rate(now.bytes_flushed - before.bytes_flushed) / 1e6,
    );
    reads.at(0.99)
}

/// Begins so many operations a second until `end`, at even distances, however those before fare. Runs on a thread with a ring, which parks in between.
fn open_loop<F: Future<Output = ()>>(
    rate: u64,
    end: Instant,
    mut operation: impl FnMut() -> F,
) -> Latencies {
    let (interval, mut due) = (Duration::from_secs(1).div_f64(rate as f64), Instant::now());
    let (mut flying, mut latencies) = (FuturesUnordered::new(), Vec::new());
    let waker = reactor::waker();
    let mut context = Context::from_waker(&waker);
    while due < end || !flying.is_empty() {
        let now = Instant::now();
        while due <= now && due < end && flying.len() < IN_FLIGHT_MOST {
            let (begin, work) = (due, operation());
            flying.push(async move {
                work.await;
                begin.elapsed().as_nanos() as u64
            });
            due += interval;
        }
        while let Poll::Ready(Some(latency)) = Pin::new(&mut flying).poll_next(&mut context) {
            latencies.push(latency);
        }
        // Completions end a park, and so does the next start that is due.
        if flying.len() >= IN_FLIGHT_MOST || (due >= end && !flying.is_empty()) {
            reactor::park(None);
        } else if due > Instant::now() {
            reactor::park(Some(due));
        } else {
            reactor::turn();
        }
    }
    latencies.sort_unstable();
    Latencies(latencies)
}

/// Latencies in nanoseconds, the shortest first.
struct Latencies(Vec<u64>);

impl Latencies {
    /// The latency, in microseconds, that this part of all do not exceed.
    fn at(&self, part: f64) -> f64 {
        let rank = (self.0.len() as f64 * part).ceil() as usize;
        self.0.get(rank.max(1) - 1).map_or(0.0, |&nanos| nanos as f64 / 1e3)
    }
}
