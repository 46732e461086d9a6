//! The threads of a run, and its clock: start together, warm up, measure, stop.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use super::{cpu, live::Live, measure::Tally, plan::Plan};
use crate::failure::{Doing, Failure, Result};

/// How often the jobs look whether they may start.
const POLL: Duration = Duration::from_micros(200);

/// What the jobs of a run share.
#[derive(Debug)]
pub struct Signals {
    ready: AtomicU32,
    go: AtomicBool,
    measuring: AtomicBool,
    stop: AtomicBool,
    /// Operations done so far, one counter a job so that none waits for another's.
    done: Vec<Counter>,
}

/// A counter on a cache line of its own.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Counter(AtomicU64);

impl Signals {
    /// This job can start: waits until all can. Each job calls it once, unless it fails before.
    pub fn ready(&self) {
        self.ready.fetch_add(1, Ordering::Relaxed);
        while !self.go.load(Ordering::Acquire) {
            thread::sleep(POLL);
        }
    }

    /// Lets the jobs go once all are ready, or one has failed before it was.
    fn start(&self, jobs: u32, any_done: impl Fn() -> bool) {
        while self.ready.load(Ordering::Relaxed) < jobs && !any_done() {
            thread::sleep(POLL);
        }
        self.go.store(true, Ordering::Release);
    }

    /// Lets the jobs that wait end at once.
    fn abandon(&self) {
        self.stop.store(true, Ordering::Relaxed);
        self.go.store(true, Ordering::Release);
    }

    /// Whether operations count already.
    pub fn measuring(&self) -> bool {
        self.measuring.load(Ordering::Relaxed)
    }

    /// Whether the run is over.
    pub fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Job `job` has done so many operations.
    pub fn done(&self, job: u32, count: u64) {
        self.done[job as usize].0.store(count, Ordering::Relaxed);
    }

    /// Operations done so far by all jobs.
    pub fn total(&self) -> u64 {
        self.done.iter().map(|counter| counter.0.load(Ordering::Relaxed)).sum()
    }
}

/// What a run gave.
#[derive(Debug)]
pub struct Measured {
    /// What the jobs counted together.
    pub total: Tally,
    /// From the end of the warm-up to the stop.
    pub took: Duration,
    /// CPU of this process in that time.
    pub cpu: Duration,
}

/// Runs `job` on `plan.jobs` threads. A job calls [`Signals::ready`] once it can start, and returns when
/// [`Signals::stopped`] or when it has done its share.
pub fn run(
    name: &str,
    plan: &Plan,
    job: impl Fn(u32, &Signals) -> Result<Tally> + Sync,
) -> Result<Measured> {
    let signals = Arc::new(Signals {
        ready: AtomicU32::new(0),
        go: AtomicBool::new(false),
        measuring: AtomicBool::new(plan.warmup.is_zero()),
        stop: AtomicBool::new(false),
        done: (0..plan.jobs).map(|_| Counter::default()).collect(),
    });
    thread::scope(|scope| {
        let mut threads = Vec::new();
        for number in 0..plan.jobs {
            let (signals, job) = (&signals, &job);
            let thread = thread::Builder::new()
                .name(format!("bench-{number}"))
                .spawn_scoped(scope, move || job(number, signals));
            threads.push(thread.doing("starting a thread").inspect_err(|_| signals.abandon())?);
        }
        let finished = thread::ScopedJoinHandle::is_finished;
        signals.start(plan.jobs, || threads.iter().any(finished));
        let live = Live::start(name, plan, signals.clone());
        let (started, cpu_before) = measure(plan, &signals, || threads.iter().all(finished));
        let mut took = started.elapsed();
        let mut cpu = cpu::used().saturating_sub(cpu_before);
        let mut total = Tally::default();
        for thread in threads {
            total.merge(&thread.join().map_err(|_| Failure::new("a job panicked"))??);
        }
        if plan.ops.is_some() {
            let (end, used) = total.ended.unwrap_or_else(|| (Instant::now(), cpu::used()));
            took = end - started;
            cpu = used.saturating_sub(cpu_before);
        }
        live.finish();
        Ok(Measured { total, took, cpu })
    })
}

/// Warms up, then lets the run go for its time, or until all jobs are through.
fn measure(plan: &Plan, signals: &Signals, all_done: impl Fn() -> bool) -> (Instant, Duration) {
    pause(plan.warmup, &all_done);
    let started = (Instant::now(), cpu::used());
    signals.measuring.store(true, Ordering::Relaxed);
    if plan.ops.is_none() {
        pause(plan.runtime, &all_done);
        signals.stop.store(true, Ordering::Relaxed);
    }
    started
}

/// Sleeps, in pieces, so that a run whose jobs have failed ends at once.
fn pause(time: Duration, all_done: impl Fn() -> bool) {
    let end = Instant::now() + time;
    while !all_done() {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return;
        }
        thread::sleep(left.min(Duration::from_millis(100)));
    }
}
