//! Checked arithmetic of counts that cannot overflow.
//!
//! Owns [`count_up`] and [`count_down`], for counts whose design keeps them within their range. A count that leaves its
//! range is a bug of this crate, and tests, fuzzers and debug builds stop at it. Never used for numbers that a peer or a
//! user chooses, nor for times: these saturate on purpose.

/// The sum of a count and what is added to it.
#[inline]
pub(crate) fn count_up<T: Count>(count: T, more: T) -> T {
    let sum = count.plus(more);
    debug_assert!(sum.is_some(), "a count passes the end of its range");
    sum.unwrap_or(T::MOST)
}

/// What is left of a count when some of what it counts is gone.
#[inline]
pub(crate) fn count_down<T: Count>(count: T, less: T) -> T {
    let left = count.minus(less);
    debug_assert!(left.is_some(), "more is gone than was counted");
    left.unwrap_or_default()
}

/// An unsigned number that counts.
pub(crate) trait Count: Default {
    const MOST: Self;
    fn plus(self, more: Self) -> Option<Self>;
    fn minus(self, less: Self) -> Option<Self>;
}

macro_rules! counts {
    ($($number:ty)*) => {$(
        impl Count for $number {
            const MOST: Self = Self::MAX;

            #[inline]
            fn plus(self, more: Self) -> Option<Self> {
                self.checked_add(more)
            }

            #[inline]
            fn minus(self, less: Self) -> Option<Self> {
                self.checked_sub(less)
            }
        }
    )*};
}

counts! { u32 u64 usize }

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_go_up_and_down_within_their_range() {
        assert_eq!((count_up(u32::MAX - 1, 1), count_down(1_usize, 1)), (u32::MAX, 0));
    }

    #[test]
    #[cfg(debug_assertions)]
    fn a_lost_count_stops_debug_builds() {
        let up = std::panic::catch_unwind(|| count_up(u64::MAX, 1));
        let down = std::panic::catch_unwind(|| count_down(0_u32, 1));
        assert!(up.is_err() && down.is_err());
    }
}
