//! The state of a simulated device: its medium, its cache, its queue and its power.
//!
//! Invariants: `visible` is what a read finds; `durable` and then `cache`, applied in order, give the same as
//! far as no fault lied. An entry of the cache that is durable always survives; it leaves the cache as soon as
//! no older un-durable entry overlaps it, so that the order of writes to one place is kept. Concurrency: the
//! device's lock.

use std::{io, mem};

use super::{
    crash::{CrashPolicy, UNIT},
    fault::{Effect, Faults},
    image::Image,
    op::{Answers, Op},
    rng::Rng,
};

/// A write that is not on the durable image yet.
struct Cached {
    offset: u64,
    data: Vec<u8>,
    durable: bool,
    /// How many writes had completed before it.
    number: u64,
}

impl Cached {
    fn overlaps(&self, other: &Cached) -> bool {
        let end = |entry: &Cached| entry.offset + entry.data.len() as u64;
        self.offset < end(other) && other.offset < end(self)
    }
}

/// Everything behind the device's lock.
pub(super) struct State {
    pub(super) stepped: bool,
    pub(super) dead: bool,
    pub(super) writes: u64,
    pub(super) queue: Vec<Op>,
    pub(super) faults: Faults,
    pub(super) visible: Image,
    pub(super) durable: Image,
    cache: Vec<Cached>,
    /// Parts of requests that were in flight when the power went.
    torn_off: Vec<Cached>,
    completed: u64,
    stuck: Vec<Op>,
    cut_at: Option<u64>,
    rng: Rng,
}

impl State {
    pub(super) fn new(size: u64, seed: u64) -> State {
        let image = Image::new(size);
        Self::around(image, Rng::new(seed))
    }

    fn around(image: Image, rng: Rng) -> State {
        State {
            stepped: false,
            dead: false,
            writes: 0,
            queue: Vec::new(),
            faults: Faults::default(),
            visible: image.clone(),
            durable: image,
            cache: Vec::new(),
            torn_off: Vec::new(),
            completed: 0,
            stuck: Vec::new(),
            cut_at: None,
            rng,
        }
    }

    /// Takes a request: queues it, or does it at once.
    pub(super) fn submit(&mut self, mut op: Op, answers: &mut Answers) {
        if self.dead {
            return op.fail(power_is_off(), answers);
        }
        if let Op::Sync { after, .. } = &mut op {
            *after = self.completed;
        }
        let counts = matches!(op, Op::Write { .. } | Op::Sync { .. });
        let last = counts && self.cut_at == Some(self.writes);
        self.writes += u64::from(counts);
        self.queue.push(op);
        if last {
            self.cut_power(answers);
        } else if !self.stepped {
            while self.step(answers) {}
        }
    }

    /// Does one queued request, chosen by the seed.
    pub(super) fn step(&mut self, answers: &mut Answers) -> bool {
        if self.queue.is_empty() {
            return false;
        }
        let chosen = self.rng.below(self.queue.len());
        let op = self.queue.remove(chosen);
        let (kind, offset, len) = op.target();
        let effect = self.faults.next(kind, offset, len);
        match effect {
            Some(Effect::Stuck) => self.stuck.push(op),
            _ => self.perform(op, effect, answers),
        }
        true
    }

    fn perform(&mut self, op: Op, effect: Option<Effect>, answers: &mut Answers) {
        if let Some(error) = effect.and_then(Effect::error) {
            self.half_do(&op);
            return op.fail(error, answers);
        }
        match op {
            Op::Read { mut buffer, len, offset, done } => {
                self.visible.read(offset, &mut buffer[..len]);
                answers.reads.push((done, Ok(buffer)));
            }
            Op::Write { .. } => self.perform_write(op, effect, answers),
            Op::Sync { after, done } => {
                self.cache
                    .iter_mut()
                    .filter(|entry| entry.number < after)
                    .for_each(|entry| entry.durable = true);
                self.settle();
                answers.others.push((done, Ok(())));
            }
            Op::Discard { offset, len, done } => {
                if self.rng.coin() {
                    self.put(offset, &vec![0; len], false);
                }
                self.completed += 1;
                answers.others.push((done, Ok(())));
            }
        }
    }

