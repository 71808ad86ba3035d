//! Owns [`Flags`]: the four bits that open, acknowledge, finish and reset a stream.

use std::ops::BitOr;

/// The flags of a frame. Bits that yamux does not define are dropped when a header is read and never set (Y-HDR-4).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flags(u16);

impl Flags {
    /// No flag.
    pub const NONE: Self = Self(0);
    /// Opens a stream, or asks for a pong.
    pub const SYN: Self = Self(1);
    /// Acknowledges a stream, or is a pong.
    pub const ACK: Self = Self(2);
    /// Ends the sender's half of a stream.
    pub const FIN: Self = Self(4);
    /// Ends both halves of a stream at once.
    pub const RST: Self = Self(8);

    /// The four bits above: the others are dropped (Y-HDR-4).
    const DEFINED: u16 = 0xF;

    /// The defined flags among `bits`.
    pub const fn from_bits(bits: u16) -> Self {
        Self(bits & Self::DEFINED)
    }

    /// The bits as they stand on the wire.
    pub const fn bits(self) -> u16 {
        self.0
    }

    /// Whether every flag of `other` is set.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether no flag is set.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }
}

impl BitOr for Flags {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}
