//! Numbers as Redis reads and writes them: strict where it is strict.

/// A signed 64-bit number in its one canonical form: no sign but '-', no leading zero, no space. Everything else is not a number.
pub fn integer(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text {
        [b'0'] => return Some(0),
        [b'-', rest @ ..] => (true, rest),
        _ => (false, text),
    };
    if !matches!(digits, [b'1'..=b'9', ..]) || digits.len() > 19 {
        return None;
    }
    let mut number = 0u64;
    for digit in digits {
        if !digit.is_ascii_digit() {
            return None;
        }
        number = number.checked_mul(10)?.checked_add(u64::from(digit - b'0'))?;
    }
    match negative {
        true => 0i64.checked_sub_unsigned(number),
        false => i64::try_from(number).ok(),
    }
}

/// A double with 17 significant digits and no trailing zeros, as C's `%.17g` writes it.
pub fn double(number: f64) -> String {
    const DIGITS: usize = 17;
    if number.is_nan() {
        return "nan".into();
    }
    if number.is_infinite() {
        return if number > 0.0 { "inf".into() } else { "-inf".into() };
    }
    let scientific = format!("{number:.*e}", DIGITS - 1);
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if exponent < -4 || exponent >= DIGITS as i32 {
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{}e{sign}{:02}", trimmed(mantissa), exponent.unsigned_abs());
    }
    let decimals = (DIGITS as i32 - 1 - exponent).max(0) as usize;
    trimmed(&format!("{number:.decimals$}")).into()
}

fn trimmed(number: &str) -> &str {
    match number.contains('.') {
        true => number.trim_end_matches('0').trim_end_matches('.'),
        false => number,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Clients rely on INCR refusing what is not plainly a number, and on both ends of the range.
    #[test]
    fn only_canonical_integers_are_numbers() {
        for number in [0, 1, -1, 10, i64::MAX, i64::MIN, 1 << 40] {
            assert_eq!(integer(number.to_string().as_bytes()), Some(number));
        }
        let not = [
            "",
            "-",
            "+1",
            "01",
            "-0",
            "-01",
            " 1",
            "1 ",
            "1a",
            "0x1",
            "00",
            "9223372036854775808",
            "-9223372036854775809",
            "99999999999999999999",
            "1.0",
            "1e3",
        ];
        for text in not {
            assert_eq!(integer(text.as_bytes()), None, "{text:?}");
        }
    }

    /// What C's printf writes, which every client has parsed for years.
    #[test]
    fn doubles_look_as_c_writes_them() {
        let table = [
            (0.0, "0"),
            (3.0, "3"),
            (0.1, "0.10000000000000001"),
            (1.5, "1.5"),
            (1e17, "1e+17"),
            (1e16, "10000000000000000"),
            (1e-5, "1.0000000000000001e-05"),
            (0.0001, "0.0001"),
            (-2.5e300, "-2.5000000000000001e+300"),
            (f64::INFINITY, "inf"),
        ];
        for (number, text) in table {
            assert_eq!(double(number), text);
        }
    }
}
