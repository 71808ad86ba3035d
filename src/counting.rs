//! Pantry: sums that cannot overflow.
//!
//! Owns the arithmetic of counts whose design keeps them within their range: a count that is lost is a bug of ours, which tests,
//! fuzzers and debug builds stop at. Never used for numbers that a peer or a user chooses.

/// The sum of a count and what is added to it.
pub(crate) const fn count_up(count: usize, more: usize) -> usize {
    debug_assert!(count.checked_add(more).is_some(), "a count passes the end of its range");
    count.saturating_add(more)
}

/// What is left of a count when some of what it counts is gone.
pub(crate) const fn count_down(count: usize, less: usize) -> usize {
    debug_assert!(less <= count, "more is gone than was counted");
    count.saturating_sub(less)
}
