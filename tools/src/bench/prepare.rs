//! The threads that write a job's records before it runs, and the line that shows how far they are.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    thread,
    time::Instant,
};

use super::{
    interrupt,
    job::{Engine, Job},
};
use crate::{
    failure::{Doing, Failure, Result},
    units,
};

/// Runs `part` on each thread of the job: number, how many there are, and whom to tell about progress.
pub fn load(job: &Job, part: impl Fn(u32, u32, &dyn Fn(u64)) -> Result + Sync) -> Result {
    let started = Instant::now();
    let counters: Vec<AtomicU64> = (0..job.threads).map(|_| AtomicU64::new(0)).collect();
    let bar = indicatif::ProgressBar::new(job.records);
    let style = indicatif::ProgressStyle::with_template(
        "loading {wide_bar} {human_pos} of {human_len}  {per_sec}  {eta}",
    );
    bar.set_style(style.doing("the progress bar")?);
    thread::scope(|scope| {
        let mut threads = Vec::new();
        for (number, counter) in (0..).zip(&counters) {
            let (part, counters, bar) = (&part, &counters, &bar);
            let progress = move |done: u64| {
                counter.store(done, Relaxed);
                if done.is_multiple_of(1024) {
                    bar.set_position(counters.iter().map(|counter| counter.load(Relaxed)).sum());
                }
            };
            let thread = thread::Builder::new()
                .name(format!("load-{number}"))
                .spawn_scoped(scope, move || part(number, job.threads, &progress));
            threads.push(thread.doing("starting a thread")?);
        }
        let joined = threads
            .into_iter()
            .map(|thread| thread.join().map_err(|_| Failure::new("a loading thread panicked"))?);
        joined.fold(Ok(()), Result::and)
    })
    .map_err(|failure| {
        bar.finish_and_clear();
        failure.during("writing the records failed").next(match job.engine() {
            Engine::Embedded => {
                "a file too small for them? --size makes a new one larger, --records asks for fewer"
            }
            _ => "has the server no room for them? --records asks for fewer",
        })
    })?;
    bar.finish_and_clear();
    if interrupt::requested() {
        return Err(Failure::new("interrupted while the records were written"));
    }
    let rate = job.records as f64 / started.elapsed().as_secs_f64().max(1e-9);
    let (records, rate) = (units::count(job.records), units::count(rate as u64));
    eprintln!("loaded {records} records of {} bytes, {rate}/s", job.sizes());
    Ok(())
}
