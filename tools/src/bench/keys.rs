//! Which key comes next: seeded, so that a run can be repeated.

use super::options::Distribution;

/// A small generator with a good spread (SplitMix64).
#[derive(Clone, Debug)]
pub struct Random(u64);

/// Mixes the bits of a number so that near ones become unrelated; no two have the same result.
pub fn mix(mut x: u64) -> u64 {
    x = (x ^ x >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ x >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ x >> 31
}

impl Random {
    /// The generator of this seed.
    pub fn new(seed: u64) -> Self {
        Self(mix(seed.wrapping_add(0x9e37_79b9_7f4a_7c15)))
    }

    /// The next 64 bits.
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }

    /// A number below `bound`.
    pub fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(bound)) >> 64) as u64
    }

    /// A number from 0 to below 1.
    pub fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// Chooses keys from 0 to `keys - 1`.
#[derive(Clone, Debug)]
pub struct Chooser {
    keys: u64,
    zipf: Option<Zipf>,
}

impl Chooser {
    /// A chooser among `keys` keys.
    pub fn new(keys: u64, distribution: Distribution) -> Self {
        let zipf = match distribution {
            Distribution::Uniform => None,
            Distribution::Zipf(theta) => Some(Zipf::new(keys, theta)),
        };
        Self { keys, zipf }
    }

    /// The next key.
    pub fn next(&self, random: &mut Random) -> u64 {
        match &self.zipf {
            None => random.below(self.keys),
            // Popular keys are spread over the key space, or popularity would go with the order of loading.
            Some(zipf) => scatter(zipf.rank(random), self.keys),
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

/// Ranks with a frequency of 1/(rank+1)^theta, by rejection-inversion (Hörmann and Derflinger 1996): exact, without a table.
#[derive(Clone, Debug)]
struct Zipf {
    count: f64,
    theta: f64,
    low: f64,
    high: f64,
    shortcut: f64,
}

impl Zipf {
    fn new(count: u64, theta: f64) -> Self {
        let mut zipf = Self { count: count as f64, theta, low: 0.0, high: 0.0, shortcut: 0.0 };
        zipf.low = zipf.integral(1.5) - 1.0;
        zipf.high = zipf.integral(zipf.count + 0.5);
        zipf.shortcut = 2.0 - zipf.inverse(zipf.integral(2.5) - zipf.density(2.0));
        zipf
    }

    /// A rank: 0 is the most popular.
    fn rank(&self, random: &mut Random) -> u64 {
        loop {
            let u = self.high + random.unit() * (self.low - self.high);
            let x = self.inverse(u);
            let k = x.round().clamp(1.0, self.count);
            if k - x <= self.shortcut || u >= self.integral(k + 0.5) - self.density(k) {
                return k as u64 - 1;
            }
        }
    }

    fn density(&self, x: f64) -> f64 {
        (-self.theta * x.ln()).exp()
    }

    /// The integral of the density, from 1.
    fn integral(&self, x: f64) -> f64 {
        let log = x.ln();
        exp_m1_over((1.0 - self.theta) * log) * log
    }

    fn inverse(&self, x: f64) -> f64 {
        let t = (x * (1.0 - self.theta)).max(-1.0);
        (ln_1p_over(t) * x).exp()
    }
}

/// `(e^x - 1) / x`, also near 0.
fn exp_m1_over(x: f64) -> f64 {
    if x.abs() > 1e-8 { x.exp_m1() / x } else { 1.0 + x / 2.0 }
}

/// `ln(1 + x) / x`, also near 0.
fn ln_1p_over(x: f64) -> f64 {
    if x.abs() > 1e-8 { x.ln_1p() / x } else { 1.0 - x / 2.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(keys: u64, theta: f64, draws: usize) -> Vec<u64> {
        let (zipf, mut random) = (Zipf::new(keys, theta), Random::new(7));
        let mut counts = vec![0; keys as usize];
        (0..draws).for_each(|_| counts[zipf.rank(&mut random) as usize] += 1);
        counts
    }

    /// The skew asked for is the skew measured: each rank's share is 1/(rank+1)^theta of all.
    #[test]
    fn zipf_ranks_have_their_shares() {
        for theta in [0.0, 0.5, 0.99, 1.0, 1.5] {
            let (keys, draws) = (1000, 400_000);
            let counts = counts(keys, theta, draws);
            let weight = |rank: u64| ((rank + 1) as f64).powf(-theta);
            let sum: f64 = (0..keys).map(weight).sum();
            for rank in [0, 1, 2, 9, 99, 999] {
                let expected = weight(rank) / sum * draws as f64;
                let off = (counts[rank as usize] as f64 - expected).abs();
                assert!(
                    off < 5.0 * expected.sqrt() + 1.0,
                    "theta {theta} rank {rank}: {off} of {expected}"
                );
            }
        }
    }

    /// The same seed gives the same run, another seed another one.
    #[test]
    fn a_seed_repeats_its_run() {
        let chooser = Chooser::new(1_000_000, Distribution::Zipf(0.99));
        let run = |seed| {
            let mut random = Random::new(seed);
            (0..100).map(|_| chooser.next(&mut random)).collect::<Vec<_>>()
        };
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
}
