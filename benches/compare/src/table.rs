//! The table: a row for each figure, a column for each engine, and beside every figure how Cairn stands to it.

use comfy_table::{CellAlignment, Table, presets};

use crate::result::{Latency, Outcome, Phase};

/// One row.
struct Row {
    title: &'static str,
    /// Whether more is better.
    more: bool,
    digits: usize,
    value: fn(&Outcome) -> Option<f64>,
}

const fn more(title: &'static str, value: fn(&Outcome) -> Option<f64>) -> Row {
    Row { title, more: true, digits: 0, value }
}

const fn less(title: &'static str, digits: usize, value: fn(&Outcome) -> Option<f64>) -> Row {
    Row { title, more: false, digits, value }
}

const ROWS: &[Row] = &[
    more("load, records/s", |o| rate(o, "load")),
    more("load with settling, records/s", |o| Some(o.phase("load")?.settled_rate())),
    more("GET uniform, 1 in flight, /s", |o| rate(o, "get-1")),
    less("  p50, us", 0, |o| Some(reads(o, "get-1")?.p50)),
    less("  p99, us", 0, |o| Some(reads(o, "get-1")?.p99)),
    more("GET uniform, all in flight, /s", |o| rate(o, "get")),
    less("  p50, us", 0, |o| Some(reads(o, "get")?.p50)),
    less("  p99, us", 0, |o| Some(reads(o, "get")?.p99)),
    less("  CPU of one, us", 1, |o| cpu(o, "get")),
    more("95 % GET, 5 % PUT, Zipf, /s", |o| rate(o, "zipf-95")),
    less("  GET p99, us", 0, |o| Some(reads(o, "zipf-95")?.p99)),
    less("  CPU of one, us", 1, |o| cpu(o, "zipf-95")),
    more("50 % GET, 50 % PUT, Zipf, /s", |o| rate(o, "zipf-50")),
    less("  GET p99, us", 0, |o| Some(reads(o, "zipf-50")?.p99)),
    less("  CPU of one, us", 1, |o| cpu(o, "zipf-50")),
    more("overwrite, buffered, /s", |o| rate(o, "overwrite")),
    more("  with settling, /s", |o| Some(o.phase("overwrite")?.settled_rate())),
    less("  CPU of one, settling included, us", 1, |o| cpu(o, "overwrite")),
    less("  bytes written per byte", 2, |o| Some(o.phase("overwrite")?.amplification())),
    more("PUT durable, 1 in flight, /s", |o| rate(o, "durable-1")),
    less("  p99, us", 0, |o| Some(writes(o, "durable-1")?.p99)),
    more("PUT durable, all in flight, /s", |o| rate(o, "durable")),
    less("  p99, us", 0, |o| Some(writes(o, "durable")?.p99)),
    less("  bytes written per byte", 2, |o| Some(o.phase("durable")?.amplification())),
    less("bytes written per byte, loading", 2, |o| Some(o.phase("load")?.amplification())),
    less("disk, bytes per byte, loaded", 2, |o| share(o.space_loaded, o.data)),
    less("disk, bytes per byte, at the end", 2, |o| share(o.space_end, o.data)),
    less("memory beside caches, bytes a record", 0, memory),
    less("memory at most, MiB", 0, |o| share(o.resident_peak, 1 << 20)),
];

fn rate(outcome: &Outcome, phase: &str) -> Option<f64> {
    outcome.phase(phase).map(Phase::rate)
}

fn cpu(outcome: &Outcome, phase: &str) -> Option<f64> {
    outcome.phase(phase).map(Phase::cpu)
}

fn reads(outcome: &Outcome, phase: &str) -> Option<Latency> {
    outcome.phase(phase)?.reads
}

fn writes(outcome: &Outcome, phase: &str) -> Option<Latency> {
    outcome.phase(phase)?.writes
}

fn share(part: u64, whole: u64) -> Option<f64> {
    (part > 0 && whole > 0).then(|| part as f64 / whole as f64)
}

/// May be below nothing, where a cache says it holds what it has not touched yet.
fn memory(outcome: &Outcome) -> Option<f64> {
    let beside = outcome.resident as f64 - outcome.cache as f64;
    (outcome.resident > 0).then(|| beside / outcome.records as f64)
}

/// The table of all outcomes and what must be known of each.
pub fn render(outcomes: &[Outcome]) -> String {
    let cairn = outcomes.iter().find(|outcome| outcome.engine == "cairn");
    let mut table = Table::new();
    table.load_style(presets::ASCII_MARKDOWN);
    let names = outcomes.iter().map(|outcome| outcome.engine.clone());
    table.set_header(std::iter::once(String::new()).chain(names));
    let mut standing = vec![(0_u32, Vec::new()); outcomes.len()];
    let mut heading = "";
    for row in ROWS {
        let ours = cairn.and_then(row.value);
        let part = row.title.starts_with(' ');
        heading = if part { heading } else { row.title };
        let mut cells = vec![row.title.to_owned()];
        for (outcome, (ahead, behind)) in outcomes.iter().zip(&mut standing) {
            let Some(theirs) = (row.value)(outcome) else {
                cells.push("-".into());
                continue;
            };
            let figure = format!("{theirs:.*}", row.digits);
            match ours.filter(|_| outcome.engine != "cairn") {
                None => cells.push(figure),
                Some(ours) => {
                    let advantage = if row.more { ours / theirs } else { theirs / ours };
                    let leads = if row.more { ours > theirs } else { ours < theirs };
                    match leads {
                        true => *ahead += 1,
                        false if part => behind.push(format!("{heading}: {}", row.title.trim())),
                        false => behind.push(heading.to_owned()),
                    }
                    let mark = if leads { '+' } else { '-' };
                    cells.push(format!("{figure} ({advantage:.2}x {mark})"));
                }
            }
        }
        table.add_row(cells);
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    let mut text = format!(
        "{table}\n\nIn brackets: how many times better Cairn is; + where it leads, - where it does not.\n"
    );
    for (outcome, (ahead, behind)) in outcomes.iter().zip(&standing) {
        text += &remarks(outcome, cairn.is_some(), *ahead, behind);
    }
    text
}

fn remarks(outcome: &Outcome, compared: bool, ahead: u32, behind: &[String]) -> String {
    let name = &outcome.engine;
    let mut text = String::new();
    if compared && name != "cairn" {
        let of = ahead as usize + behind.len();
        text += &format!("\n{name}: Cairn leads in {ahead} of {of}");
        if !behind.is_empty() {
            text += &format!("; not in: {}", behind.join("; "));
        }
    } else {
        text += &format!("\n{name}:");
    }
    for note in &outcome.notes {
        text += &format!("\n  {note}");
    }
    for phase in &outcome.phases {
        if phase.misses + phase.refused > 0 {
            text += &format!(
                "\n  {}: {} of {} reads found nothing or writes were refused ({} and {})",
                phase.name,
                phase.misses + phase.refused,
                phase.ops + phase.refused,
                phase.misses,
                phase.refused
            );
        }
    }
    if !outcome.bounded && outcome.records > 0 {
        text +=
            "\n  its memory was not bounded by a control group: the page cache may have helped it";
    }
    if let Some(failure) = &outcome.failure {
        text += &format!("\n  FAILED: {failure}");
    }
    text
}
