//! `cairn touch`: gives a record a new lifetime.

use serde_json::json;

use super::put::TtlArg;
use crate::{
    client::HostArg,
    failure::{Failure, Result},
    key::KeyArg,
    output::{self, Output, OutputArg},
};

/// The arguments of `cairn touch`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    key: KeyArg,
    #[command(flatten)]
    ttl: TtlArg,
    #[command(flatten)]
    host: HostArg,
    #[command(flatten)]
    output: OutputArg,
}

impl Args {
    /// Touches the record; fails when there is none.
    pub fn run(self) -> Result {
        let key = self.key.parse()?;
        self.host.run(|client| async move {
            let Some(touched) = client.touch(&key).ttl(self.ttl.ttl()).await? else {
                return Err(Failure::new(format!("{key}: no such record")));
            };
            match self.output.output {
                Output::Json => output::print_json(&json!({
                    "generation": touched.generation,
                    "ttl": output::seconds_left(&touched).unwrap_or(0),
                })),
                Output::Table => {
                    println!(
                        "{key}: generation {}, {}",
                        touched.generation,
                        output::expiry(&touched)
                    );
                    Ok(())
                }
            }
        })
    }
}
