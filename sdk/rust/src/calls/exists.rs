//! `exists`: a record's metadata without its bins.

use std::{future::IntoFuture, time::Duration};

use cairn_proto::v1::response::Response as Answer;
use futures::{FutureExt, future::BoxFuture};

use super::{call, read_call_methods};
use crate::{Client, Code, Error, Key, Metadata, policy::ReadPolicy, wire::Request};

/// Asks whether a record exists; made by [`Client::exists`].
#[must_use = "a call does nothing until it is awaited"]
#[derive(Debug)]
pub struct Exists<'a> {
    client: &'a Client,
    key: &'a Key,
    policy: ReadPolicy,
    deadline: Option<Duration>,
}

impl<'a> Exists<'a> {
    pub(crate) fn new(client: &'a Client, key: &'a Key) -> Self {
        Self { client, key, policy: ReadPolicy::default(), deadline: None }
    }

    read_call_methods!();
}

pub(crate) fn read(answer: Answer) -> Option<Option<Metadata>> {
    let Answer::Exists(response) = answer else { return None };
    Some(response.metadata.map(|metadata| Metadata::from_proto(Some(metadata))))
}

impl IntoFuture for Exists<'_> {
    type Output = Result<Option<Metadata>, Error>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        let request = Request::exists(self.key, self.policy);
        call(self.client, request, self.deadline, read)
            .map(|result| match result {
                Err(error) if error.code == Code::NotFound => Ok(None),
                result => result,
            })
            .boxed()
    }
}
