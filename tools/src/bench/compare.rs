//! The engine and the bare file in turn, depth by depth, and the ratio between them.
//!
//! Both sides read at random, with the same number of threads and operations in flight, from the same bytes of the same file. A file
//! is locked by whoever has it open, so the namespace is closed before each run on the bare file and opened again, warm, after it.

use comfy_table::CellAlignment;

use super::{
    group::{self, Console},
    interrupt,
    job::{Distribution, Engine, Job, Load, Sizes},
    options::Args,
    outcome::Outcome,
    target::{Target, Targets},
};
use crate::{
    failure::{Failure, Result},
    output, units,
};

/// Both sides of one round.
struct Round {
    engine: Outcome,
    raw: Outcome,
}

/// Runs both sides and prints the ratios; the outcomes are those with the median rates.
pub fn run(args: &Args, console: &mut Console) -> Result<Vec<Outcome>> {
    let job = args.job()?;
    refuse(&job)?;
    let used = prepare(&job)?;
    let mut shown = Vec::new();
    let mut table = output::table(&[
        "depth",
        "thr",
        "raw ops/s",
        "engine ops/s",
        "ratio",
        "least-most",
        "raw p99 us",
        "engine p99 us",
        "p99 ratio",
        "least-most",
        "raw CPU us/op",
        "engine CPU us/op",
    ]);
    for depth in job.clone().each_depth() {
        let rounds = rounds(args, &depth, used, console)?;
        if rounds.is_empty() {
            break;
        }
        table.add_row(row(&depth, &rounds));
        shown.extend(medians(rounds));
    }
    table.column_iter_mut().for_each(|column| column.set_cell_alignment(CellAlignment::Right));
    println!("{table}");
    println!(
        "medians of {} runs of each side in turn; ratios are of runs that followed each other. Raw: random reads of {} within the same {} of the file, own ring for each thread. Threads are not pinned.",
        args.runs,
        units::size(args.raw_bs),
        units::size(used)
    );
    Ok(shown)
}

fn refuse(job: &Job) -> Result {
    let refuse = |when: bool, why: &str| if when { Err(Failure::new(why)) } else { Ok(()) };
    refuse(job.engine() != Engine::Embedded, "--compare-raw needs --target embedded")?;
    refuse(job.filenames.len() != 1, "--compare-raw needs one file or device")?;
    refuse(job.rate.is_some(), "--compare-raw compares what is possible: leave out rate_iops")?;
    refuse(job.mix().read_share() != 100, "--compare-raw compares reads: leave out rw and mix")
}

/// Writes the records if they are missing; gives the bytes of the file that hold them.
fn prepare(job: &Job) -> Result<u64> {
    let targets = Targets::open(std::slice::from_ref(job))?;
    let used = match targets.of(0) {
        Target::Embedded(store) => store.used_bytes(),
        Target::Grpc | Target::Resp | Target::Raw(_) => 0,
    };
    targets.close()?;
    Ok(used)
}

fn rounds(args: &Args, job: &Job, used: u64, console: &mut Console) -> Result<Vec<Round>> {
    let raw = Job {
        name: "raw".into(),
        engine: Engine::Raw,
        sizes: Some(Sizes::Fixed(args.raw_bs)),
        size: Some(used),
        time_based: true,
        distribution: Distribution::Uniform,
        sequential: false,
        verify: false,
        bypass_cache: false,
        bins: None,
        ycsb: false,
        mix: None,
        ..job.clone()
    };
    let engine = Job { name: "embedded".into(), load: Load::Never, ..job.clone() };
    let mut one = |job: &Job| -> Result<Outcome> {
        let mut outcomes = group::run(std::slice::from_ref(job), 0, console)?;
        outcomes.pop().ok_or_else(|| Failure::new("a run gave nothing"))
    };
    let mut rounds = Vec::new();
    for round in 0..args.runs {
        // Whoever goes second finds the device warmed up: each side goes first as often as the other.
        let pair = match round % 2 {
            0 => {
                let raw = one(&raw)?;
                Round { raw, engine: one(&engine)? }
            }
            _ => Round { engine: one(&engine)?, raw: one(&raw)? },
        };
        if interrupt::requested() {
            break;
        }
        rounds.push(pair);
    }
    Ok(rounds)
}

fn p99(outcome: &Outcome) -> f64 {
    outcome.total.direction(true).latency.value_at_quantile(0.99) as f64 / 1e3
}

fn cpu(outcome: &Outcome) -> f64 {
    outcome.per_op(outcome.process.cpu())
}

/// Median, least and most of what `of` finds in each round.
fn spread(rounds: &[Round], of: impl Fn(&Round) -> f64) -> (f64, f64, f64) {
    let mut all: Vec<f64> = rounds.iter().map(of).collect();
    all.sort_by(f64::total_cmp);
    let median = match all.len() {
        n if n.is_multiple_of(2) => f64::midpoint(all[n / 2 - 1], all[n / 2]),
        n => all[n / 2],
    };
    (median, all[0], all[all.len() - 1])
}

fn row(job: &Job, rounds: &[Round]) -> [String; 12] {
    let median = |of: fn(&Round) -> f64| spread(rounds, of).0;
    let (rate, least, most) =
        spread(rounds, |round| round.engine.rate() / round.raw.rate().max(1e-9));
    let (tail, tail_least, tail_most) =
        spread(rounds, |round| p99(&round.engine) / p99(&round.raw).max(1e-9));
    [
        job.depth().to_string(),
        job.threads.to_string(),
        units::count(median(|round| round.raw.rate()) as u64),
        units::count(median(|round| round.engine.rate()) as u64),
        format!("{rate:.3}"),
        format!("{least:.3}-{most:.3}"),
        format!("{:.1}", median(|round| p99(&round.raw))),
        format!("{:.1}", median(|round| p99(&round.engine))),
        format!("{tail:.2}"),
        format!("{tail_least:.2}-{tail_most:.2}"),
        format!("{:.2}", median(|round| cpu(&round.raw))),
        format!("{:.2}", median(|round| cpu(&round.engine))),
    ]
}

/// The runs with the median rates, raw first.
fn medians(rounds: Vec<Round>) -> [Outcome; 2] {
    let (engine, raw): (Vec<_>, Vec<_>) =
        rounds.into_iter().map(|round| (round.engine, round.raw)).unzip();
    [raw, engine].map(|mut side: Vec<Outcome>| {
        side.sort_by(|a, b| a.rate().total_cmp(&b.rate()));
        side.swap_remove(side.len() / 2)
    })
}
