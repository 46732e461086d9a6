//! A device that is full again and again: writes are refused, room is made, and it goes on without a restart; nothing else is lost.
//!
//! ```text
//! cargo bench -p cairn-benches --bench full -- --path /disk/full.dat --size 1GiB --cycles 20
//! ```
//!
//! Each cycle writes new keys until writes are refused, makes room in one of three ways, in turn, and then verifies every key:
//! deletes a third of all records, chosen at random; overwrites a third with a life of one second; or waits for the end of this
//! cycle's own records, which got a life of their own. The next cycle must then take at least `--regain` per cent of what went.

use std::{
    path::PathBuf,
    process::ExitCode,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use cairn_benches::{
    keys::mix,
    sizes::Size,
    subject::{self, Subject},
    values,
};
use cairn_engine::{
    Error,
    model::{Durability, ReadPolicy, Ttl},
};
use clap::Parser;

/// The life of records that make room by an overwrite.
const SHORT: Duration = Duration::from_secs(1);
/// Overwrites that are refused are tried again for so long, all of a cycle together.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long the engine may take to make room of what has expired or was deleted.
const RECLAIM: Duration = Duration::from_secs(60);

#[derive(Parser, Clone)]
#[command(about = "Fills a device until it refuses, makes room, and goes on")]
struct Options {
    /// The device file; made, and removed at the end.
    #[arg(long, default_value = "full.dat")]
    path: PathBuf,
    /// Size of the device, such as 1GiB.
    #[arg(long, default_value = "1GiB")]
    size: Size,
    /// How many times it is filled.
    #[arg(long, default_value_t = 20)]
    cycles: u64,
    /// The least that a cycle must take of what the one before made room for, in per cent.
    #[arg(long, default_value_t = 80)]
    regain: u64,
    /// Bytes of each value, 16 or more.
    #[arg(long, default_value_t = 1024)]
    value_size: usize,
    /// Seconds that the records of every third cycle live.
    #[arg(long, default_value_t = 10)]
    life: u64,
    /// Threads.
    #[arg(long, default_value_t = 2)]
    threads: u64,
    /// First number of all random choices.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Given by `cargo bench`.
    #[arg(long, hide = true)]
    bench: bool,
}

/// How a cycle makes room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Delete,
    Overwrite,
    Expire,
}

