//! Keeps a number of operations in flight on an engine, in the way that suits it, and times each.

use std::{
    future::Future,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    thread,
    time::{Duration, Instant},
};

use cairn_benches::{
    keys::{Chooser, Distribution, Random},
    values,
};
use futures_util::future::join_all;
use hdrhistogram::Histogram;

use crate::{
    engine::{Engine, Safety, Written},
    failure::{Failure, Result},
    options::Setup,
};

/// Records that one lane loads before it takes the next ones.
const LOAD_CHUNK: u64 = 64;

/// What to do in a phase.
#[derive(Clone, Copy, Debug)]
pub struct Work {
    /// Operations in flight.
    pub depth: u64,
    /// Share of reads, in per cent.
    pub reads: u64,
    /// How keys are chosen.
    pub distribution: Distribution,
    /// What writes wait for.
    pub safety: Safety,
    /// It ends after this time.
    pub time: Duration,
    /// And after so many operations.
    pub most: u64,
}

/// What came of it.
#[derive(Debug)]
pub struct Tally {
    /// Latency of reads, in nanoseconds.
    pub reads: Histogram<u64>,
    /// Latency of writes, in nanoseconds.
    pub writes: Histogram<u64>,
    /// Reads that found nothing.
    pub misses: u64,
    /// Writes for which there was no room.
    pub refused: u64,
}

impl Tally {
    fn new() -> Self {
        let histogram = || Histogram::new_with_bounds(1, 600_000_000_000, 2).expect("valid bounds");
        Self { reads: histogram(), writes: histogram(), misses: 0, refused: 0 }
    }

    fn merged(tallies: Vec<Result<Self>>) -> Result<Self> {
        let mut sum = Self::new();
        for tally in tallies {
            let tally = tally?;
            sum.reads += tally.reads;
            sum.writes += tally.writes;
            sum.misses += tally.misses;
            sum.refused += tally.refused;
        }
        Ok(sum)
    }
}

/// Writes every key once.
pub fn load<E: Engine>(engine: &E, setup: &Setup) -> Result<u64> {
    let next = AtomicU64::new(0);
    let lanes = lanes(engine, setup.depth, |_| async {
        let mut refused = 0;
        loop {
            let first = next.fetch_add(LOAD_CHUNK, Relaxed);
            if first >= setup.records {
                return Ok::<_, Failure>(refused);
            }
            let numbers = first..(first + LOAD_CHUNK).min(setup.records);
            let value = |key| {
                let mut value = vec![0; setup.value_bytes];
                values::fill(&mut value, key, 1);
                (key, value)
            };
            let chunk: Vec<_> = numbers.map(value).collect();
            refused += u64::from(engine.load(&chunk).await? == Written::Refused);
        }
    })?;
    lanes.into_iter().sum()
}

/// Does the work and says how long it took.
pub fn operate<E: Engine>(
    engine: &E,
    setup: &Setup,
    work: &Work,
    seed: u64,
) -> Result<(Tally, Duration)> {
    let chooser = Chooser::new(setup.records, work.distribution);
    let left = AtomicU64::new(work.most);
    let start = Instant::now();
    let lanes = lanes(engine, work.depth, |number| {
        lane(engine, setup, work, &chooser, &left, start + work.time, seed << 20 | number)
    })?;
    let took = start.elapsed();
    Ok((Tally::merged(lanes)?, took))
}

async fn lane<E: Engine>(
    engine: &E,
    setup: &Setup,
    work: &Work,
    chooser: &Chooser,
    left: &AtomicU64,
    end: Instant,
    seed: u64,
) -> Result<Tally> {
    let (mut random, mut tally) = (Random::new(seed), Tally::new());
    let mut value = vec![0; setup.value_bytes];
    let mut version = seed << 32;
    let mut now = Instant::now();
    while now < end && left.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1)).is_ok() {
        let key = chooser.key(&mut random);
        if random.below(100) < work.reads {
            let mut sound = true;
            let look = |value: &[u8]| sound = values::version(value, key).is_some();
            let found = engine.get(key, look).await?;
            if !sound {
                return Err(Failure::new(format!("key {key} came back with a wrong value")));
            }
            tally.misses += u64::from(!found);
            now = timed(&mut tally.reads, now);
        } else {
            version += 1;
            values::fill(&mut value, key, version);
            match engine.put(key, &value, work.safety).await? {
                Written::Done => now = timed(&mut tally.writes, now),
                Written::Refused => {
                    tally.refused += 1;
                    now = Instant::now();
                }
            }
        }
    }
    Ok(tally)
}

fn timed(histogram: &mut Histogram<u64>, since: Instant) -> Instant {
    let now = Instant::now();
    histogram.saturating_record((now - since).as_nanos() as u64);
    now
}

/// Runs `depth` lanes at the same time: each on a thread of its own where calls block, else shared out among a thread for each core.
fn lanes<E, F, T>(engine: &E, depth: u64, lane: impl Fn(u64) -> F + Sync) -> Result<Vec<T>>
where
    E: Engine,
    F: Future<Output = T>,
    T: Send,
{
    let cores = thread::available_parallelism().map_or(1, usize::from) as u64;
    let threads = if E::BLOCKS { depth } else { depth.min(cores) };
    let on_thread = |thread: u64| {
        let own = (thread..depth).step_by(threads as usize).map(&lane);
        match E::BLOCKS {
            true => own.map(|lane| engine.on_thread(lane)).collect(),
            false => engine.on_thread(join_all(own)),
        }
    };
    thread::scope(|scope| {
        let on_thread = &on_thread;
        let threads: Vec<_> =
            (0..threads).map(|thread| scope.spawn(move || on_thread(thread))).collect();
        let mut all = Vec::new();
        for thread in threads {
            let part: Result<Vec<T>> =
                thread.join().map_err(|_| Failure::new("a thread of the driver panicked"))?;
            all.extend(part?);
        }
        Ok(all)
    })
}
