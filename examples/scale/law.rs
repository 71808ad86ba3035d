//! The heap against what is reserved: 1.1 times that, and a fixed sum for each end of a connection.

use anyhow::ensure;
use peak_alloc::PeakAlloc;
use sluicegate::MemoryLimit;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

#[global_allocator]
static HEAP: PeakAlloc = PeakAlloc;

/// Bytes of heap that are in use.
pub(crate) fn live() -> usize {
    HEAP.current_usage()
}

/// Counts what the process has allocated since this was made: the connections, and the tasks of the runtime and of the
/// example. The pipes were allocated before.
pub(crate) struct Law {
    before: usize,
    ends: usize,
    /// Heap that an end may take beside its reservations.
    fixed: usize,
    budget: Arc<MemoryLimit>,
    checks: AtomicU64,
    /// The peak of the heap, and the peak of an end's average beside 1.1 times the reserved bytes.
    most: AtomicUsize,
    beside: AtomicUsize,
}

/// A sample, in bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    pub(crate) heap: usize,
    pub(crate) reserved: usize,
}

impl Law {
    pub(crate) fn new(ends: usize, fixed: usize, budget: Arc<MemoryLimit>) -> Self {
        let (most, beside) = (AtomicUsize::new(0), AtomicUsize::new(0));
        Self { before: live(), ends, fixed, budget, checks: AtomicU64::new(0), most, beside }
    }

    /// Takes a sample, and fails if it exceeds the bound.
    pub(crate) fn check(&self) -> anyhow::Result<Sample> {
        // Other threads go on between the two readings: memory that is freed meanwhile was reserved at the first one.
        let earlier = self.budget.reserved();
        let heap = live().saturating_sub(self.before);
        let reserved = earlier.max(self.budget.reserved());
        let beside = heap.saturating_sub(reserved / 10 * 11) / self.ends;
        self.checks.fetch_add(1, Ordering::Relaxed);
        self.most.fetch_max(heap, Ordering::Relaxed);
        self.beside.fetch_max(beside, Ordering::Relaxed);
        ensure!(
            beside <= self.fixed,
            "{heap} bytes of heap for {reserved} reserved: {beside} beside 1.1 times that for each of {} ends",
            self.ends
        );
        ensure!(reserved <= self.budget.limit(), "{reserved} bytes are reserved of {}", self.budget.limit());
        Ok(Sample { heap, reserved })
    }

    pub(crate) fn checks(&self) -> u64 {
        self.checks.load(Ordering::Relaxed)
    }

    pub(crate) fn most(&self) -> usize {
        self.most.load(Ordering::Relaxed)
    }

    pub(crate) fn beside(&self) -> usize {
        self.beside.load(Ordering::Relaxed)
    }
}
