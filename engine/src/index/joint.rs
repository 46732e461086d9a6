//! Entries of several partitions at one instant: read, and changed, as one.
//!
//! All partitions concerned are locked, each once, in the order of their numbers, so two who lock several cannot wait for each other; who locks
//! one only holds it for the length of a change and asks for no other.
//!
//! * **Readers with locks** (another joint, a slot) come before all of the changes or behind all of them.
//! * **Readers without locks** do so too, one look after the other: while the changes are made, the sequences of all partitions concerned are odd,
//!   so whoever has seen the first change and looks for the second waits until it is there. What it cannot see from two looks is whether a change
//!   came between them; it asks by a joint that changes nothing.

use super::{
    Index,
    change::{Change, Locked},
    entry::Entry,
};
use crate::model::Digest;

/// Entries held together, for the length of a call of [`Index::with_joint`].
pub struct Joint<'a> {
    digests: &'a [Digest],
    /// By partition.
    locked: Vec<(u16, Locked<'a>)>,
}

impl Index {
    /// Calls `f` while no other thread can change the entries of `digests`. `f` must be short and must not touch the index otherwise.
    pub fn with_joint<R>(&self, digests: &[Digest], f: impl FnOnce(&mut Joint<'_>) -> R) -> R {
        let mut numbers: Vec<u16> = digests.iter().map(|digest| digest.partition()).collect();
        numbers.sort_unstable();
        numbers.dedup();
        let lock = |number: u16| (number, self.partitions[usize::from(number)].lock(&self.shared));
        f(&mut Joint { digests, locked: numbers.into_iter().map(lock).collect() })
    }
}

impl Joint<'_> {
    /// The entry of digest number `at`.
    pub fn get(&self, at: usize) -> Option<Entry> {
        let (_, locked) = &self.locked[self.place(at)];
        let tag = self.digests[at].tag();
        locked.entry(tag, locked.find(tag))
    }

    /// Inserts or replaces entries, each with the number of its digest. Nobody sees one of them before all are there. Called once.
    pub fn set(&mut self, entries: impl IntoIterator<Item = (usize, Entry)>) {
        self.locked.iter_mut().for_each(|(_, locked)| locked.join());
        for (at, entry) in entries {
            let place = self.place(at);
            self.locked[place].1.update(self.digests[at].tag(), |_| (Change::Set(entry), ()));
        }
    }

    fn place(&self, at: usize) -> usize {
        let number = self.digests[at].partition();
        let found = self.locked.binary_search_by_key(&number, |(number, _)| *number);
        found.expect("the partitions of all digests are locked")
    }
}
