//! What a transaction's writer waits by for durability.

use std::sync::Arc;

use crate::{
    error::Error,
    model::Durability,
    namespace::{Namespace, write::Seen},
    storage::{Shared, append::Appended, failed, image::Image},
};

/// A place that must become durable: everything below `end` of a block.
#[derive(Debug)]
struct Place {
    image: Arc<Image>,
    block: u32,
    end: u32,
}

/// Stands for the durability of a transaction: of what it wrote, and of what it was built on. Cheap to keep; while one is kept, so is a write
/// buffer.
#[derive(Debug)]
pub struct Receipt {
    shared: Arc<Shared>,
    /// Of what was written last, if anything was.
    written: Option<Place>,
    /// Of what was written in other blocks, and of what was only seen.
    others: Vec<Place>,
    asked: bool,
}

impl Namespace {
    /// A receipt for nothing yet.
    pub fn receipt(&self) -> Receipt {
        Receipt {
            shared: Arc::clone(&self.shared),
            written: None,
            others: Vec::new(),
            asked: self.config.durability == Durability::Device,
        }
    }
}

impl Receipt {
    /// The same, for this write too.
    pub(super) fn and(mut self, appended: Appended) -> Self {
        let Appended { location, image, end, .. } = appended;
        let block = self.shared.blocks.locate(location).expect("just written").0;
        self.written = Some(Place { image, block, end });
        self
    }

    /// Takes this write in, too, if its writer was promised that it is durable.
    pub(super) fn add(&mut self, appended: Appended) {
        if !self.asked {
            return;
        }
        let Appended { location, image, end, .. } = appended;
        if let Some(place) = self.written.as_mut().filter(|place| Arc::ptr_eq(&place.image, &image))
        {
            place.end = place.end.max(end);
            return;
        }
        let block = self.shared.blocks.locate(location).expect("just written").0;
        self.others.extend(self.written.replace(Place { image, block, end }));
    }

    /// The same, for what was seen too, if its writer was promised that it is durable.
    pub(super) fn and_seen(mut self, seen: &Seen) -> Self {
        if let Some(entry) = &seen.raw
            && let Some((block, offset)) = self.shared.blocks.locate(entry.location)
            && let Some(image) = self.shared.blocks.get(block).image()
        {
            let end = offset + entry.size.bytes() as u32;
            if image.promised(end) {
                self.others.push(Place { image, block, end });
            }
        }
        self
    }

    /// Whether the namespace promises its writers that an acknowledged write is durable: then acknowledge after [`Self::durable`].
    pub fn is_promised(&self) -> bool {
        self.asked
    }

    /// Whether it is durable already.
    pub fn is_durable(&self) -> bool {
        self.places().all(|place| place.image.synced() >= place.end)
    }

    /// Waits until what was written survives power loss, and what it was built on; asks for it, too.
    ///
    /// # Errors
    ///
    /// [`Error::DeviceFailed`], in doubt if something was written.
    pub async fn durable(&self) -> Result<(), Error> {
        for place in self.places() {
            if place.image.synced() >= place.end {
                continue;
            }
            let store = self.shared.store_of(place.block);
            if !self.asked {
                store.want(&place.image);
            }
            let durable = place.image.durable(place.end).await;
            durable.map_err(|cause| failed(store, &cause, self.written.is_some()))?;
        }
        Ok(())
    }

    fn places(&self) -> impl Iterator<Item = &Place> {
        self.others.iter().chain(&self.written)
    }
}
