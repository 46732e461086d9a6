//! Between calls and connections: nothing above knows of streams, nothing below knows of records.
//!
//! ```text
//! pool ─┬─► retry                 what becomes of a call that did not get its answer
//!       ├─► aside ──► connect     connections for scans, batches and administration
//!       └─► lane ─┬─► waiting     the calls of one connection: queued and in flight
//!                 ├─► codec       pipeline messages as bytes
//!                 └─► connect     making the connection
//! ```
//!
//! * `pool`: several lanes; bounds what is in flight; the loop of attempts around each call.
//! * `lane`: one connection with one `Pipeline` stream: sends, receives, notices the end, connects anew.
//! * `aside`: connections without a pipeline, so that what a program leaves unread there stalls nothing else.
//! * `waiting`: who waits for what on a lane: plain data under the lane's lock.

mod aside;
mod codec;
mod connect;
mod lane;
mod pool;
mod retry;
mod waiting;

pub(crate) use codec::BatchCodec;
pub(crate) use connect::{Settings, Target};
pub(crate) use pool::{LONGEST, Pool};
pub(crate) use retry::Backoff;
