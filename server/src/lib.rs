//! One Cairn node: its doors, the operations behind them, its configuration.
//!
//! ```text
//! node ─► doors {grpc, http, resp} ─► operations ─► cairn-engine
//! ```
//!
//! * `config`: TOML in, settings out. `limits`: every bound of the doors.
//! * `node`: starts and stops a node: namespaces, sockets, one worker thread per core.
//! * `doors`: what speaks to the outside. Protobuf, HTTP and RESP stop there.
//! * `operations`: what every door calls: look-up, policies, deadlines.
//! * `codes`: the one table of failures. `metrics`, `exposition`: what is counted, and how it is shown.
//! * `state`: what the workers share. `process`: what the operating system says of us. `log`: log lines.

pub mod codes;
pub mod config;
pub mod doors;
mod exposition;
pub mod limits;
mod log;
mod metrics;
pub mod node;
mod operations;
mod process;
mod state;

pub use config::{Config, ConfigError};
pub use log::{LogFormat, start_logging};
pub use node::{Node, OpenProgress, Options, StartError};
pub use state::Addresses;

/// The version of Cairn.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
