//! Records that live 1 to 60 seconds under a steady load: whether memory and space stay where they are, or grow for ever.
//!
//! ```text
//! cargo bench -p cairn-benches --bench expiry -- --path /disk/expiry.dat --records 1000000 --seconds 300
//! ```
//!
//! New keys all the time, as many a second as let `--records` be alive at once. Every 16th write also reads an earlier key, which must
//! be there before its end and gone after it. Each 10 seconds a line; at the end the least and the most of each column over the last
//! three minutes, in per cent of the mean.

use std::{
    path::PathBuf,
    process::ExitCode,
    sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed},
    time::{Duration, Instant},
};

use cairn_benches::{
    keys::{Random, mix},
    sizes::Size,
    subject::{self, Subject, Ticker},
    values,
};
use cairn_engine::{
    Stats,
    model::{Durability, ReadPolicy, Ttl},
};
use clap::Parser;

/// Lives are from 1 to this many seconds, all alike.
const LONGEST: u64 = 60;
/// Their mean, in milliseconds.
const MEAN_MS: u64 = (1 + LONGEST) * 500;
/// Time between two lines.
const LINE: Duration = Duration::from_secs(10);
/// Lines that count at the end: three minutes.
const LAST: usize = 18;
/// Clocks and a write's own time blur the end of a life by so much.
const BLUR_MS: u64 = 500;

