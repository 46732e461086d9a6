//! Answers of a pipeline that wait to be sent: written into framed messages as they become ready, and never held as anything else.

use std::collections::VecDeque;

use bytes::Bytes;

use super::{
    answer::{Answer, Outcome, put_outcome},
    framing::{ROOM, framed},
    wire::{number_len, put_head, put_number, sized_len},
};
use crate::limits::{ANSWER_BYTES, ANSWERS_PER_MESSAGE};

/// Answers on their way to the client, written as they become ready.
#[derive(Default)]
pub struct Ready {
    messages: VecDeque<Message>,
    /// How many there are.
    pub answers: usize,
    /// Their bytes.
    pub bytes: usize,
    /// Bytes of the last message sent: the next one is made with room for as many.
    last: usize,
}

/// A framed [`PipelineResponse`](cairn_proto::v1::PipelineResponse).
struct Message {
    buffer: Vec<u8>,
    answers: usize,
}

impl Ready {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    /// Adds an answer to the last message, or to a new one where that is full. Returns its bytes.
    pub fn add(&mut self, id: u64, outcome: &Outcome) -> usize {
        let expected = outcome.as_ref().map_or(0, Answer::len);
        let fits = |message: &Message| {
            message.answers < ANSWERS_PER_MESSAGE && message.buffer.len() + expected <= ANSWER_BYTES
        };
        if !self.messages.back().is_some_and(fits) {
            let mut buffer = Vec::with_capacity(self.last.max(expected) + FRONT);
            buffer.extend_from_slice(&ROOM);
            self.messages.push_back(Message { buffer, answers: 0 });
        }
        let Some(message) = self.messages.back_mut() else { return 0 };
        let before = message.buffer.len();
        put_outcome(outcome, &mut message.buffer, |len, out| {
            let id_len = if id == 0 { 0 } else { number_len(id) };
            put_head(1, id_len + sized_len(len), out);
            if id != 0 {
                put_number(1, id, out);
            }
            put_head(2, len, out);
        });
        let bytes = message.buffer.len() - before;
        message.answers += 1;
        self.answers += 1;
        self.bytes += bytes;
        bytes
    }

    /// The first message, ready to be sent.
    pub fn take(&mut self) -> Option<Bytes> {
        let Message { buffer, answers } = self.messages.pop_front()?;
        self.answers -= answers;
        self.bytes -= buffer.len() - ROOM.len();
        self.last = buffer.len().min(ANSWER_BYTES);
        Some(framed(buffer))
    }
}

/// Room for what stands around a message's first answer.
const FRONT: usize = 64;
