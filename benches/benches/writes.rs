//! What a write costs until it is in the write buffer: nanoseconds of processor time for a `put` with durability `buffer` through the
//! engine's public surface, and how it grows with threads.
//!
//! ```text
//! cargo bench -p cairn-benches --bench writes -- --path /dev/shm/writes.dat
//! ```
//!
//! Records are overwritten in order, so that whole blocks become free again and nothing has to be moved. Time of the flusher is in the
//! figures of CPU, for it is part of the price.

use std::{path::PathBuf, time::Instant};

use cairn_benches::{
    process,
    sizes::Size,
    subject::{self, Subject},
    values,
};
use cairn_engine::model::{Durability, Ttl};
use clap::Parser;

#[derive(Parser, Clone)]
#[command(about = "What a buffered write costs")]
struct Options {
    /// The device file; made, and removed at the end.
    #[arg(long, default_value = "writes.dat")]
    path: PathBuf,
    /// Size of the device, such as 1GiB.
    #[arg(long, default_value = "1GiB")]
    size: Size,
    /// Bytes of a value; several are measured one after another.
    #[arg(long, value_delimiter = ',', default_value = "100,1024,16384")]
    values: Vec<usize>,
    /// Threads; several are measured one after another.
    #[arg(long, value_delimiter = ',', default_value = "1,2")]
    threads: Vec<u64>,
    /// How many times the device's size is written in each round.
    #[arg(long, default_value_t = 2)]
    times: u64,
    /// Given by `cargo bench`.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() {
    let options = Options::parse();
    println!(
        "{:>8} {:>8} {:>10} {:>12} {:>12} {:>10}",
        "value", "threads", "puts/s", "MB/s", "CPU ns each", "flushed"
    );
    for &size in &options.values {
        for &threads in &options.threads {
            let _ = std::fs::remove_file(&options.path);
            round(&options, size, threads);
        }
    }
    let _ = std::fs::remove_file(&options.path);
}

fn round(options: &Options, size: usize, threads: u64) {
    let subject = Subject::open(&subject::config(&options.path, options.size.0));
    let subject = subject.unwrap_or_else(|error| panic!("{error}"));
    // Half of the device: the oldest block is all dead before its room is needed.
    let keys = options.size.0 / 2 / subject::record_bytes(size) / threads;
    let each = options.times * 2 * keys;
    let mut value = vec![0; size.max(values::MIN)];
    values::fill(&mut value, 1, 1);
    let (start, cpu) = (Instant::now(), process::cpu_time());
    subject.lanes(threads, 1, |thread| {
        let (subject, value) = (&subject, &value);
        async move {
            for number in 0..each {
                let key = thread * keys + number % keys;
                let put = subject.put(key, value.clone(), Durability::Buffer, Ttl::Never).await;
                put.unwrap_or_else(|error| panic!("write {number}: {error}"));
            }
        }
    });
    let (seconds, cpu) = (start.elapsed().as_secs_f64(), process::cpu_time() - cpu);
    let puts = (each * threads) as f64;
    let flushed = subject.namespace.stats().bytes_flushed as f64;
    println!(
        "{size:>8} {threads:>8} {:>10.0} {:>12.1} {:>12.0} {:>9.2}x",
        puts / seconds,
        puts * size as f64 / seconds / 1e6,
        cpu.as_nanos() as f64 / puts,
        flushed / (puts * size as f64)
    );
}
