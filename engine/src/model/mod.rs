//! The words of the engine: keys, digests, values, versions, policies, limits.
//!
//! Plain data with no I/O, no locks and no byte layout. Every other module of the engine may use this one; this one uses none of them.

mod digest;
mod key;
pub mod limits;
mod location;
mod policy;
mod slot;
mod value;
mod version;

pub use digest::{Digest, HashSecret, PARTITIONS, PartitionKind};
pub(crate) use key::check_set_name;
pub use key::{InvalidKey, Key, KeyRef, UserKey};
pub use location::{Location, SizeClass, UNIT};
pub use policy::{
    CommitLevel, Durability, ExistsPolicy, GenerationCheck, ReadPolicy, Ttl, WritePolicy,
};
pub use slot::{SLOTS, hash_slot};
pub use value::{InvalidValue, Value, check_bin_name};
pub use version::{NEVER, Version, VoidTime};
