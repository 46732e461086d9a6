//! How long reads take alone, beside writes, and beside writes that the defragmenter must make room for.
//!
//! ```text
//! cargo bench -p cairn-benches --bench beside -- --path /disk/beside.dat --size 1GiB
//! ```
//!
//! One thread reads, another overwrites with durability `buffer`, both at fixed rates (open loop): latency counts from the instant at which an
//! operation should have begun, so a slow answer is not hidden by those that wait behind it. Reads come at a share of the most that the same thread
//! reaches alone (closed loop), which is measured first, and pass all caches. Three loads take turns, for a machine is not the same from minute to
//! minute: reads alone; with writes to a device on which free blocks are so plenty that nothing is moved; with the same writes to a full device, which
//! the defragmenter must keep room on. A turn in which it did otherwise is an error. The medians of all turns count, and their spread is printed.

#[path = "beside/open_loop.rs"]
mod open_loop;

use std::{
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::{Duration, Instant},
};

use cairn_benches::{
    keys::{Chooser, Distribution, Random},
    sizes::Size,
    subject::{self, Subject},
    values,
};
use cairn_engine::{
    format::FOOTER_SHARE,
    model::{Durability, ReadPolicy, Ttl},
};
use clap::Parser;

use self::open_loop::{Latencies, open_loop};

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
    /// Reads a second; without it `--load` says.
    #[arg(long)]
    reads: Option<u64>,
    /// Reads a second, in per cent of the most that is reached with 64 in flight.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u64).range(1..=100))]
    load: u64,
    /// Overwrites a second.
    #[arg(long, default_value_t = 40_000, value_parser = clap::value_parser!(u64).range(1..))]
    writes: u64,
    /// Which records are overwritten: uniform or zipf (theta 0.99). Reads are uniform.
    #[arg(long, default_value = "uniform")]
    distribution: Distribution,
    /// Bytes of each value, 16 or more.
    #[arg(long, default_value_t = 1024)]
    value_size: usize,
    /// Turns of each load.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..))]
    rounds: u64,
    /// Seconds of each turn.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..))]
    seconds: u64,
    /// First number of all random choices.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Given by `cargo bench`.
    #[arg(long, hide = true)]
    bench: bool,
}

/// Operations in flight in a closed loop, on each thread.
const DEPTH: u64 = 64;
/// How long the most that can be read is measured.
const MOST_TIME: Duration = Duration::from_secs(3);
/// Between turns: what is under way comes to its end, and does not count for the next load.
const PAUSE: Duration = Duration::from_millis(500);

/// One of a turn's figures.
type Figure = fn(&Turn) -> f64;

/// The loads, in the order of their turns.
const LOADS: [&str; 3] = ["reads alone", "with writes only", "with defragmenter"];

/// What one turn came to, in microseconds and in each second.
#[derive(Clone, Copy)]
struct Turn {
    reads: f64,
    p50: f64,
    p99: f64,
    p999: f64,
    writes: f64,
    writes_p99: f64,
    moved: f64,
    megabytes_out: f64,
}

fn main() {
    let options = Options::parse();
    let roomy_path = options.path.with_added_extension("roomy");
    println!(
        "loading {} keys of {} bytes twice; seed {}",
        options.keys(),
        options.value_size,
        options.seed
    );
    let full = load(&options, &options.path, options.size.0);
    let roomy = load(&options, &roomy_path, options.roomy_size());
    // Once over, so that blocks are as they are after a long time.
    let (count, done) = (options.keys(), AtomicU64::new(0));
    let chooser = Chooser::new(count, options.distribution);
    closed_loop(&options, &full, |random| {
        (done.fetch_add(1, Relaxed) < count).then(|| chooser.key(random))
    });
    full.settle();
    let most = most_reads(&options, &full);
    let rate = options.reads.unwrap_or(most * options.load / 100).max(1);
    println!(
        "at most {most} reads/s; from here {rate} reads/s uniform, {} overwrites/s {:?}; {} turns of {} s",
        options.writes, options.distribution, options.rounds, options.seconds
    );
    print_header();
    let mut turns: [Vec<Turn>; 3] = Default::default();
    for round in 0..options.rounds {
        for (load, what) in LOADS.iter().enumerate() {
            let subject = if load == 1 { &roomy } else { &full };
            let writes = if load == 0 { 0 } else { options.writes };
            let turn = measure(&options, subject, rate, writes, round);
            print_turn(what, &turn);
            assert_eq!(
                turn.moved > 0.0,
                load == 2,
                "{what}: {} records moved a second",
                turn.moved
            );
            turns[load].push(turn);
            std::thread::sleep(PAUSE);
        }
    }
    report(&turns);
    drop((full, roomy));
    for path in [&options.path, &roomy_path] {
        let _ = std::fs::remove_file(path);
    }
}

impl Options {
    /// Keys that make the full device as full as asked for.
    fn keys(&self) -> u64 {
        self.size.0 * self.fill / 100 / self.record_bytes()
    }

    fn record_bytes(&self) -> u64 {
        subject::record_bytes(self.value_size) + FOOTER_SHARE
    }

    /// A device on which all records and all writes of all turns fit, with some more, so that nothing need be moved.
    fn roomy_size(&self) -> u64 {
        let written = self.rounds * self.seconds * self.writes * self.record_bytes();
        (self.size.0 + written + written / 8).next_multiple_of(1 << 20)
    }
}

