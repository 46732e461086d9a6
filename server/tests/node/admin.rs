//! Services Admin and Cluster, health checks and reflection.

use std::collections::HashMap;

use cairn_proto::v1::{
    Code, GetConfigRequest, GetNodeRequest, ListNamespacesRequest, ListSetsRequest, MembersRequest,
    PartitionMapRequest, SetConfigRequest, SetInfo, TruncateRequest, WatchRequest,
    admin_client::AdminClient, cluster_client::ClusterClient,
};
use cairn_server::Config;
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};
use tonic_reflection::pb::v1::{
    ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
    server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
};

use crate::support::*;

/// A node tells what it is and what lies on it, and the sets with their records.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_describes_itself() {
    let node = TestNode::start();
    node.records().await.put(put("k", vec![int("a", 1)])).await.unwrap();
    let mut admin = AdminClient::new(node.channel().await);
    let about = admin.get_node(GetNodeRequest {}).await.unwrap().into_inner();
    assert_eq!((about.name.as_str(), about.version.as_str()), ("n1", cairn_server::VERSION));
    assert!(about.workers == 2 && about.resident_bytes > 0 && about.connections >= 1);
    let namespaces = admin.list_namespaces(ListNamespacesRequest {}).await.unwrap().into_inner();
    let [namespace] = &namespaces.namespaces[..] else { panic!("{namespaces:?}") };
    assert_eq!((namespace.name.as_str(), namespace.start_kind.as_str()), ("test", "fresh"));
    assert_eq!((namespace.durability.as_str(), namespace.commit_level.as_str()), ("device", "all"));
    assert_eq!(namespace.stats.as_ref().unwrap().records, 1);
    assert_eq!(namespace.devices[0].state, "serving");
    let request = ListSetsRequest { namespace: "test".into() };
    let sets = admin.list_sets(request).await.unwrap().into_inner().sets;
    assert_eq!(sets, [SetInfo { name: "set".into(), records: 1 }]);
}

/// Truncate removes what was there before, and only in the set it names.
#[tokio::test(flavor = "multi_thread")]
async fn truncate_empties_a_set() {
    let node = TestNode::start();
    let mut records = node.records().await;
    records.put(put("k", vec![int("a", 1)])).await.unwrap();
    let mut admin = AdminClient::new(node.channel().await);
    let truncate = |set: &str| TruncateRequest { namespace: "test".into(), set: Some(set.into()) };
    assert_eq!(admin.truncate(truncate("other")).await.unwrap().into_inner().records, 0);
    records.get(get("k")).await.unwrap();
    assert_eq!(admin.truncate(truncate("set")).await.unwrap().into_inner().records, 1);
    assert_eq!(code(records.get(get("k")).await), Code::NotFound);
    records.put(put("k", vec![int("a", 2)])).await.unwrap();
    records.get(get("k")).await.unwrap();
}

/// Truncations each take a thread, so that many at once would take down the node: those beyond the one that runs are refused in a
/// way that is safe to retry, and the place is free again behind it.
#[tokio::test(flavor = "multi_thread")]
async fn truncations_are_one_at_a_time() {
    let node = TestNode::start();
    let admin = AdminClient::new(node.channel().await);
    let truncate = || {
        let mut admin = admin.clone();
        let request = TruncateRequest { namespace: "test".into(), set: Some("set".into()) };
        async move { admin.truncate(request).await }
    };
    let all = futures::future::join_all((0..50).map(|_| truncate())).await;
    assert!(all.iter().any(Result::is_ok));
    for status in all.into_iter().filter_map(Result::err) {
        let failure = failure(&status);
        assert_eq!(failure.code(), Code::Overloaded);
        assert!(failure.retryable && !failure.in_doubt);
    }
    truncate().await.unwrap();
}

