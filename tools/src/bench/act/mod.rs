//! ACT: whether a device, or an engine on it, keeps its latencies under a steady load of reads and writes.
//!
//! 1x is 2000 reads and 1000 writes of 1536 bytes a second on each device, at instants fixed beforehand. It passes when in no slice of
//! time 5 % of the reads or more took longer than 1 ms, 1 % longer than 8 ms or 0.1 % longer than 64 ms.
//!
//! * On the embedded engine reads and writes are those of records; the engine's own large-block writes and its defragmenter
//!   make the load that the large blocks of ACT stand for.
//! * On the bare device the writes are large blocks of 128 KiB, as many as the records fill if every block that is freed was
//!   half full: each record is then written twice on the average, and as many large blocks are read as are written.

mod load;

use std::time::Duration;

use comfy_table::CellAlignment;

use super::{
    group::{self, Console},
    job::units,
    options::Args,
    outcome::Outcome,
    tally::{LIMITS, SLICE, Slice},
};
use crate::{failure::Result, output};
use load::{explain, jobs};

/// The most that must not be reached, in per cent, and the limit it belongs to, as a power of 2 in milliseconds.
const RULES: [(f64, usize); 3] = [(5.0, 0), (1.0, 3), (0.1, 6)];
/// How long one trial of a search is, if the jobs do not say.
const TRIAL: Duration = Duration::from_secs(30);
/// A search gives up beyond this multiple.
const MULTIPLE_MAX: f64 = 1024.0;

/// Reads `6x`, or `6`.
pub fn multiple(text: &str) -> Result<f64, String> {
    let number = text.strip_suffix(['x', 'X']).unwrap_or(text);
    let multiple = number.parse().ok().filter(|multiple| (0.01..=MULTIPLE_MAX).contains(multiple));
    multiple.ok_or_else(|| format!("{text:?} is not a multiple, as in 6x"))
}

/// Reads the length of a slice: whole half seconds, which is how finely operations are counted.
pub fn slice(text: &str) -> Result<Duration, String> {
    let time = units::time(text)?;
    let whole = !time.is_zero() && time.as_nanos().is_multiple_of(SLICE.as_nanos());
    if whole { Ok(time) } else { Err(format!("{text:?} is not a multiple of 500ms")) }
}

/// Runs one multiple; fails when it does not pass.
pub fn run(args: &Args, multiple: f64, console: &mut Console) -> Result<Vec<Outcome>> {
    let job = args.job()?;
    explain(&job, multiple);
    let mut outcomes = group::run(&jobs(&job, multiple), 0, console)?;
    let verdict = print(&outcomes, args.act_slice);
    println!("{}", sentence(multiple, &verdict));
    if let (Err(_), Some(reads)) = (&verdict, outcomes.first_mut()) {
        reads.broken = Some(sentence(multiple, &verdict));
    }
    Ok(outcomes)
}

/// What a run says at its end.
fn sentence(multiple: f64, verdict: &Result<(), String>) -> String {
    match verdict {
        Ok(()) => format!("ACT {multiple}x: PASS"),
        Err(why) => format!("ACT {multiple}x: FAIL ({why})"),
    }
}

/// Looks for the highest multiple that passes: doubles until one fails, then halves the distance, down to whole multiples.
pub fn search(args: &Args, console: &mut Console) -> Result<Vec<Outcome>> {
    let mut job = args.job()?;
    job.runtime.get_or_insert(TRIAL);
    explain(&job, 1.0);
    let (mut passed, mut failed) = (0.0, None);
    let mut kept = Vec::new();
    let mut trial = 1.0;
    loop {
        let outcomes = group::run(&jobs(&job, trial), 0, console)?;
        let verdict = print(&outcomes, args.act_slice);
        println!("{}\n", sentence(trial, &verdict));
        let interrupted = outcomes.iter().any(|outcome| outcome.interrupted);
        match verdict {
            Ok(()) => (passed, kept) = (trial, outcomes),
            Err(_) => {
                failed = Some(trial);
                if kept.is_empty() {
                    kept = outcomes;
                }
            }
        }
        trial = match failed {
            None if passed < MULTIPLE_MAX => passed * 2.0,
            Some(failed) if failed - passed > 1.0 => ((passed + failed) / 2.0).floor(),
            _ => break,
        };
        if interrupted {
            break;
        }
    }
    if passed > 0.0 {
        println!("highest multiple that passes: {passed}x");
    } else {
        println!("not even 1x passes");
    }
    Ok(kept)
}

