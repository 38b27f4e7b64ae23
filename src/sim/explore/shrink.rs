//! Makes a failing plan small: takes away whatever it fails without, by halves first, then one by
//! one, then makes numbers simple.

use super::{Failure, Plan, run};

/// Other seeds of chance that a smaller plan is tried with. Whatever is taken away changes all
/// chance behind it, so what fails one time in a few would seem not to fail.
const OTHER_SEEDS: u64 = 4;

/// The smallest plan that can be found which fails in the same way, and how it does. `go_on` is
/// asked before each attempt with the plan so far; `false` ends the search.
pub fn shrink(plan: &Plan, failure: &Failure, go_on: impl FnMut(&Plan) -> bool) -> (Plan, Failure) {
    shrink_with(plan, failure, |plan| run(plan).err(), go_on)
}

/// The same with anything that makes plans fail.
pub(super) fn shrink_with(
    plan: &Plan,
    failure: &Failure,
    fails: impl FnMut(&Plan) -> Option<Failure>,
    mut go_on: impl FnMut(&Plan) -> bool,
) -> (Plan, Failure) {
    let mut small = Shrink { best: plan.clone(), failure: failure.clone(), fails };
    let mut before = None;
    // Each pass may make room for the others.
    while before.as_ref() != Some(&small.best) {
        before = Some(small.best.clone());
        small.drop_items(&mut go_on);
        small.drop_values(&mut go_on);
        small.simplify_values(&mut go_on);
        if !go_on(&small.best) {
            break;
        }
    }
    (small.best, small.failure)
}

struct Shrink<F> {
    best: Plan,
    failure: Failure,
    fails: F,
}

impl<F: FnMut(&Plan) -> Option<Failure>> Shrink<F> {
    /// Takes `plan` if it fails alike.
    fn attempt(&mut self, plan: Plan) -> bool {
        for nth in 0..=OTHER_SEEDS {
            let seed = if nth == 0 { plan.seed } else { nth };
            let plan = Plan { seed, ..plan.clone() };
            if let Some(failure) = (self.fails)(&plan)
                && failure.is_like(&self.failure)
            {
                (self.best, self.failure) = (plan, failure);
                return true;
            }
        }
        false
    }

    /// Delta debugging: chunks of half of the items, of a quarter, and so on down to single ones.
    fn drop_items(&mut self, go_on: &mut impl FnMut(&Plan) -> bool) {
        let mut chunk = self.best.items.len().div_ceil(2);
        while chunk > 0 {
            let mut at = 0;
            while at < self.best.items.len() {
                if !go_on(&self.best) {
                    return;
                }
                let mut plan = self.best.clone();
                plan.items.drain(at..(at + chunk).min(plan.items.len()));
                if !self.attempt(plan) {
                    at += chunk;
                }
            }
            chunk /= 2;
        }
    }

    fn drop_values(&mut self, go_on: &mut impl FnMut(&Plan) -> bool) {
        for item in 0..self.best.items.len() {
            let mut at = 0;
            while at < self.best.items[item].values.len() {
                if !go_on(&self.best) {
                    return;
                }
                let mut plan = self.best.clone();
                plan.items[item].values.remove(at);
                if !self.attempt(plan) {
                    at += 1;
                }
            }
        }
    }

    fn simplify_values(&mut self, go_on: &mut impl FnMut(&Plan) -> bool) {
        for item in 0..self.best.items.len() {
            for at in 0..self.best.items[item].values.len() {
                for simpler in [
                    |_| 0,
                    |_| 1,
                    |v| v / 2,
                    |v: u64| v - v % 1000,
                    |v| v - v % 100,
                    |v| v - v % 10,
                ] {
                    let value = self.best.items[item].values[at].1;
                    if simpler(value) >= value {
                        continue;
                    }
                    if !go_on(&self.best) {
                        return;
                    }
                    let mut plan = self.best.clone();
                    plan.items[item].values[at].1 = simpler(value);
                    self.attempt(plan);
                }
            }
        }
    }
}
