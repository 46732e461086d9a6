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

/// `/metrics` tells of space what an operator's alarms need: how much is used, free and refused, what each byte written costs, and how full
/// the blocks are.
#[tokio::test(flavor = "multi_thread")]
async fn metrics_tell_of_space() {
    let node = TestNode::start();
    let before = fetch(&node, "/metrics").await;
    // Nothing over nothing is no number.
    assert!(!before.contains("cairn_namespace_write_amplification{"), "{before}");
    node.records().await.put(put("k", vec![int("a", 1)])).await.unwrap();
    let metrics = fetch(&node, "/metrics").await;
    let value = |name: &str| {
        let line = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("{name} is not in\n{metrics}")).parse::<f64>().unwrap()
    };
    let of = |name: &str| value(&format!("cairn_namespace_{name}{{namespace=\"test\"}}"));
    assert!(of("in_use_bytes") > 0.0 && of("in_use_bytes") < of("capacity_bytes"));
    assert!(of("free_blocks") > 0.0 && of("free_blocks") < of("blocks"));
    assert!(of("write_amplification") >= 1.0);
    assert!(of("written_bytes_total") > 0.0);
    let zeros = ["tombstones", "expired_total", "evicted_total", "refused_full_total"];
    let still = ["reclaimed_blocks_total", "moved_records_total", "moved_bytes_total"];
    for name in zeros.into_iter().chain(still).chain(["discarded_blocks_total"]) {
        assert_eq!(of(name), 0.0, "{name}");
    }
    let full = |tenth: &str| {
        value(&format!("cairn_namespace_blocks_by_fill{{namespace=\"test\",full=\"{tenth}\"}}"))
    };
    // The only block is still open.
    assert_eq!((full("0.1"), full("1.0")), (0.0, 0.0));
}
