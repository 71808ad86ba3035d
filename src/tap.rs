//! What a wire tap is called with.
//!
//! Owns [`TapEvent`]: one header, as it was sent or received. The driver calls the tap outside the lock; without a tap it costs
//! nothing.

use web_time::Instant;

/// Which way a frame goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// From the peer.
    Inbound,
    /// To the peer.
    Outbound,
}

/// A header that crosses, as a [tap](crate::ConfigBuilder::tap) is handed it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TapEvent {
    /// The [id](crate::Connection::id) of the connection.
    pub connection: u64,
    /// Which way the frame goes.
    pub direction: Direction,
    /// The twelve bytes as they are on the wire, legal or not; [`wire::Header::decode`](crate::wire::Header::decode)
    /// reads them.
    pub header: [u8; 12],
    /// When it was taken in, or put into the batch that is written next.
    pub at: Instant,
}
