//! Owns [`AfterUnlock`]: what a critical section leaves to be done when the lock is open, since it runs code that is not ours.

use super::log::say;
use crate::memory::Reservation;
use crate::proto::Notes;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::task::Waker;

/// What has to be done when the lock is open.
pub(super) enum AfterUnlock {
    /// Nothing, as most often.
    None,
    /// One task is woken.
    One(Waker),
    Many(Deferred),
}

/// All whom it concerns, what is given back, and what there is to say.
#[derive(Default)]
pub(super) struct Deferred {
    pub(super) first: Option<Waker>,
    pub(super) others: Vec<Waker>,
    pub(super) released: Vec<Reservation>,
    pub(super) notes: Notes,
    /// Wakers that nobody will use. The last one of a task may take the task with it, and its streams.
    pub(super) retired: Vec<Waker>,
    pub(super) ends: u64,
}

impl Deferred {
    pub(super) fn wake(&mut self, waker: Waker) {
        match &self.first {
            None => self.first = Some(waker),
            Some(_) => self.others.push(waker),
        }
    }

    /// A subscriber or a memory manager that panics keeps nothing from being given back, and nobody from being woken. What
    /// room the wakers had is left.
    pub(super) fn run(mut self, connection: u64) -> Vec<Waker> {
        let mut panicked = None;
        // Before anybody acts on it.
        if !self.notes.is_empty()
            && let Err(panic) = catch_unwind(AssertUnwindSafe(|| say(connection, self.notes)))
        {
            panicked = Some(panic);
        }
        for reservation in self.released {
            if let Err(panic) = catch_unwind(AssertUnwindSafe(|| drop(reservation))) {
                panicked.get_or_insert(panic);
            }
        }
        // Mostly there is nobody to wake.
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