fn main() -> ExitCode {
    let options = Options::parse();
    let _ = std::fs::remove_file(&options.path);
    let subject = Subject::open(&subject::config(&options.path, options.size.0));
    let subject = subject.unwrap_or_else(|error| panic!("{error}"));
    let mut run =
        Run { options: options.clone(), subject, live: Vec::new(), gone: Vec::new(), next: 0 };
    let sound = run.cycles();
    drop(run);
    let _ = std::fs::remove_file(&options.path);
    println!("{}", if sound { "full: passed" } else { "full: FAILED" });
    if sound { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

struct Run {
    options: Options,
    subject: Subject,
    /// Keys that must be there.
    live: Vec<u64>,
    /// Keys that went in the last cycle, and must not be there.
    gone: Vec<u64>,
    /// The next new key.
    next: u64,
}

impl Run {
    fn cycles(&mut self) -> bool {
        println!("{} MiB, seed {}", self.options.size.0 >> 20, self.options.seed);
        for cycle in 0..self.options.cycles {
            let way = [Way::Delete, Way::Overwrite, Way::Expire][(cycle % 3) as usize];
            let went = self.gone.len() as u64;
            let fresh = match self.fill(way, went) {
                Ok(fresh) => fresh,
                Err(error) => {
                    println!(
                        "cycle {cycle}: a write failed otherwise than by being refused: {error}"
                    );
                    return false;
                }
            };
            let taken = fresh.len() as u64;
            if let Err(error) = self.make_room(way, fresh) {
                println!("cycle {cycle}: making room failed: {error}");
                return false;
            }
            let wrong = self.verify();
            let stats = self.subject.namespace.stats();
            println!(
                "cycle {cycle:>3}  took {taken:>9} records of {went:>9} that went; {:>9} go by {way:?}, {:>9} stay, {wrong} wrong; \
                 {} of {} blocks free",
                self.gone.len(),
                self.live.len(),
                stats.free_blocks,
                stats.total_blocks
            );
            if wrong > 0 || taken * 100 < went * self.options.regain || taken == 0 {
                return false;
            }
        }
        true
    }

    /// Writes new keys until a write is refused; a refusal counts only when what went has had time to become room.
    fn fill(&mut self, way: Way, went: u64) -> Result<Vec<u64>, Error> {
        let first = self.next;
        let next = AtomicU64::new(first);
        let ttl = match way {
            Way::Expire => Ttl::Millis(self.options.life * 1000),
            Way::Delete | Way::Overwrite => Ttl::Never,
        };
        let wanted = went * self.options.regain / 100;
        let begun = Instant::now();
        let taken = Mutex::new(Vec::new());
        let count = AtomicU64::new(0);
        let results = self.subject.lanes(self.options.threads, 1, |_| async {
            let mut own = Vec::new();
            let result = 'full: loop {
                let number = next.fetch_add(1, Relaxed);
                while let Err(error) = self.put(number, 1, ttl).await {
                    if !matches!(error, Error::NoSpace { .. }) {
                        break 'full Err(error);
                    }
                    if count.load(Relaxed) >= wanted || begun.elapsed() > RECLAIM {
                        break 'full Ok(());
                    }
                    std::thread::park_timeout(Duration::from_millis(5));
                }
                count.fetch_add(1, Relaxed);
                own.push(number);
            };
            taken.lock().expect("nobody panicked").extend(own);
            result
        });
        self.next = next.into_inner();
        results.into_iter().collect::<Result<(), Error>>()?;
        Ok(taken.into_inner().expect("nobody panicked"))
    }

    async fn put(&self, number: u64, version: u64, ttl: Ttl) -> Result<(), Error> {
        let mut value = vec![0; self.options.value_size];
        values::fill(&mut value, number, version);
        self.subject.put(number, value, Durability::Buffer, ttl).await
    }

    /// Lets a third go, or those that live for a while only.
    fn make_room(&mut self, way: Way, fresh: Vec<u64>) -> Result<(), Error> {
        if way == Way::Expire {
            self.gone = fresh;
            std::thread::sleep(Duration::from_secs(self.options.life + 1));
            return Ok(());
        }
        self.live.extend(fresh);
        let seed = mix(self.options.seed ^ self.next);
        let (gone, live) = self.live.iter().partition(|key| mix(**key ^ seed).is_multiple_of(3));
        (self.gone, self.live) = (gone, live);
        let (next, begun, deleted) = (AtomicU64::new(0), Instant::now(), AtomicU64::new(0));
        let results = self.subject.lanes(self.options.threads, 1, |_| async {
            while let Some(&number) = self.gone.get(next.fetch_add(1, Relaxed) as usize) {
                match way {
                    Way::Delete => _ = self.subject.delete(number, Durability::Buffer).await?,
                    Way::Overwrite | Way::Expire => {
                        let taken = self.overwrite(number, begun + PATIENCE).await?;
                        deleted.fetch_add(u64::from(!taken), Relaxed);
                    }
                }
            }
            Ok(())
        });
        results.into_iter().collect::<Result<(), Error>>()?;
        if way == Way::Overwrite {
            println!(
                "{} of {} overwrites found no room in {PATIENCE:?}, and were deletes instead",
                deleted.into_inner(),
                self.gone.len()
            );
            std::thread::sleep(SHORT + Duration::from_millis(500));
        }
        Ok(())
    }

    /// A full device refuses overwrites too, but room may be on its way: it is asked again until `patience`, and then the record is deleted,
    /// which is never refused. Whether it was overwritten.
    async fn overwrite(&self, number: u64, patience: Instant) -> Result<bool, Error> {
        let ttl = Ttl::Millis(SHORT.as_millis() as u64);
        loop {
            match self.put(number, 2, ttl).await {
                Ok(()) => return Ok(true),
                Err(Error::NoSpace { .. }) if Instant::now() < patience => {
                    std::thread::park_timeout(Duration::from_millis(1));
                }
                Err(Error::NoSpace { .. }) => {
                    self.subject.delete(number, Durability::Buffer).await?;
                    return Ok(false);
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Reads every key; how many are wrong.
    fn verify(&self) -> u64 {
        let (next, wrong) = (AtomicU64::new(0), AtomicU64::new(0));
        self.subject.lanes(self.options.threads, 16, |_| async {
            loop {
                let at = next.fetch_add(1, Relaxed) as usize;
                let lives = at < self.live.len();
                let key = match self.live.get(at).or_else(|| self.gone.get(at - self.live.len())) {
                    Some(key) => *key,
                    None => return,
                };
                let look = |value: &[u8]| values::version(value, key) == Some(1);
                let found = self.subject.get(key, &ReadPolicy::default(), look).await;
                let right = matches!((lives, &found), (true, Ok(Some(true))) | (false, Ok(None)));
                if !right && wrong.fetch_add(1, Relaxed) < 10 {
                    println!(
                        "key {key}: {found:?}, should be {}",
                        if lives { "there" } else { "gone" }
                    );
                }
            }
        });
        wrong.into_inner()
    }
}
