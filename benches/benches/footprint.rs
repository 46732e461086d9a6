//! Index memory and restart times at scale: loads many small records, says what each costs in RAM, kills the process, and then, several times
//! in turn, times the cold start, the bare device, and the warm restart.
//!
//! ```text
//! cargo bench -p cairn-benches --bench footprint -- --records 20000000 --path /tmp/footprint.dat
//! ```
//!
//! The bare device reads the stretch of the file where the saved index lies: blocks of 1 MiB, past the page cache, with as many threads and reads
//! in flight as the warm restart has.

use std::{
    collections::VecDeque,
    path::PathBuf,
    process::{Command, ExitCode, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use cairn_engine::{
    DeviceConfig, Namespace, NamespaceConfig, OpenOptions, StartKind, StartReport,
    device::{AlignedBuf, Device, FileDevice, IoChoice, IoEngine, OpenMode, reactor},
    model::{Durability, ExistsPolicy, Key, UserKey, Value, WritePolicy},
};
use clap::Parser;

/// Bytes of a write block, and of each read of the bare device.
const BLOCK: usize = 1 << 20;
/// Reads of the bare device in flight, for each thread: as many as the warm restart has.
const IN_FLIGHT: usize = 8;
/// Starts the line that is for the command, not for people.
const FIGURES: &str = "figures ";

#[derive(Parser, Clone)]
#[command(about = "Index memory and restart times at scale")]
struct Options {
    /// Records to load.
    #[arg(long, default_value_t = 20_000_000)]
    records: u64,
    /// Bytes of each record's one bin.
    #[arg(long, default_value_t = 100)]
    value_size: usize,
    /// The device file; created, and removed at the end.
    #[arg(long, default_value = "footprint.dat")]
    path: PathBuf,
    /// Size of the device file in bytes; by default what the records need and a tenth more.
    #[arg(long)]
    device_size: Option<u64>,
    /// Threads that load.
    #[arg(long, default_value_t = 2)]
    threads: u64,
    /// How often the starts are timed.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Keep the device file.
    #[arg(long)]
    keep: bool,
    /// Where the saved index begins on the device, in bytes.
    #[arg(long, hide = true, default_value_t = 0)]
    from: u64,
    /// Bytes that a warm restart reads.
    #[arg(long, hide = true, default_value_t = 0)]
    length: u64,
    /// What the process does; the command itself starts the others.
    #[arg(long, hide = true, default_value = "all")]
    phase: String,
    /// Given by `cargo bench`.
    #[arg(long, hide = true)]
    bench: bool,
}

impl Options {
    fn config(&self) -> NamespaceConfig {
        let each = 64 + 16 + 8 + self.value_size as u64 + 16 + 48;
        let size = self.device_size.unwrap_or(self.records * each * 5 / 4 + (64 << 20));
        let size = size.next_multiple_of(1 << 20);
        let file = DeviceConfig::File { path: self.path.clone(), size };
        NamespaceConfig::new("bench", vec![file])
    }
}

fn main() -> ExitCode {
    let options = Options::parse();
    match options.phase.as_str() {
        "all" => all(&options),
        "load" => load(&options),
        "raw" => raw(&options),
        "cold" => restart(&options, StartKind::Cold),
        _ => restart(&options, StartKind::Warm),
    }
}

/// Loads, then times the starts.
fn all(options: &Options) -> ExitCode {
    let _ = std::fs::remove_file(&options.path);
    // It ends by SIGKILL: success would be wrong.
    let _ = run("load", &[]);
    let complete = rounds(options).is_some();
    if !options.keep {
        let _ = std::fs::remove_file(&options.path);
    }
    if complete { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn rounds(options: &Options) -> Option<()> {
    let (mut cold_rate, mut share, mut warm_rate, mut ratio) = (vec![], vec![], vec![], vec![]);
    for _ in 0..options.rounds.max(1) {
        let cold = run("cold", &[])?;
        let warm = run("warm", &[])?;
        // A clean stop puts the index into the first free blocks, behind the device header and the data.
        let stretch = [BLOCK as u64 + cold.bytes_used as u64, warm.bytes_read as u64];
        let raw =
            run("raw", &["--from", &stretch[0].to_string(), "--length", &stretch[1].to_string()])?;
        cold_rate.push(cold.records / cold.seconds / 1e6);
        share.push(cold.bytes_read * 100.0 / cold.bytes_used);
        warm_rate.push(warm.records / warm.seconds / 1e6);
        ratio.push(raw.seconds * 100.0 / warm.seconds);
    }
    summary("cold start", "M records/s", cold_rate);
    summary("cold start", "% of the bytes in use read", share);
    summary("warm restart", "M records/s", warm_rate);
    summary("warm restart", "% of the bare device's bandwidth", ratio);
    Some(())
}

/// What a phase tells the command that started it, in its last line.
struct Figures {
    records: f64,
    seconds: f64,
    bytes_read: f64,
    bytes_used: f64,
}

/// Runs a phase as a process of its own, so that one's memory and caches do not flatter the next. `None` when it fails.
fn run(phase: &str, arguments: &[&str]) -> Option<Figures> {
    let mut command = Command::new(std::env::current_exe().expect("this program has a path"));
    command.args(std::env::args().skip(1)).args(["--phase", phase]).args(arguments);
    let output = command.stderr(Stdio::inherit()).output().expect("this program starts again");
    let text = String::from_utf8_lossy(&output.stdout);
    let figures = text.lines().find_map(|line| line.strip_prefix(FIGURES));
    text.lines().filter(|line| !line.starts_with(FIGURES)).for_each(|line| println!("{line}"));
    let numbers = figures?.split_whitespace().map(str::parse);
    match numbers.collect::<Result<Vec<f64>, _>>().ok()?[..] {
        [records, seconds, bytes_read, bytes_used] if output.status.success() => {
            Some(Figures { records, seconds, bytes_read, bytes_used })
        }
        _ => None,
    }
}

fn tell(records: u64, took: Duration, bytes_read: u64, bytes_used: u64) {
    println!("{FIGURES} {records} {} {bytes_read} {bytes_used}", took.as_secs_f64());
}

fn summary(what: &str, unit: &str, mut values: Vec<f64>) {
    values.sort_by(f64::total_cmp);
    let (least, most) = (values[0], values[values.len() - 1]);
    let median = values[values.len() / 2];
    println!("median       {what}: {median:.2} {unit} ({least:.2} to {most:.2})");
}
fn open(options: &Options) -> Arc<Namespace> {
    let io = IoEngine::choose(IoChoice::Auto).expect("some way to do I/O");
    let open = OpenOptions::new(io);
    Namespace::open(&options.config(), &open).unwrap_or_else(|error| panic!("{error}"))
}

fn load(options: &Options) -> ExitCode {
    let namespace = open(options);
    let empty = resident() - namespace.stats().buffer_bytes;
    let (started, next) = (Instant::now(), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for _ in 0..options.threads {
            scope.spawn(|| load_some(options, &namespace, &next));
        }
    });
    let took = started.elapsed();
    // Let the flush deadline pass, so that everything is on the device before the kill.
    std::thread::sleep(Duration::from_millis(1500));
    let stats = namespace.stats();
    let growth = resident().saturating_sub(stats.buffer_bytes).saturating_sub(empty);
    let n = stats.records as f64;
    println!(
        "loaded       {} records of {} bytes in {took:.1?}: {:.0} k/s",
        stats.records,
        options.value_size,
        n / took.as_secs_f64() / 1e3
    );
    println!(
        "index        {:.2} bytes of RAM per record by its own count",
        stats.index_bytes as f64 / n
    );
    println!(
        "process      {:.2} bytes per record: growth of resident memory, less write buffers and cache",
        growth as f64 / n
    );
    println!("device       {:.1} bytes per record", stats.in_use_bytes as f64 / n);
    // SAFETY: ends this very process, which is what is wanted: no destructor may run, as in a crash.
    unsafe { libc::kill(libc::getpid(), libc::SIGKILL) };
    ExitCode::FAILURE
}

fn load_some(options: &Options, namespace: &Namespace, next: &AtomicU64) {
    const CHUNK: u64 = 1000;
    let policy = WritePolicy {
        exists: ExistsPolicy::Replace,
        durability: Some(Durability::Buffer),
        ..WritePolicy::default()
    };
    let mut bins = [("v".into(), Value::Bytes(vec![0; options.value_size]))];
    loop {
        let first = next.fetch_add(CHUNK, Relaxed);
        if first >= options.records {
            return;
        }
        for n in first..(first + CHUNK).min(options.records) {
            if let Value::Bytes(bytes) = &mut bins[0].1 {
                bytes[..8].copy_from_slice(&n.to_le_bytes());
            }
            let key = Key::new("s", UserKey::Int(n as i64)).expect("a valid key");
            let put = reactor::block_on(namespace.put(&key, &bins, &policy));
            put.unwrap_or_else(|error| panic!("{error}"));
        }
    }
}

/// Starts, tells how it went, and stops: cleanly after a cold start, at once after a warm one, so that the next start is of the other kind.
fn restart(options: &Options, expected: StartKind) -> ExitCode {
    let namespace = open(options);
    let report = namespace.report();
    println!(
        "{:<12} {}, {:.0} ns of CPU per record",
        format!("{:?} start", report.kind).to_lowercase(),
        describe(report),
        processor_time() * 1e9 / report.records as f64
    );
    println!(
        "process      {:.2} bytes of resident memory per record",
        resident() as f64 / report.records as f64
    );
    let sound = namespace.stats().records == options.records && report.kind == expected;
    tell(report.records, report.took, report.bytes_read, report.bytes_used);
    if report.kind == StartKind::Warm {
        // SAFETY: ends this very process without running anything else of it; what was printed is flushed, as each line ends.
        unsafe { libc::_exit(i32::from(!sound)) };
    }
    match namespace.close() {
        Ok(()) if sound => ExitCode::SUCCESS,
        Ok(()) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("closing failed: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Reads a stretch of the device and does nothing with it.
fn raw(options: &Options) -> ExitCode {
    let io = IoEngine::choose(IoChoice::Auto).expect("some way to do I/O");
    let device = FileDevice::open(&options.path, OpenMode::ReadOnly, &io)
        .unwrap_or_else(|error| panic!("{}: {error}", options.path.display()));
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let (started, next) = (Instant::now(), AtomicU64::new(0));
    let blocks = options.length / BLOCK as u64;
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                let _reactor = reactor::Reactor::install(io.kind).expect("a ring");
                let mut window = VecDeque::new();
                loop {
                    let block = next.fetch_add(1, Relaxed);
                    if block < blocks {
                        let at = options.from + block * BLOCK as u64;
                        window.push_back(device.read(AlignedBuf::new(BLOCK), BLOCK, at));
                        if window.len() < IN_FLIGHT {
                            continue;
                        }
                    }
                    let Some(read) = window.pop_front() else { return };
                    reactor::block_on(read).expect("a readable device");
                }
            });
        }
    });
    let took = started.elapsed();
    let rate = options.length as f64 / took.as_secs_f64() / 1e6;
    println!("bare device  {:.0} MB in {took:.2?}: {rate:.0} MB/s", options.length as f64 / 1e6);
    tell(0, took, options.length, 0);
    ExitCode::SUCCESS
}

fn describe(report: &StartReport) -> String {
    let seconds = report.took.as_secs_f64();
    let rate = report.records as f64 / seconds / 1e6;
    let read = report.bytes_read as f64;
    let share = match report.bytes_used {
        0 => String::new(),
        used => format!(", {:.2} % of the bytes in use", read * 100.0 / used as f64),
    };
    format!(
        "{} records in {seconds:.2} s: {rate:.2} M/s, {:.0} MB read{share}, {} pieces of damage",
        report.records,
        read / 1e6,
        report.damage_count
    )
}

/// CPU time of this process so far, its own and the system's for it, in seconds.
fn processor_time() -> f64 {
    // SAFETY: all zeros are a valid `rusage`, which the call fills.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        libc::getrusage(libc::RUSAGE_SELF, &mut usage);
        usage
    };
    let seconds = |time: libc::timeval| time.tv_sec as f64 + time.tv_usec as f64 / 1e6;
    seconds(usage.ru_utime) + seconds(usage.ru_stime)
}

/// Resident memory of this process, in bytes.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|text| text.trim().trim_end_matches(" kB").parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}
