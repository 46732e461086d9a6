//! Connections beside the lanes, for calls that are no items of a pipeline.
//!
//! They are apart from the lanes since all streams of a connection share its window: answers that a program leaves
//! unread (a scan it does not go on with) would use it up, and the pipeline's answers would be stuck behind them.

use std::sync::atomic::{AtomicUsize, Ordering};

use tonic::transport::Channel;

use super::connect::Target;

/// Some connections, used in turn. Each is made when it is first used, and anew when it is used after a break.
#[derive(Debug)]
pub(crate) struct Aside {
    channels: Vec<Channel>,
    next: AtomicUsize,
}

impl Aside {
    pub fn new(target: &Target, connections: usize) -> Self {
        let channels = (0..connections).map(|_| target.connect_lazily()).collect();
        Self { channels, next: AtomicUsize::new(0) }
    }

    /// The next connection.
    pub fn channel(&self) -> Channel {
        let next = self.next.fetch_add(1, Ordering::Relaxed);
        self.channels[next % self.channels.len()].clone()
    }
}
