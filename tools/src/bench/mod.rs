//! `cairn bench`: latency and throughput of an embedded engine, a node over gRPC, or the bare device.
//!
//! * `options`: the flags. `plan`: what one run does.
//! * `keys`, `payload`: which keys, and values that can be checked when they are read.
//! * `store`: what can be measured; `embedded`, `grpc`, `raw` are the targets.
//! * `closed`: the closed loop, a fixed number of operations in flight. `load`: writes every key once. `workers`: threads, the
//!   warm-up, the clock of a run. `live`: the line that is shown meanwhile.
//! * `trace`, `replay`, `known`: a recorded sequence of operations, as fast as possible, verified.
//! * `measure`, `cpu`: what is counted. `report`, `fio`: how it is shown. `compare`: engine and device in turn.

mod closed;
mod compare;
mod cpu;
mod embedded;
mod fio;
mod grpc;
mod keys;
mod known;
mod live;
mod load;
mod measure;
mod options;
mod payload;
mod plan;
mod raw;
mod replay;
mod report;
mod store;
mod trace;
mod workers;

pub use options::Args;

use crate::failure::{Failure, Result};
use measure::Outcome;
use options::Target;

impl Args {
    /// Measures what was asked for and prints it.
    pub fn run(self) -> Result {
        self.check()?;
        let outcomes = match (&self.trace, self.compare_raw) {
            (Some(trace), _) => replay::run(&self, trace)?,
            (None, true) => compare::run(&self)?,
            (None, false) => match self.target {
                Target::Embedded => embedded::run(&self)?,
                Target::Grpc => grpc::run(&self)?,
                Target::Raw => raw::run(&self)?,
            },
        };
        report::print(&outcomes);
        if let Some(file) = &self.json {
            fio::write(file, &outcomes)?;
        }
        verdict(&outcomes)
    }
}

/// A run with errors or wrong values is no success, however fast it was.
fn verdict(outcomes: &[Outcome]) -> Result {
    let mismatches: u64 = outcomes.iter().map(|outcome| outcome.total.mismatches).sum();
    let errors: u64 = outcomes.iter().map(|outcome| outcome.total.errors).sum();
    if mismatches > 0 {
        return Err(Failure::new(format!("{mismatches} values were not what had been written"))
            .next("`cairn inspect PATH --verify` tells whether the device is damaged"));
    }
    if errors > 0 {
        let first = outcomes.iter().find_map(|outcome| outcome.total.first_error.clone());
        let first = first.unwrap_or_default();
        return Err(Failure::new(format!("{errors} operations failed; the first: {first}")));
    }
    Ok(())
}
