//! How fast the defragmenter goes: about as fast as users write, in small steps.
//!
//! Moving a block wins what is dead in it, so every byte that users write asks for `live / dead` bytes to be moved, of the block that is being
//! moved just then. These are earned as users write and spent as records are moved: the work is spread over the time in which a block is filled, where
//! it would else come in bursts that readers queue behind, for the device as for the processor. Somewhat more is earned than need be, the more the fewer
//! blocks are free, so that a block is won before it is asked for. Little is earned as time goes, to come to an end when nobody writes.
//!
//! Its own reads stand in the same queues as those of users, so they tell how these fare: while they take much longer than the device can do, less is earned,
//! down to half of what keeps up with writes. That is at the cost of the reserve, and the less of it is left, the less is held back.
//!
//! Nothing holds it back while somebody waits for room: then it goes as fast as it can.
//!
//! Owns no clock and looks at nothing by itself: each look is told how things are. Belongs to one thread.

use std::time::Duration;

/// The most that is moved in one step, in bytes of records, before the thread lets others have the processor.
const STEP: u64 = 32 << 10;
/// The most that can be earned ahead: what users write while a victim is read must not become a burst.
const EARNED_MOST: u64 = 4 * STEP;
/// Earned in each second without any write, in bytes.
const IDLE_RATE: u64 = 16 << 20;
/// A victim in which hardly anything is dead, taken to move the horizon, is moved as if so many times as much lived as is dead.
const LIVE_MOST: u64 = 16;
/// What is earned when none of the reserve is left, when all of it is, and when all of it is but reads take long; in per cent of what keeps up
/// with writes.
const HASTE_PCT: u64 = 600;
const EASE_PCT: u64 = 100;
const STRAINED_PCT: u64 = 50;
/// A device is strained when reads of pieces take so many times as long, on average, as they have taken at best.
const STRAINED_TIMES: u32 = 2;
/// The part of a new reading in the average.
const NEW_PART: u32 = 4;
/// By such a part the best is forgotten with each reading: a device may become slower for good.
const FORGOTTEN_PART: u32 = 1024;
/// How long the thread waits when nothing is earned.
pub(super) const PAUSE: Duration = Duration::from_micros(250);

/// How things are at a look.
#[derive(Clone, Copy, Debug)]
pub(super) struct Signs {
    /// Since any fixed instant.
    pub(super) now: Duration,
    /// Bytes of records that users have written to the device, ever.
    pub(super) written: u64,
    /// Bytes that lived and that were dead in the victim when it was chosen.
    pub(super) live: u32,
    pub(super) dead: u32,
    /// How many of the blocks that are free for writers before the defragmenter begins are still there, in per cent.
    pub(super) reserve_pct: u32,
    /// Somebody waits for room.
    pub(super) awaited: bool,
}

/// What has been earned and not been spent.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// `now` and `written` of the look before.
    seen: Option<(Duration, u64)>,
    /// In bytes. Below zero when a record was larger than what was left.
    earned: i64,
    /// Somebody waited at the last look.
    hurried: bool,
    /// How long a piece of a victim takes to read: on average, and at best.
    reading: Option<(Duration, Duration)>,
}

impl Pace {
    /// How many bytes of records may be moved now. 0: after a [`PAUSE`].
    pub(super) fn look(&mut self, signs: &Signs) -> u64 {
        let (then, written) =
            self.seen.replace((signs.now, signs.written)).unwrap_or((signs.now, signs.written));
        let idle = signs.now.saturating_sub(then).as_micros().min(1_000_000) as u64;
        let wrote = signs.written.saturating_sub(written).min(EARNED_MOST);
        let (live, dead) = (u64::from(signs.live), u64::from(signs.dead.max(1)));
        let owed = (wrote * live / dead).min(wrote * LIVE_MOST);
        let ease = if self.is_strained() { STRAINED_PCT } else { EASE_PCT };
        let reserve = u64::from(signs.reserve_pct.min(100));
        let owed = owed * (HASTE_PCT - (HASTE_PCT - ease) * reserve / 100) / 100;
        let earned = owed + IDLE_RATE * idle / 1_000_000;
        self.earned = (self.earned + earned as i64).min(EARNED_MOST as i64);
        // Whole steps: a thread that moved each record as it was earned would never let go of the processor.
        self.hurried = signs.awaited;
        if self.hurried || self.earned >= STEP as i64 { STEP } else { 0 }
    }

    /// So many bytes of records are done with.
    pub(super) fn spend(&mut self, bytes: u64) {
        // What was moved because somebody waited is no debt: it would be paid with a standstill.
        if !self.hurried {
            self.earned -= bytes as i64;
        }
    }

    /// A piece took so long to be read, one of a victim's at a time.
    pub(super) fn read(&mut self, took: Duration) {
        let (average, best) = self.reading.unwrap_or((took, took));
        let average = (average * (NEW_PART - 1) + took) / NEW_PART;
        self.reading = Some((average, took.min(best + best / FORGOTTEN_PART)));
    }

