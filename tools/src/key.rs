//! Keys on the command line: `namespace/set/key`.

use cairn_sdk::{Key, UserKey};
use clap::ValueEnum;

/// What kind of key the last part is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum KeyKind {
    /// The text as it stands.
    #[default]
    Text,
    /// A signed 64-bit number.
    Int,
    /// Hexadecimal digits, with or without `0x`.
    Bytes,
}

/// The key argument of a command.
#[derive(Debug, clap::Args)]
pub struct KeyArg {
    /// The record: namespace/set/key. The set may be empty (namespace//key); the key may hold further slashes
    #[arg(value_name = "NAMESPACE/SET/KEY")]
    key: String,
    /// Kind of the key; keys of different kinds are different keys
    #[arg(long, value_enum, default_value_t)]
    key_type: KeyKind,
}

impl KeyArg {
    /// The key, or what is wrong with it.
    pub fn parse(&self) -> crate::failure::Result<Key> {
        parse(&self.key, self.key_type).map_err(crate::failure::Failure::new)
    }
}

fn parse(text: &str, kind: KeyKind) -> Result<Key, String> {
    let mut parts = text.splitn(3, '/');
    let (Some(namespace), Some(set), Some(key)) = (parts.next(), parts.next(), parts.next()) else {
        return Err(format!("{text:?} is not a key; write it as namespace/set/key"));
    };
    if namespace.is_empty() || key.is_empty() {
        return Err(format!("{text:?}: the namespace and the key must not be empty"));
    }
    let user: UserKey = match kind {
        KeyKind::Text => key.into(),
        KeyKind::Int => key.parse::<i64>().map_err(|e| format!("key {key:?}: {e}"))?.into(),
        KeyKind::Bytes => {
            parse_hex(key).ok_or_else(|| format!("key {key:?} is not hexadecimal"))?.into()
        }
    };
    Ok(Key::new(namespace, set, user))
}

fn parse_hex(text: &str) -> Option<Vec<u8>> {
    let digits = text.strip_prefix("0x").unwrap_or(text).as_bytes();
    let (pairs, rest) = digits.as_chunks::<2>();
    let byte = |pair: &[u8; 2]| {
        let digit = |c: u8| char::from(c).to_digit(16);
        Some((digit(pair[0])? * 16 + digit(pair[1])?) as u8)
    };
    if rest.is_empty() { pairs.iter().map(byte).collect() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A key that is read differently from how it was written is a record that cannot be found again.
    #[test]
    fn keys_are_split_at_the_first_two_slashes() {
        let key = |text| parse(text, KeyKind::Text).unwrap();
        assert_eq!(key("test/users/ada"), Key::new("test", "users", "ada"));
        assert_eq!(key("test//a/b"), Key::new("test", "", "a/b"));
        assert_eq!(parse("t/s/-7", KeyKind::Int), Ok(Key::new("t", "s", -7)));
        assert_eq!(parse("t/s/0xCa1f", KeyKind::Bytes), Ok(Key::new("t", "s", vec![0xca, 0x1f])));
        for text in ["", "test", "test/users", "test/users/", "/users/ada"] {
            assert!(parse(text, KeyKind::Text).is_err(), "{text}");
        }
        assert!(parse("t/s/x", KeyKind::Int).is_err() && parse("t/s/abc", KeyKind::Bytes).is_err());
    }
}
