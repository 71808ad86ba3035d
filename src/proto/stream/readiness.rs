//! Owns [`Readiness`]: the set of conditions that a task may wait for on a stream. Uses nothing.

use std::ops::{BitAnd, BitOr, Not};

/// A set of the three conditions that a task may wait for on a stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Readiness(u8);

impl Readiness {
    pub(crate) const NONE: Self = Self(0);
    /// Bytes, an end of file or an error can be read.
    pub(crate) const READ: Self = Self(1);
    /// Bytes can be written, or writing fails.
    pub(crate) const WRITE: Self = Self(2);
    /// Written data has been flushed, or flushing fails.
    pub(crate) const FLUSH: Self = Self(4);
    /// All of them.
    pub(crate) const ALL: Self = Self(7);

    pub(crate) const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether it is exactly one condition.
    pub(crate) const fn is_single(self) -> bool {
        self.0.is_power_of_two()
    }

    pub(crate) const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

impl BitOr for Readiness {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl BitAnd for Readiness {
    type Output = Self;

    fn bitand(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }
}

impl Not for Readiness {
    type Output = Self;

    fn not(self) -> Self {
        Self(!self.0 & Self::ALL.0)
    }
}
