//! `cairn bench`: latency and throughput of an embedded engine, a node over gRPC, a server over RESP, or the bare device.
//!
//! * `options`: the command line. `job`: what one job is, job files, every key. `random`, `zipf`, `keys`, `payload`: which keys, and values that
//!   can be checked when they are read.
//! * `target`: what jobs run on: `embedded`, `grpc` and `resp`, which are [`store`]s of records, and `raw`, which is not. `load`, `prepare`: writes every
//!   record once.
//! * `work`: operations, one by one. `pace`: when each is due. `drive`: the closed and the open loop on a store. `lanes`: what a closed
//!   loop has in flight. `thread`: what one thread has while it runs.
//! * `group`: jobs that run at the same time. `gate`, `interrupt`: how they begin and end. `tally`, `usage`: what is counted. `live`: the line
//!   that is shown meanwhile.
//! * `outcome`, then `report`, `fio`, `hdr`, `svg`: what came out, and how it is shown.
//! * `compare`: engine and device in turn. `act`: ACT's load, table and rule. `trace`, `replay`, `known`: a recorded sequence, verified.

mod act;
mod alarm;
mod compare;
mod drive;
mod embedded;
mod fio;
mod gate;
mod group;
mod grpc;
mod hdr;
mod interrupt;
mod job;
mod keys;
mod known;
mod lanes;
mod live;
mod load;
mod options;
mod outcome;
mod pace;
mod payload;
mod prepare;
mod random;
mod raw;
mod replay;
mod report;
mod resp;
mod store;
mod svg;
mod tally;
mod target;
mod thread;
mod trace;
mod usage;
mod work;
mod zipf;

use std::io::IsTerminal;

pub use options::Args;

use crate::failure::{Failure, Result};
use group::Console;
use options::When;
use outcome::Outcome;

impl Args {
    /// Measures what was asked for and prints it.
    pub fn run(self) -> Result {
        if self.list_keys {
            options::print_keys();
            return Ok(());
        }
        let live = match self.live {
            When::Auto => std::io::stderr().is_terminal(),
            When::Always => true,
            When::Never => false,
        };
        let log = self.hdr_log.as_deref().map(hdr::Log::create).transpose()?;
        let mut console = Console { live, log };
        interrupt::listen();
        let outcomes = match (&self.trace, self.act) {
            (Some(trace), _) => replay::run(&self, trace)?,
            (None, Some(multiple)) => act::run(&self, multiple, &mut console)?,
            (None, None) if self.act_search => act::search(&self, &mut console)?,
            (None, None) if self.compare_raw => compare::run(&self, &mut console)?,
            (None, None) => self.groups(&mut console)?,
        };
        report::print(&outcomes);
        if let Some(file) = &self.json {
            fio::write(file, &outcomes)?;
        }
        if let Some(file) = &self.svg {
            svg::write(file, &outcomes)?;
        }
        if let Some(folder) = &self.hgrm {
            hdr::distributions(folder, &outcomes)?;
        }
        verdict(&outcomes)
    }

    /// Runs all groups, one after the other.
    fn groups(&self, console: &mut Console) -> Result<Vec<Outcome>> {
        let mut outcomes = Vec::new();
        for (number, jobs) in job::groups(self.jobs()?).into_iter().enumerate() {
            if interrupt::requested() {
                break;
            }
            outcomes.extend(group::run(&jobs, number, console)?);
        }
        Ok(outcomes)
    }
}

/// A run with errors or wrong values is no success, however fast it was.
fn verdict(outcomes: &[Outcome]) -> Result {
    let mismatches: u64 = outcomes.iter().map(|outcome| outcome.total.mismatches).sum();
    let errors: u64 = outcomes.iter().map(|outcome| outcome.total.errors).sum();
    if mismatches > 0 {
        let next = match outcomes.iter().any(|outcome| outcome.job.engine() == job::Engine::Resp) {
            true => "does another client write to these keys? --set gives the run its own",
            false => "`cairn inspect PATH --verify` tells whether the device is damaged",
        };
        return Err(
            Failure::new(format!("{mismatches} values were not what had been written")).next(next)
        );
    }
    if errors > 0 {
        let first = outcomes.iter().find_map(|outcome| outcome.total.first_error.clone());
        let first = first.unwrap_or_default();
        return Err(Failure::new(format!("{errors} operations failed; the first: {first}")));
    }
    let broken = outcomes.iter().find_map(|outcome| outcome.broken.clone());
    broken.map_or(Ok(()), |why| Err(Failure::new(why)))
}
