//! `cairn exists`: tells whether a record exists, also by the exit status.

use serde_json::json;

use crate::{
    client::HostArg,
    failure::{Failure, Result},
    key::KeyArg,
    output::{self, Output, OutputArg},
};

/// The arguments of `cairn exists`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    key: KeyArg,
    #[command(flatten)]
    host: HostArg,
    #[command(flatten)]
    output: OutputArg,
}

impl Args {
    /// Prints the record's metadata; fails when there is none.
    pub fn run(self) -> Result {
        let key = self.key.parse()?;
        self.host.run(|client| async move {
            let found = client.exists(&key).await?;
            if self.output.output == Output::Json {
                output::print_json(&json!({
                    "exists": found.is_some(),
                    "generation": found.map(|metadata| metadata.generation),
                    "ttl": found.map(|metadata| output::seconds_left(&metadata).unwrap_or(0)),
                }))?;
            }
            let Some(metadata) = found else {
                return Err(Failure::new(format!("{key}: no such record")));
            };
            if self.output.output == Output::Table {
                println!(
                    "{key}: generation {}, {}",
                    metadata.generation,
                    output::expiry(&metadata)
                );
            }
            Ok(())
        })
    }
}
