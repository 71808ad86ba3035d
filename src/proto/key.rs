//! Owns [`Key`]: how a stream is named inside the core.
//!
//! A key is generational: one that outlives its stream finds nothing, never another stream. Uses nothing.

use std::hash::{Hash, Hasher};
use std::num::NonZeroU32;

/// Names a stream for as long as it is in the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    pub(in crate::proto) slot: u32,
    pub(in crate::proto) serial: Serial,
}

/// Tells streams apart that had the same slot: the streams of a connection are numbered as they come. The numbers begin
/// anew after four thousand million; whoever still has a key of that age has not used it since.
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
