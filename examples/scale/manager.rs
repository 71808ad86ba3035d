//! The shared memory manager, timed: how often it was called, and how long the calls took.

use futures::future::BoxFuture;
use sluicegate::memory::Refused;
use sluicegate::{MemoryLimit, MemoryManager, Priority};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

#[derive(Debug)]
pub(crate) struct Clocked {
    budget: Arc<MemoryLimit>,
    calls: AtomicU64,
    refused: AtomicU64,
    nanos: AtomicU64,
}

/// The totals so far.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Calls {
    pub(crate) number: u64,
    pub(crate) refused: u64,
    /// The sum over all threads. Two readings of the clock a call are part of it.
    pub(crate) time: Duration,
}

impl Clocked {
    pub(crate) fn new(budget: Arc<MemoryLimit>) -> Self {
        Self { budget, calls: AtomicU64::new(0), refused: AtomicU64::new(0), nanos: AtomicU64::new(0) }
    }

    pub(crate) fn calls(&self) -> Calls {
        let [number, refused, nanos] = [&self.calls, &self.refused, &self.nanos].map(|sum| sum.load(Ordering::Relaxed));
        Calls { number, refused, time: Duration::from_nanos(nanos) }
    }

    fn clock<R>(&self, call: impl FnOnce(&MemoryLimit) -> R) -> R {
        let start = Instant::now();
        let result = call(&self.budget);
        let took = start.elapsed();
        self.calls.fetch_add(1, Ordering::Relaxed);
        self.nanos.fetch_add(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
        result
    }
}

impl MemoryManager for Clocked {
    fn reserve(&self, bytes: usize, priority: Priority) -> Result<(), Refused> {
        let result = self.clock(|budget| budget.reserve(bytes, priority));
        if result.is_err() {
            self.refused.fetch_add(1, Ordering::Relaxed);
        }
        result
    }

    fn release(&self, bytes: usize) {
        self.clock(|budget| budget.release(bytes));
    }

    fn released(&self, bytes: usize, priority: Priority) -> Option<BoxFuture<'static, ()>> {
        self.clock(|budget| budget.released(bytes, priority))
    }
}

impl Calls {
    /// What was added since `before`.
    pub(crate) fn since(self, before: Self) -> Self {
        Self {
            number: self.number - before.number,
            refused: self.refused - before.refused,
            time: self.time.saturating_sub(before.time),
        }
    }
}
