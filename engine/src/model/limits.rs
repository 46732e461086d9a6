//! Every fixed bound of the engine, in one place, asserted against each other at compile time.

/// Longest namespace name, in bytes of UTF-8 (at least 1).
pub const NAMESPACE_NAME_MAX: usize = 31;
/// Longest set name, in bytes of UTF-8 (0 means "no set").
pub const SET_NAME_MAX: usize = 63;
/// Longest user key, in bytes (at least 1).
pub const KEY_MAX: usize = 8 * 1024;
/// Longest bin name, in bytes of UTF-8 (at least 1).
pub const BIN_NAME_MAX: usize = 63;
/// Most bins in one record.
pub const BINS_MAX: usize = 32_767;
/// Deepest nesting of lists and maps; a scalar in a bin has depth 0.
pub const NESTING_MAX: usize = 32;
/// Most operations in one `operate`.
pub const OPERATIONS_MAX: usize = 4096;

/// Smallest write block, in bytes. Small ones are for tests; the configuration asks for 128 KiB or more.
pub const WRITE_BLOCK_MIN: u64 = 16 * 1024;
/// Largest write block, in bytes.
pub const WRITE_BLOCK_MAX: u64 = 16 * 1024 * 1024;
/// Fewest write blocks of a device, the one that holds its header included.
pub const BLOCKS_MIN: u64 = 8;
/// Smallest flush unit, in bytes.
pub const FLUSH_MIN: u64 = 4 * 1024;
/// Most devices of one namespace.
pub const DEVICES_MAX: usize = 64;
/// Most sets with a truncation that old records still depend on.
pub const TRUNCATIONS_MAX: usize = 2048;
/// Most bytes a namespace can address: 2^40 units of 16 bytes.
pub const ADDRESS_SPACE: u64 = (1 << 40) * super::UNIT;

const _: () = {
    // A record's header stores the set length in one byte and the key length in two.
    assert!(SET_NAME_MAX <= u8::MAX as usize);
    assert!(KEY_MAX <= u16::MAX as usize);
    assert!(BIN_NAME_MAX <= u8::MAX as usize);
    assert!(BINS_MAX <= u16::MAX as usize);
    assert!(WRITE_BLOCK_MIN.is_power_of_two() && WRITE_BLOCK_MAX.is_power_of_two());
    assert!(FLUSH_MIN <= WRITE_BLOCK_MIN);
    // A flush mark stores places in a block in 16-byte units in three bytes, a footer in bytes in four.
    assert!(WRITE_BLOCK_MAX / super::UNIT < 1 << 24 && WRITE_BLOCK_MAX < 1 << 32);
};
