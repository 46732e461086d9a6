//! Requests that are already bytes, written into gRPC messages without a second set of objects.

use std::marker::PhantomData;

use cairn_proto::v1 as proto;
use tonic::{
    Status,
    codec::{BufferSettings, Codec, EncodeBuf, Encoder},
};
use tonic_prost::{ProstCodec, ProstDecoder};

use crate::wire::{self, Item, Request};

/// Room that a message buffer grows by: several pipeline messages fit.
const BUFFER: usize = 64 * 1024;

fn settings() -> BufferSettings {
    BufferSettings::new(BUFFER, BUFFER)
}

/// The codec of `Records.Pipeline`.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct PipelineCodec;

/// The codec of `Records.Batch`.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct BatchCodec;

/// Writes `T` with a function of [`wire`].
pub(crate) struct WireEncoder<T> {
    write: fn(&T, &mut EncodeBuf<'_>),
    _item: PhantomData<fn(T)>,
}

impl<T> Encoder for WireEncoder<T> {
    type Item = T;
    type Error = Status;

    fn encode(&mut self, item: T, out: &mut EncodeBuf<'_>) -> Result<(), Status> {
        (self.write)(&item, out);
        Ok(())
    }

    fn buffer_settings(&self) -> BufferSettings {
        settings()
    }
}

impl Codec for PipelineCodec {
    type Encode = Vec<Item>;
    type Decode = proto::PipelineResponse;
    type Encoder = WireEncoder<Self::Encode>;
    type Decoder = ProstDecoder<Self::Decode>;

    fn encoder(&mut self) -> Self::Encoder {
        WireEncoder { write: |items, out| wire::write_pipeline(items, out), _item: PhantomData }
    }

    fn decoder(&mut self) -> Self::Decoder {
        ProstCodec::<(), Self::Decode>::raw_decoder(settings())
    }
}

impl Codec for BatchCodec {
    type Encode = Vec<Request>;
    type Decode = proto::BatchResponse;
    type Encoder = WireEncoder<Self::Encode>;
    type Decoder = ProstDecoder<Self::Decode>;

    fn encoder(&mut self) -> Self::Encoder {
        WireEncoder { write: |requests, out| wire::write_batch(requests, out), _item: PhantomData }
    }

    fn decoder(&mut self) -> Self::Decoder {
        ProstCodec::<(), Self::Decode>::raw_decoder(settings())
    }
}
