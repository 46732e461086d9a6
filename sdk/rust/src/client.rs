//! The client: one handle for all calls.

use std::sync::Arc;

use crate::{
    ClientBuilder, Delete, Error, Exists, Get, Key, Op, Operate, Put, Touch, Value, admin::Admin,
    batch::Batch, scan::ScanBuilder, transport::Pool,
};

/// A connection to a node. Clones share it; it is closed when the last one is dropped.
///
/// The calls below return builders: set what is wanted, then `.await` them. Each of them is `'static` once it is
/// turned into its future, so that it can be spawned.
#[derive(Clone, Debug)]
pub struct Client {
    pool: Arc<Pool>,
}

impl Client {
    /// Connects to the node at `address` (`host:port`) with default settings.
    pub async fn connect(address: impl AsRef<str>) -> Result<Self, Error> {
        Self::builder().connect(address).await
    }

    /// Settings other than the defaults.
    pub fn builder() -> ClientBuilder {
        ClientBuilder::default()
    }

    pub(crate) fn new(pool: Pool) -> Self {
        Self { pool: Arc::new(pool) }
    }

    pub(crate) fn pool(&self) -> &Arc<Pool> {
        &self.pool
    }

    /// Reads a record: `None` when there is none.
    ///
    /// ```no_run
    /// # use cairn_sdk::{Client, Key};
    /// # async fn example(client: Client) -> Result<(), cairn_sdk::Error> {
    /// let key = Key::new("test", "users", "ada");
    /// let all = client.get(&key).await?;
    /// let some = client.get(&key).bins(["name", "age"]).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn get<'a>(&'a self, key: &'a Key) -> Get<'a> {
        Get::new(self, key)
    }

    /// Reads some bins of a record: `None` when there is no such record. A bin that the record lacks is left out.
    pub fn get_bins<'a>(&'a self, key: &'a Key, bins: &[&str]) -> Get<'a> {
        Get::new(self, key).bins(bins)
    }

    /// Writes bins of a record; other bins stay unless told otherwise. A nil value removes its bin. See [`bins!`](crate::bins).
    ///
    /// ```no_run
    /// # use std::time::Duration;
    /// # use cairn_sdk::{Client, Key, bins};
    /// # async fn example(client: Client) -> Result<(), cairn_sdk::Error> {
    /// let key = Key::new("test", "users", "ada");
    /// let written = client.put(&key, [("name", "Ada")]).ttl(Duration::from_secs(60)).await?;
    /// // Check-and-set: fails with `Code::Generation` when somebody else wrote meanwhile.
    /// client.put(&key, bins! { "age" => 36 }).generation(written.generation).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn put<'a, N, V>(&'a self, key: &'a Key, bins: impl IntoIterator<Item = (N, V)>) -> Put<'a>
    where
        N: Into<String>,
        V: Into<Value>,
    {
        let bins = bins.into_iter().map(|(name, value)| (name.into(), value.into())).collect();
        Put::new(self, key, bins)
    }

    /// Deletes a record, durably. Answers whether there was one.
    pub fn delete<'a>(&'a self, key: &'a Key) -> Delete<'a> {
        Delete::new(self, key)
    }

    /// Gives a record a new lifetime: the namespace's default, or the one set with `.ttl(..)`. `None` when there is no such record.
    pub fn touch<'a>(&'a self, key: &'a Key) -> Touch<'a> {
        Touch::new(self, key)
    }

    /// A record's metadata, without its bins: `None` when there is no such record.
    pub fn exists<'a>(&'a self, key: &'a Key) -> Exists<'a> {
        Exists::new(self, key)
    }

    /// Several operations on one record, atomically and in order.
    ///
    /// ```no_run
    /// # use cairn_sdk::{Client, Key, Op};
    /// # async fn example(client: Client) -> Result<(), cairn_sdk::Error> {
    /// let key = Key::new("test", "counters", "visits");
    /// let done = client.operate(&key, [Op::add("n", 1), Op::read("n")]).await?;
    /// println!("{:?}", done.get("n"));
    /// # Ok(())
    /// # }
    /// ```
    pub fn operate<'a>(
        &'a self,
        key: &'a Key,
        operations: impl IntoIterator<Item = Op>,
    ) -> Operate<'a> {
        Operate::new(self, key, operations.into_iter().collect())
    }

    /// Many requests in few messages; each succeeds or fails on its own.
    ///
    /// They are carried out side by side, in no set order: of two requests on one key in a batch either may come first, though
    /// the answers are in the order of the requests. Where order counts, send the second when the first is answered, or
    /// use [`operate`](Self::operate), which keeps the order of its operations.
    pub fn batch(&self) -> Batch<'_> {
        Batch::new(self)
    }

    /// All records of a namespace, or of one set.
    ///
    /// All scans of a client share a connection that nothing else uses: a scan that is not read holds up no other calls. It can hold
    /// up other scans, so read several scans side by side (each in a task, say) or one after the other, but do not make one wait
    /// for another. A client of its own gives a scan a connection of its own.
    pub fn scan(&self, namespace: impl Into<String>) -> ScanBuilder {
        ScanBuilder::new(self.clone(), namespace.into())
    }

    /// The node: its namespaces, sets and settings.
    pub fn admin(&self) -> Admin<'_> {
        Admin::new(self)
    }
}
