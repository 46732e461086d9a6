//! A device in memory that behaves as badly as a test asks for, and the same way every time.
//!
//! Owns: the simulated medium, its volatile cache, its queue, its faults and its power.
//!
//! * Immediate mode (the first): a request is done when it was submitted. Stepped mode: requests queue up, and
//!   [`SimDevice::step`] does one, in an order that the seed chooses.
//! * A write that completed without `durable` is in the volatile cache until a `sync` that was submitted after
//!   its completion completes; a durable write makes its own range durable, nothing else.
//! * Writes and syncs are numbered from 0 in the order of submission. [`SimDevice::cut_power_at`] cuts the
//!   power when that number is submitted: it and every write still queued are in flight at the cut, may be on
//!   the medium in part, and complete, as every later request does, with `ConnectionAborted`.
//! * A discard makes zeros of its range or leaves it, as the seed decides, and is as volatile as a write: a
//!   crash may bring the old bytes back. It has no number.
//! * [`SimDevice::crash_image`] is the device that comes up afterwards: what was durable, and of the rest what
//!   a [`CrashPolicy`] says.
//! * In stepped mode the device checks that a writer leaves its bytes alone until the completion, and panics
//!   otherwise.
//!
//! Invariants: no clock, no thread, no source of chance but the seed. Concurrency: one lock, never held while a
//! waiter is woken, so devices may be shared between threads; but only one thread at a time gives runs that
//! replay.

mod crash;
mod fault;
mod image;
mod op;
mod rng;
mod state;

