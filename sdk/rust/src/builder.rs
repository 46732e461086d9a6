//! The settings of a client.

use std::time::Duration;

use crate::{
    Client, Code, Error,
    transport::{LONGEST, Pool, Settings, Target},
};

/// Settings of a [`Client`], with defaults that suit most programs.
///
/// ```no_run
/// # use std::time::Duration;
/// # async fn example() -> Result<(), cairn_sdk::Error> {
/// let client = cairn_sdk::Client::builder()
///     .connections(4)
///     .deadline(Duration::from_millis(250))
///     .connect("127.0.0.1:7400")
///     .await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct ClientBuilder {
    settings: Settings,
}

impl Default for ClientBuilder {
    fn default() -> Self {
        Self {
            settings: Settings {
                connections: 2,
                in_flight: 4096,
                deadline: Duration::from_secs(10),
                connect_timeout: Duration::from_secs(3),
                retries: 5,
                keep_alive: Duration::from_secs(10),
                max_message: 64 << 20,
            },
        }
    }
}

impl ClientBuilder {
    /// How many connections to keep, 1 to 64 (2). Each is served by one of the node's workers, so a few let one client use
    /// several of them; more than that makes messages smaller and dearer. Beside these there may be one more for scans and as many
    /// again for batches and administration, each made when it is first needed.
    pub fn connections(mut self, connections: usize) -> Self {
        self.settings.connections = connections;
        self
    }

    /// How many calls may be in flight at once, 1 to 1,000,000 (4096). A call counts once for each 16 KiB of its
    /// request. Calls beyond that wait, within their deadlines.
    pub fn in_flight(mut self, calls: u32) -> Self {
        self.settings.in_flight = calls;
        self
    }

    /// How long a call may take in all, attempts and waiting included, unless it says otherwise (10 s).
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.settings.deadline = deadline.min(LONGEST);
        self
    }

    /// How long making a connection may take (3 s).
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.settings.connect_timeout = timeout.min(LONGEST);
        self
    }

    /// How often a call is made again when that is safe and may help (5). 0 for never.
    pub fn retries(mut self, retries: u32) -> Self {
        self.settings.retries = retries;
        self
    }

    /// How long a silent connection is trusted (10 s): it is probed then, and given up after the same time again.
    pub fn keep_alive(mut self, interval: Duration) -> Self {
        self.settings.keep_alive = interval.min(LONGEST);
        self
    }

    /// The largest message taken from the server, in bytes (64 MiB).
    pub fn max_message(mut self, bytes: usize) -> Self {
        self.settings.max_message = bytes;
        self
    }

    /// Connects to the node at `address`, `host:port`. Fails when the first connection cannot be made; later ones are made
    /// in the background, and again whenever they break.
    pub async fn connect(self, address: impl AsRef<str>) -> Result<Client, Error> {
        let settings = self.settings;
        let within = |name: &str, fine: bool| match fine {
            true => Ok(()),
            false => Err(Error::new(Code::Invalid, format!("{name} is out of its range"))),
        };
        within("connections", (1..=64).contains(&settings.connections))?;
        within("in_flight", (1..=1_000_000).contains(&settings.in_flight))?;
        let target = Target::new(address.as_ref(), &settings)?;
        Ok(Client::new(Pool::connect(target, settings).await?))
    }
}
