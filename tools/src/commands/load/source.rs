//! The file of a load as a bounded queue of parsed lines.
//!
//! A thread of its own reads, unpacks and parses, so that one core can parse while another talks to the node. At most
//! a few batches wait; a batch is closed at a number of lines or bytes.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use flate2::bufread::MultiGzDecoder;
use tokio::sync::mpsc;

use super::{
    line::{Defaults, Line},
    progress::Wanted,
};
use crate::failure::{Doing, Failure, Result};

const BATCH_LINES: usize = 256;
const BATCH_BYTES: usize = 1 << 20;
const BATCHES: usize = 4;
/// A line longer than this is refused without being kept: no record is that large.
const LINE_MAX: u64 = 64 << 20;

/// A parsed line and its number, counted from 1.
#[derive(Debug)]
pub struct Item {
    /// Its number.
    pub line: u64,
    /// The record, nothing for a blank line, or what is wrong with it.
    pub record: std::result::Result<Option<Line>, String>,
}

type Batch = Result<Vec<Item>>;

/// The lines of a file.
#[derive(Debug)]
pub struct Source {
    batches: mpsc::Receiver<Batch>,
    batch: std::vec::IntoIter<Item>,
    size: u64,
    position: Arc<AtomicU64>,
}

impl Source {
    /// Starts to read the lines of `path` that are `wanted`, `limit` at most.
    pub fn open(
        path: &Path,
        defaults: Defaults,
        wanted: Wanted,
        limit: Option<u64>,
    ) -> Result<Self> {
        let what = || format!("opening {}", path.display());
        let file = File::open(path).doing(what())?;
        let size = file.metadata().doing(what())?.len();
        let position = Arc::new(AtomicU64::new(0));
        let lines = unpacked(Counting { file, position: position.clone() }).doing(what())?;
        let (sender, batches) = mpsc::channel(BATCHES);
        let mut reader =
            Reader { lines, defaults, wanted, left: limit.unwrap_or(u64::MAX), sender };
        let name = path.display().to_string();
        std::thread::Builder::new()
            .name("load".into())
            .spawn(move || {
                if let Err(error) = reader.run() {
                    let failure = Failure::new(format!("reading {name}: {error}"));
                    let _ = reader.sender.blocking_send(Err(failure));
                }
            })
            .doing("starting a thread")?;
        Ok(Self { batches, batch: Vec::new().into_iter(), size, position })
    }

    /// The next line; `None` at the end.
    pub async fn next(&mut self) -> Option<Result<Item>> {
        loop {
            if let Some(item) = self.batch.next() {
                return Some(Ok(item));
            }
            match self.batches.recv().await? {
                Ok(batch) => self.batch = batch.into_iter(),
                Err(failure) => return Some(Err(failure)),
            }
        }
    }

    /// Bytes of the file.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// How many of them were read: shared with the reader.
    pub fn position(&self) -> Arc<AtomicU64> {
        self.position.clone()
    }

    /// The end was reached: whatever the last read-ahead left unread counts as read.
    pub fn finished(&self) {
        self.position.store(self.size, Ordering::Relaxed);
    }
}

struct Reader {
    lines: Box<dyn BufRead + Send>,
    defaults: Defaults,
    wanted: Wanted,
    left: u64,
    sender: mpsc::Sender<Batch>,
}

impl Reader {
    fn run(&mut self) -> io::Result<()> {
        let (mut number, mut batch, mut bytes) = (0, Vec::new(), 0);
        let mut text = Vec::new();
        while self.left > 0 {
            text.clear();
            let got = self.lines.by_ref().take(LINE_MAX + 1).read_until(b'\n', &mut text)?;
            if got == 0 {
                break;
            }
            number += 1;
            if got as u64 > LINE_MAX {
                return Err(io::Error::other(format!(
                    "line {number} is longer than {LINE_MAX} bytes"
                )));
            }
            if !self.wanted.includes(number) {
                continue;
            }
            self.left -= 1;
            bytes += text.len();
            let blank = text.iter().all(u8::is_ascii_whitespace);
            let record =
                if blank { Ok(None) } else { Line::parse(&text, &self.defaults).map(Some) };
            batch.push(Item { line: number, record });
            if batch.len() == BATCH_LINES || bytes >= BATCH_BYTES {
                bytes = 0;
                if self.sender.blocking_send(Ok(std::mem::take(&mut batch))).is_err() {
                    return Ok(());
                }
            }
        }
        let _ = self.sender.blocking_send(Ok(batch));
        Ok(())
    }
}

/// Lines of a file that may be gzip: its first two bytes tell, not its name.
fn unpacked(file: Counting) -> io::Result<Box<dyn BufRead + Send>> {
    let mut file = BufReader::with_capacity(256 * 1024, file);
    if file.fill_buf()?.starts_with(&[0x1f, 0x8b]) {
        return Ok(Box::new(BufReader::with_capacity(256 * 1024, MultiGzDecoder::new(file))));
    }
    Ok(Box::new(file))
}

/// A file that counts what was read of it.
struct Counting {
    file: File,
    position: Arc<AtomicU64>,
}

impl Read for Counting {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let got = self.file.read(buffer)?;
        self.position.fetch_add(got as u64, Ordering::Relaxed);
        Ok(got)
    }
}
