//! Job files into jobs: `[global]` gives the sections behind it their defaults, flags have the last word.

use std::path::Path;

use super::{
    Job, check,
    ini::{self, Place, Section},
    keys,
};
use crate::failure::{Failure, Result};

/// Most jobs of one command.
const JOBS_MAX: usize = 256;

/// The jobs of some files, with what the flags set in each of them.
pub fn jobs(files: &[impl AsRef<Path>], flags: &dyn Fn(&mut Job) -> Result) -> Result<Vec<Job>> {
    let mut jobs = Vec::new();
    for file in files {
        let file = file.as_ref();
        of_sections(&ini::read(file)?, file, flags, &mut jobs)?;
    }
    Ok(jobs)
}

fn of_sections(
    sections: &[Section],
    file: &Path,
    flags: &dyn Fn(&mut Job) -> Result,
    jobs: &mut Vec<Job>,
) -> Result {
    let mut global = Job::default();
    for section in sections {
        if section.name == "global" {
            apply(section, file, &mut global)?;
            continue;
        }
        let mut job = Job { name: section.name.clone(), ..global.clone() };
        apply(section, file, &mut job)?;
        flags(&mut job)?;
        let place = Place { file: file.into(), line: section.line };
        check::check(&job).map_err(|why| place.refuse(&format!("[{}] {why}", section.name)))?;
        jobs.extend(job.each_depth());
        if jobs.len() > JOBS_MAX {
            return Err(place.refuse(&format!("more than {JOBS_MAX} jobs")));
        }
    }
    Ok(())
}

fn apply(section: &Section, file: &Path, job: &mut Job) -> Result {
    for line in &section.lines {
        let place = Place { file: file.into(), line: line.number };
        let key = keys::find(&line.key).ok_or_else(|| unknown(&line.key, &place))?;
        key.set(job, line.value.as_deref()).map_err(|why| {
            place.refuse(&why).next(format!("`cairn bench --list-keys` explains {}", key.name()))
        })?;
    }
    Ok(())
}

fn unknown(name: &str, place: &Place) -> Failure {
    let failure = place.refuse(&format!("the key {name:?} is not known"));
    match keys::nearest(name) {
        Some(nearest) => {
            failure.next(format!("is it {nearest:?}? `cairn bench --list-keys` shows all keys"))
        }
        None => failure.next("take it out, or see `cairn bench --list-keys` for all keys"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::job::{Engine, Op};

    fn read(text: &str) -> Result<Vec<Job>> {
        let file = Path::new("x.fio");
        let mut jobs = Vec::new();
        of_sections(&ini::parse(text, file)?, file, &|_| Ok(()), &mut jobs)?;
        Ok(jobs)
    }

    /// A job has what `[global]` says, unless it says otherwise itself.
    #[test]
    fn global_gives_defaults() {
        let text = "[global]\nioengine=io_uring\nfilename=/f\nbs=8k\niodepth=4\n\
                    [a]\nrw=randread\n[b]\nstonewall\nrw=randrw\nrwmixread=70\nbs=512\n";
        let jobs = read(text).unwrap();
        assert_eq!((jobs[0].name.as_str(), jobs[1].name.as_str()), ("a", "b"));
        assert!(jobs.iter().all(|job| job.engine() == Engine::Raw && job.depth() == 4));
        assert_eq!(
            (jobs[0].sizes().bounds(), jobs[1].sizes().bounds()),
            ((8192, 8192), (512, 512))
        );
        assert_eq!(jobs[1].mix().share(Op::Read), 70);
        assert!(!jobs[0].stonewall && jobs[1].stonewall);
    }

    /// A raw job with a size is done when so many bytes are, unless time ends it: as with fio.
    #[test]
    fn a_size_ends_a_raw_job() {
        let text = "[global]\nioengine=io_uring\nfilename=/f\nbs=8k\nsize=1m\n[a]\n[b]\ntime_based\nruntime=5\n";
        let jobs = read(text).unwrap();
        assert_eq!((jobs[0].ops_of_thread(0), jobs[0].time()), (Some(128), None));
        assert_eq!(jobs[1].ops_of_thread(0), None);
        assert_eq!(jobs[1].time().unwrap().as_secs(), 5);
    }

    /// What is not understood is told with file and line, and with what was probably meant.
    #[test]
    fn unknown_keys_are_refused_with_their_line() {
        let failure =
            read("[a]\nioengine=io_uring\nfilename=/f\niodpeth=4\n").unwrap_err().to_string();
        assert!(failure.contains("x.fio:4:") && failure.contains("iodepth"), "{failure}");
        let failure = read("[a]\nioengine=libaio\n").unwrap_err().to_string();
        assert!(failure.contains("x.fio:2:"), "{failure}");
        let failure = read("[a]\n\n[b]\nioengine=raw\n").unwrap_err().to_string();
        assert!(failure.contains("x.fio:3:"), "{failure}");
    }
}
