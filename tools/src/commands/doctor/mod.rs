//! `cairn doctor`: checks this machine before a node runs on it.
//!
//! * `system`: kernel, I/O engine, limits, huge pages. `disk`: what lies under a device or a directory. `clock`: the clock.
//! * `check`: one finding: fine, worth a look, or in the way.

mod check;
mod clock;
mod disk;
mod system;

use std::path::PathBuf;

use self::check::{Check, State};
use crate::{
    failure::{Failure, Result},
    output::{self, Output, OutputArg},
};

/// The arguments of `cairn doctor`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Devices, files or directories that a node is to use
    #[arg(value_name = "PATH")]
    paths: Vec<PathBuf>,
    #[command(flatten)]
    output: OutputArg,
}

impl Args {
    /// Checks and prints; fails when something is in the way.
    pub fn run(self) -> Result {
        let mut checks = system::checks();
        checks.push(clock::check());
        let here = [PathBuf::from(".")];
        let paths = if self.paths.is_empty() { &here[..] } else { &self.paths };
        for path in paths {
            checks.extend(disk::checks(path));
        }
        match self.output.output {
            Output::Json => output::print_json(&checks)?,
            Output::Table => checks.iter().for_each(Check::print),
        }
        let failed = checks.iter().filter(|check| check.state == State::Fail).count();
        match failed {
            0 => Ok(()),
            failed => {
                Err(Failure::new(format!("{failed} checks failed"))
                    .next("see the lines marked fail"))
            }
        }
    }
}
