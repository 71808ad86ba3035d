//! Owns [`AfterUnlock`]: what a critical section leaves to be done after the lock is released, since it runs code of the user's.

use super::log::emit;
use crate::memory::Reservation;
use crate::proto::Notes;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::task::Waker;

/// What has to be done after the lock is released.
pub(super) enum AfterUnlock {
    /// At most one task is woken, and mostly none: that needs no list.
    Wake(Option<Waker>),
    Deferred(Deferred),
}

/// The tasks to wake, the memory to release and the events to emit.
#[derive(Default)]
pub(super) struct Deferred {
    pub(super) first: Option<Waker>,
    pub(super) others: Vec<Waker>,
    pub(super) released: Vec<Reservation>,
    pub(super) notes: Notes,
    /// Wakers that are not used any more. Dropping the last waker of a task may drop the task, and its streams.
    pub(super) retired: Vec<Waker>,
    /// What [`Mux::ends_with_held`](crate::proto::Mux::ends_with_held) returns.
    pub(super) ends: u64,
}

impl Deferred {
    pub(super) fn wake(&mut self, waker: Waker) {
        match &self.first {
            None => self.first = Some(waker),
            Some(_) => self.others.push(waker),
        }
    }

    /// Does it. If a subscriber or a memory manager panics, all memory is still released and all tasks are still woken. Returns
    /// the emptied list of wakers, to be used again.
    pub(super) fn run(mut self, connection: u64) -> Vec<Waker> {
        let mut panicked = None;
        // Before a task acts on it.
        if !self.notes.is_empty()
            && let Err(panic) = catch_unwind(AssertUnwindSafe(|| emit(connection, self.notes)))
        {
            panicked = Some(panic);
        }
        for reservation in self.released {
            if let Err(panic) = catch_unwind(AssertUnwindSafe(|| drop(reservation))) {
                panicked.get_or_insert(panic);
            }
        }
        // Mostly there is no task to wake.
        if let Some(first) = self.first {
            first.wake();
            self.others.drain(..).for_each(Waker::wake);
        }
        drop(self.retired);
        if let Some(panic) = panicked {
            resume_unwind(panic);
        }
        self.others
    }
}
