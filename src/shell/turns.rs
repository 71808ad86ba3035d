//! Owns [`Turns`]: callers that want the same thing, one after the other, so that each kind of waiter needs one waker.

use async_lock::{Mutex, MutexGuard};

/// Whose turn it is, and what one leaves to the next. Giving up while waiting, or during a turn, passes it on.
#[derive(Debug, Default)]
pub(crate) struct Turns<T>(Mutex<T>);

impl<T> Turns<T> {
    pub(crate) async fn next(&self) -> MutexGuard<'_, T> {
        self.0.lock().await
    }
}
