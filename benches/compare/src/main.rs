//! The same workloads on Cairn's engine and on RocksDB, fjall, redb and foyer, on one disk, in one run.
//!
//! ```text
//! cargo run --release -p cairn-compare -- --dir DIR [--quick] [--json FILE]
//! ```
//!
//! The parent (`parent`) starts one child process for each engine, one after another, so that memory, processor time and bytes written are
//! that engine's own; the child (`child`) runs the phases (`phases`) on its engine behind one trait (`engine`, `engines/`) with
//! one driver (`driver`). What came of it is a `result`, printed as a `table`. How to read it: `docs/benchmarks.md`.

mod cgroup;
mod child;
mod driver;
mod engine;
mod engines;
mod failure;
mod options;
mod parent;
mod phases;
mod result;
mod space;
mod table;
mod watchdog;

use std::process::ExitCode;

use clap::Parser;

use self::options::Options;

fn main() -> ExitCode {
    let options = Options::parse();
    let outcome = match &options.child {
        Some(engine) => child::run(engine, &options),
        None => parent::run(&options),
    };
    match outcome {
        Ok(code) => code,
        Err(failure) => {
            eprintln!("{failure}");
            ExitCode::FAILURE
        }
    }
}
