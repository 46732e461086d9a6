//! Owns the lives of keys: far ones, which no run outlasts and no two of which are equal by chance (so that GT and LT do not hang on a
//! millisecond), and those that are over or illegal. A life of moments is `Step::Moment`'s.

use crate::chance::Chance;

/// How a life is told.
#[derive(Clone, Copy)]
pub enum Unit {
    Seconds,
    Milliseconds,
    /// Seconds since 1970.
    At,
    /// Milliseconds since 1970.
    AtMilliseconds,
}

const OVER_OR_ILLEGAL: &[&str] = &[
    "0",
    "-1",
    "-100",
    "abc",
    "",
    "1.5",
    " 5",
    "9223372036854775807",
    "-9223372036854775808",
    "9223372036854775808",
];

/// A life: far, mostly; else over or illegal.
pub fn life(chance: &mut Chance, unit: Unit) -> String {
    if chance.one_in(7) { chance.pick(OVER_OR_ILLEGAL).into() } else { far(chance, unit) }
}

pub fn far(chance: &mut Chance, unit: Unit) -> String {
    let seconds = chance.between(10_000, 900_000_000);
    let fraction = chance.between(0, 999);
    // The year 2100, for instants.
    let instant = 4_102_444_800 + seconds;
    match unit {
        Unit::Seconds => seconds.to_string(),
        Unit::Milliseconds => (seconds * 1000 + fraction).to_string(),
        Unit::At => instant.to_string(),
        Unit::AtMilliseconds => (instant * 1000 + fraction).to_string(),
    }
}

/// An option of SET and GETEX with its life.
pub fn option(chance: &mut Chance) -> (&'static str, String) {
    let (word, unit) = match chance.below(4) {
        0 => ("EX", Unit::Seconds),
        1 => ("PX", Unit::Milliseconds),
        2 => ("EXAT", Unit::At),
        _ => ("PXAT", Unit::AtMilliseconds),
    };
    // SET takes an instant that is over, and keeps a key that nobody sees until somebody looks: `Step::Moment` does that.
    let life = match unit {
        Unit::At | Unit::AtMilliseconds => far(chance, unit),
        _ => life(chance, unit),
    };
    (word, life)
}
