//! `put`: writes bins.

use std::{future::IntoFuture, time::Duration};

use cairn_proto::v1::response::Response as Answer;
use futures::future::BoxFuture;

use super::{call, exists_methods, ttl_method, write_call_methods};
use crate::{Client, Error, Key, Metadata, Value, policy::WritePolicy, wire::Request};

/// Writes bins of a record; made by [`Client::put`].
#[must_use = "a call does nothing until it is awaited"]
#[derive(Debug)]
pub struct Put<'a> {
    client: &'a Client,
    key: &'a Key,
    bins: Vec<(String, Value)>,
    policy: WritePolicy,
    deadline: Option<Duration>,
}

impl<'a> Put<'a> {
    pub(crate) fn new(client: &'a Client, key: &'a Key, bins: Vec<(String, Value)>) -> Self {
        Self { client, key, bins, policy: WritePolicy::default(), deadline: None }
    }

    write_call_methods!();
    ttl_method!();
    exists_methods!();
}

pub(crate) fn read(answer: Answer) -> Option<Metadata> {
    let Answer::Put(response) = answer else { return None };
    Some(Metadata::from_proto(response.metadata))
}

impl IntoFuture for Put<'_> {
    type Output = Result<Metadata, Error>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        let request = Request::put(self.key, self.bins, self.policy);
        call(self.client, request, self.deadline, read)
    }
}
