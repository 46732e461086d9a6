//! `cairn status`: a node and its namespaces at a glance.
//!
//! `table` prints it for people, `json` for programs.

mod json;
mod table;

use cairn_sdk::admin::{Namespace, Node, Set};

use crate::{
    client::HostArg,
    failure::Result,
    output::{self, Output, OutputArg},
};

/// The arguments of `cairn status`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    host: HostArg,
    #[command(flatten)]
    output: OutputArg,
}

/// What a node said of itself.
struct Status {
    node: Node,
    /// Each with its sets.
    namespaces: Vec<(Namespace, Vec<Set>)>,
}

impl Args {
    /// Asks the node and prints what it says.
    pub fn run(self) -> Result {
        self.host.run(|client| async move {
            let admin = client.admin();
            let node = admin.node().await?;
            let mut namespaces = Vec::new();
            for namespace in admin.namespaces().await? {
                let sets = admin.sets(&namespace.name).await?;
                namespaces.push((namespace, sets));
            }
            let status = Status { node, namespaces };
            match self.output.output {
                Output::Json => output::print_json(&json::status(&status)),
                Output::Table => {
                    table::print(&status);
                    Ok(())
                }
            }
        })
    }
}
