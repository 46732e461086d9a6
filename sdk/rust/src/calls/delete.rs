//! `delete`: removes a record, durably.

use std::{future::IntoFuture, time::Duration};

use cairn_proto::v1::response::Response as Answer;
use futures::{FutureExt, future::BoxFuture};

use super::{call, found, write_call_methods};
use crate::{Client, Error, Key, policy::WritePolicy, wire::Request};

/// Deletes a record; made by [`Client::delete`].
#[must_use = "a call does nothing until it is awaited"]
#[derive(Debug)]
pub struct Delete<'a> {
    client: &'a Client,
    key: &'a Key,
    policy: WritePolicy,
    deadline: Option<Duration>,
}

impl<'a> Delete<'a> {
    pub(crate) fn new(client: &'a Client, key: &'a Key) -> Self {
        Self { client, key, policy: WritePolicy::default(), deadline: None }
    }

    write_call_methods!();
}

pub(crate) fn read(answer: Answer) -> Option<()> {
    matches!(answer, Answer::Delete(_)).then_some(())
}

impl IntoFuture for Delete<'_> {
    /// Whether there was such a record.
    type Output = Result<bool, Error>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        let request = Request::delete(self.key, self.policy);
        call(self.client, request, self.deadline, read)
            .map(|result| Ok(found(result)?.is_some()))
            .boxed()
    }
}