/// Prints the table of the reads; the verdict says why it is no pass.
fn print(outcomes: &[Outcome], slice: Duration) -> Result<(), String> {
    let reads = outcomes.first().ok_or("there were no reads")?;
    let rows = slices(reads, slice);
    let mut table = output::table(&[
        "slice", "%>1ms", "%>2ms", "%>4ms", "%>8ms", "%>16ms", "%>32ms", "%>64ms", "reads/s",
    ]);
    let seconds = slice.as_secs_f64();
    let row = |name: String, over: [f64; LIMITS], rate: f64| {
        let over = over.map(|percent| format!("{percent:.2}"));
        [vec![name], over.to_vec(), vec![format!("{rate:.1}")]].concat()
    };
    for (number, found) in rows.iter().enumerate() {
        table.add_row(row((number + 1).to_string(), percents(found), found.ops as f64 / seconds));
    }
    let count = rows.len().max(1) as f64;
    let (mut sum, mut max) = ([0.0; LIMITS], [0.0f64; LIMITS]);
    for found in &rows {
        for (at, percent) in percents(found).into_iter().enumerate() {
            sum[at] += percent;
            max[at] = max[at].max(percent);
        }
    }
    let rates = rows.iter().map(|found| found.ops as f64 / seconds);
    table.add_row(row(
        "avg".into(),
        sum.map(|sum| sum / count),
        rates.clone().sum::<f64>() / count,
    ));
    table.add_row(row("max".into(), max, rates.fold(0.0, f64::max)));
    table.column_iter_mut().for_each(|column| column.set_cell_alignment(CellAlignment::Right));
    println!("{table}");
    judge(&rows, outcomes)
}

/// Whole slices of what was measured.
fn slices(outcome: &Outcome, slice: Duration) -> Vec<Slice> {
    let halves = (slice.as_nanos() / SLICE.as_nanos()) as u32;
    // The last half second may miss an instant at its end: a run of 10 s has a slice of 10 s.
    let whole = ((outcome.took + SLICE / 10).as_nanos() / slice.as_nanos()) as u32;
    let reads = outcome.total.direction(true);
    let mut rows = vec![Slice::default(); whole as usize];
    for (index, found) in &reads.slices {
        if let Some(row) = rows.get_mut((index / halves) as usize) {
            row.merge(found);
        }
    }
    rows
}

fn percents(slice: &Slice) -> [f64; LIMITS] {
    slice.over.map(|over| f64::from(over) * 100.0 / slice.ops.max(1) as f64)
}

fn judge(rows: &[Slice], outcomes: &[Outcome]) -> Result<(), String> {
    if rows.is_empty() {
        return Err("the run was shorter than a slice".into());
    }
    for (number, row) in rows.iter().enumerate() {
        for (most, limit) in RULES {
            let found = percents(row)[limit];
            if found >= most {
                return Err(format!(
                    "slice {}: {found:.2} % over {} ms, {most} % is too many",
                    number + 1,
                    1 << limit
                ));
            }
        }
    }
    for outcome in outcomes {
        let total = &outcome.total;
        if total.errors > 0 {
            return Err(format!("{}: {} operations failed", outcome.job.name, total.errors));
        }
        if total.unmade > 0 || total.late > 0 {
            return Err(format!(
                "{}: the rate was not kept, {} starts late and {} never made",
                outcome.job.name, total.late, total.unmade
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::{
        job::{self, Op},
        outcome,
    };

    fn reads(over: impl Fn(u32) -> Duration) -> Outcome {
        let mut outcome = outcome::sample(job::sample());
        for number in 0..2000 {
            outcome.total.side(Op::Read).add(over(number), number / 500, 1);
        }
        outcome
    }

    fn verdict(outcome: Outcome) -> Result<(), String> {
        let rows = slices(&outcome, Duration::from_secs(1));
        assert_eq!(rows.len(), 2);
        judge(&rows, &[outcome])
    }

    /// The rule is ACT's: so many per cent of any slice are too many, however good the others are.
    #[test]
    fn one_bad_slice_fails() {
        let fast = Duration::from_micros(100);
        let slow = |ms, every, from| {
            move |n: u32| {
                if n >= from && n.is_multiple_of(every) { Duration::from_millis(ms) } else { fast }
            }
        };
        assert_eq!(verdict(reads(slow(2, 21, 0))), Ok(()), "4.8 % over 1 ms");
        assert!(verdict(reads(slow(2, 20, 1000))).is_err(), "5 % over 1 ms in the second slice");
        assert_eq!(verdict(reads(slow(9, 125, 0))), Ok(()), "0.8 % over 8 ms");
        assert!(verdict(reads(slow(9, 100, 0))).is_err());
        assert!(verdict(reads(slow(65, 900, 0))).is_err(), "0.2 % over 64 ms");
    }

    /// A load that was not brought to bear proves nothing.
    #[test]
    fn a_rate_that_was_not_kept_fails() {
        let mut outcome = reads(|_| Duration::from_micros(1));
        outcome.total.unmade = 1;
        assert!(verdict(outcome).is_err());
    }

    /// What cannot be counted exactly is refused.
    #[test]
    fn multiples_and_slices_are_checked() {
        assert_eq!((multiple("6x"), slice("10s")), (Ok(6.0), Ok(Duration::from_secs(10))));
        assert!(multiple("x").is_err() && slice("1200ms").is_err() && slice("0").is_err());
    }
}
