//! `explore`: a scenario under many orders of its tasks, or under one again.

use shuttle::future::block_on;
use shuttle::scheduler::{PctScheduler, RandomScheduler, ReplayScheduler, Scheduler};
use shuttle::{Config, Runner};
use std::env;
use std::future::Future;
use std::str::FromStr;
use std::sync::Arc;

/// How many orders are tried unless `SCHEDULES` says it.
const SCHEDULES: usize = 2_000;

/// In how many places a task that could run on does not, where these are drawn in advance.
const SWITCHES: usize = 3;

/// Bytes of stack that a task gets.
const STACK: usize = 256 * 1024;

/// Runs a scenario under many orders of its tasks. It fails where it panics, and where it has not ended and all its tasks
/// wait. All of them must have ended at its end: one that is cut off in the middle of a step may hold a lock.
pub fn explore<F: Future<Output = ()>>(scenario: impl Fn() -> F + Send + Sync + 'static) {
    let scenario = Arc::new(move || block_on(scenario()));
    if let Ok(schedule) = env::var("SCHEDULE") {
        return run(ReplayScheduler::new_from_encoded(&schedule), &scenario);
    }
    let (seed, schedules) = (setting("SEED", 7), setting("SCHEDULES", SCHEDULES));
    run(RandomScheduler::new_from_seed(seed, schedules / 2), &scenario);
    run(PctScheduler::new_from_seed(seed, SWITCHES, schedules / 2), &scenario);
}

fn run(scheduler: impl Scheduler + 'static, scenario: &Arc<impl Fn() + Send + Sync + 'static>) {
    let mut config = Config::new();
    config.stack_size = STACK;
    // That it takes all atomics for the strongest: what hangs on their orderings is for loom.
    config.silence_warnings = true;
    let scenario = scenario.clone();
    Runner::new(scheduler, config).run(move || scenario());
}

fn setting<N: FromStr>(name: &str, otherwise: N) -> N {
    match env::var(name) {
        Ok(value) => value.parse().unwrap_or_else(|_| panic!("{name}={value} is no number")),
        Err(_) => otherwise,
    }
}
