//! Fills a device to a share of its size and overwrites it many times: whether the engine holds out, what it writes for each byte of the
//! user's, and whether every record is right afterwards, in the same process and after a crash.
//!
//! ```text
//! cargo bench -p cairn-benches --bench endurance -- --path /disk/endurance.dat --size 8GiB --fill 80 --times 10 --distribution zipf
//! ```
//!
//! Full to N per cent means: what live records take on the device, with their share of the blocks' footers, over the device's size: what the
//! node calls used. Write amplification is all bytes written to the device over the bytes of the records that were written, as they lie there;
//! over the bytes of keys and values alone it is a little more, which is printed too. A child process loads,
//! overwrites and verifies, then is killed: with durability `device` while it is writing, with `buffer` after the longest time that
//! a record may stay in RAM. A second child starts cold and verifies again. What every record must be is in a file beside the
//! device, 4 bytes a key.

mod options;

use std::{
    process::{Command, ExitCode},
    sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    time::{Duration, Instant},
};

use cairn_benches::{
    keys::{Chooser, Random},
    subject::{self, Subject, Ticker},
    values,
    versions::Versions,
};
use cairn_engine::{
    Error, Stats,
    model::{Durability, ReadPolicy, Ttl},
};
use clap::Parser;

use self::options::Options;

/// Without a single write in this time, the scenario has failed.
const STALLED: Duration = Duration::from_secs(30);

fn main() -> ExitCode {
    let options = Options::parse();
    match options.phase.as_str() {
        "all" => all(&options),
        "run" => Run::open(&options).run(),
        _ => Run::open(&options).verify_again(),
    }
}

