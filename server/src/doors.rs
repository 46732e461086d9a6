//! The doors of a node: what speaks to the outside. Protobuf, HTTP and RESP stop here.

pub mod grpc;
pub mod http;
pub mod resp;
