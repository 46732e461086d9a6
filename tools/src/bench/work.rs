//! Operations: which comes next, and how each is done on a store and judged.

use super::{
    job::{Job, Mix, Op, Sizes, ycsb::SCAN_MAX},
    keys::{Chooser, Space},
    payload,
    random::Random,
    store::{How, NewBin, Shown, Store, Wrote},
};

/// Partitions of a namespace.
const PARTITIONS: u64 = 4096;
/// A read-modify-write that others overtake so often gives up.
const CONFLICTS_MAX: u64 = 1000;

/// Draws one thread's operations.
#[derive(Debug)]
pub struct Source<'a> {
    job: &'a Job,
    space: &'a Space,
    mix: Mix,
    sizes: Sizes,
    chooser: Chooser,
    /// Its numbers are the run's: the same seed draws the same operations.
    pub random: Random,
    /// Makes the values of each write its own.
    counter: u64,
    /// Operations still to measure.
    left: u64,
}

/// One operation to do.
#[derive(Clone, Copy, Debug)]
pub struct Task {
    /// What.
    pub op: Op,
    /// On which key; for a scan any number, which chooses the partition.
    pub key: u64,
    /// Which write this is.
    pub counter: u64,
    /// Bytes of the values, or of the raw transfer.
    pub size: usize,
    /// Which bin an update writes, or how many records a scan wants.
    pub number: u32,
}

/// What an operation gave.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Done {
    /// Bytes of values moved.
    pub bytes: usize,
    /// It found no record.
    pub missed: bool,
    /// What it read was not what had been written.
    pub wrong: bool,
    /// How often it began again since somebody else had written.
    pub conflicts: u64,
}

impl<'a> Source<'a> {
    /// The operations of thread `number`.
    pub fn new(job: &'a Job, space: &'a Space, number: u32) -> Self {
        Self {
            job,
            space,
            mix: job.mix(),
            sizes: job.sizes(),
            chooser: Chooser::new(space.keys(), job.distribution(), number, job.threads),
            random: Random::new(job.seed.wrapping_add(u64::from(number) << 32)),
            counter: u64::from(number) << 48,
            left: job.ops_of_thread(number).unwrap_or(u64::MAX),
        }
    }

    /// The next operation; `None` when the thread has done its share. Only measured operations count for that.
    pub fn next(&mut self, measured: bool) -> Option<Task> {
        self.left = match measured {
            true => self.left.checked_sub(1)?,
            false => self.left,
        };
        self.counter += 1;
        let op = self.mix.draw(&mut self.random);
        let key = match op {
            Op::Insert => self.space.insert(),
            _ => self.chooser.next(&mut self.random, self.space),
        };
        let size = self.sizes.draw(&mut self.random) as usize;
        let number = match op {
            Op::Update | Op::Modify => self.random.below(u64::from(self.job.bins())) as u32,
            Op::Scan => 1 + self.random.below(SCAN_MAX) as u32,
            _ => 0,
        };
        Some(Task { op, key, counter: self.counter, size, number })
    }

    /// Whether the thread has done its share.
    pub fn is_empty(&self) -> bool {
        self.left == 0
    }
}

/// The bins of a whole record.
pub fn record(job: &Job, key: u64, counter: u64, size: usize) -> Vec<NewBin> {
    (0..job.bins()).map(|bin| new_bin(job, key, bin, counter, size)).collect()
}

fn new_bin(job: &Job, key: u64, bin: u32, counter: u64, size: usize) -> NewBin {
    let bins = job.bins() as usize;
    // The first bins are a byte longer where the bytes cannot be divided evenly.
    let len = size / bins + usize::from((bin as usize) < size % bins);
    (name(job, bin), payload::value(salted(key, bin), counter, len))
}

fn name(job: &Job, bin: u32) -> String {
    if job.bins() == 1 { payload::BIN.into() } else { format!("field{bin}") }
}

/// Each bin has a pattern of its own; the first one that of the key.
fn salted(key: u64, bin: u32) -> u64 {
    key ^ u64::from(bin) << 56
}

/// Whether every bin of a record is there, whole and of this key.
pub fn is_right(job: &Job, key: u64, shown: &Shown<'_>) -> bool {
    let right = |(name, bytes): &(&str, &[u8])| {
        let bin = if job.bins() == 1 {
            Some(0)
        } else {
            name.strip_prefix("field").and_then(|n| n.parse().ok())
        };
        bin.is_some_and(|bin| bin < job.bins() && payload::check(bytes, salted(key, bin)).is_some())
    };
    shown.bins.len() == job.bins() as usize && shown.bins.iter().all(right)
}

