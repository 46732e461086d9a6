//! What keeps a node from starting, and what it says of itself.

use cairn_server::{Node, Options, StartError};
use tempfile::TempDir;

use crate::support::*;

/// A port that is taken is told with its door and number, although sockets of several workers may share one.
#[tokio::test(flavor = "multi_thread")]
async fn a_port_in_use_is_told() {
    let node = TestNode::start();
    let dir = TempDir::new().unwrap();
    let mut second = config(&dir);
    second.node.grpc_port = node.addresses().grpc.port();
    let error = Node::start(second, Options::default()).unwrap_err();
    assert!(
        matches!(error, StartError::PortInUse { door: "gRPC", address, .. } if address == node.addresses().grpc)
    );
    let mut third = config(&dir);
    third.node.http_port = node.addresses().http.port();
    let error = Node::start(third, Options::default()).unwrap_err();
    assert!(matches!(error, StartError::PortInUse { door: "HTTP", .. }));
}

/// Without authentication a node listens on loopback only, unless it is told that the network is trusted.
#[tokio::test(flavor = "multi_thread")]
async fn other_addresses_need_insecure() {
    let dir = TempDir::new().unwrap();
    let mut open = config(&dir);
    open.node.listen = "0.0.0.0".parse().unwrap();
    let error = Node::start(open.clone(), Options::default()).unwrap_err();
    assert!(matches!(error, StartError::NotLoopback(_)));
    let options = Options { insecure: true, ..Options::default() };
    Node::start(open, options).unwrap().stop().unwrap();
}

/// A namespace that cannot be opened is named.
#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_that_cannot_open_is_named() {
    let dir = TempDir::new().unwrap();
    let config = config(&dir);
    drop(dir);
    let error = Node::start(config, Options::default()).unwrap_err();
    assert!(matches!(error, StartError::Open { namespace, .. } if namespace == "test"));
}

/// The banner names the ports, the data and the I/O engine.
#[tokio::test(flavor = "multi_thread")]
async fn the_banner_tells_where_everything_is() {
    let node = TestNode::start();
    let banner = node.node().banner();
    let addresses = node.addresses();
    for part in [addresses.grpc.to_string(), addresses.http.to_string(), "test.dat".into()] {
        assert!(banner.contains(&part), "{part} is not in\n{banner}");
    }
}
