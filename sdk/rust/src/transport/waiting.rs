//! The calls of one connection: who is queued, who is in flight, who waits until when. Plain data under the lane's lock.
//!
//! An id is a slot number and the count of calls that ever used the slots, so that an answer to a call that is over
//! (its deadline passed) finds nobody instead of the slot's next owner.

use std::{collections::VecDeque, sync::Arc};

use cairn_proto::v1::{PipelineAnswer, response::Response as Answer};
use tokio::{
    sync::{OwnedSemaphorePermit, oneshot},
    time::Instant,
};

use crate::wire::{Item, Request};

/// Most items in one message: what the server may still be asked for at once is 1024.
const ITEMS_MAX: usize = 256;
/// A message is closed when it holds this many bytes.
const MESSAGE_BYTES: usize = 512 * 1024;
const SLOT_BITS: u32 = 24;

/// How one attempt ended.
#[derive(Debug)]
pub(crate) enum Reply {
    /// The server answered, perhaps with a failure.
    Answer(Answer),
    /// The connection broke. `sent`: the request may have reached the server.
    Lost { sent: bool, cause: Arc<str> },
    /// The deadline passed.
    Expired { sent: bool },
}

/// Who made a call, and the room it takes. The room is kept here and not with the caller: a caller that gives up leaves
/// its call queued or with the node, and what is there must stay within the bound.
#[derive(Debug)]
pub(crate) struct Caller {
    pub reply: oneshot::Sender<(Reply, OwnedSemaphorePermit)>,
    pub permit: OwnedSemaphorePermit,
}

impl Caller {
    /// Tells the caller how its attempt ended, and gives the room back to it, for another attempt.
    pub fn tell(self, reply: Reply) {
        let _ = self.reply.send((reply, self.permit));
    }
}

/// A call on its way.
#[derive(Debug)]
pub(crate) struct Call {
    pub request: Request,
    pub deadline: Instant,
    pub caller: Caller,
}

/// A call that was sent; its request is the caller's own to send again.
#[derive(Debug)]
struct Sent {
    id: u64,
    deadline: Instant,
    caller: Caller,
}

/// Queued calls and calls in flight.
#[derive(Debug, Default)]
pub(crate) struct Waiting {
    queue: VecDeque<Call>,
    slots: Vec<Option<Sent>>,
    free: Vec<u32>,
    calls: u64,
    /// No deadline is earlier; `None` when nobody waits.
    earliest: Option<Instant>,
}

impl Waiting {
    /// Queues a call. Returns whether its deadline is earlier than all others.
    pub fn push(&mut self, call: Call) -> bool {
        let first = self.earliest.is_none_or(|earliest| call.deadline < earliest);
        if first {
            self.earliest = Some(call.deadline);
        }
        self.queue.push_back(call);
        first
    }

    /// The next message: what is queued, up to the bounds. Empty when nothing is queued.
    pub fn take_message(&mut self, now: Instant) -> Vec<Item> {
        let mut items = Vec::with_capacity(self.queue.len().min(ITEMS_MAX));
        let mut bytes = 0;
        while items.len() < ITEMS_MAX && bytes < MESSAGE_BYTES {
            let Some(call) = self.queue.pop_front() else { break };
            // A caller that dropped its call does not want it done, and it has not been sent yet.
            if call.caller.reply.is_closed() {
                continue;
            }
            bytes += call.request.len();
            let left = call.deadline.saturating_duration_since(now).as_millis();
            let deadline_ms = u32::try_from(left).unwrap_or(u32::MAX).max(1);
            let id = self.occupy(call.deadline, call.caller);
            items.push(Item { id, deadline_ms, request: call.request });
        }
        items
    }

