//! YCSB's core workloads by letter: 1000 bytes in 10 bins, as its `CoreWorkload` has them.
//!
//! Updates and the writes of F touch one bin, reads all. E scans: Cairn orders no keys, so E reads 1 to 100 records of one
//! partition of the namespace instead of a range of keys, and says so.

use super::{Distribution, Job, Mix, Sizes, kinds::THETA};

/// Most records of one scan.
pub const SCAN_MAX: u64 = 100;

/// What E does here.
pub const SCAN_NOTE: &str = "scans read 1 to 100 records of one partition, in digest order: Cairn has no order of keys to scan by";

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
    job.bins = 10;
    job.sizes = Some(Sizes::Fixed(1000));
    if job.name == Job::default().name {
        job.name = format!("ycsb-{}", letter.to_ascii_lowercase());
    }
    Ok(())
}
