//! Several operations on one record, applied as one.

use super::{Namespace, Operated, Operation, Outcome, Record, write::NewRecord};
use crate::{
    error::Error,
    format::BodyWriter,
    model::{InvalidValue, Key, Value, WritePolicy, check_bin_name, limits},
};

/// The bins of a record while operations work on them.
struct Bins {
    bins: Vec<(Box<str>, Value)>,
    /// Whether the record existed and was not deleted by an operation.
    exists: bool,
    changed: bool,
    deleted: bool,
    answers: Vec<(Box<str>, Value)>,
    /// What the answers take in memory, in bytes.
    answered: usize,
}

/// Most bytes of memory that the answers of one operate take.
const ANSWERS_MAX: usize = 32 << 20;

/// About how many bytes of memory a value takes.
fn weight(value: &Value) -> usize {
    let own = match value {
        Value::Str(text) => text.len(),
        Value::Bytes(bytes) => bytes.len(),
        Value::List(items) => items.iter().map(weight).sum(),
        Value::Map(pairs) => pairs.iter().map(|(key, value)| weight(key) + weight(value)).sum(),
        Value::Nil | Value::Bool(_) | Value::Int(_) | Value::Double(_) => 0,
    };
    own + size_of::<(Box<str>, Value)>()
}

impl Namespace {
    /// Applies `operations` in order, all or none; other writers see the record before or after, never between.
    ///
    /// # Errors
    ///
    /// [`Error::BinType`] when an operation does not fit its bin; otherwise as [`Self::put`].
    pub async fn operate(
        &self,
        key: &Key,
        operations: &[Operation],
        policy: &WritePolicy,
    ) -> Result<Outcome<Operated>, Error> {
        if operations.is_empty() || operations.len() > limits::OPERATIONS_MAX {
            return Err(Error::InvalidRequest("operate takes 1 to 4096 operations"));
        }
        let write = self.begin(key, policy)?;
        loop {
            let seen = self.see(&write).await?;
            if let Some(refused) = self.refuse(&write, &seen).await? {
                return Ok(refused);
            }
            let Some(old) = self.old(&write, &seen, true).await? else { continue };
            let mut bins = Bins::new(old.as_ref())?;
            operations.iter().try_for_each(|operation| bins.apply(operation))?;
            if !bins.changed {
                return Ok(match old {
                    Some(old) => Outcome::Done(Operated {
                        metadata: Some(old.metadata()),
                        bins: bins.answers,
                    }),
                    None => Outcome::NotFound,
                });
            }
            if !bins.exists && old.is_none() {
                // Created and deleted again, or nothing to delete.
                return Ok(Outcome::NotFound);
            }
            let new = match bins.exists {
                true => {
                    // A record that keeps its bins keeps its void time only if asked to; one made anew has none to keep.
                    let kept = old.as_ref().filter(|_| !bins.deleted);
                    NewRecord::Record(self.void_time(policy.ttl, kept)?)
                }
                false => NewRecord::Tombstone,
            };
            let exists = bins.exists;
            let attempt = self.attempt(&write, &seen, new, |body| match exists {
                true => bins.fill(body),
                false => Ok(()),
            })?;
            if let Some(metadata) = self.conclude(&write, attempt).await? {
                let metadata = exists.then_some(metadata);
                return Ok(Outcome::Done(Operated { metadata, bins: bins.answers }));
            }
        }
    }
}

impl Bins {
    fn new(old: Option<&Record>) -> Result<Self, Error> {
        let mut bins = Vec::new();
        if let Some(old) = old {
            let malformed = |_| Error::InvalidRequest("the stored record cannot be decoded");
            for bin in old.bins().map_err(malformed)? {
                let (name, value) = bin.map_err(malformed)?;
                bins.push((name.into(), value.to_value().map_err(malformed)?));
            }
        }
        let exists = old.is_some();
        Ok(Self { bins, exists, changed: false, deleted: false, answers: Vec::new(), answered: 0 })
    }

