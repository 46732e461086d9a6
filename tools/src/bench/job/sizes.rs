//! How large values or transfers are.

use super::units;
use crate::bench::random::Random;

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

#[cfg(test)]
mod tests {
    use super::*;

    /// Sizes come in the shares asked for, and those of a range all lie in it.
    #[test]
    fn draws_have_their_shares() {
        let mut random = Random::new(1);
        let sizes = Sizes::parse_split("512/60:4k/30:64k").unwrap();
        let draws = 100_000;
        let mut count = |wanted| (0..draws).filter(|_| sizes.draw(&mut random) == wanted).count();
        assert!(count(512).abs_diff(60_000) < 600 && count(64 << 10).abs_diff(10_000) < 600);
        assert!((0..1000).all(|_| (100..=200).contains(&Sizes::Range(100, 200).draw(&mut random))));
    }

    /// What does not add up is refused.
    #[test]
    fn wrong_shares_are_refused() {
        for text in ["4k/60", "4k/60:8k/50", "4k/x", "", "/100"] {
            assert!(Sizes::parse_split(text).is_err(), "{text:?}");
        }
        assert!(Sizes::parse_range("4k").is_err() && Sizes::parse_range("8k-4k").is_err());
    }
}
