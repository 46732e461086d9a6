//! From a key to its identity: 12 public partition bits, then 116 bits of a seeded hash.

use xxhash_rust::xxh3::{Xxh3, xxh3_64, xxh3_64_with_secret, xxh3_128_with_secret};

use super::{
    Key, KeyRef,
    slot::{SLOTS, hash_slot},
};

/// How many slices the digest space has.
pub const PARTITIONS: usize = 4096;

/// Hash slots of a partition, in the kind that goes by them.
const SLOTS_EACH: u16 = (SLOTS as usize / PARTITIONS) as u16;

/// A record's identity: the partition in the top 12 bits, then seeded xxh3-128 bits.
///
/// The partition comes from a public function of the key, so that any client can compute it and reach the partition's
/// master in one hop. The other bits depend on the namespace's secret, so that nobody can choose keys that collide.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest(pub u128);

impl Digest {
    /// The partition this record belongs to, below [`PARTITIONS`].
    pub fn partition(self) -> u16 {
        (self.0 >> 116) as u16
    }

    /// The 64 seeded bits that follow the partition: what the index stores, and the order of a scan.
    pub fn tag(self) -> u64 {
        (self.0 >> 52) as u64
    }
}

impl std::fmt::Debug for Digest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// Which public function gives a key its partition. Stored in every device header as one byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum PartitionKind {
    /// The top 12 bits of unseeded xxh3-64 over kind byte, set length byte, set and key bytes.
    Xxh3 = 1,
    /// Keys of bytes by their Redis hash slot, four neighbouring slots to a partition, whatever their set; text and numbers as [`Self::Xxh3`].
    HashSlot = 2,
}

impl PartitionKind {
    /// Reads the byte of a device header; `None` when this version of Cairn does not know the function.
    pub fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            1 => Some(Self::Xxh3),
            2 => Some(Self::HashSlot),
            _ => None,
        }
    }

    /// The partition of `key`, below [`PARTITIONS`].
    pub fn partition(self, key: &Key) -> u16 {
        let key = key.borrowed();
        key.with_identity_bytes(|bytes| self.partition_of(key, bytes))
    }

    fn partition_of(self, key: KeyRef<'_>, identity: &[u8]) -> u16 {
        match (self, key.bytes()) {
            (Self::HashSlot, Some(bytes)) => hash_slot(bytes) / SLOTS_EACH,
            _ => (xxh3_64(identity) >> 52) as u16,
        }
    }
}

/// The namespace's hash secret: made once at random, kept in the device headers, never sent to a client.
#[derive(Clone, PartialEq, Eq)]
pub struct HashSecret(pub [u8; Self::LEN]);

impl HashSecret {
    /// Length in bytes: that of an xxh3 custom secret.
    pub const LEN: usize = 192;

    /// A new secret from the operating system's random source.
    pub fn random() -> Self {
        let mut bytes = [0; Self::LEN];
        getrandom::fill(&mut bytes).expect("the operating system has a random source");
        Self(bytes)
    }

    /// The digest of `key`: partition bits by `kind`, the others by xxh3-128 with this secret.
    pub fn digest(&self, kind: PartitionKind, key: &Key) -> Digest {
        self.digest_telling(kind, key.borrowed(), |_| ())
    }

    /// As [`Self::digest`], and tells the partition as soon as it is known.
    pub fn digest_telling(
        &self,
        kind: PartitionKind,
        key: KeyRef<'_>,
        tell: impl FnOnce(u16),
    ) -> Digest {
        key.with_identity_bytes(|bytes| {
            let partition = kind.partition_of(key, bytes);
            tell(partition);
            let seeded = xxh3_128_with_secret(bytes, &self.0);
            Digest(u128::from(partition) << 116 | seeded >> 12)
        })
    }

    /// The seeded 64-bit hash of a set's name, as footers and truncations store it; 0 is kept for "the whole namespace".
    pub fn set_hash(&self, set: &str) -> u64 {
        self.hash(b"set:", set.as_bytes()).max(1)
    }

