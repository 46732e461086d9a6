//! A list of items for each thread, so that growing a segment allocates nothing.

use std::cell::Cell;

use super::page::Item;

/// Lists that grew larger than this many items are not kept.
const SCRATCH_KEPT: usize = 1 << 16;

/// Lends out this thread's scratch list, empty. Nested calls get a new one.
pub fn with_scratch<R>(f: impl FnOnce(&mut Vec<Item>) -> R) -> R {
    thread_local!(static SCRATCH: Cell<Vec<Item>> = const { Cell::new(Vec::new()) });
    let mut items = SCRATCH.take();
    items.clear();
    let result = f(&mut items);
    if items.capacity() <= SCRATCH_KEPT {
        SCRATCH.set(items);
    }
    result
}
