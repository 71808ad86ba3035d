//! Owns [`Ready`]: which halves of a stream something has happened for.

use std::ops::{BitAnd, BitOr, Not};

/// A set of the three things a task may wait for on a stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ready(u8);

impl Ready {
    pub(crate) const NONE: Self = Self(0);
    /// Bytes, an end of file or an error can be read.
    pub(crate) const READ: Self = Self(1);
    /// Bytes can be written, or writing fails.
    pub(crate) const WRITE: Self = Self(2);
    /// What was written has been flushed, or flushing fails.
    pub(crate) const FLUSH: Self = Self(4);
    /// All of them.
    pub(crate) const ALL: Self = Self(7);

    pub(crate) const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether it is one thing only.
    pub(crate) const fn is_single(self) -> bool {
        self.0.is_power_of_two()
    }

    pub(crate) const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

impl BitOr for Ready {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl BitAnd for Ready {
    type Output = Self;

    fn bitand(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }
}

impl Not for Ready {
    type Output = Self;

    fn not(self) -> Self {
        Self(!self.0 & Self::ALL.0)
    }
}