    /// Seeds the checksums of all that lies in the blocks of the device with this UUID. The secret goes in, so that nobody can write
    /// a value that passes for a record.
    pub fn device_seed(&self, device: &[u8; 16]) -> u64 {
        self.hash(b"device:", device)
    }

    fn hash(&self, purpose: &[u8], bytes: &[u8]) -> u64 {
        let len = purpose.len() + bytes.len();
        let mut stack = [0u8; 96];
        if let Some(both) = stack.get_mut(..len) {
            // Every write asks for its set's hash: a hasher that takes its input in pieces sets up 700 bytes first.
            both[..purpose.len()].copy_from_slice(purpose);
            both[purpose.len()..].copy_from_slice(bytes);
            return xxh3_64_with_secret(both, &self.0);
        }
        self.hash_pieces(purpose, bytes)
    }

    fn hash_pieces(&self, purpose: &[u8], bytes: &[u8]) -> u64 {
        let mut hasher = Xxh3::with_secret(self.0);
        hasher.update(purpose);
        hasher.update(bytes);
        hasher.digest()
    }
}

impl std::fmt::Debug for HashSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("HashSecret(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::UserKey;

    fn key(set: &str, key: UserKey) -> Key {
        Key::new(set, key).unwrap()
    }

    /// Keys that differ only in kind or in where the set ends are different records: a user would otherwise overwrite one with the other.
    #[test]
    fn kind_and_set_boundary_are_part_of_the_identity() {
        let secret = HashSecret([7; HashSecret::LEN]);
        let all = [
            key("a", UserKey::Str("bc".into())),
            key("ab", UserKey::Str("c".into())),
            key("a", UserKey::Bytes(b"bc".to_vec())),
            key("", UserKey::Str("abc".into())),
            key("", UserKey::Int(1)),
            key("", UserKey::Bytes(1i64.to_le_bytes().to_vec())),
        ];
        let digests: std::collections::HashSet<_> =
            all.iter().map(|k| secret.digest(PartitionKind::Xxh3, k)).collect();
        assert_eq!(digests.len(), all.len());
    }

    /// A Redis client that sends a key to the owner of its slot must find it there, whatever its database; and what other clients compute for text
    /// and numbers must not change.
    #[test]
    fn keys_of_bytes_go_by_their_hash_slot() {
        let bytes = |set: &str, text: &str| key(set, UserKey::Bytes(text.into()));
        let kind = PartitionKind::HashSlot;
        assert_eq!(kind.partition(&bytes("", "123456789")), 12_739 / 4);
        assert_eq!(kind.partition(&bytes("db1", "foo")), 12_182 / 4);
        assert_eq!(kind.partition(&bytes("", "{foo}.a")), kind.partition(&bytes("s", "b{foo}")));
        for other in [UserKey::Str("foo".into()), UserKey::Int(7)] {
            let other = key("s", other);
            assert_eq!(kind.partition(&other), PartitionKind::Xxh3.partition(&other));
        }
    }

    /// Set hashes and checksum seeds are stored: however they are computed, they are the same.
    #[test]
    fn hashes_at_once_and_in_pieces_are_the_same() {
        let secret = HashSecret(std::array::from_fn(|at| (at * 37) as u8));
        for len in 0..200 {
            let name = vec![b'n'; len];
            for purpose in [&b"set:"[..], b"device:"] {
                assert_eq!(
                    secret.hash(purpose, &name),
                    secret.hash_pieces(purpose, &name),
                    "{len}"
                );
            }
        }
    }

    /// The partition is public: it must not depend on the secret, and it is the digest's top 12 bits.
    #[test]
    fn partition_ignores_the_secret() {
        let key = key("set", UserKey::Str("k".into()));
        for byte in 0..8 {
            let secret = HashSecret([byte; HashSecret::LEN]);
            let digest = secret.digest(PartitionKind::Xxh3, &key);
            assert_eq!(digest.partition(), PartitionKind::Xxh3.partition(&key));
        }
    }
}
