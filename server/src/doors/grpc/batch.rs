//! Batch: many requests in one call, each with an answer of its own, in the order they came.

use std::{collections::HashMap, future::poll_fn, sync::Arc, time::Instant};

use bytes::Bytes;

use super::{
    answer::{Answer, Outcome, put_outcome},
    call::{Opened, open},
    framing::{ROOM, framed},
    in_flight::InFlight,
    reservation::Reservation,
    wire::{Entries, put_bytes, sized_len},
};
use crate::{
    codes::Problem,
    limits::{BATCH_READS, BATCH_WRITES, STARTS_PER_TURN},
    operations::Operations,
};

/// Executes the batch in `message`, and answers it with a framed message. Its requests run side by side, so those on one key are
/// not ordered.
pub async fn batch(
    operations: &Arc<Operations>,
    message: &[u8],
    deadline: Instant,
) -> Result<Bytes, Problem> {
    let max = operations.state.limits.batch_requests;
    let requests = Entries::new(message, max)?;
    if operations.is_hanging() {
        return Err(Problem::Busy);
    }
    let answers = Batch::new(operations, deadline).run(requests).await;
    let bytes: usize = answers.iter().map(|answer| sized_len(answer.len())).sum();
    let mut message = Vec::with_capacity(ROOM.len() + bytes);
    message.extend_from_slice(&ROOM);
    answers.iter().for_each(|answer| put_bytes(1, answer, &mut message));
    Ok(framed(message))
}

/// A request that is opened and not started.
struct Next {
    index: usize,
    /// What it is, or why it cannot be executed.
    call: Opened,
    reservation: Reservation,
}

impl Next {
    /// How many may be in flight when this one is added.
    fn at_once(&self) -> usize {
        match self.call {
            Ok((kind, _)) if kind.writes() => BATCH_WRITES,
            _ => BATCH_READS,
        }
    }
}

struct Batch {
    operations: Arc<Operations>,
    /// The answers that are there, each the bytes of a [`Response`](cairn_proto::v1::Response).
    answers: Vec<Vec<u8>>,
    /// How many of them are there.
    answered: usize,
    bytes: usize,
    bytes_max: usize,
    in_flight: InFlight,
    /// What the operates in flight may be answered with, and all of those together.
    reserved: HashMap<usize, Reservation>,
    reserved_bytes: usize,
    /// Of those together, what belongs to operates that write.
    promised_bytes: usize,
    deadline: Instant,
}

impl Batch {
    fn new(operations: &Arc<Operations>, deadline: Instant) -> Self {
        Self {
            answers: Vec::new(),
            answered: 0,
            bytes: 0,
            bytes_max: operations.state.message_bytes,
            in_flight: InFlight::new(Arc::clone(operations)),
            reserved: HashMap::new(),
            reserved_bytes: 0,
            promised_bytes: 0,
            operations: Arc::clone(operations),
            deadline,
        }
    }

    /// Answers every request, at its deadline at the latest: what still runs then is let go.
    async fn run(mut self, mut requests: Entries<&[u8]>) -> Vec<Vec<u8>> {
        let mut next = self.open(&mut requests);
        let mut started = 0;
        loop {
            // What still runs at the deadline keeps its place; the others need none to be refused.
            while let Some(first) =
                next.take_if(|next| Instant::now() >= self.deadline || self.has_room(next))
            {
                self.start(first);
                next = self.open(&mut requests);
                started += 1;
                if started % STARTS_PER_TURN == 0 {
                    tokio::task::yield_now().await;
                }
            }
            if self.answered == self.answers.len() {
                return self.answers;
            }
            if let Some((index, outcome)) =
                poll_fn(|context| self.in_flight.poll_next(context)).await
            {
                self.keep(index as usize, outcome);
            }
        }
    }

    /// The next request, with a place for its answer.
    fn open(&mut self, requests: &mut Entries<&[u8]>) -> Option<Next> {
        let call = open(requests.next()?, &self.operations.state);
        let reservation = match &call {
            Ok((_, Ok(call))) => call.reservation(),
            _ => Reservation::default(),
        };
        self.answers.push(Vec::new());
        Some(Next { index: self.answers.len() - 1, call, reservation })
    }

    /// Whether a request may be started now. One whose answer may be large runs when there is room for all it may be, or alone.
    fn has_room(&self, next: &Next) -> bool {
        let reservation = next.reservation;
        let fits = self.bytes + self.reserved_bytes + reservation.bytes <= self.bytes_max;
        self.in_flight.has_room(next.at_once())
            && (reservation.bytes == 0 || self.reserved_bytes == 0 || fits)
    }

    fn start(&mut self, next: Next) {
        let now = Instant::now();
        let Next { index, call, reservation } = next;
        let (kind, call) = match call {
            Ok(call) => call,
            Err(problem) => return self.keep(index, Err(problem)),
        };
        let reads = !kind.writes() || (reservation.bytes > 0 && !reservation.writes);
        // Nothing else is reserved when a reservation does not fit: so this is the room that is left for good.
        let fits = self.bytes + reservation.bytes <= self.bytes_max;
        let call = if now >= self.deadline {
            Err(Problem::Deadline { in_doubt: false })
        } else if (reads && self.bytes >= self.bytes_max)
            || (reservation.bytes > 0 && reservation.writes && !fits)
        {
            Err(too_large())
        } else {
            call
        };
        let outcome = match call {
            Err(problem) => Some(self.in_flight.refuse(kind, now, problem)),
            Ok(call) => {
                if reservation.bytes > 0 {
                    self.reserved_bytes += reservation.bytes;
                    self.promised_bytes += promised(reservation);
                    self.reserved.insert(index, reservation);
                }
                self.in_flight.start(index as u64, kind, call, now, self.deadline)
            }
        };
        if let Some(outcome) = outcome {
            self.keep(index, outcome);
        }
    }

