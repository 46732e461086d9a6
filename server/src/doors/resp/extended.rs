//! Numbers with a fraction as `INCRBYFLOAT` counts them: with the 64-bit mantissa and the 15-bit exponent of x86's extended precision.
//!
//! Redis counts in C's `long double`, which is this on x86. A 64-bit double would differ in the third digit behind the point of a large
//! number, and so in what clients read back; here the results are the same digits, on every machine. Reading, adding and writing are
//! each exact and rounded once, to the nearest, to the even one of two as near.

use num_bigint::{BigInt, BigUint, Sign};

/// Longest text of a number, in bytes.
const TEXT_MAX: usize = 5119;
/// Bits of a mantissa.
const MANTISSA: i64 = 64;
/// Smallest exponent of a mantissa's last bit.
const EXPONENT_MIN: i64 = -16_445;
/// Every number is below two to the power of this.
const POWER_MAX: i64 = 16_384;
/// Digits written behind the point, at most.
const DIGITS: usize = 17;
/// Exponents beyond this are all the same, whatever digits stand before them.
const EXPONENT_BOUND: i64 = 100_000;

/// A number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extended {
    /// Larger than every number, or smaller.
    Infinite,
    /// `mantissa` times two to the power of `exponent`.
    Finite {
        /// Whether it is below zero.
        negative: bool,
        /// The digits.
        mantissa: u64,
        /// At least [`EXPONENT_MIN`].
        exponent: i32,
    },
}

impl Extended {
    /// Zero.
    pub const ZERO: Self = Self::Finite { negative: false, mantissa: 0, exponent: 0 };

    /// A number as C reads it: decimal or hexadecimal, with an exponent or not, or infinite; no space around it. `None` for everything
    /// else, and for numbers too large or too near to zero for any but zero and infinity.
    pub fn parse(text: &[u8]) -> Option<Self> {
        if text.len() > TEXT_MAX {
            return None;
        }
        let (negative, text) = match text {
            [b'-', text @ ..] => (true, text),
            [b'+', text @ ..] => (false, text),
            _ => (false, text),
        };
        if text.eq_ignore_ascii_case(b"inf") || text.eq_ignore_ascii_case(b"infinity") {
            return Some(Self::Infinite);
        }
        let (mantissa, exponent) = match text {
            [b'0', b'x' | b'X', text @ ..] => hexadecimal(text)?,
            _ => decimal(text)?,
        };
        Some(Self::Finite { negative, mantissa, exponent })
    }

    /// The sum; `None` when that is no number or infinite.
    pub fn sum(self, other: Self) -> Option<Self> {
        let (Self::Finite { exponent: one, .. }, Self::Finite { exponent: two, .. }) =
            (self, other)
        else {
            return None;
        };
        let exponent = one.min(two);
        let sum = self.scaled(exponent)? + other.scaled(exponent)?;
        let negative = sum.sign() == Sign::Minus;
        let (mantissa, exponent) = round(sum.magnitude(), exponent.into(), false)?;
        Some(Self::Finite { negative, mantissa, exponent })
    }

    /// How many times two to the power of `exponent` it is; its own exponent is not smaller.
    fn scaled(self, to: i32) -> Option<BigInt> {
        let Self::Finite { negative, mantissa, exponent } = self else { return None };
        let scaled = BigInt::from(mantissa) << u32::try_from(exponent - to).ok()?;
        Some(if negative { -scaled } else { scaled })
    }

    /// The number with 17 digits behind the point, but no zeros at its end.
    pub fn text(self) -> String {
        let Self::Finite { negative, mantissa, exponent } = self else { return "inf".into() };
        let digits = match u32::try_from(exponent) {
            Ok(exponent) => (BigUint::from(mantissa) << exponent).to_string(),
            Err(_) => fraction(mantissa, exponent.unsigned_abs()),
        };
        match negative && digits != "0" {
            true => format!("-{digits}"),
            false => digits,
        }
    }
}

/// `mantissa` divided by two to the power of `places`, which is not 0.
fn fraction(mantissa: u64, places: u32) -> String {
    const UNIT: u128 = 10u128.pow(DIGITS as u32);
    let scaled = u128::from(mantissa) * UNIT;
    // What is divided by more than this is nearer to nothing than to the last digit.
    let number = if places < u128::BITS {
        let (whole, rest, half) = (scaled >> places, scaled % (1 << places), 1 << (places - 1));
        whole + u128::from(rest > half || rest == half && whole % 2 == 1)
    } else {
        0
    };
    let text = format!("{}.{:0DIGITS$}", number / UNIT, number % UNIT);
    text.trim_end_matches('0').trim_end_matches('.').into()
}

