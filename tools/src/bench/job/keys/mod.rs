//! Every key of a job: its names, what it does, what it sets. Job files and flags are both read through this one table.

use super::Job;

/// Puts a value into its field.
macro_rules! into {
    ($field:ident, $read:expr) => {
        |job, text| {
            job.$field = $read(text)?;
            Ok(())
        }
    };
}

mod how;
mod what;

/// A key.
#[derive(Clone, Copy)]
pub struct Key {
    /// Its name, then others it is known by, in a job file; as a flag with `-` for `_`.
    pub names: &'static [&'static str],
    /// How its value is written; empty where it needs none.
    pub value: &'static str,
    /// What it does.
    pub help: &'static str,
    set: fn(&mut Job, &str) -> Result<(), String>,
}

const fn key(
    names: &'static [&'static str],
    value: &'static str,
    help: &'static str,
    set: fn(&mut Job, &str) -> Result<(), String>,
) -> Key {
    Key { names, value, help, set }
}

impl Key {
    /// Whether it may stand without a value.
    pub fn is_bare(&self) -> bool {
        self.value.is_empty()
    }

    /// Its name.
    pub fn name(&self) -> &'static str {
        self.names[0]
    }

    /// Sets it in a job. A missing value means yes.
    pub fn set(&self, job: &mut Job, value: Option<&str>) -> Result<(), String> {
        let given = match value {
            None if !self.is_bare() => {
                return Err(format!("{} needs a value: {}", self.name(), self.value));
            }
            value => value.unwrap_or("1"),
        };
        (self.set)(job, given).map_err(|why| format!("{}: {why}", self.name()))?;
        Ok(())
    }
}

/// All keys, in the order in which they are explained.
pub fn all() -> impl Iterator<Item = &'static Key> {
    what::KEYS.iter().chain(how::KEYS)
}

/// Finds a key by any of its names, `-` and `_` being the same.
pub fn find(name: &str) -> Option<&'static Key> {
    let name = name.replace('-', "_");
    all().find(|key| key.names.contains(&name.as_str()))
}

/// The known name that looks most like this one.
pub fn nearest(name: &str) -> Option<&'static str> {
    let names = all().flat_map(|key| key.names.iter().copied());
    let (distance, nearest) = names.map(|known| (distance(known, name), known)).min()?;
    (distance <= 1 + name.len() / 4).then_some(nearest)
}

/// How many letters must be changed, added or left out to make one of the other.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().take(64).collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, letter) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, other) in b.iter().enumerate() {
            let changed = diagonal + usize::from(letter != *other);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

fn flag(text: &str) -> Result<bool, String> {
    match text {
        "0" | "false" | "no" => Ok(false),
        "1" | "true" | "yes" => Ok(true),
        _ => Err(format!("{text:?} is neither 0 nor 1")),
    }
}

/// A key that fio has and that changes nothing here, with the one meaning it may have.
fn only(text: &str, wanted: bool, why: &str) -> Result<(), String> {
    if flag(text)? == wanted { Ok(()) } else { Err(why.into()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// No name means two things, and every key is explained.
    #[test]
    fn names_are_unique_and_explained() {
        let mut names: Vec<_> = all().flat_map(|key| key.names).collect();
        names.sort_unstable();
        assert!(names.windows(2).all(|pair| pair[0] != pair[1]));
        assert!(all().all(|key| !key.help.is_empty()));
    }

    /// A key that is misspelt is told with what was probably meant.
    #[test]
    fn a_misspelt_key_has_a_neighbour() {
        assert_eq!(nearest("iodpeth"), Some("iodepth"));
        assert_eq!(nearest("frobnicate"), None);
        assert!(find("io-depth").is_none() && find("rate-iops").is_some());
    }

    /// A value that cannot be is refused by name.
    #[test]
    fn wrong_values_are_refused() {
        for (name, value) in [
            ("iodepth", "0"),
            ("rw", "trim"),
            ("rate_iops", "-1"),
            ("bs", "4k,8k"),
            ("runtime", "soon"),
            ("group_reporting", "0"),
            ("verify", "md5"),
            ("filename", ":"),
        ] {
            let why = find(name).unwrap().set(&mut Job::default(), Some(value)).unwrap_err();
            assert!(why.starts_with(name), "{why}");
        }
        assert!(find("bs").unwrap().set(&mut Job::default(), None).is_err());
    }
}
