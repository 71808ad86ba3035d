//! Pantry: what can go wrong, who did it, and which code goes with it.
//!
//! Owns the error types that users see. One variant a fault; each converts to the [`io::ErrorKind`] that a user of
//! `AsyncRead` and `AsyncWrite` expects. Knows nothing of the floors that raise them.

use crate::memory::Refused;
use std::io;
use std::sync::Arc;

/// Which end of the connection did something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    /// This end.
    Local,
    /// The peer.
    Remote,
}

impl std::fmt::Display for Side {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Local => "this end",
            Self::Remote => "the peer",
        })
    }
}

/// Why a connection is over.
///
/// Cheap to clone: every stream of the connection reports the same reason.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectionError {
    /// It was closed in good order, with go-away code 0 or an end of file while no stream was open.
    #[error("connection closed by {by}")]
    Closed {
        /// Who closed it.
        by: Side,
    },
    /// It was ended with a code other than 0.
    #[error("connection ended by {by} with code {code:#x}")]
    GoAway {
        /// Who ended it.
        by: Side,
        /// The code of the go-away frame.
        code: u32,
    },
    /// The peer broke the protocol; it was told so with go-away code 1.
    #[error("the peer broke the protocol: {0}")]
    Violation(#[from] Violation),
    /// Nothing came from the peer, not even the answer to a ping, for longer than `connection_write_timeout`.
    #[error("the peer did not answer a ping and sent nothing else")]
    KeepAliveTimeout,
    /// The transport took no bytes for longer than `connection_write_timeout`.
    #[error("the transport took no bytes in time")]
    WriteTimeout,
    /// The transport ended inside a frame, or while streams were open.
    #[error("the transport ended while streams were open or inside a frame")]
    UnexpectedEof,
    /// The transport failed.
    #[error("transport: {0}")]
    Io(Arc<io::Error>),
    /// The connection was dropped before it was closed.
    #[error("the connection was dropped")]
    Dropped,
}

impl ConnectionError {
    /// The kind under which [`io::Error`] carries this.
    pub fn kind(&self) -> io::ErrorKind {
        match self {
            Self::Closed { .. } | Self::GoAway { .. } | Self::Dropped => io::ErrorKind::ConnectionAborted,
            Self::Violation(_) => io::ErrorKind::InvalidData,
            Self::KeepAliveTimeout | Self::WriteTimeout => io::ErrorKind::TimedOut,
            Self::UnexpectedEof => io::ErrorKind::UnexpectedEof,
            Self::Io(error) => error.kind(),
        }
    }

    /// Whether the connection ended in good order.
    pub const fn is_clean(&self) -> bool {
        matches!(self, Self::Closed { .. })
    }
}

impl From<ConnectionError> for io::Error {
    fn from(error: ConnectionError) -> Self {
        Self::new(error.kind(), error)
    }
}

/// How a peer broke the protocol. Each of these ends the connection with go-away code 1.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Violation {
    /// A header's version is not 0.
    #[error("unknown version {0}")]
    Version(u8),
    /// A header's type is none of the four.
    #[error("unknown frame type {0}")]
    FrameType(u8),
    /// A data or window-update frame names stream 0.
    #[error("a stream frame names stream 0")]
    StreamZero,
    /// The peer opened a stream with an id that is this end's to give: both ends believe they are the same role.
    #[error("the peer opened stream {stream}, an id of this end's: are both ends in the same mode?")]
    Parity {
        /// The id.
        stream: u32,
    },
    /// The peer opened a stream that is open.
    #[error("the peer opened stream {stream} twice")]
    DuplicateStream {
        /// The id.
        stream: u32,
    },
    /// A data frame is longer than the credit that the stream had.
    #[error("a data frame of {len} bytes on stream {stream} passes the {credit} bytes of credit left")]
    WindowExceeded {
        /// The id.
        stream: u32,
        /// Length that the frame announced, in bytes.
        len: u32,
        /// Credit that was left, in bytes.
        credit: u32,
    },
    /// Credit adds up to more than 2^32 - 1.
    #[error("{delta} bytes of credit on top of {credit} for stream {stream} overflow")]
    CreditOverflow {
        /// The id.
        stream: u32,
        /// Credit there was, in bytes.
        credit: u32,
        /// Credit that the frame added, in bytes.
        delta: u32,
    },
    /// More pings than `ping_backlog` wait for an answer because the peer reads none.
    #[error("too many pings without reading the answers")]
    PingFlood,
    /// More refused streams wait to be reset than an honest peer can cause.
    #[error("too many refused streams without reading the resets")]
    RefusedFlood,
    /// Too many streams were opened and reset before they could be accepted.
    #[error("too many streams opened and reset at once")]
    RapidReset,
    /// Too many frames that change nothing.
    #[error("too many frames that make no progress")]
    UselessFrames,
}

