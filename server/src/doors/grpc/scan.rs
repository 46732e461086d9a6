//! Scan: the records of a namespace, partition by partition, in messages whose cursor says where to go on.
//!
//! One driver task per scan fetches the next message while the client takes the last; it ends when the client goes. Waiting for
//! the rate is tokio's, so that no worker thread sleeps.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use cairn_engine::model::PARTITIONS;
use cairn_proto::v1::{Code, ScanRequest, ScanResponse};
use prost::Message as _;
use tokio::sync::mpsc;
use tokio_stream::{Stream, wrappers::ReceiverStream};
use tonic::Status;

use super::{
    answer::{self, Wanted},
    cursor::{self, Cursor},
    framing::{ROOM, framed},
    status::status,
};
use crate::{
    codes::Problem,
    limits::{ANSWER_BYTES, SCAN_PAGE, SCAN_RECORDS, SCANS},
    metrics::{Kind, Place},
    operations::Operations,
};

/// Records of a page whose size is not known yet.
const FIRST_PAGE: usize = 16;

/// Serves a scan.
pub fn scan(
    operations: Arc<Operations>,
    request: ScanRequest,
) -> Result<impl Stream<Item = Result<Bytes, Status>> + Send + Unpin, Problem> {
    let scan = Scan::new(operations, request)?;
    let (answers, stream) = mpsc::channel(1);
    tokio::spawn(scan.run(answers));
    Ok(ReceiverStream::new(stream))
}

/// A framed [`ScanResponse`] that is being written.
struct Message {
    buffer: Vec<u8>,
    records: usize,
    damaged: u32,
}

struct Scan {
    _place: Place,
    operations: Arc<Operations>,
    request: ScanRequest,
    wanted: Wanted,
    partitions: Vec<u16>,
    /// Ties a cursor to the namespace, set and partitions it came from.
    identity: u32,
    /// Index into `partitions`, and the tag behind which its next page begins.
    at: (usize, Option<u64>),
    /// Bytes of a record as sent, averaged over the last pages; 0 when none was read yet.
    record_bytes: usize,
    started: Instant,
    sent: u64,
}

type Answers = mpsc::Sender<Result<Bytes, Status>>;

impl Scan {
    fn new(operations: Arc<Operations>, mut request: ScanRequest) -> Result<Self, Problem> {
        operations.namespace(&request.namespace)?;
        let bins = std::mem::take(&mut request.bins);
        let wanted = Wanted::named(bins)?;
        let wanted = if request.no_bins { Wanted::None } else { wanted };
        let partitions = partitions(&request.partitions)?;
        let identity = cursor::identity(&request.namespace, request.set.as_deref(), &partitions);
        let at = match Cursor::read(&request.cursor, identity, partitions.len())? {
            Some(cursor) => (cursor.partition, cursor.after),
            None => (0, None),
        };
        let place = Place::take(&operations.metrics, |metrics| &metrics.scans, SCANS);
        let place = place.filter(|_| operations.has_room()).ok_or(Problem::Busy)?;
        Ok(Self {
            _place: place,
            operations,
            request,
            wanted,
            partitions,
            identity,
            at,
            record_bytes: 0,
            started: Instant::now(),
            sent: 0,
        })
    }

    async fn run(mut self, answers: Answers) {
        let stopped = self.operations.state.stopped();
        tokio::select! {
            biased;
            () = answers.closed() => {}
            // The client goes on behind the last cursor, on this node once it is back.
            () = stopped => { let _ = answers.send(Err(status(&Problem::Stopping))).await; }
            () = self.send_all(&answers) => {}
        }
    }

    async fn send_all(&mut self, answers: &Answers) {
        while self.at.0 < self.partitions.len() {
            let started = Instant::now();
            let message = self.next_message().await;
            let code = message.as_ref().map_or_else(Problem::code, |_| Code::Ok);
            let namespace = self.operations.state.place_of(&self.request.namespace);
            self.operations.metrics.count(namespace, Kind::Scan, code, started.elapsed());
            let last = message.is_err();
            let message = message.map_err(|problem| status(&problem));
            if answers.send(message).await.is_err() || last {
                return;
            }
            self.keep_rate().await;
        }
    }

    /// Reads pages until a message is full or all partitions are done.
    async fn next_message(&mut self) -> Result<Bytes, Problem> {
        let mut message = Message { buffer: ROOM.to_vec(), records: 0, damaged: 0 };
        let (records_max, mut bytes) = (self.records_max(), 0);
        while self.at.0 < self.partitions.len()
            && message.records < records_max
            && bytes < ANSWER_BYTES
        {
            let room = match self.record_bytes {
                0 => FIRST_PAGE,
                each => ((ANSWER_BYTES - bytes) / each).max(1),
            };
            let limit = room.min(records_max - message.records);
            let before = (message.records, bytes);
            bytes += self.next_page(&mut message, limit).await?;
            if let Some(each) = (bytes - before.1).checked_div(message.records - before.0) {
                self.record_bytes = each.max(1);
            }
        }
        self.sent += message.records as u64;
        // The records are there: the fields behind them complete the message.
        let rest = ScanResponse {
            records: Vec::new(),
            cursor: Cursor { partition: self.at.0, after: self.at.1 }.write(self.identity),
            partitions_done: self.at.0 as u32,
            damaged: message.damaged,
        };
        rest.encode_raw(&mut message.buffer);
        Ok(framed(message.buffer))
    }

    /// Adds a page to `message`, and answers its bytes.
    async fn next_page(&mut self, message: &mut Message, limit: usize) -> Result<usize, Problem> {
        let request = &self.request;
        let (index, after) = self.at;
        let set = request.set.as_deref();
        let page = self
            .operations
            .scan(&request.namespace, self.partitions[index], after, set, limit, SCAN_PAGE)
            .await?;
        let mut bytes = 0;
        for record in &page.records {
            let namespace = &request.namespace;
            bytes += answer::put_scanned(namespace, record, &self.wanted, &mut message.buffer)?;
            message.records += 1;
        }
        message.damaged += page.damaged;
        self.at = match page.next {
            Some(next) => (index, Some(next)),
            None => (index + 1, None),
        };
        Ok(bytes)
    }

    /// Records of a message: at a low rate few, so that they come evenly.
    fn records_max(&self) -> usize {
        match self.request.records_per_second as usize {
            0 => SCAN_RECORDS,
            rate => (rate / 10).clamp(1, SCAN_RECORDS),
        }
    }

    async fn keep_rate(&self) {
        let rate = self.request.records_per_second;
        if rate > 0 {
            let due = Duration::from_secs_f64(self.sent as f64 / f64::from(rate));
            tokio::time::sleep_until((self.started + due).into()).await;
        }
    }
}

/// The partitions asked for, each once and in order; all when none is named.
fn partitions(asked: &[u32]) -> Result<Vec<u16>, Problem> {
    if asked.is_empty() {
        return Ok((0..PARTITIONS as u16).collect());
    }
    let mut partitions = Vec::with_capacity(asked.len().min(PARTITIONS));
    for &partition in asked {
        if partition as usize >= PARTITIONS {
            let what = format!("partition {partition}: 0 to {} are possible", PARTITIONS - 1);
            return Err(Problem::Invalid(what.into()));
        }
        partitions.push(partition as u16);
    }
    partitions.sort_unstable();
    partitions.dedup();
    Ok(partitions)
}
