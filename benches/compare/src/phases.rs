//! The phases of a run, in their order, each measured the same way for every engine.

use std::time::{Duration, Instant};

use cairn_benches::{keys::Distribution, process};

use crate::{
    driver::{self, Work},
    engine::{Engine, Safety},
    failure::{Failure, Result},
    options::Setup,
    result::{Latency, Phase},
    space,
};

/// A phase: its name in the table, and the work. `None` for loading.
type Plan = (&'static str, Option<Work>);

/// All phases of an engine that can be durable or not.
pub fn plans(setup: &Setup, durable: bool) -> Vec<Plan> {
    let time = Duration::from_secs(setup.seconds);
    let uniform = Work {
        depth: setup.depth,
        reads: 100,
        distribution: Distribution::Uniform,
        safety: Safety::Buffered,
        time,
        most: u64::MAX,
    };
    let zipf = |reads| Some(Work { reads, distribution: Distribution::Zipf, ..uniform });
    let durably = |depth| Some(Work { depth, reads: 0, safety: Safety::Durable, ..uniform });
    let overwrite = Work { reads: 0, time: 6 * time, most: setup.records, ..uniform };
    let mut plans = vec![
        ("load", None),
        ("get-1", Some(Work { depth: 1, ..uniform })),
        ("get", Some(uniform)),
        ("zipf-95", zipf(95)),
        ("zipf-50", zipf(50)),
        ("overwrite", Some(overwrite)),
    ];
    if durable {
        plans.extend([("durable-1", durably(1)), ("durable", durably(setup.depth))]);
    }
    plans
}

/// Runs one phase.
pub fn run<E: Engine>(engine: &E, setup: &Setup, (name, work): &Plan) -> Result<Phase> {
    if let Some(work) = work.filter(|work| work.reads > 0) {
        // Caches come to what this load makes of them.
        driver::operate(engine, setup, &Work { time: work.time / 5, ..work }, setup.seed ^ 1)?;
    }
    let before = Used::now(setup);
    let start = Instant::now();
    let mut phase = match work {
        None => load(engine, setup)?,
        Some(work) => operate(engine, setup, work)?,
    };
    let settling = Instant::now();
    if work.is_none_or(|work| work.reads < 100) {
        engine.settle()?;
        space::sync(&setup.dir);
        phase.settle_seconds = settling.elapsed().as_secs_f64();
    }
    let after = Used::now(setup);
    phase.name = (*name).into();
    phase.seconds =
        if work.is_none() { settling.duration_since(start).as_secs_f64() } else { phase.seconds };
    phase.cpu_seconds = (after.cpu - before.cpu).as_secs_f64();
    phase.written_bytes = after.written - before.written;
    phase.disk_written_bytes = after.disk - before.disk;
    Ok(phase)
}

fn load<E: Engine>(engine: &E, setup: &Setup) -> Result<Phase> {
    match driver::load(engine, setup)? {
        0 => {}
        refused => {
            return Err(Failure::new(format!("{refused} chunks of the load were refused")));
        }
    }
    let (depth, ops, user_bytes) = (setup.depth, setup.records, setup.data_bytes());
    Ok(Phase { depth, ops, user_bytes, ..Phase::default() })
}

fn operate<E: Engine>(engine: &E, setup: &Setup, work: &Work) -> Result<Phase> {
    let (tally, took) = driver::operate(engine, setup, work, setup.seed)?;
    let ops = tally.reads.len() + tally.writes.len();
    if ops == 0 {
        return Err(Failure::new(format!("nothing was done; {} writes refused", tally.refused)));
    }
    Ok(Phase {
        depth: work.depth,
        ops,
        misses: tally.misses,
        refused: tally.refused,
        seconds: took.as_secs_f64(),
        user_bytes: tally.writes.len() * setup.record_bytes(),
        reads: Latency::of(&tally.reads),
        writes: Latency::of(&tally.writes),
        ..Phase::default()
    })
}

/// What was used up to a moment.
struct Used {
    cpu: Duration,
    written: u64,
    disk: u64,
}

impl Used {
    fn now(setup: &Setup) -> Self {
        let disk = space::disk_written(&setup.dir).unwrap_or(0);
        Self { cpu: process::cpu_time(), written: process::written_bytes(), disk }
    }
}