/// Makes a device with all records on it.
fn load(options: &Options, path: &Path, size: u64) -> Subject {
    let _ = std::fs::remove_file(path);
    let subject = Subject::open(&subject::config(path, size));
    let subject = subject.unwrap_or_else(|error| panic!("{error}"));
    let next = AtomicU64::new(0);
    closed_loop(options, &subject, |_| {
        Some(next.fetch_add(1, Relaxed)).filter(|key| *key < options.keys())
    });
    subject
}

/// Writes what `next` chooses until it ends, as fast as it goes.
fn closed_loop(
    options: &Options,
    subject: &Subject,
    next: impl Fn(&mut Random) -> Option<u64> + Sync,
) {
    subject.lanes(2, DEPTH / 2, |lane| {
        let (next, mut random) = (&next, Random::new(options.seed << 20 | lane));
        async move {
            while let Some(key) = next(&mut random) {
                put(options, subject, key).await;
            }
        }
    });
}

/// How many reads a second one thread reaches.
fn most_reads(options: &Options, subject: &Subject) -> u64 {
    let (started, count) = (Instant::now(), options.keys());
    let done: Vec<u64> = subject.lanes(1, DEPTH, |lane| {
        let mut random = Random::new(options.seed << 24 | lane);
        async move {
            let chooser = Chooser::new(count, Distribution::Uniform);
            let mut done = 0;
            while started.elapsed() < MOST_TIME {
                get(subject, chooser.key(&mut random)).await;
                done += 1;
            }
            done
        }
    });
    (done.iter().sum::<u64>() as f64 / started.elapsed().as_secs_f64()) as u64
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

/// One turn: `rate` reads a second, beside `writes` a second if that is not 0.
fn measure(options: &Options, subject: &Subject, rate: u64, writes: u64, round: u64) -> Turn {
    let (before, started) = (subject.namespace.stats(), Instant::now());
    let end = started + Duration::from_secs(options.seconds);
    let (count, seed) = (options.keys(), options.seed << 32 | round << 1);
    let (reads, written) = std::thread::scope(|scope| {
        let writer = (writes > 0).then(|| {
            scope.spawn(|| {
                let mut random = Random::new(seed | 1);
                let chooser = Chooser::new(count, options.distribution);
                subject.on_thread(async {
                    open_loop(writes, end, || put(options, subject, chooser.key(&mut random)))
                })
            })
        });
        let mut random = Random::new(seed);
        let chooser = Chooser::new(count, Distribution::Uniform);
        let reads = subject
            .on_thread(async { open_loop(rate, end, || get(subject, chooser.key(&mut random))) });
        (reads, writer.map(|writer| writer.join().expect("the writer panicked")))
    });
    let seconds = started.elapsed().as_secs_f64();
    let now = subject.namespace.stats();
    let a_second = |count: u64| count as f64 / seconds;
    Turn {
        reads: a_second(reads.count()),
        p50: reads.at(0.5),
        p99: reads.at(0.99),
        p999: reads.at(0.999),
        writes: a_second(now.writes - before.writes),
        writes_p99: written.as_ref().map_or(0.0, |written: &Latencies| written.at(0.99)),
        moved: a_second(now.records_moved - before.records_moved),
        megabytes_out: a_second(now.bytes_flushed - before.bytes_flushed) / 1e6,
    }
}

fn print_header() {
    println!(
        "{:<18} {:>8} {:>8} {:>8} {:>8} {:>8} {:>9} {:>8} {:>9}",
        "", "reads/s", "p50 us", "p99 us", "p99.9", "writes/s", "p99 us", "moved/s", "MB/s out"
    );
}

fn print_turn(what: &str, turn: &Turn) {
    println!(
        "{what:<18} {:>8.0} {:>8.0} {:>8.0} {:>8.0} {:>8.0} {:>9.0} {:>8.0} {:>9.1}",
        turn.reads,
        turn.p50,
        turn.p99,
        turn.p999,
        turn.writes,
        turn.writes_p99,
        turn.moved,
        turn.megabytes_out
    );
}

/// Medians, spread, and the ratios of the medians.
fn report(turns: &[Vec<Turn>; 3]) {
    println!("\nmedian (least, most), us");
    for (what, turns) in LOADS.iter().zip(turns) {
        let cell = |of: Figure| {
            let (least, median, most) = spread(turns, of);
            format!("{median:.0} ({least:.0}, {most:.0})")
        };
        let (p50, p99, p999) = (cell(|t| t.p50), cell(|t| t.p99), cell(|t| t.p999));
        println!("{what:<18} p50 {p50:<20} p99 {p99:<22} p99.9 {p999}");
    }
    let named: [(&str, Figure); 3] =
        [("p50", |t| t.p50), ("p99", |t| t.p99), ("p99.9", |t| t.p999)];
    for (name, of) in named {
        let [alone, beside, reclaiming] = [0, 1, 2].map(|load| spread(&turns[load], of).1);
        println!(
            "{name} with the defragmenter: {:.2} times that of reads alone, {:.2} times that with writes only; \
             with writes only: {:.2} times that alone",
            reclaiming / alone,
            reclaiming / beside,
            beside / alone
        );
    }
}

/// The least, the median and the most.
fn spread(turns: &[Turn], of: Figure) -> (f64, f64, f64) {
    let mut all: Vec<f64> = turns.iter().map(of).collect();
    all.sort_by(f64::total_cmp);
    (all[0], all[all.len() / 2], all[all.len() - 1])
}
