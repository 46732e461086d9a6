//! Requests as bytes: a call is encoded once, where it is made, and may be sent several times.
//!
//! The inner messages (key, bin, policy) are encoded by the generated types; only the layers around them, which differ
//! with each sending, are written by hand. A test holds both against the generated `PipelineRequest` and `BatchRequest`.

use bytes::{BufMut, Bytes};
use cairn_proto::v1 as proto;
use prost::{Message, encoding::encode_varint, length_delimiter_len};

use crate::{
    Key, Op, Value,
    policy::{ReadPolicy, WritePolicy},
};

/// Which request it is: the field numbers of `cairn.v1.Request`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    Get = 1,
    Put = 2,
    Delete = 3,
    Touch = 4,
    Exists = 5,
    Operate = 6,
}

/// One encoded request. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub kind: Kind,
    /// Whether it can change the record: such a request is never sent twice unless surely not applied.
    pub write: bool,
    body: Bytes,
}

impl Request {
    pub fn get(key: &Key, bins: &[String], policy: ReadPolicy) -> Self {
        let mut out = start(key);
        for bin in bins {
            put_bytes(2, bin.as_bytes(), &mut out);
        }
        put_message(3, &policy.to_proto(), &mut out);
        Self::new(Kind::Get, false, out)
    }

    pub fn exists(key: &Key, policy: ReadPolicy) -> Self {
        let mut out = start(key);
        put_message(2, &policy.to_proto(), &mut out);
        Self::new(Kind::Exists, false, out)
    }

    pub fn put(key: &Key, bins: Vec<(String, Value)>, policy: WritePolicy) -> Self {
        let mut out = start(key);
        for (name, value) in bins {
            put_message(2, &proto::Bin { name, value: Some(value.into_proto()) }, &mut out);
        }
        put_message(3, &policy.to_proto(), &mut out);
        Self::new(Kind::Put, true, out)
    }

    pub fn delete(key: &Key, policy: WritePolicy) -> Self {
        Self::keyed(Kind::Delete, key, policy)
    }

    pub fn touch(key: &Key, policy: WritePolicy) -> Self {
        Self::keyed(Kind::Touch, key, policy)
    }

    fn keyed(kind: Kind, key: &Key, policy: WritePolicy) -> Self {
        let mut out = start(key);
        put_message(2, &policy.to_proto(), &mut out);
        Self::new(kind, true, out)
    }

    pub fn operate(key: &Key, operations: &[Op], policy: WritePolicy) -> Self {
        let mut out = start(key);
        for operation in operations {
            put_message(2, operation.proto(), &mut out);
        }
        put_message(3, &policy.to_proto(), &mut out);
        Self::new(Kind::Operate, operations.iter().any(Op::is_write), out)
    }

    fn new(kind: Kind, write: bool, out: Vec<u8>) -> Self {
        Self { kind, write, body: out.into() }
    }

    /// Bytes of the encoded `cairn.v1.Request`.
    pub fn len(&self) -> usize {
        field_len(self.body.len())
    }

    fn write_to(&self, out: &mut impl BufMut) {
        put_bytes(self.kind as u32, &self.body, out);
    }
}

/// One item of a pipeline message.
#[derive(Debug)]
pub(crate) struct Item {
    pub id: u64,
    pub deadline_ms: u32,
    pub request: Request,
}

/// Writes the `cairn.v1.PipelineRequest` of `items`.
pub(crate) fn write_pipeline(items: &[Item], out: &mut impl BufMut) {
    for item in items {
        let request = item.request.len();
        let deadline = u64::from(item.deadline_ms);
        let len = 2 + varint_len(item.id) + varint_len(deadline) + field_len(request);
        put_head(1, len, out);
        out.put_u8(1 << 3);
        encode_varint(item.id, out);
        put_head(2, request, out);
        item.request.write_to(out);
        out.put_u8(3 << 3);
        encode_varint(deadline, out);
    }
}

/// Writes the `cairn.v1.BatchRequest` of `requests`.
pub(crate) fn write_batch(requests: &[Request], out: &mut impl BufMut) {
    for request in requests {
        put_head(1, request.len(), out);
        request.write_to(out);
    }
}

/// The buffer of a request on one record: every one of them has the key as its first field.
fn start(key: &Key) -> Vec<u8> {
    let mut out = Vec::with_capacity(field_len(key.proto().encoded_len()) + 64);
    put_message(1, key.proto(), &mut out);
    out
}

