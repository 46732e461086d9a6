//! `cairn get`: reads a record.

use crate::{
    client::HostArg,
    failure::{Failure, Result},
    key::KeyArg,
    output::{self, Output, OutputArg},
};

/// The arguments of `cairn get`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    key: KeyArg,
    /// Only these bins
    #[arg(value_name = "BIN")]
    bins: Vec<String>,
    #[command(flatten)]
    host: HostArg,
    #[command(flatten)]
    output: OutputArg,
}

impl Args {
    /// Reads and prints the record.
    pub fn run(self) -> Result {
        let key = self.key.parse()?;
        self.host.run(|client| async move {
            let Some(record) = client.get(&key).bins(&self.bins).await? else {
                return Err(Failure::new(format!("{key}: no such record")));
            };
            if self.output.output == Output::Json {
                let out = &mut std::io::stdout().lock();
                return output::record_line(out, &key, &record.metadata, Some(&record.bins));
            }
            let mut table = output::table(&["bin", "type", "value"]);
            for (name, value) in &record.bins {
                table.add_row([name, value.kind(), &output::value_text(value)]);
            }
            println!("{table}");
            println!("generation {}, {}", record.generation(), output::expiry(&record.metadata));
            Ok(())
        })
    }
}
