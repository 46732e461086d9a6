//! The table at the end, and what must be said about it.

use comfy_table::CellAlignment;

use super::{
    outcome::Outcome,
    tally::{Side, histogram},
    thread::FAILURES_MAX,
};
use crate::{output, units};

const HEADER: [&str; 14] = [
    "job",
    "depth",
    "thr",
    "op",
    "ops/s",
    "MB/s",
    "mean us",
    "p50",
    "p90",
    "p99",
    "p99.9",
    "p99.99",
    "max us",
    "CPU us/op",
];

/// Prints one line for each job and kind of operation, then what else there is to say.
pub fn print(outcomes: &[Outcome]) {
    let mut table = output::table(&HEADER);
    for outcome in outcomes {
        for (op, side) in outcome.total.sides() {
            table.add_row(row(outcome, op.name(), side));
        }
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    println!("{table}");
    for outcome in outcomes {
        for note in notes(outcome) {
            println!("{}: {note}", outcome.label());
        }
    }
}

fn row(outcome: &Outcome, kind: &str, side: &Side) -> [String; 14] {
    let us = |ns: f64| format!("{:.1}", ns / 1e3);
    let at = |quantile: f64| us(side.latency.value_at_quantile(quantile) as f64);
    let alone = outcome.beside == 1;
    [
        outcome.job.name.clone(),
        outcome.job.depth().to_string(),
        outcome.job.threads.to_string(),
        kind.into(),
        units::count((side.latency.len() as f64 / outcome.seconds()) as u64),
        format!("{:.1}", side.bytes as f64 / outcome.seconds() / 1e6),
        us(side.latency.mean()),
        at(0.5),
        at(0.9),
        at(0.99),
        at(0.999),
        at(0.9999),
        us(side.latency.max() as f64),
        if alone { format!("{:.2}", outcome.per_op(outcome.process.cpu())) } else { "-".into() },
    ]
}

/// What a reader must know about a result.
pub fn notes(outcome: &Outcome) -> Vec<String> {
    let (total, job) = (&outcome.total, &outcome.job);
    let count = units::count;
    let mut notes = Vec::new();
    if outcome.interrupted {
        notes.push(format!("broken off after {:.1} s", outcome.seconds()));
    }
    if total.ops() == 0 {
        notes.push("nothing was measured".into());
    }
    if let Some(rate) = job.rate {
        let wanted = rate * f64::from(job.threads);
        let empty = histogram();
        let delay = total.delay.as_deref().unwrap_or(&empty);
        notes.push(format!(
            "open loop, {} starts, {wanted:.0}/s wanted, {:.0}/s reached; starts after their instant by p50 {:.0} us, p99 {:.0} us, max {:.0} us, which the latencies include",
            if job.poisson { "Poisson" } else { "even" },
            outcome.rate(),
            delay.value_at_quantile(0.5) as f64 / 1e3,
            delay.value_at_quantile(0.99) as f64 / 1e3,
            delay.max() as f64 / 1e3,
        ));
        if total.late + total.unmade > 0 {
            notes.push(format!(
                "OVERLOADED: {} starts found {} operations in flight and had to wait; {} were due and never made",
                count(total.late), job.depth(), count(total.unmade)
            ));
        }
    }
    if outcome.beside > 1 {
        notes.push(format!(
            "its threads used {:.2} us of CPU an operation; {} jobs ran at the same time",
            outcome.per_op(outcome.threads.cpu()),
            outcome.beside
        ));
    }
    if let Some(cpu) = outcome.server_cpu {
        notes.push(format!("the node used {:.2} us of CPU an operation", outcome.per_op(cpu)));
    }
    notes.extend(engine(outcome));
    notes.extend(outcome.notes.iter().cloned());
    if total.misses > 0 {
        notes.push(format!("{} reads found no record", count(total.misses)));
    }
    if total.conflicts > 0 {
        notes.push(format!(
            "{} read-modify-writes began again, somebody else having written",
            count(total.conflicts)
        ));
    }
    if total.mismatches > 0 {
        notes.push(format!("{} VALUES WERE NOT WHAT HAD BEEN WRITTEN", count(total.mismatches)));
    }
    if total.errors > 0 {
        let first = total.first_error.as_deref().unwrap_or_default();
        if total.errors >= FAILURES_MAX {
            notes.push(format!("stopped early: a thread ends after {FAILURES_MAX} failures"));
        }
        notes.push(format!("{} OPERATIONS FAILED; the first: {first}", count(total.errors)));
    }
    notes
}

/// What the engine wrote for what it was given, and the space it has left.
fn engine(outcome: &Outcome) -> Option<String> {
    let (before, after) = outcome.stats.as_ref()?;
    let written = after.bytes_written - before.bytes_written;
    let flushed = after.bytes_flushed - before.bytes_flushed;
    if written == 0 {
        return None;
    }
    let amplification = flushed as f64 / written as f64;
    Some(format!(
        "{} of records written from start to end, {} flushed for them: write amplification {amplification:.2}, warm-up included; {} of {} write blocks are free",
        units::size(written),
        units::size(flushed),
        units::count(after.free_blocks),
        units::count(after.total_blocks),
    ))
}