    fn occupy(&mut self, deadline: Instant, caller: Caller) -> u64 {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            (self.slots.len() - 1) as u32
        });
        assert!(slot < 1 << SLOT_BITS, "more calls in flight than ids");
        self.calls += 1;
        let id = self.calls << SLOT_BITS | u64::from(slot);
        self.slots[slot as usize] = Some(Sent { id, deadline, caller });
        id
    }

    /// Who waits for this answer; `None` when nobody does any more.
    pub fn answered(&mut self, id: u64) -> Option<Caller> {
        let slot = (id & ((1 << SLOT_BITS) - 1)) as usize;
        let sent = self.slots.get_mut(slot)?.take_if(|sent| sent.id == id)?;
        self.free.push(slot as u32);
        Some(sent.caller)
    }

    /// The earliest instant at which [`expire`](Self::expire) may have something to do.
    pub fn earliest(&self) -> Option<Instant> {
        self.earliest
    }

    /// Ends every call whose deadline is over.
    pub fn expire(&mut self, now: Instant) {
        let mut earliest: Option<Instant> = None;
        let mut keep = |deadline: Instant| {
            earliest = Some(earliest.map_or(deadline, |other| other.min(deadline)));
        };
        for call in std::mem::take(&mut self.queue) {
            if call.deadline <= now {
                call.caller.tell(Reply::Expired { sent: false });
            } else {
                keep(call.deadline);
                self.queue.push_back(call);
            }
        }
        for (slot, sent) in self.slots.iter_mut().enumerate() {
            if let Some(over) = sent.take_if(|sent| sent.deadline <= now) {
                self.free.push(slot as u32);
                over.caller.tell(Reply::Expired { sent: true });
            } else if let Some(sent) = sent {
                keep(sent.deadline);
            }
        }
        self.earliest = earliest;
    }

    /// Ends every call: the connection is lost. `sent` tells whether those in flight may have reached the server.
    pub fn lose(&mut self, sent: bool, cause: &Arc<str>) {
        for call in self.queue.drain(..) {
            call.caller.tell(Reply::Lost { sent: false, cause: cause.clone() });
        }
        for call in self.slots.drain(..).flatten() {
            call.caller.tell(Reply::Lost { sent, cause: cause.clone() });
        }
        self.free.clear();
        self.earliest = None;
    }
}

/// The answer inside an item of a pipeline message; `None` when it is one this client does not know.
pub(crate) fn answer_of(answer: PipelineAnswer) -> Option<Answer> {
    answer.response?.response
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Key, policy::ReadPolicy};
    use std::time::Duration;
    use tokio::sync::Semaphore;

    type Receiver = oneshot::Receiver<(Reply, OwnedSemaphorePermit)>;

    fn push(waiting: &mut Waiting, deadline: Instant) -> Receiver {
        let request = Request::get(&Key::new("test", "", 1), &[], ReadPolicy::default());
        let (reply, receiver) = oneshot::channel();
        let permit = Arc::new(Semaphore::new(1)).try_acquire_owned().expect("there is one");
        waiting.push(Call { request, deadline, caller: Caller { reply, permit } });
        receiver
    }

    /// An answer that comes after its caller gave up must not reach the next caller in the same slot.
    #[test]
    fn a_late_answer_finds_nobody() {
        let (mut waiting, now) = (Waiting::default(), Instant::now());
        let mut first = push(&mut waiting, now);
        let id = waiting.take_message(now)[0].id;
        waiting.expire(now);
        assert!(matches!(first.try_recv(), Ok((Reply::Expired { sent: true }, _))));

        let mut second = push(&mut waiting, now + Duration::from_secs(1));
        let next = waiting.take_message(now)[0].id;
        assert!(waiting.answered(id).is_none());
        assert!(second.try_recv().is_err());
        assert!(waiting.answered(next).is_some());
    }

    /// What was never sent is told apart from what may have reached the server: only the first is safe to repeat.
    #[test]
    fn a_lost_connection_knows_what_was_sent() {
        let (mut waiting, now) = (Waiting::default(), Instant::now());
        let later = now + Duration::from_secs(1);
        let mut sent = push(&mut waiting, later);
        assert_eq!(waiting.take_message(now).len(), 1);
        let mut queued = push(&mut waiting, later);
        waiting.lose(true, &"cut".into());
        assert!(matches!(sent.try_recv(), Ok((Reply::Lost { sent: true, .. }, _))));
        assert!(matches!(queued.try_recv(), Ok((Reply::Lost { sent: false, .. }, _))));
        assert_eq!(waiting.earliest(), None);
    }

    /// Messages are bounded, and a call that was dropped while queued is not sent at all.
    #[test]
    fn messages_are_bounded_and_dropped_calls_skipped() {
        let (mut waiting, now) = (Waiting::default(), Instant::now());
        let mut receivers: Vec<_> =
            (0..ITEMS_MAX + 10).map(|_| push(&mut waiting, now + Duration::from_secs(1))).collect();
        receivers.truncate(ITEMS_MAX + 5);
        assert_eq!(waiting.take_message(now).len(), ITEMS_MAX);
        assert_eq!(waiting.take_message(now).len(), 5);
        assert_eq!(waiting.take_message(now).len(), 0);
    }
}
