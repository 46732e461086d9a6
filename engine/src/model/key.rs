//! A user's key in a set.

use std::borrow::Cow;

use super::limits::{KEY_MAX, SET_NAME_MAX};

/// What tells the kinds of key apart, in hashes and on the device.
const TEXT: u8 = 1;
const NUMBER: u8 = 2;
const BYTES: u8 = 3;

/// The user's own key: text, a number or bytes. Keys of different kinds are different keys.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum UserKey {
    /// UTF-8 text of 1 to [`KEY_MAX`] bytes.
    Str(Box<str>),
    /// A signed 64-bit number.
    Int(i64),
    /// 1 to [`KEY_MAX`] bytes.
    Bytes(Vec<u8>),
}

/// A record's key: set and user key. Checked when made, so that every `Key` in the engine is a valid one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    set: Cow<'static, str>,
    user: UserKey,
}

/// Why a key was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidKey {
    /// The key has no bytes.
    #[error("the key is empty; a key has 1 to {KEY_MAX} bytes")]
    Empty,
    /// The key has more than [`KEY_MAX`] bytes.
    #[error("the key has {0} bytes; at most {KEY_MAX} are allowed")]
    TooLong(usize),
    /// The set's name has more than [`SET_NAME_MAX`] bytes.
    #[error("the set name has {0} bytes; at most {SET_NAME_MAX} are allowed")]
    SetTooLong(usize),
    /// The set's name has a control character.
    #[error("the set name has a control character")]
    SetControl,
}

impl Key {
    /// A key in `set`; the empty set name means "no set".
    pub fn new(set: impl Into<Box<str>>, user: UserKey) -> Result<Self, InvalidKey> {
        Self::of(Cow::Owned(String::from(set.into())), user)
    }

    /// The same in a set whose name the program has: it is not copied.
    pub fn in_known_set(set: &'static str, user: UserKey) -> Result<Self, InvalidKey> {
        Self::of(Cow::Borrowed(set), user)
    }

    fn of(set: Cow<'static, str>, user: UserKey) -> Result<Self, InvalidKey> {
        check_set_name(&set)?;
        let len = match &user {
            UserKey::Str(text) => text.len(),
            UserKey::Int(_) => 8,
            UserKey::Bytes(bytes) => bytes.len(),
        };
        match len {
            0 => Err(InvalidKey::Empty),
            1..=KEY_MAX => Ok(Self { set, user }),
            _ => Err(InvalidKey::TooLong(len)),
        }
    }

    /// The set's name; empty for "no set".
    pub fn set(&self) -> &str {
        &self.set
    }

    /// The user's key.
    pub fn user(&self) -> &UserKey {
        &self.user
    }

    /// As [`KeyRef::kind_byte`].
    pub fn kind_byte(&self) -> u8 {
        self.borrowed().kind_byte()
    }

    /// As [`KeyRef::with_user_bytes`].
    pub fn with_user_bytes<R>(&self, f: impl FnOnce(&[u8]) -> R) -> R {
        self.borrowed().with_user_bytes(f)
    }

    /// The same key, to be looked at.
    pub fn borrowed(&self) -> KeyRef<'_> {
        let user = match &self.user {
            UserKey::Str(text) => UserRef::Str(text),
            UserKey::Int(number) => UserRef::Int(*number),
            UserKey::Bytes(bytes) => UserRef::Bytes(bytes),
        };
        KeyRef { set: &self.set, user }
    }

    /// The user key from its kind byte and bytes; `None` when they do not fit each other.
    pub fn from_parts(set: &str, kind: u8, bytes: &[u8]) -> Option<Self> {
        let user = match kind {
            TEXT => UserKey::Str(std::str::from_utf8(bytes).ok()?.into()),
            NUMBER => UserKey::Int(i64::from_le_bytes(bytes.try_into().ok()?)),
            BYTES => UserKey::Bytes(bytes.to_vec()),
            _ => return None,
        };
        Self::new(set, user).ok()
    }
}

/// A key that lies in somebody else's memory: to be looked at, not to be kept. As valid as a [`Key`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyRef<'a> {
    set: &'a str,
    user: UserRef<'a>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum UserRef<'a> {
    Str(&'a str),
    Int(i64),
    Bytes(&'a [u8]),
}

impl<'a> KeyRef<'a> {
    /// A key of bytes in a set whose name the program has; `None` when [`Key::in_known_set`] would refuse it.
    pub fn of_bytes(set: &'static str, user: &'a [u8]) -> Option<Self> {
        let fits = check_set_name(set).is_ok() && (1..=KEY_MAX).contains(&user.len());
        fits.then_some(Self { set, user: UserRef::Bytes(user) })
    }

    /// The set's name; empty for "no set".
    pub fn set(self) -> &'a str {
        self.set
    }

    /// The byte that tells the kinds of key apart, in hashes and on the device: 1 text, 2 number, 3 bytes.
    pub fn kind_byte(self) -> u8 {
        match self.user {
            UserRef::Str(_) => TEXT,
            UserRef::Int(_) => NUMBER,
            UserRef::Bytes(_) => BYTES,
        }
    }

    /// Calls `f` with the key's bytes: text and bytes as they are, a number as 8 bytes little-endian.
    pub fn with_user_bytes<R>(self, f: impl FnOnce(&[u8]) -> R) -> R {
        match self.user {
            UserRef::Str(text) => f(text.as_bytes()),
            UserRef::Int(number) => f(&number.to_le_bytes()),
            UserRef::Bytes(bytes) => f(bytes),
        }
    }

    /// The key itself, if it is one of bytes.
    pub(super) fn bytes(self) -> Option<&'a [u8]> {
        match self.user {
            UserRef::Bytes(bytes) => Some(bytes),
            UserRef::Str(_) | UserRef::Int(_) => None,
        }
    }

    /// Calls `f` with the bytes every hash of the key is taken over: kind, set length, set, key.
    pub(super) fn with_identity_bytes<R>(self, f: impl FnOnce(&[u8]) -> R) -> R {
        self.with_user_bytes(|user| {
            let set = self.set.as_bytes();
            let len = 2 + set.len() + user.len();
            let mut stack = [0u8; 256];
            let mut heap = Vec::new();
            let buffer = if len <= stack.len() {
                &mut stack[..len]
            } else {
                heap.resize(len, 0);
                &mut heap[..]
            };
            buffer[0] = self.kind_byte();
            buffer[1] = set.len() as u8;
            buffer[2..2 + set.len()].copy_from_slice(set);
            buffer[2 + set.len()..].copy_from_slice(user);
            f(buffer)
        })
    }
}

/// Whether `name` can be the name of a set: at most [`SET_NAME_MAX`] bytes, no control character.
pub(crate) fn check_set_name(name: &str) -> Result<(), InvalidKey> {
    if name.len() > SET_NAME_MAX {
        return Err(InvalidKey::SetTooLong(name.len()));
    }
    if name.chars().any(char::is_control) {
        return Err(InvalidKey::SetControl);
    }
    Ok(())
}
