//! Cairn's client for Rust: typed, asynchronous, pipelined.
//!
//! ```no_run
//! use std::time::Duration;
//! use cairn_sdk::{Client, Key, Op, bins};
//!
//! # async fn example() -> Result<(), cairn_sdk::Error> {
//! let client = Client::connect("127.0.0.1:7400").await?;
//! let ada = Key::new("test", "users", "ada");
//!
//! client.put(&ada, bins! { "name" => "Ada", "visits" => 1 }).ttl(Duration::from_secs(3600)).await?;
//! client.operate(&ada, [Op::add("visits", 1), Op::read("visits")]).await?;
//! if let Some(record) = client.get(&ada).await? {
//!     println!("{:?}", record.get("name"));
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # How calls travel
//!
//! `get`, `put`, `delete`, `touch`, `exists` and `operate` look like single calls. Below, the calls that many tasks make
//! at the same time are gathered into messages of a few two-way streams, and the answers find their callers by id.
//! Nothing waits for company: a call is sent as soon as its stream can take it, with whatever else is there then. To be fast,
//! make many calls at once (many tasks, or `futures::stream::iter(..).buffer_unordered(n)`); one [`Client`] for the
//! whole program is enough, and clones of it share its connections.
//!
//! Calls on their way at once are not ordered, and neither are the requests of one [`batch`]: of two operations on one key
//! either may come first. Where order counts, await one before making the next, or put both into one [`Client::operate`].
//!
//! # What can go wrong
//!
//! Every call has a deadline (10 seconds unless told otherwise) and ends by then. Connections that break are made anew
//! with back-off. A read that a break cut off is made again within its deadline; a write only when it was surely
//! not applied: never sent, or refused by the server with an answer that says so. Any other write ends with an [`Error`]
//! whose [`in_doubt`](Error::in_doubt) is true: it may have been applied, and only the caller knows whether doing it
//! again does harm.
//!
//! * [`Client`], [`ClientBuilder`]: connections and calls.
//! * [`Key`], [`Value`], [`Record`]: the data. [`Op`]: the operations of [`Client::operate`].
//! * [`batch`], [`scan`], [`admin`]: many keys, all keys, the node.

pub mod admin;
pub mod batch;
mod builder;
mod calls;
mod client;
mod error;
mod key;
mod operation;
mod policy;
mod record;
pub mod scan;
mod transport;
mod value;
mod wire;

pub use builder::ClientBuilder;
pub use calls::{Delete, Exists, Get, Operate, Put, Touch};
pub use client::Client;
pub use error::{Code, Error};
pub use key::{Key, UserKey};
pub use operation::{Op, Operated};
pub use policy::{CommitLevel, Consistency, Durability, ExistsPolicy, Replica, Ttl};
pub use record::{Metadata, Record};
pub use value::Value;
