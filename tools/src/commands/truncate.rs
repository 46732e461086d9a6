//! `cairn truncate`: removes all records of a namespace or set.

use std::io::{self, BufRead, IsTerminal, Write};

use serde_json::json;

use super::scan::split_set;
use crate::{
    client::HostArg,
    failure::{Doing, Failure, Result},
    output::OutputArg,
    units,
};

/// The arguments of `cairn truncate`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// What to empty: a namespace, or namespace/set ("test/" for records without a set)
    #[arg(value_name = "NAMESPACE[/SET]")]
    what: String,
    /// Do not ask
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    host: HostArg,
    #[command(flatten)]
    output: OutputArg,
}

impl Args {
    /// Asks, unless told not to, and removes the records.
    pub fn run(self) -> Result {
        if !self.yes && !confirmed(&self.what)? {
            return Err(Failure::new("nothing was removed"));
        }
        self.host.clone().run(|client| async move {
            let (namespace, set) = split_set(&self.what);
            let records = client.admin().truncate(namespace, set).await?;
            let text = format_args!("{}: {} records removed", self.what, units::count(records));
            self.output.outcome(&json!({ "records": records }), text)
        })
    }
}

fn confirmed(what: &str) -> Result<bool> {
    if !io::stdin().is_terminal() {
        return Err(Failure::new(format!("truncating {what} needs a confirmation"))
            .next("give --yes where nobody can be asked"));
    }
    eprint!("Remove all records of {what}? Type {what} again to go on: ");
    io::stderr().flush().doing("asking")?;
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line).doing("reading the answer")?;
    Ok(line.trim() == what)
}
