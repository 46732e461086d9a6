//! Cuts the power at every write of a workload, makes every kind of crash image, and looks what is left.

use std::sync::Arc;

use cairn_engine::{
    device::sim::{CrashPolicy, Rng, SimDevice},
    time::ManualClock,
};

use crate::{
    common::NOW_MS,
    model::Model,
    rig::{Honesty, Rig, formatted},
    run::{PowerLost, Run},
    workload::{Profile, Workload},
};

/// A point of a run, and what happens there: with these numbers it can be had again.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    pub seed: u64,
    pub cut: u64,
    /// Number of the policy in [`policies`].
    pub policy: usize,
}

/// What a test has done so far.
#[derive(Clone, Copy, Debug, Default)]
pub struct Count {
    pub workloads: u64,
    pub cuts: u64,
    pub images: u64,
    /// Records that were moved in the workloads.
    pub moved: u64,
}

/// Every kind of crash, those that a seed decides several times.
pub fn policies(profile: Profile, case: Case) -> Vec<CrashPolicy> {
    let seed = case.seed.wrapping_mul(0x9e37_79b9).wrapping_add(case.cut * 16);
    let mut all = CrashPolicy::all(seed).to_vec();
    all.extend_from_slice(&CrashPolicy::all(seed + 1)[2..5]);
    if profile.hot > 0 {
        // Many records take long to look at: the two extremes, and two of the others.
        let others = [case.cut as usize % 8, (case.cut as usize / 8 + 3) % 8];
        return [0, 1, 2 + others[0], 2 + others[1]].map(|at| all[at]).to_vec();
    }
    all
}

/// The devices on which the workload of `seed` begins, and what they hold: nothing, or what fills them.
fn begun(
    profile: Profile,
    seed: u64,
    clock: &Arc<ManualClock>,
) -> Result<(Vec<Arc<SimDevice>>, Model), String> {
    let devices = formatted(profile.shape, seed);
    let model = Model::new(profile.keys);
    if profile.hot == 0 {
        return Ok((devices, model));
    }
    let rig = Rig::new(devices, profile.shape.block, None, Honesty::Honest);
    let Ok(mut run) = Run::open(rig, profile, clock, model) else {
        return Err("fresh devices cannot be opened".into());
    };
    let devices = run.fill(&mut Workload::new(profile, !seed))?;
    Ok((devices, run.model))
}

/// Runs the workload of `seed` until write number `cut`.
pub fn run_to(
    profile: Profile,
    seed: u64,
    cut: Option<u64>,
    honesty: Honesty,
) -> Result<Run, String> {
    let clock = ManualClock::new(NOW_MS);
    let (devices, model) = begun(profile, seed, &clock)?;
    let rig = Rig::new(devices, profile.shape.block, cut, honesty);
    match Run::open(rig, profile, &clock, model.clone()) {
        Ok(mut run) => run.work(&mut Workload::new(profile, seed), cut).map(|()| run),
        Err(Err(error)) => Err(error),
        // The first start was cut short: what is left of it is opened in its place, in the same state.
        Err(Ok(PowerLost(rig))) => {
            let image = rig.images(CrashPolicy::KeepAll);
            let rig = Rig::new(image, profile.shape.block, None, Honesty::Honest);
            Run::open(rig, profile, &clock, model)
                .map_err(|_| "cannot be opened after a short first start".into())
        }
    }
}

/// Cuts the power at every write of the workload of `seed`.
pub fn cut_everywhere(
    profile: Profile,
    seed: u64,
    honesty: Honesty,
    count: &mut Count,
) -> Result<(), (Case, String)> {
    let whole = run_to(profile, seed, None, honesty);
    let whole = whole.map_err(|error| (Case { seed, cut: u64::MAX, policy: 0 }, error))?;
    count.workloads += 1;
    for cut in 0..=whole.writes() {
        cut_at(profile, Case { seed, cut, policy: 0 }, None, honesty, count)?;
    }
    Ok(())
}

/// Cuts the power at about `cuts` of the writes of the workload of `seed`, in which records must be moved.
pub fn cut_somewhere(
    profile: Profile,
    seed: u64,
    cuts: u64,
    count: &mut Count,
) -> Result<(), (Case, String)> {
    let whole = run_to(profile, seed, None, Honesty::Honest);
    let whole = whole.map_err(|error| (Case { seed, cut: u64::MAX, policy: 0 }, error))?;
    let (moved, refused) = whole.moved();
    assert!(moved > 0, "seed {seed}: nothing is moved, and {refused} writes were refused");
    count.moved += moved;
    count.workloads += 1;
    let mut rng = Rng::new(seed);
    let step = (whole.writes() / cuts).max(1) as usize;
    let mut cut = rng.below(step) as u64;
    while cut <= whole.writes() {
        cut_at(profile, Case { seed, cut, policy: 0 }, None, Honesty::Honest, count)?;
        cut += 1 + rng.below(2 * step - 1) as u64;
    }
    Ok(())
}

