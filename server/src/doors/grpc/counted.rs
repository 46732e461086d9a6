//! A codec that counts the requests of a message before it decodes them.
//!
//! An empty request takes two bytes of a message and many times that in memory, so that a count checked after decoding comes too
//! late. What nothing repeats in is decoded as everywhere.

use std::marker::PhantomData;

use bytes::Buf;
use prost::{
    Message,
    encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field},
};
use tonic::{
    Status,
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
};

use super::status::status;
use crate::codes::Problem;

/// The field of a batch that holds its requests, and of a pipeline's message that holds its items.
const COUNTED_FIELD: u32 = 1;

/// Encodes `T`, and decodes `U` if it has no more than so many entries.
#[derive(Debug)]
pub struct Counted<T, U> {
    max: usize,
    /// What is counted, and in what.
    what: &'static str,
    messages: PhantomData<fn() -> (T, U)>,
}

impl<T, U> Counted<T, U> {
    /// A codec for messages of at most `max` entries.
    pub fn new(what: &'static str, max: usize) -> Self {
        Self { max, what, messages: PhantomData }
    }
}

impl<T, U> Codec for Counted<T, U>
where
    T: Message + 'static,
    U: Message + Default + 'static,
{
    type Encode = T;
    type Decode = U;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self::new(self.what, self.max)
    }

    fn decoder(&mut self) -> Self {
        Self::new(self.what, self.max)
    }
}

impl<T: Message, U> Encoder for Counted<T, U> {
    type Item = T;
    type Error = Status;

    fn encode(&mut self, item: T, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        item.encode(buffer).map_err(|error| Status::internal(error.to_string()))
    }
}

impl<T, U: Message + Default> Decoder for Counted<T, U> {
    type Item = U;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<U>, Status> {
        // All of a message is there, in one piece, before it is decoded.
        if entries(buffer.chunk(), self.max) > self.max {
            let what = format!("{}; at most {} are allowed", self.what, self.max);
            return Err(status(&Problem::Limit(what.into())));
        }
        U::decode(buffer).map(Some).map_err(|error| {
            status(&Problem::Invalid(format!("not a message of this call: {error}").into()))
        })
    }
}

/// Entries of the message in `bytes`, counted until there are more than `max`. What does not parse ends the count: decoding stops
/// there too.
fn entries(mut bytes: &[u8], max: usize) -> usize {
    let mut count = 0;
    while count <= max && !bytes.is_empty() {
        let Ok((field, wire)) = decode_key(&mut bytes) else { break };
        if wire == WireType::LengthDelimited {
            count += usize::from(field == COUNTED_FIELD);
            let Ok(length) = decode_varint(&mut bytes) else { break };
            let Some(rest) = usize::try_from(length).ok().and_then(|length| bytes.get(length..))
            else {
                break;
            };
            bytes = rest;
        } else if skip_field(wire, field, &mut bytes, DecodeContext::default()).is_err() {
            break;
        }
    }
    count
}

#[cfg(test)]
mod tests {
    use cairn_proto::v1::{BatchRequest, Request};

    use super::*;

    /// A small message of very many empty requests would fill memory before its count was looked at: the count is exact, never
    /// goes on beyond its bound, and nonsense neither stops nor misleads it.
    #[test]
    fn entries_are_counted_before_decoding() {
        let message = BatchRequest { requests: vec![Request::default(); 7] }.encode_to_vec();
        assert_eq!(entries(&message, 100), 7);
        assert_eq!(entries(&[0x0a, 0].repeat(1 << 20), 5000), 5001);
        let others = [&[0x10, 1, 0x12, 1, 0x0a][..], &message].concat();
        assert_eq!(entries(&others, 100), 7);
        assert_eq!(entries(&[0x0a, 200, 1, 0], 100), 1);
        assert_eq!(entries(&[0xff; 20], 100), 0);
        assert_eq!(entries(&[], 100), 0);
    }
}
