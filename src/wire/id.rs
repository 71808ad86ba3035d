//! Owns [`StreamId`]: the number of a stream on the wire, never zero.

use std::fmt;
use std::num::NonZeroU32;

/// The number of a stream: odd where the client opened it, even where the server did. Zero is the session itself and
/// is no stream, so it cannot be written here (Y-HDR-7).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StreamId(NonZeroU32);

impl StreamId {
    /// The id `value`, or `None` for zero.
    pub const fn new(value: u32) -> Option<Self> {
        match NonZeroU32::new(value) {
            Some(value) => Some(Self(value)),
            None => None,
        }
    }

    /// The number as it stands on the wire.
    pub const fn value(self) -> u32 {
        self.0.get()
    }

    /// Whether a client opened this stream.
    pub const fn is_client(self) -> bool {
        self.0.get() % 2 == 1
    }
}

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
