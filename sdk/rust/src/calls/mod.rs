//! The builders behind [`Client`](crate::Client)'s calls on one record: one file each.
//!
//! A builder borrows its key; turned into a future it owns an encoded request and a share of the connections, nothing else.

pub(crate) mod delete;
pub(crate) mod exists;
pub(crate) mod get;
pub(crate) mod operate;
pub(crate) mod put;
pub(crate) mod touch;

pub use delete::Delete;
pub use exists::Exists;
pub use get::Get;
pub use operate::Operate;
pub use put::Put;
pub use touch::Touch;

/// The methods every call on a record has.
macro_rules! any_call_methods {
    () => {
        /// How long this call may take in all, instead of the client's own setting.
        pub fn deadline(mut self, deadline: std::time::Duration) -> Self {
            self.deadline = Some(deadline);
            self
        }
    };
}

/// The methods of calls that only read.
macro_rules! read_call_methods {
    () => {
        $crate::calls::any_call_methods!();

        /// How fresh the record must be.
        pub fn consistency(mut self, consistency: $crate::Consistency) -> Self {
            self.policy.consistency = consistency;
            self
        }

        /// Which copy may be read.
        pub fn replica(mut self, replica: $crate::Replica) -> Self {
            self.policy.replica = replica;
            self
        }
    };
}

/// The methods of calls that write.
macro_rules! write_call_methods {
    () => {
        $crate::calls::any_call_methods!();

        /// Only if the record has this generation; otherwise the call fails with [`Code::Generation`](crate::Code::Generation).
        pub fn generation(mut self, generation: u32) -> Self {
            self.policy.generation_equal = Some(generation);
            self
        }

        /// Only if the record's generation is less than this one: for restoring a backup.
        pub fn generation_below(mut self, generation: u32) -> Self {
            self.policy.generation_greater = Some(generation);
            self
        }

        /// Where the write must be before it is acknowledged, instead of the namespace's own setting.
        pub fn durability(mut self, durability: $crate::Durability) -> Self {
            self.policy.durability = Some(durability);
            self
        }

        /// Which replicas must have the write before it is acknowledged, instead of the namespace's own setting.
        pub fn commit_level(mut self, level: $crate::CommitLevel) -> Self {
            self.policy.commit_level = Some(level);
            self
        }
    };
}

/// The method of writes that give a lifetime.
macro_rules! ttl_method {
    () => {
        /// The record's lifetime from now on: a `Duration`, or a [`Ttl`](crate::Ttl).
        pub fn ttl(mut self, ttl: impl Into<$crate::Ttl>) -> Self {
            self.policy.ttl = ttl.into();
            self
        }
    };
}

/// The method of writes that can create a record.
macro_rules! exists_methods {
    () => {
        /// Whether the record must exist, and whether bins not named stay.
        pub fn exists(mut self, policy: $crate::ExistsPolicy) -> Self {
            self.policy.exists = policy;
            self
        }

        /// Puts this record in the place of the one there is: bins not named are gone.
        pub fn replace(self) -> Self {
            self.exists($crate::ExistsPolicy::Replace)
        }

        /// Only if there is no such record; otherwise the call fails with [`Code::Exists`](crate::Code::Exists).
        pub fn create_only(self) -> Self {
            self.exists($crate::ExistsPolicy::CreateOnly)
        }

        /// Only if the record exists; otherwise the call fails with [`Code::NotFound`](crate::Code::NotFound).
        pub fn update_only(self) -> Self {
            self.exists($crate::ExistsPolicy::UpdateOnly)
        }
    };
}

pub(crate) use {
    any_call_methods, exists_methods, read_call_methods, ttl_method, write_call_methods,
};

use cairn_proto::v1::response::Response as Answer;
use futures::future::BoxFuture;

use crate::{Client, Code, Error, wire::Request};

/// Makes a call and reads its answer with `read`, which gives `None` for an answer of the wrong kind.
fn call<T: Send + 'static>(
    client: &Client,
    request: Request,
    deadline: Option<std::time::Duration>,
    read: fn(Answer) -> Option<T>,
) -> BoxFuture<'static, Result<T, Error>> {
    let pool = client.pool().clone();
    Box::pin(async move {
        let write = request.write;
        let answer = pool.call(request, deadline).await?;
        read(answer).ok_or_else(|| Error::unexpected(write))
    })
}

/// Turns "no such record" into `None`: an outcome, not an error.
fn found<T>(result: Result<T, Error>) -> Result<Option<T>, Error> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.code == Code::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}
