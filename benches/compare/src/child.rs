//! One engine in a process of its own: opens it, runs the phases, prints the outcome as one line of JSON.

use std::{process::ExitCode, time::Duration};

use cairn_benches::process;

use crate::{
    cgroup,
    engine::Engine,
    engines::{cairn::Cairn, fjall::Fjall, foyer::Foyer, redb::Redb, rocksdb::Rocks},
    failure::{Doing, Failure, Result},
    options::{Options, Setup},
    phases,
    result::Outcome,
    space,
    watchdog::Watchdog,
};

/// Runs the engine of this name.
pub fn run(name: &str, options: &Options) -> Result<ExitCode> {
    let bounded = options.group.as_deref().map(cgroup::enter).transpose();
    let bounded = bounded.doing("entering the control group")?.is_some();
    let setup = options.setup(name);
    let outcome = match name {
        "cairn" => measure::<Cairn>(name, &setup),
        "rocksdb" => measure::<Rocks>(name, &setup),
        "fjall" => measure::<Fjall>(name, &setup),
        "redb" => measure::<Redb>(name, &setup),
        "foyer" => measure::<Foyer>(name, &setup),
        _ => return Err(Failure::new(format!("there is no engine {name:?}"))),
    };
    let outcome = Outcome { bounded, ..outcome };
    println!("{}", serde_json::to_string(&outcome).doing("writing the outcome")?);
    Ok(ExitCode::SUCCESS)
}

fn measure<E: Engine>(name: &str, setup: &Setup) -> Outcome {
    let mut outcome = Outcome {
        engine: name.into(),
        notes: E::NOTES.iter().map(|note| (*note).into()).collect(),
        records: setup.records,
        data: setup.data_bytes(),
        ..Outcome::default()
    };
    if let Err(failure) = fill::<E>(setup, &mut outcome) {
        outcome.failure = Some(failure.to_string());
    }
    outcome
}

fn fill<E: Engine>(setup: &Setup, outcome: &mut Outcome) -> Result {
    let before = process::resident_bytes();
    let watchdog = Watchdog::new(Duration::from_secs(60 + 15 * setup.seconds));
    watchdog.phase();
    let engine = E::open(setup)?;
    for plan in phases::plans(setup, E::DURABLE) {
        watchdog.phase();
        match phases::run(&engine, setup, &plan) {
            Ok(phase) => {
                eprintln!(
                    "{:>8}  {:<10} {:>9.0} operations/s, {:.1} us of CPU each, {:.0} s and {:.0} s to settle",
                    outcome.engine,
                    phase.name,
                    phase.rate(),
                    phase.cpu(),
                    phase.seconds,
                    phase.settle_seconds
                );
                outcome.phases.push(phase);
            }
            // Without its data there is nothing to go on with; the other phases stand alone.
            Err(failure) if plan.1.is_none() => return Err(failure),
            Err(failure) => {
                let failure = format!("{}: {failure}", plan.0);
                eprintln!("{:>8}  {failure}", outcome.engine);
                outcome.failure = Some(failure);
            }
        }
        if plan.1.is_none() {
            outcome.space_loaded = space::allocated(&setup.dir);
        }
    }
    outcome.space_end = space::allocated(&setup.dir);
    outcome.resident = process::resident_bytes().saturating_sub(before);
    outcome.resident_peak = process::peak_resident_bytes();
    outcome.cache = engine.cache_bytes();
    Ok(())
}
