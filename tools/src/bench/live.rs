//! The line that is shown while jobs run, on standard error.

use std::{
    fmt::Write,
    io::IsTerminal,
    time::{Duration, Instant},
};

use super::{job::Job, tally::Tally};
use crate::units;

/// Shows a line once a second.
#[derive(Debug)]
pub struct Live {
    shown: bool,
    /// On a terminal each line takes the place of the last one.
    terminal: bool,
    measured_from: Instant,
    last: Instant,
}

impl Live {
    /// A line that is shown or not; before `measured_from` jobs warm up.
    pub fn new(shown: bool, measured_from: Instant) -> Self {
        let terminal = std::io::stderr().is_terminal();
        Self { shown, terminal, measured_from, last: Instant::now() }
    }

    /// Shows each job: all it counted, what it counted since the last time, and how many operations it has in flight.
    pub fn show<'a>(&mut self, jobs: impl Iterator<Item = (&'a Job, &'a Tally, &'a Tally, u32)>) {
        let now = Instant::now();
        let since = now.saturating_duration_since(self.last).max(Duration::from_millis(1));
        self.last = now;
        if !self.shown || now < self.measured_from {
            if self.shown && self.terminal {
                eprint!("\rwarming up\x1b[K");
            }
            return;
        }
        let seconds = now.duration_since(self.measured_from).as_secs();
        if seconds == 0 {
            return;
        }
        let mut line = format!("{seconds:>4} s");
        for (job, total, recent, in_flight) in jobs {
            let all = recent.all().latency;
            let rate = units::count((recent.ops() as f64 / since.as_secs_f64()).round() as u64);
            let us = |quantile| all.value_at_quantile(quantile) as f64 / 1e3;
            // Writing to a string does not fail.
            let _ = write!(
                line,
                "  | {} {rate}/s  p50 {:.0} us  p99 {:.0} us  {in_flight} in flight",
                job.name,
                us(0.5),
                us(0.99)
            );
            if total.errors + total.mismatches > 0 {
                let _ = write!(line, "  {} errors  {} wrong", total.errors, total.mismatches);
            }
        }
        if self.terminal {
            eprint!("\r{line}\x1b[K");
        } else {
            eprintln!("{line}");
        }
    }

    /// Takes the line away.
    pub fn finish(self) {
        if self.shown && self.terminal {
            eprint!("\r\x1b[K");
        }
    }
}
