//! The types and services of `cairn.v1`, generated from the `.proto` files beside this crate.
//!
//! Those files are the contract and carry the documentation; this crate adds nothing but [`DESCRIPTORS`].

/// Messages, clients and servers of package `cairn.v1`.
#[allow(missing_docs, unused_qualifications, clippy::all)]
pub mod v1 {
    tonic::include_proto!("cairn.v1");
}

/// The encoded `FileDescriptorSet` of all files, for gRPC server reflection.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
