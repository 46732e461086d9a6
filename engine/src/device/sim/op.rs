//! The requests of a simulated device, and the answers that wait until its lock is released.
//!
//! Invariants: a request is answered once; dropped without an answer it is answered by its completer. Concurrency:
//! requests live behind the device's lock, answers are sent outside it.

use std::{io, sync::Arc};

use super::{
    super::{AlignedBuf, Completer, Region},
    fault::Kind,
};

/// A request of the simulated device.
pub(super) enum Op {
    Read {
        buffer: AlignedBuf,
        len: usize,
        offset: u64,
        done: Completer<AlignedBuf>,
    },
    Write {
        source: Arc<Region>,
        start: usize,
        /// The bytes as they were at submission.
        data: Vec<u8>,
        offset: u64,
        durable: bool,
        /// Bytes that an earlier, short step has done.
        moved: usize,
        done: Completer<()>,
    },
    Sync {
        /// Covers the writes that completed before this many had.
        after: u64,
        done: Completer<()>,
    },
    Discard {
        offset: u64,
        len: usize,
        done: Completer<()>,
    },
}

impl Op {
    /// What faults look at: kind, offset, length.
    pub(super) fn target(&self) -> (Kind, u64, u64) {
        match self {
            Op::Read { offset, len, .. } => (Kind::Read, *offset, *len as u64),
            Op::Write { offset, data, .. } => (Kind::Write, *offset, data.len() as u64),
            Op::Sync { .. } => (Kind::Sync, 0, 0),
            Op::Discard { offset, len, .. } => (Kind::Discard, *offset, *len as u64),
        }
    }

    pub(super) fn fail(self, error: io::Error, answers: &mut Answers) {
        match self {
            Op::Read { done, .. } => answers.reads.push((done, Err(error))),
            Op::Write { done, .. } | Op::Sync { done, .. } | Op::Discard { done, .. } => {
                answers.others.push((done, Err(error)))
            }
        }
    }
}

/// Answers to give when the lock is released.
#[derive(Default)]
pub(super) struct Answers {
    pub(super) reads: Vec<(Completer<AlignedBuf>, io::Result<AlignedBuf>)>,
    pub(super) others: Vec<(Completer<()>, io::Result<()>)>,
}

impl Answers {
    pub(super) fn send(self) {
        for (done, result) in self.reads {
            done.complete(result);
        }
        for (done, result) in self.others {
            done.complete(result);
        }
    }
}
