//! A recorded sequence of operations: CSV, plain or gzip, with the columns `time_s,op,key,bytes`.

use std::{
    fs::File,
    io::{BufRead, BufReader},
    path::Path,
    time::Duration,
};

use flate2::bufread::MultiGzDecoder;

use crate::failure::{Doing, Failure, Result};

/// What an operation does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Reads the key.
    Get,
    /// Writes so many bytes.
    Put(usize),
    /// Deletes the key.
    Delete,
}

/// One operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Op {
    /// When, from the first one on.
    pub at: Duration,
    /// Its key.
    pub key: u64,
    /// What it does.
    pub kind: Kind,
}

/// Reads a trace.
pub fn load(path: &Path) -> Result<Vec<Op>> {
    let what = || format!("reading {}", path.display());
    let mut file = BufReader::with_capacity(1 << 18, File::open(path).doing(what())?);
    let packed = file.fill_buf().doing(what())?.starts_with(&[0x1f, 0x8b]);
    let lines: Box<dyn BufRead> = match packed {
        true => Box::new(BufReader::new(MultiGzDecoder::new(file))),
        false => Box::new(file),
    };
    let mut ops = Vec::new();
    for (index, line) in lines.lines().enumerate() {
        let line = line.doing(what())?;
        let header = index == 0 && line.starts_with("time");
        if header || line.trim().is_empty() {
            continue;
        }
        let op = parse(&line).ok_or_else(|| {
            Failure::new(format!("{}:{}: {line:?} is not time_s,op,key,bytes", path.display(), index + 1))
                .next("op is get (read), put (write, set, update) or delete; key and bytes are whole numbers")
        })?;
        ops.push(op);
    }
    // The clock of a trace begins with its first operation.
    let first = ops.iter().map(|op: &Op| op.at).min().unwrap_or_default();
    ops.iter_mut().for_each(|op| op.at -= first);
    Ok(ops)
}

fn parse(line: &str) -> Option<Op> {
    let mut columns = line.trim_end().split(',');
    let at = columns.next()?.parse::<f64>().ok()?;
    let at = Duration::try_from_secs_f64(at).ok()?;
    let op = columns.next()?;
    let key = columns.next()?.parse().ok()?;
    let bytes = columns.next()?.parse().ok()?;
    let kind = match op.to_ascii_lowercase().as_str() {
        "get" | "read" => Kind::Get,
        "put" | "write" | "set" | "update" => Kind::Put(bytes),
        "delete" | "del" => Kind::Delete,
        _ => return None,
    };
    columns.next().is_none().then_some(Op { at, key, kind })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A line that is not understood stops the replay: leaving it out would replay another trace.
    #[test]
    fn lines_are_understood_or_refused() {
        assert_eq!(
            parse("0,put,42,512"),
            Some(Op { at: Duration::ZERO, key: 42, kind: Kind::Put(512) })
        );
        assert_eq!(
            parse("1.5,GET,42,0\r"),
            Some(Op { at: Duration::from_millis(1500), key: 42, kind: Kind::Get })
        );
        for line in [
            "",
            "0,put,42",
            "0,put,x,1",
            "x,put,1,1",
            "0,frob,1,1",
            "0,put,1,1,1",
            "0,put,-1,1",
            "-1,put,1,1",
            "nan,put,1,1",
        ] {
            assert_eq!(parse(line), None, "{line}");
        }
    }
}
