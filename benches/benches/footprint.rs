//! Index memory and restart times at scale: loads many small records, says what each costs in RAM, kills the process, and times the cold
//! start, then the warm restart.
//!
//! ```text
//! cargo bench -p cairn-benches --bench footprint -- --records 20000000 --path /tmp/footprint.dat
//! ```

use std::{
    path::PathBuf,
    process::{Command, ExitCode},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use cairn_engine::{
    DeviceConfig, Namespace, NamespaceConfig, OpenOptions, StartReport,
    device::{IoChoice, IoEngine, reactor},
    model::{Durability, ExistsPolicy, Key, UserKey, Value, WritePolicy},
};
use clap::Parser;

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
        _ => restart(&options),
    }
}

/// Each phase is a process of its own, so that one's memory and caches do not flatter the next.
fn all(options: &Options) -> ExitCode {
    let _ = std::fs::remove_file(&options.path);
    let mut failed = false;
    for phase in ["load", "cold", "warm"] {
        let mut command = Command::new(std::env::current_exe().expect("this program has a path"));
        command.args(std::env::args().skip(1)).args(["--phase", phase]);
        let status = command.status().expect("this program can be started again");
        // The load ends by SIGKILL, which is no success; the others must succeed.
        failed |= phase != "load" && !status.success();
    }
    let _ = std::fs::remove_file(&options.path);
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
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

fn restart(options: &Options) -> ExitCode {
    let namespace = open(options);
    let report = namespace.report();
    println!("{:<12} {}", format!("{:?} start", report.kind).to_lowercase(), describe(report));
    println!(
        "process      {:.2} bytes of resident memory per record",
        resident() as f64 / report.records as f64
    );
    let found = namespace.stats().records;
    if let Err(error) = namespace.close() {
        eprintln!("closing failed: {error}");
        return ExitCode::FAILURE;
    }
    if found == options.records { ExitCode::SUCCESS } else { ExitCode::FAILURE }
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

/// Resident memory of this process, in bytes.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|text| text.trim().trim_end_matches(" kB").parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}
