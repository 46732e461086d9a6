//! Batch: many requests in one call, each with an answer of its own, in the order they came.

use std::{collections::HashMap, future::poll_fn, sync::Arc, time::Instant};

use cairn_proto::v1::{self, Response};
use prost::Message;

use super::{
    execute,
    in_flight::InFlight,
    reservation::{self, Reservation},
};
use crate::{
    codes::Problem,
    limits::{BATCH_READS, BATCH_WRITES, STARTS_PER_TURN},
    operations::Operations,
};

/// Bytes that an answer takes in its message besides its own.
const ANSWER_OVERHEAD: usize = 12;

/// Executes a batch. Its requests run side by side, so those on one key are not ordered.
pub async fn batch(
    operations: &Arc<Operations>,
    requests: Vec<v1::Request>,
    deadline: Instant,
) -> Result<Vec<Response>, Problem> {
    let (count, max) = (requests.len(), operations.state.limits.batch_requests);
    if count > max {
        let what = format!("a batch of {count} requests; at most {max} are allowed");
        return Err(Problem::Limit(what.into()));
    }
    if operations.is_hanging() {
        return Err(Problem::Busy);
    }
    Ok(Batch::new(operations, count, deadline).run(requests).await)
}

/// How many may be in flight when this one is added.
fn at_once(request: &v1::Request) -> usize {
    match execute::kind(request) {
        Some(kind) if kind.writes() => BATCH_WRITES,
        _ => BATCH_READS,
    }
}

