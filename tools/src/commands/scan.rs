//! `cairn scan`: prints all records of a namespace or set.

use std::io::{BufWriter, Write};

use cairn_sdk::{Key, Record};
use futures::TryStreamExt;

use crate::{
    client::HostArg,
    failure::{Doing, Failure, Result},
    output::{self, Output, OutputArg},
};

/// Rows of one table; a scan may have no end worth waiting for.
const TABLE_ROWS: usize = 50;

/// The arguments of `cairn scan`.
#[derive(Debug, clap::Args)]
#[command(after_help = "With --output json, each record is one line that `cairn load` reads back.")]
pub struct Args {
    /// What to scan: a namespace, or namespace/set ("test/" for records without a set)
    #[arg(value_name = "NAMESPACE[/SET]")]
    what: String,
    /// Only these bins
    #[arg(long, value_name = "BIN", value_delimiter = ',')]
    bins: Vec<String>,
    /// Keys and metadata only
    #[arg(long)]
    no_bins: bool,
    /// Stop after this many records
    #[arg(long)]
    limit: Option<u64>,
    /// At most this many records a second
    #[arg(long, default_value_t = 0)]
    rate: u32,
    #[command(flatten)]
    host: HostArg,
    #[command(flatten)]
    output: OutputArg,
}

/// Splits `namespace` or `namespace/set`.
pub fn split_set(what: &str) -> (&str, Option<&str>) {
    match what.split_once('/') {
        Some((namespace, set)) => (namespace, Some(set)),
        None => (what, None),
    }
}

impl Args {
    /// Scans and prints.
    pub fn run(self) -> Result {
        let (namespace, set) = split_set(&self.what);
        let (namespace, set) = (namespace.to_string(), set.map(str::to_string));
        self.host.clone().run(|client| async move {
            let mut scan = client.scan(namespace).bins(&self.bins).records_per_second(self.rate);
            if let Some(set) = set {
                scan = scan.set(set);
            }
            if self.no_bins {
                scan = scan.no_bins();
            }
            let mut scan = scan.start();
            let mut printer = Printer::new(self.output.output, !self.no_bins);
            while printer.count < self.limit.unwrap_or(u64::MAX) {
                let Some(record) = scan.try_next().await? else { break };
                printer.record(&record)?;
            }
            printer.finish()?;
            match scan.damaged() {
                0 => Ok(()),
                damaged => Err(Failure::new(format!("{damaged} damaged records were left out"))
                    .next("`cairn inspect PATH --verify` tells where they are")),
            }
        })
    }
}

struct Printer {
    output: Output,
    bins: bool,
    out: BufWriter<std::io::Stdout>,
    rows: Vec<[String; 4]>,
    count: u64,
}

impl Printer {
    fn new(output: Output, bins: bool) -> Self {
        let out = BufWriter::with_capacity(64 * 1024, std::io::stdout());
        Self { output, bins, out, rows: Vec::new(), count: 0 }
    }

    fn record(&mut self, record: &Record) -> Result {
        self.count += 1;
        let Some(key) = &record.key else {
            return Err(Failure::new("the node sent a record without its key"));
        };
        match self.output {
            Output::Json => {
                let bins = self.bins.then_some(&record.bins[..]);
                output::record_line(&mut self.out, key, &record.metadata, bins)
            }
            Output::Table => {
                self.rows.push(row(key, record));
                if self.rows.len() == TABLE_ROWS { self.flush_rows() } else { Ok(()) }
            }
        }
    }

    fn flush_rows(&mut self) -> Result {
        let mut table = output::table(&["key", "generation", "expires", "bins"]);
        table.add_rows(std::mem::take(&mut self.rows));
        writeln!(self.out, "{table}").doing("writing the output")
    }

    fn finish(mut self) -> Result {
        if !self.rows.is_empty() {
            self.flush_rows()?;
        }
        if self.output == Output::Table {
            let count = crate::units::count(self.count);
            writeln!(self.out, "{count} records").doing("writing the output")?;
        }
        self.out.flush().doing("writing the output")
    }
}

fn row(key: &Key, record: &Record) -> [String; 4] {
    let mut bins = String::new();
    for (name, value) in &record.bins {
        if bins.len() > 100 {
            bins.push_str(" …");
            break;
        }
        let mut value = output::value_text(value);
        if value.len() > 40 {
            let cut = value.floor_char_boundary(39);
            value.truncate(cut);
            value.push('…');
        }
        let space = if bins.is_empty() { "" } else { " " };
        bins.push_str(&format!("{space}{name}={value}"));
    }
    let expires = output::seconds_left(&record.metadata).map_or("never".into(), |left| {
        crate::units::duration(std::time::Duration::from_secs(left))
    });
    [key.to_string(), record.generation().to_string(), expires, bins]
}
