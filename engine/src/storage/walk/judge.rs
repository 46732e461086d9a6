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