struct Batch {
    operations: Arc<Operations>,
    answers: Vec<Response>,
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
    fn new(operations: &Arc<Operations>, count: usize, deadline: Instant) -> Self {
        Self {
            answers: vec![Response::default(); count],
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
    async fn run(mut self, requests: Vec<v1::Request>) -> Vec<Response> {
        let mut waiting = requests.into_iter().enumerate();
        let mut next = self.with_reservation(waiting.next());
        let mut started = 0;
        loop {
            // What still runs at the deadline keeps its place; the others need none to be refused.
            while let Some((index, request, reservation)) =
                next.take_if(|(_, request, reservation)| {
                    Instant::now() >= self.deadline || self.has_room(request, *reservation)
                })
            {
                self.start(index, request, reservation);
                next = self.with_reservation(waiting.next());
                started += 1;
                if started % STARTS_PER_TURN == 0 {
                    tokio::task::yield_now().await;
                }
            }
            if self.answered == self.answers.len() {
                return self.answers;
            }
            if let Some((index, answer)) =
                poll_fn(|context| self.in_flight.poll_next(context)).await
            {
                self.keep(index as usize, answer);
            }
        }
    }

    fn with_reservation(
        &self,
        next: Option<(usize, v1::Request)>,
    ) -> Option<(usize, v1::Request, Reservation)> {
        let (index, request) = next?;
        let reservation = reservation::of(&self.operations.state, &request);
        Some((index, request, reservation))
    }

    /// Whether a request may be started now. One whose answer may be large runs when there is room for all it may be, or alone.
    fn has_room(&self, request: &v1::Request, reservation: Reservation) -> bool {
        let fits = self.bytes + self.reserved_bytes + reservation.bytes <= self.bytes_max;
        self.in_flight.has_room(at_once(request))
            && (reservation.bytes == 0 || self.reserved_bytes == 0 || fits)
    }

    fn start(&mut self, index: usize, request: v1::Request, reservation: Reservation) {
        let now = Instant::now();
        let kind = execute::kind(&request);
        let reads = kind.is_some_and(|kind| !kind.writes())
            || (reservation.bytes > 0 && !reservation.writes);
        // Nothing else is reserved when a reservation does not fit: so this is the room that is left for good.
        let fits = self.bytes + reservation.bytes <= self.bytes_max;
        let answer = if now >= self.deadline {
            Some(self.in_flight.refuse(&request, now, Problem::Deadline { in_doubt: false }))
        } else if (reads && self.bytes >= self.bytes_max)
            || (reservation.bytes > 0 && reservation.writes && !fits)
        {
            Some(self.in_flight.refuse(&request, now, too_large()))
        } else {
            if reservation.bytes > 0 {
                self.reserved_bytes += reservation.bytes;
                self.promised_bytes += promised(reservation);
                self.reserved.insert(index, reservation);
            }
            self.in_flight.start(index as u64, request, reservation.bytes, now, self.deadline)
        };
        if let Some(answer) = answer {
            self.keep(index, answer);
        }
    }

    /// Keeps an answer, unless the whole would be larger than a message may be. Failures and the answers of writes must not be
    /// lost, and have their room, so only what was read gives way.
    fn keep(&mut self, index: usize, answer: Response) {
        use v1::response::Response as Answers;
        let reservation = self.reserved.remove(&index);
        let reservation = reservation.unwrap_or_default();
        self.reserved_bytes -= reservation.bytes;
        self.promised_bytes -= promised(reservation);
        let bytes = answer.encoded_len() + ANSWER_OVERHEAD;
        let reads = match answer.response {
            Some(Answers::Get(_)) => true,
            Some(Answers::Operate(_)) => reservation.bytes > 0 && !reservation.writes,
            _ => false,
        };
        self.answered += 1;
        if reads && self.bytes + self.promised_bytes + bytes > self.bytes_max {
            self.bytes = self.bytes.max(self.bytes_max - self.promised_bytes.min(self.bytes_max));
            self.answers[index] = execute::response(Err(too_large()));
        } else {
            self.bytes += bytes;
            self.answers[index] = answer;
        }
    }
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
    use cairn_proto::v1::{Code, OperateResponse, response::Response as Answers};

    use super::*;
    use crate::{config::Config, metrics::Kind, state::State};

    fn batch(count: usize, deadline: Instant) -> Batch {
        let io = IoEngine { kind: IoKind::Pool, reason: String::new() };
        let state = State::new(Config::dev(Path::new("unused")), io, Vec::new(), 1);
        let metrics = Arc::clone(&state.workers[0]);
        let operations = Arc::new(Operations { state: Arc::new(state), metrics });
        Batch::new(&operations, count, deadline)
    }

    fn code(answer: &Response) -> Option<Code> {
        match &answer.response {
            Some(Answers::Failure(failure)) => Some(failure.code()),
            _ => None,
        }
    }

    /// A device that hangs would keep the client waiting for ever: at its deadline the batch is answered, although one request
    /// runs on and others never got a place.
    #[tokio::test]
    async fn the_deadline_ends_a_batch() {
        let deadline = Instant::now() + Duration::from_millis(20);
        let mut batch = batch(2 + BATCH_READS, deadline);
        for index in 2..2 + BATCH_READS {
            batch.in_flight.hang(index as u64, Kind::Get, deadline);
        }
        let get = v1::request::Request::Get(v1::GetRequest::default());
        let answers = batch.run(vec![v1::Request { request: Some(get) }; 2]).await;
        assert!(answers.iter().all(|answer| code(answer) == Some(Code::Deadline)), "{answers:?}");
    }

    /// An operate that reads much and writes nothing gives way to what must not be lost; one that writes has its room kept free.
    #[tokio::test]
    async fn what_was_written_is_not_lost() {
        let mut batch = batch(3, Instant::now() + Duration::from_secs(3600));
        let large = |share: usize| {
            let value = v1::Value { kind: Some(v1::value::Kind::String("x".repeat(share))) };
            let bins = vec![v1::Bin { name: "b".into(), value: Some(value) }];
            let answer = OperateResponse { metadata: None, bins };
            Response { response: Some(Answers::Operate(answer)) }
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
        let codes: Vec<_> = batch.answers.iter().map(code).collect();
        assert_eq!(codes, [None, None, Some(Code::Limit)]);
        assert!(batch.bytes <= max && batch.reserved_bytes == 0 && batch.promised_bytes == 0);
    }
}
