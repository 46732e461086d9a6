//! Which jobs run at the same time, and which one after the other.

use super::Job;

impl Job {
    /// The same job once for each of its depths, one after the other.
    pub fn each_depth(self) -> Vec<Self> {
        if self.depths.len() < 2 {
            return vec![self];
        }
        let alone = |(index, depth): (usize, u32)| Self {
            depths: vec![depth],
            stonewall: index > 0 || self.stonewall,
            ..self.clone()
        };
        self.depths.clone().into_iter().enumerate().map(alone).collect()
    }
}

/// Jobs that run at the same time, and those that wait for them.
pub fn groups(jobs: Vec<Job>) -> Vec<Vec<Job>> {
    let mut groups: Vec<Vec<Job>> = Vec::new();
    for job in jobs {
        match groups.last_mut() {
            Some(group) if !job.stonewall => group.push(job),
            _ => groups.push(vec![job]),
        }
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::job;

    /// Several depths run one after the other, never side by side.
    #[test]
    fn depths_do_not_overlap() {
        let jobs = Job { depths: vec![1, 8, 32], ..job::sample() }.each_depth();
        let groups = groups(jobs);
        assert_eq!(groups.iter().map(Vec::len).collect::<Vec<_>>(), [1, 1, 1]);
        assert_eq!(groups[2][0].depth(), 32);
    }
}
