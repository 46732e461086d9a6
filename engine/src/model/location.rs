//! Where a record lies, as the index keeps it: a place in 16-byte units and a size class.

/// The unit of placement on a device, in bytes: every record starts and ends on it.
pub const UNIT: u64 = 16;

/// A record's place in the namespace's address space, in units of [`UNIT`] bytes; 0 is never a record.
///
/// The address space is the devices of the namespace one behind the other, each from its first block to its last.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Location(u64);

impl Location {
    /// The location of byte `offset`, which is a multiple of [`UNIT`] and below [`super::limits::ADDRESS_SPACE`].
    pub fn from_offset(offset: u64) -> Self {
        debug_assert!(offset.is_multiple_of(UNIT) && offset < super::limits::ADDRESS_SPACE);
        Self(offset / UNIT)
    }

    /// The location of a number of units, below 2^40.
    pub fn from_units(units: u64) -> Self {
        debug_assert!(units < 1 << 40);
        Self(units)
    }

    /// The place in units.
    pub fn units(self) -> u64 {
        self.0
    }

    /// The place in bytes.
    pub fn offset(self) -> u64 {
        self.0 * UNIT
    }
}

impl std::fmt::Debug for Location {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "@{:#x}", self.offset())
    }
}

/// The space a record takes on its device, in one byte.
///
/// Exact in 16-byte units up to 2 KiB (classes 0 to 127 stand for 1 to 128 units); above, ten classes for each
/// doubling, and the record is padded to its class. So one byte tells exactly how much to read, and how much a dead
/// record gives back.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct SizeClass(pub u8);

/// Units of each class above the exact ones.
static COARSE_UNITS: [u32; 128] = coarse_units();

const fn coarse_units() -> [u32; 128] {
    // 2^(k/10) in 1/65536ths, k = 1..=10.
    const STEPS: [u64; 10] =
        [70_239, 75_281, 80_684, 86_475, 92_682, 99_334, 106_464, 114_105, 122_295, 131_072];
    let mut table = [0; 128];
    let mut class = 0;
    while class < 128 {
        table[class] = ((128u64 << (class / 10)) * STEPS[class % 10]).div_ceil(65_536) as u32;
        class += 1;
    }
    table
}

impl SizeClass {
    /// The largest record of any class, in bytes (more than the largest write block).
    pub const MAX_BYTES: u64 = (128 * UNIT) << 12;

    /// The smallest class that holds `bytes` (1 to [`Self::MAX_BYTES`]).
    pub fn for_bytes(bytes: u64) -> Self {
        debug_assert!((1..=Self::MAX_BYTES).contains(&bytes));
        let units = bytes.div_ceil(UNIT);
        if units <= 128 {
            return Self((units - 1) as u8);
        }
        let coarse = COARSE_UNITS.partition_point(|&size| u64::from(size) < units);
        Self(128 + coarse as u8)
    }

    /// How many bytes a record of this class takes.
    pub fn bytes(self) -> u64 {
        UNIT * match self.0 {
            exact @ 0..128 => u64::from(exact) + 1,
            coarse => u64::from(COARSE_UNITS[usize::from(coarse - 128)]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A record must fit its class, waste less than 8 %, and every class must be reachable: a wrong table would cut records short.
    #[test]
    fn every_size_fits_its_class_closely() {
        for units in (1..=SizeClass::MAX_BYTES / UNIT).step_by(7).chain(1..5000) {
            let bytes = units * UNIT - 3;
            let class = SizeClass::for_bytes(bytes);
            assert!(class.bytes() >= bytes, "{bytes}");
            assert!(class.bytes() <= bytes + bytes * 8 / 100 + UNIT, "{bytes} in {class:?}");
            if class.0 > 0 {
                assert!(SizeClass(class.0 - 1).bytes() < bytes);
            }
        }
    }
}
