//! The closed loop: a fixed number of operations in flight, each followed by the next as soon as it is done.

use std::{cell::RefCell, time::Instant};

use futures::{StreamExt, stream::FuturesUnordered};

use super::{
    keys::{Chooser, Random},
    measure::Tally,
    payload,
    plan::Plan,
    store::Store,
    workers::Signals,
};

/// One job of a run: `plan.depth` lanes that share a thread.
pub async fn job<S: Store>(store: &S, plan: &Plan, job: u32, signals: &Signals) -> Tally {
    let chooser = Chooser::new(plan.keys, plan.distribution);
    let state = RefCell::new(State {
        tally: Tally::default(),
        random: Random::new(plan.seed.wrapping_add(u64::from(job) << 32)),
        done: 0,
        left: plan.ops_of_job(job).unwrap_or(u64::MAX),
    });
    signals.ready();
    let lane = || lane(store, plan, job, &chooser, &state, signals);
    let mut lanes: FuturesUnordered<_> = (0..plan.depth).map(|_| lane()).collect();
    while lanes.next().await.is_some() {}
    drop(lanes);
    state.into_inner().tally
}

struct State {
    tally: Tally,
    random: Random,
    done: u64,
    /// Measured operations still to start.
    left: u64,
}

/// What a lane does next.
struct Next {
    key: u64,
    read: bool,
    /// Makes the value of each write its own.
    counter: u64,
    measured: bool,
}

impl State {
    fn next(&mut self, plan: &Plan, chooser: &Chooser, signals: &Signals) -> Option<Next> {
        if self.left == 0 || signals.stopped() {
            return None;
        }
        let measured = signals.measuring();
        self.left -= u64::from(measured && plan.ops.is_some());
        let key = chooser.next(&mut self.random);
        let read = self.random.below(100) < u64::from(plan.read_pct);
        self.done += 1;
        Some(Next { key, read, counter: self.done, measured })
    }
}

async fn lane<S: Store>(
    store: &S,
    plan: &Plan,
    job: u32,
    chooser: &Chooser,
    state: &RefCell<State>,
    signals: &Signals,
) {
    let mut start = Instant::now();
    loop {
        let Some(next) = state.borrow_mut().next(plan, chooser, signals) else { return };
        let key = next.key;
        let done = if next.read {
            store.read(key, |value| look(value, key, plan.verify)).await
        } else {
            let value = payload::value(key, next.counter, plan.value_size);
            store.write(key, value).await.map(|()| Seen::Good(plan.value_size))
        };
        let end = Instant::now();
        let state = &mut *state.borrow_mut();
        if next.measured {
            count(&mut state.tally, next.read, end - start, done);
        }
        signals.done(job, state.done);
        start = end;
    }
}

/// What a read showed.
enum Seen {
    Good(usize),
    Nothing,
    Wrong,
}

fn look(value: Option<&[u8]>, key: u64, verify: bool) -> Seen {
    match value {
        None => Seen::Nothing,
        Some(value) if verify && payload::check(value, key).is_none() => Seen::Wrong,
        Some(value) => Seen::Good(value.len()),
    }
}

fn count(tally: &mut Tally, read: bool, took: std::time::Duration, done: Result<Seen, String>) {
    let bytes = match done {
        Ok(Seen::Good(bytes)) => bytes,
        Ok(Seen::Nothing) => {
            tally.misses += 1;
            0
        }
        Ok(Seen::Wrong) => {
            tally.mismatches += 1;
            0
        }
        Err(error) => return tally.failed(error),
    };
    let side = if read { &mut tally.reads } else { &mut tally.writes };
    side.add(took, bytes);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::{load, plan, store::memory::Memory, workers};

    /// Exactly the operations asked for are done and counted, and every value read is checked.
    #[test]
    fn operations_are_counted_and_checked() {
        let mut plan = plan::sample();
        let store = Memory::default();
        let run = |plan: &Plan| {
            workers::run("test", plan, |number, signals| {
                Ok(cairn_engine::device::reactor::block_on(job(&store, plan, number, signals)))
            })
        };
        let missed = run(&plan).unwrap().total;
        assert_eq!(missed.ops(), 1000);
        assert!(missed.misses > 0);

        load::all(&plan, |number, signals| {
            Ok(cairn_engine::device::reactor::block_on(load::job(&store, &plan, number, signals)))
        })
        .unwrap();
        plan.read_pct = 100;
        let total = run(&plan).unwrap().total;
        assert_eq!((total.reads.latency.len(), total.misses, total.mismatches), (1000, 0, 0));
        assert_eq!(total.reads.bytes, 1000 * 100);

        store.spoil();
        assert_eq!(run(&plan).unwrap().total.mismatches, 1000);
    }
}
