//! Several lanes to one node, and the loop of attempts around each call.
//!
//! What is in flight is bounded by a semaphore: a call takes one permit, and one more for each [`PERMIT_BYTES`] of
//! its request, so that large records are bounded by memory and small ones by number. Callers beyond the bound wait.
//! The permit goes with the call: see [`Caller`].

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use cairn_proto::v1::response::Response as Answer;
use tokio::{
    sync::{Notify, OwnedSemaphorePermit, Semaphore, oneshot},
    task::AbortHandle,
    time::{Instant, sleep, timeout_at},
};
use tonic::transport::Channel;

use super::{
    aside::Aside,
    connect::{Settings, Target},
    lane::Lane,
    retry::{Backoff, Decision, decide},
    waiting::{Call, Caller, Reply},
};
use crate::{Error, wire::Request};

/// Bytes of a request that one more permit stands for.
const PERMIT_BYTES: usize = 16 * 1024;
/// The longest that anything may take: about a year, since clocks do not count as far as the longest `Duration`.
pub(crate) const LONGEST: Duration = Duration::from_secs(365 * 24 * 3600);

/// The connections to one node. Dropping it closes them.
#[derive(Debug)]
pub(crate) struct Pool {
    lanes: Vec<Arc<Lane>>,
    scans: Aside,
    messages: Aside,
    next: AtomicUsize,
    permits: Arc<Semaphore>,
    settings: Settings,
    /// Told whenever a lane comes up.
    changed: Arc<Notify>,
    tasks: Vec<AbortHandle>,
}

impl Pool {
    /// Makes the first connection and starts the others in the background.
    pub async fn connect(target: Target, settings: Settings) -> Result<Self, Error> {
        let first = target.connect().await.map_err(|cause| Error::unavailable(false, &cause))?;
        let changed = Arc::new(Notify::new());
        let lanes: Vec<_> = (0..settings.connections).map(|_| Arc::new(Lane::default())).collect();
        let mut tasks = Vec::with_capacity(2 * lanes.len());
        let mut first = Some(first);
        for lane in &lanes {
            let run = lane.clone().run(
                target.clone(),
                settings.max_message,
                first.take(),
                changed.clone(),
            );
            tasks.push(tokio::spawn(run).abort_handle());
            tasks.push(tokio::spawn(lane.clone().watch_deadlines()).abort_handle());
        }
        Ok(Self {
            lanes,
            scans: Aside::new(&target, 1),
            messages: Aside::new(&target, settings.connections),
            next: AtomicUsize::new(0),
            permits: Arc::new(Semaphore::new(settings.in_flight as usize)),
            settings,
            changed,
            tasks,
        })
    }

    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Makes one call over the pipeline; it is over by its deadline.
    pub async fn call(&self, request: Request, limit: Option<Duration>) -> Result<Answer, Error> {
        let deadline = self.deadline(limit);
        let mut permit = self.admit(request.len(), deadline).await?;
        let mut attempts = 0;
        let mut backoff = Backoff::new();
        loop {
            attempts += 1;
            let (reply, receiver) = oneshot::channel();
            let lane = self.lane();
            let caller = Caller { reply, permit };
            lane.submit(Call { request: request.clone(), deadline, caller });
            let Ok((reply, back)) = receiver.await else {
                return Err(Error::unexpected(request.write));
            };
            permit = back;
            let expired_unsent = matches!(reply, Reply::Expired { sent: false });
            match decide(reply, request.write, attempts <= self.settings.retries) {
                Decision::Done(Err(mut error)) if expired_unsent => {
                    if let Some(trouble) = lane.trouble().filter(|_| !lane.is_up()) {
                        error.message = format!("{}: {trouble}", error.message);
                    }
                    return Err(error);
                }
                Decision::Done(result) => return result,
                Decision::Again { pause: false, .. } => {}
                Decision::Again { pause: true, error } => {
                    let pause = backoff.pause();
                    if Instant::now() + pause >= deadline {
                        return Err(error);
                    }
                    sleep(pause).await;
                }
            }
        }
    }

    /// The connection for scans, once the node can be reached.
    pub async fn scan_channel(&self, deadline: Instant) -> Result<Channel, Error> {
        self.reach(deadline).await?;
        Ok(self.scans.channel())
    }

    /// A connection for batches and the node's administration, once the node can be reached.
    pub async fn message_channel(&self, deadline: Instant) -> Result<Channel, Error> {
        self.reach(deadline).await?;
        Ok(self.messages.channel())
    }

    /// Waits until a lane is up. The connections beside the lanes fail at once when there is no node; this makes calls
    /// over them wait for it like all others.
    async fn reach(&self, deadline: Instant) -> Result<(), Error> {
        loop {
            let changed = self.changed.notified();
            if self.lanes.iter().any(|lane| lane.is_up()) {
                return Ok(());
            }
            if timeout_at(deadline, changed).await.is_err() {
                let trouble = self.lanes[0].trouble();
                let cause = trouble.as_deref().unwrap_or("no connection could be made in time");
                return Err(Error::unavailable(false, cause));
            }
        }
    }

    pub fn deadline(&self, limit: Option<Duration>) -> Instant {
        Instant::now() + limit.unwrap_or(self.settings.deadline).min(LONGEST)
    }

    async fn admit(&self, bytes: usize, deadline: Instant) -> Result<OwnedSemaphorePermit, Error> {
        let extra = u32::try_from(bytes / PERMIT_BYTES).unwrap_or(u32::MAX);
        let wanted = extra.saturating_add(1).min(self.settings.in_flight);
        if let Ok(permit) = self.permits.clone().try_acquire_many_owned(wanted) {
            return Ok(permit);
        }
        match timeout_at(deadline, self.permits.clone().acquire_many_owned(wanted)).await {
            Ok(Ok(permit)) => Ok(permit),
            _ => Err(Error::deadline(false, "while too many other calls were in flight")),
        }
    }

    /// The lanes in turn, those that are down left out unless all are.
    fn lane(&self) -> &Lane {
        let start = self.next.fetch_add(1, Ordering::Relaxed);
        let lanes = || (0..self.lanes.len()).map(|i| &self.lanes[(start + i) % self.lanes.len()]);
        lanes().find(|lane| lane.is_up()).unwrap_or(&self.lanes[start % self.lanes.len()])
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.tasks.iter().for_each(AbortHandle::abort);
        self.lanes.iter().for_each(|lane| lane.close());
    }
}