fn put_message(field: u32, message: &impl Message, out: &mut Vec<u8>) {
    let len = message.encoded_len();
    put_head(field, len, out);
    out.reserve(len);
    message.encode_raw(out);
}

fn put_bytes(field: u32, bytes: &[u8], out: &mut impl BufMut) {
    put_head(field, bytes.len(), out);
    out.put_slice(bytes);
}

/// The start of a length-delimited field; all fields here are below 16, so the tag is one byte.
fn put_head(field: u32, len: usize, out: &mut impl BufMut) {
    out.put_u8((field << 3 | 2) as u8);
    encode_varint(len as u64, out);
}

fn field_len(len: usize) -> usize {
    1 + length_delimiter_len(len) + len
}

fn varint_len(value: u64) -> usize {
    prost::encoding::encoded_len_varint(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Ttl;
    use proto::request::Request as Kinds;

    fn samples() -> Vec<Request> {
        let key = Key::new("test", "users", "ada");
        let number = Key::new("test", "", -5);
        let write = WritePolicy { ttl: Ttl::Keep, generation_equal: Some(0), ..Default::default() };
        let big = crate::bins! { "raw" => vec![7u8; 300], "gone" => Value::Nil };
        vec![
            Request::get(&key, &["a".into(), "b".into()], ReadPolicy::default()),
            Request::put(&number, big, write),
            Request::delete(&key, write),
            Request::touch(&key, write),
            Request::exists(&key, ReadPolicy::default()),
            Request::operate(&key, &[Op::add("n", 1), Op::read("n")], WritePolicy::default()),
        ]
    }

    fn expected() -> Vec<proto::Request> {
        let key = Some(Key::new("test", "users", "ada").proto().clone());
        let write = WritePolicy { ttl: Ttl::Keep, generation_equal: Some(0), ..Default::default() };
        let write = Some(write.to_proto());
        let policy = Some(ReadPolicy::default().to_proto());
        let bin = |name: &str, value: Value| proto::Bin {
            name: name.into(),
            value: Some(value.into_proto()),
        };
        let operations = vec![Op::add("n", 1).proto().clone(), Op::read("n").proto().clone()];
        [
            Kinds::Get(proto::GetRequest {
                key: key.clone(),
                bins: vec!["a".into(), "b".into()],
                policy,
            }),
            Kinds::Put(proto::PutRequest {
                key: Some(Key::new("test", "", -5).proto().clone()),
                bins: vec![bin("raw", vec![7u8; 300].into()), bin("gone", Value::Nil)],
                policy: write,
            }),
            Kinds::Delete(proto::DeleteRequest { key: key.clone(), policy: write }),
            Kinds::Touch(proto::TouchRequest { key: key.clone(), policy: write }),
            Kinds::Exists(proto::ExistsRequest { key: key.clone(), policy }),
            Kinds::Operate(proto::OperateRequest {
                key,
                operations,
                policy: Some(WritePolicy::default().to_proto()),
            }),
        ]
        .map(|kind| proto::Request { request: Some(kind) })
        .into()
    }

    /// The hand-written layers are what the contract says: the generated types read back every request.
    #[test]
    fn pipeline_and_batch_messages_are_the_contract() {
        let item = |(index, request)| Item { id: u64::MAX >> index, deadline_ms: 300, request };
        let items: Vec<_> = samples().into_iter().enumerate().map(item).collect();
        let mut out = Vec::new();
        write_pipeline(&items, &mut out);
        let read = proto::PipelineRequest::decode(&out[..]).unwrap();
        let expected_items = expected().into_iter().enumerate().map(|(index, request)| {
            proto::PipelineItem { id: u64::MAX >> index, request: Some(request), deadline_ms: 300 }
        });
        assert_eq!(read.items, expected_items.collect::<Vec<_>>());

        out.clear();
        write_batch(&samples(), &mut out);
        assert_eq!(proto::BatchRequest::decode(&out[..]).unwrap().requests, expected());
    }

    /// Only a request that changes nothing may be sent again without care.
    #[test]
    fn reads_and_writes_are_told_apart() {
        let writes: Vec<bool> = samples().iter().map(|request| request.write).collect();
        assert_eq!(writes, [false, true, true, true, false, true]);
        let key = Key::new("test", "", 1);
        assert!(!Request::operate(&key, &[Op::read_all()], WritePolicy::default()).write);
    }
}
