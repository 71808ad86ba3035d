//! Everything random in a run: each task has a [`Chance`] of its own, and all of them come from the seed.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::fmt;
use std::time::Duration;

#[derive(Debug)]
pub struct Chance(StdRng);

impl Chance {
    pub fn new(seed: u64) -> Self {
        Self(StdRng::seed_from_u64(seed))
    }

    /// One of its own for somebody else.
    pub fn fork(&mut self) -> Self {
        Self::new(self.0.random())
    }

    /// 0 up to but not including `n`; 0 for 0.
    pub fn below(&mut self, n: u64) -> u64 {
        if n == 0 { 0 } else { self.0.random_range(0..n) }
    }

    /// True once in `n` times.
    pub fn of(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    pub fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len() as u64) as usize]
    }

    /// One of those that are not switched off: `SLUICEGATE_WITHOUT=Kept,Fails` leaves out what is called so.
    pub fn pick_allowed<T: Copy + fmt::Debug>(&mut self, from: &[T]) -> T {
        let without = std::env::var("SLUICEGATE_WITHOUT").unwrap_or_default();
        let names: Vec<_> = without.split(',').filter(|name| !name.is_empty()).collect();
        let allowed = |item: &&T| names.iter().all(|name| !format!("{item:?}").starts_with(name));
        let left: Vec<T> = from.iter().filter(allowed).copied().collect();
        self.pick(if left.is_empty() { from } else { &left })
    }

    /// Up to so many milliseconds.
    pub fn millis(&mut self, most: u64) -> Duration {
        Duration::from_micros(self.below(most * 1_000 + 1))
    }
}
