//! The hash slot of a key of bytes, as Redis Cluster defines it.
//!
//! Public, so that every client of that protocol knows where a key belongs. Keys that share a part in braces share their slot, and with it their
//! partition.

/// How many slots there are.
pub const SLOTS: u16 = 16_384;

/// CRC-16 of every byte: polynomial 0x1021, from the top bit down, starting at 0.
static CRC: [u16; 256] = crc_table();

const fn crc_table() -> [u16; 256] {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = (byte as u16) << 8;
        let mut bit = 0;
        while bit < 8 {
            crc = crc << 1 ^ if crc >> 15 == 1 { 0x1021 } else { 0 };
            bit += 1;
        }
        table[byte] = crc;
        byte += 1;
    }
    table
}

/// The slot of `key`, below [`SLOTS`]: CRC-16 of the key, or of what stands between its first `{` and the next `}` if that is not empty.
pub fn hash_slot(key: &[u8]) -> u16 {
    let crc = |crc: u16, byte: &u8| crc << 8 ^ CRC[usize::from((crc >> 8) as u8 ^ byte)];
    tag(key).unwrap_or(key).iter().fold(0, crc) % SLOTS
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
}
