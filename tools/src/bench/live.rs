//! The line that is shown while a run goes.

use std::{
    io::IsTerminal,
    sync::{Arc, mpsc},
    thread,
    time::{Duration, Instant},
};

use super::{plan::Plan, workers::Signals};
use crate::units;

/// Shows a run's rate once a second on standard error, if that is a terminal.
#[derive(Debug)]
pub struct Live {
    stop: mpsc::Sender<()>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Live {
    /// Starts to show.
    pub fn start(name: &str, plan: &Plan, signals: Arc<Signals>) -> Self {
        let (stop, stopped) = mpsc::channel::<()>();
        let label = format!("{name}  depth {}  jobs {}", plan.depth, plan.jobs);
        let show = move || {
            let start = Instant::now();
            let mut last = 0;
            while stopped.recv_timeout(Duration::from_secs(1))
                == Err(mpsc::RecvTimeoutError::Timeout)
            {
                let total = signals.total();
                let (rate, seconds) =
                    (units::count(total.saturating_sub(last)), start.elapsed().as_secs());
                let phase = if signals.measuring() { "" } else { "  warming up" };
                eprint!("\r{label}  {seconds} s  {rate} ops/s{phase}\x1b[K");
                last = total;
            }
            eprint!("\r\x1b[K");
        };
        let thread = std::io::stderr().is_terminal().then(|| thread::spawn(show));
        Self { stop, thread }
    }

    /// Takes the line away.
    pub fn finish(self) {
        drop(self.stop);
        if let Some(thread) = self.thread {
            // It only prints; if it panicked, there is a message already.
            let _ = thread.join();
        }
    }
}