/// Does one operation.
pub async fn perform<S: Store>(
    store: &S,
    job: &Job,
    space: &Space,
    task: &Task,
) -> Result<Done, String> {
    let Task { op, key, counter, size, number } = *task;
    match op {
        Op::Read => Ok(store.read(key, |shown| look(job, key, shown)).await?.0),
        Op::Scan => {
            let scanned = store.scan((key % PARTITIONS) as u16, number as usize).await?;
            Ok(Done { bytes: scanned.bytes, missed: scanned.records == 0, ..Done::default() })
        }
        Op::Write => {
            store.write(key, record(job, key, counter, size), How::Replace).await?;
            Ok(Done { bytes: size, ..Done::default() })
        }
        Op::Insert => {
            let written = store.write(key, record(job, key, counter, size), How::Replace).await;
            space.inserted(key);
            written.map(|_| Done { bytes: size, ..Done::default() })
        }
        Op::Update => {
            let bin = new_bin(job, key, number, counter, size);
            let bytes = bin.1.len();
            store.write(key, vec![bin], How::Update).await?;
            Ok(Done { bytes, ..Done::default() })
        }
        Op::Modify => modify(store, job, task).await,
        Op::Delete => store.delete(key).await.map(|()| Done::default()),
    }
}

/// Reads a record and writes one of its bins, unless somebody wrote meanwhile: then once more.
async fn modify<S: Store>(store: &S, job: &Job, task: &Task) -> Result<Done, String> {
    let mut done = Done::default();
    loop {
        let (seen, generation) = store.read(task.key, |shown| look(job, task.key, shown)).await?;
        done = Done { conflicts: done.conflicts, wrong: done.wrong || seen.wrong, ..seen };
        let Some(generation) = generation else { return Ok(done) };
        let bin = new_bin(job, task.key, task.number, task.counter, task.size);
        let bytes = bin.1.len();
        match store.write(task.key, vec![bin], How::UpdateIf(generation)).await? {
            Wrote::Done => return Ok(Done { bytes: done.bytes + bytes, ..done }),
            Wrote::Stale if done.conflicts == CONFLICTS_MAX => {
                return Err(format!("key {}: overtaken {CONFLICTS_MAX} times", task.key));
            }
            Wrote::Stale => done.conflicts += 1,
        }
    }
}

/// Judges what a read shows, and gives the record's generation.
fn look(job: &Job, key: u64, shown: Option<Shown<'_>>) -> (Done, Option<u32>) {
    let Some(shown) = shown else { return (Done { missed: true, ..Done::default() }, None) };
    let bytes = shown.bins.iter().map(|(_, bytes)| bytes.len()).sum();
    let wrong = job.verify && !is_right(job, key, &shown);
    (Done { bytes, wrong, ..Done::default() }, Some(shown.generation))
}

#[cfg(test)]
mod tests {
    use cairn_engine::device::reactor::block_on;

    use super::*;
    use crate::bench::{
        job::{self, keys},
        store::memory::Memory,
    };

    /// Every YCSB workload runs, mixes what it should, verifies what it reads and keeps all bins of a record.
    #[test]
    fn ycsb_workloads_do_what_they_say() {
        for (letter, op, share) in [
            ("A", Op::Update, 0.5),
            ("B", Op::Update, 0.05),
            ("C", Op::Read, 1.0),
            ("D", Op::Insert, 0.05),
            ("E", Op::Scan, 0.95),
            ("F", Op::Modify, 0.5),
        ] {
            let mut job = Job { threads: 1, ops: Some(2000), ..job::sample() };
            keys::find("ycsb").unwrap().set(&mut job, Some(letter)).unwrap();
            job.verify = true;
            let (store, space) = (Memory::default(), Space::new(job.records));
            for key in 0..job.records {
                block_on(store.write(key, record(&job, key, 0, 1000), How::Replace)).unwrap();
            }
            let mut source = Source::new(&job, &space, 0);
            let mut met = 0;
            while let Some(task) = source.next(true) {
                met += u32::from(task.op == op);
                let done = block_on(perform(&store, &job, &space, &task)).unwrap();
                assert!(!done.wrong && !done.missed, "{letter}: {task:?} {done:?}");
                if task.op == Op::Read {
                    assert_eq!(done.bytes, 1000, "{letter}");
                }
            }
            assert!((f64::from(met) / 2000.0 - share).abs() < 0.03, "{letter}: {met}");
            let inserted = if matches!(letter, "D" | "E") { 50 } else { 0 };
            assert!(store.len() as u64 >= job.records + inserted, "{letter}");
            store.spoil();
            let read = Task { op: Op::Read, key: 1, counter: 0, size: 0, number: 0 };
            assert!(block_on(perform(&store, &job, &space, &read)).unwrap().wrong, "{letter}");
        }
    }
}
