//! Steps of a run that nothing runs beside: truncation, rest, stops and starts; and the look at everything after a start.

use std::{
    future::Future,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use cairn_engine::{
    device::sim::{CrashPolicy, Rng, SimDevice},
    model::ReadPolicy,
    time::Clock,
};

use crate::{
    model::{SETS, keys_of},
    rig::{Honesty, Rig},
    run::{Run, config, content, key, open},
    workload::Step,
};

impl Run {
    /// A step that nothing else runs beside.
    pub fn alone(&mut self, step: Step, rng: &mut Rng) -> Result<(), String> {
        match step {
            Step::Key { .. } | Step::Group { .. } => unreachable!("runs beside others"),
            Step::Housekeep => {
                // It waits for what it reads, and nobody would step the devices.
                self.rig.set_stepped(false);
                self.namespace.housekeep();
                self.rig.set_stepped(self.profile.stepped && !self.rig.is_off());
            }
            Step::Wait(ms) => self.clock.advance(ms),
            Step::Settle => self.settle(),
            Step::Truncate(set) => self.truncate(set)?,
            Step::Restart { clean: true } => self.stop_and_start()?,
            Step::Restart { clean: false } => {
                let policy = CrashPolicy::from_seed(rng.next_u64());
                let images = self.rig.images(policy);
                self.restart(images)?;
            }
        }
        Ok(())
    }

    fn settle(&mut self) {
        let step = config(&self.profile).flush_max.as_millis() as u64;
        self.clock.advance(2 * step);
        self.rig.set_stepped(false);
        while self.namespace.drive() && !self.rig.is_off() {
            // What the defragmenter moves meanwhile has to be flushed too.
            self.clock.advance(step);
        }
        if !self.rig.is_off() {
            self.model.all_durable();
            self.rig.set_stepped(self.profile.stepped);
        }
    }

    fn truncate(&mut self, set: Option<usize>) -> Result<(), String> {
        self.model.begin_truncation(keys_of(self.model.keys(), set));
        // It drives the flushers itself and would wait for a device that nobody steps.
        self.rig.set_stepped(false);
        let mut future = Box::pin(self.namespace.truncate(set.map(|set| SETS[set])));
        let Poll::Ready(result) = future.as_mut().poll(&mut Context::from_waker(Waker::noop()))
        else {
            return Err("a truncation waits".into());
        };
        drop(future);
        self.model.end_truncation(match &result {
            Ok(_) => Some(true),
            Err(error) if self.rig.is_off() => (!error.in_doubt()).then_some(false),
            Err(error) => return Err(format!("a truncation fails: {error}")),
        });
        if !self.rig.is_off() {
            self.rig.set_stepped(self.profile.stepped);
        }
        Ok(())
    }

    fn stop_and_start(&mut self) -> Result<(), String> {
        self.rig.set_stepped(false);
        match self.namespace.close() {
            Ok(()) => self.model.all_durable(),
            Err(_) if self.rig.is_off() => return Ok(()),
            Err(error) => return Err(format!("a clean stop fails: {error}")),
        }
        if self.rig.is_off() {
            return Ok(());
        }
        let images = self.rig.images(CrashPolicy::LoseAll);
        self.restart(images)
    }

    /// Goes on with other devices, which are what is left of the present ones.
    fn restart(&mut self, images: Vec<Arc<SimDevice>>) -> Result<(), String> {
        self.earlier_moved = self.moved();
        self.earlier_writes += self.rig.writes();
        let cut_at = self.cut_at.map(|at| at - self.earlier_writes);
        self.rig = Rig::new(images, self.profile.shape.block, cut_at, Honesty::Honest);
        match open(&self.rig, &self.profile, &self.clock) {
            Ok(namespace) => {
                self.namespace = namespace;
                self.check()?;
                self.rig.set_stepped(self.profile.stepped && !self.rig.is_off());
                Ok(())
            }
            Err(_) if self.rig.is_off() => Ok(()),
            Err(error) => Err(format!("cannot be opened again: {error}")),
        }
    }

    /// Compares everything that the namespace holds after a start with the model, and its accounts with a recount.
    pub fn check(&mut self) -> Result<(), String> {
        if self.rig.is_off() {
            return Ok(());
        }
        let report = self.namespace.report();
        if report.damage_count > 0 {
            return Err(format!("a loss of power passes for damage: {:?}", report.damage));
        }
        let mut found = Vec::new();
        for number in 0..self.model.keys() {
            let (key, policy) = (key(number), ReadPolicy::default());
            let mut get = Box::pin(self.namespace.get(&key, &policy));
            match get.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
                Poll::Ready(Ok(record)) => {
                    found.push(record.map(|record| Arc::new(content(&record))))
                }
                Poll::Ready(Err(error)) => {
                    return Err(format!("key {number} cannot be read: {error}"));
                }
                Poll::Pending => return Err(format!("reading key {number} waits")),
            }
        }
        let now = self.clock.now_ms();
        self.model.check(&found, now)?;
        self.namespace.audit()?;
        for (at, name) in SETS.iter().enumerate() {
            let sets = self.namespace.sets();
            let count = sets.iter().find(|set| set.name == *name).map_or(0, |set| set.records);
            let (least, most) = self.model.set_counts(at, now);
            if !(least..=most).contains(&count) {
                return Err(format!("set {name} has {count} records, not {least} to {most}"));
            }
        }
        Ok(())
    }
}
