//! What a load shows: a bar over the bytes of the file, the rate, and the first failures with their lines.

use std::{
    io::IsTerminal,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::source::Source;
use crate::units;

/// So many failures are shown one by one.
const FAILURES_SHOWN: u64 = 10;
const REFRESH: Duration = Duration::from_millis(200);

/// The display of one load.
#[derive(Debug)]
pub struct Report {
    bar: ProgressBar,
    position: Arc<AtomicU64>,
    start: Instant,
    shown: Instant,
    loaded: u64,
    failed: u64,
    before: u64,
}

impl Report {
    /// Starts to show, after a load that had done `before` lines; nothing but failures when standard error is no terminal.
    pub fn start(source: &Source, before: u64) -> Self {
        let target = match std::io::stderr().is_terminal() {
            true => ProgressDrawTarget::stderr(),
            false => ProgressDrawTarget::hidden(),
        };
        let bar = ProgressBar::with_draw_target(Some(source.size()), target);
        let style = "{bar:32} {percent:>3} %  {bytes}/{total_bytes}  {msg}  {eta} left";
        if let Ok(style) = ProgressStyle::with_template(style) {
            bar.set_style(style);
        }
        if before > 0 {
            bar.suspend(|| eprintln!("resuming: {} lines are done", units::count(before)));
        }
        let now = Instant::now();
        Self {
            bar,
            position: source.position(),
            start: now,
            shown: now,
            loaded: 0,
            failed: 0,
            before,
        }
    }

    /// A record was acknowledged.
    pub fn loaded(&mut self) {
        self.loaded += 1;
        // The clock is asked for once in a while only: this runs for every record.
        if self.loaded.is_multiple_of(256) && self.shown.elapsed() >= REFRESH {
            self.shown = Instant::now();
            self.bar.set_position(self.position.load(Ordering::Relaxed));
            self.bar.set_message(self.summary());
        }
    }

    /// A line failed.
    pub fn failed(&mut self, line: u64, why: &str) {
        self.failed += 1;
        if self.failed <= FAILURES_SHOWN {
            self.bar.suspend(|| eprintln!("line {line}: {why}"));
        } else if self.failed == FAILURES_SHOWN + 1 {
            self.bar.suspend(|| eprintln!("further failures are counted only"));
        }
    }

    fn summary(&self) -> String {
        let rate = self.loaded as f64 / self.start.elapsed().as_secs_f64().max(1e-3);
        let (loaded, rate) = (units::count(self.loaded), units::count(rate as u64));
        match self.failed {
            0 => format!("{loaded} records  {rate}/s"),
            failed => format!("{loaded} records  {rate}/s  {} failed", units::count(failed)),
        }
    }

    /// Takes the bar away and prints the sum.
    pub fn finish(self) {
        self.bar.finish_and_clear();
        let before = match self.before {
            0 => String::new(),
            before => format!(" ({} before)", units::count(before)),
        };
        println!("{} in {}{before}", self.summary(), units::duration(self.start.elapsed()));
    }
}
