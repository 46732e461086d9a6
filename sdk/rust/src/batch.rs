//! Many requests in few messages.
//!
//! A batch is split into messages of bounded size, sent side by side. A message that only reads is sent again when its
//! connection breaks; one that writes is not, since its writes are in doubt then.

mod message;

use std::time::Duration;

use cairn_proto::v1::response::Response as Answer;
use futures::{StreamExt, stream};

use crate::{
    Client, Code, Error, Key, Metadata, Op, Operated, Record, Value,
    calls::{delete, exists, get, operate, put, touch},
    policy::{ReadPolicy, WritePolicy},
    wire::{Kind, Request},
};

/// Messages on their way at once.
const MESSAGES_AT_ONCE: usize = 4;

/// A batch being put together; made by [`Client::batch`].
///
/// ```no_run
/// # use cairn_sdk::{Client, Key};
/// # async fn example(client: Client) -> Result<(), cairn_sdk::Error> {
/// let keys: Vec<_> = (0..100).map(|n| Key::new("test", "users", n)).collect();
/// let mut batch = client.batch();
/// for key in &keys {
///     batch = batch.get(key);
/// }
/// for answer in batch.send().await {
///     if let Some(record) = answer?.into_record() {
///         println!("{:?}", record.bins);
///     }
/// }
/// # Ok(())
/// # }
/// ```
#[must_use = "a batch does nothing until it is sent"]
#[derive(Debug)]
pub struct Batch<'a> {
    client: &'a Client,
    requests: Vec<Request>,
    policy: WritePolicy,
    deadline: Option<Duration>,
}

/// The answer to one request of a batch.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Answered {
    /// To a `get`: the record, if there is one.
    Record(Option<Record>),
    /// To a `put`.
    Put(Metadata),
    /// To a `delete`: whether there was such a record.
    Deleted(bool),
    /// To a `touch` or `exists`: the record's metadata, if there is one.
    Metadata(Option<Metadata>),
    /// To an `operate`.
    Operated(Operated),
}

impl Answered {
    /// The record that a `get` found.
    pub fn into_record(self) -> Option<Record> {
        if let Self::Record(record) = self { record } else { None }
    }
}

impl<'a> Batch<'a> {
    pub(crate) fn new(client: &'a Client) -> Self {
        Self { client, requests: Vec::new(), policy: WritePolicy::default(), deadline: None }
    }

    fn with(mut self, request: Request) -> Self {
        self.requests.push(request);
        self
    }

    /// Reads a record.
    pub fn get(self, key: &Key) -> Self {
        self.with(Request::get(key, &[], ReadPolicy::default()))
    }

    /// Reads some bins of a record.
    pub fn get_bins(self, key: &Key, bins: &[&str]) -> Self {
        let bins: Vec<_> = bins.iter().map(|bin| (*bin).to_string()).collect();
        self.with(Request::get(key, &bins, ReadPolicy::default()))
    }

    /// Writes bins of a record.
    pub fn put<N: Into<String>, V: Into<Value>>(
        self,
        key: &Key,
        bins: impl IntoIterator<Item = (N, V)>,
    ) -> Self {
        let bins = bins.into_iter().map(|(name, value)| (name.into(), value.into())).collect();
        let request = Request::put(key, bins, self.policy);
        self.with(request)
    }

    /// Deletes a record.
    pub fn delete(self, key: &Key) -> Self {
        let request = Request::delete(key, self.policy);
        self.with(request)
    }

    /// Gives a record a new lifetime.
    pub fn touch(self, key: &Key) -> Self {
        let request = Request::touch(key, self.policy);
        self.with(request)
    }

    /// Asks for a record's metadata.
    pub fn exists(self, key: &Key) -> Self {
        self.with(Request::exists(key, ReadPolicy::default()))
    }

    /// Several operations on one record, atomically.
    pub fn operate(self, key: &Key, operations: impl IntoIterator<Item = Op>) -> Self {
        let operations: Vec<_> = operations.into_iter().collect();
        let request = Request::operate(key, &operations, self.policy);
        self.with(request)
    }

    /// The lifetime that the writes added after this give.
    pub fn ttl(mut self, ttl: impl Into<crate::Ttl>) -> Self {
        self.policy.ttl = ttl.into();
        self
    }

    /// The durability of the writes added after this.
    pub fn durability(mut self, durability: crate::Durability) -> Self {
        self.policy.durability = Some(durability);
        self
    }

    /// How long the whole batch may take.
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = Some(deadline);
        self
    }

    /// Sends the batch. One answer for each request, in their order.
    pub async fn send(self) -> Vec<Result<Answered, Error>> {
        let deadline = self.client.pool().deadline(self.deadline);
        let client = self.client;
        let count = self.requests.len();
        let answers = stream::iter(message::split(self.requests))
            .map(|message| message::send(client, message, deadline))
            .buffered(MESSAGES_AT_ONCE)
            .fold(Vec::with_capacity(count), |mut all, answers| async {
                all.extend(answers);
                all
            });
        answers.await
    }
}

fn read(answer: Option<Answer>, asked: &Request) -> Result<Answered, Error> {
    let answer = answer.ok_or_else(|| Error::unexpected(asked.write))?;
    let read = match answer {
        Answer::Failure(failure) => {
            let error = Error::from_failure(failure);
            return missing(asked.kind).filter(|_| error.code == Code::NotFound).ok_or(error);
        }
        Answer::Get(_) => get::read(answer).map(|record| Answered::Record(Some(record))),
        Answer::Put(_) => put::read(answer).map(Answered::Put),
        Answer::Delete(_) => delete::read(answer).map(|()| Answered::Deleted(true)),
        Answer::Touch(_) => touch::read(answer).map(|metadata| Answered::Metadata(Some(metadata))),
        Answer::Exists(_) => exists::read(answer).map(Answered::Metadata),
        Answer::Operate(_) => operate::read(answer).map(Answered::Operated),
    };
    read.ok_or_else(|| Error::unexpected(asked.write))
}

/// The answer that says "no such record", for requests to which that is an answer and not an error.
fn missing(kind: Kind) -> Option<Answered> {
    match kind {
        Kind::Get => Some(Answered::Record(None)),
        Kind::Delete => Some(Answered::Deleted(false)),
        Kind::Touch | Kind::Exists => Some(Answered::Metadata(None)),
        Kind::Put | Kind::Operate => None,
    }
}
