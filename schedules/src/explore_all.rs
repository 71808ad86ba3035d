//! `explore`: a scenario under all orders of its threads with few switches that need not be.

use loom::model::Builder;

/// In how many places a thread that could run on does not, unless `LOOM_MAX_PREEMPTIONS` says it.
const SWITCHES: usize = 3;

/// Runs a scenario under every order of its threads. It fails where it panics, and where all its threads wait.
pub fn explore(scenario: impl Fn() + Send + Sync + 'static) {
    let mut builder = Builder::new();
    builder.preemption_bound.get_or_insert(SWITCHES);
    builder.check(scenario);
}
