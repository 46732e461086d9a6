//! The gRPC door: one file per service or group of calls, and what they share.
//!
//! * `records`: service Records, its unary calls in it. `batch`, `scan` (with `cursor`), `pipeline`: its others.
//! * `admin`, `cluster`: the other services.
//! * `call`, `execute`: one request of any kind, read and executed, for all of them. `in_flight`: many at once, each in a place of `places`.
//! * `waiting`, `ready`: a pipeline's items before they are started, and its answers on their way. `ahead`: their memory.
//! * `plain`, `request`, `answer`, `value`: between protobuf and the engine; `wire`: protobuf by hand. `reservation`: how large an answer
//!   may become. `status`: failures as statuses. `timeout`: `grpc-timeout`.
//! * `connection`: from an accepted socket to a call. `receiving`, `framing`: a call's body as messages, and the answer's.
//!   `lingering`: how a socket is closed.

mod admin;
mod ahead;
mod answer;
mod batch;
mod call;
mod cluster;
pub(crate) mod connection;
mod cursor;
mod execute;
mod framing;
mod in_flight;
mod lingering;
mod pipeline;
mod plain;
mod ready;
mod receiving;
mod records;
mod request;
mod reservation;
mod scan;
mod status;
mod timeout;
mod value;
mod waiting;
mod wire;

pub use status::status;
