//! `cairn config`: checks a configuration, prints a commented default.

use std::path::{Path, PathBuf};

use cairn_server::Config;
use clap::Subcommand;

use crate::failure::{Failure, Result};

/// The arguments of `cairn config`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Check a configuration: unknown keys and bad values are told with line and column
    Check {
        /// The configuration, TOML
        file: PathBuf,
    },
    /// Print a commented default configuration
    Default,
}

/// Loads a configuration.
pub fn load(file: &Path) -> Result<Config> {
    Config::load(file).map_err(|error| {
        Failure::new(error.to_string())
            .next("`cairn config default` prints every setting with its meaning")
    })
}

impl Args {
    /// Checks or prints.
    pub fn run(self) -> Result {
        match self.action {
            Action::Check { file } => {
                let config = load(&file)?;
                let names: Vec<_> =
                    config.namespaces.iter().map(|one| one.engine.name.as_str()).collect();
                println!("{}: fine; namespaces: {}", file.display(), names.join(", "));
            }
            Action::Default => print!("{}", Config::default_toml()),
        }
        Ok(())
    }
}