/// The run is a process of its own, for it is killed.
fn all(options: &Options) -> ExitCode {
    let clean = || {
        let is_file = std::fs::metadata(&options.path).is_ok_and(|found| found.is_file());
        is_file.then(|| std::fs::remove_file(&options.path));
        let _ = std::fs::remove_file(options.versions());
    };
    clean();
    let start = |phase: &str| {
        let mut command = Command::new(std::env::current_exe().expect("this program has a path"));
        command.args(std::env::args().skip(1)).args(["--phase", phase]);
        command.status().expect("this program can be started again")
    };
    use std::os::unix::process::ExitStatusExt;
    // It ends by its own SIGKILL; an exit of any kind is a failure it has told.
    let killed = start("run").signal() == Some(libc::SIGKILL);
    let sound = killed && start("again").success();
    clean();
    println!("{}", if sound { "endurance: passed" } else { "endurance: FAILED" });
    if sound { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// One process's part of the scenario.
struct Run {
    options: Options,
    subject: Subject,
    versions: Versions,
    keys: u64,
    /// Writes acknowledged in this phase.
    done: AtomicU64,
}

impl Run {
    fn open(options: &Options) -> Self {
        let mut config = subject::config(&options.path, options.size.0);
        config.max_used_pct = options.max_used_pct;
        let subject = Subject::open(&config).unwrap_or_else(|error| panic!("{error}"));
        let keys = options.keys();
        let versions = Versions::open(&options.versions(), keys).expect("a file beside the device");
        Self { options: options.clone(), subject, versions, keys, done: AtomicU64::new(0) }
    }

    fn run(&self) -> ExitCode {
        let options = &self.options;
        println!(
            "{} keys of {} bytes on {} MiB: {} % full; seed {}",
            self.keys,
            options.value_size,
            options.size.0 >> 20,
            options.fill,
            options.seed
        );
        let next = AtomicU64::new(0);
        let fresh =
            |_: &mut Random| Some(next.fetch_add(1, Relaxed)).filter(|key| *key < self.keys);
        if !self.write("fill", Durability::Buffer, self.keys, &fresh) {
            return ExitCode::FAILURE;
        }
        let each = 8 + options.value_size as u64;
        let overwrites = (options.size.0 as f64 * options.times) as u64 / each;
        let (chooser, left) = (Chooser::new(self.keys, options.distribution), AtomicU64::new(0));
        let again = |random: &mut Random| {
            let more = left.fetch_add(1, Relaxed) < overwrites;
            more.then(|| chooser.key(random))
        };
        if !self.write("overwrite", options.durability(), overwrites, &again) {
            return ExitCode::FAILURE;
        }
        if !self.verify("in the same process") {
            return ExitCode::FAILURE;
        }
        match options.durability() {
            Durability::Buffer => {
                self.subject.settle();
                kill()
            }
            Durability::Device => self.kill_while_writing(&chooser),
        }
    }

    /// Writes what `next` chooses until it ends, with a live line. False when writes were refused, failed or stalled.
    fn write(
        &self,
        what: &str,
        durability: Durability,
        count: u64,
        next: &(dyn Fn(&mut Random) -> Option<u64> + Sync),
    ) -> bool {
        self.done.store(0, Relaxed);
        let before = self.subject.namespace.stats();
        let over = AtomicBool::new(false);
        let started = Instant::now();
        let results = std::thread::scope(|scope| {
            scope.spawn(|| self.live(what, count, &before, &over));
            let Options { threads, depth, .. } = self.options;
            let lane = |number| self.lane(durability, number, next);
            let results = self.subject.lanes(threads, depth, lane);
            over.store(true, Relaxed);
            results
        });
        let failures: Vec<&Error> =
            results.iter().filter_map(|result| result.as_ref().err()).collect();
        let took = started.elapsed().as_secs_f64();
        println!("{}  in {took:.1} s", self.line(what, count, &before, &before, took));
        if let Some(first) = failures.first() {
            println!("{what}: {} lanes failed, the first with: {first}", failures.len());
        }
        failures.is_empty()
    }

    async fn lane(
        &self,
        durability: Durability,
        number: u64,
        next: &(dyn Fn(&mut Random) -> Option<u64> + Sync),
    ) -> Result<(), Error> {
        let mut random = Random::new(self.options.seed << 20 | number);
        while let Some(chosen) = next(&mut random) {
            // A key with a write on its way gives its turn to the next one that is free.
            let (key, version) = (0..self.keys)
                .map(|step| (chosen + step) % self.keys)
                .find_map(|key| Some((key, self.versions.begin(key)?)))
                .expect("fewer writes in flight than keys");
            let mut value = vec![0; self.options.value_size];
            values::fill(&mut value, key, u64::from(version));
            match self.subject.put(key, value, durability, Ttl::Never).await {
                Ok(()) => self.versions.acknowledge(key, version),
                Err(error) => {
                    if !error.in_doubt() {
                        self.versions.refuse(key, version);
                    }
                    return Err(error);
                }
            }
            self.done.fetch_add(1, Relaxed);
        }
        Ok(())
    }

    /// A line each second until it is over; ends the process when nothing moves any more.
    fn live(&self, what: &str, count: u64, before: &Stats, over: &AtomicBool) {
        let (mut ticker, mut last) = (Ticker::new(Duration::from_secs(1)), before.clone());
        let (mut moved, mut done) = (Instant::now(), 0);
        while !over.load(Relaxed) {
            std::thread::park_timeout(Duration::from_millis(50));
            if !ticker.due() {
                continue;
            }
            let now = self.subject.namespace.stats();
            println!("{}", self.line(what, count, before, &last, 1.0));
            last = now;
            if self.done.load(Relaxed) > done {
                (moved, done) = (Instant::now(), self.done.load(Relaxed));
            } else if moved.elapsed() > STALLED {
                println!("{what}: no write went through in {STALLED:?}");
                std::process::exit(1);
            }
        }
    }

    fn line(&self, what: &str, count: u64, first: &Stats, last: &Stats, seconds: f64) -> String {
        let now = self.subject.namespace.stats();
        let each = (8 + self.options.value_size) as f64;
        let user = |since: &Stats| (now.writes - since.writes) as f64 * each;
        let flushed = |since: &Stats| (now.bytes_flushed - since.bytes_flushed) as f64;
        let amplification =
            |since: &Stats| flushed(since) / (now.bytes_written - since.bytes_written) as f64;
        format!(
            "{what:<9} {:>5.1} %  {:>7.1} MB/s  free blocks {:>6} of {}  in use {:>4.1} %  \
             write amplification {:.3}, just now {:.3}, of values {:.3}",
            self.done.load(Relaxed) as f64 * 100.0 / count as f64,
            user(last) / seconds / 1e6,
            now.free_blocks,
            now.total_blocks,
            now.in_use_bytes as f64 * 100.0 / self.options.size.0 as f64,
            amplification(first),
            amplification(last),
            flushed(first) / user(first),
        )
    }

    fn kill_while_writing(&self, chooser: &Chooser) -> ! {
        let started = Instant::now();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while started.elapsed() < Duration::from_millis(500) {
                    std::thread::park_timeout(Duration::from_millis(10));
                }
                kill()
            });
            let next = |random: &mut Random| Some(chooser.key(random));
            let Options { threads, depth, .. } = self.options;
            let lane = |number| self.lane(Durability::Device, number | 1 << 10, &next);
            self.subject.lanes(threads, depth, lane);
        });
        panic!("writes ended that have no end")
    }

    /// Reads every key and compares it with what was acknowledged.
    fn verify(&self, when: &str) -> bool {
        let (next, wrong) = (AtomicU64::new(0), AtomicU64::new(0));
        let started = Instant::now();
        let Options { threads, depth, .. } = self.options;
        self.subject.lanes(threads, depth, |_| async {
            loop {
                let key = next.fetch_add(1, Relaxed);
                if key >= self.keys {
                    return;
                }
                let known = self.versions.get(key);
                let look = |value: &[u8]| values::version(value, key);
                let found = self.subject.get(key, &ReadPolicy::default(), look).await;
                let right = match &found {
                    Ok(None) => known.allows(None),
                    Ok(Some(Some(version))) => known.allows(Some(*version)),
                    Ok(Some(None)) | Err(_) => false,
                };
                if !right && wrong.fetch_add(1, Relaxed) < 10 {
                    println!("key {key}: found {found:?}, should be {known:?}");
                }
            }
        });
        let (wrong, seconds) = (wrong.into_inner(), started.elapsed().as_secs_f64());
        println!("verified {when}: {} keys, {wrong} wrong, in {seconds:.1} s", self.keys);
        wrong == 0
    }

    fn verify_again(&self) -> ExitCode {
        let report = self.subject.namespace.report();
        println!(
            "{:?} start in {:.2} s: {} records, {} pieces of damage",
            report.kind,
            report.took.as_secs_f64(),
            report.records,
            report.damage_count
        );
        let sound = self.verify("after the crash") && report.damage_count == 0;
        if sound { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}

/// Ends this process as a crash does.
fn kill() -> ! {
    // SAFETY: ends this very process, which is what is wanted: no destructor may run.
    unsafe { libc::kill(libc::getpid(), libc::SIGKILL) };
    unreachable!("SIGKILL cannot be refused")
}
