//! Owns [`EndSignal`]: the tasks that wait until a session's driver has ended and dropped the transport. Its lock is held for
//! nothing but the list: wakers are woken and dropped after it.

use super::waiters::{WaiterSlot, Waiters};
use crate::sync::{Mutex, MutexGuard, PoisonError};
use std::fmt;
use std::task::{Context, Waker};

/// A list of our own for the reason given at [`Waiters`].
#[derive(Default)]
pub(crate) struct EndSignal(Mutex<Waiters>);

impl EndSignal {
    /// Stores a task's waker. The task checks after this whether the end has come already.
    pub(crate) fn park(&self, slot: &mut WaiterSlot, cx: &Context<'_>) {
        let mut retired = Vec::new();
        self.lock().park(slot, cx, &mut retired);
    }

    /// The task with this slot waits no more.
    pub(crate) fn leave(&self, slot: &mut WaiterSlot) {
        let mut retired = Vec::new();
        self.lock().leave(slot, &mut retired);
    }

    /// Wakes all tasks.
    pub(crate) fn notify(&self) {
        let woken: Vec<Waker> = self.lock().take().collect();
        woken.into_iter().for_each(Waker::wake);
    }

    fn lock(&self) -> MutexGuard<'_, Waiters> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for EndSignal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EndSignal").finish_non_exhaustive()
    }
}
