//! What commands print: tables for people, JSON for programs.

use std::{
    fmt::Display,
    io::{self, IsTerminal, Write},
};

use cairn_sdk::{Key, Metadata, Value};
use clap::ValueEnum;
use comfy_table::{ContentArrangement, LineStyle, Table, presets};
use serde::Serialize;

use crate::{
    failure::{Doing, Result},
    json::{BinsToJson, ToJson, user_key_to_value},
    units,
};

/// How a command prints its result.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people.
    #[default]
    Table,
    /// For programs: one JSON object, or one a line.
    Json,
}

/// The argument that chooses the [`Output`].
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct OutputArg {
    /// Tables for people or JSON for programs. In JSON, bytes are {"$bytes": "base64"}
    #[arg(long, value_enum, default_value_t)]
    pub output: Output,
}

impl OutputArg {
    /// Prints the outcome of a command: `text` for people, `json` for programs.
    ///
    /// # Errors
    ///
    /// When standard output takes no more.
    pub fn outcome(self, json: &serde_json::Value, text: impl Display) -> Result {
        match self.output {
            Output::Json => print_json(json),
            Output::Table => {
                println!("{text}");
                Ok(())
            }
        }
    }

    /// Prints what a write made of a record.
    ///
    /// # Errors
    ///
    /// As [`Self::outcome`].
    pub fn written(self, key: &Key, record: &Metadata) -> Result {
        let ttl = seconds_left(record).unwrap_or(0);
        let json = serde_json::json!({ "generation": record.generation, "ttl": ttl });
        let text = format_args!("{key}: generation {}, {}", record.generation, expiry(record));
        self.outcome(&json, text)
    }
}

/// A record as one JSON object; what `load` reads.
#[derive(Serialize)]
struct RecordJson<'a> {
    namespace: &'a str,
    set: &'a str,
    key: serde_json::Value,
    generation: u32,
    /// Seconds left, 0 for never.
    ttl: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    bins: Option<BinsToJson<'a>>,
}

/// Writes a value as one line of JSON.
pub fn json_line(out: &mut impl Write, value: &impl Serialize) -> Result {
    serde_json::to_writer(&mut *out, value).doing("writing the output")?;
    out.write_all(b"\n").doing("writing the output")
}

/// Prints a value as one line of JSON.
pub fn print_json(value: &impl Serialize) -> Result {
    json_line(&mut io::stdout().lock(), value)
}

/// Writes a record as one line of JSON.
pub fn record_line(
    out: &mut impl Write,
    key: &Key,
    metadata: &Metadata,
    bins: Option<&[(String, Value)]>,
) -> Result {
    let user = user_key_to_value(key.user_key());
    let record = RecordJson {
        namespace: key.namespace(),
        set: key.set(),
        key: serde_json::to_value(ToJson(&user)).doing("writing the key")?,
        generation: metadata.generation,
        ttl: seconds_left(metadata).unwrap_or(0),
        bins: bins.map(BinsToJson),
    };
    json_line(out, &record)
}

/// Seconds until the record expires, 1 or more; `None` for never.
pub fn seconds_left(metadata: &Metadata) -> Option<u64> {
    let expires = metadata.expires()?;
    let left = expires.duration_since(std::time::SystemTime::now()).unwrap_or_default();
    Some(left.as_millis().div_ceil(1000).max(1) as u64)
}

/// When the record expires, for people.
pub fn expiry(metadata: &Metadata) -> String {
    match seconds_left(metadata) {
        None => "never expires".into(),
        Some(left) => {
            format!("expires in {}", units::duration(std::time::Duration::from_secs(left)))
        }
    }
}

/// An empty table in the one style of all commands.
pub fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_HORIZONTAL_ONLY.row_separator(LineStyle::none()));
    if io::stdout().is_terminal() {
        table.set_content_arrangement(ContentArrangement::Dynamic);
    }
    if !header.is_empty() {
        table.set_header(header);
    }
    table
}

/// A value on one line, for people.
pub fn value_text(value: &Value) -> String {
    match value {
        Value::Bytes(bytes) if bytes.len() > 32 => format!("<{} bytes>", bytes.len()),
        value => serde_json::to_string(&ToJson(value)).unwrap_or_default(),
    }
}

/// A bar of `width` characters, `percent` of it full.
pub fn bar(percent: f64, width: usize) -> String {
    let full = ((percent / 100.0 * width as f64).round() as usize).min(width);
    format!("{}{} {percent:5.1} %", "█".repeat(full), "░".repeat(width - full))
}

/// One column for each count, as high as it is among them; what is not 0 is seen.
pub fn columns(counts: &[u64]) -> String {
    const LEVELS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let most = counts.iter().copied().max().unwrap_or(0).max(1);
    let level = |count: u64| (count as f64 * 8.0 / most as f64).ceil() as usize;
    counts.iter().map(|&count| if count == 0 { ' ' } else { LEVELS[level(count) - 1] }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A class of blocks that is small beside others must not look like none at all, and the largest fills its column.
    #[test]
    fn columns_show_every_count() {
        assert_eq!(columns(&[0, 1, 500, 1000]), " ▁▄█");
        assert_eq!(columns(&[0, u64::MAX, 1]), " █▁");
        assert_eq!(columns(&[0, 0]), "  ");
    }
}
