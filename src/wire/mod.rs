//! Yamux frames: for tests, taps and replays. Nothing of this is needed to use connections.
//!
//! Owns the layout of a frame: bytes are parsed to frames, and frames are encoded. All functions are total: nothing here panics,
//! allocates by a length that a peer announced, or knows what a stream is. Uses [`Violation`](crate::Violation) and the event of a
//! tap only.

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

pub use crate::tap::{Direction, TapEvent};
