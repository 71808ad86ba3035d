//! The clock of connections.
//!
//! Owns [`Clock`], which a test may use in place of the real clock, and [`Time`], by which the shell reads the time and sleeps.
//! Nothing else in the crate does: the core gets the time as an argument.

use crate::sync::Delay;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use web_time::Instant;

/// A clock that connections go by in the place of the real one, for tests in virtual time; see
/// [`ConfigBuilder::clock`](crate::ConfigBuilder::clock).
///
/// With tokio's, which [pauses](https://docs.rs/tokio/latest/tokio/time/fn.pause.html):
///
/// ```
/// use futures::FutureExt;
/// use sluicegate::{Clock, Config};
/// use std::pin::Pin;
/// use std::sync::Arc;
/// use std::time::{Duration, Instant};
///
/// #[derive(Debug)]
/// struct Paused;
///
/// impl Clock for Paused {
///     fn now(&self) -> Instant {
///         tokio::time::Instant::now().into_std()
///     }
///
///     fn sleep(&self, duration: Duration) -> Pin<Box<dyn Future<Output = ()> + Send + Sync>> {
///         Box::pin(tokio::time::sleep(duration))
///     }
/// }
///
/// let config = Config::builder().clock(Arc::new(Paused)).build()?;
/// # drop(config);
/// # Ok::<_, sluicegate::ConfigError>(())
/// ```
pub trait Clock: fmt::Debug + Send + Sync {
    /// The time. It never goes back.
    fn now(&self) -> Instant;

    /// Ready when `duration` has passed on this clock, from the call on. Dropped when it is not needed any more.
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Future<Output = ()> + Send + Sync>>;
}

/// The clock of a connection.
#[derive(Clone, Debug, Default)]
pub(crate) enum Time {
    /// The machine's.
    #[default]
    Real,
    Virtual(Arc<dyn Clock>),
}

/// An alarm that rings once.
pub(crate) enum Sleep {
    Real(Delay),
    Virtual(Pin<Box<dyn Future<Output = ()> + Send + Sync>>),
}

impl Time {
    pub(crate) fn now(&self) -> Instant {
        match self {
            Self::Real => Instant::now(),
            Self::Virtual(clock) => clock.now(),
        }
    }

    pub(crate) fn sleep(&self, duration: Duration) -> Sleep {
        match self {
            Self::Real => Sleep::Real(Delay::new(duration)),
            Self::Virtual(clock) => Sleep::Virtual(clock.sleep(duration)),
        }
    }

    /// Sets an alarm anew, whether it has rung or not.
    pub(crate) fn reset(&self, sleep: &mut Sleep, duration: Duration) {
        match sleep {
            Sleep::Real(delay) => delay.reset(duration),
            Sleep::Virtual(_) => *sleep = self.sleep(duration),
        }
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        match self.get_mut() {
            Self::Real(delay) => Pin::new(delay).poll(cx),
            Self::Virtual(sleep) => sleep.as_mut().poll(cx),
        }
    }
}

impl fmt::Debug for Sleep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sleep")
    }
}
