//! The command line of `cairn bench`: job files, every key of a job as a flag, and what is done with the results.

use std::path::PathBuf;

use clap::{Arg, ArgMatches, Command, FromArgMatches};

use super::job::{Job, check, file, keys, units};
use crate::failure::{Failure, Result};

/// The arguments of `cairn bench`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    cairn bench read.fio --filename bench.dat\n  \
    cairn bench --target embedded --filename bench.dat --size 4g --records 1m --iodepth 1,8,32,128 --bypass-cache --compare-raw\n  \
    cairn bench --target grpc --records 1m --bs 100 --iodepth 64 --ycsb B --json out.json --svg out.svg\n  \
    cairn bench --target grpc --rate-iops 20k --rate-process poisson --runtime 1m\n  \
    cairn bench --target resp --host 127.0.0.1:6379 --records 1m --iodepth 16 --connections 1 --ycsb B\n  \
    cairn bench --target raw --filename /dev/nvme0n1 --rw randread --bs 4k --iodepth 32 --numjobs 2\n  \
    cairn bench --target embedded --filename bench.dat --size 20g --act 6x --runtime 5m\n\n\
    docs/bench.md explains keys, loops and outputs.")]
pub struct Args {
    /// Job files in fio's manner; flags that are given too have the last word in every job
    #[arg(value_name = "JOBFILE")]
    pub files: Vec<PathBuf>,
    #[command(flatten)]
    keys: Keys,
    /// With embedded: run each depth on the bare file too, in turn, and print the ratio
    #[arg(long, conflicts_with_all = ["files", "act", "trace"])]
    pub compare_raw: bool,
    /// With --compare-raw: how often both sides are run; medians and spreads are printed
    #[arg(long, alias = "rounds", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=99), value_name = "N")]
    pub runs: u32,
    /// With --compare-raw: bytes of each raw read
    #[arg(long, default_value = "4k", value_parser = units::bytes, value_name = "SIZE")]
    pub raw_bs: u64,
    /// The ACT load: N times 2000 reads and 1000 writes of 1536 bytes a second on each device, as in 6x
    #[arg(long, value_parser = super::act::multiple, value_name = "Nx", conflicts_with_all = ["files", "trace"])]
    pub act: Option<f64>,
    /// Find the highest multiple of the ACT load that passes
    #[arg(long, conflicts_with_all = ["files", "act", "trace"])]
    pub act_search: bool,
    /// With ACT: how long each slice is, a multiple of 500ms
    #[arg(long, default_value = "10s", value_parser = super::act::slice, value_name = "TIME")]
    pub act_slice: std::time::Duration,
    /// Replay this trace: CSV, plain or gzip, with columns time_s,op,key,bytes; as fast as `iodepth` allows
    #[arg(long, value_name = "FILE", conflicts_with = "files")]
    pub trace: Option<PathBuf>,
    /// With --trace: at its own speed times this, latency from the intended start
    #[arg(long, value_name = "FACTOR", requires = "trace")]
    pub trace_speed: Option<f64>,
    /// Write the results as JSON in fio's shape
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Draw latencies by percentile
    #[arg(long, value_name = "FILE")]
    pub svg: Option<PathBuf>,
    /// Write a log of histograms, one a second, that HdrHistogram's tools read
    #[arg(long, value_name = "FILE")]
    pub hdr_log: Option<PathBuf>,
    /// Write a percentile distribution (.hgrm) of each job and operation into this folder
    #[arg(long, value_name = "FOLDER")]
    pub hgrm: Option<PathBuf>,
    /// Show a line a second: on a terminal (auto), always or never
    #[arg(long, value_enum, default_value_t, value_name = "WHEN")]
    pub live: When,
    /// Explain all keys of job files
    #[arg(long)]
    pub list_keys: bool,
}

/// Whether something is done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum When {
    /// On a terminal.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

impl Args {
    /// The jobs that files and flags describe.
    pub fn jobs(&self) -> Result<Vec<Job>> {
        if self.files.is_empty() {
            return Ok(self.job()?.each_depth());
        }
        file::jobs(&self.files, &|job| self.keys.apply(job))
    }