/// Digits, perhaps with a point among them: the number they are without it, how many stand behind it, and what follows.
fn digits(text: &[u8], radix: u32) -> Option<(BigUint, i64, &[u8])> {
    let digit = |byte: &u8| (*byte as char).is_digit(radix);
    let run = |text: &[u8]| text.iter().take_while(|byte| digit(byte)).count();
    let (whole, rest) = text.split_at(run(text));
    let (part, rest) = match rest {
        [b'.', rest @ ..] => rest.split_at(run(rest)),
        _ => rest.split_at(0),
    };
    let number = BigUint::parse_bytes(&[whole, part].concat(), radix)?;
    Some((number, part.len() as i64, rest))
}

/// The exponent behind a number: 0 when nothing follows.
fn exponent(text: &[u8], letter: u8) -> Option<i64> {
    let [first, rest @ ..] = text else { return Some(0) };
    let (negative, digits) = match rest {
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] => (false, digits),
        _ => (false, rest),
    };
    if !first.eq_ignore_ascii_case(&letter) || digits.is_empty() {
        return None;
    }
    let mut exponent = 0i64;
    for digit in digits {
        let digit = digit.is_ascii_digit().then(|| i64::from(digit - b'0'))?;
        exponent = (exponent * 10 + digit).min(EXPONENT_BOUND);
    }
    Some(if negative { -exponent } else { exponent })
}

fn decimal(text: &[u8]) -> Option<(u64, i32)> {
    let (number, behind, rest) = digits(text, 10)?;
    let power = exponent(rest, b'e')? - behind;
    if number == BigUint::ZERO {
        return Some((0, 0));
    }
    // Two to the power of `bits` is above the number, of `bits - 1` not; a ten is between 3 and 4 bits.
    let bits = number.bits() as i64;
    if bits + 4 * power.min(0) + 3 * power.max(0) > POWER_MAX + 64 {
        return None;
    }
    if power < 0 && bits + 3 * power < EXPONENT_MIN - 64 {
        return None;
    }
    let ten = |power: i64| BigUint::from(10u8).pow(power.unsigned_abs() as u32);
    let (above, below) = match power < 0 {
        true => (number, ten(power)),
        false => (number * ten(power), BigUint::from(1u8)),
    };
    // So many places more that the quotient has at least one bit more than a mantissa.
    let places = (MANTISSA + 2 - (above.bits() as i64 - below.bits() as i64)).max(0);
    let above = above << places as u32;
    let (quotient, rest) = (&above / &below, &above % &below);
    nonzero(round(&quotient, -places, rest != BigUint::ZERO)?)
}

fn hexadecimal(text: &[u8]) -> Option<(u64, i32)> {
    let (number, behind, rest) = digits(text, 16)?;
    let power = exponent(rest, b'p')? - 4 * behind;
    if number == BigUint::ZERO {
        return Some((0, 0));
    }
    nonzero(round(&number, power, false)?)
}

fn nonzero(number: (u64, i32)) -> Option<(u64, i32)> {
    (number.0 != 0).then_some(number)
}

/// The mantissa and exponent nearest to `number` times two to the power of `exponent`, and a little more if `more`. `None` when it is
/// too large.
fn round(number: &BigUint, exponent: i64, more: bool) -> Option<(u64, i32)> {
    if *number == BigUint::ZERO {
        return Some((0, 0));
    }
    let bits = number.bits() as i64;
    let drop = (bits - MANTISSA).max(EXPONENT_MIN - exponent);
    let (mut mantissa, mut exponent) = (number.clone(), exponent);
    if drop > bits {
        return Some((0, 0));
    }
    if drop > 0 {
        let half = number.bit(drop as u64 - 1);
        let more = more || number.trailing_zeros().is_some_and(|zeros| (zeros as i64) < drop - 1);
        mantissa >>= drop as u32;
        exponent += drop;
        if half && (more || mantissa.bit(0)) {
            mantissa += 1u8;
        }
        if mantissa.bits() as i64 > MANTISSA {
            mantissa >>= 1;
            exponent += 1;
        }
    }
    let power = mantissa.bits() as i64 + exponent;
    let mantissa = u64::try_from(mantissa).ok()?;
    (power <= POWER_MAX).then_some((mantissa, i32::try_from(exponent).ok()?))
}

#[cfg(test)]
mod tests;
