//! The heap at quiet points, and whether it grows.

use crate::watch::mib;
use anyhow::ensure;

/// Most growth over the whole run: bytes in use differ from one quiet point to the next, since connections are of
/// different ages, and younger ones have smaller buffers.
const PERCENT: usize = 10;
const BYTES: usize = 1 << 20;

/// Bytes that were in use, from the first quiet point to the last.
#[derive(Clone, Debug, Default)]
pub(crate) struct Growth(Vec<usize>);

impl Growth {
    pub(crate) fn add(&mut self, heap: usize) {
        self.0.push(heap);
    }

    pub(crate) fn points(&self) -> usize {
        self.0.len()
    }

    /// The minimum of the first third of the time, and of the last: what is held only for a moment does not count.
    pub(crate) fn thirds(&self) -> (usize, usize) {
        let third = (self.0.len() / 3).max(1);
        let (first, last) = (self.0.iter().take(third).min(), self.0.iter().rev().take(third).min());
        (first.copied().unwrap_or(0), last.copied().unwrap_or(0))
    }

    pub(crate) fn check(&self) -> anyhow::Result<()> {
        let (first, last) = self.thirds();
        let most = first + first / 100 * PERCENT + BYTES;
        let [begin, end, allowed] = [first, last, most].map(mib);
        ensure!(last <= most, "the heap grows: {begin} MiB at first, {end} MiB at last, of {allowed} MiB allowed");
        Ok(())
    }
}
