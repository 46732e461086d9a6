//! Ranks with Zipf's frequencies, exact for any number of keys and without a table.

use super::random::Random;

/// Ranks with a frequency of 1/(rank+1)^theta, by rejection-inversion (Hörmann and Derflinger 1996): exact, without a table.
#[derive(Clone, Debug)]
pub struct Zipf {
    count: f64,
    theta: f64,
    low: f64,
    high: f64,
    shortcut: f64,
}

impl Zipf {
    /// Ranks below `count`.
    pub fn new(count: u64, theta: f64) -> Self {
        let mut zipf = Self { count: count as f64, theta, low: 0.0, high: 0.0, shortcut: 0.0 };
        zipf.low = zipf.integral(1.5) - 1.0;
        zipf.high = zipf.integral(zipf.count + 0.5);
        zipf.shortcut = 2.0 - zipf.inverse(zipf.integral(2.5) - zipf.density(2.0));
        zipf
    }

    /// A rank: 0 is the most popular.
    pub fn rank(&self, random: &mut Random) -> u64 {
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

    /// At a theta of 1 and many millions of keys the head still has its share: nothing is lost to rounding.
    #[test]
    fn many_keys_keep_their_shares() {
        let (keys, theta, draws) = (50_000_000, 0.99, 200_000);
        let (zipf, mut random) = (Zipf::new(keys, theta), Random::new(3));
        let hits = (0..draws).filter(|_| zipf.rank(&mut random) == 0).count() as f64;
        let sum: f64 = (1..=keys).map(|rank| (rank as f64).powf(-theta)).sum();
        let expected = f64::from(draws) / sum;
        assert!((hits - expected).abs() < 5.0 * expected.sqrt(), "{hits} of {expected}");
    }
}
