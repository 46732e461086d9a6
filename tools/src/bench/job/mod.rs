//! One job: what is run on what, how hard, for how long. Plain data, the same whether it came from a job file or from flags.
//!
//! * `ini`: the text of a job file. `units`: sizes and times in fio's manner. `kinds`, `mix`, `sizes`: the words of a job.
//! * `keys`: every key there is, and what it sets. `check`: what does not go together. `file`: job files into jobs. `groups`: what runs at
//!   the same time.
//! * `ycsb`: the six workloads by name.

pub mod check;
pub mod file;
mod groups;
pub mod ini;
pub mod keys;
pub mod kinds;
mod mix;
mod sizes;
pub mod units;
pub mod ycsb;

use std::{path::PathBuf, time::Duration};

use cairn_engine::device::IoChoice;
use cairn_sdk::Durability;

pub use groups::groups;
pub use kinds::{Distribution, Engine};
pub use mix::{Mix, Op};
pub use sizes::Sizes;

/// Operations in flight of a job that does not say.
const DEPTH: u32 = 32;
/// The same with a fixed rate: the bound that is only met when what is measured cannot keep up.
const DEPTH_OPEN: u32 = 1024;

/// A job.
#[derive(Clone, Debug, PartialEq)]
pub struct Job {
    /// Its name in all reports.
    pub name: String,
    /// A sentence of its author's.
    pub description: String,
    /// What it is run on.
    pub engine: Engine,
    /// Travel to a node by one call for each operation (set apart from `engine` since flags come in any order).
    pub unary: bool,
    /// Files or devices; several for an embedded engine are one namespace.
    pub filenames: Vec<PathBuf>,
    /// Bytes of the file: what is created, and what a raw job works on.
    pub size: Option<u64>,
    /// How the embedded engine does I/O.
    pub device_io: IoChoice,
    /// The server's address, if it is another than the usual one.
    pub host: Option<String>,
    /// The node's namespace.
    pub namespace: String,
    /// The set of the records, if it is another than the usual one.
    pub set: Option<String>,
    /// Connections of each thread to the server.
    pub connections: u16,
    /// RESP: the database.
    pub db: u32,
    /// RESP: the user to be, where it is not the default one.
    pub user: Option<String>,
    /// RESP: the file whose first line is the password. (A password itself never is in a job: jobs are printed.)
    pub password_file: Option<PathBuf>,
    /// Keys one after the other instead of at random.
    pub sequential: bool,
    /// Whether the mix given by `rw` reads, writes or both.
    pub rw: Rw,
    /// Share of reads of a mixed job, in per cent.
    pub read_pct: Option<u8>,
    /// The mix, where it was given in full.
    pub mix: Option<Mix>,
    /// Bytes of the values of a record, or of a raw transfer.
    pub sizes: Option<Sizes>,
    /// Bins of a record, where it was said.
    pub bins: Option<u32>,
    /// Whether it is one of YCSB's workloads.
    pub ycsb: bool,
    /// How many records there are before the run: keys 0 to `records - 1`.
    pub records: u64,
    /// Operations in flight of each thread; several give one run each.
    pub depths: Vec<u32>,
    /// Threads.
    pub threads: u32,
    /// How long it is measured.
    pub runtime: Option<Duration>,
    /// Go on for the whole runtime, though `size` bytes were done.
    pub time_based: bool,
    /// Operations of each thread.
    pub number_ios: Option<u64>,
    /// Operations of all threads together.
    pub ops: Option<u64>,
    /// How long it goes before it is measured.
    pub ramp: Duration,
    /// Open loop: starts a second of each thread.
    pub rate: Option<f64>,
    /// Open loop: starts at random instants (a Poisson process) instead of even ones.
    pub poisson: bool,
    /// Which keys.
    pub distribution: Distribution,
    /// Makes the choice of keys, operations and sizes repeatable.
    pub seed: u64,
    /// Check every value that is read.
    pub verify: bool,
    /// Where a write must be before it is acknowledged, where it was said.
    pub durability: Option<Durability>,
    /// How a raw write is made durable.
    pub sync: Sync,
    /// Raw: past the page cache.
    pub direct: bool,
    /// Raw: what is on the file or device may be written over.
    pub overwrite: bool,
    /// Whether the records are written first.
    pub load: Load,
    /// Embedded: read past write buffers and post-write cache.
    pub bypass_cache: bool,
    /// Begins only when all jobs before it are over.
    pub stonewall: bool,
}

/// The directions of `rw`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rw {
    /// Reads only.
    Read,
    /// Writes only.
    Write,
    /// Both.
    Mixed,
}

/// How a raw write is made durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sync {
    /// It is not.
    None,
    /// Each write carries the flag that says so (`RWF_DSYNC`).
    Dsync,
    /// Each write is followed by `fdatasync`, and is done when that is.
    Fdatasync,
}

/// Whether the records are written before the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Load {
    /// Where they are missing and the job needs them.
    Auto,
    /// In any case.
    Always,
    /// Never.
    Never,
}

