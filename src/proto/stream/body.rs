//! Owns [`Body`]: the stream that the bytes behind a data header belong to.
//!
//! Never looks at a stream: it only holds keys and ids.

use crate::proto::key::Key;
use crate::wire::StreamId;

/// The body that is arriving.
#[derive(Clone, Copy, Debug)]
pub(in crate::proto) struct Body {
    pub(in crate::proto) target: Target,
    pub(in crate::proto) left: u32,
    pub(in crate::proto) fin: bool,
}

#[derive(Clone, Copy, Debug)]
pub(in crate::proto) enum Target {
    Stream(Key),
    /// A stream that has ended here.
    HalfOpen(StreamId),
    Discard,
    /// The stream waits for the decision of the memory manager.
    Undecided(Opening),
}

/// A SYN that was found to be legal.
#[derive(Clone, Copy, Debug)]
pub(in crate::proto) struct Opening {
    pub(in crate::proto) id: StreamId,
    pub(in crate::proto) credit: u32,
    pub(in crate::proto) by: Opener,
}

/// The type of the frame with the SYN.
#[derive(Clone, Copy, Debug)]
pub(in crate::proto) enum Opener {
    Data,
    WindowUpdate,
}
