//! The commands, and what each of them takes.

use clap::{Parser, Subcommand};

use crate::{bench, commands, failure::Result};

/// Cairn: records on flash, only a small index in RAM.
#[derive(Debug, Parser)]
#[command(name = "cairn", version, about, disable_help_subcommand = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a node
    Serve(commands::serve::Args),
    /// Check a configuration, or print a commented default
    Config(commands::config::Args),
    /// Prepare raw devices or files for a namespace
    Format(commands::format::Args),
    /// Write bins of a record
    Put(commands::put::Args),
    /// Read a record
    Get(commands::get::Args),
    /// Delete a record, durably
    Delete(commands::delete::Args),
    /// Give a record a new lifetime
    Touch(commands::touch::Args),
    /// Tell whether a record exists (exit status 1 when it does not)
    Exists(commands::exists::Args),
    /// Print all records of a namespace or set
    Scan(commands::scan::Args),
    /// Remove all records of a namespace or set
    Truncate(commands::truncate::Args),
    /// Load records from JSON lines, plain or gzip
    Load(commands::load::Args),
    /// Measure latency and throughput
    Bench(Box<bench::Args>),
    /// Read a device offline: header, blocks, records, checksums
    Inspect(commands::inspect::Args),
    /// Show a node and its namespaces at a glance
    Status(commands::status::Args),
    /// Check this machine: kernel, io_uring, limits, disks, clock
    Doctor(commands::doctor::Args),
}

impl Cli {
    /// Whether all that the command does is to print: then it ends when nobody reads any more.
    pub fn only_prints(&self) -> bool {
        matches!(
            self.command,
            Command::Config(_)
                | Command::Get(_)
                | Command::Scan(_)
                | Command::Inspect(_)
                | Command::Status(_)
                | Command::Doctor(_)
        )
    }

    /// Does what was asked.
    pub fn run(self) -> Result {
        match self.command {
            Command::Serve(args) => args.run(),
            Command::Config(args) => args.run(),
            Command::Format(args) => args.run(),
            Command::Put(args) => args.run(),
            Command::Get(args) => args.run(),
            Command::Delete(args) => args.run(),
            Command::Touch(args) => args.run(),
            Command::Exists(args) => args.run(),
            Command::Scan(args) => args.run(),
            Command::Truncate(args) => args.run(),
            Command::Load(args) => args.run(),
            Command::Bench(args) => args.run(),
            Command::Inspect(args) => args.run(),
            Command::Status(args) => args.run(),
            Command::Doctor(args) => args.run(),
        }
    }
}