use std::{
    future::Future,
    io,
    pin::pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use parking_lot::Mutex;

pub use self::{
    crash::CrashPolicy,
    fault::{Effect, Fault, Repeat, Trigger},
    rng::Rng,
};
use self::{
    op::{Answers, Op},
    state::State,
};
use super::{AlignedBuf, Completion, Device, Geometry, Region, request};

/// A simulated device. See the module.
#[derive(Debug)]
pub struct SimDevice {
    name: String,
    geometry: Geometry,
    state: Mutex<State>,
}

impl SimDevice {
    /// A device of `size` zero bytes in immediate mode.
    ///
    /// # Panics
    ///
    /// If the sector is not 512 or 4096, or the size is not a multiple of it.
    #[must_use]
    pub fn new(name: &str, size: u64, sector: u32, seed: u64) -> SimDevice {
        assert!(sector == 512 || sector == 4096, "a sector has 512 or 4096 bytes, not {sector}");
        assert_eq!(size % u64::from(sector), 0, "a device consists of whole sectors");
        Self::around(name, Geometry { size, sector, read_sector: sector }, State::new(size, seed))
    }

    fn around(name: &str, geometry: Geometry, state: State) -> SimDevice {
        SimDevice { name: name.to_owned(), geometry, state: Mutex::new(state) }
    }

    /// Switches between stepped and immediate mode. Going to immediate mode does what is queued.
    pub fn set_stepped(&self, stepped: bool) {
        self.state.lock().stepped = stepped;
        if !stepped {
            self.run_all();
        }
    }

    /// Does one queued request, or a part of one that a fault cuts short. False if none is queued.
    pub fn step(&self) -> bool {
        self.answering(State::step)
    }

    /// Does everything that is queued, and what is queued meanwhile.
    pub fn run_all(&self) {
        while self.step() {}
    }

    /// Requests that are queued; stuck ones are not counted.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.state.lock().queue.len()
    }

    /// Runs a future to its end on this thread, stepping the device whenever the future waits.
    ///
    /// # Panics
    ///
    /// If the future waits and nothing is queued: it would wait for ever.
    pub fn drive<F: Future>(&self, future: F) -> F::Output {
        let mut future = pin!(future);
        let mut context = Context::from_waker(Waker::noop());
        loop {
            if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
                return output;
            }
            assert!(
                self.step(),
                "{}: the future waits for something else than this device",
                self.name
            );
        }
    }

    /// Writes and syncs submitted so far: the number that the next one gets.
    #[must_use]
    pub fn write_count(&self) -> u64 {
        self.state.lock().writes
    }

    /// Cuts the power when write (or sync) number `number` is submitted, or now if that has been.
    pub fn cut_power_at(&self, number: u64) {
        self.answering(|state, answers| state.cut_power_at(number, answers));
    }

    /// Cuts the power now.
    pub fn cut_power(&self) {
        self.answering(State::cut_power);
    }

    /// Whether the power is off.
    #[must_use]
    pub fn is_dead(&self) -> bool {
        self.state.lock().dead
    }

    /// The device that comes up after losing power now: in immediate mode, with power, without faults. Cheap,
    /// and does not change this device.
    #[must_use]
    pub fn crash_image(&self, policy: CrashPolicy) -> SimDevice {
        Self::around(&self.name, self.geometry, self.state.lock().after_crash(policy))
    }

    /// Adds a fault. Faults are looked at in the order they were added; the first that fits a request is used.
    pub fn inject(&self, fault: Fault) {
        self.state.lock().faults.add(fault);
    }

    /// Removes every fault that is left.
    pub fn clear_faults(&self) {
        self.state.lock().faults.clear();
    }

    /// Does what is stuck.
    pub fn unstick(&self) {
        self.answering(State::unstick);
    }

    /// Flips a bit of the medium, and of the cache above it.
    ///
    /// # Panics
    ///
    /// If the byte is outside the device or there is no such bit.
    pub fn flip_bit(&self, offset: u64, bit: u8) {
        assert!(bit < 8 && offset < self.geometry.size, "no bit {bit} of byte {offset}");
        self.state.lock().flip_bit(offset, bit);
    }

    /// What a read would find, whatever the state of queue, power and faults.
    ///
    /// # Panics
    ///
    /// If the range is outside the device.
    #[must_use]
    pub fn read_raw(&self, offset: u64, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        self.state.lock().visible.read(offset, &mut bytes);
        bytes
    }

    /// Puts bytes on the medium as if they had been there all along. Writes in the cache still lie above them.
    ///
    /// # Panics
    ///
    /// If the range is outside the device.
    pub fn write_raw(&self, offset: u64, bytes: &[u8]) {
        let mut state = self.state.lock();
        state.visible.write(offset, bytes);
        state.durable.write(offset, bytes);
    }

    /// Changes the state, then answers who is to be answered, without the lock.
    fn answering<R>(&self, change: impl FnOnce(&mut State, &mut Answers) -> R) -> R {
        let mut answers = Answers::default();
        let result = change(&mut self.state.lock(), &mut answers);
        answers.send();
        result
    }

    fn submit<T>(
        &self,
        checked: io::Result<()>,
        op: impl FnOnce(super::Completer<T>) -> Op,
    ) -> Completion<T> {
        if let Err(error) = checked {
            return Completion::ready(Err(error));
        }
        let (done, completion) = Completion::pair();
        self.answering(|state, answers| state.submit(op(done), answers));
        completion
    }
}

impl Device for SimDevice {
    fn name(&self) -> &str {
        &self.name
    }

    fn geometry(&self) -> Geometry {
        self.geometry
    }

    fn read(&self, buffer: AlignedBuf, len: usize, offset: u64) -> Completion<AlignedBuf> {
        let checked = request::check_read(self.geometry, &buffer, len, offset);
        self.submit(checked, |done| Op::Read { buffer, len, offset, done })
    }

    fn write(
        &self,
        source: &Arc<Region>,
        start: usize,
        len: usize,
        offset: u64,
        durable: bool,
    ) -> Completion<()> {
        let checked = request::check_write(self.geometry, source, start, len, offset);
        self.submit(checked, |done| {
            // SAFETY: the caller leaves these bytes alone until the completion is ready.
            let data = unsafe { source.slice(start, len) }.to_vec();
            Op::Write { source: Arc::clone(source), start, data, offset, durable, moved: 0, done }
        })
    }

    fn sync(&self) -> Completion<()> {
        self.submit(Ok(()), |done| Op::Sync { after: 0, done })
    }

    fn discard(&self, offset: u64, len: u64) -> Completion<()> {
        let checked = request::check_range(self.geometry, offset, len);
        self.submit(checked, |done| {
            let len = usize::try_from(len).expect("inside a device that fits memory");
            Op::Discard { offset, len, done }
        })
    }
}

#[cfg(test)]
mod tests;
