//! Owns [`Key`]: the name of a stream inside the core.
//!
//! A key is generational: one that outlives its stream finds no stream, and never another one. Uses nothing.

use std::hash::{Hash, Hasher};
use std::num::NonZeroU32;

/// Names a stream for as long as it is in the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    pub(in crate::proto) slot: u32,
    pub(in crate::proto) serial: Serial,
}

/// Tells streams of the same slot apart: the streams of a connection are numbered in order. The numbers wrap after 2^32
/// - 1 streams; a key of that age is not in use any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::proto) struct Serial(NonZeroU32);

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        // No two streams have the same slot at one time.
        state.write_u32(self.slot);
    }
}

impl Serial {
    pub(in crate::proto) const FIRST: Self = Self(NonZeroU32::MIN);

    pub(in crate::proto) const fn next(self) -> Self {
        match self.0.checked_add(1) {
            Some(next) => Self(next),
            None => Self::FIRST,
        }
    }
}
