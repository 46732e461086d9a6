//! Batch: many requests in one call, each with an answer of its own, in the order they came.

use std::{future::poll_fn, sync::Arc, time::Instant};

use cairn_proto::v1::{self, Response};
use prost::Message;

use super::{execute, in_flight::InFlight};
use crate::{
    codes::Problem,
    limits::{BATCH_READS, BATCH_WRITES, STARTS_PER_TURN},
    operations::Operations,
};

/// Bytes that an answer takes in its message besides its own.
const ANSWER_OVERHEAD: usize = 12;

/// Executes a batch.
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
    let mut batch = Batch {
        answers: vec![Response::default(); count],
        bytes: 0,
        bytes_max: operations.state.message_bytes,
        in_flight: InFlight::new(Arc::clone(operations)),
        deadline,
    };
    let mut waiting = requests.into_iter().enumerate().peekable();
    let mut started = 0;
    loop {
        while let Some((index, request)) =
            waiting.next_if(|(_, request)| batch.in_flight.has_room(at_once(request)))
        {
            batch.start(index, request);
            started += 1;
            if started % STARTS_PER_TURN == 0 {
                tokio::task::yield_now().await;
            }
        }
        match poll_fn(|context| batch.in_flight.poll_next(context)).await {
            Some((index, answer)) => batch.keep(index as usize, answer),
            None if waiting.peek().is_none() => return Ok(batch.answers),
            None => {}
        }
    }
}

/// How many may be in flight when this one is added.
fn at_once(request: &v1::Request) -> usize {
    match execute::kind(request) {
        Some(kind) if kind.writes() => BATCH_WRITES,
        _ => BATCH_READS,
    }
}

struct Batch {
    answers: Vec<Response>,
    bytes: usize,
    bytes_max: usize,
    in_flight: InFlight,
    deadline: Instant,
}

impl Batch {
    fn start(&mut self, index: usize, request: v1::Request) {
        let now = Instant::now();
        let reads = execute::kind(&request).is_some_and(|kind| !kind.writes());
        let answer = if now >= self.deadline {
            Some(self.in_flight.refuse(&request, now, Problem::Deadline { in_doubt: false }))
        } else if reads && self.bytes >= self.bytes_max {
            Some(self.in_flight.refuse(&request, now, too_large()))
        } else {
            self.in_flight.start(index as u64, request, now, self.deadline)
        };
        if let Some(answer) = answer {
            self.keep(index, answer);
        }
    }

    /// Keeps an answer, unless the whole would be larger than a message may be. Failures and the answers of writes are small
    /// and must not be lost, so only what was read gives way.
    fn keep(&mut self, index: usize, answer: Response) {
        use v1::response::Response as Answers;
        let bytes = answer.encoded_len() + ANSWER_OVERHEAD;
        let reads = matches!(answer.response, Some(Answers::Get(_)));
        if reads && self.bytes + bytes > self.bytes_max {
            self.bytes = self.bytes_max;
            self.answers[index] = execute::response(Err(too_large()));
        } else {
            self.bytes += bytes;
            self.answers[index] = answer;
        }
    }
}

fn too_large() -> Problem {
    Problem::Limit(
        "the batch's answer would be larger than a message may be: ask for fewer records at once"
            .into(),
    )
}
