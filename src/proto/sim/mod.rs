//! Two cores in virtual time, with random applications over a link that delays and cuts as it likes.
//!
//! Every run is a function of its seed. A failing one prints it; `SLUICEGATE_SEED=<n> cargo test --lib sim` runs it
//! alone.

mod end;
mod invariants;
mod link;
mod oracle;
mod pair;

use pair::{Ending, Pair};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// Seeds in an ordinary run of the tests.
const SEEDS: u64 = 2_000;

/// Everything random in a run.
#[derive(Debug)]
struct Chance(StdRng);

impl Chance {
    fn new(seed: u64) -> Self {
        Self(StdRng::seed_from_u64(seed))
    }

    fn seed(&mut self) -> u64 {
        self.0.random()
    }

    /// 0 up to but not including `n`; 0 for 0.
    fn below(&mut self, n: usize) -> usize {
        if n == 0 { 0 } else { self.0.random_range(0..n) }
    }

    /// True once in `n` times.
    fn of(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    fn pick(&mut self, from: &[u64]) -> u64 {
        from[self.below(from.len())]
    }
}

/// Runs `scenario` for every seed, or for the one that the environment names.
fn for_each_seed(salt: u64, seeds: u64, scenario: impl Fn(Chance)) {
    let only = std::env::var("SLUICEGATE_SEED").ok().and_then(|seed| seed.parse::<u64>().ok());
    for seed in only.map_or(0..seeds, |seed| seed..seed + 1) {
        let guard = PrintOnPanic(seed);
        scenario(Chance::new(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ salt));
        drop(guard);
    }
}

struct PrintOnPanic(u64);

impl Drop for PrintOnPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("failing seed: SLUICEGATE_SEED={}", self.0);
        }
    }
}

#[test]
fn sim_every_byte_and_every_end_arrives() {
    for_each_seed(1, SEEDS, |mut chance| Pair::new(&mut chance).run(&mut chance, Ending::Drained));
}

#[test]
fn sim_a_graceful_close_loses_nothing_that_was_written() {
    for_each_seed(2, SEEDS / 3, |mut chance| Pair::new(&mut chance).run(&mut chance, Ending::Closed));
}

#[test]
fn sim_a_cut_link_is_an_error_and_leaks_nothing() {
    for_each_seed(3, SEEDS / 3, |mut chance| Pair::new(&mut chance).run(&mut chance, Ending::Cut));
}

#[test]
fn sim_go_away_drains() {
    for_each_seed(4, SEEDS / 3, |mut chance| Pair::new(&mut chance).run(&mut chance, Ending::GoneAway));
}
