//! From protobuf to the engine: keys, values, policies. Everything here comes from a client and is checked.

use cairn_engine::{
    Operation,
    model::{
        CommitLevel, Durability, ExistsPolicy, GenerationCheck, InvalidKey, InvalidValue, Key,
        ReadPolicy, Ttl, UserKey, Value, WritePolicy, limits::OPERATIONS_MAX,
    },
};
use cairn_proto::v1;

use crate::{codes::Problem, limits::DOOR_NESTING_MAX};

/// Bins as the engine takes them.
pub type EngineBins = Vec<(Box<str>, Value)>;

fn invalid(what: &'static str) -> Problem {
    Problem::Invalid(what.into())
}

/// Namespace and key.
pub fn key(key: Option<v1::Key>) -> Result<(String, Key), Problem> {
    let key = key.ok_or_else(|| invalid("the request has no key"))?;
    let user = match key.user_key.ok_or(InvalidKey::Empty)? {
        v1::key::UserKey::Text(text) => UserKey::Str(text.into()),
        v1::key::UserKey::Number(number) => UserKey::Int(number),
        v1::key::UserKey::Binary(bytes) => UserKey::Bytes(bytes),
    };
    Ok((key.namespace, Key::new(key.set, user)?))
}

/// A value; absent is nil.
pub fn value(value: Option<v1::Value>) -> Result<Value, Problem> {
    value_at(value, 0)
}

fn value_at(value: Option<v1::Value>, depth: usize) -> Result<Value, Problem> {
    use v1::value::Kind;
    Ok(match value.and_then(|value| value.kind) {
        None => Value::Nil,
        Some(Kind::Bool(b)) => Value::Bool(b),
        Some(Kind::Int(i)) => Value::Int(i),
        Some(Kind::Double(d)) => Value::Double(d),
        Some(Kind::String(s)) => Value::Str(s.into()),
        Some(Kind::Bytes(b)) => Value::Bytes(b),
        Some(Kind::List(_) | Kind::Map(_)) if depth >= DOOR_NESTING_MAX => {
            return Err(InvalidValue::TooDeep.into());
        }
        Some(Kind::List(list)) => {
            let values = list.values.into_iter().map(|item| value_at(Some(item), depth + 1));
            Value::List(values.collect::<Result<_, _>>()?)
        }
        Some(Kind::Map(map)) => {
            let pairs = map.entries.into_iter().map(|entry| {
                Ok((value_at(entry.key, depth + 1)?, value_at(entry.value, depth + 1)?))
            });
            Value::Map(pairs.collect::<Result<_, Problem>>()?)
        }
    })
}

fn bin(bin: v1::Bin) -> Result<(Box<str>, Value), Problem> {
    Ok((bin.name.into(), value(bin.value)?))
}

/// The bins of a write.
pub fn bins(bins: Vec<v1::Bin>) -> Result<EngineBins, Problem> {
    bins.into_iter().map(bin).collect()
}

/// The operations on one record.
pub fn operations(operations: Vec<v1::Operation>) -> Result<Vec<Operation>, Problem> {
    use v1::operation::Operation as Wire;
    if operations.is_empty() {
        return Err(invalid("the request has no operation"));
    }
    if operations.len() > OPERATIONS_MAX {
        let (count, max) = (operations.len(), OPERATIONS_MAX);
        return Err(Problem::Limit(
            format!("{count} operations; at most {max} are allowed").into(),
        ));
    }
    let one = |operation: v1::Operation| {
        let operation = operation.operation.ok_or_else(|| invalid("an operation is empty"))?;
        Ok(match operation {
            Wire::Read(read) => Operation::Read(read.name.into()),
            Wire::ReadAll(_) => Operation::ReadAll,
            Wire::Write(wire) => bin(wire).map(|(name, value)| Operation::Write(name, value))?,
            Wire::Add(wire) => bin(wire).map(|(name, value)| Operation::Add(name, value))?,
            Wire::Append(wire) => bin(wire).map(|(name, value)| Operation::Append(name, value))?,
            Wire::Prepend(wire) => {
                bin(wire).map(|(name, value)| Operation::Prepend(name, value))?
            }
            Wire::Touch(_) => Operation::Touch,
            Wire::Delete(_) => Operation::Delete,
        })
    };
    operations.into_iter().map(one).collect()
}