    fn apply(&mut self, operation: &Operation) -> Result<(), Error> {
        match operation {
            Operation::Read(name) => {
                check_bin_name(name)?;
                let value = self.find(name).map_or(Value::Nil, |at| self.bins[at].1.clone());
                self.answer(name.clone(), value)?;
            }
            Operation::ReadAll => {
                for at in 0..self.bins.len() {
                    let (name, value) = self.bins[at].clone();
                    self.answer(name, value)?;
                }
            }
            Operation::Write(name, value) => self.set(name, value.clone())?,
            Operation::Add(name, value) => self.change(name, "add", value, add)?,
            Operation::Append(name, value) => self.change(name, "append", value, append)?,
            Operation::Prepend(name, value) => self.change(name, "prepend", value, prepend)?,
            Operation::Touch => {
                if !self.exists {
                    return Err(Error::InvalidRequest(
                        "touch in operate needs a record that exists",
                    ));
                }
                self.changed = true;
            }
            Operation::Delete => {
                self.bins.clear();
                self.changed = true;
                self.deleted = true;
                self.exists = false;
            }
        }
        Ok(())
    }

    /// Adds to what the reads answer, which has a bound: many reads of a large record would fill the memory.
    fn answer(&mut self, name: Box<str>, value: Value) -> Result<(), Error> {
        self.answered += weight(&value) + name.len();
        if self.answered > ANSWERS_MAX {
            return Err(Error::InvalidRequest("the reads of one operate answer 32 MiB at most"));
        }
        self.answers.push((name, value));
        Ok(())
    }

    fn find(&self, name: &str) -> Option<usize> {
        self.bins.iter().position(|(bin, _)| **bin == *name)
    }

    fn set(&mut self, name: &str, value: Value) -> Result<(), Error> {
        check_bin_name(name)?;
        value.check()?;
        self.changed = true;
        match (self.find(name), value) {
            (Some(at), Value::Nil) => drop(self.bins.remove(at)),
            (None, Value::Nil) => {}
            (Some(at), value) => self.bins[at].1 = value,
            (None, value) => self.bins.push((name.into(), value)),
        }
        self.exists = true;
        if self.bins.len() > limits::BINS_MAX {
            return Err(InvalidValue::TooManyBins(self.bins.len()).into());
        }
        Ok(())
    }

    /// Puts `work(old value, operand)` into a bin.
    fn change(
        &mut self,
        name: &str,
        operation: &'static str,
        operand: &Value,
        work: impl FnOnce(&Value, &Value) -> Option<Value>,
    ) -> Result<(), Error> {
        let old = self.find(name).map_or(&Value::Nil, |at| &self.bins[at].1);
        let Some(new) = work(old, operand) else {
            let wanted = if operation == "add" {
                "two ints or two doubles"
            } else {
                "two strings or two bytes"
            };
            let found = if *old == Value::Nil { operand.kind() } else { old.kind() };
            return Err(Error::BinType { bin: name.into(), operation, found, wanted });
        };
        self.set(name, new)
    }

    fn fill(&self, body: &mut Vec<u8>) -> Result<(), Error> {
        let mut writer = BodyWriter::new(body);
        for (name, value) in &self.bins {
            writer.bin(name, value)?;
        }
        match writer.finish()? {
            0 => Err(Error::InvalidRequest(
                "the record would be left without bins; delete it instead",
            )),
            _ => Ok(()),
        }
    }
}

fn add(old: &Value, operand: &Value) -> Option<Value> {
    Some(match (old, operand) {
        (Value::Int(a), Value::Int(b)) => Value::Int(a.wrapping_add(*b)),
        (Value::Double(a), Value::Double(b)) => Value::Double(a + b),
        (Value::Nil, Value::Int(_) | Value::Double(_)) => operand.clone(),
        _ => return None,
    })
}

fn append(old: &Value, operand: &Value) -> Option<Value> {
    Some(match (old, operand) {
        (Value::Str(a), Value::Str(b)) => Value::Str([&**a, &**b].concat().into()),
        (Value::Bytes(a), Value::Bytes(b)) => Value::Bytes([&a[..], b].concat()),
        (Value::Nil, Value::Str(_) | Value::Bytes(_)) => operand.clone(),
        _ => return None,
    })
}

fn prepend(old: &Value, operand: &Value) -> Option<Value> {
    match old {
        Value::Nil => append(old, operand),
        _ => append(operand, old),
    }
}
