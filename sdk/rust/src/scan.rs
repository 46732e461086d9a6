//! All records of a namespace or set, as a stream that survives broken connections.
//!
//! The server scans partition by partition and sends a cursor with every page. When a connection breaks, the scan goes
//! on behind the last page that arrived, so that no record is missed and none is returned twice because of it.

use std::{
    collections::VecDeque,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use cairn_proto::v1::{self as proto, records_client::RecordsClient};
use futures::{FutureExt, Stream, future::BoxFuture};
use tokio::time::sleep;
use tonic::Streaming;

use crate::{Client, Error, Record, transport::Backoff};

/// A scan being described; made by [`Client::scan`].
///
/// ```no_run
/// use futures::TryStreamExt;
/// # async fn example(client: cairn_sdk::Client) -> Result<(), cairn_sdk::Error> {
/// let mut scan = client.scan("test").set("users").bins(["name"]).start();
/// while let Some(record) = scan.try_next().await? {
///     println!("{:?} {:?}", record.key, record.get("name"));
/// }
/// # Ok(())
/// # }
/// ```
#[must_use = "a scan does nothing until it is started"]
#[derive(Clone, Debug)]
pub struct ScanBuilder {
    client: Client,
    request: proto::ScanRequest,
}

impl ScanBuilder {
    pub(crate) fn new(client: Client, namespace: String) -> Self {
        Self { client, request: proto::ScanRequest { namespace, ..Default::default() } }
    }

    /// Only records of this set; the empty name stands for records without a set.
    pub fn set(mut self, set: impl Into<String>) -> Self {
        self.request.set = Some(set.into());
        self
    }

    /// Only these bins.
    pub fn bins(mut self, bins: impl IntoIterator<Item = impl AsRef<str>>) -> Self {
        self.request.bins = bins.into_iter().map(|bin| bin.as_ref().to_string()).collect();
        self
    }

    /// Keys and metadata only.
    pub fn no_bins(mut self) -> Self {
        self.request.no_bins = true;
        self
    }

    /// Only these partitions, of 0 to 4095: for dividing a scan among several tasks or machines.
    pub fn partitions(mut self, partitions: impl IntoIterator<Item = u16>) -> Self {
        self.request.partitions = partitions.into_iter().map(u32::from).collect();
        self
    }

    /// At most this many records a second.
    pub fn records_per_second(mut self, records: u32) -> Self {
        self.request.records_per_second = records;
        self
    }

    /// Goes on behind the [`Scan::cursor`] of an earlier scan of the same namespace, set and partitions.
    pub fn cursor(mut self, cursor: Bytes) -> Self {
        self.request.cursor = cursor.into();
        self
    }

    /// Starts the scan.
    pub fn start(self) -> Scan {
        let retries = self.client.pool().settings().retries;
        Scan {
            cursor: self.request.cursor.clone().into(),
            state: State::Opening(open(self.client.clone(), self.request.clone(), None)),
            client: self.client,
            request: self.request,
            page: VecDeque::new(),
            partitions_done: 0,
            damaged: 0,
            retries,
            tries: 0,
            backoff: Backoff::new(),
        }
    }
}

/// A running scan: a [`Stream`] of records.
pub struct Scan {
    client: Client,
    /// Its cursor is that of the last page received.
    request: proto::ScanRequest,
    page: VecDeque<proto::Record>,
    cursor: Bytes,
    state: State,
    partitions_done: u32,
    damaged: u64,
    retries: u32,
    tries: u32,
    backoff: Backoff,
}

type Pages = Streaming<proto::ScanResponse>;

enum State {
    Opening(BoxFuture<'static, Result<Pages, Error>>),
    Reading(Box<Pages>),
    Done,
}

impl std::fmt::Debug for Scan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Scan").field("request", &self.request).finish_non_exhaustive()
    }
}

impl Scan {
    /// Continues this scan later, from about here: no record that was not returned yet is missed; those of
    /// the page being read may be returned again.
    pub fn cursor(&self) -> Bytes {
        if self.page.is_empty() { self.request.cursor.clone().into() } else { self.cursor.clone() }
    }

    /// Partitions completed so far.
    pub fn partitions_done(&self) -> u32 {
        self.partitions_done
    }

    /// Damaged records met so far: counted, never returned.
    pub fn damaged(&self) -> u64 {
        self.damaged
    }

    fn take_page(&mut self, page: proto::ScanResponse) {
        self.cursor = std::mem::replace(&mut self.request.cursor, page.cursor).into();
        self.page = page.records.into();
        self.partitions_done = page.partitions_done;
        self.damaged += u64::from(page.damaged);
        // What came through shows that the scan can go on: the next trouble is a new one.
        self.tries = 0;
        self.backoff = Backoff::new();
    }

    /// Starts over behind the last page after a failure that may pass; gives the error when it is final.
    fn resume(&mut self, error: Error) -> Option<Error> {
        if !error.retryable || self.tries >= self.retries {
            self.state = State::Done;
            return Some(error);
        }
        self.tries += 1;
        let pause = self.backoff.pause();
        let opening = open(self.client.clone(), self.request.clone(), Some(pause));
        self.state = State::Opening(opening);
        None
    }
}

fn open(
    client: Client,
    request: proto::ScanRequest,
    pause: Option<std::time::Duration>,
) -> BoxFuture<'static, Result<Pages, Error>> {
    async move {
        if let Some(pause) = pause {
            sleep(pause).await;
        }
        let pool = client.pool();
        let channel = pool.scan_channel(pool.deadline(None)).await?;
        let mut records =
            RecordsClient::new(channel).max_decoding_message_size(pool.settings().max_message);
        let response = records.scan(request).await;
        response.map(tonic::Response::into_inner).map_err(|s| Error::from_status(&s, false))
    }
    .boxed()
}

impl Stream for Scan {
    type Item = Result<Record, Error>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        loop {
            if let Some(record) = this.page.pop_front() {
                return Poll::Ready(Some(Ok(Record::from_proto(record))));
            }
            let failed = match &mut this.state {
                State::Done => return Poll::Ready(None),
                State::Opening(opening) => match ready!(opening.poll_unpin(context)) {
                    Ok(pages) => {
                        this.state = State::Reading(Box::new(pages));
                        None
                    }
                    Err(error) => Some(error),
                },
                State::Reading(pages) => match ready!(Pin::new(pages).poll_next(context)) {
                    Some(Ok(page)) => {
                        this.take_page(page);
                        None
                    }
                    Some(Err(status)) => Some(Error::from_status(&status, false)),
                    None => {
                        this.state = State::Done;
                        None
                    }
                },
            };
            if let Some(error) = failed.and_then(|error| this.resume(error)) {
                return Poll::Ready(Some(Err(error)));
            }
        }
    }
}