/// Cuts the power at one write, and looks at the images of all policies, or of one.
pub fn cut_at(
    profile: Profile,
    case: Case,
    only: Option<usize>,
    honesty: Honesty,
    count: &mut Count,
) -> Result<(), (Case, String)> {
    let run = run_to(profile, case.seed, Some(case.cut), honesty).map_err(|error| (case, error))?;
    count.cuts += 1;
    let policies = policies(profile, case);
    // What is left is stopped again in the middle of its own start, for one policy after the other.
    let again = (case.cut as usize + case.seed as usize) % policies.len();
    for (policy, &crash) in policies.iter().enumerate() {
        if only.is_some_and(|only| only != policy) {
            continue;
        }
        let case = Case { policy, ..case };
        let image = Image { profile, clock: &run.clock, model: &run.model, run: &run, crash };
        image.survives(case, policy == again, count).map_err(|error| (case, error))?;
    }
    Ok(())
}

/// What is left of a run after a crash.
struct Image<'a> {
    profile: Profile,
    clock: &'a Arc<ManualClock>,
    model: &'a Model,
    run: &'a Run,
    crash: CrashPolicy,
}

impl Image<'_> {
    fn rig(&self, cut_at: Option<u64>) -> Rig {
        Rig::new(self.run.rig.images(self.crash), self.profile.shape.block, cut_at, Honesty::Honest)
    }

    fn open(&self, rig: Rig) -> Result<Run, Result<PowerLost, String>> {
        let profile = Profile { operations: 12, ..self.profile };
        let clock = ManualClock::new(cairn_engine::time::Clock::now_ms(&**self.clock));
        Run::open(rig, profile, &clock, self.model.clone())
    }

    /// The image is opened and looked at; then work goes on for a while and power is lost again. With `again` it is also lost at every
    /// write of the start.
    fn survives(&self, case: Case, again: bool, count: &mut Count) -> Result<(), String> {
        count.images += 1;
        let mut run = self.open(self.rig(None)).map_err(|error| match error {
            Err(error) => error,
            Ok(_) => "lost power by itself".into(),
        })?;
        run.check()?;
        let start = run.rig.writes();
        let mut workload =
            Workload::new(self.profile, case.seed ^ case.cut << 20 ^ case.policy as u64);
        if again || workload.rng.below(4) == 0 {
            let cut = start + workload.rng.below(12) as u64;
            drop(run);
            let Ok(mut run) = self.open(self.rig(Some(cut))) else {
                return Err("opens only once".into());
            };
            run.check()?;
            run.work(&mut workload, Some(cut))?;
            self.second(&run, case, count)
                .map_err(|error| format!("after a second crash: {error}"))?;
        }
        if again {
            for cut in 0..start {
                self.cut_start(cut, case, count).map_err(|error| {
                    format!("the start after the crash was cut short at its write {cut}: {error}")
                })?;
            }
        }
        Ok(())
    }

    fn second(&self, run: &Run, case: Case, count: &mut Count) -> Result<(), String> {
        count.images += 1;
        let crash = CrashPolicy::from_seed(case.seed ^ case.cut ^ (case.policy as u64) << 30);
        let rig = Rig::new(run.rig.images(crash), self.profile.shape.block, None, Honesty::Honest);
        match Run::open(rig, self.profile, &run.clock, run.model.clone()) {
            Ok(mut run) => run.check(),
            Err(Err(error)) => Err(error),
            Err(Ok(_)) => Err("lost power by itself".into()),
        }
    }

    fn cut_start(&self, cut: u64, case: Case, count: &mut Count) -> Result<(), String> {
        let rig = match self.open(self.rig(Some(cut))) {
            Err(Ok(PowerLost(rig))) => rig,
            Err(Err(error)) => return Err(error),
            Ok(run) => run.rig,
        };
        for seed in 0..2 {
            count.images += 1;
            let crash = CrashPolicy::from_seed(case.seed ^ case.cut << 8 ^ seed << 40 ^ cut);
            let rig = Rig::new(rig.images(crash), self.profile.shape.block, None, Honesty::Honest);
            let mut run = self.open(rig).map_err(|error| match error {
                Err(error) => error,
                Ok(_) => "lost power by itself".into(),
            })?;
            run.check()?;
        }
        Ok(())
    }
}
