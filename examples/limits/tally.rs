//! Counters of a run.

use hdrhistogram::Histogram;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The part of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// Good peers only.
    Calm,
    /// The hostile peers as well.
    Attacked,
}

/// Counters that all peers and the node share.
#[derive(Debug)]
pub(crate) struct Tally {
    under_attack: AtomicBool,
    /// How long requests took, in microseconds, by the part in which they were answered.
    times: [Mutex<Histogram<u64>>; 2],
    /// The slowest since the last sample, in microseconds.
    slowest: AtomicU64,
    refused: AtomicU64,
    echoed: AtomicU64,
    attacks: AtomicU64,
    thrown_out: Mutex<BTreeMap<&'static str, u64>>,
}

impl Tally {
    pub(crate) fn new() -> anyhow::Result<Self> {
        // Up to a minute, to three digits.
        let times = || Histogram::new_with_bounds(1, 60_000_000, 3).map(Mutex::new);
        Ok(Self {
            under_attack: AtomicBool::new(false),
            times: [times()?, times()?],
            slowest: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            echoed: AtomicU64::new(0),
            attacks: AtomicU64::new(0),
            thrown_out: Mutex::default(),
        })
    }

    /// The attack begins.
    pub(crate) fn attack(&self) {
        self.under_attack.store(true, Ordering::Relaxed);
    }

    fn part(&self) -> Part {
        if self.under_attack.load(Ordering::Relaxed) { Part::Attacked } else { Part::Calm }
    }

    /// A good peer's request was answered, and the answer was right.
    pub(crate) fn answered(&self, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.times(self.part()).saturating_record(micros);
        self.slowest.fetch_max(micros, Ordering::Relaxed);
    }

    /// A good peer's stream was refused.
    pub(crate) fn refused(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    /// Bulk data came back, and was right.
    pub(crate) fn echoed(&self, bytes: u64) {
        self.echoed.fetch_add(bytes, Ordering::Relaxed);
    }

    /// A hostile peer has connected.
    pub(crate) fn attacked(&self) {
        self.attacks.fetch_add(1, Ordering::Relaxed);
    }

    /// The node has ended a peer's connection.
    pub(crate) fn thrown_out(&self, why: &'static str) {
        *lock(&self.thrown_out).entry(why).or_default() += 1;
    }

    pub(crate) fn times(&self, part: Part) -> MutexGuard<'_, Histogram<u64>> {
        lock(&self.times[part as usize])
    }

    /// Requests that were answered, in both parts.
    pub(crate) fn answers(&self) -> u64 {
        self.times(Part::Calm).len() + self.times(Part::Attacked).len()
    }

    /// The slowest request since this was called last.
    pub(crate) fn take_slowest(&self) -> Duration {
        Duration::from_micros(self.slowest.swap(0, Ordering::Relaxed))
    }

    pub(crate) fn refusals(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// Bulk data that came back, in bytes.
    pub(crate) fn bulk(&self) -> u64 {
        self.echoed.load(Ordering::Relaxed)
    }

    /// Connections that hostile peers have made.
    pub(crate) fn attacks(&self) -> u64 {
        self.attacks.load(Ordering::Relaxed)
    }

    /// How many peers' connections the node has ended, by reason.
    pub(crate) fn all_thrown_out(&self) -> BTreeMap<&'static str, u64> {
        lock(&self.thrown_out).clone()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