    fn perform_write(&mut self, op: Op, effect: Option<Effect>, answers: &mut Answers) {
        let Op::Write { source, start, data, offset, durable, moved, done } = op else {
            return;
        };
        // SAFETY: the caller leaves these bytes alone until the completion is ready, which it is not yet.
        let now = unsafe { source.slice(start, data.len()) };
        assert!(
            now == data,
            "the source of a write at {offset} was changed before the write completed"
        );
        let rest = &data[moved..];
        let at = offset + moved as u64;
        match effect {
            Some(Effect::Short) if rest.len() > UNIT => {
                let half = rest.len() / UNIT / 2 * UNIT;
                self.put(at, &rest[..half], false);
                let moved = moved + half;
                return self.queue.push(Op::Write {
                    source,
                    start,
                    data,
                    offset,
                    durable,
                    moved,
                    done,
                });
            }
            Some(Effect::LostWrite) => {}
            Some(Effect::MisdirectedWrite { to }) => {
                let room = self.visible.size().saturating_sub(to);
                let len = rest.len().min(usize::try_from(room).unwrap_or(usize::MAX));
                self.put(to, &rest[..len], durable);
            }
            Some(Effect::TornWrite { units }) => {
                self.put(at, &rest[..rest.len().min(units * UNIT)], durable)
            }
            // The whole of it, so that a durable write that was cut short is durable from its first byte.
            _ => self.put(offset, &data, durable),
        }
        self.completed += 1;
        answers.others.push((done, Ok(())));
    }

    /// What a failing write leaves behind: a front part that nobody can rely on.
    fn half_do(&mut self, op: &Op) {
        if let Op::Write { data, offset, moved, .. } = op {
            let units = self.rng.below((data.len() - moved) / UNIT + 1);
            self.put(offset + *moved as u64, &data[*moved..moved + units * UNIT], false);
        }
    }

    /// Makes bytes visible and puts them in the cache.
    fn put(&mut self, offset: u64, bytes: &[u8], durable: bool) {
        if bytes.is_empty() {
            return;
        }
        self.visible.write(offset, bytes);
        self.cache.push(Cached { offset, data: bytes.to_vec(), durable, number: self.completed });
        if durable {
            self.settle();
        }
    }

    /// Moves durable entries to the durable image, except above older ones that are not durable.
    fn settle(&mut self) {
        let mut kept: Vec<Cached> = Vec::new();
        for entry in mem::take(&mut self.cache) {
            if entry.durable && !kept.iter().any(|older| older.overlaps(&entry)) {
                self.durable.write(entry.offset, &entry.data);
            } else {
                kept.push(entry);
            }
        }
        self.cache = kept;
    }

    pub(super) fn unstick(&mut self, answers: &mut Answers) {
        for op in mem::take(&mut self.stuck) {
            self.perform(op, None, answers);
        }
    }

    pub(super) fn cut_power_at(&mut self, number: u64, answers: &mut Answers) {
        if number < self.writes {
            self.cut_power(answers);
        } else {
            self.cut_at = Some(number);
        }
    }

    /// Everything in flight is torn off; nothing reaches the medium any more.
    pub(super) fn cut_power(&mut self, answers: &mut Answers) {
        self.dead = true;
        let stuck = mem::take(&mut self.stuck);
        for mut op in mem::take(&mut self.queue).into_iter().chain(stuck) {
            if let Op::Write { data, offset, .. } = &mut op {
                let data = mem::take(data);
                self.torn_off.push(Cached {
                    offset: *offset,
                    data,
                    durable: false,
                    number: self.completed,
                });
            }
            op.fail(power_is_off(), answers);
        }
    }

    pub(super) fn flip_bit(&mut self, offset: u64, bit: u8) {
        self.visible.flip_bit(offset, bit);
        self.durable.flip_bit(offset, bit);
        for entry in &mut self.cache {
            let place =
                offset.checked_sub(entry.offset).and_then(|place| usize::try_from(place).ok());
            if let Some(byte) = place.and_then(|place| entry.data.get_mut(place)) {
                *byte ^= 1 << bit;
            }
        }
    }

    /// The state of the device that comes up after losing power now.
    pub(super) fn after_crash(&self, policy: CrashPolicy) -> State {
        let mut image = self.durable.clone();
        let queued: Vec<_> = self.queue.iter().chain(&self.stuck).filter_map(in_flight).collect();
        let entries = self.cache.iter().chain(&self.torn_off);
        let entries =
            entries.map(|entry| (entry.offset, &entry.data[..], entry.durable)).chain(queued);
        let count = entries.clone().filter(|(_, _, durable)| !durable).count();
        let mut chooser = policy.chooser(count);
        for (offset, data, durable) in entries {
            let mut keep = |from: usize, to: usize| {
                image.write(offset + (from * UNIT) as u64, &data[from * UNIT..to * UNIT]);
            };
            if durable {
                keep(0, data.len() / UNIT);
            } else {
                chooser.choose(data.len() / UNIT, keep);
            }
        }
        State::around(image, self.rng.clone())
    }
}

/// A queued write as an un-durable entry of a crash.
fn in_flight(op: &Op) -> Option<(u64, &[u8], bool)> {
    match op {
        Op::Write { offset, data, .. } => Some((*offset, data, false)),
        _ => None,
    }
}

fn power_is_off() -> io::Error {
    io::Error::from(io::ErrorKind::ConnectionAborted)
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State")
            .field("writes", &self.writes)
            .field("dead", &self.dead)
            .finish_non_exhaustive()
    }
}
