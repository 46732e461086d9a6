//! What one thread of a job has while it runs: its clock, its operations, and where it counts.

use std::{
    sync::{
        Mutex,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use super::{
    interrupt,
    job::Job,
    pace::Pace,
    tally::{SLICE, Tally},
    usage::Usage,
    work::{Done, Source, Task},
};

/// A thread with so many failures ends: what it measures is worth nothing any more.
pub const FAILURES_MAX: u64 = 1000;
/// Starts that are made behind the end of the run are so late at most: less than a machine is late that keeps its rate and stands still for a moment.
const LATE: Duration = Duration::from_millis(100);
/// How often a thread hands over what it counted.
const EXCHANGE: Duration = Duration::from_secs(1);

/// The instants of a run.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    /// When operations begin.
    pub start: Instant,
    /// From here on they are measured.
    pub from: Instant,
    /// None is started any more; `None` when only a number of operations ends the run.
    pub until: Option<Instant>,
}

impl Clock {
    /// The clock of a job that begins now.
    pub fn new(job: &Job, start: Instant) -> Self {
        let from = start + job.ramp;
        Self { start, from, until: job.time().map(|time| from + time) }
    }

    /// Whether nothing more is to be started.
    pub fn is_over(&self, now: Instant) -> bool {
        self.until.is_some_and(|until| now >= until) || interrupt::requested()
    }

    /// The half second of the measured time that `now` lies in.
    fn slice(&self, now: Instant) -> u32 {
        (now.saturating_duration_since(self.from).as_nanos() / SLICE.as_nanos()) as u32
    }
}

/// Where a thread leaves what it counted, for those who show it meanwhile. The thread never waits here: it swaps its full tally for
/// an empty one if one lies ready. Each has cache lines of its own: it is written to for every operation.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct Mailbox {
    full: Mutex<Option<Box<Tally>>>,
    empty: Mutex<Option<Box<Tally>>>,
    /// Operations in flight.
    pub in_flight: AtomicU32,
}

impl Mailbox {
    /// Swaps a full tally for an empty one. Where nobody took the last one, the thread goes on with the one it has.
    fn swap(&self, tally: &mut Box<Tally>) {
        let (Ok(mut full), Ok(mut empty)) = (self.full.try_lock(), self.empty.try_lock()) else {
            return;
        };
        if full.is_none() {
            let fresh = empty.take().unwrap_or_default();
            *full = Some(std::mem::replace(tally, fresh));
        }
    }

    /// Takes what was left, and gives it back emptied when `with` is done.
    pub fn collect(&self, with: impl FnOnce(&Tally)) {
        let taken = self.full.lock().ok().and_then(|mut full| full.take());
        let Some(mut tally) = taken else { return };
        with(&tally);
        tally.clear();
        if let Ok(mut empty) = self.empty.lock() {
            *empty = Some(tally);
        }
    }
}

/// A look at the clock and at what was used.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// When.
    pub at: Instant,
    /// By the process.
    pub process: Usage,
    /// By the thread.
    pub thread: Usage,
}

impl Moment {
    /// Now, or `at`.
    pub fn new(at: Instant) -> Self {
        Self { at, process: Usage::process(), thread: Usage::thread() }
    }
}

/// What a thread gave.
#[derive(Debug)]
pub struct Report {
    /// What is left of its tally, beside what it handed over.
    pub tally: Box<Tally>,
    /// From the first measured start to the last; `None` when nothing was measured.
    pub span: Option<(Moment, Moment)>,
}

/// A running thread.
#[derive(Debug)]
pub struct Thread<'a> {
    /// Its job.
    pub job: &'a Job,
    /// Its operations.
    pub source: Source<'a>,
    /// Its clock.
    pub clock: Clock,
    /// Its starts, in an open loop.
    pub pace: Option<Pace>,
    mailbox: &'a Mailbox,
    tally: Box<Tally>,
    exchange: Instant,
    in_flight: u32,
    failures: u64,
    first: Option<Moment>,
    last: Option<Moment>,
}

/// An operation that was started.
#[derive(Clone, Copy, Debug)]
pub struct Started {
    /// What it is.
    pub task: Task,
    /// The instant its latency counts from.
    pub since: Instant,
    measured: bool,
}

impl<'a> Thread<'a> {
    /// Thread `number` of a job, whose operations begin at `clock.start`.
    pub fn new(
        job: &'a Job,
        number: u32,
        source: Source<'a>,
        clock: Clock,
        mailbox: &'a Mailbox,
    ) -> Self {
        Self {
            job,
            source,
            pace: Pace::new(job, number, clock.start),
            clock,
            mailbox,
            tally: Box::default(),
            exchange: clock.from + EXCHANGE,
            in_flight: 0,
            failures: 0,
            first: None,
            last: None,
        }
    }