    /// The one job that the flags describe, with all its depths.
    pub fn job(&self) -> Result<Job> {
        // Who gives no job file has a quick look: the first second, with its cold caches, is left out.
        let mut job = Job { ramp: std::time::Duration::from_secs(1), ..Job::default() };
        self.keys.apply(&mut job)?;
        check::check(&job).map_err(Failure::new)?;
        Ok(job)
    }
}

/// Keys of a job that were given as flags, in their order.
#[derive(Clone, Debug, Default)]
struct Keys(Vec<(&'static keys::Key, String)>);

impl std::fmt::Debug for keys::Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

impl Keys {
    fn apply(&self, job: &mut Job) -> Result {
        for (key, value) in &self.0 {
            key.set(job, Some(value)).map_err(|why| Failure::new(format!("--{why}")))?;
        }
        Ok(())
    }
}

impl clap::Args for Keys {
    fn augment_args(command: Command) -> Command {
        keys::all().fold(command, |command, key| {
            let flag =
                |name: &str| -> &'static str { Box::leak(name.replace('_', "-").into_boxed_str()) };
            let names = key.names.iter().flat_map(|name| [flag(name), *name]);
            let mut arg = Arg::new(key.name())
                .long(flag(key.name()))
                .help(key.help)
                .help_heading("Keys of a job");
            arg = arg.aliases(names.filter(|name| *name != flag(key.name())).collect::<Vec<_>>());
            arg = match key.is_bare() {
                true => arg
                    .num_args(0..=1)
                    .require_equals(true)
                    .default_missing_value("1")
                    .value_name("0|1"),
                false => arg.num_args(1).value_name(key.value),
            };
            command.arg(arg)
        })
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for Keys {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut given: Vec<(usize, &'static keys::Key, String)> = keys::all()
            .filter_map(|key| {
                let value = matches.get_one::<String>(key.name())?;
                Some((matches.index_of(key.name())?, key, value.clone()))
            })
            .collect();
        // A preset is refined by the keys behind it: the order on the command line counts.
        given.sort_by_key(|(index, ..)| *index);
        Ok(Self(given.into_iter().map(|(_, key, value)| (key, value)).collect()))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

/// Explains all keys.
pub fn print_keys() {
    let mut table = crate::output::table(&["key", "value", "what it does"]);
    for key in keys::all() {
        let value = if key.is_bare() { "[0|1]" } else { key.value };
        table.add_row([key.names.join(", "), value.into(), key.help.into()]);
    }
    println!("{table}");
    println!(
        "Job files: [global] gives the jobs behind it their defaults; ; and # begin comments; ${{NAME}} is an environment variable."
    );
    println!(
        "Sizes: 4k, 1m, 2g (1024s). Counts: 10k, 2m (1000s). Times: 30, 500ms, 10s, 5m. Every key is a flag too: --rate-iops 2000."
    );
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::bench::job::Engine;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    fn job(line: &[&str]) -> Result<Job> {
        Line::try_parse_from([&["bench"], line].concat()).expect("clap takes it").args.job()
    }

    /// What people have in their scripts goes on working, and a preset is refined by what stands behind it.
    #[test]
    fn flags_have_names_of_both_worlds() {
        let old = job(&[
            "--target",
            "embedded",
            "--path",
            "f",
            "--keys",
            "1000",
            "--value-size",
            "100",
            "--read-pct",
            "80",
            "--depth",
            "1,8",
            "--jobs",
            "2",
            "--warmup",
            "2s",
            "--distribution",
            "zipf:0.9",
            "--bypass-cache",
            "--verify",
        ])
        .unwrap();
        assert_eq!((old.engine(), old.records, old.threads), (Engine::Embedded, 1000, 2));
        assert_eq!((old.mix().read_share(), old.depths.as_slice()), (80, &[1, 8][..]));
        assert!(old.bypass_cache && old.verify);
        let unary = job(&["--mode", "unary", "--target", "grpc"]).unwrap();
        assert_eq!(unary.engine(), Engine::GrpcUnary);
        let refined = job(&["--ycsb", "A", "--random_distribution", "random"]).unwrap();
        assert_eq!(refined.bins(), 10);
        assert_eq!(refined.distribution, crate::bench::job::Distribution::Uniform);
        assert!(job(&["--iodepth", "0"]).is_err() && job(&["--target", "raw"]).is_err());
    }
}
