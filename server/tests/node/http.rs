//! The HTTP door.

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::support::*;

async fn fetch(node: &TestNode, path: &str) -> String {
    let mut stream = TcpStream::connect(node.addresses().http).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: cairn\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

/// `/health` says 200 while the node serves, and `/` is a page.
#[tokio::test(flavor = "multi_thread")]
async fn health_and_home() {
    let node = TestNode::start();
    assert!(fetch(&node, "/health").await.starts_with("HTTP/1.1 200"));
    assert!(fetch(&node, "/").await.contains(cairn_server::VERSION));
    assert!(fetch(&node, "/none").await.starts_with("HTTP/1.1 404"));
}

/// `/metrics` counts operations by kind and code, whichever worker served them, with as many in the histogram.
#[tokio::test(flavor = "multi_thread")]
async fn metrics_count_operations() {
    let node = TestNode::start();
    for connection in 0..4 {
        let mut client = node.records().await;
        client.put(put(&format!("k{connection}"), vec![int("a", 1)])).await.unwrap();
        client.get(get("none")).await.unwrap_err();
    }
    let metrics = fetch(&node, "/metrics").await;
    for line in [
        "cairn_operations_total{namespace=\"test\",kind=\"put\",code=\"OK\"} 4",
        "cairn_operations_total{namespace=\"test\",kind=\"get\",code=\"NOT_FOUND\"} 4",
        "cairn_latency_seconds_count{namespace=\"test\",kind=\"put\"} 4",
        "cairn_namespace_records{namespace=\"test\"} 4",
        "cairn_device_failed{namespace=\"test\"",
    ] {
        assert!(metrics.contains(line), "{line} is not in\n{metrics}");
    }
}
