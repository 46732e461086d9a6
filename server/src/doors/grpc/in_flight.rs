//! Many requests in flight at once, without a task for each: what batches and pipelines are made of.
//!
//! A request is polled once where it is started; most that need no device are done then and there. Only those that wait go into
//! the set of running ones. One timer serves all their deadlines. A request whose deadline passes is answered at once but
//! runs on to its end and keeps its place, so that a device that hangs pushes back instead of filling memory.

use std::{
    collections::VecDeque,
    future::Future,
    pin::Pin,
    sync::{Arc, atomic::Ordering::Relaxed},
    task::{Context, Poll},
    time::Instant,
};

use cairn_proto::v1::Code;
use tokio::time::{Sleep, sleep_until};

use self::places::Places;
use super::{
    answer::Outcome,
    call::Call,
    execute::{Execution, execute},
};
use crate::{codes::Problem, metrics::Kind, operations::Operations};

/// What came of a request, and its id.
pub type Done = (u64, Outcome);

/// Requests in flight.
pub struct InFlight {
    operations: Arc<Operations>,
    running: Places<Running>,
    /// Bytes that those running may be answered with, as they were started with.
    reserved: usize,
    expired: VecDeque<Done>,
    /// Answered and not counted yet.
    uncounted: Vec<Uncounted>,
    timer: Pin<Box<Sleep>>,
    /// When the timer fires; no later than the first deadline of those running.
    armed: Option<Instant>,
}

struct Running {
    id: u64,
    namespace: Option<usize>,
    kind: Kind,
    reserved: usize,
    started: Instant,
    deadline: Instant,
    /// Its answer has been given: the deadline passed.
    answered: bool,
    execution: Execution,
}

struct Finished {
    id: u64,
    namespace: Option<usize>,
    kind: Kind,
    reserved: usize,
    started: Instant,
    answered: bool,
    result: Outcome,
}

/// What is counted of a request that was answered. Many are counted with one look at the clock: it costs as much as the rest of it.
struct Uncounted {
    namespace: Option<usize>,
    kind: Kind,
    code: Code,
    started: Instant,
}

/// Answers that one look at the clock is for, at most.
const COUNTED_AT_ONCE: usize = 64;

impl Future for Running {
    type Output = Finished;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Finished> {
        let result = std::task::ready!(self.execution.as_mut().poll(context));
        let Self { id, namespace, kind, reserved, started, answered, .. } = *self;
        Poll::Ready(Finished { id, namespace, kind, reserved, started, answered, result })
    }
}

impl InFlight {
    /// None in flight yet.
    pub fn new(operations: Arc<Operations>) -> Self {
        Self {
            operations,
            running: Places::new(),
            reserved: 0,
            expired: VecDeque::new(),
            uncounted: Vec::new(),
            timer: Box::pin(sleep_until(Instant::now().into())),
            armed: None,
        }
    }

    /// Whether nothing runs and no answer waits to be taken.
    pub fn is_empty(&self) -> bool {
        self.running.is_empty() && self.expired.is_empty()
    }

    /// Whether one more may be started, of `limit` at once here and of the worker's own limits. One always may, so that every
    /// stream goes on.
    pub fn has_room(&self, limit: usize) -> bool {
        self.running.is_empty() || (self.running.len() < limit && self.operations.has_room())
    }

    /// Whether `reserved` more bytes of answers may be under way, of `limit` at once here. What is alone always may.
    pub fn has_bytes(&self, reserved: usize, limit: usize) -> bool {
        reserved == 0 || self.reserved == 0 || self.reserved + reserved <= limit
    }

    /// Starts a call, and answers it if it is done at once. `now` is the time of its arrival.
    pub fn start(
        &mut self,
        id: u64,
        kind: Kind,
        call: Call,
        now: Instant,
        deadline: Instant,
    ) -> Option<Outcome> {
        let (namespace, reserved) = (Some(call.namespace), call.reservation().bytes);
        let execution = execute(&self.operations, call);
        let (started, answered) = (now, false);
        self.begin(Running {
            id,
            namespace,
            kind,
            reserved,
            started,
            deadline,
            answered,
            execution,
        })
    }

