//! Replays a trace as fast as `depth` allows, keeps the order of each key's operations, and checks what it reads.
//!
//! Each job has the keys of its own, so what a read must show is known exactly: the last write of its key. A key whose
//! write failed may show that write or the one before: see [`Known`].

use std::{
    cell::RefCell,
    collections::{HashMap, VecDeque},
    path::Path,
    time::{Duration, Instant},
};

use futures::{StreamExt, stream::FuturesUnordered};

use super::{
    embedded::Embedded,
    grpc,
    keys::mix,
    known::Known,
    measure::{Outcome, Tally},
    options::{Args, Mode, Target},
    payload,
    plan::Plan,
    store::Store,
    trace::{self, Kind, Op},
    workers::{self, Signals},
};
use crate::{failure::Result, units};

/// Operations of busy keys that may wait while others go ahead.
const LOOK_AHEAD: usize = 1024;

/// Replays the trace at every depth.
pub fn run(args: &Args, file: &Path) -> Result<Vec<Outcome>> {
    let ops = trace::load(file)?;
    eprintln!("{}: {} operations", file.display(), units::count(ops.len() as u64));
    let divided = divide(&ops, args.jobs);
    let mut outcomes = Vec::new();
    for depth in &args.depth {
        let plan =
            Plan { ops: Some(ops.len() as u64), warmup: Duration::ZERO, ..args.plan(*depth) };
        outcomes.push(one(args, &plan, &divided)?);
    }
    Ok(outcomes)
}

/// Each job's operations, in their order; all of one key go to the same job.
fn divide(ops: &[Op], jobs: u32) -> Vec<Vec<Op>> {
    let mut divided = vec![Vec::new(); jobs as usize];
    for op in ops {
        divided[(mix(op.key) % u64::from(jobs)) as usize].push(*op);
    }
    divided
}

fn one(args: &Args, plan: &Plan, divided: &[Vec<Op>]) -> Result<Outcome> {
    let (name, measured) = match args.target {
        Target::Grpc => {
            let name = match args.mode {
                Mode::Unary => "replay grpc unary",
                Mode::Pipeline => "replay grpc pipeline",
            };
            let job = |number: u32, signals: &Signals| {
                grpc::on_thread(args, async |node| {
                    replay(&node, plan, &divided[number as usize], number, signals).await
                })
            };
            (name, workers::run(name, plan, job)?)
        }
        _ => {
            let store = Embedded::open(args)?;
            let job = |number: u32, signals: &Signals| {
                store.on_thread(|| replay(&store, plan, &divided[number as usize], number, signals))
            };
            let measured = workers::run("replay embedded", plan, job)?;
            store.close()?;
            ("replay embedded", measured)
        }
    };
    let workers::Measured { total, took, cpu } = measured;
    if plan.verify {
        println!(
            "{name} depth {}: {} wrong values among all that were read and the final pass",
            plan.depth, total.mismatches
        );
    }
    Ok(Outcome { name: name.into(), plan: plan.clone(), total, took, cpu, server_cpu: None })
}

/// What waits and what is known, shared by the lanes of a job.
struct State<'a> {
    rest: std::slice::Iter<'a, Op>,
    /// Keys with an operation in flight, and what waits behind it.
    busy: HashMap<u64, VecDeque<Op>>,
    waiting: usize,
    known: HashMap<u64, Known>,
    tally: Tally,
}

impl State<'_> {
    /// The next operation whose key is free.
    fn next(&mut self) -> Option<Op> {
        while self.waiting < LOOK_AHEAD {
            let op = *self.rest.next()?;
            match self.busy.get_mut(&op.key) {
                Some(queue) => {
                    queue.push_back(op);
                    self.waiting += 1;
                }
                None => {
                    self.busy.insert(op.key, VecDeque::new());
                    return Some(op);
                }
            }
        }
        None
    }

    /// An operation is done: the next of its key, or any other.
    fn after(&mut self, key: u64) -> Option<Op> {
        if let Some(op) = self.busy.get_mut(&key).and_then(VecDeque::pop_front) {
            self.waiting -= 1;
            return Some(op);
        }
        self.busy.remove(&key);
        self.next()
    }
}

