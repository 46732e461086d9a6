//! The words of a job: what it is run on, which operations it mixes, which keys and how large the values are.

use super::units;
use crate::bench::random::Random;

/// What a job is run on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    /// The engine inside this process, on files or devices.
    Embedded,
    /// A node over gRPC: the SDK's pipeline.
    Grpc,
    /// A node over gRPC: one call for each operation.
    GrpcUnary,
    /// The bare file or device, through a ring of each thread's own.
    Raw,
}

impl Engine {
    /// Its name in a job file.
    pub fn name(self) -> &'static str {
        match self {
            Self::Embedded => "cairn-embedded",
            Self::Grpc => "cairn-grpc",
            Self::GrpcUnary => "cairn-grpc-unary",
            Self::Raw => "raw/io_uring",
        }
    }

    /// Finds it by that name, or by fio's where the two mean the same.
    pub fn parse(text: &str) -> Result<Self, String> {
        Ok(match text {
            "cairn-embedded" | "embedded" => Self::Embedded,
            "cairn-grpc" | "grpc" => Self::Grpc,
            "cairn-grpc-unary" | "grpc-unary" => Self::GrpcUnary,
            "raw/io_uring" | "raw" | "io_uring" => Self::Raw,
            _ => {
                return Err(format!(
                    "{text:?} is none of cairn-embedded, cairn-grpc, cairn-grpc-unary, raw/io_uring \
                     (io_uring means the last)"
                ));
            }
        })
    }

    /// Whether it has records; the bare device has blocks only.
    pub fn has_records(self) -> bool {
        self != Self::Raw
    }
}

/// One kind of operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// Reads a record.
    Read,
    /// Reads some records of one partition.
    Scan,
    /// Puts a record in the place of the one there is.
    Write,
    /// Writes one bin of a record and keeps the others.
    Update,
    /// Writes a record that was not there.
    Insert,
    /// Reads a record and writes one bin, unless somebody else wrote meanwhile.
    Modify,
    /// Deletes a record.
    Delete,
}

impl Op {
    /// All of them, in the order of [`Op::index`].
    pub const ALL: [Self; 7] = [
        Self::Read,
        Self::Scan,
        Self::Write,
        Self::Update,
        Self::Insert,
        Self::Modify,
        Self::Delete,
    ];

    /// Its place in tables.
    pub fn index(self) -> usize {
        self as usize
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        ["read", "scan", "write", "update", "insert", "rmw", "delete"][self.index()]
    }

    /// Whether it counts as a read in fio's two sides.
    pub fn is_read(self) -> bool {
        matches!(self, Self::Read | Self::Scan)
    }
}

/// Shares of the operations in per cent; 100 together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mix(pub [u8; Op::ALL.len()]);

impl Mix {
    /// Reads and whole writes alone.
    pub fn reads(percent: u8) -> Self {
        let mut shares = [0; Op::ALL.len()];
        shares[Op::Read.index()] = percent;
        shares[Op::Write.index()] = 100 - percent;
        Self(shares)
    }

    /// `read:95,insert:5`.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut shares = [0u8; Op::ALL.len()];
        for part in text.split(',') {
            let (name, share) = part.trim().split_once(':').unwrap_or((part, ""));
            let op = Op::ALL.into_iter().find(|op| op.name() == name);
            let (op, share) = op.zip(share.parse::<u8>().ok()).ok_or_else(|| {
                format!("{part:?} is not OPERATION:PERCENT; operations are read, scan, write, update, insert, rmw, delete")
            })?;
            shares[op.index()] = shares[op.index()].saturating_add(share);
        }
        match shares.iter().map(|share| u32::from(*share)).sum::<u32>() {
            100 => Ok(Self(shares)),
            sum => Err(format!("the shares are {sum} per cent together, not 100")),
        }
    }

    /// The share of an operation.
    pub fn share(&self, op: Op) -> u8 {
        self.0[op.index()]
    }

    /// Draws one.
    pub fn draw(&self, random: &mut Random) -> Op {
        let mut at = random.below(100) as u8;
        for op in Op::ALL {
            match at.checked_sub(self.share(op)) {
                Some(rest) => at = rest,
                None => return op,
            }
        }
        Op::Read
    }

    /// Whether anything is written.
    pub fn writes(&self) -> bool {
        Op::ALL.into_iter().any(|op| !op.is_read() && self.share(op) > 0)
    }

    /// Whether anything needs records that are there already.
    pub fn needs_records(&self) -> bool {
        self.share(Op::Write) + self.share(Op::Insert) < 100
    }

    /// Reads and scans, in per cent.
    pub fn read_share(&self) -> u8 {
        self.share(Op::Read) + self.share(Op::Scan)
    }
}

