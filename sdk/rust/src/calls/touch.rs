//! `touch`: gives a record a new lifetime.

use std::{future::IntoFuture, time::Duration};

use cairn_proto::v1::response::Response as Answer;
use futures::{FutureExt, future::BoxFuture};

use super::{call, found, ttl_method, write_call_methods};
use crate::{Client, Error, Key, Metadata, policy::WritePolicy, wire::Request};

/// Gives a record a new lifetime; made by [`Client::touch`].
#[must_use = "a call does nothing until it is awaited"]
#[derive(Debug)]
pub struct Touch<'a> {
    client: &'a Client,
    key: &'a Key,
    policy: WritePolicy,
    deadline: Option<Duration>,
}

impl<'a> Touch<'a> {
    pub(crate) fn new(client: &'a Client, key: &'a Key) -> Self {
        Self { client, key, policy: WritePolicy::default(), deadline: None }
    }

    write_call_methods!();
    ttl_method!();
}

pub(crate) fn read(answer: Answer) -> Option<Metadata> {
    let Answer::Touch(response) = answer else { return None };
    Some(Metadata::from_proto(response.metadata))
}

impl IntoFuture for Touch<'_> {
    type Output = Result<Option<Metadata>, Error>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        let request = Request::touch(self.key, self.policy);
        call(self.client, request, self.deadline, read).map(found).boxed()
    }
}
