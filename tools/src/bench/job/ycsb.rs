//! YCSB's core workloads by letter: 1000 bytes in 10 bins, as its `CoreWorkload` has them.
//!
//! Updates and the writes of F touch one bin, reads all. E scans: Cairn orders no keys, so E reads 1 to 100 records of one
//! partition of the namespace instead of a range of keys, and says so. Over RESP a record is one string of 1000 bytes: updates write all of it, F checks nothing
//! between its read and its write, and E is refused.

use super::{Distribution, Engine, Job, Mix, Op, Sizes, kinds::THETA};

/// Fields of a record.
pub const BINS: u32 = 10;

/// Most records of one scan.
pub const SCAN_MAX: u64 = 100;

/// What E does here.
const SCAN_NOTE: &str = "scans read 1 to 100 records of one partition, in digest order: Cairn has no order of keys to scan by";

/// What a record and an update are over RESP.
const STRING_NOTE: &str =
    "a record is one string here: an update writes all its bytes, not one field of them";

/// What F does over RESP.
const MODIFY_NOTE: &str = "a read-modify-write is GET and then SET, with no check between them: who overtakes it is overwritten, as with YCSB itself";

/// Where a job's operations are not what their names let one think.
pub fn notes(job: &Job) -> impl Iterator<Item = &'static str> {
    let mix = job.mix();
    let has = |op: Op| mix.share(op) > 0;
    let resp = job.engine() == Engine::Resp;
    let notes = [
        (has(Op::Scan), SCAN_NOTE),
        (resp && (has(Op::Update) || has(Op::Modify)), STRING_NOTE),
        (resp && has(Op::Modify), MODIFY_NOTE),
    ];
    notes.into_iter().filter_map(|(holds, note)| holds.then_some(note))
}

/// Makes a job workload `letter`.
pub fn set(job: &mut Job, letter: &str) -> Result<(), String> {
    let (mix, distribution) = match letter.to_ascii_uppercase().as_str() {
        "A" => ("read:50,update:50", Distribution::Zipf(THETA)),
        "B" => ("read:95,update:5", Distribution::Zipf(THETA)),
        "C" => ("read:100", Distribution::Zipf(THETA)),
        "D" => ("read:95,insert:5", Distribution::Latest(THETA)),
        "E" => ("scan:95,insert:5", Distribution::Zipf(THETA)),
        "F" => ("read:50,rmw:50", Distribution::Zipf(THETA)),
        _ => return Err(format!("{letter:?} is none of A to F")),
    };
    job.mix = Some(Mix::parse(mix)?);
    job.distribution = distribution;
    job.sequential = false;
    (job.ycsb, job.bins) = (true, None);
    job.sizes = Some(Sizes::Fixed(1000));
    if job.name == Job::default().name {
        job.name = format!("ycsb-{}", letter.to_ascii_lowercase());
    }
    Ok(())
}
