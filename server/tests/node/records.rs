//! The unary calls, and that each of their failures has its code.

use cairn_proto::v1::{
    self, Bin, Code, DeleteRequest, ExistsPolicy, List, Map, MapEntry, OperateRequest, Operation,
    TouchRequest, Ttl, WritePolicy, operation::Operation as Op, ttl, value::Kind,
};
use prost::Message;

use crate::support::*;

fn delete(name: &str, policy: Option<WritePolicy>) -> DeleteRequest {
    DeleteRequest { key: key(name), policy }
}

fn touch(name: &str, ttl: ttl::Kind) -> TouchRequest {
    let policy = WritePolicy { ttl: Some(Ttl { kind: Some(ttl) }), ..WritePolicy::default() };
    TouchRequest { key: key(name), policy: Some(policy) }
}

fn operate(name: &str, operations: Vec<Op>) -> OperateRequest {
    let operations = operations.into_iter().map(|one| Operation { operation: Some(one) }).collect();
    OperateRequest { key: key(name), operations, policy: None }
}

fn every_kind() -> Vec<Bin> {
    let list = List { values: vec![v1::Value::default(), value(Kind::Int(-5)).unwrap()] };
    let entry = |k, v| MapEntry { key: value(k), value: value(v) };
    let entries = vec![
        entry(Kind::String("a".into()), Kind::List(list.clone())),
        entry(Kind::Int(i64::MIN), Kind::Bool(false)),
        entry(Kind::Bytes(vec![0, 255]), Kind::Map(Map::default())),
    ];
    let kinds = [
        Kind::Bool(true),
        Kind::Int(i64::MAX),
        Kind::Double(f64::MIN_POSITIVE),
        Kind::String("é".into()),
        Kind::Bytes(vec![0, 1, 2]),
        Kind::List(list),
        Kind::Map(Map { entries }),
    ];
    let bin = |(index, kind)| Bin { name: format!("bin{index}"), value: value(kind) };
    kinds.into_iter().enumerate().map(bin).collect()
}

/// Values of every kind come back as they were written, all or only the bins asked for.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_put_is_got() {
    let node = TestNode::start();
    let mut client = node.records().await;
    let metadata = client.put(put("k", every_kind())).await.unwrap().into_inner().metadata.unwrap();
    assert_eq!((metadata.generation, metadata.void_time_ms), (1, 0));
    let record = client.get(get("k")).await.unwrap().into_inner().record.unwrap();
    assert_eq!(record.bins, every_kind());
    assert_eq!(record.metadata, Some(metadata));
    assert_eq!(record.key, None);
    let some = v1::GetRequest { bins: vec!["bin3".into(), "none".into()], ..get("k") };
    let record = client.get(some).await.unwrap().into_inner().record.unwrap();
    assert_eq!(record.bins, every_kind()[3..4]);
}

/// Keys of different kinds and sets are different records.
#[tokio::test(flavor = "multi_thread")]
async fn keys_of_every_kind() {
    use v1::key::UserKey;
    let node = TestNode::start();
    let mut client = node.records().await;
    let users = [
        UserKey::Text("1".into()),
        UserKey::Number(1),
        UserKey::Binary(b"1".to_vec()),
        UserKey::Number(i64::MIN),
    ];
    let keys: Vec<_> = users
        .iter()
        .flat_map(|user| ["", "set"].map(|set| (user.clone(), set)))
        .map(|(user, set)| v1::Key {
            namespace: "test".into(),
            set: set.into(),
            user_key: Some(user),
        })
        .collect();
    for (index, key) in keys.iter().enumerate() {
        let bins = vec![int("i", index as i64)];
        let request = v1::PutRequest { key: Some(key.clone()), bins, policy: None };
        client.put(request).await.unwrap();
    }
    for (index, key) in keys.iter().enumerate() {
        let request = v1::GetRequest { key: Some(key.clone()), ..v1::GetRequest::default() };
        let record = client.get(request).await.unwrap().into_inner().record.unwrap();
        assert_eq!(record.bins, [int("i", index as i64)]);
    }
}

