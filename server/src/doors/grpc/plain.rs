//! Gets and puts straight from the bytes of their messages: what most calls are, without the objects of the generated types.
//!
//! Only messages as every encoder writes them are read here. Anything else is [`Unread`]: the generated types read it, and say
//! what is wrong if something is. So this file decides nothing about what is valid.

use cairn_engine::model::{InvalidKey, Key, ReadPolicy, UserKey, Value, WritePolicy};
use cairn_proto::v1;
use prost::Message;

use super::{
    answer::Wanted,
    request::{self, EngineBins},
    wire::{Fields, Odd, Raw, unzigzag},
};
use crate::codes::Problem;

/// Why nothing was read.
#[derive(Debug)]
pub enum Unread {
    /// Left to the generated types.
    Odd,
    /// Read, and refused.
    Refused(Problem),
}

impl From<Odd> for Unread {
    fn from(_: Odd) -> Self {
        Self::Odd
    }
}

impl From<prost::DecodeError> for Unread {
    fn from(_: prost::DecodeError) -> Self {
        Self::Odd
    }
}

impl From<Problem> for Unread {
    fn from(problem: Problem) -> Self {
        Self::Refused(problem)
    }
}

impl From<InvalidKey> for Unread {
    fn from(error: InvalidKey) -> Self {
        Self::Refused(error.into())
    }
}

/// A `GetRequest`: namespace, key, bins and policy.
pub fn get(message: &[u8]) -> Result<(&str, Key, Wanted, ReadPolicy), Unread> {
    let (mut key, mut names, mut policy) = (None, Vec::new(), None);
    for field in Fields(message) {
        match field? {
            (1, Raw::Bytes(bytes)) if key.is_none() => key = Some(bytes),
            (2, name) => names.push(name.text()?.to_owned()),
            (3, Raw::Bytes(bytes)) if policy.is_none() => policy = Some(bytes),
            _ => return Err(Unread::Odd),
        }
    }
    let (namespace, key) = self::key(key.ok_or(Odd)?)?;
    let policy = policy.map(v1::ReadPolicy::decode).transpose()?;
    let policy = request::read_policy(policy)?;
    Ok((namespace, key, Wanted::named(names)?, policy))
}

/// A `PutRequest`: namespace, key, bins and policy.
pub fn put(message: &[u8]) -> Result<(&str, Key, EngineBins, WritePolicy), Unread> {
    let (mut key, mut bins, mut policy) = (None, Vec::new(), None);
    for field in Fields(message) {
        match field? {
            (1, Raw::Bytes(bytes)) if key.is_none() => key = Some(bytes),
            (2, bin) => bins.push(self::bin(bin.bytes()?)?),
            (3, Raw::Bytes(bytes)) if policy.is_none() => policy = Some(bytes),
            _ => return Err(Unread::Odd),
        }
    }
    let (namespace, key) = self::key(key.ok_or(Odd)?)?;
    let policy = policy.map(v1::WritePolicy::decode).transpose()?;
    let policy = request::write_policy(policy)?;
    Ok((namespace, key, bins, policy))
}

fn key(message: &[u8]) -> Result<(&str, Key), Unread> {
    let (mut namespace, mut set, mut user) = (None, None, None);
    for field in Fields(message) {
        match field? {
            (1, text) if namespace.is_none() => namespace = Some(text.text()?),
            (2, text) if set.is_none() => set = Some(text.text()?),
            (3, text) if user.is_none() => user = Some(UserKey::Str(text.text()?.into())),
            (4, Raw::Number(number)) if user.is_none() => {
                user = Some(UserKey::Int(unzigzag(number)))
            }
            (5, bytes) if user.is_none() => user = Some(UserKey::Bytes(bytes.bytes()?.to_vec())),
            _ => return Err(Unread::Odd),
        }
    }
    let key = Key::new(set.unwrap_or_default(), user.ok_or(Odd)?)?;
    Ok((namespace.ok_or(Odd)?, key))
}

fn bin(message: &[u8]) -> Result<(Box<str>, Value), Unread> {
    let (mut name, mut value) = (None, None);
    for field in Fields(message) {
        match field? {
            (1, text) if name.is_none() => name = Some(text.text()?),
            (2, Raw::Bytes(bytes)) if value.is_none() => value = Some(self::value(bytes)?),
            _ => return Err(Unread::Odd),
        }
    }
    Ok((name.ok_or(Odd)?.into(), value.unwrap_or(Value::Nil)))
}

fn value(message: &[u8]) -> Result<Value, Unread> {
    let mut fields = Fields(message);
    let Some(field) = fields.next() else { return Ok(Value::Nil) };
    let value = match field? {
        (1, Raw::Number(bool)) => Value::Bool(bool != 0),
        (2, Raw::Number(number)) => Value::Int(unzigzag(number)),
        (3, Raw::Fixed(bits)) => Value::Double(f64::from_bits(bits)),
        (4, text) => Value::Str(text.text()?.into()),
        (5, bytes) => Value::Bytes(bytes.bytes()?.to_vec()),
        // Lists and maps nest: their bounds are where all nesting is read.
        (6 | 7, Raw::Bytes(_)) => {
            return Ok(request::value(Some(v1::Value::decode(message)?))?);
        }
        _ => return Err(Unread::Odd),
    };
    if fields.next().is_some() { Err(Unread::Odd) } else { Ok(value) }
}

#[cfg(test)]
mod tests;
