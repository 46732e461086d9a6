//! Writes every record once, before a run.

use std::cell::{Cell, RefCell};

use futures::{
    StreamExt, TryStreamExt,
    stream::{self, FuturesUnordered},
};

use super::{
    interrupt,
    job::{Job, Load},
    random::{Random, mix},
    store::{How, Shown, Store},
    work,
};

/// Writes in flight in each thread of a load, whatever the depth of the run is.
const DEPTH: u32 = 256;

/// Keys looked at to see whether a server holds them already.
const SAMPLE: u64 = 64;

/// Whether a job's records are to be written first, with so many there already.
pub fn is_wanted(job: &Job, enough: impl FnOnce() -> bool) -> bool {
    match job.load {
        Load::Always => true,
        Load::Never => false,
        Load::Auto => job.mix().needs_records() && !enough(),
    }
}

/// Whether the records of a job seem to be there: some of them are looked at.
pub async fn seem_to_be_there<S: Store>(store: &S, job: &Job) -> Result<bool, String> {
    let (least, most) = job.sizes().bounds();
    let step = (job.records / SAMPLE).max(1);
    let keys = stream::iter((0..job.records).step_by(step as usize).chain([job.records - 1]));
    let right = |shown: Option<Shown<'_>>| {
        let bytes = |shown: Shown<'_>| shown.bins.iter().map(|bin| bin.1.len() as u64).sum();
        shown.is_some_and(|shown| {
            shown.bins.len() == job.bins() as usize && (least..=most).contains(&bytes(shown))
        })
    };
    let there = keys.map(|key| store.read(key, right)).buffer_unordered(16);
    there.try_fold(true, async |all, there| Ok(all && there)).await
}

/// Writes thread `number`'s share of the records; tells `progress` how many it has written.
pub async fn part<S: Store>(
    store: &S,
    job: &Job,
    number: u32,
    threads: u32,
    progress: &dyn Fn(u64),
) -> Result<(), String> {
    let next = Cell::new(u64::from(number));
    let (done, failed) = (Cell::new(0), RefCell::new(None));
    let sizes = job.sizes();
    let lane = async || {
        loop {
            let key = next.get();
            if key >= job.records || failed.borrow().is_some() || interrupt::requested() {
                return;
            }
            next.set(key + u64::from(threads));
            // The size hangs on the key alone, so that two loads write the same.
            let size = sizes.draw(&mut Random::new(mix(key))) as usize;
            let bins = work::record(job, key, 0, size);
            match store.write(key, bins, How::Replace).await {
                Ok(_) => {
                    done.set(done.get() + 1);
                    progress(done.get());
                }
                Err(error) => {
                    failed.borrow_mut().get_or_insert(error);
                }
            }
        }
    };
    let mut lanes: FuturesUnordered<_> = (0..DEPTH).map(|_| lane()).collect();
    while lanes.next().await.is_some() {}
    drop(lanes);
    failed.into_inner().map_or(Ok(()), Err)
}
