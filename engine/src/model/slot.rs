//! The hash slot of a key of bytes, as Redis Cluster defines it.
//!
//! Public, so that every client of that protocol knows where a key belongs. Keys that share a part in braces share their slot, and with it their
//! partition.

/// How many slots there are.
pub const SLOTS: u16 = 16_384;

/// How many bytes are taken at once.
const STEP: usize = 4;

/// CRC-16 of every byte with 0 to 3 zero bytes behind it: polynomial 0x1021, from the top bit down, starting at 0. With all four, what four bytes make of
/// the sum is looked up in four places that do not wait for each other (slicing, after Kounavis and Berry).
static CRC: [[u16; 256]; STEP] = crc_tables();

const fn crc_tables() -> [[u16; 256]; STEP] {
    let mut tables = [[0; 256]; STEP];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = (byte as u16) << 8;
        let mut behind = 0;
        while behind < STEP {
            let mut bit = 0;
            while bit < 8 {
                crc = crc << 1 ^ if crc >> 15 == 1 { 0x1021 } else { 0 };
                bit += 1;
            }
            tables[behind][byte] = crc;
            behind += 1;
        }
        byte += 1;
    }
    tables
}

fn crc(bytes: &[u8]) -> u16 {
    let [last, third, second, first] = &CRC;
    let at = |byte: u8| usize::from(byte);
    let (fours, rest) = bytes.as_chunks::<STEP>();
    let sum = fours.iter().fold(0_u16, |sum, [a, b, c, d]| {
        let [high, low] = sum.to_be_bytes();
        first[at(a ^ high)] ^ second[at(b ^ low)] ^ third[at(*c)] ^ last[at(*d)]
    });
    rest.iter().fold(sum, |sum, byte| sum << 8 ^ last[at((sum >> 8) as u8 ^ byte)])
}

/// The slot of `key`, below [`SLOTS`]: CRC-16 of the key, or of what stands between its first `{` and the next `}` if that is not empty.
pub fn hash_slot(key: &[u8]) -> u16 {
    crc(tag(key).unwrap_or(key)) % SLOTS
}

/// What stands in braces, and decides alone.
fn tag(key: &[u8]) -> Option<&[u8]> {
    let open = key.iter().position(|&byte| byte == b'{')?;
    let behind = &key[open + 1..];
    let close = behind.iter().position(|&byte| byte == b'}')?;
    (close > 0).then(|| &behind[..close])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A slot that differs from what clients compute sends them to the wrong node for ever.
    #[test]
    fn slots_are_those_that_clients_compute() {
        assert_eq!(hash_slot(b"123456789"), 12_739);
        assert_eq!(hash_slot(b"foo"), 12_182);
        assert_eq!(hash_slot(b"{user1000}.following"), hash_slot(b"user1000"));
        assert_eq!(hash_slot(b"foo{{bar}}zap"), hash_slot(b"{bar"));
        assert_eq!(hash_slot(b"foo{bar}{zap}"), hash_slot(b"bar"));
        // Nothing in the braces, or no end to them: the whole key decides.
        assert_ne!(hash_slot(b"foo{}{bar}"), hash_slot(b"bar"));
        assert_ne!(hash_slot(b"a{bar"), hash_slot(b"b{bar"));
        assert_eq!(hash_slot(b""), 0);
    }

    /// Four bytes at once make the same sum as one by one, whatever the length.
    #[test]
    fn sums_are_the_same_in_steps() {
        let bytes: Vec<u8> = (0..100).map(|at| (at * 89 + 7) as u8).collect();
        let single = |sum: u16, byte: &u8| sum << 8 ^ CRC[0][usize::from((sum >> 8) as u8 ^ byte)];
        for len in 0..=bytes.len() {
            assert_eq!(crc(&bytes[..len]), bytes[..len].iter().fold(0, single), "{len}");
        }
    }
}
