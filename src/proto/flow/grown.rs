//! Owns [`GrownWindows`]: which receive windows are larger than their first size, and how much arrives in them.
//!
//! A window that was not half used for a while shrinks (Y-MEM-12). Never looks at a stream, and changes no window
//! itself.

use crate::proto::key::Key;
use crate::proto::limits::{WINDOW_LOOK, WINDOW_QUIET};
use std::collections::BTreeMap;
use web_time::Instant;

/// Windows larger than their first size, with the use that is made of them.
#[derive(Debug, Default)]
pub(in crate::proto) struct GrownWindows {
    windows: BTreeMap<Key, Usage>,
    look_at: Option<Instant>,
}

/// Bytes received on a stream up to a moment.
#[derive(Clone, Copy, Debug)]
pub(in crate::proto) struct Usage {
    since: Instant,
    received: u64,
}

impl Usage {
    /// Reviews a window of `size` bytes on which `received` bytes have arrived in all. `None` if it was not half used
    /// for a while.
    pub(in crate::proto) fn review(self, size: u32, received: u64, now: Instant) -> Option<Self> {
        let half_used = received.saturating_sub(self.received) >= u64::from(size / 2);
        let quiet = now.saturating_duration_since(self.since) >= WINDOW_QUIET;
        match (half_used, quiet) {
            (true, _) => Some(Self { since: now, received }),
            (false, true) => None,
            (false, false) => Some(self),
        }
    }
}

impl GrownWindows {
    /// Watches a window, if it is not watched yet. Returns whether this starts the timer of reviews.
    pub(in crate::proto) fn watch(&mut self, key: Key, received: u64, now: Instant) -> bool {
        self.windows.entry(key).or_insert(Usage { since: now, received });
        let first = self.look_at.is_none();
        if first {
            self.look_at = now.checked_add(WINDOW_LOOK);
        }
        first
    }

    /// When windows are to be reviewed.
    pub(in crate::proto) const fn poll_timeout(&self) -> Option<Instant> {
        self.look_at
    }

    /// Takes all windows out when a review is due.
    pub(in crate::proto) fn take_due(&mut self, now: Instant) -> Option<BTreeMap<Key, Usage>> {
        self.look_at.filter(|at| now >= *at)?;
        Some(std::mem::take(&mut self.windows))
    }

    /// Puts the windows back that stay watched.
    pub(in crate::proto) fn put_back(&mut self, windows: BTreeMap<Key, Usage>, now: Instant) {
        self.look_at = if windows.is_empty() { None } else { now.checked_add(WINDOW_LOOK) };
        self.windows = windows;
    }
}
