//! How near honest peers come to the budgets that end a connection: nowhere near.

use sluicegate::stats::ConnectionStats;
use std::sync::atomic::{AtomicU64, Ordering};

/// A budget of the crate (SECURITY.md), and the most of it that a cell has taken.
struct Budget {
    what: &'static str,
    allowed: u64,
    most: AtomicU64,
    taken: fn(&ConnectionStats) -> u64,
    /// Whether it is for those who open more streams than there may be.
    of_surplus: bool,
}

/// An honest peer takes at most one part in so many.
const PART: u64 = 20;

static BUDGETS: [Budget; 3] = [
    Budget::new("frames that change nothing", 10_000, |stats| stats.useless_frames, false),
    Budget::new("streams reset before they were accepted", 1_000, |stats| stats.resets.remote_unaccepted, false),
    Budget::new("refused streams", 2_048, |stats| stats.refusals.incoming(), true),
];

impl Budget {
    const fn new(what: &'static str, allowed: u64, taken: fn(&ConnectionStats) -> u64, of_surplus: bool) -> Self {
        Self { what, allowed, most: AtomicU64::new(0), taken, of_surplus }
    }
}

/// Whether the peer of a cell was as far from each of them as an honest one is. With a `surplus` of streams, on purpose,
/// what that takes is not counted.
pub fn check(stats: &ConnectionStats, surplus: bool) -> Result<(), String> {
    for Budget { what, allowed, most, taken, .. } in BUDGETS.iter().filter(|budget| !(surplus && budget.of_surplus)) {
        let taken = taken(stats);
        most.fetch_max(taken, Ordering::Relaxed);
        if taken > allowed / PART {
            return Err(format!("{taken} {what}, and {allowed} end a connection"));
        }
    }
    Ok(())
}

/// The most that any cell has taken.
pub fn report() -> String {
    let lines = BUDGETS.iter().map(|Budget { what, allowed, most, .. }| {
        format!("{what}: at most {} in a cell, of {allowed}", most.load(Ordering::Relaxed))
    });
    lines.collect::<Vec<_>>().join("\n")
}
