//! What becomes of a call whose attempt ended: the one place that decides whether it is made again.

use std::{
    hash::{BuildHasher, RandomState},
    time::Duration,
};

use cairn_proto::v1::{self as proto, response::Response as Answer};

use super::waiting::Reply;
use crate::Error;

const FIRST_PAUSE: Duration = Duration::from_millis(5);
const LAST_PAUSE: Duration = Duration::from_secs(1);

/// How an attempt is followed up.
#[derive(Debug)]
pub(crate) enum Decision {
    /// The call is over.
    Done(Result<Answer, Error>),
    /// Make it again. With `pause`, after the back-off; otherwise at once, on another connection.
    Again { pause: bool, error: Error },
}

/// Decides about one attempt. `again` says whether the caller has attempts left.
///
/// | what happened | read | write |
/// |---|---|---|
/// | answer | done | done |
/// | failure, retryable, not in doubt | again, after a pause | again, after a pause |
/// | any other failure | done | done |
/// | connection lost, never sent | again | again |
/// | connection lost after sending | again | done: in doubt |
/// | deadline passed | done | done: in doubt if it was sent |
pub(crate) fn decide(reply: Reply, write: bool, again: bool) -> Decision {
    match reply {
        Reply::Answer(Answer::Failure(failure)) => decide_failure(failure, again),
        Reply::Answer(answer) => Decision::Done(Ok(answer)),
        Reply::Lost { sent, cause } => {
            let in_doubt = write && sent;
            let error = Error::unavailable(in_doubt, &cause);
            // A call that was never sent has cost the server nothing, so it may go on as long as its deadline lets it.
            if !in_doubt && (again || !sent) {
                return Decision::Again { pause: false, error };
            }
            Decision::Done(Err(error))
        }
        Reply::Expired { sent: true } => {
            Decision::Done(Err(Error::deadline(write, "before the answer came")))
        }
        Reply::Expired { sent: false } => {
            Decision::Done(Err(Error::deadline(false, "before the call could be sent")))
        }
    }
}

fn decide_failure(failure: proto::Failure, again: bool) -> Decision {
    let error = Error::from_failure(failure);
    if again && error.retryable && !error.in_doubt {
        return Decision::Again { pause: true, error };
    }
    Decision::Done(Err(error))
}

/// Pauses that double, each shortened by a random part so that many clients do not come back in step.
#[derive(Debug)]
pub(crate) struct Backoff {
    next: Duration,
}

impl Backoff {
    pub fn new() -> Self {
        Self { next: FIRST_PAUSE }
    }

    /// The next pause.
    pub fn pause(&mut self) -> Duration {
        let pause = self.next;
        self.next = (pause * 2).min(LAST_PAUSE);
        // The standard library's hash keys are random; a generator of its own would be one more dependency.
        let random = RandomState::new().hash_one(0) % 256;
        pause - pause * (random as u32) / 512
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Code;

    fn failure(in_doubt: bool, retryable: bool) -> Reply {
        let code = proto::Code::Overloaded as i32;
        let failure = proto::Failure { code, in_doubt, retryable, ..Default::default() };
        Reply::Answer(Answer::Failure(failure))
    }

    fn lost(sent: bool) -> Reply {
        Reply::Lost { sent, cause: "cut".into() }
    }

    /// The whole table: a write that may have been applied is never made again, whatever happened.
    #[test]
    fn no_write_in_doubt_is_made_again() {
        let again = |reply, write| matches!(decide(reply, write, true), Decision::Again { .. });
        for write in [false, true] {
            assert!(again(failure(false, true), write));
            assert!(!again(failure(false, false), write));
            assert!(!again(failure(true, true), write));
            assert!(again(lost(false), write));
            assert_eq!(again(lost(true), write), !write);
            assert!(!again(Reply::Expired { sent: true }, write));
            assert!(!again(Reply::Expired { sent: false }, write));
        }
    }

    /// The caller is told the truth about the write: in doubt exactly when it was sent and not answered.
    #[test]
    fn doubt_is_told_exactly() {
        let doubt = |reply, write| match decide(reply, write, false) {
            Decision::Done(Err(error)) => (error.code, error.in_doubt),
            other => panic!("{other:?}"),
        };
        assert_eq!(doubt(lost(true), true), (Code::Unavailable, true));
        assert_eq!(doubt(lost(true), false), (Code::Unavailable, false));
        assert_eq!(doubt(Reply::Expired { sent: true }, true), (Code::Deadline, true));
        assert_eq!(doubt(Reply::Expired { sent: true }, false), (Code::Deadline, false));
        assert_eq!(doubt(Reply::Expired { sent: false }, true), (Code::Deadline, false));
        assert_eq!(doubt(failure(true, true), true), (Code::Overloaded, true));
    }

    /// Pauses grow to a bound, so that a dead server is neither hammered nor forgotten.
    #[test]
    fn pauses_grow_to_a_bound() {
        let mut backoff = Backoff::new();
        let pauses: Vec<_> = (0..20).map(|_| backoff.pause()).collect();
        assert!(pauses[0] <= FIRST_PAUSE && pauses[0] > Duration::ZERO);
        assert!(pauses[19] >= LAST_PAUSE / 2 && pauses[19] <= LAST_PAUSE);
    }
}
