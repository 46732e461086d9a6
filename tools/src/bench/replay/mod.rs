//! Replays a trace, as fast as `iodepth` allows or at its own speed, keeps the order of each key's operations, and checks what it reads.
//!
//! Each thread has the keys of its own, so what a read must show is known exactly: the last write of its key. A key whose
//! write failed may show that write or the one before: see `known`. At its own speed an operation's latency counts from the instant
//! the trace gives it, also when it had to wait for another of its key.

mod order;
mod thread;

use std::path::Path;

use indicatif::ProgressBar;

use super::{
    gate::Gate,
    grpc, interrupt,
    job::{Job, Load},
    options::Args,
    outcome::Outcome,
    random::mix,
    resp,
    tally::Tally,
    target::{Target, Targets},
    thread::Moment,
    trace::{self, Op},
};
use crate::{
    failure::{Doing, Failure, Result},
    units,
};

/// Replays the trace at every depth.
pub fn run(args: &Args, file: &Path) -> Result<Vec<Outcome>> {
    let job = Job { name: "replay".into(), load: Load::Never, ..args.job()? };
    if !job.engine().has_records() {
        return Err(Failure::new("a trace cannot be replayed on the bare device"));
    }
    if args.trace_speed.is_some_and(|speed| speed <= 0.0 || !speed.is_finite()) {
        return Err(Failure::new("--trace-speed is a factor above 0"));
    }
    let ops = trace::load(file)?;
    eprintln!("{}: {} operations", file.display(), units::count(ops.len() as u64));
    let divided = divide(&ops, job.threads);
    let mut outcomes = Vec::new();
    for (number, job) in job.each_depth().into_iter().enumerate() {
        let targets = Targets::open(std::slice::from_ref(&job))?;
        let outcome = one(&job, targets.of(0), &divided, args.trace_speed, number);
        targets.close()?;
        outcomes.push(outcome?);
    }
    Ok(outcomes)
}

/// Each thread's operations, in their order; all of one key go to the same thread.
fn divide(ops: &[Op], threads: u32) -> Vec<Vec<Op>> {
    let mut divided = vec![Vec::new(); threads as usize];
    for op in ops {
        divided[(mix(op.key) % u64::from(threads)) as usize].push(*op);
    }
    divided
}

/// What the threads of a replay share.
struct Run<'a> {
    job: &'a Job,
    speed: Option<f64>,
    gate: Gate,
    bar: ProgressBar,
}

fn one(
    job: &Job,
    target: &Target,
    divided: &[Vec<Op>],
    speed: Option<f64>,
    group: usize,
) -> Result<Outcome> {
    let ops = divided.iter().map(|ops| ops.len() as u64).sum();
    let run = Run { job, speed, gate: Gate::default(), bar: ProgressBar::new(ops) };
    let reports = threads(&run, target, divided);
    run.bar.finish_and_clear();
    let mut total = Tally::default();
    let mut spans = Vec::new();
    for (tally, first, last) in reports? {
        total.merge(&tally);
        spans.push((first, last));
    }
    if job.verify {
        println!(
            "replay depth {}: {} wrong values among all that were read and the final pass",
            job.depth(),
            total.mismatches
        );
    }
    let (took, threads, process) = super::group::span(&spans);
    Ok(Outcome {
        job: job.clone(),
        group,
        beside: 1,
        total,
        took,
        threads,
        process,
        server_cpu: None,
        stats: None,
        interrupted: interrupt::requested(),
        broken: None,
        notes: Vec::new(),
    })
}

type Replayed = (Tally, Moment, Moment);

fn threads(run: &Run<'_>, target: &Target, divided: &[Vec<Op>]) -> Result<Vec<Replayed>> {
    std::thread::scope(|scope| {
        let mut threads = Vec::new();
        for ops in divided {
            let work = move || {
                on_target(run, target, ops).inspect_err(|_| {
                    run.gate.fail();
                    interrupt::request();
                })
            };
            let thread =
                std::thread::Builder::new().name("replay".into()).spawn_scoped(scope, work);
            threads.push(thread.doing("starting a thread").inspect_err(|_| run.gate.fail())?);
        }
        run.gate.open(run.job.threads);
        let mut reports = Vec::new();
        let mut failed = None;
        for thread in threads {
            match thread.join().map_err(|_| Failure::new("a replay panicked")).flatten() {
                Ok(report) => reports.extend(report),
                Err(failure) => failed = failed.or(Some(failure)),
            }
        }
        failed.map_or(Ok(reports), Err)
    })
}

fn on_target(run: &Run<'_>, target: &Target, ops: &[Op]) -> Result<Option<Replayed>> {
    match target {
        Target::Embedded(store) => store.with(run.job).on_thread(async |store, alarm| {
            Some(thread::replay(store, run, ops, run.gate.wait()?, alarm).await)
        }),
        Target::Grpc => grpc::on_thread(run.job, async |node, alarm| {
            Some(thread::replay(node, run, ops, run.gate.wait()?, alarm).await)
        }),
        Target::Resp => resp::on_thread(run.job, async |server, alarm| {
            Some(thread::replay(server, run, ops, run.gate.wait()?, alarm).await)
        }),
        Target::Raw(_) => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::bench::trace::Kind;

    /// All operations of a key stay on one thread, in their order.
    #[test]
    fn keys_are_not_divided() {
        let op = |n: u32| Op {
            at: Duration::from_micros(n.into()),
            key: mix(n.into()) % 50,
            kind: Kind::Get,
        };
        let divided = divide(&(0..5000).map(op).collect::<Vec<_>>(), 3);
        for (number, ops) in (0..).zip(&divided) {
            assert!(ops.iter().all(|op| mix(op.key) % 3 == number));
            assert!(ops.windows(2).all(|pair| pair[0].at <= pair[1].at));
        }
        assert_eq!(divided.iter().map(Vec::len).sum::<usize>(), 5000);
    }
}
