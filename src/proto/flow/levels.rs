//! Owns [`Levels`]: how much memory receive windows reserve at each priority level.
//!
//! Decisions read it: batch size, window size and pacing depend on whether streams of another level are open. An open
//! stream always reserves something, so a level without reserved bytes has no open stream. The figures report the same
//! sums. Never decides what follows from them.

use crate::counting::{count_down, count_up};
use crate::priority::Priority;

/// Reserved bytes of receive windows, by priority bucket. 31 bits of streams with 32 bits of window each fit into 64, even
/// with a memory manager that grants everything. The send pool has the reservation of the send buffers.
#[derive(Debug, Default)]
pub(in crate::proto) struct Levels([u64; Priority::BUCKETS]);

impl Levels {
    /// A window of `bytes`, or a part of one, was reserved.
    pub(in crate::proto) fn reserve(&mut self, priority: Priority, bytes: usize) {
        if let Some(level) = self.0.get_mut(priority.bucket()) {
            *level = count_up(*level, bytes as u64);
        }
    }

    /// A window of `bytes`, or a part of one, was given back.
    pub(in crate::proto) fn release(&mut self, priority: Priority, bytes: usize) {
        if let Some(level) = self.0.get_mut(priority.bucket()) {
            *level = count_down(*level, bytes as u64);
        }
    }

    /// Whether all reserved bytes are of one priority level.
    pub(in crate::proto) fn is_level(&self) -> bool {
        self.0.iter().filter(|bytes| **bytes > 0).count() <= 1
    }

    /// Whether no bytes are reserved at a lower level.
    pub(in crate::proto) fn is_lowest(&self, priority: Priority) -> bool {
        self.0.iter().take(priority.bucket()).all(|bytes| *bytes == 0)
    }

    /// Whether any bytes are reserved, from the lowest bucket on.
    pub(in crate::proto) fn are_open(&self) -> [bool; Priority::BUCKETS] {
        self.0.map(|bytes| bytes > 0)
    }

    /// Reserved bytes, from the lowest bucket on.
    pub(in crate::proto) fn bytes(&self) -> [usize; Priority::BUCKETS] {
        self.0.map(|bytes| usize::try_from(bytes).unwrap_or(usize::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quickcheck::quickcheck;

    const LEVELS: [Priority; Priority::BUCKETS] = [Priority::LOW, Priority::MEDIUM, Priority::HIGH, Priority::ALWAYS];

    #[test]
    fn an_empty_connection_is_level_and_any_priority_lowest() {
        let levels = Levels::default();
        assert!(levels.is_level() && LEVELS.iter().all(|priority| levels.is_lowest(*priority)));
    }

    #[test]
    fn a_second_level_counts_until_its_last_byte_is_released() {
        let mut levels = Levels::default();
        levels.reserve(Priority::HIGH, 100);
        levels.reserve(Priority::HIGH, 1);
        assert!(levels.is_level());
        levels.reserve(Priority::LOW, 2);
        assert!(!levels.is_level() && levels.is_lowest(Priority::LOW) && !levels.is_lowest(Priority::MEDIUM));
        levels.release(Priority::LOW, 1);
        assert!(!levels.is_level() && !levels.is_lowest(Priority::HIGH));
        levels.release(Priority::LOW, 1);
        assert!(levels.is_level() && levels.is_lowest(Priority::HIGH) && !levels.is_lowest(Priority::ALWAYS));
        assert_eq!(levels.bytes(), [0, 0, 101, 0]);
    }

    #[test]
    fn priorities_of_one_bucket_are_one_level() {
        let mut levels = Levels::default();
        for priority in [102, 152] {
            levels.reserve(Priority::new(priority), 1);
        }
        assert!(levels.is_level() && levels.is_lowest(Priority::new(102)) && levels.is_lowest(Priority::new(152)));
    }

    quickcheck! {
        /// Whatever is reserved, the answers are those of the bytes at each level.
        fn the_answers_follow_from_the_reserved_bytes(reserved: Vec<(u8, u16)>) -> bool {
            let (mut levels, mut expected) = (Levels::default(), [0; Priority::BUCKETS]);
            for (priority, bytes) in reserved {
                let priority = Priority::new(priority);
                levels.reserve(priority, bytes.into());
                expected[priority.bucket()] += usize::from(bytes);
            }
            let used: Vec<_> = (0..Priority::BUCKETS).filter(|bucket| expected[*bucket] > 0).collect();
            let lowest = LEVELS.iter().all(|priority| {
                levels.is_lowest(*priority) == used.iter().all(|bucket| *bucket >= priority.bucket())
            });
            lowest && levels.bytes() == expected && levels.is_level() == (used.len() <= 1)
        }
    }
}
