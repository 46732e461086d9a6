//! Faults of a simulated device: what goes wrong, when, and how often.
//!
//! Invariants: a fault counts only the requests that it could hit, so adding another does not move it.

use std::io;

/// Something that goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// What happens.
    pub effect: Effect,
    /// To which request.
    pub trigger: Trigger,
    /// Whether once or from then on.
    pub repeat: Repeat,
}

/// What happens to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// A read fails with this code of the system (`EIO` is 5).
    ReadError(i32),
    /// A write fails with this code; a front part of it, decided by the seed, is in the cache nevertheless.
    WriteError(i32),
    /// A sync fails with this code and makes nothing durable.
    SyncError(i32),
    /// A write stops half-way, and the device goes on with the rest, in stepped mode at a later step.
    Short,
    /// A write is acknowledged and not done.
    LostWrite,
    /// A write is done at another place, as far as the device goes, and acknowledged.
    MisdirectedWrite {
        /// Where it goes, in bytes.
        to: u64,
    },
    /// A write is acknowledged, but only so many units of 512 bytes of it are done.
    TornWrite {
        /// Units that are done.
        units: usize,
    },
    /// The request does not complete until `unstick`.
    Stuck,
}

/// Which request a fault hits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trigger {
    /// The request of the effect's kind that comes after so many others, counted as they are done: 0 is the next.
    After(u64),
    /// A request of the effect's kind that touches these bytes. A sync touches none.
    Range {
        /// First byte.
        offset: u64,
        /// How many.
        len: u64,
    },
}

/// How often a fault hits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repeat {
    /// Once.
    Once,
    /// Whenever it fits, from the first time on.
    Forever,
}

impl Fault {
    /// A fault that hits once.
    #[must_use]
    pub fn once(effect: Effect, trigger: Trigger) -> Fault {
        Fault { effect, trigger, repeat: Repeat::Once }
    }

    /// A fault that stays.
    #[must_use]
    pub fn forever(effect: Effect, trigger: Trigger) -> Fault {
        Fault { effect, trigger, repeat: Repeat::Forever }
    }
}

/// The kinds of requests, as far as faults tell them apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Read,
    Write,
    Sync,
    Discard,
}

impl Effect {
    fn can_hit(self, kind: Kind) -> bool {
        match self {
            Effect::ReadError(_) => kind == Kind::Read,
            Effect::WriteError(_)
            | Effect::LostWrite
            | Effect::MisdirectedWrite { .. }
            | Effect::TornWrite { .. }
            | Effect::Short => kind == Kind::Write,
            Effect::SyncError(_) => kind == Kind::Sync,
            Effect::Stuck => true,
        }
    }

    /// The error that a request fails with, if this effect is one.
    pub(super) fn error(self) -> Option<io::Error> {
        match self {
            Effect::ReadError(code) | Effect::WriteError(code) | Effect::SyncError(code) => {
                Some(io::Error::from_raw_os_error(code))
            }
            _ => None,
        }
    }
}

/// The faults of one device.
#[derive(Debug, Default)]
pub(super) struct Faults {
    list: Vec<Fault>,
}

impl Faults {
    pub(super) fn add(&mut self, fault: Fault) {
        self.list.push(fault);
    }

    pub(super) fn clear(&mut self) {
        self.list.clear();
    }

    /// The effect on the next request, if any. Every fault that could hit it has then counted it.
    pub(super) fn next(&mut self, kind: Kind, offset: u64, len: u64) -> Option<Effect> {
        let mut hit = None;
        for index in 0..self.list.len() {
            let fault = &mut self.list[index];
            if fault.effect.can_hit(kind) && fault.trigger.fires(offset, len) && hit.is_none() {
                hit = Some(index);
            }
        }
        let index = hit?;
        let fault = self.list[index];
        if fault.repeat == Repeat::Once {
            self.list.remove(index);
        }
        Some(fault.effect)
    }
}

impl Trigger {
    /// Counts a request; true if it is the one.
    fn fires(&mut self, offset: u64, len: u64) -> bool {
        match self {
            Trigger::After(0) => true,
            Trigger::After(left) => {
                *left -= 1;
                false
            }
            Trigger::Range { offset: from, len: bytes } => {
                offset < *from + *bytes && *from < offset + len
            }
        }
    }
}
