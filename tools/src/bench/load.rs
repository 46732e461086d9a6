//! Writes every key once, before a run.

use std::{cell::RefCell, time::Duration};

use futures::{StreamExt, stream::FuturesUnordered};

use super::{measure::Tally, payload, plan::Plan, store::Store, workers};
use crate::failure::{Failure, Result};

/// Writes in flight in each job of a load, whatever the depth of the run is.
const DEPTH: u32 = 256;

/// Loads with `job` on each thread; fails when a write failed.
pub fn all(plan: &Plan, job: impl Fn(u32, &workers::Signals) -> Result<Tally> + Sync) -> Result {
    let load = Plan { ops: Some(plan.keys), warmup: Duration::ZERO, depth: DEPTH, ..plan.clone() };
    let measured = workers::run("load", &load, job)?;
    match measured.total.first_error {
        None => {
            let rate = measured.total.ops() as f64 / measured.took.as_secs_f64().max(1e-9);
            let (keys, rate) = (crate::units::count(plan.keys), crate::units::count(rate as u64));
            eprintln!("loaded {keys} keys of {} bytes, {rate}/s", plan.value_size);
            Ok(())
        }
        Some(error) => Err(Failure::new(format!("loading the keys failed: {error}"))),
    }
}

/// One job of a load: its share of the keys.
pub async fn job<S: Store>(store: &S, plan: &Plan, job: u32, signals: &workers::Signals) -> Tally {
    let (jobs, job_number) = (u64::from(plan.jobs), u64::from(job));
    let state = RefCell::new((job_number, Tally::default()));
    signals.ready();
    let lane = async || {
        loop {
            let key = {
                let next = &mut state.borrow_mut().0;
                let key = *next;
                *next += jobs;
                key
            };
            if key >= plan.keys {
                return;
            }
            let written = store.write(key, payload::value(key, 0, plan.value_size)).await;
            let tally = &mut state.borrow_mut().1;
            match written {
                Ok(()) => tally.writes.add(Duration::from_nanos(1), plan.value_size),
                Err(error) => {
                    tally.failed(error);
                    return;
                }
            }
            signals.done(job, tally.ops());
        }
    };
    let mut lanes: FuturesUnordered<_> = (0..DEPTH).map(|_| lane()).collect();
    while lanes.next().await.is_some() {}
    drop(lanes);
    state.into_inner().1
}