/// How many bytes: fixed, a range, or a distribution.
#[derive(Clone, Debug, PartialEq)]
pub enum Sizes {
    /// Always so many.
    Fixed(u64),
    /// Each size from the first to the second as often as any other.
    Range(u64, u64),
    /// Sizes with their weights.
    Split(Vec<(u64, u64)>),
}

impl Sizes {
    /// `512-4k`.
    pub fn parse_range(text: &str) -> Result<Self, String> {
        let (low, high) = text.split_once('-').ok_or("a range is written 512-4k")?;
        match (units::bytes(low)?, units::bytes(high)?) {
            (low, high) if low <= high => Ok(Self::Range(low, high)),
            _ => Err(format!("{text:?}: the first size is the larger one")),
        }
    }

    /// `4k/60:8k/40`; weights left out share the rest.
    pub fn parse_split(text: &str) -> Result<Self, String> {
        let mut parts = Vec::new();
        for part in text.split(':') {
            let (size, weight) = part.split_once('/').unwrap_or((part, ""));
            let weight = match weight {
                "" => None,
                weight => Some(
                    weight
                        .parse::<u64>()
                        .map_err(|_| format!("{part:?} is not SIZE/PERCENT, as in 4k/60:8k/40"))?,
                ),
            };
            parts.push((units::bytes(size)?, weight));
        }
        let given: u64 = parts.iter().filter_map(|(_, weight)| *weight).sum();
        let open = parts.iter().filter(|(_, weight)| weight.is_none()).count() as u64;
        if given > 100 || (open == 0 && given != 100) {
            return Err(format!("the shares of {text:?} are {given} per cent together, not 100"));
        }
        // In hundredths of a per cent, so that three sizes without shares have a third each, nearly.
        let rest = ((100 - given) * 100).checked_div(open).unwrap_or(0);
        Ok(Self::Split(
            parts.into_iter().map(|(size, w)| (size, w.map_or(rest, |w| w * 100))).collect(),
        ))
    }

    /// Draws one.
    pub fn draw(&self, random: &mut Random) -> u64 {
        match self {
            Self::Fixed(size) => *size,
            Self::Range(low, high) => low + random.below(high - low + 1),
            Self::Split(parts) => {
                let sum: u64 = parts.iter().map(|(_, weight)| weight).sum();
                let mut at = random.below(sum.max(1));
                for (size, weight) in parts {
                    match at.checked_sub(*weight) {
                        Some(rest) => at = rest,
                        None => return *size,
                    }
                }
                parts[0].0
            }
        }
    }

    /// The smallest and the largest.
    pub fn bounds(&self) -> (u64, u64) {
        match self {
            Self::Fixed(size) => (*size, *size),
            Self::Range(low, high) => (*low, *high),
            Self::Split(parts) => {
                let sizes = parts.iter().map(|(size, _)| *size);
                (sizes.clone().min().unwrap_or(0), sizes.max().unwrap_or(0))
            }
        }
    }
}

impl std::fmt::Display for Sizes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Fixed(size) => write!(f, "{size}"),
            Self::Range(low, high) => write!(f, "{low}-{high}"),
            Self::Split(parts) => {
                for (index, (size, weight)) in parts.iter().enumerate() {
                    let colon = if index > 0 { ":" } else { "" };
                    write!(f, "{colon}{size}/{}", *weight as f64 / 100.0)?;
                }
                Ok(())
            }
        }
    }
}

