//! Space that is won back: the defragmenter, expiry, eviction, truncation and full devices, each with the power lost in the middle.
//!
//! `world` is a namespace with what it must hold. The other files are tests by what a user would lose.

#[path = "../common/mod.rs"]
mod common;
mod damage;
mod evicted;
mod full;
mod ghosts;
mod moves;
mod restart;
mod truncated;
mod world;
