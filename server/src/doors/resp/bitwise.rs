//! Bits of a string: bit 0 is the highest of the first byte.

/// The number that `width` bits (1 to 64) from bit `offset` on are; what lies behind the string's end is 0.
pub fn field(bytes: &[u8], offset: u64, width: u32) -> u64 {
    let (first, last) = (offset / 8, (offset + u64::from(width) - 1) / 8);
    let byte =
        |at: u64| usize::try_from(at).ok().and_then(|at| bytes.get(at)).copied().unwrap_or(0);
    let number = (first..=last).fold(0u128, |number, at| number << 8 | u128::from(byte(at)));
    (number >> behind(offset, width)) as u64 & (u64::MAX >> (64 - width))
}

/// Puts a number's lowest `width` bits (1 to 64) at bit `offset`; what would lie behind the string's end is dropped.
pub fn put_field(bytes: &mut [u8], offset: u64, width: u32, number: u64) {
    let (first, last) = (offset / 8, (offset + u64::from(width) - 1) / 8);
    let behind = behind(offset, width);
    let mask = u128::from(u64::MAX >> (64 - width)) << behind;
    let number = u128::from(number) << behind & mask;
    for at in first..=last {
        let shift = 8 * (last - at);
        if let Some(byte) = usize::try_from(at).ok().and_then(|at| bytes.get_mut(at)) {
            *byte = *byte & !((mask >> shift) as u8) | (number >> shift) as u8;
        }
    }
}

/// Bits between the field and the end of its last byte.
fn behind(offset: u64, width: u32) -> u64 {
    (8 - (offset + u64::from(width)) % 8) % 8
}

/// How many bits from `first` to `last` are 1; both are in the string.
pub fn ones(bytes: &[u8], first: u64, last: u64) -> u64 {
    let (from, to) = ((first / 8) as usize, (last / 8) as usize);
    let all: u64 = bytes[from..=to].chunks(8).map(|word| u64::from(eight(word).count_ones())).sum();
    let before = bytes[from] & !(0xff >> (first % 8));
    let after = bytes[to] & !(0xff << (7 - last % 8));
    all - u64::from(before.count_ones()) - u64::from(after.count_ones())
}

/// The first bit from `first` to `last` that is `bit`; both are in the string.
pub fn first(bytes: &[u8], bit: bool, first: u64, last: u64) -> Option<u64> {
    let (from, to) = ((first / 8) as usize, (last / 8) as usize);
    let flip = if bit { 0 } else { 0xff };
    let head = (bytes[from] ^ flip) & (0xff >> (first % 8));
    let found = if head != 0 {
        from as u64 * 8 + u64::from(head.leading_zeros())
    } else {
        // Whole bytes of the other bit are passed over at the speed of a comparison.
        let at = from + 1 + bytes[from + 1..=to].iter().position(|byte| *byte != flip)?;
        at as u64 * 8 + u64::from((bytes[at] ^ flip).leading_zeros())
    };
    (found <= last).then_some(found)
}

fn eight(bytes: &[u8]) -> u64 {
    let mut word = [0; 8];
    word[..bytes.len()].copy_from_slice(bytes);
    u64::from_ne_bytes(word)
}

/// What is done with bits of several strings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Combine {
    /// 1 where all are.
    And,
    /// 1 where one is.
    Or,
    /// 1 where an odd number is.
    Xor,
    /// 1 where the only one is not.
    Not,
}

impl Combine {
    /// The strings combined; shorter ones have zeros behind them. Empty without any.
    pub fn all(self, strings: &[&[u8]]) -> Vec<u8> {
        let len = strings.iter().map(|string| string.len()).max().unwrap_or(0);
        let mut out = Vec::with_capacity(len);
        out.extend_from_slice(strings.first().copied().unwrap_or(&[]));
        out.resize(len, 0);
        for string in strings.iter().skip(1) {
            let (both, rest) = out.split_at_mut(string.len());
            let pairs = both.iter_mut().zip(*string);
            match self {
                Self::And => {
                    pairs.for_each(|(out, byte)| *out &= byte);
                    rest.fill(0);
                }
                Self::Or => pairs.for_each(|(out, byte)| *out |= byte),
                Self::Xor => pairs.for_each(|(out, byte)| *out ^= byte),
                Self::Not => {}
            }
        }
        if self == Self::Not {
            out.iter_mut().for_each(|byte| *byte = !*byte);
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BYTES: [u8; 11] = [0x80, 0xff, 0x00, 0x5a, 0xc3, 0x01, 0xfe, 0x00, 0x00, 0x10, 0xff];

    fn bit(bytes: &[u8], at: u64) -> bool {
        bytes.get((at / 8) as usize).is_some_and(|byte| byte >> (7 - at % 8) & 1 == 1)
    }

    /// Each by what the single bits say, at every offset and width.
    #[test]
    fn fields_are_their_bits() {
        for offset in 0..100 {
            for width in 1..=64 {
                let expected = (0..u64::from(width))
                    .fold(0, |number, at| number << 1 | u64::from(bit(&BYTES, offset + at)));
                assert_eq!(field(&BYTES, offset, width), expected, "{width} at {offset}");
                let number = 0x9e37_79b9_7f4a_7c15u64.rotate_left(width);
                let mut bytes = BYTES;
                put_field(&mut bytes, offset, width, number);
                for at in 0..88 {
                    let inside = (offset..offset + u64::from(width)).contains(&at);
                    let expected = match inside {
                        true => number >> (offset + u64::from(width) - 1 - at) & 1 == 1,
                        false => bit(&BYTES, at),
                    };
                    assert_eq!(bit(&bytes, at), expected, "{width} at {offset}: bit {at}");
                }
            }
        }
        assert_eq!(field(&BYTES, u64::from(u32::MAX), 64), 0);
    }

    /// Also ranges within one byte, and those whose ends cut bytes.
    #[test]
    fn counts_and_positions_are_of_the_range() {
        for from in 0..88 {
            for to in from..88 {
                let bits = || (from..=to).map(|at| (at, bit(&BYTES, at)));
                let expected = bits().filter(|(_, bit)| *bit).count() as u64;
                assert_eq!(ones(&BYTES, from, to), expected, "{from} to {to}");
                for wanted in [true, false] {
                    let expected = bits().find(|(_, bit)| *bit == wanted).map(|(at, _)| at);
                    assert_eq!(first(&BYTES, wanted, from, to), expected, "{from} to {to}");
                }
            }
        }
    }

    /// A shorter string is as if zeros stood behind it, whichever of them it is.
    #[test]
    fn strings_of_different_lengths_combine() {
        let (long, short): (&[u8], &[u8]) = (b"\xf0\x0f\xaa", b"\x3c");
        for pair in [[long, short], [short, long]] {
            assert_eq!(Combine::And.all(&pair), b"\x30\x00\x00");
            assert_eq!(Combine::Or.all(&pair), b"\xfc\x0f\xaa");
            assert_eq!(Combine::Xor.all(&pair), b"\xcc\x0f\xaa");
        }
        assert_eq!(Combine::Not.all(&[long]), b"\x0f\xf0\x55");
        assert_eq!(Combine::Or.all(&[]), b"");
    }
}
