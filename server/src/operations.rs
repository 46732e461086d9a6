//! Operations on records as every door calls them: engine types in, engine types or a [`Problem`] out.
//!
//! Owns the look-up of a namespace, the policy a namespace allows, deadlines, and the count of operations in flight. Knows
//! nothing of any protocol. A future made here may be dropped at any time: a read is then forgotten, a write is in doubt.

use std::{
    future::Future,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::{Duration, Instant},
};

use cairn_engine::{
    Metadata, Namespace, Operated, Operation, Outcome, Record, ScanPage,
    device::reactor,
    model::{CommitLevel, Durability, Key, ReadPolicy, Value, WritePolicy},
};

use crate::{
    codes::Problem,
    limits::DEVICE_PENDING,
    metrics::WorkerMetrics,
    state::{Served, State},
};

/// What one worker's doors need: the node's state, and where this worker counts.
#[derive(Clone, Debug)]
pub struct Operations {
    /// The node.
    pub state: Arc<State>,
    /// This worker's counters. Only the worker's own thread writes them.
    pub metrics: Arc<WorkerMetrics>,
}

impl Operations {
    /// The namespace of this name.
    pub fn namespace(&self, name: &str) -> Result<&Served, Problem> {
        self.state.namespace(name).ok_or_else(|| Problem::UnknownNamespace(name.into()))
    }

    /// Whether this worker may take one more operation.
    pub fn has_room(&self) -> bool {
        let count = self.metrics.in_flight.load(Relaxed);
        count < self.state.limits.worker_in_flight && !self.is_hanging()
    }

    /// Whether devices owe this worker so much that they must be hanging. An operation given up at its deadline is no longer in
    /// flight; what it asked of a device still is.
    pub fn is_hanging(&self) -> bool {
        reactor::pending() >= DEVICE_PENDING
    }

    /// Reads a record.
    pub async fn get(
        &self,
        served: &Served,
        key: &Key,
        policy: &ReadPolicy,
    ) -> Result<Record, Problem> {
        served.engine.get(key, policy).await?.ok_or(Problem::NotFound)
    }

    /// Whether a record exists.
    pub async fn exists(
        &self,
        served: &Served,
        key: &Key,
        policy: &ReadPolicy,
    ) -> Result<Option<Metadata>, Problem> {
        Ok(served.engine.exists(key, policy).await?)
    }

    /// Writes bins.
    pub async fn put(
        &self,
        served: &Served,
        key: &Key,
        bins: &[(Box<str>, Value)],
        policy: &WritePolicy,
    ) -> Result<Metadata, Problem> {
        decided(writable(served, policy)?.put(key, bins, policy).await?)
    }

    /// Deletes a record, durably.
    pub async fn delete(
        &self,
        served: &Served,
        key: &Key,
        policy: &WritePolicy,
    ) -> Result<(), Problem> {
        decided(writable(served, policy)?.delete(key, policy).await?)
    }

    /// Gives a record a new lifetime.
    pub async fn touch(
        &self,
        served: &Served,
        key: &Key,
        policy: &WritePolicy,
    ) -> Result<Metadata, Problem> {
        decided(writable(served, policy)?.touch(key, policy).await?)
    }

    /// Several operations on one record, atomically.
    pub async fn operate(
        &self,
        served: &Served,
        key: &Key,
        operations: &[Operation],
        policy: &WritePolicy,
    ) -> Result<Operated, Problem> {
        decided(writable(served, policy)?.operate(key, operations, policy).await?)
    }

    /// One page of a partition.
    pub async fn scan(
        &self,
        namespace: &str,
        partition: u16,
        after: Option<u64>,
        set: Option<&str>,
        limit: usize,
        bytes: u64,
    ) -> Result<ScanPage, Problem> {
        Ok(self.namespace(namespace)?.engine.scan(partition, after, set, limit, bytes).await?)
    }

    /// Removes the records of a set, or all. One at a time of a namespace: another is refused as long as it runs, even when
    /// nobody waits for it any more.
    pub async fn truncate(&self, namespace: &str, set: Option<String>) -> Result<u64, Problem> {
        let served = self.namespace(namespace)?;
        let one = Arc::clone(&served.truncating).try_lock_owned().map_err(|_| Problem::Busy)?;
        let engine = Arc::clone(&served.engine);
        // A task of its own: it ends when the truncation does.
        let task = tokio::spawn(async move {
            let result = engine.truncate(set.as_deref()).await;
            drop(one);
            result
        });
        let ended = task.await;
        Ok(ended.map_err(|_| Problem::Internal("the truncation's task is gone".into()))??)
    }

    /// When a call that came at `started` must be answered: after `timeout`, or the server's default.
    pub fn deadline(&self, started: Instant, timeout: Option<Duration>) -> Instant {
        let default = self.state.limits.request_timeout;
        started.checked_add(timeout.unwrap_or(default)).unwrap_or(started + default)
    }
}

/// The engine's side of a namespace, if it allows a write with this policy.
fn writable<'a>(served: &'a Served, policy: &WritePolicy) -> Result<&'a Namespace, Problem> {
    if !served.weaker_per_request {
        check_strength(served.engine.config(), policy)?;
    }
    Ok(&served.engine)
}

/// Runs one operation under its deadline.
///
/// One whose deadline has passed already is not started. One that is under way is dropped when the deadline passes: a `write`
/// is then in doubt, a read is not.
pub async fn within<T>(
    deadline: Instant,
    write: bool,
    operation: impl Future<Output = Result<T, Problem>>,
) -> Result<T, Problem> {
    if Instant::now() >= deadline {
        return Err(Problem::Deadline { in_doubt: false });
    }
    match tokio::time::timeout_at(deadline.into(), operation).await {
        Ok(result) => result,
        Err(_) => Err(Problem::Deadline { in_doubt: write }),
    }
}

fn check_strength(
    config: &cairn_engine::NamespaceConfig,
    policy: &WritePolicy,
) -> Result<(), Problem> {
    let weaker = (policy.durability == Some(Durability::Buffer)
        && config.durability == Durability::Device)
        || (policy.commit_level == Some(CommitLevel::Master)
            && config.commit_level == CommitLevel::All);
    if weaker {
        return Err(Problem::Invalid(
            "this namespace allows no weaker durability or commit level for a single write".into(),
        ));
    }
    Ok(())
}

fn decided<T>(outcome: Outcome<T>) -> Result<T, Problem> {
    match outcome {
        Outcome::Done(done) => Ok(done),
        Outcome::NotFound => Err(Problem::NotFound),
        Outcome::Exists => Err(Problem::Exists),
        Outcome::GenerationMismatch(generation) => Err(Problem::Generation(generation)),
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use super::*;

    /// A write under way at its deadline is in doubt, a read is not, and what was never started surely is not applied.
    #[tokio::test]
    async fn only_a_started_write_is_in_doubt() {
        let soon = || Instant::now() + Duration::from_millis(5);
        for (write, in_doubt) in [(true, true), (false, false)] {
            let problem = within::<()>(soon(), write, pending()).await.unwrap_err();
            assert!(matches!(problem, Problem::Deadline { in_doubt: d } if d == in_doubt));
        }
        let started = async { panic!("started behind its deadline") };
        let problem = within::<()>(Instant::now(), true, started).await.unwrap_err();
        assert!(matches!(problem, Problem::Deadline { in_doubt: false }));
    }
}