/// What a read asks for. A single node is master and only replica: every choice is the same to it.
pub fn read_policy(policy: Option<v1::ReadPolicy>) -> Result<ReadPolicy, Problem> {
    if let Some(policy) = policy {
        v1::ReadConsistency::try_from(policy.consistency).map_err(|_| unknown("consistency"))?;
        v1::ReadReplica::try_from(policy.replica).map_err(|_| unknown("replica"))?;
    }
    Ok(ReadPolicy::default())
}

/// What a write asks for.
pub fn write_policy(policy: Option<v1::WritePolicy>) -> Result<WritePolicy, Problem> {
    let Some(policy) = policy else { return Ok(WritePolicy::default()) };
    use v1::ExistsPolicy as Exists;
    let exists = match Exists::try_from(policy.exists).map_err(|_| unknown("exists"))? {
        Exists::Update => ExistsPolicy::Update,
        Exists::UpdateOnly => ExistsPolicy::UpdateOnly,
        Exists::Replace => ExistsPolicy::Replace,
        Exists::ReplaceOnly => ExistsPolicy::ReplaceOnly,
        Exists::CreateOnly => ExistsPolicy::CreateOnly,
    };
    let generation = match (policy.generation_equal, policy.generation_greater) {
        (None, None) => GenerationCheck::Any,
        (Some(equal), None) => GenerationCheck::Equal(generation(equal)?),
        (None, Some(greater)) => GenerationCheck::Greater(generation(greater)?),
        (Some(_), Some(_)) => {
            return Err(invalid("generation_equal and generation_greater exclude each other"));
        }
    };
    let level =
        v1::CommitLevel::try_from(policy.commit_level).map_err(|_| unknown("commit_level"))?;
    let durable = v1::Durability::try_from(policy.durability).map_err(|_| unknown("durability"))?;
    Ok(WritePolicy {
        exists,
        generation,
        ttl: ttl(policy.ttl)?,
        commit_level: match level {
            v1::CommitLevel::Default => None,
            v1::CommitLevel::All => Some(CommitLevel::All),
            v1::CommitLevel::Master => Some(CommitLevel::Master),
        },
        durability: match durable {
            v1::Durability::Default => None,
            v1::Durability::Device => Some(Durability::Device),
            v1::Durability::Buffer => Some(Durability::Buffer),
        },
    })
}

fn ttl(ttl: Option<v1::Ttl>) -> Result<Ttl, Problem> {
    use v1::ttl::Kind;
    let Some(ttl) = ttl else { return Ok(Ttl::Default) };
    match ttl.kind {
        Some(Kind::Seconds(seconds @ 1..)) => Ok(Ttl::Millis(u64::from(seconds) * 1000)),
        Some(Kind::Millis(millis @ 1..)) => Ok(Ttl::Millis(millis)),
        Some(Kind::Never(true)) => Ok(Ttl::Never),
        Some(Kind::Keep(true)) => Ok(Ttl::Keep),
        None => Ok(Ttl::Default),
        Some(Kind::Seconds(_) | Kind::Millis(_)) => Err(invalid("a TTL is 1 or more")),
        Some(Kind::Never(_) | Kind::Keep(_)) => {
            Err(invalid("never and keep of a TTL are true or absent"))
        }
    }
}

fn generation(generation: u32) -> Result<u16, Problem> {
    u16::try_from(generation).map_err(|_| invalid("a generation is 0 to 65535"))
}

fn unknown(field: &'static str) -> Problem {
    Problem::Unsupported(
        format!("this node does not know the value of policy field {field}").into(),
    )
}
