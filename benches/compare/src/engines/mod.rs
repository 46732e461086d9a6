//! The engines, one file each.

pub mod cairn;
pub mod fjall;
pub mod foyer;
pub mod redb;
pub mod rocksdb;

/// All of them, by name, in the order in which they run.
pub const NAMES: [&str; 5] = ["cairn", "rocksdb", "fjall", "redb", "foyer"];
