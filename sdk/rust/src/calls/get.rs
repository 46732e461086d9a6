//! `get`: reads a record or some of its bins.

use std::{future::IntoFuture, time::Duration};

use cairn_proto::v1::response::Response as Answer;
use futures::{FutureExt, future::BoxFuture};

use super::{call, found, read_call_methods};
use crate::{Client, Error, Key, Record, policy::ReadPolicy, wire::Request};

/// Reads a record; made by [`Client::get`].
#[must_use = "a call does nothing until it is awaited"]
#[derive(Debug)]
pub struct Get<'a> {
    client: &'a Client,
    key: &'a Key,
    bins: Vec<String>,
    policy: ReadPolicy,
    deadline: Option<Duration>,
}

impl<'a> Get<'a> {
    pub(crate) fn new(client: &'a Client, key: &'a Key) -> Self {
        let policy = ReadPolicy::default();
        Self { client, key, bins: Vec::new(), policy, deadline: None }
    }

    /// Only these bins. A bin that the record lacks is left out.
    pub fn bins(mut self, bins: impl IntoIterator<Item = impl AsRef<str>>) -> Self {
        self.bins = bins.into_iter().map(|bin| bin.as_ref().to_string()).collect();
        self
    }

    read_call_methods!();

    pub(crate) fn request(&self) -> Request {
        Request::get(self.key, &self.bins, self.policy)
    }
}

pub(crate) fn read(answer: Answer) -> Option<Record> {
    let Answer::Get(response) = answer else { return None };
    response.record.map(Record::from_proto)
}

impl IntoFuture for Get<'_> {
    type Output = Result<Option<Record>, Error>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        call(self.client, self.request(), self.deadline, read).map(found).boxed()
    }
}
