//! Locks, atomics and the timer: those of the standard library and of `futures-timer`, and nothing of its own.
//!
//! Where every order is tried in which tasks may come to them (`schedules/`), the tool that does so puts its own in their
//! place: it decides who goes on, and time stands still. What is not taken from here escapes it.

#[cfg(sluicegate_schedules = "loom")]
use loom as origin;
#[cfg(sluicegate_schedules = "shuttle")]
use shuttle as origin;
#[cfg(not(any(sluicegate_schedules = "loom", sluicegate_schedules = "shuttle")))]
use std as origin;

#[cfg(not(any(sluicegate_schedules = "loom", sluicegate_schedules = "shuttle")))]
pub(crate) use futures_timer::Delay;
pub(crate) use origin::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, fence};
pub(crate) use origin::sync::{Mutex, MutexGuard, RwLock};
pub(crate) use std::sync::atomic::Ordering;
pub(crate) use std::sync::{PoisonError, TryLockError};

#[cfg(any(sluicegate_schedules = "loom", sluicegate_schedules = "shuttle"))]
pub(crate) use self::never::Delay;

/// An alarm that does not ring: nobody may need it to be woken.
#[cfg(any(sluicegate_schedules = "loom", sluicegate_schedules = "shuttle"))]
mod never {
    use std::future::Future;
    use std::pin::Pin;
    use std::task::{Context, Poll};
    use std::time::Duration;

    pub(crate) struct Delay;

    impl Delay {
        pub(crate) fn new(_: Duration) -> Self {
            Self
        }

        pub(crate) fn reset(&mut self, _: Duration) {}
    }

    impl Future for Delay {
        type Output = ();

        fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
            Poll::Pending
        }
    }
}
