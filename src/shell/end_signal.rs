//! Owns [`EndSignal`]: the tasks that wait until a session's driver has ended and dropped the transport. Its lock is held for
//! nothing but the list: wakers are cloned before it, and woken and dropped after it.
//!
//! It holds Y-CLOSE-4 on any link: every task that waits for the end is woken when the driver has ended or was dropped.

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
        // Cloning and dropping a waker runs code of the user's, so both are done without the lock.
        let waker = cx.waker().clone();
        let replaced = self.lock().park(slot, waker);
        drop(replaced);
    }

    /// The task with this slot waits no more.
    pub(crate) fn leave(&self, slot: &mut WaiterSlot) {
        let waker = self.lock().leave(slot);
        drop(waker);
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    /// Counts how often it ended, or was woken, with the lock free.
    struct Task(Arc<EndSignal>, Arc<AtomicUsize>);

    impl Task {
        fn look(&self) {
            assert!(self.0.0.try_lock().is_ok(), "the lock is held");
            self.1.fetch_add(1, Ordering::Relaxed);
        }
    }

    impl Wake for Task {
        fn wake(self: Arc<Self>) {
            self.look();
        }
    }

    impl Drop for Task {
        fn drop(&mut self) {
            self.look();
        }
    }

    #[test]
    fn wakers_are_woken_and_dropped_without_the_lock() {
        let (signal, seen) = (Arc::new(EndSignal::default()), Arc::new(AtomicUsize::new(0)));
        let mut slot = WaiterSlot::Ticket(None);
        let park = |slot: &mut WaiterSlot| {
            let waker = Waker::from(Arc::new(Task(signal.clone(), seen.clone())));
            signal.park(slot, &Context::from_waker(&waker));
        };
        park(&mut slot);
        // Replaces the waker of the first task, which ends.
        park(&mut slot);
        assert_eq!(seen.load(Ordering::Relaxed), 1);
        signal.leave(&mut slot);
        assert_eq!(seen.load(Ordering::Relaxed), 2);
        park(&mut slot);
        signal.notify();
        assert_eq!(seen.load(Ordering::Relaxed), 4, "woken, then dropped");
    }
}
