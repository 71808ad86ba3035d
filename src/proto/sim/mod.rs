//! Two cores in virtual time, with random applications over a link that delays and fragments at random.
//!
//! Every run is a function of its seed. A failing run prints it; `SLUICEGATE_SEED=<n> cargo test --lib sim` repeats it
//! alone.

mod end;
mod invariants;
mod link;
mod moody;
mod oracle;
mod pair;

use pair::{Ending, Pair};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::ops::AddAssign;

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

/// What a run is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Load {
    Anything,
    /// Much data on few streams, charged as it is used, in little memory.
    Scarce,
}

impl Load {
    fn pick<T>(self, anything: T, scarce: T) -> T {
        match self {
            Self::Anything => anything,
            Self::Scarce => scarce,
        }
    }
}

/// What happens beside the application.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Weather {
    /// Clocks jump, as they do where a machine sleeps.
    Jumps,
    /// The link stalls for up to 30 s, with keep-alive on, and its path becomes longer and shorter.
    Outages,
    /// The same for less than the write timeout all together, and many pings come at once.
    Bursts,
}

/// How often the runs have reached rare states.
#[derive(Clone, Copy, Debug, Default)]
struct Reached {
    /// Streams that ended because there was no memory for what arrived.
    out_of_memory: u64,
    /// How often credit was denied for want of memory.
    credit_denied: u64,
    /// How often a window was found smaller than its largest size.
    smaller: u64,
    /// How often lower priorities waited until the peer had read what was on the wire (pacing).
    paced: u64,
    /// How often input waited until owed frames had been written.
    held_back: u64,
    /// How often the link stalled.
    outages: u64,
}

impl AddAssign for Reached {
    fn add_assign(&mut self, other: Self) {
        let Self { out_of_memory, credit_denied, smaller, paced, held_back, outages } = other;
        self.out_of_memory += out_of_memory;
        self.credit_denied += credit_denied;
        self.smaller += smaller;
        self.paced += paced;
        self.held_back += held_back;
        self.outages += outages;
    }
}

/// Runs the scenario for every seed, or for the one that the environment names. `SLUICEGATE_SEEDS` says how many times as
/// many there are.
fn for_each_seed(salt: u64, seeds: u64, load: Load, ending: Ending) {
    let number = |name| std::env::var(name).ok().and_then(|value| value.parse::<u64>().ok());
    let (only, times) = (number("SLUICEGATE_SEED"), number("SLUICEGATE_SEEDS").unwrap_or(1));
    let mut reached = Reached::default();
    for seed in only.map_or(0..seeds * times, |seed| seed..seed + 1) {
        let guard = PrintOnPanic(seed);
        let mut chance = Chance::new(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ salt);
        reached += Pair::new(load, &mut chance).run(&mut chance, ending);
        drop(guard);
    }
    let Reached { out_of_memory, credit_denied, smaller, paced, held_back, outages } = reached;
    assert!(only.is_some() || out_of_memory > 0 && smaller > 0 && paced > 0, "{reached:?}");
    assert!(only.is_some() || held_back > seeds && outages > seeds / 4, "{reached:?}");
    assert!(only.is_some() || load == Load::Anything || credit_denied > seeds, "{reached:?}");
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
    for_each_seed(1, SEEDS, Load::Anything, Ending::Drained);
}

#[test]
fn sim_a_graceful_close_loses_nothing_that_was_written() {
    for_each_seed(2, SEEDS / 3, Load::Anything, Ending::Closed);
}

#[test]
fn sim_a_cut_link_is_an_error_and_leaks_nothing() {
    // Few of them come to pace anything before they are cut.
    for_each_seed(3, 2 * SEEDS / 3, Load::Anything, Ending::Cut);
}

#[test]
fn sim_go_away_drains() {
    for_each_seed(4, 2 * SEEDS / 3, Load::Anything, Ending::GoneAway);
}

#[test]
fn sim_scarce_memory_holds_up_streams_and_stops_none_that_is_read() {
    for_each_seed(5, SEEDS / 5, Load::Scarce, Ending::Drained);
}