/// Settings that may change at run time do, and are shown; one bad setting among good ones changes nothing.
#[tokio::test(flavor = "multi_thread")]
async fn settings_change_at_run_time() {
    let node = TestNode::start();
    let mut records = node.records().await;
    let mut admin = AdminClient::new(node.channel().await);
    let set = |settings: &[(&str, &str)]| SetConfigRequest {
        namespace: "test".into(),
        settings: settings
            .iter()
            .map(|(k, v)| (k.to_string(), v.to_string()))
            .collect::<HashMap<_, _>>(),
    };
    let bad = [
        ("default-ttl", "soon"),
        ("max-used-pct", "0"),
        ("durability", "buffer"),
        ("evict-used-pct", "101"),
        ("evict-used-pct", "96"),
        // As much as max-used-pct is: writes would be refused before anything is evicted.
        ("evict-used-pct", "90"),
    ];
    for bad in bad {
        let request = set(&[("default-ttl", "1d"), bad]);
        assert_eq!(code(admin.set_config(request).await), Code::Invalid);
    }
    let answer = records.put(put("k", vec![int("a", 1)])).await.unwrap().into_inner();
    assert_eq!(answer.metadata.unwrap().void_time_ms, 0);
    let good = [("default-ttl", "1d"), ("max-used-pct", "80"), ("evict-used-pct", "70")];
    admin.set_config(set(&good)).await.unwrap();
    assert_eq!(code(admin.set_config(set(&[("max-used-pct", "70")])).await), Code::Invalid);
    let answer = records.put(put("k", vec![int("a", 1)])).await.unwrap().into_inner();
    assert_ne!(answer.metadata.unwrap().void_time_ms, 0);
    let toml = admin.get_config(GetConfigRequest {}).await.unwrap().into_inner().toml;
    let shown = Config::parse(&toml).unwrap().namespaces.remove(0).engine;
    assert_eq!((shown.default_ttl_ms, shown.max_used_pct), (86_400_000, 80));
    let engine = node.node().namespace("test").unwrap();
    assert_eq!(
        (engine.max_used_pct(), engine.evict_used_pct(), shown.evict_used_pct),
        (80, 70, 70)
    );
    let namespaces = admin.list_namespaces(ListNamespacesRequest {}).await.unwrap().into_inner();
    let told = &namespaces.namespaces[0];
    assert_eq!((told.max_used_pct, told.evict_used_pct), (80, 70));
}

/// A single node is the only member and master of every partition; a watcher gets the map at once and is told of the stop.
#[tokio::test(flavor = "multi_thread")]
async fn one_node_is_master_of_everything() {
    let mut node = TestNode::start();
    let mut cluster = ClusterClient::new(node.channel().await);
    let members = cluster.members(MembersRequest {}).await.unwrap().into_inner().members;
    assert_eq!(members[0].address, node.addresses().grpc.to_string());
    let request = PartitionMapRequest { namespace: "test".into() };
    let map = cluster.partition_map(request).await.unwrap().into_inner();
    assert_eq!((map.runs.len(), map.runs[0].first, map.runs[0].count), (1, 0, 4096));
    assert_eq!((map.members, map.partition_kind), (members, 2));
    let other = PartitionMapRequest { namespace: "other".into() };
    assert_eq!(code(cluster.partition_map(other).await), Code::UnknownNamespace);
    let request = WatchRequest { namespace: "test".into() };
    let mut watch = cluster.watch(request).await.unwrap().into_inner();
    assert_eq!(watch.message().await.unwrap().unwrap().runs, map.runs);
    let (stopped, end) = tokio::join!(node.stop(), watch.message());
    assert!(stopped);
    assert_eq!(code(end), Code::Stopping);
}

/// Standard health checks say that the node and its services serve.
#[tokio::test(flavor = "multi_thread")]
async fn health_is_told() {
    let node = TestNode::start();
    let mut health = HealthClient::new(node.channel().await);
    for service in ["", "cairn.v1.Records", "cairn.v1.Admin", "cairn.v1.Cluster"] {
        let request = HealthCheckRequest { service: service.into() };
        let status = health.check(request).await.unwrap().into_inner().status();
        assert_eq!(status, ServingStatus::Serving, "{service}");
    }
}

/// Reflection lists every service, so that tools need no .proto files.
#[tokio::test(flavor = "multi_thread")]
async fn reflection_lists_the_services() {
    let node = TestNode::start();
    let mut client = ServerReflectionClient::new(node.channel().await);
    let request = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let answers = client.server_reflection_info(futures::stream::iter([request])).await.unwrap();
    let answer = answers.into_inner().message().await.unwrap().unwrap().message_response;
    let Some(MessageResponse::ListServicesResponse(list)) = answer else { panic!("{answer:?}") };
    let names: Vec<_> = list.service.iter().map(|service| service.name.as_str()).collect();
    for name in ["cairn.v1.Records", "cairn.v1.Admin", "cairn.v1.Cluster", "grpc.health.v1.Health"]
    {
        assert!(names.contains(&name), "{name} is not in {names:?}");
    }
}
