//! Every byte offset of what lies on a device. Only this module knows one; `docs/format.md` is its prose.
//!
//! * `header`: the device header, two slots in block 0.
//! * `block`: the header of a write block. `footer`: what seals it.
//! * `record`: a record's header, and the mark that ends a flush. `mend`: which of them lack a single bit.
//! * `bins`: a record's body.
//! * `checkpoint`: the index and block table as a clean stop leaves them.
//!
//! Encoders write into memory, decoders read from memory that may hold anything: bad bytes are an answer, never a panic.

mod bins;
mod block;
pub mod checkpoint;
mod footer;
mod header;
mod mend;
mod record;
#[cfg(test)]
mod tests;
mod wire;

pub use bins::{Bins, BodyWriter, Items, Malformed, ValueRef};
pub use block::{
    BLOCK_HEADER_BYTES, BlockHeader, BlockKind, LINKS, Link, LinkState, STREAMS,
    block_header_region,
};
pub use footer::{FOOTER_SHARE, Footer, FooterEntry, FooterSize, TRAILER_BYTES};
pub use header::{
    CheckpointRef, DeviceHeader, FORMAT_VERSION, HeaderSlot, Truncation, header_slot_bytes,
    truncations_max,
};
pub use mend::{TEAR_BYTES, claimed_head, mended_at, mends_body};
pub use record::{
    FlushMark, MARK_BYTES, PlaceSeed, RECORD_HEADER_BYTES, RecordBuilder, RecordFault, RecordView,
    Ties, Walked, walk_at,
};
