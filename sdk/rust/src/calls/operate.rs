//! `operate`: several operations on one record, atomically.

use std::{future::IntoFuture, time::Duration};

use cairn_proto::v1::response::Response as Answer;
use futures::future::BoxFuture;

use super::{call, exists_methods, ttl_method, write_call_methods};
use crate::{Client, Error, Key, Op, Operated, policy::WritePolicy, wire::Request};

/// Several operations on one record; made by [`Client::operate`].
#[must_use = "a call does nothing until it is awaited"]
#[derive(Debug)]
pub struct Operate<'a> {
    client: &'a Client,
    key: &'a Key,
    operations: Vec<Op>,
    policy: WritePolicy,
    deadline: Option<Duration>,
}

impl<'a> Operate<'a> {
    pub(crate) fn new(client: &'a Client, key: &'a Key, operations: Vec<Op>) -> Self {
        Self { client, key, operations, policy: WritePolicy::default(), deadline: None }
    }

    write_call_methods!();
    ttl_method!();
    exists_methods!();
}

pub(crate) fn read(answer: Answer) -> Option<Operated> {
    let Answer::Operate(response) = answer else { return None };
    Some(Operated::from_proto(response))
}

impl IntoFuture for Operate<'_> {
    type Output = Result<Operated, Error>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        let request = Request::operate(self.key, &self.operations, self.policy);
        call(self.client, request, self.deadline, read)
    }
}
