//! What the kernel tells of time: how long a thread ran and waited for a core, and how long the machine had nothing to do.
//!
//! Files of `/proc` that are kept open: a look is a read. What cannot be read is not there; nothing here fails.

use std::{fs::File, io, os::unix::fs::FileExt, thread, time::Duration};

/// The kernel shows the machine's times in hundredths of a second, on every architecture.
const TICK: Duration = Duration::from_millis(10);
/// The files' first lines, and all that is wanted of them, are shorter.
const LINE: usize = 256;

/// The times of a thread.
#[derive(Debug)]
pub struct Thread(File);

impl Thread {
    /// Those of the thread that asks; any thread may read them then.
    pub fn this() -> io::Result<Self> {
        File::open("/proc/thread-self/schedstat").map(Self)
    }

    /// How long it has run, and how long it could have run but had no core.
    pub fn times(&self) -> Option<(Duration, Duration)> {
        numbers(&self.0, |line| {
            let mut nanos = line.split_whitespace().map(|number| number.parse().ok());
            Some((Duration::from_nanos(nanos.next()??), Duration::from_nanos(nanos.next()??)))
        })
    }
}

/// The times of the machine.
#[derive(Debug)]
pub struct Machine {
    /// How many cores this process may use.
    pub cores: usize,
    stat: Option<File>,
}

impl Machine {
    /// This machine.
    pub fn new() -> Self {
        let cores = thread::available_parallelism().map_or(1, usize::from);
        Self { cores, stat: File::open("/proc/stat").ok() }
    }

    /// How long its cores have had nothing to do, all of them together.
    pub fn idle(&self) -> Option<Duration> {
        numbers(self.stat.as_ref()?, idle_of)
    }

    /// The difference of two such times may be that much too long.
    pub fn resolution(&self) -> Duration {
        TICK * self.cores as u32
    }
}

/// `cpu`, and then ticks: user, nice, system, idle, waiting for a device; a core that waits could do something else.
fn idle_of(line: &str) -> Option<Duration> {
    let mut fields = line.strip_prefix("cpu ")?.split_whitespace().skip(3);
    let mut next = || fields.next()?.parse::<u32>().ok();
    Some(TICK * next()?.checked_add(next()?)?)
}

/// What is in the first line of a file.
fn numbers<T>(file: &File, read: impl FnOnce(&str) -> Option<T>) -> Option<T> {
    let mut bytes = [0; LINE];
    let len = file.read_at(&mut bytes, 0).ok()?;
    let line = bytes[..len].split(|byte| *byte == b'\n').next()?;
    read(std::str::from_utf8(line).ok()?)
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    /// Idle time without what waits for devices would have no worker added where the devices are busy.
    #[test]
    fn a_core_that_waits_for_a_device_is_idle() {
        let idle = idle_of("cpu  3424735 1842349 1397870 1581854 582537 0 77942 9398 0 0");
        assert_eq!(idle, Some(Duration::from_millis(10) * (1_581_854 + 582_537)));
        assert_eq!(idle_of("intr 1 2 3 4 5 6"), None);
        assert_eq!(idle_of("cpu  1 2 3"), None);
    }

    /// Another thread's look must show the time of the thread that was asked for, not its own: that of worker 0 would stand for all.
    #[test]
    fn a_thread_is_told_the_time_of_another() {
        const SPENT: Duration = Duration::from_millis(20);
        let Ok(own) = Thread::this() else {
            return eprintln!("skipped: this kernel does not tell a thread's time");
        };
        let (send, receive) = std::sync::mpsc::channel();
        let (done, wait) = std::sync::mpsc::channel::<()>();
        let other = thread::spawn(move || {
            send.send(Thread::this().unwrap()).unwrap();
            wait.recv()
        });
        let other_time = receive.recv().unwrap();
        let (before, other_before) = (own.times().unwrap().0, other_time.times().unwrap().0);
        let began = Instant::now();
        while own.times().unwrap().0 - before < SPENT {
            assert!(began.elapsed() < Duration::from_secs(60), "this thread's time stands still");
        }
        assert!(other_time.times().unwrap().0 - other_before < SPENT);
        done.send(()).unwrap();
        other.join().unwrap().unwrap();
        assert_eq!(other_time.times(), None);
    }
}
