//! A record's key as a program names it. Checked by the server, not here: there is one home for the rules.

use std::fmt;

use bytes::Bytes;
use cairn_proto::v1 as proto;

/// The user's own key. Keys of different kinds are different keys.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum UserKey {
    /// Text of 1 to 8192 bytes.
    Text(String),
    /// A signed 64-bit number.
    Int(i64),
    /// 1 to 8192 bytes.
    Bytes(Bytes),
}

/// A record's key: namespace, set and user key.
///
/// ```
/// use cairn_sdk::{Key, UserKey};
///
/// let by_name = Key::new("test", "users", "ada");
/// let by_number = Key::new("test", "users", 42);
/// let by_bytes = Key::new("test", "", vec![0xca, 0x1f]); // the empty set name means "no set"
/// assert_eq!(by_number.user_key(), UserKey::Int(42));
/// assert_ne!(by_name, by_bytes);
/// ```
#[derive(Clone, PartialEq)]
pub struct Key {
    inner: proto::Key,
}

impl Key {
    /// The key `user_key` in `set` of `namespace`. The empty set name means "no set".
    pub fn new(
        namespace: impl Into<String>,
        set: impl Into<String>,
        user_key: impl Into<UserKey>,
    ) -> Self {
        let user_key = match user_key.into() {
            UserKey::Text(text) => proto::key::UserKey::Text(text),
            UserKey::Int(number) => proto::key::UserKey::Number(number),
            UserKey::Bytes(bytes) => proto::key::UserKey::Binary(bytes.into()),
        };
        let inner =
            proto::Key { namespace: namespace.into(), set: set.into(), user_key: Some(user_key) };
        Self { inner }
    }

    /// The namespace's name.
    pub fn namespace(&self) -> &str {
        &self.inner.namespace
    }

    /// The set's name; empty for "no set".
    pub fn set(&self) -> &str {
        &self.inner.set
    }

    /// The user's own key.
    pub fn user_key(&self) -> UserKey {
        match &self.inner.user_key {
            Some(proto::key::UserKey::Text(text)) => UserKey::Text(text.clone()),
            Some(proto::key::UserKey::Number(number)) => UserKey::Int(*number),
            Some(proto::key::UserKey::Binary(bytes)) => UserKey::Bytes(bytes.clone().into()),
            None => UserKey::Bytes(Bytes::new()),
        }
    }

    pub(crate) fn proto(&self) -> &proto::Key {
        &self.inner
    }

    pub(crate) fn from_proto(inner: proto::Key) -> Self {
        Self { inner }
    }
}

impl Eq for Key {}

impl std::hash::Hash for Key {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.inner.namespace.hash(state);
        self.inner.set.hash(state);
        match &self.inner.user_key {
            Some(proto::key::UserKey::Text(text)) => (1u8, text).hash(state),
            Some(proto::key::UserKey::Number(number)) => (2u8, number).hash(state),
            Some(proto::key::UserKey::Binary(bytes)) => (3u8, bytes).hash(state),
            None => 0u8.hash(state),
        }
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({self})")
    }
}

/// `namespace/set/key`; bytes as `0x...`.
impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.inner.namespace, self.inner.set, self.user_key())
    }
}

impl fmt::Display for UserKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.write_str(text),
            Self::Int(number) => write!(f, "{number}"),
            Self::Bytes(bytes) => {
                f.write_str("0x")?;
                bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }
    }
}

macro_rules! user_key_from {
    ($($from:ty => |$value:ident| $key:expr;)*) => {$(
        impl From<$from> for UserKey {
            fn from($value: $from) -> Self {
                $key
            }
        }
    )*};
}

user_key_from! {
    &str => |text| Self::Text(text.into());
    String => |text| Self::Text(text);
    &String => |text| Self::Text(text.clone());
    i64 => |number| Self::Int(number);
    i32 => |number| Self::Int(number.into());
    u32 => |number| Self::Int(number.into());
    Vec<u8> => |bytes| Self::Bytes(bytes.into());
    &[u8] => |bytes| Self::Bytes(Bytes::copy_from_slice(bytes));
    Bytes => |bytes| Self::Bytes(bytes);
}
