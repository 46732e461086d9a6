//! The gRPC door: one file per service or group of calls, and what they share.
//!
//! * `records`: the unary calls. `batch`, `scan` (with `cursor`), `pipeline`: the others of
//!   service Records.
//! * `admin`, `cluster`: the other services.
//! * `execute`: one [`Request`](cairn_proto::v1::Request) of any kind, for all of them. `in_flight`: many at once.
//! * `request`, `answer`: between protobuf and the engine. `status`: failures as statuses. `timeout`: `grpc-timeout`.
//! * `counted`: a codec that bounds a message before it is decoded. `reservation`: how large an answer may become.
//! * `connection`: from an accepted socket to a call. `lingering`: how a socket is closed.

mod admin;
mod answer;
mod batch;
mod cluster;
pub(crate) mod connection;
mod counted;
mod cursor;
mod execute;
mod in_flight;
mod lingering;
mod pipeline;
mod records;
mod request;
mod reservation;
mod scan;
mod status;
mod timeout;

pub use status::status;
