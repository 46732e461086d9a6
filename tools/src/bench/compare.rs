//! The engine and the bare file in turn, depth by depth, and the ratio between them.
//!
//! A file is locked by whoever has it open, so the namespace is closed before each run on the bare file and opened again,
//! warm, after it.

use comfy_table::CellAlignment;

use super::{embedded::Embedded, measure::Outcome, options::Args, plan::Plan, raw::Raw};
use crate::{failure::Result, output, units};

/// Runs both sides and prints the ratios; the outcomes are the medians.
pub fn run(args: &Args) -> Result<Vec<Outcome>> {
    let store = Embedded::open(args)?;
    store.load_if_wanted(args)?;
    let used = store.used_bytes();
    store.close()?;
    let mut medians = Vec::new();
    for depth in &args.depth {
        let plan = args.plan(*depth);
        let (engine, raw) = rounds(args, &plan, used)?;
        medians.push((median(engine), median(raw)));
    }
    print_ratios(&medians);
    Ok(medians.into_iter().flat_map(|(engine, raw)| [raw, engine]).collect())
}

fn rounds(args: &Args, plan: &Plan, used: u64) -> Result<(Vec<Outcome>, Vec<Outcome>)> {
    let (mut engine, mut raw) = (Vec::new(), Vec::new());
    for round in 0..args.rounds {
        // Whoever goes second finds the device warmed up: each side goes first as often as the other.
        let engine_first = round % 2 == 1;
        if engine_first {
            engine.push(engine_round(args, plan)?);
        }
        raw.push(Raw::open(args, used)?.measure(plan)?);
        if !engine_first {
            engine.push(engine_round(args, plan)?);
        }
    }
    Ok((engine, raw))
}

fn engine_round(args: &Args, plan: &Plan) -> Result<Outcome> {
    let store = Embedded::open(args)?;
    let outcome = store.measure(plan);
    store.close()?;
    outcome
}

/// The run with the median rate.
fn median(mut outcomes: Vec<Outcome>) -> Outcome {
    outcomes.sort_by(|a, b| a.rate().total_cmp(&b.rate()));
    outcomes.swap_remove(outcomes.len() / 2)
}

fn print_ratios(medians: &[(Outcome, Outcome)]) {
    let mut table = output::table(&[
        "depth",
        "raw ops/s",
        "engine ops/s",
        "ratio",
        "raw p99 us",
        "engine p99 us",
        "p99 ratio",
    ]);
    for (engine, raw) in medians {
        let p99 =
            |outcome: &Outcome| outcome.total.reads.latency.value_at_quantile(0.99) as f64 / 1e3;
        table.add_row([
            engine.plan.depth.to_string(),
            units::count(raw.rate() as u64),
            units::count(engine.rate() as u64),
            format!("{:.3}", engine.rate() / raw.rate().max(1e-9)),
            format!("{:.1}", p99(raw)),
            format!("{:.1}", p99(engine)),
            format!("{:.2}", p99(engine) / p99(raw).max(1e-9)),
        ]);
    }
    for column in table.column_iter_mut() {
        column.set_cell_alignment(CellAlignment::Right);
    }
    println!("{table}");
}
