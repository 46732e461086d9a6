//! Looking at a node and steering it: the calls. What they answer is in `figures`.

mod figures;

use std::{collections::HashMap, future::Future, time::Duration};

use cairn_proto::v1::{self as proto, admin_client::AdminClient};
use tokio::time::timeout_at;
use tonic::{Response, Status, transport::Channel};

pub use figures::{Device, Namespace, Node, Set, Stats};

use crate::{Client, Error};

/// The administrative calls; made by [`Client::admin`].
///
/// ```no_run
/// # async fn example(client: cairn_sdk::Client) -> Result<(), cairn_sdk::Error> {
/// let node = client.admin().node().await?;
/// println!("{} {} up {:?}", node.name, node.version, node.uptime);
/// for namespace in client.admin().namespaces().await? {
///     println!("{}: {} records", namespace.name, namespace.stats.records);
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Admin<'a> {
    client: &'a Client,
}

impl<'a> Admin<'a> {
    pub(crate) fn new(client: &'a Client) -> Self {
        Self { client }
    }

    /// The node.
    pub async fn node(&self) -> Result<Node, Error> {
        let ask = |mut admin: AdminClient<Channel>| async move {
            admin.get_node(proto::GetNodeRequest {}).await
        };
        let node = self.call(false, ask).await?;
        Ok(Node {
            name: node.name,
            version: node.version,
            uptime: Duration::from_millis(node.uptime_ms),
            io_engine: node.io_engine,
            io_reason: node.io_reason,
            workers: node.workers,
            resident_bytes: node.resident_bytes,
            cpu_us: node.cpu_us,
            connections: node.connections,
        })
    }

    /// The namespaces.
    pub async fn namespaces(&self) -> Result<Vec<Namespace>, Error> {
        let ask = |mut admin: AdminClient<Channel>| async move {
            admin.list_namespaces(proto::ListNamespacesRequest {}).await
        };
        let answer = self.call(false, ask).await?;
        Ok(answer.namespaces.into_iter().map(Namespace::from).collect())
    }

    /// The sets of a namespace.
    pub async fn sets(&self, namespace: &str) -> Result<Vec<Set>, Error> {
        let request = proto::ListSetsRequest { namespace: namespace.into() };
        let ask = |mut admin: AdminClient<Channel>| async move { admin.list_sets(request).await };
        Ok(self.call(false, ask).await?.sets.into_iter().map(Set::from).collect())
    }

    /// Removes all records of a set, or with `None` of the whole namespace, that were written before the call, durably.
    /// Answers how many.
    pub async fn truncate(&self, namespace: &str, set: Option<&str>) -> Result<u64, Error> {
        let request =
            proto::TruncateRequest { namespace: namespace.into(), set: set.map(Into::into) };
        let ask = |mut admin: AdminClient<Channel>| async move { admin.truncate(request).await };
        Ok(self.call(true, ask).await?.records)
    }

    /// The settings in force, as TOML.
    pub async fn config(&self) -> Result<String, Error> {
        let ask = |mut admin: AdminClient<Channel>| async move {
            admin.get_config(proto::GetConfigRequest {}).await
        };
        Ok(self.call(false, ask).await?.toml)
    }

    /// Changes settings of a namespace that may change at run time, until the next start: `default-ttl` (such as `1d`),
    /// `max-used-pct` and `evict-used-pct` (such as `85`). All are applied or none.
    pub async fn set_config(
        &self,
        namespace: &str,
        settings: impl IntoIterator<Item = (impl Into<String>, impl Into<String>)>,
    ) -> Result<(), Error> {
        let settings: HashMap<String, String> =
            settings.into_iter().map(|(name, value)| (name.into(), value.into())).collect();
        let request = proto::SetConfigRequest { namespace: namespace.into(), settings };
        let ask = |mut admin: AdminClient<Channel>| async move { admin.set_config(request).await };
        self.call(true, ask).await.map(drop)
    }

    async fn call<T, F>(
        &self,
        write: bool,
        ask: impl FnOnce(AdminClient<Channel>) -> F,
    ) -> Result<T, Error>
    where
        F: Future<Output = Result<Response<T>, Status>>,
    {
        let pool = self.client.pool();
        let deadline = pool.deadline(None);
        let client = AdminClient::new(pool.message_channel(deadline).await?);
        match timeout_at(deadline, ask(client)).await {
            Ok(Ok(response)) => Ok(response.into_inner()),
            Ok(Err(status)) => Err(Error::from_status(&status, write)),
            Err(_) => Err(Error::deadline(write, "before the answer came")),
        }
    }
}