    /// Starts an operation whose latency counts from `since`; `None` when no more are to be started.
    pub fn start(&mut self, since: Instant) -> Option<Started> {
        if self.clock.is_over(since) || self.failures >= FAILURES_MAX {
            self.end(since);
            return None;
        }
        let measured = since >= self.clock.from;
        let task = self.source.next(measured)?;
        if measured && self.first.is_none() {
            self.first = Some(Moment::new(since));
        }
        self.in_flight += 1;
        self.mailbox.in_flight.store(self.in_flight, Relaxed);
        if measured {
            self.tally.started(self.in_flight as usize);
        }
        Some(Started { task, since, measured })
    }

    /// Starts the operation that is due, `now` being later than that. `bound_met`: as many as allowed were in flight at its instant.
    pub fn start_due(&mut self, now: Instant, bound_met: bool) -> Option<Started> {
        let pace = self.pace.as_mut()?;
        let due = pace.due();
        // One that was due just before the end is made a little behind it, as any other is made a little late.
        let too_late = self.clock.is_over(now) && now.saturating_duration_since(due) > LATE;
        if self.clock.is_over(due) || too_late || self.failures >= FAILURES_MAX {
            // Those that never came to be started must not be forgotten: they are the slowest of all.
            let end = self.clock.until.map_or(now, |until| now.min(until));
            self.tally.unmade += pace.left_between(self.clock.from, end);
            self.end(now);
            return None;
        }
        pace.advance(&mut self.source.random);
        let started = self.start(due)?;
        if started.measured {
            self.tally.delayed(now.saturating_duration_since(due));
            self.tally.late += u64::from(bound_met);
        }
        Some(started)
    }

    /// Counts an operation that is over.
    pub fn finish(&mut self, started: &Started, now: Instant, done: Result<Done, String>) {
        self.in_flight -= 1;
        self.failures += u64::from(done.is_err());
        if started.measured {
            let slice = self.clock.slice(now);
            match done {
                Err(error) => self.tally.failed(error),
                Ok(done) => {
                    let took = now.saturating_duration_since(started.since);
                    self.tally.side(started.task.op).add(took, slice, done.bytes);
                    self.tally.misses += u64::from(done.missed);
                    self.tally.mismatches += u64::from(done.wrong);
                    self.tally.conflicts += done.conflicts;
                }
            }
            if self.source.is_empty() && self.in_flight == 0 {
                self.last = Some(Moment::new(now));
            }
        } else if let Err(error) = done {
            // A failure counts also while nothing is measured yet.
            self.tally.failed(error);
        }
        if now >= self.exchange {
            self.exchange = now + EXCHANGE;
            self.mailbox.swap(&mut self.tally);
        }
    }

    /// Operations in flight.
    pub fn in_flight(&self) -> u32 {
        self.in_flight
    }

    /// No operation will be started any more.
    fn end(&mut self, now: Instant) {
        if self.last.is_some() {
            return;
        }
        let end = self.clock.until.map_or(now, |until| now.min(until));
        self.last = Some(Moment::new(end));
    }

    /// What it gave.
    pub fn report(mut self) -> Report {
        self.mailbox.in_flight.store(0, Relaxed);
        self.end(Instant::now());
        Report { tally: self.tally, span: self.first.zip(self.last) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::{job, keys::Space};

    /// A thread of 1000 starts a second for a twentieth of one: how many are made at `behind` its end, and how many never.
    fn made_behind(behind: Duration) -> (u64, u64) {
        let job = Job { rate: Some(1000.0), threads: 1, ..job::sample() };
        let (space, mailbox, start) = (Space::new(job.records), Mailbox::default(), Instant::now());
        let until = start + LATE / 2;
        let clock = Clock { start, from: start, until: Some(until) };
        let mut thread = Thread::new(&job, 0, Source::new(&job, &space, 0), clock, &mailbox);
        let mut made = 0;
        while thread.start_due(until + behind, false).is_some() {
            made += 1;
        }
        (made, thread.tally.unmade)
    }

    /// A run that kept its rate to the end is not called overloaded since the clock woke a little late for the last start; one that was behind is.
    #[test]
    fn what_was_due_before_the_end_is_made_a_little_behind_it() {
        let (made, unmade) = made_behind(Duration::from_micros(50));
        assert_eq!((made, unmade), (50, 0));
        let (made, unmade) = made_behind(Duration::from_secs(1));
        assert_eq!((made, unmade), (0, 50));
    }
}