/// Policies decide as they say: existence, generation, lifetime.
#[tokio::test(flavor = "multi_thread")]
async fn policies_are_kept() {
    let node = TestNode::start();
    let mut client = node.records().await;
    let exists = |policy: ExistsPolicy| WritePolicy { exists: policy.into(), ..Default::default() };
    let bins = || vec![int("a", 1)];
    let update_only = put_with("k", bins(), exists(ExistsPolicy::UpdateOnly));
    assert_eq!(code(client.put(update_only).await), Code::NotFound);
    client.put(put_with("k", bins(), exists(ExistsPolicy::CreateOnly))).await.unwrap();
    let create = put_with("k", bins(), exists(ExistsPolicy::CreateOnly));
    assert_eq!(code(client.put(create).await), Code::Exists);

    let equal =
        |generation| WritePolicy { generation_equal: Some(generation), ..Default::default() };
    let status = client.put(put_with("k", bins(), equal(7))).await.unwrap_err();
    assert_eq!(failure(&status).code, i32::from(Code::Generation));
    assert_eq!(failure(&status).generation, 1);
    client.put(put_with("k", vec![int("b", 2)], equal(1))).await.unwrap();
    let record = client.get(get("k")).await.unwrap().into_inner().record.unwrap();
    assert_eq!(record.bins, [int("a", 1), int("b", 2)]);

    let replaced = put_with("k", vec![int("c", 3)], exists(ExistsPolicy::Replace));
    client.put(replaced).await.unwrap();
    let record = client.get(get("k")).await.unwrap().into_inner().record.unwrap();
    assert_eq!(record.bins, [int("c", 3)]);
}

/// Touch changes the lifetime and nothing else; a record without one never expires.
#[tokio::test(flavor = "multi_thread")]
async fn touch_gives_a_lifetime() {
    let node = TestNode::start();
    let mut client = node.records().await;
    assert_eq!(code(client.touch(touch("k", ttl::Kind::Seconds(100))).await), Code::NotFound);
    client.put(put("k", vec![int("a", 1)])).await.unwrap();
    let answer = client.touch(touch("k", ttl::Kind::Seconds(100))).await.unwrap().into_inner();
    let touched = answer.metadata.unwrap();
    assert_eq!(touched.generation, 2);
    assert!(touched.void_time_ms > 1_600_000_000_000);
    let answer = client.exists(exists("k")).await.unwrap().into_inner();
    assert_eq!(answer.metadata, Some(touched));
    let answer = client.touch(touch("k", ttl::Kind::Never(true))).await.unwrap().into_inner();
    assert_eq!(answer.metadata.unwrap().void_time_ms, 0);
}

/// A deleted record is gone for every call, and deleting it again says so.
#[tokio::test(flavor = "multi_thread")]
async fn deleted_is_gone() {
    let node = TestNode::start();
    let mut client = node.records().await;
    client.put(put("k", vec![int("a", 1)])).await.unwrap();
    let other = WritePolicy { generation_equal: Some(9), ..Default::default() };
    assert_eq!(code(client.delete(delete("k", Some(other))).await), Code::Generation);
    client.delete(delete("k", None)).await.unwrap();
    assert_eq!(code(client.get(get("k")).await), Code::NotFound);
    assert_eq!(client.exists(exists("k")).await.unwrap().into_inner().metadata, None);
    assert_eq!(code(client.delete(delete("k", None)).await), Code::NotFound);
}

/// Operations on one record are applied in order, and a read sees the writes before it.
#[tokio::test(flavor = "multi_thread")]
async fn operate_applies_in_order() {
    let node = TestNode::start();
    let mut client = node.records().await;
    let read = |name: &str| Op::Read(v1::ReadBin { name: name.into() });
    let steps = vec![
        Op::Write(text("s", "b")),
        Op::Append(text("s", "c")),
        Op::Prepend(text("s", "a")),
        read("s"),
        Op::Add(int("n", 2)),
        Op::Add(int("n", 3)),
        read("n"),
        read("none"),
        Op::Touch(v1::TouchRecord {}),
        Op::ReadAll(v1::ReadAll {}),
    ];
    let answer = client.operate(operate("k", steps)).await.unwrap().into_inner();
    let none = Bin { name: "none".into(), value: Some(v1::Value::default()) };
    let all = [text("s", "abc"), int("n", 5)];
    assert_eq!(answer.bins[..3], [text("s", "abc"), int("n", 5), none]);
    assert_eq!(answer.bins[3..], all);
    assert_eq!(answer.metadata.unwrap().generation, 1);

    let answer = client.operate(operate("k", vec![Op::Delete(v1::DeleteRecord {})])).await.unwrap();
    assert_eq!(answer.into_inner().metadata, None);
    assert_eq!(code(client.get(get("k")).await), Code::NotFound);
}

