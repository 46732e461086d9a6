//! What happens to a user when the device damages what it was given: nothing wrong is ever returned, nothing is missing without a word.
//!
//! `flips`: single bits. `faults`: writes that are lost, misplaced or torn, blocks that read older, errors of every kind.

mod base;
#[path = "../common/mod.rs"]
mod common;
mod faults;
mod fences;
mod flips;
mod groups;
mod unreadable;