#[derive(Parser, Clone)]
#[command(about = "Records that live 1 to 60 seconds under a steady load")]
struct Options {
    /// The device file; made, and removed at the end.
    #[arg(long, default_value = "expiry.dat")]
    path: PathBuf,
    /// Size of the device, such as 8GiB; by default twice what the live records take.
    #[arg(long)]
    size: Option<Size>,
    /// Records alive at once.
    #[arg(long, default_value_t = 1_000_000)]
    records: u64,
    /// How long.
    #[arg(long, default_value_t = 300)]
    seconds: u64,
    /// Bytes of each value, 16 or more.
    #[arg(long, default_value_t = 1024)]
    value_size: usize,
    /// Threads.
    #[arg(long, default_value_t = 2)]
    threads: u64,
    /// First number of all random choices.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Given by `cargo bench`.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> ExitCode {
    let options = Options::parse();
    let _ = std::fs::remove_file(&options.path);
    let live = options.records * subject::record_bytes(options.value_size);
    let size =
        options.size.map_or((2 * live).next_multiple_of(1 << 20).max(64 << 20), |size| size.0);
    let rate = options.records * 1000 / MEAN_MS;
    println!(
        "{} live records, {rate} writes/s, {} MiB of device, seed {}",
        options.records,
        size >> 20,
        options.seed
    );
    let subject = Subject::open(&subject::config(&options.path, size));
    let subject = subject.unwrap_or_else(|error| panic!("{error}"));
    // Long enough that a key read back is never overwritten here by a younger one.
    let ring = (rate.max(1) * (LONGEST + 10)).next_power_of_two();
    let written = (0..ring).map(|_| AtomicU32::new(0)).collect();
    let run = Run {
        options: options.clone(),
        subject,
        rate,
        start: Instant::now(),
        next: AtomicU64::new(0),
        written,
        wrong: AtomicU64::new(0),
        refused: AtomicU64::new(0),
        checked: AtomicU64::new(0),
    };
    let sound = run.run();
    drop(run);
    let _ = std::fs::remove_file(&options.path);
    println!("{}", if sound { "expiry: passed" } else { "expiry: FAILED" });
    if sound { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

struct Run {
    options: Options,
    subject: Subject,
    rate: u64,
    start: Instant,
    next: AtomicU64,
    /// When each key was written, in milliseconds since the start and 1 more; 0 while that is not known.
    written: Vec<AtomicU32>,
    wrong: AtomicU64,
    refused: AtomicU64,
    checked: AtomicU64,
}

impl Run {
    fn run(&self) -> bool {
        println!(
            "{:>8} {:>10} {:>12} {:>8} {:>12} {:>12} {:>12} {:>9}",
            "seconds",
            "writes/s",
            "records",
            "late",
            "expired",
            "index bytes",
            "used bytes",
            "free"
        );
        let lines = std::thread::scope(|scope| {
            let lines = scope.spawn(|| self.watch());
            self.subject.lanes(self.options.threads, 1, |thread| self.lane(thread));
            lines.join().expect("the watcher ends by itself")
        });
        let (wrong, refused) = (self.wrong.load(Relaxed), self.refused.load(Relaxed));
        summary(&lines);
        println!(
            "{} reads checked, {wrong} wrong; {refused} writes refused",
            self.checked.load(Relaxed)
        );
        wrong == 0 && refused == 0
    }

    fn life_ms(&self, number: u64) -> u64 {
        1000 + mix(number ^ self.options.seed << 40) % ((LONGEST - 1) * 1000 + 1)
    }

    fn now_ms(&self) -> u64 {
        self.start.elapsed().as_millis() as u64
    }

    /// Writes at the rate, in steps: what is due by now, then a short rest.
    async fn lane(&self, thread: u64) {
        let mut random = Random::new(self.options.seed << 20 | thread);
        let mut value = vec![0; self.options.value_size];
        while self.now_ms() < self.options.seconds * 1000 {
            let due = self.now_ms() * self.rate / 1000;
            while self.next.load(Relaxed) < due {
                let number = self.next.fetch_add(1, Relaxed);
                values::fill(&mut value, number, 1);
                let ttl = Ttl::Millis(self.life_ms(number));
                let slot = &self.written[(number % self.written.len() as u64) as usize];
                slot.store(0, Relaxed);
                let put = self.subject.put(number, value.clone(), Durability::Buffer, ttl).await;
                match put {
                    Ok(()) => slot.store(self.now_ms() as u32 + 1, Relaxed),
                    Err(error) => {
                        if self.refused.fetch_add(1, Relaxed) == 0 {
                            println!("a write was refused: {error}");
                        }
                    }
                }
                if number.is_multiple_of(16) {
                    self.check(&mut random, number).await;
                }
            }
            std::thread::park_timeout(Duration::from_millis(5));
        }
    }

    /// Reads a key of the last minute or so: there before its end, gone after it.
    async fn check(&self, random: &mut Random, newest: u64) {
        let back = self.rate.max(1) * (LONGEST + 5);
        let Some(number) = newest.checked_sub(1 + random.below(back)) else { return };
        let slot = &self.written[(number % self.written.len() as u64) as usize];
        let Some(written) = u64::from(slot.load(Relaxed)).checked_sub(1) else { return };
        let end = written + self.life_ms(number);
        let before = self.now_ms();
        let look = |value: &[u8]| values::version(value, number) == Some(1);
        let found = self.subject.get(number, &ReadPolicy::default(), look).await;
        let right = match found {
            Ok(Some(whole)) => whole && before < end + BLUR_MS,
            Ok(None) => self.now_ms() + BLUR_MS > end,
            Err(_) => false,
        };
        self.checked.fetch_add(1, Relaxed);
        if !right && self.wrong.fetch_add(1, Relaxed) < 10 {
            println!("key {number}: {found:?} at {before} ms; its life ends at {end} ms");
        }
    }

    /// A line from time to time; all lines at the end.
    fn watch(&self) -> Vec<Stats> {
        let (mut lines, mut ticker) = (Vec::new(), Ticker::new(LINE));
        let mut last = self.subject.namespace.stats();
        while self.now_ms() < self.options.seconds * 1000 {
            std::thread::park_timeout(Duration::from_millis(100));
            if !ticker.due() {
                continue;
            }
            let now = self.subject.namespace.stats();
            let late = (self.now_ms() * self.rate / 1000).saturating_sub(now.writes);
            println!(
                "{:>8} {:>10} {:>12} {late:>8} {:>12} {:>12} {:>12} {:>9}",
                self.now_ms() / 1000,
                (now.writes - last.writes) / LINE.as_secs(),
                now.records,
                now.expired,
                now.index_bytes,
                now.in_use_bytes,
                now.free_blocks
            );
            last.clone_from(&now);
            lines.push(now);
        }
        lines
    }
}

/// The least and the most of each column over the last lines, in per cent of the mean.
fn summary(lines: &[Stats]) {
    let last = &lines[lines.len().saturating_sub(LAST)..];
    if last.is_empty() {
        println!("too short for a single line");
        return;
    }
    println!(
        "over the last {} s, least and most in per cent of the mean:",
        last.len() as u64 * LINE.as_secs()
    );
    type Column = (&'static str, fn(&Stats) -> u64);
    let columns: [Column; 4] = [
        ("records", |stats| stats.records),
        ("index bytes", |stats| stats.index_bytes),
        ("used bytes", |stats| stats.in_use_bytes),
        ("free blocks", |stats| stats.free_blocks),
    ];
    for (name, column) in columns {
        let values: Vec<f64> = last.iter().map(|stats| column(stats) as f64).collect();
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        let least = values.iter().copied().fold(f64::INFINITY, f64::min);
        let most = values.iter().copied().fold(0.0, f64::max);
        println!(
            "{name:>12}: {:6.1} % to {:6.1} % of {mean:.0}",
            least * 100.0 / mean,
            most * 100.0 / mean
        );
    }
}
