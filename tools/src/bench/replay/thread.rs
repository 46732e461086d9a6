//! One thread of a replay: starts operations in their order, judges what they show.

use std::{cell::RefCell, collections::HashMap, pin::pin, time::Instant};

use futures::{
    StreamExt,
    future::{Either, select},
    stream::FuturesUnordered,
};

use super::{Replayed, Run, order::State};
use crate::bench::{
    drive::Timer,
    interrupt,
    job::{self, Job},
    payload,
    store::{How, Shown, Store},
    tally::{SLICE, Tally},
    thread::Moment,
    trace::{Kind, Op},
};

/// How many operations a thread does before it tells the progress bar.
const TELL: u64 = 256;

/// Replays a thread's operations from `start` on.
pub async fn replay<S: Store>(
    store: &S,
    run: &Run<'_>,
    ops: &[Op],
    start: Instant,
    timer: &impl Timer,
) -> Replayed {
    let first = Moment::new(start);
    let state = RefCell::new(State {
        rest: ops.iter(),
        start,
        speed: run.speed,
        busy: HashMap::new(),
        waiting: 0,
        known: HashMap::new(),
        tally: Tally::default(),
        done: 0,
    });
    let depth = run.job.depth() as usize;
    if run.speed.is_some() {
        at_speed(store, run, &state, depth, timer).await;
    } else {
        let mut flying = FuturesUnordered::new();
        loop {
            while flying.len() < depth {
                let Some(op) = state.borrow_mut().next() else { break };
                flying.push(lane(store, run, op, &state));
            }
            if flying.next().await.is_none() {
                break;
            }
        }
    }
    let last = Moment::new(Instant::now());
    let mut state = state.into_inner();
    if run.job.verify && !interrupt::requested() {
        final_pass(store, run.job, &mut state).await;
    }
    (state.tally, first, last)
}

/// Starts each operation at its instant, or as soon after it as there is room.
async fn at_speed<S: Store>(
    store: &S,
    run: &Run<'_>,
    state: &RefCell<State<'_>>,
    depth: usize,
    timer: &impl Timer,
) {
    let mut flying = FuturesUnordered::new();
    let mut bound_met = false;
    loop {
        let (due, room) = (state.borrow().next_due(), state.borrow().has_room());
        let Some(due) = due.filter(|_| !interrupt::requested()) else { break };
        let now = Instant::now();
        if flying.len() >= depth || !room {
            flying.next().await;
            bound_met = due <= Instant::now();
        } else if due <= now {
            let taken = {
                let mut state = state.borrow_mut();
                state.tally.delayed(now.saturating_duration_since(due));
                state.tally.late += u64::from(std::mem::take(&mut bound_met));
                state.take()
            };
            flying.extend(taken.map(|op| lane(store, run, op, state)));
        } else if flying.is_empty() {
            timer.until(due).await;
        } else {
            let wait = pin!(timer.until(due));
            if let Either::Left(_) = select(flying.next(), wait).await {}
        }
    }
    while flying.next().await.is_some() {}
}

/// Does one operation after another: what waits behind its key first, then whatever comes next.
async fn lane<S: Store>(store: &S, run: &Run<'_>, first: Op, state: &RefCell<State<'_>>) {
    let mut next = Some(first);
    while let Some(op) = next {
        let since = state.borrow().due(&op).unwrap_or_else(Instant::now);
        let done = perform(store, run.job, op, state).await;
        let now = Instant::now();
        let state = &mut *state.borrow_mut();
        let slice =
            (now.saturating_duration_since(state.start).as_nanos() / SLICE.as_nanos()) as u32;
        let kind = match op.kind {
            Kind::Get => job::Op::Read,
            Kind::Put(_) => job::Op::Write,
            Kind::Delete => job::Op::Delete,
        };
        match done {
            Ok(bytes) => {
                state.tally.side(kind).add(now.saturating_duration_since(since), slice, bytes)
            }
            Err(error) => state.tally.failed(error),
        }
        state.done += 1;
        if state.done.is_multiple_of(TELL) {
            run.bar.inc(TELL);
        }
        next = state.after(op.key);
    }
}

