//! Cairn's engine: records on flash, only a compact index in RAM.
//!
//! ```text
//! namespace ─┬─► index ──────► model
//!            └─► storage ─┬──► format ─► model
//!                         └──► device
//! ```
//!
//! * [`model`]: keys, digests, values, policies, limits: plain data.
//! * [`mod@format`]: every byte offset of what lies on a device.
//! * [`device`]: all I/O: files, raw devices, rings, the simulated device.
//! * [`index`]: what RAM holds for each record.
//! * `storage`: write blocks, write buffers, flushing, reading, recovery; never sees a key.
//! * [`namespace`]: the operations on records, and what ties index and storage together.
//! * [`time`]: the only reader of clocks.
//!
//! Operations are plain futures: they run on any executor, on a blocking thread through
//! [`device::reactor::block_on`], and in a simulator.

mod counter;
pub mod device;
mod error;
pub mod format;
pub mod index;
pub mod model;
pub mod namespace;
mod prefetch;
mod storage;
pub mod time;

pub use error::{Error, OpenError};
pub use namespace::{
    Change, DeviceConfig, DeviceStats, Expected, Found, Glimpse, Metadata, Namespace,
    NamespaceConfig, OpenOptions, Operated, Operation, Outcome, Progress, Receipt, Record,
    ScanPage, ScanStep, SetStats, Sight, StartKind, StartReport, Stats, Step, Transacted,
};
pub use storage::{
    inspect::{Inspection, inspect},
    prepare::prepare,
};
