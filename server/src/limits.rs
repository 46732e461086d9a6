//! Every bound of a node's doors, in one place.
//!
//! [`Limits`] are those an operator may set (`[limits]` in the configuration); the constants are fixed, and asserted against
//! each other at compile time. A request that breaks a bound is refused with [`Problem::Limit`](crate::codes::Problem::Limit)
//! or by the protocol itself; the node keeps serving.

use std::time::Duration;

use cairn_engine::model::limits::NESTING_MAX;

/// Deepest nesting of lists and maps that a door takes. A map costs three levels of protobuf nesting, and every standard client
/// refuses more than 100 levels, seven of which a pipelined answer needs around the value: so 30 can be read through every call.
pub const DOOR_NESTING_MAX: usize = 30;
/// Levels of protobuf nesting around a bin's value, at most.
const LEVELS_AROUND: usize = 7;

/// Smallest bound on a message, whatever the records are.
pub const MESSAGE_SIZE_MIN: u64 = 4 << 20;
/// Bound on a message that an operator may set at most.
pub const MESSAGE_SIZE_MAX: u64 = 256 << 20;
/// Most answers in one message of a pipeline.
pub const ANSWERS_PER_MESSAGE: usize = 512;
/// Answers that a pipeline holds while its client does not read, before it starts nothing more.
pub const ANSWERS_HELD: usize = 8 * ANSWERS_PER_MESSAGE;
/// A message of answers or of scanned records is sent once it has this many bytes.
pub const ANSWER_BYTES: usize = 256 << 10;
/// Bytes of answers that a pipeline holds while its client does not read, before it starts nothing more.
pub const ANSWER_BYTES_HELD: usize = 4 << 20;
/// Most records in one message of a scan.
pub const SCAN_RECORDS: usize = 1000;
/// Reads of one batch in flight at once: each may hold a whole record.
pub const BATCH_READS: usize = 128;
/// Operations of one batch in flight at once when the next one is a write: those share flushes, and their values are here already.
pub const BATCH_WRITES: usize = 1024;
/// Bytes that the reads of one pipeline may be about to answer with, as far as the size of its last answers tells.
pub const READ_BYTES_IN_FLIGHT: usize = 32 << 20;
/// Bytes that the engine answers one operate with at most.
pub const OPERATE_ANSWER: usize = 32 << 20;
/// Bytes on the device that one page of a scan reads at most, besides its first record. A message may be four times that in
/// protobuf, of lists of small numbers.
pub const SCAN_PAGE: u64 = ANSWER_BYTES as u64;
/// Calls of services other than Records that one worker serves at once, until their answer begins: they are for people and
/// tools, and some of them gather much.
pub const OTHER_CALLS: usize = 256;
/// Scans of one worker at once: each holds two messages.
pub const SCANS: usize = 256;
/// Requests to devices that a worker has under way before it takes no more operations: that many only wait when a device hangs.
pub const DEVICE_PENDING: usize = 16_384;
/// Operations that a pipeline may have in flight however large its answers are.
pub const IN_FLIGHT_MIN: usize = 16;
/// Items of a pipeline that are opened before the first of them is started.
pub const OPENED_AHEAD: usize = 16;
/// Operations a pipeline or batch starts before it lets other tasks of its worker run.
pub const STARTS_PER_TURN: usize = 256;

/// Connections of the HTTP door at once.
pub const HTTP_CONNECTIONS: usize = 128;

/// HTTP/2 window of a stream: what a client may send before the door has read it.
pub const STREAM_WINDOW: u32 = 4 << 20;
/// HTTP/2 window of a connection.
pub const CONNECTION_WINDOW: u32 = 16 << 20;
/// Bytes of answers a connection buffers for a stream.
pub const SEND_BUFFER: usize = 1 << 20;
/// Streams a client may open and cancel before the door has looked at them.
pub const PENDING_RESETS: usize = 1024;

const _: () = {
    assert!(DOOR_NESTING_MAX <= NESTING_MAX);
    assert!(LEVELS_AROUND + 3 * DOOR_NESTING_MAX <= 100);
    assert!(ANSWER_BYTES <= ANSWER_BYTES_HELD && ANSWER_BYTES_HELD as u64 <= MESSAGE_SIZE_MIN);
    assert!(BATCH_READS <= BATCH_WRITES);
    assert!(OPERATE_ANSWER <= READ_BYTES_IN_FLIGHT);
    assert!(STREAM_WINDOW <= CONNECTION_WINDOW);
    assert!(MESSAGE_SIZE_MIN < MESSAGE_SIZE_MAX);
};

/// The bounds an operator may set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections of the node, over all workers.
    pub connections: usize,
    /// Calls at once on one connection.
    pub streams_per_connection: u32,
    /// Bytes of one message; 0 for four times the largest record, and at least [`MESSAGE_SIZE_MIN`].
    pub message_size: u64,
    /// Bytes of a call's headers.
    pub header_list_size: u32,
    /// Requests of one batch.
    pub batch_requests: usize,
    /// Items of one pipeline message.
    pub pipeline_items: usize,
    /// Operations in flight of one pipeline.
    pub stream_in_flight: usize,
    /// Operations in flight of one worker.
    pub worker_in_flight: usize,
    /// Bytes that one worker holds of messages that are not complete yet, over all connections.
    pub worker_receiving: usize,
    /// The deadline of a call that brings none.
    pub request_timeout: Duration,
    /// How long a new connection may take to speak HTTP/2.
    pub handshake_timeout: Duration,
    /// How long a stop waits for calls to finish.
    pub stop_timeout: Duration,
    /// A connection without traffic is asked whether it is alive after this time.
    pub keepalive_interval: Duration,
    /// And closed when it has not answered after this one.
    pub keepalive_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 10_000,
            streams_per_connection: 1024,
            message_size: 0,
            header_list_size: 16 << 10,
            batch_requests: 5000,
            pipeline_items: 1024,
            stream_in_flight: 1024,
            worker_in_flight: 16_384,
            worker_receiving: 64 << 20,
            request_timeout: Duration::from_secs(10),
            handshake_timeout: Duration::from_secs(10),
            stop_timeout: Duration::from_secs(10),
            keepalive_interval: Duration::from_secs(30),
            keepalive_timeout: Duration::from_secs(20),
        }
    }
}

impl Limits {
    /// The bound on a message, for a node whose largest record may have `record_max` bytes.
    pub fn message_bytes(&self, record_max: u64) -> usize {
        let bytes = match self.message_size {
            0 => record_max.saturating_mul(4).clamp(MESSAGE_SIZE_MIN, MESSAGE_SIZE_MAX),
            set => set,
        };
        usize::try_from(bytes).unwrap_or(usize::MAX)
    }
}
