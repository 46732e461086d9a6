//! `cairn delete`: deletes a record, durably.

use serde_json::json;

use crate::{
    client::HostArg,
    failure::{Failure, Result},
    key::KeyArg,
    output::OutputArg,
};

/// The arguments of `cairn delete`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    key: KeyArg,
    /// Only if the record has this generation
    #[arg(long)]
    generation: Option<u32>,
    #[command(flatten)]
    host: HostArg,
    #[command(flatten)]
    output: OutputArg,
}

impl Args {
    /// Deletes the record; fails when there is none.
    pub fn run(self) -> Result {
        let key = self.key.parse()?;
        self.host.run(|client| async move {
            let mut delete = client.delete(&key);
            if let Some(generation) = self.generation {
                delete = delete.generation(generation);
            }
            if !delete.await? {
                return Err(Failure::new(format!("{key}: no such record")));
            }
            self.output.outcome(&json!({ "deleted": true }), format_args!("{key}: deleted"))
        })
    }
}