/// Every rule that a request breaks is told as such, is surely not applied, and leaves the connection usable.
#[tokio::test(flavor = "multi_thread")]
async fn broken_rules_are_refused() {
    let node = TestNode::start();
    let mut client = node.records().await;
    let one = || vec![int("a", 1)];
    let named = |name: String| vec![int(&name, 1)];
    let policy = |policy: WritePolicy| put_with("k", one(), policy);
    let ttl = |kind| WritePolicy { ttl: Some(Ttl { kind: Some(kind) }), ..Default::default() };
    let both = WritePolicy {
        generation_equal: Some(1),
        generation_greater: Some(1),
        ..Default::default()
    };
    let key = |namespace: &str, set: String, text: String| v1::PutRequest {
        key: Some(v1::Key {
            namespace: namespace.into(),
            set,
            user_key: Some(v1::key::UserKey::Text(text)),
        }),
        ..put("k", one())
    };
    let requests = [
        (v1::PutRequest { key: None, ..put("k", one()) }, Code::Invalid),
        (put("", one()), Code::Invalid),
        (put("k", vec![]), Code::Invalid),
        (put("k", named(String::new())), Code::Invalid),
        (put("k", named("x".repeat(64))), Code::Invalid),
        (key("test", "s".repeat(64), "k".into()), Code::Invalid),
        (key("test", String::new(), "k".repeat(8193)), Code::Invalid),
        (key("other", String::new(), "k".into()), Code::UnknownNamespace),
        (policy(ttl(ttl::Kind::Seconds(0))), Code::Invalid),
        (policy(ttl(ttl::Kind::Never(false))), Code::Invalid),
        (policy(both), Code::Invalid),
        (
            policy(WritePolicy { generation_equal: Some(65_536), ..Default::default() }),
            Code::Invalid,
        ),
        (policy(WritePolicy { exists: 99, ..Default::default() }), Code::Unsupported),
        (policy(WritePolicy { durability: 99, ..Default::default() }), Code::Unsupported),
    ];
    for (request, expected) in requests {
        let status = client.put(request.clone()).await.unwrap_err();
        let failure = failure(&status);
        assert_eq!(failure.code(), expected, "{request:?}");
        assert!(!failure.in_doubt && !failure.retryable, "{request:?}");
    }
    let big = vec![text("big", &"x".repeat((1 << 20) + 1))];
    assert_eq!(code(client.put(put("k", big)).await), Code::RecordTooBig);
    client.put(put("k", vec![text("s", "x")])).await.unwrap();
    let add = operate("k", vec![Op::Add(int("s", 1))]);
    assert_eq!(code(client.operate(add).await), Code::BinType);
    assert_eq!(code(client.operate(operate("k", vec![])).await), Code::Invalid);
    let record = client.get(get("k")).await.unwrap().into_inner().record.unwrap();
    assert_eq!(record.metadata.unwrap().generation, 1);
}

/// A write whose deadline passed before it came is surely not applied.
#[tokio::test(flavor = "multi_thread")]
async fn a_passed_deadline_applies_nothing() {
    let node = TestNode::start();
    let mut client = node.records().await;
    // A gRPC client would see by itself that the time has passed.
    let body = framed(&put("k", vec![int("a", 1)]).encode_to_vec());
    let status = raw(&node, "Put", &[("grpc-timeout", "1n")], body).await;
    let failure = failure(&status);
    assert_eq!(failure.code(), Code::Deadline);
    assert!(failure.retryable && !failure.in_doubt);
    assert_eq!(client.exists(exists("k")).await.unwrap().into_inner().metadata, None);
}

/// A namespace that allows nothing weaker refuses a write that asks for it, and takes others.
#[tokio::test(flavor = "multi_thread")]
async fn weaker_writes_only_where_allowed() {
    let weaker = || WritePolicy { durability: v1::Durability::Buffer.into(), ..Default::default() };
    let node = TestNode::start();
    let mut client = node.records().await;
    client.put(put_with("k", vec![int("a", 1)], weaker())).await.unwrap();
    let strict = TestNode::with(|config| config.namespaces[0].weaker_per_request = false);
    let mut client = strict.records().await;
    assert_eq!(code(client.put(put_with("k", vec![int("a", 1)], weaker())).await), Code::Invalid);
    client.put(put("k", vec![int("a", 1)])).await.unwrap();
}