    /// Whether reads take much longer than the device can do.
    fn is_strained(&self) -> bool {
        self.reading.is_some_and(|(average, best)| average > best * STRAINED_TIMES)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CALM: Signs = Signs {
        now: Duration::ZERO,
        written: 0,
        live: 600,
        dead: 400,
        reserve_pct: 100,
        awaited: false,
    };

    /// Looks so often as users write `each` bytes in between, in no time. Returns what was moved in all, and the most between two looks.
    fn moved(pace: &mut Pace, signs: Signs, looks: u64, each: u64) -> (u64, u64) {
        let mut signs = signs;
        let steps = (0..looks).map(|_| {
            signs.written += each;
            let step = pace.look(&signs);
            pace.spend(step);
            step
        });
        let steps: Vec<u64> = steps.collect();
        (steps.iter().sum(), steps.into_iter().max().unwrap_or(0))
    }

    /// Slower, and blocks would not be won as fast as they are filled; faster, or at once, and readers would queue behind it.
    #[test]
    fn it_keeps_up_with_writes_in_small_steps() {
        for (reserve_pct, least) in [(100, 1500), (50, 5250), (0, 9000)] {
            let mut pace = Pace::default();
            pace.look(&CALM);
            let (all, most) = moved(&mut pace, Signs { reserve_pct, ..CALM }, 1000, 1000);
            let wanted = least * 1000;
            assert!(all > wanted - STEP && all <= wanted, "{all} at {reserve_pct}");
            assert_eq!(most, STEP);
        }
    }

    /// Free blocks that were used up by the last writes come back when nobody writes any more.
    #[test]
    fn it_comes_to_an_end_without_writes() {
        let mut pace = Pace::default();
        let mut all = 0;
        for at in 0..=4000 {
            let step = pace.look(&Signs { now: PAUSE * at, ..CALM });
            pace.spend(step);
            all += step;
        }
        assert!(all > IDLE_RATE - 2 * STEP && all <= IDLE_RATE, "{all} in a second");
    }

    /// A writer that stands still must not wait for the pace.
    #[test]
    fn it_is_not_held_back_while_somebody_waits() {
        let (all, _) = moved(&mut Pace::default(), Signs { awaited: true, ..CALM }, 100, 0);
        assert_eq!(all, 100 * STEP);
    }

    /// Neither a long standstill, nor a victim with hardly anything dead, nor what was moved for somebody who waited makes a burst or a standstill.
    #[test]
    fn what_has_been_is_soon_forgotten() {
        let mut pace = Pace::default();
        pace.look(&CALM);
        let later = Signs { now: Duration::from_secs(3600), written: 1 << 40, dead: 0, ..CALM };
        assert_eq!(pace.look(&later), STEP);
        pace.spend(STEP);
        let (burst, _) = moved(&mut pace, later, 100, 0);
        assert!(burst < EARNED_MOST, "{burst}");
        let (all, _) = moved(&mut pace, Signs { awaited: true, ..later }, 100, 0);
        assert_eq!(all, 100 * STEP);
        let (after, _) = moved(&mut pace, Signs { dead: 600, ..later }, 3, STEP);
        assert!(after >= STEP, "{after} after two steps were earned");
    }

    /// Large records are paid for in full, or they would be moved in a burst after all.
    #[test]
    fn a_large_record_is_paid_for() {
        let mut pace = Pace::default();
        pace.look(&CALM);
        let mut signs = Signs { dead: 600, written: STEP, ..CALM };
        assert_eq!(pace.look(&signs), STEP);
        pace.spend(10 * STEP);
        let looks = (0..20).take_while(|_| {
            signs.written += STEP;
            pace.look(&signs) == 0
        });
        assert_eq!(looks.count(), 9);
    }

    /// Readers who wait for a busy device get it first, as long as there are free blocks; then writers do, who would stand still.
    #[test]
    fn slow_reads_hold_it_back_while_there_is_a_reserve() {
        let mut pace = Pace::default();
        pace.look(&CALM);
        // In per cent of what users write; nothing earned before counts.
        let share = |pace: &mut Pace, reserve_pct| {
            (pace.seen, pace.earned) = (None, 0);
            moved(pace, Signs { reserve_pct, ..CALM }, 1000, 1000).0 / 10_000
        };
        (0..100).for_each(|_| pace.read(Duration::from_micros(200)));
        assert!((145..=150).contains(&share(&mut pace, 100)), "a quiet device");
        (0..100).for_each(|_| pace.read(Duration::from_micros(600)));
        assert!((70..=75).contains(&share(&mut pace, 100)), "a busy one");
        assert!((890..=900).contains(&share(&mut pace, 0)), "the reserve is used up");
        (0..2000).for_each(|_| pace.read(Duration::from_micros(600)));
        assert!(!pace.is_strained(), "it is as slow as that");
    }
}