/// How keys, or blocks, are chosen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Distribution {
    /// Each as often as any other.
    Uniform,
    /// The n-th most popular with a frequency of 1/n^theta.
    Zipf(f64),
    /// The share `1 - h` of all choices falls on the share `h` of the keys, and so on within it (self-similar).
    Pareto(f64),
    /// As Zipf, the newest being the most popular.
    Latest(f64),
    /// One after the other, each thread through a part of its own.
    Sequential,
}

/// YCSB's theta.
pub const THETA: f64 = 0.99;

impl Distribution {
    /// Parses fio's words, and ours.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (name, argument) = match text.split_once(':') {
            Some((name, argument)) => (name, Some(argument)),
            None => (text, None),
        };
        let number = |default: f64, fine: &dyn Fn(f64) -> bool, what: &str| match argument {
            None => Ok(default),
            Some(argument) => argument
                .parse()
                .ok()
                .filter(|number| fine(*number))
                .ok_or(format!("{text:?}: {what}")),
        };
        let theta = "theta is 0 or more and less than 5";
        let is_theta = |theta: f64| (0.0..5.0).contains(&theta);
        Ok(match name {
            "random" | "uniform" if argument.is_none() => Self::Uniform,
            "sequential" if argument.is_none() => Self::Sequential,
            "zipf" => Self::Zipf(number(THETA, &is_theta, theta)?),
            "latest" => Self::Latest(number(THETA, &is_theta, theta)?),
            "pareto" => {
                let is_share = |h: f64| h > 0.0 && h < 0.5;
                Self::Pareto(number(0.2, &is_share, "h is more than 0 and less than 0.5")?)
            }
            _ => {
                return Err(format!(
                    "{text:?} is none of random, zipf:THETA, pareto:H, latest:THETA, sequential"
                ));
            }
        })
    }
}

impl std::fmt::Display for Distribution {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Uniform => f.write_str("random"),
            Self::Zipf(theta) => write!(f, "zipf:{theta}"),
            Self::Pareto(h) => write!(f, "pareto:{h}"),
            Self::Latest(theta) => write!(f, "latest:{theta}"),
            Self::Sequential => f.write_str("sequential"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sizes and operations come in the shares asked for.
    #[test]
    fn draws_have_their_shares() {
        let mut random = Random::new(1);
        let sizes = Sizes::parse_split("512/60:4k/30:64k").unwrap();
        let mix = Mix::parse("read:95,insert:5").unwrap();
        let draws = 100_000;
        let small = (0..draws).filter(|_| sizes.draw(&mut random) == 512).count();
        let large = (0..draws).filter(|_| sizes.draw(&mut random) == 64 << 10).count();
        let inserts = (0..draws).filter(|_| mix.draw(&mut random) == Op::Insert).count();
        for (found, wanted) in [(small, 60_000), (large, 10_000), (inserts, 5_000)] {
            assert!(found.abs_diff(wanted) < 600, "{found} of {wanted}");
        }
        assert!((0..1000).all(|_| (100..=200).contains(&Sizes::Range(100, 200).draw(&mut random))));
    }

    /// What does not add up is refused.
    #[test]
    fn wrong_shares_are_refused() {
        assert!(Mix::parse("read:95").is_err() && Mix::parse("frob:100").is_err());
        for text in ["4k/60", "4k/60:8k/50", "4k/x", "", "/100"] {
            assert!(Sizes::parse_split(text).is_err(), "{text:?}");
        }
        assert!(Sizes::parse_range("4k").is_err() && Sizes::parse_range("8k-4k").is_err());
        for text in ["zipf:x", "zipf:9", "zipf:-1", "normal", "pareto:0.7", "random:1"] {
            assert!(Distribution::parse(text).is_err(), "{text:?}");
        }
    }
}