    /// Adds a request that never ends.
    #[cfg(test)]
    pub fn hang(&mut self, id: u64, kind: Kind, deadline: Instant) {
        let execution = Box::pin(std::future::pending());
        let started = Instant::now();
        let (reserved, answered) = (0, false);
        let namespace = None;
        let running =
            Running { id, namespace, kind, reserved, started, deadline, answered, execution };
        assert!(self.begin(running).is_none());
    }

    fn begin(&mut self, running: Running) -> Option<Outcome> {
        let (reserved, deadline) = (running.reserved, running.deadline);
        if let Some(finished) = self.running.start(running) {
            let Finished { namespace, kind, started, result, .. } = finished;
            return Some(self.answer(namespace, kind, started, result));
        }
        self.operations.metrics.in_flight.fetch_add(1, Relaxed);
        self.reserved += reserved;
        if self.armed.is_none_or(|armed| deadline < armed) {
            self.arm(deadline);
        }
        None
    }

    /// Refuses a request that was not started.
    pub fn refuse(&mut self, kind: Kind, now: Instant, problem: Problem) -> Outcome {
        self.answer(None, kind, now, Err(problem))
    }

    /// The next answer; `None` when nothing is in flight.
    pub fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<Done>> {
        loop {
            if let Some(done) = self.expired.pop_front() {
                return Poll::Ready(Some(done));
            }
            let finished = match self.running.poll_next(context) {
                Poll::Ready(Some(finished)) => finished,
                none => {
                    // The timer only now: a look at it costs as much as an answer, and whoever is done does not miss its deadline.
                    if none.is_pending() && self.poll_timer(context) {
                        continue;
                    }
                    self.count();
                    return none.map(|_| None);
                }
            };
            self.operations.metrics.in_flight.fetch_sub(1, Relaxed);
            self.reserved -= finished.reserved;
            if !finished.answered {
                let Finished { namespace, kind, started, result, .. } = finished;
                let answer = self.answer(namespace, kind, started, result);
                return Poll::Ready(Some((finished.id, answer)));
            }
        }
    }

    /// Whether a deadline has passed.
    fn poll_timer(&mut self, context: &mut Context<'_>) -> bool {
        while self.armed.is_some() && self.timer.as_mut().poll(context).is_ready() {
            self.expire(Instant::now());
        }
        !self.expired.is_empty()
    }

    /// Answers those whose deadline has passed, and sets the timer for the others.
    fn expire(&mut self, now: Instant) {
        let metrics = &self.operations.metrics;
        let mut next: Option<Instant> = None;
        for running in self.running.iter_mut() {
            if running.answered {
                continue;
            }
            if running.deadline <= now {
                running.answered = true;
                let problem = Problem::Deadline { in_doubt: running.kind.writes() };
                let took = now - running.started;
                metrics.count(running.namespace, running.kind, problem.code(), took);
                self.expired.push_back((running.id, Err(problem)));
            } else {
                next = Some(next.map_or(running.deadline, |next| next.min(running.deadline)));
            }
        }
        self.armed = None;
        if let Some(next) = next {
            self.arm(next);
        }
    }

    fn arm(&mut self, at: Instant) {
        self.armed = Some(at);
        self.timer.as_mut().reset(at.into());
    }

    fn answer(
        &mut self,
        namespace: Option<usize>,
        kind: Kind,
        started: Instant,
        result: Outcome,
    ) -> Outcome {
        let code = result.as_ref().map_or_else(Problem::code, |_| Code::Ok);
        self.uncounted.push(Uncounted { namespace, kind, code, started });
        if self.uncounted.len() >= COUNTED_AT_ONCE {
            self.count();
        }
        result
    }

    fn count(&mut self) {
        if self.uncounted.is_empty() {
            return;
        }
        let now = Instant::now();
        for Uncounted { namespace, kind, code, started } in self.uncounted.drain(..) {
            self.operations.metrics.count(namespace, kind, code, now - started);
        }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.count();
        self.operations.metrics.in_flight.fetch_sub(self.running.len(), Relaxed);
    }
}

mod places;
#[cfg(test)]
mod tests;
