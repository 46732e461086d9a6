//! The text of a job file: sections of `key=value` lines, as fio has them. Knows nothing of what keys mean.
//!
//! ```text
//! file    := { comment | section }          comment := (";" | "#") text
//! section := "[" name "]" { line }          line    := key [ "=" value ] | comment
//! ```
//!
//! `${NAME}` in a value is the environment variable of that name. Everything keeps its line number, so that what is refused later
//! can be named.

use std::path::{Path, PathBuf};

use crate::failure::{Doing, Failure, Result};

/// Largest job file, in bytes.
const FILE_MAX: u64 = 1 << 20;
/// Most sections of one file.
const SECTIONS_MAX: usize = 1024;

/// A section.
#[derive(Clone, Debug, PartialEq)]
pub struct Section {
    /// Its name, without the brackets.
    pub name: String,
    /// Where it begins.
    pub line: usize,
    /// Its lines, in their order.
    pub lines: Vec<Line>,
}

/// One `key=value`, or a bare `key`.
#[derive(Clone, Debug, PartialEq)]
pub struct Line {
    /// Its number, from 1.
    pub number: usize,
    /// The key.
    pub key: String,
    /// What stands behind the first `=`.
    pub value: Option<String>,
}

/// Where something was read.
#[derive(Clone, Debug)]
pub struct Place {
    /// The file.
    pub file: PathBuf,
    /// The line, from 1.
    pub line: usize,
}

impl Place {
    /// Something at this place is wrong.
    pub fn refuse(&self, why: &str) -> Failure {
        Failure::new(format!("{}:{}: {why}", self.file.display(), self.line))
    }
}

/// Reads a job file.
pub fn read(file: &Path) -> Result<Vec<Section>> {
    let what = || format!("reading {}", file.display());
    let size = std::fs::metadata(file).doing(what())?.len();
    if size > FILE_MAX {
        return Err(Failure::new(format!("{}: {size} bytes are no job file", file.display())));
    }
    let text = std::fs::read(file).doing(what())?;
    parse(&String::from_utf8_lossy(&text), file)
}

/// Parses the text of a job file.
pub fn parse(text: &str, file: &Path) -> Result<Vec<Section>> {
    let mut sections: Vec<Section> = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let place = Place { file: file.to_path_buf(), line: index + 1 };
        let line = line.trim();
        if line.is_empty() || line.starts_with([';', '#']) {
            continue;
        }
        if let Some(rest) = line.strip_prefix('[') {
            let name = rest.strip_suffix(']').map(str::trim).filter(|name| !name.is_empty());
            let name = name
                .ok_or_else(|| place.refuse(&format!("{line:?} is not a section, as in [name]")))?;
            if sections.len() == SECTIONS_MAX {
                return Err(place.refuse(&format!("more than {SECTIONS_MAX} sections")));
            }
            sections.push(Section { name: name.into(), line: place.line, lines: Vec::new() });
            continue;
        }
        let Some(section) = sections.last_mut() else {
            return Err(place
                .refuse(&format!("{line:?} stands before any section"))
                .next("begin with [global] or with a job's name in brackets"));
        };
        section.lines.push(key_and_value(line, &place)?);
    }
    match sections.iter().any(|section| section.name != "global") {
        true => Ok(sections),
        false => Err(Failure::new(format!("{}: there is no job in it", file.display()))
            .next("a job is a section with a name of its own: [name]")),
    }
}

fn key_and_value(line: &str, place: &Place) -> Result<Line> {
    let (key, value) = match line.split_once('=') {
        Some((key, value)) => (key.trim(), Some(expand(value.trim(), place)?)),
        None => (line, None),
    };
    let fine = !key.is_empty() && !key.contains(|c: char| c.is_whitespace() || c.is_control());
    if !fine {
        return Err(place.refuse(&format!("{line:?} is neither key=value nor a key")));
    }
    Ok(Line { number: place.line, key: key.into(), value })
}

fn expand(value: &str, place: &Place) -> Result<String> {
    let mut expanded = String::new();
    let mut rest = value;
    while let Some((before, behind)) = rest.split_once("${") {
        let (name, behind) = behind
            .split_once('}')
            .ok_or_else(|| place.refuse(&format!("{value:?}: ${{ without its }}")))?;
        let found = std::env::var(name).map_err(|_| {
            place
                .refuse(&format!("the environment has no {name}"))
                .next(format!("{name}=... cairn bench ..."))
        })?;
        expanded.push_str(before);
        expanded.push_str(&found);
        rest = behind;
    }
    expanded.push_str(rest);
    Ok(expanded)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::random::Random;

    fn parsed(text: &str) -> Result<Vec<Section>> {
        parse(text, Path::new("x.fio"))
    }

    /// Keys keep their lines, values their `=`, comments and empty lines do not count.
    #[test]
    fn a_job_file_is_read_as_fio_reads_it() {
        let sections = parsed("; c\n[global]\nbs = 4k\n\n[a]\n# c\ntime_based\nx=a=b\n").unwrap();
        assert_eq!(sections.len(), 2);
        let line = |number, key: &str, value: Option<&str>| Line {
            number,
            key: key.into(),
            value: value.map(Into::into),
        };
        assert_eq!(sections[0].lines, [line(3, "bs", Some("4k"))]);
        assert_eq!(sections[1].lines, [line(7, "time_based", None), line(8, "x", Some("a=b"))]);
    }

    /// A mistake is told with its line; nothing is left out in silence.
    #[test]
    fn mistakes_are_told_with_their_line() {
        for (text, line) in [
            ("bs=4k\n[a]", 1),
            ("[a]\n=4k", 2),
            ("[a]\n[", 2),
            ("[a]\n[]", 2),
            ("[a]\nb s=4k", 2),
            ("[a]\nx=${CAIRN_SURELY_NOT_SET}", 2),
            ("[a]\nx=${", 2),
        ] {
            let failure = parsed(text).unwrap_err().to_string();
            assert!(failure.contains(&format!("x.fio:{line}:")), "{text:?}: {failure}");
        }
        assert!(parsed("[global]\nbs=4k").is_err(), "no job");
    }

    /// Garbage is read or refused, and never stops the program.
    #[test]
    fn garbage_does_no_harm() {
        let seed = 1;
        let mut random = Random::new(seed);
        let letters = b"[]=;#${}\n\n ab\0\xff\xc3";
        for _ in 0..5000 {
            let length = random.below(60) as usize;
            let text: Vec<u8> =
                (0..length).map(|_| letters[random.below(letters.len() as u64) as usize]).collect();
            let text = String::from_utf8_lossy(&text).into_owned();
            for section in parsed(&text).unwrap_or_default() {
                assert!(section.lines.iter().all(|line| !line.key.is_empty()), "{text:?}");
            }
        }
    }
}
