//! Unpacking of LZF, in which Redis packs long strings of a dump. Nothing is packed here: a dump that is not packed is as good.
//!
//! A packed string is a row of pieces. A first byte below 32 says that so many bytes and one follow as they are. Another one repeats what
//! was unpacked before: its upper 3 bits are the length less 2 (7: plus a byte that follows), its lower 5 and the next byte how far back, less 1.

/// Whether `packed` may say `len` bytes: each of its bytes makes less than 100.
pub fn may_be(packed: &[u8], len: usize) -> bool {
    len / 100 <= packed.len()
}

/// Unpacks into exactly `len` bytes; `None` when `packed` does not say so many, or is not LZF. Never holds more than `len` bytes.
pub fn unpack(packed: &[u8], len: usize) -> Option<Vec<u8>> {
    // Nothing is reserved for what cannot come.
    if !may_be(packed, len) {
        return None;
    }
    let mut out = Vec::with_capacity(len);
    let mut rest = packed;
    while let [control, behind @ ..] = rest {
        rest = behind;
        let control = usize::from(*control);
        if control < 32 {
            let (plain, behind) = rest.split_at_checked(control + 1)?;
            if plain.len() > len - out.len() {
                return None;
            }
            out.extend_from_slice(plain);
            rest = behind;
            continue;
        }
        let mut count = control >> 5;
        if count == 7 {
            let (more, behind) = rest.split_first()?;
            count += usize::from(*more);
            rest = behind;
        }
        let (low, behind) = rest.split_first()?;
        rest = behind;
        let back = ((control & 31) << 8 | usize::from(*low)) + 1;
        let (count, from) = (count + 2, out.len().checked_sub(back)?);
        if count > len - out.len() {
            return None;
        }
        // What is repeated may reach into what the repetition makes.
        for at in from..from + count {
            out.push(out[at]);
        }
    }
    (out.len() == len).then_some(out)
}

#[cfg(test)]
mod tests {
    use super::unpack;

    /// What Redis 7.0 packed itself.
    #[test]
    fn what_redis_packed_is_unpacked() {
        let table: [(&[u8], Vec<u8>); 3] = [
            (b"\x01aa\xe0\x0a\x00", b"a".repeat(21)),
            (b"\x02aba\xe0\x1a\x01\x01ab", b"ab".repeat(20)),
            (b"\x01xx\xe0\x32\x00\x01xx", b"x".repeat(63)),
        ];
        for (packed, text) in table {
            assert_eq!(unpack(packed, text.len()), Some(text));
        }
        assert_eq!(unpack(b"\x02abc", 3), Some(b"abc".to_vec()));
        assert_eq!(unpack(b"", 0), Some(Vec::new()));
    }

    /// A payload comes from anybody: one that lies about lengths or places is refused, and makes no more than it said.
    #[test]
    fn what_lies_is_refused() {
        let table: [(&[u8], usize); 9] = [
            (b"\x02ab", 3),
            (b"\x02abc", 2),
            (b"\x02abc", 4),
            (b"\x20\x00", 3),
            (b"\x00a\x20\x01", 4),
            (b"\x00a\x20", 4),
            (b"\x00a\xe0", 10),
            (b"\x00a\xe0\xff\x00", 10),
            (b"\x00a", usize::MAX),
        ];
        for (packed, len) in table {
            assert_eq!(unpack(packed, len), None, "{packed:?} {len}");
        }
    }

    /// No bytes whatever make it panic, or make more than was asked for.
    #[test]
    fn any_bytes_are_refused_or_unpacked() {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 33) as usize
        };
        for _ in 0..20_000 {
            let packed: Vec<u8> = (0..next() % 24).map(|_| next() as u8).collect();
            let len = next() % 400;
            assert!(unpack(&packed, len).is_none_or(|out| out.len() == len), "{packed:?} {len}");
        }
    }
}
