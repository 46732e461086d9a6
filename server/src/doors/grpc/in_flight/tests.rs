//! Deadlines, places and counts of requests that do not end.

use std::{future::poll_fn, path::Path, time::Duration};

use cairn_engine::device::{IoEngine, IoKind};
use tokio::sync::oneshot;

use super::{
    super::answer::{Answer, DELETE},
    *,
};
use crate::{config::Config, state::State};

fn none() -> InFlight {
    let io = IoEngine { kind: IoKind::Pool, reason: String::new() };
    let state = State::new(Config::dev(Path::new("unused")), io, Vec::new(), 1);
    let metrics = Arc::clone(&state.workers[0]);
    InFlight::new(Arc::new(Operations { state: Arc::new(state), metrics }))
}

/// A request that is done when the sender says so.
fn running(id: u64, kind: Kind, time: Duration) -> (Running, oneshot::Sender<Answer>) {
    let (end, ended) = oneshot::channel();
    let execution = Box::pin(async { ended.await.map_err(|_| Problem::NotFound) });
    let started = Instant::now();
    let deadline = started + time;
    let (reserved, answered) = (100, false);
    let running =
        Running { id, namespace: None, kind, reserved, started, deadline, answered, execution };
    (running, end)
}

async fn next(in_flight: &mut InFlight) -> Option<Done> {
    poll_fn(|context| in_flight.poll_next(context)).await
}

/// Requests whose deadline passes are answered then, once, a write in doubt and a read not; they keep their place until they
/// end, and others are not touched.
#[tokio::test]
async fn deadlines_answer_and_keep_the_place() {
    let mut in_flight = none();
    let (soon, late) = (Duration::from_millis(5), Duration::from_secs(3600));
    let mut ends = Vec::new();
    for (id, kind, time) in [(1, Kind::Get, late), (2, Kind::Put, soon), (3, Kind::Get, soon)] {
        let (running, end) = running(id, kind, time);
        assert!(in_flight.begin(running).is_none());
        ends.push(end);
    }
    let mut failed = Vec::new();
    for _ in 0..2 {
        match next(&mut in_flight).await {
            Some((id, Err(problem))) => {
                assert_eq!(problem.code(), Code::Deadline);
                failed.push((id, problem.in_doubt()));
            }
            other => panic!("{other:?}"),
        }
    }
    failed.sort_unstable();
    assert_eq!(failed, [(2, true), (3, false)]);
    assert!(in_flight.has_room(4) && !in_flight.has_room(3));
    assert!(in_flight.has_bytes(10, 310) && !in_flight.has_bytes(11, 310));
    assert!(in_flight.has_bytes(0, 0));
    for end in ends {
        end.send(Answer::Done(DELETE, None)).unwrap();
    }
    assert!(matches!(next(&mut in_flight).await, Some((1, Ok(Answer::Done(DELETE, None))))));
    assert!(next(&mut in_flight).await.is_none());
    assert!(in_flight.has_bytes(1000, 1));
    assert_eq!(in_flight.operations.metrics.in_flight.load(Relaxed), 0);
}

/// What is dropped unfinished is no longer counted as in flight.
#[tokio::test]
async fn dropped_is_not_in_flight() {
    let mut in_flight = none();
    let metrics = Arc::clone(&in_flight.operations.metrics);
    let (running, _end) = running(1, Kind::Put, Duration::from_secs(3600));
    assert!(in_flight.begin(running).is_none());
    assert_eq!(metrics.in_flight.load(Relaxed), 1);
    drop(in_flight);
    assert_eq!(metrics.in_flight.load(Relaxed), 0);
}

/// Every request is counted once, whether many are answered in a row, some are refused, or all is dropped just behind.
#[tokio::test]
async fn answers_are_counted_once() {
    let mut in_flight = none();
    let metrics = Arc::clone(&in_flight.operations.metrics);
    let count = 2 * COUNTED_AT_ONCE as u64 + 3;
    for _ in 0..count {
        assert!(in_flight.refuse(Kind::Put, Instant::now(), Problem::Stopping).is_err());
    }
    assert!(next(&mut in_flight).await.is_none());
    assert_eq!(metrics.operations(), count);
    let (running, end) = running(1, Kind::Get, Duration::from_secs(3600));
    assert!(in_flight.begin(running).is_none());
    end.send(Answer::Done(DELETE, None)).unwrap();
    assert!(matches!(next(&mut in_flight).await, Some((1, Ok(_)))));
    drop(in_flight);
    assert_eq!(metrics.operations(), count + 1);
}
