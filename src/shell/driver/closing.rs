//! Owns [`Closing`]: until when a close in good order may go on. No clock, no lock.

use std::time::Duration;
use web_time::Instant;

/// How far a close in good order has come, by what the transport does meanwhile.
#[derive(Debug, Default)]
pub(super) struct Closing {
    since: Option<Instant>,
    /// When the transport has taken bytes last, and when it has given some.
    taken: Option<Instant>,
    heard: Option<Instant>,
}

impl Closing {
    /// The transport has taken bytes.
    pub(super) const fn taken(&mut self, now: Instant) {
        self.taken = Some(now);
    }

    /// Bytes came from the peer.
    pub(super) const fn heard(&mut self, now: Instant) {
        self.heard = Some(now);
    }

    /// This end closes: when that ends. It begins with the first call. It has failed when it has stood still for so long, or
    /// has taken the `most` time that it may (Y-CLOSE-11).
    pub(super) fn deadline(&mut self, still: Duration, most: Duration, now: Instant) -> Option<Instant> {
        let since = *self.since.get_or_insert(now);
        let moved = self.taken.max(self.heard).map_or(since, |moved| moved.max(since));
        moved.checked_add(still).into_iter().chain(since.checked_add(most)).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn y_close_11_a_close_that_moves_may_take_long_and_one_that_stands_still_may_not() {
        let start = Instant::now();
        let mut closing = Closing::default();
        closing.taken(start);
        let begin = start + 100 * SECOND;
        // It stands still from when it began, however long nothing had happened before.
        assert_eq!(closing.deadline(10 * SECOND, 120 * SECOND, begin), Some(begin + 10 * SECOND));
        closing.taken(begin + 9 * SECOND);
        assert_eq!(closing.deadline(10 * SECOND, 120 * SECOND, begin + 9 * SECOND), Some(begin + 19 * SECOND));
        closing.heard(begin + 18 * SECOND);
        assert_eq!(closing.deadline(10 * SECOND, 120 * SECOND, begin + 18 * SECOND), Some(begin + 28 * SECOND));
        closing.taken(begin + 115 * SECOND);
        assert_eq!(closing.deadline(10 * SECOND, 120 * SECOND, begin + 115 * SECOND), Some(begin + 120 * SECOND));
    }
}
