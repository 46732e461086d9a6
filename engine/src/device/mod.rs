//! The only place that does I/O: devices, the memory they read and write, and each thread's ring.
//!
//! A [`Device`] takes requests and answers with a [`Completion`], a plain future. The buffer of a request
//! belongs to the request until the device is done with it, so dropping a completion never frees memory that is
//! still being written. Nothing here knows what the bytes mean.
//!
//! * `memory`: aligned memory, owned ([`AlignedBuf`]) or shared ([`Region`]).
//! * `completion`: the future of one request.
//! * `file`: raw block devices and files; sends requests to this thread's ring or to the pool. `open`: how they
//!   are found, created, locked and measured. `open_file`: how requests of many threads share one.
//! * `probe`: which way of doing I/O this machine allows, and why.
//! * `request`: one request on its way. `ring`, `pool`: the two ways to do it.
//! * `reactor`: one ring per thread, and how a thread waits. `parker`: where it sleeps.
//! * `sim`: a device in memory that fails in every way a test asks for.

mod completion;
mod file;
mod memory;
mod open;
mod open_file;
mod parker;
mod pool;
mod probe;
pub mod reactor;
mod request;
mod ring;
pub mod sim;

#[cfg(test)]
mod conformance;

use std::{io, sync::Arc};

pub use completion::{Completer, Completion};
pub use file::{FileDevice, OpenMode};
pub(crate) use memory::HUGE_PAGE;
pub use memory::{AlignedBuf, BUFFER_ALIGN, Region};
pub use probe::{IoChoice, IoEngine, IoKind, UnknownIoChoice};

/// Size and sectors of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    /// Usable bytes, a multiple of `sector`.
    pub size: u64,
    /// Offsets and lengths of reads are multiples of this many bytes: `sector`, or less where the device writes in larger pieces than it
    /// can read.
    pub read_sector: u32,
    /// Offsets and lengths of other requests are multiples of this many bytes: 512 or 4096.
    pub sector: u32,
}

/// A device: a row of sectors that can be read, written, made durable and discarded.
///
/// Every method returns at once, except that a device with thousands of requests waiting makes its callers wait
/// or help: that is how its queues are bounded. Requests may complete in any order; only a completion tells
/// that one is done. Offsets and lengths are in bytes and multiples of the sector; a request outside the
/// device, or not aligned, completes with `InvalidInput`. Short transfers are continued by the device, so a
/// completion is all or an error.
pub trait Device: Send + Sync + 'static {
    /// What people call this device: its path.
    fn name(&self) -> &str;

    /// Size and sectors.
    fn geometry(&self) -> Geometry;

    /// Reads `len` bytes at `offset` into the front of `buffer` (at least `len` long) and gives the buffer back.
    fn read(&self, buffer: AlignedBuf, len: usize, offset: u64) -> Completion<AlignedBuf>;

    /// Writes bytes `start..start + len` of `source` at `offset`. With `durable`, completes only when they
    /// survive power loss. The caller must not change those bytes until the completion is ready.
    fn write(
        &self,
        source: &Arc<Region>,
        start: usize,
        len: usize,
        offset: u64,
        durable: bool,
    ) -> Completion<()>;

    /// Completes when every write that completed before this call survives power loss.
    fn sync(&self) -> Completion<()>;

    /// Whether [`Self::discard`] does anything.
    fn can_discard(&self) -> bool {
        true
    }

    /// Tells the device that these bytes are not needed any more. What a later read finds there is undefined. A
    /// device that cannot do this completes at once without an error.
    fn discard(&self, offset: u64, len: u64) -> Completion<()>;
}

/// Shorthand for the result of a request.
pub type IoResult<T> = io::Result<T>;
