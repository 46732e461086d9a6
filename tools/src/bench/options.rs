//! The flags of `cairn bench`.

use std::{path::PathBuf, str::FromStr, time::Duration};

use cairn_engine::device::IoChoice;
use cairn_sdk::Durability;
use clap::ValueEnum;

use super::plan::Plan;
use crate::{
    commands::put::parse_durability,
    failure::{Failure, Result},
    units,
};

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Target {
    /// The engine inside this process, on a file or device.
    Embedded,
    /// A node over gRPC.
    Grpc,
    /// The bare device: reads of 4 KiB.
    Raw,
}

/// How operations travel to a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Mode {
    /// One call for each operation.
    Unary,
    /// The SDK: operations gathered into messages of a stream.
    Pipeline,
}

/// How keys are chosen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Distribution {
    /// Each as often as any other.
    Uniform,
    /// The n-th most popular key with a frequency of 1/n^theta.
    Zipf(f64),
}

impl FromStr for Distribution {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            None if text == "uniform" => Ok(Self::Uniform),
            Some(("zipf", theta)) => match theta.parse::<f64>() {
                Ok(theta) if (0.0..5.0).contains(&theta) => Ok(Self::Zipf(theta)),
                _ => Err(format!("{theta:?} is not a theta: 0 or more and less than 5")),
            },
            _ => Err(format!("{text:?} is neither uniform nor zipf:THETA, as in zipf:0.99")),
        }
    }
}

impl std::fmt::Display for Distribution {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Uniform => f.write_str("uniform"),
            Self::Zipf(theta) => write!(f, "zipf:{theta}"),
        }
    }
}

/// The arguments of `cairn bench`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    cairn bench --target embedded --path bench.dat --size 4GiB --keys 1000000 --depth 1,8,32,128 --bypass-cache --compare-raw\n  \
    cairn bench --target grpc --mode pipeline --keys 1000000 --value-size 100 --depth 64 --jobs 1\n  \
    cairn bench --target embedded --path bench.dat --trace trace.csv.gz --verify --depth 64")]
pub struct Args {
    /// What to measure
    #[arg(long, value_enum, default_value = "grpc")]
    pub target: Target,
    /// With embedded and raw: the file or device. A file that does not exist is created
    #[arg(long, required_if_eq_any = [("target", "embedded"), ("target", "raw")])]
    pub path: Option<PathBuf>,
    /// With embedded: the size of a file that is created
    #[arg(long, default_value = "4GiB", value_parser = units::parse_size)]
    pub size: u64,
    /// With embedded and raw: how to do I/O
    #[arg(long, default_value = "auto", value_name = "auto|io_uring|pool")]
    pub io_engine: IoChoice,
    /// With grpc: the node's address
    #[arg(long, default_value = "127.0.0.1:7400", value_name = "HOST:PORT")]
    pub host: String,
    /// With grpc: the namespace
    #[arg(long, default_value = "test")]
    pub namespace: String,
    /// With grpc: how operations travel
    #[arg(long, value_enum, default_value = "pipeline")]
    pub mode: Mode,
    /// With grpc: connections of each job
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub connections: u16,
    /// Operations in flight in each job; several numbers make one run for each
    #[arg(long, value_delimiter = ',', default_value = "32", value_parser = clap::value_parser!(u32).range(1..=65536))]
    pub depth: Vec<u32>,
    /// Threads, each with `depth` operations in flight
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub jobs: u32,
    /// How many different keys
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1..))]
    pub keys: u64,
    /// Bytes of each value
    #[arg(long, default_value = "1000", value_parser = units::parse_size)]
    pub value_size: u64,
    /// Share of reads, in per cent; the others are writes
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u8).range(0..=100))]
    pub read_pct: u8,
    /// How long each run is
    #[arg(long, default_value = "10s", value_parser = units::parse_duration)]
    pub runtime: Duration,
    /// Operations of each run, instead of a time
    #[arg(long)]
    pub ops: Option<u64>,
    /// How long each run goes before it is measured
    #[arg(long, default_value = "1s", value_parser = units::parse_duration)]
    pub warmup: Duration,
    /// How keys are chosen: uniform or zipf:THETA
    #[arg(long, default_value = "uniform")]
    pub distribution: Distribution,
    /// Makes the choice of keys and operations repeatable
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Where a write must be before it is acknowledged
    #[arg(long, default_value = "device", value_parser = parse_durability, value_name = "device|buffer")]
    pub durability: Durability,
    /// Write every key once first, also where they seem to be there
    #[arg(long, overrides_with = "no_load")]
    pub load: bool,
    /// Do not write the keys first
    #[arg(long, overrides_with = "load")]
    pub no_load: bool,
    /// With embedded: read past the write buffer and the post-write cache
    #[arg(long)]
    pub bypass_cache: bool,
    /// Check every value that is read
    #[arg(long)]
    pub verify: bool,
    /// With embedded: run each depth on the bare file too, in turn, and print the ratio
    #[arg(long)]
    pub compare_raw: bool,
    /// With --compare-raw: how often both sides are run; medians are printed
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=99))]
    pub rounds: u32,
    /// Replay this trace: CSV, plain or gzip, with columns time_s,op,key,bytes; as fast as `depth` allows
    #[arg(long, value_name = "FILE")]
    pub trace: Option<PathBuf>,
    /// Write the results to this file, as JSON in fio's shape
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
}

impl Args {
    /// Refuses what does not go together.
    pub fn check(&self) -> Result {
        let refuse = |when: bool, why: &str| if when { Err(Failure::new(why)) } else { Ok(()) };
        let embedded = self.target == Target::Embedded;
        refuse(self.compare_raw && !embedded, "--compare-raw needs --target embedded")?;
        refuse(
            self.compare_raw && self.read_pct != 100,
            "--compare-raw compares reads: leave out --read-pct",
        )?;
        refuse(
            self.bypass_cache && !embedded,
            "--bypass-cache needs --target embedded: a node reads as it is configured",
        )?;
        refuse(
            self.trace.is_some() && self.target == Target::Raw,
            "a trace cannot be replayed on the bare device",
        )?;
        refuse(
            self.target == Target::Raw && self.read_pct != 100,
            "the bare device is only read: its data may be worth something",
        )?;
        refuse(self.value_size > 64 << 20, "--value-size: at most 64MiB")?;
        refuse(self.ops == Some(0), "--ops: at least 1")
    }

    /// The plan of a run at this depth.
    pub fn plan(&self, depth: u32) -> Plan {
        Plan {
            keys: self.keys,
            value_size: self.value_size as usize,
            read_pct: self.read_pct,
            depth,
            jobs: self.jobs,
            runtime: self.runtime,
            ops: self.ops,
            warmup: self.warmup,
            distribution: self.distribution,
            seed: self.seed,
            verify: self.verify,
        }
    }
}
