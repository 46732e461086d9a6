//! `cairn touch`: gives a record a new lifetime.

use super::put::TtlArg;
use crate::{
    client::HostArg,
    failure::{Failure, Result},
    key::KeyArg,
    output::OutputArg,
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
            self.output.written(&key, &touched)
        })
    }
}
