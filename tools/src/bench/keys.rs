//! Which key, or block, comes next.

use std::{
    collections::BTreeSet,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use super::{
    job::Distribution,
    random::{Random, mix},
    zipf::Zipf,
};

/// The keys there are: those of the start, and those inserted since. Shared by the threads of a job.
#[derive(Debug)]
pub struct Space {
    /// Every key below is written, as far as is known.
    written: AtomicU64,
    /// The next key to insert.
    next: AtomicU64,
    /// Inserted out of order: keys above `written`. At most as many as operations are in flight.
    ahead: Mutex<BTreeSet<u64>>,
}

impl Space {
    /// `keys` keys.
    pub fn new(keys: u64) -> Self {
        let (written, next) = (AtomicU64::new(keys), AtomicU64::new(keys));
        Self { written, next, ahead: Mutex::default() }
    }

    /// Keys that may be asked for: 0 to this, without it.
    pub fn keys(&self) -> u64 {
        self.written.load(Relaxed)
    }

    /// A key to insert.
    pub fn insert(&self) -> u64 {
        self.next.fetch_add(1, Relaxed)
    }

    /// The insert of `key` is over. One that failed counts too, or no later key would ever be asked for.
    pub fn inserted(&self, key: u64) {
        // A poisoned lock means that a thread panicked; the run fails for that anyway.
        let mut ahead = self.ahead.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        ahead.insert(key);
        let mut written = self.written.load(Relaxed);
        while ahead.remove(&written) {
            written += 1;
        }
        self.written.store(written, Relaxed);
    }
}

/// Chooses keys for one thread.
#[derive(Clone, Debug)]
pub struct Chooser {
    how: How,
}

#[derive(Clone, Debug)]
enum How {
    Uniform,
    Zipf(Zipf, u64),
    Pareto(f64),
    Latest(Zipf),
    Sequential { next: u64, first: u64, end: u64 },
}

impl Chooser {
    /// A chooser of thread `number` of `threads`, for `keys` keys at the start.
    pub fn new(keys: u64, distribution: Distribution, number: u32, threads: u32) -> Self {
        let part =
            |number: u32| (u128::from(keys) * u128::from(number) / u128::from(threads)) as u64;
        let how = match distribution {
            Distribution::Uniform => How::Uniform,
            Distribution::Zipf(theta) => How::Zipf(Zipf::new(keys, theta), keys),
            // u^p, so that the first `h` of the keys get `1 - h` of all choices, and so on within them.
            Distribution::Pareto(h) => How::Pareto(h.ln() / (1.0 - h).ln()),
            Distribution::Latest(theta) => How::Latest(Zipf::new(keys, theta)),
            Distribution::Sequential => {
                let (first, end) = (part(number), part(number + 1).max(part(number) + 1));
                How::Sequential { next: first, first, end }
            }
        };
        Self { how }
    }

    /// The next key.
    pub fn next(&mut self, random: &mut Random, space: &Space) -> u64 {
        let keys = space.keys();
        match &mut self.how {
            How::Uniform => random.below(keys),
            // Popular keys are spread over the key space, or popularity would go with the order of loading.
            How::Zipf(zipf, keys) => scatter(zipf.rank(random), *keys),
            How::Pareto(power) => {
                let rank = (keys as f64 * random.unit().powf(*power)) as u64;
                scatter(rank.min(keys - 1), keys)
            }
            How::Latest(zipf) => keys - 1 - zipf.rank(random).min(keys - 1),
            How::Sequential { next, first, end } => {
                let key = *next;
                *next = if key + 1 == *end { *first } else { key + 1 };
                key.min(keys - 1)
            }
        }
    }
}

/// A permutation of the numbers below `keys`: mixes within the next power of four, and again while the result lies outside.
fn scatter(rank: u64, keys: u64) -> u64 {
    let half = (64 - keys.saturating_sub(1).leading_zeros()).div_ceil(2).max(1);
    let mask = (1u64 << half) - 1;
    let mut x = rank;
    loop {
        let (mut left, mut right) = (x >> half, x & mask);
        for round in 1..=3 {
            (left, right) = (right, left ^ (mix(right.wrapping_add(round << 40)) & mask));
        }
        x = left << half | right;
        if x < keys {
            return x;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draw(distribution: Distribution, keys: u64, draws: usize, seed: u64) -> Vec<u64> {
        let (space, mut random) = (Space::new(keys), Random::new(seed));
        let mut chooser = Chooser::new(keys, distribution, 0, 1);
        (0..draws).map(|_| chooser.next(&mut random, &space)).collect()
    }

    /// The same seed gives the same run, another seed another one.
    #[test]
    fn a_seed_repeats_its_run() {
        let run = |seed| draw(Distribution::Zipf(0.99), 1_000_000, 100, seed);
        assert_eq!(run(1), run(1));
        assert_ne!(run(1), run(2));
    }

    /// Spreading popular keys must not make two of them one, nor leave the key space.
    #[test]
    fn scattering_is_a_permutation() {
        for keys in [1, 2, 3, 64, 1000, 4097] {
            let mut seen: Vec<u64> = (0..keys).map(|rank| scatter(rank, keys)).collect();
            seen.sort_unstable();
            assert!(seen.into_iter().eq(0..keys), "{keys}");
        }
    }

    /// Four in five choices fall on the fifth of the keys that is most popular.
    #[test]
    fn pareto_has_its_shares() {
        let keys = 1000;
        let mut counts = vec![0u32; keys as usize];
        draw(Distribution::Pareto(0.2), keys, 100_000, 1)
            .iter()
            .for_each(|key| counts[*key as usize] += 1);
        counts.sort_unstable_by_key(|count| std::cmp::Reverse(*count));
        let head: u32 = counts[..200].iter().sum();
        assert!((78_000..84_000).contains(&head), "{head}");
    }

    /// Threads go through all keys once, each through a part of its own.
    #[test]
    fn sequential_threads_divide_the_keys() {
        let (space, mut random) = (Space::new(10), Random::new(1));
        let mut seen = Vec::new();
        for number in 0..3 {
            let mut chooser = Chooser::new(10, Distribution::Sequential, number, 3);
            let part = [0, 3, 6, 10][number as usize + 1] - [0, 3, 6, 10][number as usize];
            seen.extend((0..part).map(|_| chooser.next(&mut random, &space)));
        }
        assert_eq!(seen, (0..10).collect::<Vec<u64>>());
    }

    /// The newest keys are the most popular, and none is asked for before its insert is over.
    #[test]
    fn latest_follows_the_inserts() {
        let (space, mut random) = (Space::new(1000), Random::new(1));
        let mut chooser = Chooser::new(1000, Distribution::Latest(0.99), 0, 1);
        let (a, b) = (space.insert(), space.insert());
        space.inserted(b);
        assert!((0..1000).all(|_| chooser.next(&mut random, &space) < 1000));
        space.inserted(a);
        let newest = (0..1000).filter(|_| chooser.next(&mut random, &space) == b).count();
        assert!(newest > 80, "{newest}");
    }
}
