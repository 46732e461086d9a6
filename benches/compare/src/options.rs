//! What the person asks for, and what every engine is given.

use std::path::PathBuf;

use clap::Parser;

const MIB: u64 = 1 << 20;

/// The command line. A child gets the same one, and `--child`.
#[derive(Parser, Clone, Debug)]
#[command(about = "The same workloads on Cairn and on RocksDB, fjall, redb and foyer")]
pub struct Options {
    /// Directory on the disk to measure; a folder in it is made for each engine, and removed.
    #[arg(long)]
    pub dir: PathBuf,
    /// Records.
    #[arg(long, default_value_t = 2_000_000)]
    pub records: u64,
    /// Bytes of each value, 16 or more.
    #[arg(long, default_value_t = 1024, value_parser = clap::value_parser!(u64).range(16..))]
    pub value_bytes: u64,
    /// MiB of memory for each engine: caches, write buffers, indexes. The data should be four times as much or more.
    #[arg(long, default_value_t = 384)]
    pub budget: u64,
    /// Operations in flight: futures for an asynchronous engine, threads for a blocking one.
    #[arg(long, alias = "threads", default_value_t = 64)]
    pub depth: u64,
    /// Seconds of each timed phase.
    #[arg(long, default_value_t = 20)]
    pub seconds: u64,
    /// How full Cairn's file is after loading, in per cent: it has a fixed size, as foyer's has.
    #[arg(long, default_value_t = 70, value_parser = clap::value_parser!(u64).range(5..=90))]
    pub fill: u64,
    /// Two minutes: 400,000 records, 96 MiB, 2 seconds a phase.
    #[arg(long)]
    pub quick: bool,
    /// Engines to run; cairn is what the others are compared with.
    #[arg(long, value_delimiter = ',', default_values = crate::engines::NAMES)]
    pub engines: Vec<String>,
    /// Writes everything measured to this file, as JSON.
    #[arg(long)]
    pub json: Option<PathBuf>,
    /// First number of all random choices.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Leaves the engines' folders as they are at the end.
    #[arg(long)]
    pub keep: bool,
    /// Runs this engine in this process.
    #[arg(long, hide = true)]
    pub child: Option<String>,
    /// The control group that the child enters.
    #[arg(long, hide = true)]
    pub group: Option<PathBuf>,
}

/// Sizes of a run.
#[derive(Clone, Debug)]
pub struct Setup {
    /// The engine's own folder.
    pub dir: PathBuf,
    /// Records.
    pub records: u64,
    /// Bytes of a value.
    pub value_bytes: usize,
    /// Bytes of memory for the engine.
    pub budget: u64,
    /// Operations in flight.
    pub depth: u64,
    /// Seconds of a timed phase.
    pub seconds: u64,
    /// How full a file of fixed size is when all records are there, in per cent.
    pub fill: u64,
    /// First number of all random choices.
    pub seed: u64,
}

impl Options {
    /// The sizes for `engine`.
    pub fn setup(&self, engine: &str) -> Setup {
        let quick = |small: u64, asked: u64| if self.quick { small } else { asked };
        let records = quick(400_000, self.records);
        Setup {
            dir: self.folder(engine),
            records,
            value_bytes: self.value_bytes as usize,
            budget: quick(96, self.budget) * MIB,
            depth: self.depth,
            seconds: quick(2, self.seconds),
            fill: self.fill,
            seed: self.seed,
        }
    }

    /// Where `engine` keeps its files.
    pub fn folder(&self, engine: &str) -> PathBuf {
        self.dir.join(format!("cairn-compare-{engine}"))
    }
}

impl Setup {
    /// Size of a file whose size is fixed, for an engine that takes `each` bytes for a record.
    pub fn file_bytes(&self, each: u64) -> u64 {
        (self.records * each * 100 / self.fill).next_multiple_of(16 * MIB)
    }

    /// Bytes of values and keys together.
    pub fn data_bytes(&self) -> u64 {
        self.records * self.record_bytes()
    }

    /// What a user gives with one write: a key of 8 bytes and the value.
    pub fn record_bytes(&self) -> u64 {
        8 + self.value_bytes as u64
    }
}
