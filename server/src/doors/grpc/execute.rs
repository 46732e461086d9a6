//! Executing a call through [`Operations`]: a future that owns all it needs, one kind of its own for each kind of call, so that
//! the small ones stay small.

use std::{future::Future, pin::Pin, sync::Arc};

use cairn_engine::{
    Operation,
    model::{Key, ReadPolicy, WritePolicy},
};
use cairn_proto::v1::OperateResponse;

use super::{
    answer::{self, Answer, DELETE, EXISTS, Found, Outcome, PUT, TOUCH, Wanted},
    call::{Action, Call},
    request::EngineBins,
};
use crate::{codes::Problem, operations::Operations, state::Served};

/// A call under way.
pub type Execution = Pin<Box<dyn Future<Output = Outcome> + Send>>;

/// Executes a call once it is polled.
pub fn execute(operations: &Arc<Operations>, call: Call) -> Execution {
    let target =
        Target { operations: Arc::clone(operations), namespace: call.namespace, key: call.key };
    match call.action {
        Action::Get(wanted, policy) => Box::pin(target.get(wanted, policy)),
        Action::Put(bins, policy) => Box::pin(target.put(bins, policy)),
        Action::Delete(policy) => Box::pin(target.delete(policy)),
        Action::Touch(policy) => Box::pin(target.touch(policy)),
        Action::Exists(policy) => Box::pin(target.exists(policy)),
        Action::Operate(steps, policy, _) => Box::pin(target.operate(steps, policy)),
    }
}

/// A record, and how to reach it.
struct Target {
    operations: Arc<Operations>,
    namespace: usize,
    key: Key,
}

impl Target {
    fn served(&self) -> &Served {
        &self.operations.state.namespaces[self.namespace]
    }

    async fn get(self, wanted: Wanted, policy: ReadPolicy) -> Outcome {
        let record = self.operations.get(self.served(), &self.key, &policy).await?;
        Ok(Answer::Found(Found::new(record, wanted)?))
    }

    async fn put(self, bins: EngineBins, policy: WritePolicy) -> Outcome {
        let metadata = self.operations.put(self.served(), &self.key, &bins, &policy).await?;
        Ok(Answer::Done(PUT, Some(metadata)))
    }

    async fn delete(self, policy: WritePolicy) -> Outcome {
        self.operations.delete(self.served(), &self.key, &policy).await?;
        Ok(Answer::Done(DELETE, None))
    }

    async fn touch(self, policy: WritePolicy) -> Outcome {
        let metadata = self.operations.touch(self.served(), &self.key, &policy).await?;
        Ok(Answer::Done(TOUCH, Some(metadata)))
    }

    async fn exists(self, policy: ReadPolicy) -> Outcome {
        let metadata = self.operations.exists(self.served(), &self.key, &policy).await?;
        Ok(Answer::Done(EXISTS, metadata))
    }

    async fn operate(self, steps: Vec<Operation>, policy: WritePolicy) -> Result<Answer, Problem> {
        let operated = self.operations.operate(self.served(), &self.key, &steps, &policy).await?;
        Ok(Answer::Operated(OperateResponse {
            metadata: operated.metadata.map(answer::metadata),
            bins: answer::bins(operated.bins),
        }))
    }
}
