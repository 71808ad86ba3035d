//! Why a transfer failed: expected failures, and real ones.

use crate::node::REFUSED;
use crate::world::PATIENCE;
use anyhow::anyhow;
use sluicegate::{OpenError, Side, StreamError};
use std::io;
use std::time::Instant;
use tokio::time::timeout;

/// The code of the reset where an end cannot go on. Dropping the stream would look like its regular end.
pub(crate) const GIVEN_UP: u32 = 0x1003;

/// The code with which a closing connection resets a stream that arrives too late.
const TOO_LATE: u32 = 0;

/// From the expected to the fatal.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// One of the nodes had no memory for the stream.
    Refused,
    /// The connection is over; it may have been killed.
    Lost(anyhow::Error),
    /// The other end has reset the stream for another reason.
    Reset(u32),
    /// A failure of the crate.
    Wrong(anyhow::Error),
}

impl Trouble {
    pub(crate) fn wrong(what: impl std::fmt::Display) -> Self {
        Self::Wrong(anyhow!("{what}"))
    }

    /// Whether this is to be expected where the connection has been killed.
    pub(crate) const fn comes_of_a_kill(&self) -> bool {
        matches!(self, Self::Lost(_) | Self::Reset(GIVEN_UP | TOO_LATE))
    }

    pub(crate) fn into_error(self) -> anyhow::Error {
        match self {
            Self::Refused => anyhow!("refused for lack of memory"),
            Self::Reset(code) => anyhow!("reset by the other end with code {code:#x}"),
            Self::Lost(error) | Self::Wrong(error) => error,
        }
    }
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Self {
        match error.get_ref().and_then(|inner| inner.downcast_ref()) {
            Some(StreamError::Reset { by: Side::Remote, code: REFUSED }) => Self::Refused,
            Some(StreamError::Reset { by: Side::Remote, code }) => Self::Reset(*code),
            Some(StreamError::Connection(_)) => Self::Lost(error.into()),
            _ => Self::Wrong(error.into()),
        }
    }
}

impl From<OpenError> for Trouble {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::Refused(_) => Self::Refused,
            OpenError::Connection(_) | OpenError::Closing | OpenError::RemoteGoAway => Self::Lost(error.into()),
            other => Self::Wrong(other.into()),
        }
    }
}

/// Waits for a future with the timeout of the run.
pub(crate) async fn within<R, E: Into<Trouble>>(
    what: &str,
    done: impl Future<Output = Result<R, E>>,
) -> Result<R, Trouble> {
    let since = Instant::now();
    match timeout(PATIENCE, done).await {
        // A timeout polls once more before it fails: a result that is ready only then is a lost wake-up.
        Ok(result) if since.elapsed() < PATIENCE => result.map_err(Into::into),
        Ok(_) | Err(_) => Err(Trouble::wrong(format!("stuck for {PATIENCE:?}: {what}"))),
    }
}
