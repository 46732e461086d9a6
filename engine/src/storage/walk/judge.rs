//! Which records of a block that was open count, and which were cut short.
//!
//! A group counts as a whole or not at all, and what took the place of a group's record only if the group does. So what is torn takes along
//! what is tied to it, before and behind. What is damaged does not: it was there, and must read as damaged.

use super::Found;
use crate::{format::FooterEntry, model::Version};

/// What a block that was open holds.
#[derive(Debug, Default)]
pub(crate) struct Verdict {
    /// Records that count, damaged ones among them.
    pub(crate) entries: Vec<FooterEntry>,
    /// From where to where something is damaged.
    pub(crate) damaged: Vec<(u32, u32)>,
    /// Places where a write was cut short.
    pub(crate) torn: u64,
    /// The highest version of the sound records that do not count. It is not given again.
    pub(crate) dropped: Version,
}

/// What became of one record by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Sound,
    /// It was there, and is wrong now.
    Damaged,
    /// It was cut short.
    Torn,
}

/// A group, as far as it was met.
struct Group {
    records: Vec<(FooterEntry, Fate)>,
    end: u32,
    whole: bool,
    /// It has, or had, more than one record.
    tied: bool,
}

/// Goes through a block's records and holes in the order of their places.
pub(super) struct Judge {
    verdict: Verdict,
    /// The block was durable at least to here.
    durable: u64,
    /// The group whose end was not met yet.
    group: Option<Group>,
    /// Where the last hole ends, and whether it is damage.
    hole: Option<(u32, bool)>,
    /// Something that others may depend on was cut short.
    cut: bool,
}

impl Judge {
    /// For a block that was durable at least to `durable`.
    pub(super) fn new(durable: u64) -> Self {
        Self { verdict: Verdict::default(), durable, group: None, hole: None, cut: false }
    }

    /// The next stretch without a record.
    pub(super) fn hole(&mut self, hole: (u32, u32), is_damage: bool) {
        self.hole = Some((hole.1, is_damage));
        if is_damage {
            self.verdict.damaged.push(hole);
        } else {
            self.verdict.torn += 1;
            self.cut = true;
        }
    }

    /// The next record.
    pub(super) fn record(&mut self, found: &Found, fate: Fate) {
        let start = found.entry.offset;
        // What stood before it is damaged: nobody knows any more what it was, but it was there.
        let behind_damage = self.hole == Some((start, true));
        let mut group = match self.group.take() {
            Some(group) if found.ties.previous && (group.end == start || behind_damage) => group,
            broken => {
                if let Some(broken) = broken {
                    self.close(broken, behind_damage);
                }
                let whole = !found.ties.previous || behind_damage;
                Group { records: Vec::new(), end: start, whole, tied: false }
            }
        };
        let surely_written = u64::from(found.end()) <= self.durable;
        group.whole &= fate != Fate::Torn && (surely_written || !(found.ties.behind && self.cut));
        group.records.push((found.entry, fate));
        group.end = found.end();
        group.tied |= found.ties.next || found.ties.previous;
        match found.ties.next {
            true => self.group = Some(group),
            false => self.close(group, true),
        }
    }

    /// All records of a group were met, or all that are left of it: it counts if it is `complete` and whole.
    fn close(&mut self, group: Group, complete: bool) {
        if complete && group.whole {
            for (entry, fate) in group.records {
                if fate == Fate::Damaged {
                    self.verdict.damaged.push((entry.offset, end(&entry)));
                }
                self.verdict.entries.push(entry);
            }
            return;
        }
        self.verdict.torn += 1;
        // On a record that was alone nothing depends.
        self.cut |= group.tied;
        let sound = group.records.iter().filter(|(_, fate)| *fate != Fate::Torn);
        for (entry, _) in sound {
            self.verdict.dropped = self.verdict.dropped.max(entry.version);
        }
    }

    /// No more records.
    pub(super) fn end(mut self) -> Verdict {
        if let Some(group) = self.group.take() {
            self.close(group, false);
        }
        self.verdict
    }
}

fn end(entry: &FooterEntry) -> u32 {
    entry.offset + entry.size.bytes() as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        format::Ties,
        model::{Digest, NEVER, SizeClass},
        storage::walk::Soundness,
    };

    const SIZE: u32 = 96;

    /// What a test lays into a block: a letter for a record (`s` alone, `f` first of a group, `m` in its middle, `l` its last, `b` alone and behind,
    /// `g` first of a group and behind), a capital for one that is torn, `-` for a hole that was cut short, `=` for one that is damage.
    fn judge(what: &str) -> (String, u64) {
        let mut judge = Judge::new(0);
        let mut offset = 1024;
        let size = SizeClass::for_bytes(u64::from(SIZE));
        for letter in what.chars() {
            let kind = letter.to_ascii_lowercase();
            if matches!(letter, '-' | '=') {
                judge.hole((offset, offset + SIZE), letter == '=');
            } else {
                let ties = Ties {
                    next: matches!(kind, 'f' | 'm' | 'g'),
                    previous: matches!(kind, 'm' | 'l'),
                    behind: matches!(kind, 'b' | 'g'),
                };
                let version = Version { epoch: 0, sequence: u64::from(offset) };
                let entry = FooterEntry {
                    digest: Digest(u128::from(offset)),
                    version,
                    void_time: NEVER,
                    generation: 1,
                    set_hash: 1,
                    offset,
                    size,
                    tombstone: false,
                };
                let fate = if letter.is_uppercase() { Fate::Torn } else { Fate::Sound };
                judge.record(&Found { entry, soundness: Soundness::Whole, ties }, fate);
            }
            offset += SIZE;
        }
        let verdict = judge.end();
        let letters: Vec<char> = what.chars().collect();
        let counts = |entry: &FooterEntry| letters[((entry.offset - 1024) / SIZE) as usize];
        (verdict.entries.iter().map(counts).collect(), verdict.torn)
    }

    /// Half of a group that counts is a transfer that took the money and did not bring it; one that does not count though it was acknowledged is lost.
    #[test]
    fn a_group_counts_whole_or_not_at_all() {
        for (what, counts, torn) in [
            ("sfmls", "sfmls", 0),
            // Its end, its middle, its beginning was not written.
            ("sfm", "s", 1),
            ("sfm-s", "ss", 2),
            ("sfMls", "ss", 1),
            ("sFls", "ss", 1),
            ("f-ls", "s", 3),
            ("-mls", "s", 2),
            ("-l", "", 2),
            ("flfL", "fl", 1),
            // Two groups, and what was between them.
            ("fl-fl", "flfl", 1),
            ("flsfl", "flsfl", 0),
            // Whoever took the place of a torn group's record goes with it; who did not, stays.
            ("flb", "flb", 0),
            ("f-b", "", 3),
            ("fLbs", "s", 2),
            ("fLbb", "", 3),
            ("fLgl", "", 2),
            ("-gls", "s", 2),
            ("Sb", "b", 1),
            // Damage is not absence: what is left of a group that was there still counts.
            ("f=l", "fl", 0),
            ("=l", "l", 0),
            ("f=s", "fs", 0),
            ("=b", "b", 0),
            ("f=L", "", 1),
        ] {
            assert_eq!(judge(what), (counts.to_owned(), torn), "{what}");
        }
    }
}