async fn replay<S: Store>(
    store: &S,
    plan: &Plan,
    ops: &[Op],
    job: u32,
    signals: &Signals,
) -> Tally {
    let state = RefCell::new(State {
        rest: ops.iter(),
        busy: HashMap::new(),
        waiting: 0,
        known: HashMap::new(),
        tally: Tally::default(),
    });
    signals.ready();
    let mut flying = FuturesUnordered::new();
    loop {
        while flying.len() < plan.depth as usize {
            let Some(op) = state.borrow_mut().next() else { break };
            flying.push(lane(store, plan, op, &state, job, signals));
        }
        if flying.next().await.is_none() {
            break;
        }
    }
    drop(flying);
    let mut state = state.into_inner();
    state.tally.end();
    if plan.verify {
        final_pass(store, plan, &mut state).await;
    }
    state.tally
}

/// Does one operation after another: what waits behind its key first, then whatever comes next.
async fn lane<S: Store>(
    store: &S,
    plan: &Plan,
    first: Op,
    state: &RefCell<State<'_>>,
    job: u32,
    signals: &Signals,
) {
    let mut next = Some(first);
    while let Some(op) = next {
        let start = Instant::now();
        let done = perform(store, plan, op, state).await;
        let took = start.elapsed();
        let state = &mut *state.borrow_mut();
        match done {
            Ok(bytes) => match op.kind {
                Kind::Get => state.tally.reads.add(took, bytes),
                _ => state.tally.writes.add(took, bytes),
            },
            Err(error) => state.tally.failed(error),
        }
        signals.done(job, state.tally.ops());
        next = state.after(op.key);
    }
}

async fn perform<S: Store>(
    store: &S,
    plan: &Plan,
    op: Op,
    state: &RefCell<State<'_>>,
) -> Result<usize, String> {
    let key = op.key;
    if op.kind == Kind::Get {
        return store.read(key, |value| state.borrow_mut().saw(plan, key, value)).await;
    }
    let counter = {
        let known = &mut state.borrow_mut().known;
        let known = known.entry(key).or_default();
        known.counter += 1;
        known.counter
    };
    let (done, to) = match op.kind {
        Kind::Put(len) => {
            let counter_kept = if len < 16 { 0 } else { counter };
            let value = payload::value(key, counter_kept, len);
            (store.write(key, value).await, Some((counter_kept, len)))
        }
        _ => (store.delete(key).await, None),
    };
    let known = &mut state.borrow_mut().known;
    known.entry(key).or_default().written(to, done.is_ok());
    done.map(|()| to.map_or(0, |(_, len)| len))
}

impl State<'_> {
    /// Judges what a read showed; gives its length.
    fn saw(&mut self, plan: &Plan, key: u64, value: Option<&[u8]>) -> usize {
        self.tally.misses += u64::from(value.is_none());
        if plan.verify && !self.known.entry(key).or_default().allows(key, value) {
            self.tally.mismatches += 1;
        }
        value.map_or(0, <[u8]>::len)
    }
}

/// Reads every key that was written once more.
async fn final_pass<S: Store>(store: &S, plan: &Plan, state: &mut State<'_>) {
    let keys: Vec<u64> = state.known.keys().copied().collect();
    let state = RefCell::new(state);
    let check = async |key: u64| {
        let judge = |value: Option<&[u8]>| {
            let state = &mut **state.borrow_mut();
            let right = state.known.entry(key).or_default().allows(key, value);
            state.tally.mismatches += u64::from(!right);
        };
        if let Err(error) = store.read(key, judge).await {
            state.borrow_mut().tally.failed(error);
        }
    };
    futures::stream::iter(keys)
        .map(check)
        .buffer_unordered(plan.depth as usize)
        .for_each(async |()| ())
        .await;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::{plan, store::memory::Memory};

    fn run_on(store: &Memory, ops: &[Op]) -> Tally {
        let plan = Plan { jobs: 2, ops: Some(ops.len() as u64), ..plan::sample() };
        let divided = divide(ops, plan.jobs);
        let job = |number: u32, signals: &Signals| {
            let ops = &divided[number as usize];
            Ok(cairn_engine::device::reactor::block_on(replay(store, &plan, ops, number, signals)))
        };
        workers::run("test", &plan, job).unwrap().total
    }

    fn ops() -> Vec<Op> {
        let kind = |n: u64| match n % 5 {
            0 | 1 => Kind::Get,
            2 => Kind::Delete,
            _ => Kind::Put((n % 300) as usize),
        };
        (0..5000).map(|n| Op { key: mix(n) % 50, kind: kind(mix(n) >> 32) }).collect()
    }

    /// A replay does every operation once, and a store that keeps what it is given passes it.
    #[test]
    fn a_faithful_store_passes() {
        let total = run_on(&Memory::default(), &ops());
        assert_eq!((total.ops(), total.mismatches, total.errors), (5000, 0, 0));
    }
}
