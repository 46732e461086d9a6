//! One message of a batch: sent, perhaps again, and answered in time.

use std::{future::Future, pin::pin, time::Duration};

use cairn_proto::v1::BatchResponse;
use futures::FutureExt;
use tokio::time::{Instant, sleep, sleep_until};
use tonic::{client::Grpc, codegen::http::uri::PathAndQuery};

use super::{Answered, read};
use crate::{
    Client, Error,
    error::cause_of,
    transport::{Backoff, BatchCodec},
    wire::Request,
};

/// Most requests in one message; the server takes 5000.
const MESSAGE_REQUESTS: usize = 1000;
/// A message is closed when it holds this many bytes.
const MESSAGE_BYTES: usize = 1 << 20;
/// How much earlier than the caller the node gives up, at most: its answer, which tells of each request whether it was
/// carried out, must still arrive.
const MARGIN_MAX: Duration = Duration::from_millis(50);
const MARGIN_MIN: Duration = Duration::from_millis(2);

/// Divides a batch into messages.
pub(super) fn split(requests: Vec<Request>) -> Vec<Vec<Request>> {
    let mut messages: Vec<Vec<Request>> = Vec::new();
    let mut bytes = usize::MAX;
    for request in requests {
        let full = bytes >= MESSAGE_BYTES
            || messages.last().is_none_or(|message| message.len() == MESSAGE_REQUESTS);
        if full {
            messages.push(Vec::new());
            bytes = 0;
        }
        bytes += request.len();
        messages.last_mut().expect("one was pushed").push(request);
    }
    messages
}

/// Sends one message until it is answered or nothing more can be done: one answer for each request.
pub(super) async fn send(
    client: &Client,
    message: Vec<Request>,
    deadline: Instant,
) -> Vec<Result<Answered, Error>> {
    let mut retries = client.pool().settings().retries;
    let any_write = message.iter().any(|request| request.write);
    let mut backoff = Backoff::new();
    loop {
        let error = match attempt(client, message.clone(), any_write, deadline).await {
            Ok(response) if response.responses.len() == message.len() => {
                let answers = response.responses.into_iter().zip(&message);
                return answers.map(|(answer, asked)| read(answer.response, asked)).collect();
            }
            Ok(_) => Error::unexpected(any_write),
            Err(error) => error,
        };
        let pause = backoff.pause();
        let again = error.retryable && !error.in_doubt && retries > 0;
        if !again || Instant::now() + pause >= deadline {
            let each = |request: &Request| {
                Err(Error { in_doubt: error.in_doubt && request.write, ..error.clone() })
            };
            return message.iter().map(each).collect();
        }
        retries -= 1;
        sleep(pause).await;
    }
}

async fn attempt(
    client: &Client,
    message: Vec<Request>,
    any_write: bool,
    deadline: Instant,
) -> Result<BatchResponse, Error> {
    let pool = client.pool();
    let channel = pool.message_channel(deadline).await?;
    let mut grpc = Grpc::new(channel).max_decoding_message_size(pool.settings().max_message);
    let mut request = tonic::Request::new(message);
    let left = deadline.saturating_duration_since(Instant::now());
    let margin = margin(left);
    request.set_timeout(left.saturating_sub(margin));
    let path = PathAndQuery::from_static("/cairn.v1.Records/Batch");
    let call = async {
        grpc.ready().await.map_err(|error| Error::unavailable(false, &cause_of(&error)))?;
        grpc.unary(request, path, BatchCodec)
            .await
            .map_err(|status| Error::from_status(&status, any_write))
    };
    // Before the transport's own timer can fire, also where the header rounded the time down.
    let quiet = deadline.checked_sub(2 * margin).unwrap_or(deadline);
    let response = answer_by(call, quiet, deadline).await;
    response
        .unwrap_or_else(|| Err(Error::deadline(any_write, "before the batch was answered")))
        .map(tonic::Response::into_inner)
}

fn margin(left: Duration) -> Duration {
    // Times of more than a day travel as whole seconds.
    if left > Duration::from_secs(24 * 3600) {
        return Duration::from_secs(2);
    }
    (left / 10).clamp(MARGIN_MIN, MARGIN_MAX).min(left / 4)
}

/// Waits for the answer until `deadline`; from `quiet` on without looking. The transport gives up by itself when the time
/// that the node was given is over, which is just when the node's answer is on its way, but it does so only when it is
/// asked, and an answer that has arrived comes first: so it is asked once, at the end.
async fn answer_by<T>(
    call: impl Future<Output = Result<T, Error>>,
    quiet: Instant,
    deadline: Instant,
) -> Option<Result<T, Error>> {
    let mut call = pin!(call);
    tokio::select! {
        // The time first: a task that wakes late must not ask when the transport's timer is over already.
        biased;
        () = sleep_until(quiet) => {}
        answer = &mut call => return Some(answer),
    }
    sleep_until(deadline).await;
    // What fails only now is the transport that gave up.
    call.now_or_never().filter(Result::is_ok)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::task::Poll;

    /// An answer that the node gives when its time is over, which is when the transport gives up, reaches the caller by
    /// the caller's own deadline; without one, the call is over then all the same.
    #[tokio::test]
    async fn answers_at_the_last_moment_arrive() {
        for answered in [true, false] {
            let start = Instant::now();
            let after = |ms| start + Duration::from_millis(ms);
            let (mut answer, mut gives_up) =
                (Box::pin(sleep_until(after(80))), Box::pin(sleep_until(after(60))));
            let call = std::future::poll_fn(move |context| {
                if answer.poll_unpin(context).is_ready() && answered {
                    return Poll::Ready(Ok(()));
                }
                gives_up.poll_unpin(context).map(|()| Err(Error::unavailable(true, "gave up")))
            });
            let got = answer_by(call, after(40), after(120)).await;
            assert_eq!(got.is_some_and(|got| got.is_ok()), answered);
            assert!(Instant::now() >= after(120));
        }
    }

    /// The node's time ends before the caller's, whatever that is.
    #[test]
    fn the_node_gives_up_first() {
        for ms in [1, 10, 100, 10_000, 100_000_000, 31_536_000_000] {
            let left = Duration::from_millis(ms);
            assert!(left.saturating_sub(margin(left)) < left);
            assert!(margin(left) <= Duration::from_secs(2));
        }
    }
}