    /// Keeps an answer, unless the whole would be larger than a message may be. Failures and the answers of writes must not be
    /// lost, and have their room, so only what was read gives way.
    fn keep(&mut self, index: usize, outcome: Outcome) {
        let reservation = self.reserved.remove(&index);
        let reservation = reservation.unwrap_or_default();
        self.reserved_bytes -= reservation.bytes;
        self.promised_bytes -= promised(reservation);
        let reads = match outcome {
            Ok(Answer::Found(_)) => true,
            Ok(Answer::Operated(_)) => reservation.bytes > 0 && !reservation.writes,
            _ => false,
        };
        let mut answer = written(&outcome);
        let bytes = sized_len(answer.len());
        self.answered += 1;
        if reads && self.bytes + self.promised_bytes + bytes > self.bytes_max {
            self.bytes = self.bytes.max(self.bytes_max - self.promised_bytes.min(self.bytes_max));
            answer = written(&Err(too_large()));
        } else {
            self.bytes += bytes;
        }
        self.answers[index] = answer;
    }
}

fn written(outcome: &Outcome) -> Vec<u8> {
    let mut answer = Vec::new();
    put_outcome(outcome, &mut answer, |_, _| {});
    answer
}

/// The room that an answer which must not be lost has.
fn promised(reservation: Reservation) -> usize {
    if reservation.writes { reservation.bytes } else { 0 }
}

fn too_large() -> Problem {
    Problem::Limit(
        "the batch's answer would be larger than a message may be: ask for fewer records at once"
            .into(),
    )
}

#[cfg(test)]
mod tests {
    use std::{path::Path, time::Duration};

    use cairn_engine::device::{IoEngine, IoKind};
    use cairn_proto::v1::{self, Code, OperateResponse, Response, response::Response as Answers};
    use prost::Message;

    use super::*;
    use crate::{config::Config, metrics::Kind, state::State};

    fn batch(deadline: Instant) -> Batch {
        let io = IoEngine { kind: IoKind::Pool, reason: String::new() };
        let state = State::new(Config::dev(Path::new("unused")), io, Vec::new(), 1);
        let metrics = Arc::clone(&state.workers[0]);
        let operations = Arc::new(Operations { state: Arc::new(state), metrics });
        Batch::new(&operations, deadline)
    }

    fn code(answer: &[u8]) -> Option<Code> {
        match Response::decode(answer).unwrap().response {
            Some(Answers::Failure(failure)) => Some(failure.code()),
            _ => None,
        }
    }

    /// A device that hangs would keep the client waiting for ever: at its deadline the batch is answered, although one request
    /// runs on and others never got a place.
    #[tokio::test]
    async fn the_deadline_ends_a_batch() {
        let deadline = Instant::now() + Duration::from_millis(20);
        let mut batch = batch(deadline);
        for index in 0..BATCH_READS {
            batch.in_flight.hang(index as u64, Kind::Get, deadline);
            batch.answers.push(Vec::new());
        }
        let get = v1::request::Request::Get(v1::GetRequest::default());
        let requests = vec![v1::Request { request: Some(get) }; 2];
        let message = v1::BatchRequest { requests }.encode_to_vec();
        let answers = batch.run(Entries::new(&message[..], 2).unwrap()).await;
        assert_eq!(answers.len(), BATCH_READS + 2);
        assert!(answers.iter().all(|answer| code(answer) == Some(Code::Deadline)), "{answers:?}");
    }

    /// An operate that reads much and writes nothing gives way to what must not be lost; one that writes has its room kept free.
    #[tokio::test]
    async fn what_was_written_is_not_lost() {
        let mut batch = batch(Instant::now() + Duration::from_secs(3600));
        batch.answers = vec![Vec::new(); 3];
        let large = |share: usize| {
            let value = v1::Value { kind: Some(v1::value::Kind::String("x".repeat(share))) };
            let bins = vec![v1::Bin { name: "b".into(), value: Some(value) }];
            Ok(Answer::Operated(OperateResponse { metadata: None, bins }))
        };
        let max = batch.bytes_max;
        for (index, writes) in [(0, false), (1, true), (2, false)] {
            let reservation = Reservation { bytes: max / 2, writes };
            batch.reserved.insert(index, reservation);
            batch.reserved_bytes += reservation.bytes;
            batch.promised_bytes += promised(reservation);
        }
        batch.keep(0, large(max / 4));
        batch.keep(2, large(max / 3));
        batch.keep(1, large(max / 2 - 100));
        let codes: Vec<_> = batch.answers.iter().map(|answer| code(answer)).collect();
        assert_eq!(codes, [None, None, Some(Code::Limit)]);
        assert!(batch.bytes <= max && batch.reserved_bytes == 0 && batch.promised_bytes == 0);
    }
}
