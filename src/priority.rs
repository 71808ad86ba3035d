//! Priority: how urgent a stream is.
//!
//! Owns the scale and its two readings: the share of a memory limit that a reservation may fill, and the bucket in
//! which the scheduler keeps a stream. Uses nothing else of the crate. Never decides who is granted memory or who is
//! sent next: `memory` and the scheduler ask it.

/// How urgent a stream is, from 0 (least) to 255 (most).
///
/// One number serves two purposes, so that what is urgent is both granted memory and sent first:
///
/// * **Memory.** A [`MemoryLimit`](crate::MemoryLimit) grants a reservation only while the sum of all reservations
///   stays within `limit * (1 + priority) / 256`, which is go-libp2p's rule. The rest of the limit is kept for what is
///   more urgent.
/// * **Sending.** The scheduler keeps four buckets and sends higher buckets first, without ever starving a lower one: one
///   that waits gets a frame after 256 KiB of higher ones, and a sixteenth of the send buffers is each bucket's own.
///   Streams whose priorities fall in the same bucket take turns.
///
/// | level | value | share of the memory limit | bucket |
/// | --- | --- | --- | --- |
/// | [`LOW`](Priority::LOW) | 101 | 39.84 % | 0..=101 |
/// | [`MEDIUM`](Priority::MEDIUM), the default | 152 | 59.77 % | 102..=152 |
/// | [`HIGH`](Priority::HIGH) | 203 | 79.69 % | 153..=203 |
/// | [`ALWAYS`](Priority::ALWAYS) | 255 | 100 % | 204..=255 |
///
/// Any value in between is valid too: it has its own share of the memory limit, and the bucket of the next level above
/// it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Priority(u8);

impl Priority {
    /// 101: background work, the first to be held back when memory is scarce.
    pub const LOW: Self = Self(101);
    /// 152: ordinary work, and the default.
    pub const MEDIUM: Self = Self(152);
    /// 203: what a user or another protocol is waiting for.
    pub const HIGH: Self = Self(203);
    /// 255: what must not be refused while there is any memory left. It may use exactly the whole limit.
    pub const ALWAYS: Self = Self(255);

    /// The number of buckets in which the scheduler keeps streams: one for each named level.
    pub(crate) const BUCKETS: usize = 4;

    /// A priority of this value. Every `u8` is valid.
    pub const fn new(value: u8) -> Self {
        Self(value)
    }

    /// The value, 0..=255.
    pub const fn value(self) -> u8 {
        self.0
    }

    /// The most bytes that may be reserved in all, out of `limit`, once a reservation of this priority has been
    /// granted.
    ///
    /// `usize::MAX` stands for no limit, so it is the same at every priority.
    pub(crate) fn threshold(self, limit: usize) -> usize {
        if limit == usize::MAX {
            return usize::MAX;
        }
        // The quotient is never more than `limit`, so it fits again.
        ((limit as u128).saturating_mul(u128::from(self.0).saturating_add(1)) / 256) as usize
    }

    /// The named level of a bucket; [`Priority::ALWAYS`] for one that there is not.
    pub(crate) const fn level_of(bucket: usize) -> Self {
        match bucket {
            0 => Self::LOW,
            1 => Self::MEDIUM,
            2 => Self::HIGH,
            _ => Self::ALWAYS,
        }
    }

    /// The scheduler's bucket: 0 (least urgent) to `BUCKETS - 1`.
    pub(crate) fn bucket(self) -> usize {
        match self.0 {
            0..=101 => 0,
            102..=152 => 1,
            153..=203 => 2,
            204..=255 => 3,
        }
    }
}

impl Default for Priority {
    /// [`Priority::MEDIUM`].
    fn default() -> Self {
        Self::MEDIUM
    }
}

impl From<u8> for Priority {
    fn from(value: u8) -> Self {
        Self(value)
    }
}

#[cfg(test)]
mod tests {
    use quickcheck::quickcheck;

    use super::*;

    #[test]
    fn named_levels_have_go_libp2ps_values_and_order() {
        let levels = [Priority::LOW, Priority::MEDIUM, Priority::HIGH, Priority::ALWAYS];
        assert_eq!(levels.map(Priority::value), [101, 152, 203, 255]);
        assert!(levels.is_sorted());
        assert_eq!(Priority::default(), Priority::MEDIUM);
        assert_eq!(Priority::from(152), Priority::new(152));
    }

    #[test]
    fn threshold_rounds_down() {
        let rows = [
            // (priority, limit, threshold)
            (0, 0, 0),
            (0, 255, 0),
            (0, 256, 1),
            (0, 511, 1),
            (101, 4096, 1632),
            (128, 64 << 20, 33_816_576),
            (152, 4096, 2448),
            (203, 4096, 3264),
            (254, 256, 255),
            (255, 1, 1),
            (255, 4096, 4096),
            (255, usize::MAX - 1, usize::MAX - 1),
            (127, usize::MAX - 1, usize::MAX / 2),
            (0, usize::MAX, usize::MAX),
            (101, usize::MAX, usize::MAX),
            (255, usize::MAX, usize::MAX),
        ];
        for (priority, limit, expected) in rows {
            assert_eq!(Priority::new(priority).threshold(limit), expected, "priority {priority} of {limit}");
        }
    }

    quickcheck! {
        fn threshold_grows_with_the_priority_up_to_the_limit(priority: u8, limit: usize) -> bool {
            let threshold = Priority::new(priority).threshold(limit);
            let next = Priority::new(priority.saturating_add(1)).threshold(limit);
            threshold <= next && next <= limit && Priority::ALWAYS.threshold(limit) == limit
        }
    }

    #[test]
    fn buckets_change_just_above_each_named_level() {
        let rows = [(0, 0), (101, 0), (102, 1), (152, 1), (153, 2), (203, 2), (204, 3), (255, 3)];
        for (priority, expected) in rows {
            assert_eq!(Priority::new(priority).bucket(), expected, "priority {priority}");
        }
        assert_eq!(Priority::ALWAYS.bucket(), Priority::BUCKETS - 1);
        assert!((0..Priority::BUCKETS).all(|bucket| Priority::level_of(bucket).bucket() == bucket));
    }
}
