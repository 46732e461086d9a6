//! The doors of a node: what speaks to the outside. Protobuf and HTTP types stop here.

pub mod grpc;
pub mod http;
