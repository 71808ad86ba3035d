//! Cellar: bytes to frames and back.
//!
//! Owns the layout of a yamux frame. Total functions over bytes: nothing here panics, allocates by a length that a peer
//! announced, or knows what a stream is. Uses the pantry's [`Violation`](crate::Violation) only.
//!
//! The room is public because whoever tests, taps or replays a connection needs to speak in frames; the muxer itself
//! does not need you to.

mod codec;
mod flags;
mod header;
mod id;
mod parser;

pub use codec::Codec;
pub use flags::Flags;
pub use header::{HEADER_LEN, Header, PingKind};
pub use id::StreamId;
pub use parser::{Frame, Parser};
