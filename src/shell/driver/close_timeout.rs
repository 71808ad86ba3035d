//! Owns [`CloseTimeout`]: how long a graceful close may take. It uses times that it is given, and no clock and no lock.

use std::time::Duration;
use web_time::Instant;

/// When a graceful close fails, by what the transport does meanwhile.
#[derive(Debug, Default)]
pub(super) struct CloseTimeout {
    started: Option<Instant>,
    /// When the transport last took bytes, and when bytes of the peer were last read.
    wrote: Option<Instant>,
    read: Option<Instant>,
}

impl CloseTimeout {
    /// The transport has taken bytes.
    pub(super) const fn wrote(&mut self, now: Instant) {
        self.wrote = Some(now);
    }

    /// Bytes of the peer were read.
    pub(super) const fn read(&mut self, now: Instant) {
        self.read = Some(now);
    }

    /// When the close fails. It starts with the first call. It fails after `stalled` without a byte in either direction, and
    /// after `total` in any case (Y-CLOSE-11).
    pub(super) fn deadline(&mut self, stalled: Duration, total: Duration, now: Instant) -> Option<Instant> {
        let started = *self.started.get_or_insert(now);
        let progress = self.wrote.max(self.read).map_or(started, |at| at.max(started));
        progress.checked_add(stalled).into_iter().chain(started.checked_add(total)).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn y_close_11_only_a_close_that_stands_still_times_out() {
        let start = Instant::now();
        let mut close = CloseTimeout::default();
        close.wrote(start);
        let begin = start + 100 * SECOND;
        // The time without progress counts from the start of the close, not from the last byte before it.
        assert_eq!(close.deadline(10 * SECOND, 120 * SECOND, begin), Some(begin + 10 * SECOND));
        close.wrote(begin + 9 * SECOND);
        assert_eq!(close.deadline(10 * SECOND, 120 * SECOND, begin + 9 * SECOND), Some(begin + 19 * SECOND));
        close.read(begin + 18 * SECOND);
        assert_eq!(close.deadline(10 * SECOND, 120 * SECOND, begin + 18 * SECOND), Some(begin + 28 * SECOND));
        close.wrote(begin + 115 * SECOND);
        assert_eq!(close.deadline(10 * SECOND, 120 * SECOND, begin + 115 * SECOND), Some(begin + 120 * SECOND));
    }
}
