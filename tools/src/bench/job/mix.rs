//! The operations of a job and their shares.

use crate::bench::random::Random;

/// One kind of operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// Reads a record.
    Read,
    /// Reads some records of one partition.
    Scan,
    /// Puts a record in the place of the one there is.
    Write,
    /// Writes one bin of a record and keeps the others.
    Update,
    /// Writes a record that was not there.
    Insert,
    /// Reads a record and writes one bin, unless somebody else wrote meanwhile.
    Modify,
    /// Deletes a record.
    Delete,
}

impl Op {
    /// All of them, in the order of [`Op::index`].
    pub const ALL: [Self; 7] = [
        Self::Read,
        Self::Scan,
        Self::Write,
        Self::Update,
        Self::Insert,
        Self::Modify,
        Self::Delete,
    ];

    /// Its place in tables.
    pub fn index(self) -> usize {
        self as usize
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        ["read", "scan", "write", "update", "insert", "rmw", "delete"][self.index()]
    }

    /// Whether it counts as a read in fio's two sides.
    pub fn is_read(self) -> bool {
        matches!(self, Self::Read | Self::Scan)
    }
}

/// Shares of the operations in per cent; 100 together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mix(pub [u8; Op::ALL.len()]);

impl Mix {
    /// Reads and whole writes alone.
    pub fn reads(percent: u8) -> Self {
        let mut shares = [0; Op::ALL.len()];
        shares[Op::Read.index()] = percent;
        shares[Op::Write.index()] = 100 - percent;
        Self(shares)
    }

    /// `read:95,insert:5`.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut shares = [0u8; Op::ALL.len()];
        for part in text.split(',') {
            let (name, share) = part.trim().split_once(':').unwrap_or((part, ""));
            let op = Op::ALL.into_iter().find(|op| op.name() == name);
            let (op, share) = op.zip(share.parse::<u8>().ok()).ok_or_else(|| {
                format!("{part:?} is not OPERATION:PERCENT; operations are read, scan, write, update, insert, rmw, delete")
            })?;
            shares[op.index()] = shares[op.index()].saturating_add(share);
        }
        match shares.iter().map(|share| u32::from(*share)).sum::<u32>() {
            100 => Ok(Self(shares)),
            sum => Err(format!("the shares are {sum} per cent together, not 100")),
        }
    }

    /// The share of an operation.
    pub fn share(&self, op: Op) -> u8 {
        self.0[op.index()]
    }

    /// Draws one.
    pub fn draw(&self, random: &mut Random) -> Op {
        let mut at = random.below(100) as u8;
        for op in Op::ALL {
            match at.checked_sub(self.share(op)) {
                Some(rest) => at = rest,
                None => return op,
            }
        }
        Op::Read
    }

    /// Whether anything is written.
    pub fn writes(&self) -> bool {
        Op::ALL.into_iter().any(|op| !op.is_read() && self.share(op) > 0)
    }

    /// Whether anything needs records that are there already.
    pub fn needs_records(&self) -> bool {
        self.share(Op::Write) + self.share(Op::Insert) < 100
    }

    /// Reads and scans, in per cent.
    pub fn read_share(&self) -> u8 {
        self.share(Op::Read) + self.share(Op::Scan)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Operations come in the shares asked for.
    #[test]
    fn draws_have_their_shares() {
        let mut random = Random::new(1);
        let mix = Mix::parse("read:95,insert:5").unwrap();
        let inserts = (0..100_000).filter(|_| mix.draw(&mut random) == Op::Insert).count();
        assert!(inserts.abs_diff(5_000) < 400, "{inserts}");
    }

    /// What does not add up is refused.
    #[test]
    fn wrong_shares_are_refused() {
        for text in ["read:95", "frob:100", "read", "", "read:60,write:50"] {
            assert!(Mix::parse(text).is_err(), "{text:?}");
        }
    }
}
