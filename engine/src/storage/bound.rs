//! What a new record depends on that a crash could still take away: a group that is not durable yet.
//!
//! G writes A and B. Before it is durable, W writes A again. A crash that leaves W and takes G would leave half of G: B as it was before, A newer
//! than that. So W stays behind G. Looked up under the index slot of what is overwritten, so that it cannot change; that it becomes durable
//! meanwhile does no harm.

use std::sync::Arc;

use super::{Shared, image::Image, streams::StreamId};
use crate::model::Location;

/// A place that is not durable yet and that a record depends on: its own group's, or that of what it took the place of. If power is lost now and
/// leaves the record and not this, half of a group is there.
///
/// So what depends on it goes into the same stream. In the same block it is tied to what lies before it, and recovery drops it if that was cut short;
/// in a later block nothing is written until the place is durable.
#[derive(Debug)]
pub(crate) struct Bound {
    /// The block that it is in.
    pub(crate) block: u32,
    pub(super) stream: StreamId,
    pub(crate) image: Arc<Image>,
    pub(crate) end: u32,
}

impl Bound {
    /// Whether what depends on both can go into one stream.
    pub(crate) fn shares_stream(&self, shared: &Shared, other: &Self) -> bool {
        let store = |bound: &Self| shared.store_of(bound.block).first_block;
        self.stream == other.stream && store(self) == store(other)
    }
}

/// Whether one of these places is in `block`.
pub(super) fn is_in(places: &[Bound], block: u32) -> bool {
    places.iter().any(|place| place.block == block)
}

impl Shared {
    /// The place that a record which takes the place of the one at `location` depends on, if it is bound. Under that one's index slot.
    pub(crate) fn bound_at(&self, location: Location) -> Option<Bound> {
        let (block, offset) = self.blocks.locate(location)?;
        let store = self.store_of(block);
        if !store.binds() {
            return None;
        }
        let streams = store.streams.lock();
        let filling = streams.fillings().find(|filling| filling.block == block)?;
        let end = filling.bound_at(offset)?;
        Some(Bound { block, stream: filling.stream(), image: Arc::clone(&filling.image), end })
    }
}
