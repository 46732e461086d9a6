//! The Redis door: RESP2 and RESP3, on the records of one namespace.
//!
//! ```text
//! connection ─► parse ─► request ─► table ─► queue ─► run ─► view ─► engine
//!      ▲                                       │       └─► exec
//!      └───────────────── reply ◄──────────────┘
//! ```
//!
//! * `connection`: one task per client: reads, takes commands in order, sends answers in order. `buffers`: what all share.
//! * `parse`, `inline`: bytes to arguments. `request`: those arguments. `reply`: answers to bytes. `number`: numbers in both.
//! * `command`, `table`: what commands there are. `families`: what they do, one file each. A new family is a file and a line in `table`.
//! * `queue`: commands that wait, and who must wait for whom. `together`: those who wait for a device. `run`, `exec`: one command, several as one.
//! * `range`, `bitwise`, `subsequence`, `extended`: what commands on strings work out: ranges, bits, what two have in common, sums.
//! * `view`: what a transaction saw and stages. `place`: a key in a database. `item`: how values lie in records. `expiry`: when they end. `dump`, `lzf`: how they travel. `glob`: patterns of keys. `databases`: which set a database is.
//! * `session`: a connection's state. `clients`: all connections. `counters`, `slowlog`: what was done. `fail`: errors.
//! * `door`: what ties it to the node. `serve`: from an accepted socket to a connection. `gathering`: which workers serve connections.

mod ahead;
mod bitwise;
mod buffers;
mod clients;
mod command;
mod connection;
mod counters;
mod databases;
mod door;
mod dump;
mod exec;
mod expiry;
mod extended;
mod fail;
mod families;
mod gathering;
mod glob;
mod inline;
mod item;
mod lzf;
mod number;
pub mod parse;
mod place;
mod queue;
mod range;
mod reply;
mod request;
mod run;
mod serve;
mod session;
mod slowlog;
mod subsequence;
mod table;
#[cfg(test)]
mod tests;
mod together;
mod view;

#[cfg(test)]
pub use clients::Client;
pub use connection::AtRest;
pub use door::{Door, Shared};
pub use gathering::gather;
pub use serve::{Arrival, look_after, refuse, serve, wake_together};