async fn perform<S: Store>(
    store: &S,
    job: &Job,
    op: Op,
    state: &RefCell<State<'_>>,
) -> Result<usize, String> {
    let key = op.key;
    if op.kind == Kind::Get {
        let saw = |shown: Option<Shown<'_>>| {
            let value =
                shown.as_ref().and_then(|shown| shown.bins.first()).map(|(_, bytes)| *bytes);
            state.borrow_mut().saw(job, key, value)
        };
        return store.read(key, saw).await;
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
            let bins = vec![(payload::BIN.into(), value)];
            (store.write(key, bins, How::Replace).await.map(drop), Some((counter_kept, len)))
        }
        _ => (store.delete(key).await, None),
    };
    let known = &mut state.borrow_mut().known;
    known.entry(key).or_default().written(to, done.is_ok());
    done.map(|()| to.map_or(0, |(_, len)| len))
}

impl State<'_> {
    /// Judges what a read showed; gives its length.
    fn saw(&mut self, job: &Job, key: u64, value: Option<&[u8]>) -> usize {
        self.tally.misses += u64::from(value.is_none());
        if job.verify && !self.known.entry(key).or_default().allows(key, value) {
            self.tally.mismatches += 1;
        }
        value.map_or(0, <[u8]>::len)
    }
}

/// Reads every key that was written once more.
async fn final_pass<S: Store>(store: &S, job: &Job, state: &mut State<'_>) {
    let keys: Vec<u64> = state.known.keys().copied().collect();
    let state = RefCell::new(state);
    let check = async |key: u64| {
        let judge = |shown: Option<Shown<'_>>| {
            let value =
                shown.as_ref().and_then(|shown| shown.bins.first()).map(|(_, bytes)| *bytes);
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
        .buffer_unordered(job.depth() as usize)
        .for_each(async |()| ())
        .await;
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use cairn_engine::device::reactor::block_on;

    use super::*;
    use crate::bench::{gate::Gate, random::mix, store::memory::Memory};

    /// Sleeps the whole thread: there is nothing else on it.
    struct Sleep;

    impl Timer for Sleep {
        async fn until(&self, at: Instant) {
            std::thread::sleep(at.saturating_duration_since(Instant::now()));
        }
    }

    fn run_on(store: &Memory, ops: &[Op], speed: Option<f64>) -> (Tally, Duration) {
        let job = Job { threads: 1, ..job::sample() };
        let run =
            Run { job: &job, speed, gate: Gate::default(), bar: indicatif::ProgressBar::hidden() };
        let replayed = block_on(replay(store, &run, ops, Instant::now(), &Sleep));
        (replayed.0, replayed.2.at - replayed.1.at)
    }

    fn ops(gap: Duration) -> Vec<Op> {
        let kind = |n: u64| match n % 5 {
            0 | 1 => Kind::Get,
            2 => Kind::Delete,
            _ => Kind::Put((n % 300) as usize),
        };
        (0..5000u32)
            .map(|n| Op { at: gap * n, key: mix(n.into()) % 50, kind: kind(mix(n.into()) >> 32) })
            .collect()
    }

    /// A replay does every operation once, and a store that keeps what it is given passes it.
    #[test]
    fn a_faithful_store_passes() {
        let (total, _) = run_on(&Memory::default(), &ops(Duration::ZERO), None);
        assert_eq!((total.ops(), total.mismatches, total.errors), (5000, 0, 0));
    }

    /// At its own speed a replay takes as long as the trace does, and still does everything once and in order.
    #[test]
    fn a_trace_has_a_speed() {
        let ops = ops(Duration::from_micros(100));
        let (total, took) = run_on(&Memory::default(), &ops, Some(5.0));
        assert_eq!((total.ops(), total.mismatches, total.errors), (5000, 0, 0));
        assert!(took >= Duration::from_millis(99), "{took:?}");
    }
}
