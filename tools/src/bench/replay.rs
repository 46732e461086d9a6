//! Replays a trace, as fast as `iodepth` allows or at its own speed, keeps the order of each key's operations, and checks what it reads.
//!
//! Each thread has the keys of its own, so what a read must show is known exactly: the last write of its key. A key whose
//! write failed may show that write or the one before: see [`Known`]. At its own speed an operation's latency counts from the instant
//! the trace gives it, also when it had to wait for another of its key.

use std::{
    cell::RefCell,
    collections::{HashMap, VecDeque},
    path::Path,
    pin::pin,
    thread,
    time::Instant,
};

use futures::{
    StreamExt,
    future::{Either, select},
    stream::FuturesUnordered,
};
use indicatif::ProgressBar;

use super::{
    drive::Timer,
    gate::Gate,
    grpc, interrupt,
    job::{self, Job, Load},
    known::Known,
    options::Args,
    outcome::Outcome,
    payload,
    random::mix,
    store::{How, Store},
    tally::{SLICE, Tally},
    target::{Target, Targets},
    thread::Moment,
    trace::{self, Kind, Op},
};
use crate::{
    failure::{Doing, Failure, Result},
    units,
};

/// Operations of busy keys that may wait while others go ahead.
const LOOK_AHEAD: usize = 1024;
/// How many operations a thread does before it tells the progress bar.
const TELL: u64 = 256;

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
        used_bytes: None,
        interrupted: interrupt::requested(),
        notes: Vec::new(),
    })
}

type Replayed = (Tally, Moment, Moment);

fn threads(run: &Run<'_>, target: &Target, divided: &[Vec<Op>]) -> Result<Vec<Replayed>> {
    thread::scope(|scope| {
        let mut threads = Vec::new();
        for ops in divided {
            let work = move || {
                on_target(run, target, ops).inspect_err(|_| {
                    run.gate.fail();
                    interrupt::request();
                })
            };
            let thread = thread::Builder::new().name("replay".into()).spawn_scoped(scope, work);
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
            Some(replay(store, run, ops, run.gate.wait()?, alarm).await)
        }),
        Target::Grpc => grpc::on_thread(run.job, async |node, alarm| {
            Some(replay(node, run, ops, run.gate.wait()?, alarm).await)
        }),
        Target::Raw(_) => Ok(None),
    }
}

/// What waits and what is known, shared by the operations in flight of a thread.
struct State<'a> {
    rest: std::slice::Iter<'a, Op>,
    start: Instant,
    speed: Option<f64>,
    /// Keys with an operation in flight, and what waits behind it.
    busy: HashMap<u64, VecDeque<Op>>,
    waiting: usize,
    known: HashMap<u64, Known>,
    tally: Tally,
    done: u64,
}

impl State<'_> {
    /// When an operation is due; at once without a speed.
    fn due(&self, op: &Op) -> Option<Instant> {
        Some(self.start + op.at.div_f64(self.speed?))
    }

    /// When the next one of the trace is due; `None` at its end.
    fn next_due(&self) -> Option<Instant> {
        let op = self.rest.as_slice().first()?;
        Some(self.due(op).unwrap_or(self.start))
    }

    /// Whether another may be taken from the trace.
    fn has_room(&self) -> bool {
        self.waiting < LOOK_AHEAD
    }

    /// Takes the next operation of the trace; one whose key is busy queues up behind it.
    fn take(&mut self) -> Option<Op> {
        let op = *self.rest.next()?;
        match self.busy.get_mut(&op.key) {
            Some(queue) => {
                queue.push_back(op);
                self.waiting += 1;
                None
            }
            None => {
                self.busy.insert(op.key, VecDeque::new());
                Some(op)
            }
        }
    }

    /// The next operation whose key is free.
    fn next(&mut self) -> Option<Op> {
        while self.has_room() && !self.rest.as_slice().is_empty() && !interrupt::requested() {
            if let Some(op) = self.take() {
                return Some(op);
            }
        }
        None
    }

    /// An operation is done: the next of its key, or without a speed any other.
    fn after(&mut self, key: u64) -> Option<Op> {
        if let Some(op) = self.busy.get_mut(&key).and_then(VecDeque::pop_front) {
            self.waiting -= 1;
            return Some(op);
        }
        self.busy.remove(&key);
        if self.speed.is_some() { None } else { self.next() }
    }
}

async fn replay<S: Store>(
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
            bound_met = due <= now;
            flying.next().await;
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
        let saw = |shown: Option<super::store::Shown<'_>>| {
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
        let judge = |shown: Option<super::store::Shown<'_>>| {
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
    use crate::bench::store::memory::Memory;

    /// Sleeps the whole thread: there is nothing else on it.
    struct Sleep;

    impl Timer for Sleep {
        async fn until(&self, at: Instant) {
            thread::sleep(at.saturating_duration_since(Instant::now()));
        }
    }

    fn run_on(store: &Memory, ops: &[Op], speed: Option<f64>) -> (Tally, Duration) {
        let job = Job { threads: 1, ..job::sample() };
        let run = Run { job: &job, speed, gate: Gate::default(), bar: ProgressBar::hidden() };
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

    /// All operations of a key stay on one thread, in their order.
    #[test]
    fn keys_are_not_divided() {
        let divided = divide(&ops(Duration::from_micros(1)), 3);
        for (number, ops) in (0..).zip(&divided) {
            assert!(ops.iter().all(|op| mix(op.key) % 3 == number));
            assert!(ops.windows(2).all(|pair| pair[0].at <= pair[1].at));
        }
        assert_eq!(divided.iter().map(Vec::len).sum::<usize>(), 5000);
    }
}
