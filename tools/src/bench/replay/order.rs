//! The order of a replay: what comes next, and what waits for its key.

use std::{
    collections::{HashMap, VecDeque},
    time::Instant,
};

use crate::bench::{interrupt, known::Known, tally::Tally, trace::Op};

/// Operations of busy keys that may wait while others go ahead.
const LOOK_AHEAD: usize = 1024;

/// What waits and what is known, shared by the operations in flight of a thread.
pub struct State<'a> {
    pub(super) rest: std::slice::Iter<'a, Op>,
    pub(super) start: Instant,
    pub(super) speed: Option<f64>,
    /// Keys with an operation in flight, and what waits behind it.
    pub(super) busy: HashMap<u64, VecDeque<Op>>,
    pub(super) waiting: usize,
    pub(super) known: HashMap<u64, Known>,
    pub(super) tally: Tally,
    pub(super) done: u64,
}

impl State<'_> {
    /// When an operation is due; at once without a speed.
    pub fn due(&self, op: &Op) -> Option<Instant> {
        Some(self.start + op.at.div_f64(self.speed?))
    }

    /// When the next one of the trace is due; `None` at its end.
    pub fn next_due(&self) -> Option<Instant> {
        let op = self.rest.as_slice().first()?;
        Some(self.due(op).unwrap_or(self.start))
    }

    /// Whether another may be taken from the trace.
    pub fn has_room(&self) -> bool {
        self.waiting < LOOK_AHEAD
    }

    /// Takes the next operation of the trace; one whose key is busy queues up behind it.
    pub fn take(&mut self) -> Option<Op> {
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
    pub fn next(&mut self) -> Option<Op> {
        while self.has_room() && !self.rest.as_slice().is_empty() && !interrupt::requested() {
            if let Some(op) = self.take() {
                return Some(op);
            }
        }
        None
    }

    /// An operation is done: the next of its key, or without a speed any other.
    pub fn after(&mut self, key: u64) -> Option<Op> {
        if let Some(op) = self.busy.get_mut(&key).and_then(VecDeque::pop_front) {
            self.waiting -= 1;
            return Some(op);
        }
        self.busy.remove(&key);
        if self.speed.is_some() { None } else { self.next() }
    }
}
