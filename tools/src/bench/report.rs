//! The table at the end of a measurement.

use comfy_table::CellAlignment;

use super::measure::{Outcome, Side};
use crate::{output, units};

const HEADER: [&str; 14] = [
    "run",
    "depth",
    "jobs",
    "op",
    "ops/s",
    "MB/s",
    "mean us",
    "p50 us",
    "p99 us",
    "p99.9 us",
    "max us",
    "CPU us/op",
    "server us/op",
    "wrong",
];

/// Prints one line for each run and kind of operation.
pub fn print(outcomes: &[Outcome]) {
    let mut table = output::table(&HEADER);
    for outcome in outcomes {
        for (kind, side) in [("read", &outcome.total.reads), ("write", &outcome.total.writes)] {
            if !side.latency.is_empty() {
                table.add_row(row(outcome, kind, side));
            }
        }
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    println!("{table}");
    for outcome in outcomes {
        notes(outcome);
    }
}

fn row(outcome: &Outcome, kind: &str, side: &Side) -> [String; 14] {
    let seconds = outcome.took.as_secs_f64().max(1e-9);
    let us = |ns: f64| format!("{:.1}", ns / 1e3);
    let at = |quantile: f64| us(side.latency.value_at_quantile(quantile) as f64);
    [
        outcome.name.clone(),
        outcome.plan.depth.to_string(),
        outcome.plan.jobs.to_string(),
        kind.into(),
        units::count((side.latency.len() as f64 / seconds) as u64),
        format!("{:.1}", side.bytes as f64 / seconds / 1e6),
        us(side.latency.mean()),
        at(0.5),
        at(0.99),
        at(0.999),
        us(side.latency.max() as f64),
        format!("{:.2}", outcome.per_op(outcome.cpu)),
        outcome.server_cpu.map_or("-".into(), |cpu| format!("{:.2}", outcome.per_op(cpu))),
        outcome.total.mismatches.to_string(),
    ]
}

fn notes(outcome: &Outcome) {
    let total = &outcome.total;
    let label = format!("{} depth {}", outcome.name, outcome.plan.depth);
    if total.misses > 0 {
        println!("{label}: {} reads found no record", units::count(total.misses));
    }
    if total.mismatches > 0 {
        println!(
            "{label}: {} VALUES WERE NOT WHAT HAD BEEN WRITTEN",
            units::count(total.mismatches)
        );
    }
    if total.errors > 0 {
        let first = total.first_error.as_deref().unwrap_or_default();
        println!("{label}: {} operations failed; the first: {first}", units::count(total.errors));
    }
}
