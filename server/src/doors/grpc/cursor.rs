//! The cursor of a scan: 16 bytes that a client hands back unread.
//!
//! ```text
//! cursor := version:u8 = 1  has-after:u8  partition:u16  identity:u32  after:u64      all big-endian
//! ```
//!
//! `partition` counts in the partitions asked for; `identity` is a hash of namespace, set and partitions, so that the cursor of
//! another scan is refused instead of skipping records.

use crate::codes::Problem;

const VERSION: u8 = 1;
const LEN: usize = 16;

/// Where a scan goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// Index into the partitions asked for; one more than the last when the scan is complete.
    pub partition: usize,
    /// The tag behind which it goes on in that partition; `None` for its beginning.
    pub after: Option<u64>,
}

impl Cursor {
    /// The cursor's bytes.
    pub fn write(self, identity: u32) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(LEN);
        bytes.extend([VERSION, u8::from(self.after.is_some())]);
        bytes.extend((self.partition as u16).to_be_bytes());
        bytes.extend(identity.to_be_bytes());
        bytes.extend(self.after.unwrap_or(0).to_be_bytes());
        bytes
    }

    /// Reads a cursor of a scan over `partitions` partitions; `None` when the client gave none.
    pub fn read(bytes: &[u8], identity: u32, partitions: usize) -> Result<Option<Self>, Problem> {
        if bytes.is_empty() {
            return Ok(None);
        }
        let cursor = Self::parse(bytes).filter(|(_, of)| *of == identity).map(|(cursor, _)| cursor);
        match cursor.filter(|cursor| cursor.partition <= partitions) {
            Some(cursor) => Ok(Some(cursor)),
            None => Err(Problem::Invalid(
                "the cursor is not one of a scan over this namespace, set and these partitions"
                    .into(),
            )),
        }
    }

    fn parse(bytes: &[u8]) -> Option<(Self, u32)> {
        let bytes: [u8; LEN] = bytes.try_into().ok()?;
        let [VERSION, has_after @ 0..=1, p0, p1, i0, i1, i2, i3, after @ ..] = bytes else {
            return None;
        };
        let cursor = Self {
            partition: u16::from_be_bytes([p0, p1]).into(),
            after: (has_after == 1).then(|| u64::from_be_bytes(after)),
        };
        Some((cursor, u32::from_be_bytes([i0, i1, i2, i3])))
    }
}

/// What ties a cursor to its scan: FNV-1a, the same in every version of Cairn.
pub fn identity(namespace: &str, set: Option<&str>, partitions: &[u16]) -> u32 {
    let set = set.map_or(vec![0], |set| [&[1], set.as_bytes()].concat());
    let partitions = partitions.iter().flat_map(|partition| partition.to_be_bytes());
    let bytes = namespace.bytes().chain([0xff]).chain(set).chain([0xff]).chain(partitions);
    bytes.fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A cursor comes back as it was, and one of another scan, or any other bytes, is refused.
    #[test]
    fn only_its_own_scan_takes_a_cursor() {
        let identity_of = |set| identity("test", set, &[1, 2, 3]);
        for after in [None, Some(0), Some(u64::MAX)] {
            let cursor = Cursor { partition: 3, after };
            let bytes = cursor.write(identity_of(None));
            assert_eq!(Cursor::read(&bytes, identity_of(None), 3).unwrap(), Some(cursor));
            assert!(Cursor::read(&bytes, identity_of(Some("")), 3).is_err());
            assert!(Cursor::read(&bytes, identity_of(None), 2).is_err());
            for len in 1..bytes.len() {
                assert!(Cursor::read(&bytes[..len], identity_of(None), 3).is_err());
            }
        }
    }
}
