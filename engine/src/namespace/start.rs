//! How a namespace comes up: its devices, then what it held (`contents`), then its threads; and how these end.

mod contents;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering::SeqCst},
    },
    thread::JoinHandle,
    time::Duration,
};

use parking_lot::Mutex;

use self::contents::Starting;
use super::{
    Counters, DeviceConfig, Driven, Namespace, NamespaceConfig, Progress, StartReport,
    defragment::{self, Defragmenter},
    keeper,
    sets::Sets,
};
use crate::{
    device::{Device, FileDevice, IoEngine, OpenMode},
    error::OpenError,
    format::Truncation,
    index::Index,
    storage::{
        Shared, Sizes,
        flusher::{self, Flusher},
        layout::lay_out,
        open::{Candidate, DeviceSet, Identity, Member, open_set},
        recover::Tally,
        store::Store,
    },
    time::{Clock, SystemClock},
};

/// How a namespace is opened.
#[derive(Clone)]
pub struct OpenOptions {
    /// How I/O is done.
    pub io: IoEngine,
    /// Where time is read.
    pub clock: Arc<dyn Clock>,
    /// Told how far a start has come, from time to time and from any thread.
    pub progress: Arc<dyn Fn(&Progress) + Send + Sync>,
    /// Threads that rebuild the index, 1 or more.
    pub threads: usize,
}

impl OpenOptions {
    /// The system's clock, no progress, a thread for each core.
    pub fn new(io: IoEngine) -> Self {
        Self {
            io,
            clock: SystemClock::new(),
            progress: Arc::new(|_| {}),
            threads: std::thread::available_parallelism().map_or(1, usize::from),
        }
    }
}

impl std::fmt::Debug for OpenOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OpenOptions").field("io", &self.io).field("threads", &self.threads).finish()
    }
}

impl Namespace {
    /// Opens a namespace: creates its files and formats them where they are new, takes up the index of the last clean stop or
    /// rebuilds it. Blocks until the namespace can serve.
    ///
    /// # Errors
    ///
    /// [`OpenError`] says which device does not fit and what to do.
    pub fn open(config: &NamespaceConfig, options: &OpenOptions) -> Result<Arc<Self>, OpenError> {
        config.check().map_err(OpenError::Config)?;
        let devices = config.devices.iter().map(|device| open_device(device, options));
        let devices = devices.collect::<Result<Vec<Candidate>, _>>()?;
        let namespace = Arc::new(Self::start(config, options, devices, false)?);
        namespace.spawn(options)?;
        Ok(namespace)
    }

    /// Opens a namespace on devices that a test made, without threads: [`Self::drive`] does their work.
    #[doc(hidden)]
    pub fn open_driven(
        config: &NamespaceConfig,
        options: &OpenOptions,
        devices: Vec<Arc<dyn Device>>,
    ) -> Result<Arc<Self>, OpenError> {
        config.check().map_err(OpenError::Config)?;
        let candidates = devices.into_iter().map(|device| (device.name().into(), device)).collect();
        Ok(Arc::new(Self::start(config, options, candidates, true)?))
    }

    fn start(
        config: &NamespaceConfig,
        options: &OpenOptions,
        devices: Vec<Candidate>,
        driven: bool,
    ) -> Result<Self, OpenError> {
        let started = options.clock.monotonic();
        let identity = Identity {
            cluster: config.cluster.clone(),
            namespace: config.name.clone(),
            write_block: config.write_block_size,
        };
        let mut set = open_set(devices, &identity)?;
        for member in &mut set.members {
            member.header.incarnation += 1;
        }
        let truncations = truncations(&set.members);
        let shared = build_shared(config, options, &set);
        let (index, sets, counters) = (Index::new(), Sets::default(), Counters::default());
        let tally = Tally::default();
        for member in set.members.iter().filter(|member| member.slot_damaged) {
            let path = member.path.display();
            // A loss of power may do this; nothing is missing, and this start writes both anew.
            tracing::warn!(
                "{path}: one of the two copies of the device header is damaged; the other serves"
            );
        }
        let mut starting = Starting {
            options,
            set: &set,
            shared,
            index,
            sets,
            counters,
            tally,
            truncations,
            started,
        };
        let kind = starting.run()?;
        let Starting { shared, index, sets, counters, tally, .. } = starting;
        let (damage_count, damage) = tally.take_damage();
        let data_blocks = tally.data_blocks.load(SeqCst);
        let report = StartReport {
            kind,
            records: index.len(),
            took: options.clock.monotonic().saturating_sub(started),
            bytes_read: tally.bytes_read.load(SeqCst),
            bytes_used: data_blocks * shared.block_size,
            damage,
            damage_count,
            open_blocks: tally.open_blocks.load(SeqCst),
            torn: tally.torn.load(SeqCst),
        };
        let first = &set.members[0].header;
        let stores = 0..shared.stores.len();
        let driven = driven.then(|| Driven {
            flushers: stores.clone().map(|store| Flusher::new(store, Duration::ZERO)).collect(),
            defragmenters: stores.map(Defragmenter::new).collect(),
        });
        Ok(Self {
            record_max: config.max_record_size.min(shared.largest_record()),
            config: config.clone(),
            index,
            sets,
            secret: first.secret.clone(),
            partition_kind: first.partition_kind,
            default_ttl_ms: AtomicU64::new(config.default_ttl_ms),
            evict_used_pct: AtomicU8::new(config.evict_used_pct),
            evict_again_ms: AtomicU64::new(0),
            sweep_from: AtomicU32::new(0),
            counters,
            report,
            stopping: AtomicBool::new(false),
            stop: Arc::default(),
            threads: Mutex::default(),
            driven: driven.map(Mutex::new),
            shared: Arc::new(shared),
        })
    }

