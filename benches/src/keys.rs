//! Which key comes next: seeded generators, so that a run can be repeated.

/// A small generator with a good spread (SplitMix64).
#[derive(Clone, Debug)]
pub struct Random(u64);

/// Mixes the bits of a number; no two numbers have the same result.
pub fn mix(number: u64) -> u64 {
    let mut word = number;
    word = (word ^ word >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word = (word ^ word >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ word >> 31
}

impl Random {
    /// The generator of this seed; near seeds give unrelated runs.
    pub fn new(seed: u64) -> Self {
        Self(mix(seed.wrapping_add(0x9e37_79b9_7f4a_7c15)))
    }

    /// The next 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }

    /// A number below `bound`, which is at least 1.
    pub fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.bits()) * u128::from(bound)) >> 64) as u64
    }

    /// A number from 0 to below 1.
    pub fn unit(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// How often each key is chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Distribution {
    /// All alike.
    Uniform,
    /// Zipf with theta 0.99, as YCSB has it.
    Zipf,
}

impl std::str::FromStr for Distribution {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "uniform" => Ok(Self::Uniform),
            "zipf" => Ok(Self::Zipf),
            _ => Err("uniform or zipf".into()),
        }
    }
}

/// Chooses keys from 0 to `keys - 1`.
#[derive(Clone, Debug)]
pub struct Chooser {
    keys: u64,
    zipf: Option<Zipf>,
}

impl Chooser {
    /// A chooser among `keys` keys, 1 or more.
    pub fn new(keys: u64, distribution: Distribution) -> Self {
        let zipf = (distribution == Distribution::Zipf).then(|| Zipf::new(keys));
        Self { keys, zipf }
    }

    /// The next key.
    pub fn key(&self, random: &mut Random) -> u64 {
        match &self.zipf {
            None => random.below(self.keys),
            Some(zipf) => scattered(zipf.rank(random), self.keys),
        }
    }
}

/// Puts popular keys apart, or popularity would follow the order of loading. A permutation: the factor is a prime larger than any
/// number of keys here, so it shares no divisor with it.
fn scattered(rank: u64, keys: u64) -> u64 {
    const PRIME: u128 = 0x9e37_79b1_85eb_ca87;
    (u128::from(rank) * PRIME % u128::from(keys)) as u64
}

const THETA: f64 = 0.99;

/// Ranks with a frequency of about 1/(rank+1)^0.99, by the closed form of Gray et al. (SIGMOD 1994), which YCSB uses too.
#[derive(Clone, Copy, Debug)]
struct Zipf {
    keys: f64,
    zeta: f64,
    eta: f64,
}

impl Zipf {
    fn new(keys: u64) -> Self {
        let (zeta, two) = (zeta(keys), zeta(2));
        let count = keys as f64;
        let eta = (1.0 - (2.0 / count).powf(1.0 - THETA)) / (1.0 - two / zeta);
        Self { keys: count, zeta, eta }
    }

    fn rank(&self, random: &mut Random) -> u64 {
        let unit = random.unit();
        let share = unit * self.zeta;
        if share < 1.0 || self.keys < 3.0 {
            return if share < 1.0 { 0 } else { 1 };
        }
        if share < 1.0 + 0.5_f64.powf(THETA) {
            return 1;
        }
        let rank = self.keys * (self.eta * unit - self.eta + 1.0).powf(1.0 / (1.0 - THETA));
        (rank as u64).min(self.keys as u64 - 1)
    }
}

/// The sum of 1/i^theta for i from 1 to `keys`; beyond a million terms, by the integral.
fn zeta(keys: u64) -> f64 {
    let summed = keys.min(1_000_000);
    let sum: f64 = (1..=summed).map(|i| (i as f64).powf(-THETA)).sum();
    let integral = |to: u64| (to as f64 + 0.5).powf(1.0 - THETA) / (1.0 - THETA);
    sum + integral(keys) - integral(summed)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The skew named is the skew measured, or every Zipf figure would be of another load: the popular ranks have the shares they should.
    #[test]
    fn popular_keys_have_their_shares() {
        let (keys, draws) = (10_000, 400_000);
        let (chooser, mut random) = (Chooser::new(keys, Distribution::Zipf), Random::new(7));
        let mut counts = vec![0_u32; keys as usize];
        (0..draws).for_each(|_| counts[chooser.key(&mut random) as usize] += 1);
        let sum: f64 = (1..=keys).map(|i| (i as f64).powf(-THETA)).sum();
        for rank in [0, 1, 9, 99] {
            let expected = ((rank + 1) as f64).powf(-THETA) / sum * f64::from(draws);
            let found = f64::from(counts[scattered(rank, keys) as usize]);
            // The closed form is exact for two ranks and near for the others.
            assert!((found / expected - 1.0).abs() < 0.2, "rank {rank}: {found} of {expected}");
        }
    }

    /// If two ranks fell on one key, a scenario would overwrite fewer keys than it says.
    #[test]
    fn scattering_is_a_permutation() {
        for keys in [1, 2, 3, 1000, 4096] {
            let mut seen: Vec<u64> = (0..keys).map(|rank| scattered(rank, keys)).collect();
            seen.sort_unstable();
            assert!(seen.into_iter().eq(0..keys), "{keys}");
        }
    }
}
