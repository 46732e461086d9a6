//! Putting a record in place of whatever is there, for whoever has many such puts at hand: no step, and one receipt for all of them.

use super::{POLICY, Receipt, check_bins, fill_bins};
use crate::{
    error::Error,
    format::ValueRef,
    model::{KeyRef, VoidTime},
    namespace::{
        Expected, Namespace,
        write::{Attempt, NewRecord, Write},
    },
};

impl Namespace {
    /// Puts a record whose bins are these, and that expires then, in place of whatever `key` holds, and notes in `receipt` what whoever was promised
    /// durability must wait for. `expected` is what [`Self::expect`] answered for this very key. Whether it was done: if not, something must be
    /// waited for, nothing was written, and [`Self::transact`] does it.
    ///
    /// # Errors
    ///
    /// As [`Self::transact`]. Nothing was written then.
    pub fn replace_now(
        &self,
        (key, expected): (KeyRef<'_>, Expected),
        bins: &[(&str, ValueRef<'_>)],
        void_time: VoidTime,
        receipt: &mut Receipt,
    ) -> Result<bool, Error> {
        let Expected(digest) = expected;
        debug_assert_eq!(digest, self.digest(key), "another key was expected");
        self.check_open()?;
        check_bins(bins)?;
        let write = Write { key, digest, set_hash: self.set_hash(key.set()), policy: &POLICY };
        loop {
            let Some(seen) = self.see_now(&write) else { return Ok(false) };
            let new = NewRecord::Record(void_time);
            match self.attempt(&write, &seen, new, |body| fill_bins(bins, body))? {
                Attempt::Applied(appended, _) => {
                    receipt.add(appended);
                    return Ok(true);
                }
                Attempt::Changed => {}
                Attempt::Wait(..) => return Ok(false),
            }
        }
    }
}
