//! One request of any kind, from the bytes of its message to what the engine executes. Unary calls, batches and pipelines read
//! here.

use cairn_engine::{
    Operation,
    model::{Key, ReadPolicy, WritePolicy},
};
use cairn_proto::v1::{self, request::Request as Kinds};
use prost::Message;

use super::{
    answer::Wanted,
    plain::{self, Unread},
    request::{self, EngineBins},
    reservation::{self, Reservation},
    wire::{Fields, Odd, Raw},
};
use crate::{codes::Problem, metrics::Kind, state::State};

/// A request that is read and checked, and can be executed.
#[derive(Debug)]
pub struct Call {
    /// Which namespace, by its place in [`State::namespaces`].
    pub namespace: usize,
    /// The record's key.
    pub key: Key,
    /// What is done with the record.
    pub action: Action,
}

/// What is done with a record.
#[derive(Debug)]
pub enum Action {
    /// Reads it.
    Get(Wanted, ReadPolicy),
    /// Writes bins.
    Put(EngineBins, WritePolicy),
    /// Deletes it.
    Delete(WritePolicy),
    /// Gives it a new lifetime.
    Touch(WritePolicy),
    /// Whether it exists.
    Exists(ReadPolicy),
    /// Several operations.
    Operate(Vec<Operation>, WritePolicy, Reservation),
}

impl Call {
    /// Reads the message of the unary call of this kind.
    pub fn read(state: &State, kind: Kind, message: &[u8]) -> Result<Self, Problem> {
        let read = match kind {
            Kind::Get => plain::get(message).map(|(namespace, key, wanted, policy)| {
                (namespace, key, Action::Get(wanted, policy))
            }),
            Kind::Put => plain::put(message)
                .map(|(namespace, key, bins, policy)| (namespace, key, Action::Put(bins, policy))),
            _ => Err(Unread::Odd),
        };
        match read {
            Ok((namespace, key, action)) => {
                Ok(Self { namespace: find(state, namespace)?, key, action })
            }
            Err(Unread::Refused(problem)) => Err(problem),
            Err(Unread::Odd) => Self::decode(state, kind, message),
        }
    }

    /// The same through the generated types.
    fn decode(state: &State, kind: Kind, message: &[u8]) -> Result<Self, Problem> {
        let (key, action) = match kind {
            Kind::Get => {
                let request: v1::GetRequest = decode(message)?;
                let policy = request::read_policy(request.policy)?;
                (request.key, Action::Get(Wanted::named(request.bins)?, policy))
            }
            Kind::Put => {
                let request: v1::PutRequest = decode(message)?;
                let policy = request::write_policy(request.policy)?;
                (request.key, Action::Put(request::bins(request.bins)?, policy))
            }
            Kind::Delete => {
                let request: v1::DeleteRequest = decode(message)?;
                (request.key, Action::Delete(request::write_policy(request.policy)?))
            }
            Kind::Touch => {
                let request: v1::TouchRequest = decode(message)?;
                (request.key, Action::Touch(request::write_policy(request.policy)?))
            }
            Kind::Exists => {
                let request: v1::ExistsRequest = decode(message)?;
                (request.key, Action::Exists(request::read_policy(request.policy)?))
            }
            Kind::Operate => return Self::operate(state, decode(message)?),
            Kind::Scan => return Err(Problem::Internal("a scan is not a request".into())),
        };
        let (namespace, key) = request::key(key)?;
        Ok(Self { namespace: find(state, &namespace)?, key, action })
    }

    fn operate(state: &State, mut request: v1::OperateRequest) -> Result<Self, Problem> {
        let (namespace, key) = request::key(request.key.take())?;
        let namespace = find(state, &namespace)?;
        let record = state.namespaces[namespace].engine.config().max_record_size;
        let reservation = reservation::of(&request, usize::try_from(record).unwrap_or(usize::MAX));
        let policy = request::write_policy(request.policy)?;
        let steps = request::operations(request.operations)?;
        Ok(Self { namespace, key, action: Action::Operate(steps, policy, reservation) })
    }

    /// What its answer may need. Only an operate's may be more than one record.
    pub fn reservation(&self) -> Reservation {
        match self.action {
            Action::Operate(_, _, reservation) => reservation,
            _ => Reservation::default(),
        }
    }
}

fn find(state: &State, namespace: &str) -> Result<usize, Problem> {
    state.place_of(namespace).ok_or_else(|| Problem::UnknownNamespace(namespace.into()))
}

/// The message of this type in `bytes`.
pub fn decode<M: Message + Default>(bytes: &[u8]) -> Result<M, Problem> {
    M::decode(bytes)
        .map_err(|error| Problem::Invalid(format!("not a message of this call: {error}").into()))
}

/// A request of a batch or a pipeline: its kind and what it asks for, or why that cannot be executed; a failure alone when not
/// even the kind is known.
pub type Opened = Result<(Kind, Result<Call, Problem>), Problem>;

/// Reads the request in the `bytes` of a [`v1::Request`].
pub fn open(bytes: &[u8], state: &State) -> Opened {
    let mut fields = Fields(bytes);
    if let (Some(Ok((field, Raw::Bytes(message)))), None) = (fields.next(), fields.next())
        && let Some(kind) = kind(field)
    {
        return Ok((kind, Call::read(state, kind, message)));
    }
    let request: v1::Request = decode(bytes)?;
    let (kind, message) = match request.request {
        Some(Kinds::Get(get)) => (Kind::Get, get.encode_to_vec()),
        Some(Kinds::Put(put)) => (Kind::Put, put.encode_to_vec()),
        Some(Kinds::Delete(delete)) => (Kind::Delete, delete.encode_to_vec()),
        Some(Kinds::Touch(touch)) => (Kind::Touch, touch.encode_to_vec()),
        Some(Kinds::Exists(exists)) => (Kind::Exists, exists.encode_to_vec()),
        Some(Kinds::Operate(operate)) => (Kind::Operate, operate.encode_to_vec()),
        None => return Err(Problem::Invalid("the request is empty".into())),
    };
    Ok((kind, Call::read(state, kind, &message)))
}

/// The kind that a field of [`v1::Request`] stands for.
fn kind(field: u64) -> Option<Kind> {
    Some(match field {
        1 => Kind::Get,
        2 => Kind::Put,
        3 => Kind::Delete,
        4 => Kind::Touch,
        5 => Kind::Exists,
        6 => Kind::Operate,
        _ => return None,
    })
}

/// One item of a pipeline's message, whose request is not looked at yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Item<'a> {
    /// Comes back with the answer.
    pub id: u64,
    /// Milliseconds it may take; 0 for the default.
    pub deadline_ms: u32,
    /// The bytes of its [`v1::Request`].
    pub request: &'a [u8],
}

impl<'a> Item<'a> {
    /// The item in `bytes`. One with two requests is refused, although protobuf would merge them.
    pub fn read(bytes: &'a [u8]) -> Result<Self, Odd> {
        let mut item = Self::default();
        for field in Fields(bytes) {
            match field? {
                (1, id) => item.id = id.number()?,
                (2, request) if item.request.is_empty() => item.request = request.bytes()?,
                (2, _) => return Err(Odd),
                // A number field is read as its low bits.
                (3, deadline) => item.deadline_ms = deadline.number()? as u32,
                _ => {}
            }
        }
        Ok(item)
    }
}