    fn spawn(self: &Arc<Self>, options: &OpenOptions) -> Result<(), OpenError> {
        let mut threads = self.threads.lock();
        let thread =
            |name: String, work: Box<dyn FnOnce() + Send>| -> Result<JoinHandle<()>, OpenError> {
                let spawned = std::thread::Builder::new().name(name).spawn(work);
                spawned.map_err(|error| {
                    OpenError::Config(format!("a thread could not be started: {error}"))
                })
            };
        for store in 0..self.shared.stores.len() {
            let (shared, stop, kind) =
                (Arc::clone(&self.shared), Arc::clone(&self.stop), options.io.kind);
            let work = move || flusher::run(&shared, store, kind, &stop);
            threads.push(thread(format!("cairn-flush-{store}"), Box::new(work))?);
        }
        let kind = options.io.kind;
        for store in 0..self.shared.stores.len() {
            let (namespace, stop) = (Arc::downgrade(self), Arc::clone(&self.stop));
            let work = move || defragment::run(&namespace, store, kind, &stop);
            threads.push(thread(format!("cairn-defrag-{store}"), Box::new(work))?);
        }
        let (namespace, stop) = (Arc::downgrade(self), Arc::clone(&self.stop));
        let work = move || keeper::run(&namespace, kind, &stop);
        threads.push(thread("cairn-keeper".into(), Box::new(work))?);
        Ok(())
    }

    /// Ends the threads; the flushers first bring what is open to the devices.
    pub(super) fn end_threads(&self) {
        self.stop.store(true, SeqCst);
        for store in &self.shared.stores {
            store.flusher.kick();
            store.defragmenter.kick();
        }
        for thread in self.threads.lock().drain(..) {
            // The last owner may be one of them.
            if thread.thread().id() != std::thread::current().id() {
                thread.thread().unpark();
                let _ = thread.join();
            }
        }
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        self.end_threads();
    }
}

/// A process that was killed holds its devices a moment longer, until the kernel has ended its requests. A start that follows at once
/// waits for that, two seconds at most in all.
const BUSY_TRIES: u32 = 200;
const BUSY_PAUSE: Duration = Duration::from_millis(10);

const CREATING: &str = "creating the file";

/// Opens one device of a configuration; a file that does not exist is created and written through once.
pub(crate) fn open_device(
    config: &DeviceConfig,
    options: &OpenOptions,
) -> Result<Candidate, OpenError> {
    let path = config.path();
    let mode = match config {
        DeviceConfig::File { size, .. } if !path.exists() => OpenMode::Create { size: *size },
        _ => OpenMode::ReadWrite,
    };
    let doing = match mode {
        OpenMode::Create { .. } => CREATING,
        _ => "opening",
    };
    let mut tries = 0;
    loop {
        match FileDevice::open(path, mode, &options.io) {
            Ok(device) => {
                let device: Arc<dyn Device> = device;
                if doing == CREATING {
                    lay_out(&device, &*options.progress).map_err(|source| OpenError::Io {
                        path: path.into(),
                        doing,
                        source,
                    })?;
                }
                return Ok((path.into(), device));
            }
            Err(error)
                if error.kind() == std::io::ErrorKind::ResourceBusy && tries < BUSY_TRIES =>
            {
                tries += 1;
                std::thread::sleep(BUSY_PAUSE);
            }
            Err(source) => return Err(OpenError::Io { path: path.into(), doing, source }),
        }
    }
}

/// The cuts that still guard something. Each table that is written has them all, with one later than any before; a loss of power may leave it on some
/// devices and the one before on others. Both together may be more than a header has room for.
fn truncations(members: &[Member]) -> Vec<Truncation> {
    let tables = members.iter().map(|member| &member.header.truncations);
    let newest = tables.max_by_key(|table| table.iter().map(|cut| cut.cut).max());
    newest.cloned().unwrap_or_default()
}

/// The devices' storage, as empty as if they were new.
pub(super) fn build_shared(
    config: &NamespaceConfig,
    options: &OpenOptions,
    set: &DeviceSet,
) -> Shared {
    let mut stores: Vec<Store> = Vec::new();
    for member in &set.members {
        let first = stores.last().map_or(0, |last| last.first_block + last.block_count);
        stores.push(Store::new(Arc::clone(&member.device), member.superblock(), first));
    }
    let sizes = Sizes {
        block: config.write_block_size,
        flush: config.flush_size,
        flush_max: config.flush_max,
        post_write_cache: config.post_write_cache,
        max_used_pct: config.max_used_pct,
    };
    let shared = Shared::new(stores, &sizes, Arc::clone(&options.clock));
    for member in &set.members {
        shared.go_on_behind(member.header.version);
    }
    shared
}