impl Default for Job {
    fn default() -> Self {
        Self {
            name: "bench".into(),
            description: String::new(),
            engine: Engine::Grpc,
            unary: false,
            filenames: Vec::new(),
            size: None,
            device_io: IoChoice::Auto,
            host: None,
            namespace: "test".into(),
            set: None,
            connections: 1,
            db: 0,
            user: None,
            password_file: None,
            sequential: false,
            rw: Rw::Read,
            read_pct: None,
            mix: None,
            sizes: None,
            bins: None,
            ycsb: false,
            records: 1_000_000,
            depths: Vec::new(),
            threads: 1,
            runtime: None,
            time_based: false,
            number_ios: None,
            ops: None,
            ramp: Duration::ZERO,
            rate: None,
            poisson: false,
            distribution: Distribution::Uniform,
            seed: 1,
            verify: false,
            durability: None,
            sync: Sync::None,
            direct: true,
            overwrite: false,
            load: Load::Auto,
            bypass_cache: false,
            stonewall: false,
        }
    }
}

impl Job {
    /// What it is run on.
    pub fn engine(&self) -> Engine {
        match self.engine {
            Engine::Grpc if self.unary => Engine::GrpcUnary,
            engine => engine,
        }
    }

    /// The set of the records: none in an engine of one's own, `bench` on a node that has other records too.
    pub fn set(&self) -> &str {
        let usual = if self.engine() == Engine::Embedded { "" } else { "bench" };
        self.set.as_deref().unwrap_or(usual)
    }

    /// The server's address.
    pub fn host(&self) -> &str {
        let usual = match self.engine() {
            Engine::Resp => "127.0.0.1:6379",
            _ => "127.0.0.1:7400",
        };
        self.host.as_deref().unwrap_or(usual)
    }

    /// Bins of a record. A string has none: there a record is one value, YCSB's too.
    pub fn bins(&self) -> u32 {
        match (self.engine(), self.bins) {
            (Engine::Resp, _) => 1,
            (_, Some(bins)) => bins,
            (_, None) if self.ycsb => ycsb::BINS,
            (_, None) => 1,
        }
    }

    /// Where a write must be before it is acknowledged.
    pub fn durability(&self) -> Durability {
        self.durability.unwrap_or(Durability::Device)
    }

    /// The operations and their shares.
    pub fn mix(&self) -> Mix {
        self.mix.unwrap_or_else(|| match (self.rw, self.read_pct) {
            (Rw::Write, _) => Mix::reads(0),
            (Rw::Read, percent) => Mix::reads(percent.unwrap_or(100)),
            (Rw::Mixed, percent) => Mix::reads(percent.unwrap_or(50)),
        })
    }

    /// Bytes of the values or transfers.
    pub fn sizes(&self) -> Sizes {
        let default = if self.engine().has_records() { 1000 } else { 4096 };
        self.sizes.clone().unwrap_or(Sizes::Fixed(default))
    }

    /// Operations in flight of each thread: the bound, with a fixed rate.
    pub fn depth(&self) -> u32 {
        let default = if self.rate.is_some() { DEPTH_OPEN } else { DEPTH };
        self.depths.first().copied().unwrap_or(default)
    }

    /// How many operations thread `number` is to measure; `None` when only time ends it.
    pub fn ops_of_thread(&self, number: u32) -> Option<u64> {
        let (threads, number) = (u64::from(self.threads), u64::from(number));
        match self.ops {
            Some(ops) => Some(ops / threads + u64::from(number < ops % threads)),
            None => self.number_ios.or(self.transfers()),
        }
    }

    /// As fio has it: a raw job with a size ends when so many bytes are done, unless it is time-based.
    fn transfers(&self) -> Option<u64> {
        let size = self.size.filter(|_| self.engine() == Engine::Raw && !self.time_based)?;
        Some((size / self.sizes().bounds().0.max(1)).max(1))
    }

    /// How long it is measured; `None` when only a number of operations ends it.
    pub fn time(&self) -> Option<Duration> {
        const DEFAULT: Duration = Duration::from_secs(10);
        match self.ops.or(self.number_ios).or(self.transfers()) {
            Some(_) => self.runtime,
            None => Some(self.runtime.unwrap_or(DEFAULT)),
        }
    }

    /// How keys are chosen.
    pub fn distribution(&self) -> Distribution {
        if self.sequential { Distribution::Sequential } else { self.distribution }
    }

    /// fio's name for the mix.
    pub fn rw_name(&self) -> &'static str {
        let mix = self.mix();
        match (self.distribution() == Distribution::Sequential, mix.read_share()) {
            (true, 100) => "read",
            (true, 0) => "write",
            (true, _) => "rw",
            (false, 100) => "randread",
            (false, 0) => "randwrite",
            (false, _) => "randrw",
        }
    }

    /// The file or device of a job that has one.
    pub fn filename(&self) -> &std::path::Path {
        self.filenames.first().map_or(std::path::Path::new(""), PathBuf::as_path)
    }
}

#[cfg(test)]
pub fn sample() -> Job {
    Job {
        engine: Engine::Embedded,
        records: 1000,
        sizes: Some(Sizes::Fixed(100)),
        rw: Rw::Mixed,
        depths: vec![8],
        threads: 3,
        ops: Some(1000),
        verify: true,
        ..Job::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The threads together do exactly the operations asked for.
    #[test]
    fn operations_are_divided_without_remainder() {
        let job = sample();
        let parts: Vec<_> = (0..3).map(|number| job.ops_of_thread(number).unwrap()).collect();
        assert_eq!(parts, [334, 333, 333]);
    }
}
