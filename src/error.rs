//! The errors that users see: what went wrong, by which end, and with which code.
//!
//! Owns one variant for each fault; each converts to the [`io::ErrorKind`] that a user of `AsyncRead` and `AsyncWrite` expects. Knows
//! nothing of the modules that return them.

use crate::memory::Refused;
use std::error::Error;
use std::sync::Arc;
use std::{fmt, io};

/// Which end of the connection did something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    /// This end.
    Local,
    /// The peer.
    Remote,
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Local => "this end",
            Self::Remote => "the peer",
        })
    }
}

/// Why a connection is over.
///
/// Cheap to clone: every stream of the connection reports the same reason.
///
/// # Sources
///
/// [`source`](Error::source) leads to what is behind it: of [`Io`](Self::Io) the transport's own [`io::Error`], or, where that
/// comes from a stream of this crate (a connection inside a stream of another one), the [`StreamError`] with the code of its
/// reset. Whoever follows the sources of an `io::Error` of a stream finds this error, and that, in a plain loop; but where a
/// transport of another kind puts an error of its own into an `io::Error`, [`io::Error::get_ref`] is the way to it, since the
/// source of an `io::Error` is not what it carries but the source of that.
///
/// ```
/// use sluicegate::{Side, StreamError};
/// use std::error::Error;
///
/// /// The code with which a stream was reset, this one or one that it runs over.
/// fn reset_code(error: &std::io::Error) -> Option<u32> {
///     let mut next: Option<&(dyn Error + 'static)> = Some(error);
///     while let Some(error) = next {
///         if let Some(StreamError::Reset { by: Side::Remote, code }) = error.downcast_ref() {
///             return Some(*code);
///         }
///         // What an `io::Error` carries is not among its sources.
///         next = match error.downcast_ref::<std::io::Error>().and_then(|error| error.get_ref()) {
///             Some(carried) => Some(carried),
///             None => error.source(),
///         };
///     }
///     None
/// }
/// # assert_eq!(reset_code(&StreamError::Reset { by: Side::Remote, code: 7 }.into()), Some(7));
/// # let outer = std::io::Error::from(StreamError::Reset { by: Side::Remote, code: 8 });
/// # let lost = StreamError::Connection(sluicegate::ConnectionError::from(outer));
/// # assert_eq!(reset_code(&lost.into()), Some(8));
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum ConnectionError {
    /// It was closed in good order, with go-away code 0 or an end of file while no stream was open.
    Closed {
        /// Who closed it.
        by: Side,
    },
    /// It was ended with a code other than 0.
    GoAway {
        /// Who ended it.
        by: Side,
        /// The code of the go-away frame.
        code: u32,
    },
    /// The peer broke the protocol; it was told so with go-away code 1.
    Violation(Violation),
    /// The peer gave no sign of life for [`keep_alive_interval`](crate::Config::keep_alive_interval) and
    /// [`connection_write_timeout`](crate::Config::connection_write_timeout) together, and did not answer a ping for at least
    /// the latter. Received bytes are signs of life, and so is a transport that takes bytes again after it was full (Y-PING-6,
    /// Y-PING-8).
    KeepAliveTimeout,
    /// The transport took no byte for [`connection_write_timeout`](crate::Config::connection_write_timeout) while some were
    /// waiting to be taken or flushed, and there was no other sign of life in that time (Y-CLOSE-5). Or a close neither wrote nor
    /// read a byte for that long, or took [`close_timeout`](crate::Config::close_timeout) (Y-CLOSE-11).
    WriteTimeout,
    /// The transport ended inside a frame, or while streams were open.
    UnexpectedEof,
    /// The transport failed.
    Io(Arc<io::Error>),
    /// The connection was dropped before it was closed.
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

impl fmt::Display for ConnectionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed { by } => write!(f, "connection closed by {by}"),
            Self::GoAway { by, code } => write!(f, "connection ended by {by} with code {code:#x}"),
            Self::Violation(violation) => write!(f, "the peer broke the protocol: {violation}"),
            Self::KeepAliveTimeout => f.write_str("the peer did not answer a ping and sent nothing else"),
            Self::WriteTimeout => f.write_str("the transport took no bytes in time"),
            Self::UnexpectedEof => f.write_str("the transport ended while streams were open or inside a frame"),
            Self::Io(error) => write!(f, "transport: {error}"),
            Self::Dropped => f.write_str("the connection was dropped"),
        }
    }
}

// By hand, since the source of what an `Arc` holds is not the `Arc`: nobody who looks for an `io::Error` would find one.
impl Error for ConnectionError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Violation(violation) => Some(violation),
            Self::Io(error) => Some(carried_by(error).unwrap_or(&**error)),
            Self::Closed { .. }
            | Self::GoAway { .. }
            | Self::KeepAliveTimeout
            | Self::WriteTimeout
            | Self::UnexpectedEof
            | Self::Dropped => None,
        }
    }
}

/// The error of this crate that an `io::Error` carries. Its own source would be what comes after that.
fn carried_by(error: &io::Error) -> Option<&(dyn Error + 'static)> {
    let carried: &(dyn Error + 'static) = error.get_ref()?;
    (carried.is::<StreamError>() || carried.is::<ConnectionError>() || carried.is::<OpenError>()).then_some(carried)
}

impl From<Violation> for ConnectionError {
    fn from(violation: Violation) -> Self {
        Self::Violation(violation)
    }
}

/// For `?`: an `io::Error` of a stream whose connection is over becomes the reason of that, any other one [`ConnectionError::Io`].
impl From<io::Error> for ConnectionError {
    fn from(error: io::Error) -> Self {
        let carried = error.get_ref();
        if let Some(reason) = carried.and_then(|carried| carried.downcast_ref::<Self>()) {
            return reason.clone();
        }
        if let Some(StreamError::Connection(reason)) = carried.and_then(|carried| carried.downcast_ref()) {
            return reason.clone();
        }
        Self::Io(Arc::new(error))
    }
}

/// For `?`, where no stream means that there is no more to do: [`Closed`](ConnectionError::Closed) where one of the ends takes no
/// new streams, though the connection may live on, and [`Io`](ConnectionError::Io) with the [`OpenError`] inside for what is
/// refused or used up here.
impl From<OpenError> for ConnectionError {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::Connection(reason) => reason,
            OpenError::RemoteGoAway => Self::Closed { by: Side::Remote },
            OpenError::Closing => Self::Closed { by: Side::Local },
            OpenError::StreamsExhausted | OpenError::Refused(_) => Self::Io(Arc::new(error.into())),
        }
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
    /// More pings than `ping_backlog` wait for an answer because the peer takes none.
    #[error("too many pings without reading the answers")]
    PingFlood,
    /// Thousands of refused streams wait to be reset because the peer takes no resets.
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
    /// There was no memory for what arrived, so this end has reset the stream; see
    /// [`ReceiveCharge::Buffered`](crate::ReceiveCharge::Buffered). What arrived before has been delivered.
    #[error("there was no memory for what arrived on the stream")]
    OutOfMemory,
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
    #[error("{0}")]
    Connection(#[from] ConnectionError),
}

impl StreamError {
    /// The kind under which [`io::Error`] carries this.
    pub fn kind(&self) -> io::ErrorKind {
        match self {
            Self::Reset { .. } | Self::OutOfMemory => io::ErrorKind::ConnectionReset,
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
    #[error("{0}")]
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
    #[error("{0}")]
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
    #[error("{0}")]
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