impl Violation {
    /// The go-away code that tells the peer.
    pub const fn code(&self) -> u32 {
        1
    }
}

/// Why an operation on a stream failed.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StreamError {
    /// The stream was reset. What arrived before has been delivered.
    #[error("stream reset by {by} with code {code:#x}")]
    Reset {
        /// Who reset it.
        by: Side,
        /// The 32-bit code; 0 is "no code".
        code: u32,
    },
    /// More arrived than there was memory for, so this end has reset the stream; see
    /// [`Charging::Used`](crate::Charging::Used). What arrived before has been delivered.
    #[error("there was no memory for what arrived on the stream")]
    Overrun,
    /// The write half was closed before.
    #[error("the write half is closed")]
    WriteClosed,
    /// The read half was closed before with `close_read`.
    #[error("the read half is closed")]
    ReadClosed,
    /// The deadline of this half has passed. The stream itself is as it was.
    #[error("the deadline of the stream has passed")]
    DeadlineExceeded,
    /// The connection is over, or is being closed.
    #[error(transparent)]
    Connection(#[from] ConnectionError),
}

impl StreamError {
    /// The kind under which [`io::Error`] carries this.
    pub fn kind(&self) -> io::ErrorKind {
        match self {
            Self::Reset { .. } | Self::Overrun => io::ErrorKind::ConnectionReset,
            Self::WriteClosed => io::ErrorKind::BrokenPipe,
            Self::ReadClosed => io::ErrorKind::NotConnected,
            Self::DeadlineExceeded => io::ErrorKind::TimedOut,
            Self::Connection(error) => error.kind(),
        }
    }
}

impl From<StreamError> for io::Error {
    fn from(error: StreamError) -> Self {
        Self::new(error.kind(), error)
    }
}

/// Why a stream could not be opened. Only [`OpenError::Connection`] is the end of the connection.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The connection is over.
    #[error(transparent)]
    Connection(#[from] ConnectionError),
    /// The peer sent go-away code 0: it takes no new streams, the open ones live on.
    #[error("the peer takes no new streams")]
    RemoteGoAway,
    /// This end is closing the connection.
    #[error("the connection is being closed")]
    Closing,
    /// All 2^31 ids of this end have been used.
    #[error("stream ids are exhausted")]
    StreamsExhausted,
    /// The memory manager refused the stream's window.
    #[error(transparent)]
    Refused(#[from] Refused),
}

impl OpenError {
    /// The kind under which [`io::Error`] carries this.
    pub fn kind(&self) -> io::ErrorKind {
        match self {
            Self::Connection(error) => error.kind(),
            Self::RemoteGoAway | Self::Closing => io::ErrorKind::NotConnected,
            Self::StreamsExhausted => io::ErrorKind::AddrNotAvailable,
            Self::Refused(_) => io::ErrorKind::OutOfMemory,
        }
    }
}

impl From<OpenError> for io::Error {
    fn from(error: OpenError) -> Self {
        Self::new(error.kind(), error)
    }
}

/// Why a ping brought no round-trip time.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PingError {
    /// No answer within `connection_write_timeout`; the connection lives.
    #[error("the ping was not answered in time")]
    TimedOut,
    /// The connection is over.
    #[error(transparent)]
    Connection(#[from] ConnectionError),
}

impl PingError {
    /// The kind under which [`io::Error`] carries this.
    pub fn kind(&self) -> io::ErrorKind {
        match self {
            Self::TimedOut => io::ErrorKind::TimedOut,
            Self::Connection(error) => error.kind(),
        }
    }
}

impl From<PingError> for io::Error {
    fn from(error: PingError) -> Self {
        Self::new(error.kind(), error)
    }
}
