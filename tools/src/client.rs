//! The connection of commands that talk to a node.

use std::{future::Future, time::Duration};

use cairn_sdk::Client;

use crate::{
    failure::{Doing, Result},
    units,
};

/// Where the node is, and how long to wait for it.
#[derive(Clone, Debug, clap::Args)]
pub struct HostArg {
    /// The node's gRPC address
    #[arg(long, default_value = "127.0.0.1:7400", value_name = "HOST:PORT")]
    pub host: String,
    /// How long each call may take
    #[arg(long, default_value = "10s", value_parser = units::parse_duration)]
    pub timeout: Duration,
}

impl HostArg {
    /// Connects to the node.
    pub async fn connect(&self) -> Result<Client> {
        Ok(Client::builder().connections(1).deadline(self.timeout).connect(&self.host).await?)
    }

    /// Runs `work` with a client, on a small runtime of its own.
    pub fn run<F: Future<Output = Result>>(&self, work: impl FnOnce(Client) -> F) -> Result {
        block_on(async { work(self.connect().await?).await })
    }
}

/// Runs a future on this thread.
pub fn block_on<F: Future<Output = Result>>(work: F) -> Result {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.doing("starting")?.block_on(work)
}
