//! `Waiters`: who waits for memory, the most urgent first and among equals the first to come.
//!
//! Owns the queue and its wakers, and nothing of the memory itself: whoever releases some says who fits into it. A
//! release wakes those and no others, so that a thousand who wait are not a thousand who try in vain.

use std::{
    cmp::Reverse,
    collections::BTreeMap,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use crate::priority::Priority;
use crate::sync::{AtomicUsize, Mutex, MutexGuard, Ordering, PoisonError, fence};

/// A place in line: the most urgent first, then in the order in which they came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    priority: Reverse<Priority>,
    ticket: u64,
}

#[derive(Debug, Default)]
pub(super) struct Waiters {
    queue: Mutex<Queue>,
    /// How many there are, for releases that nobody waits for.
    number: AtomicUsize,
}

#[derive(Debug, Default)]
struct Queue {
    waiting: BTreeMap<Place, Waiter>,
    tickets: u64,
}

#[derive(Debug)]
struct Waiter {
    bytes: usize,
    /// None until it was polled.
    waker: Option<Waker>,
}

/// Waits for its turn. Dropping it gives the turn to the next.
#[derive(Debug)]
pub(super) struct Turn<W: Wakes> {
    place: Place,
    of: Arc<W>,
    finished: bool,
}

/// What has waiters.
pub(super) trait Wakes: Send + Sync + 'static {
    fn waiters(&self) -> &Waiters;

    /// Wakes those for whom there is memory now.
    fn wake(&self);
}

impl Waiters {
    /// Stands in line from now on. Whoever tries to reserve after this has either more memory or a turn.
    pub(super) fn wait<W: Wakes>(of: &Arc<W>, bytes: usize, priority: Priority) -> Turn<W> {
        let waiters = of.waiters();
        let mut queue = waiters.lock();
        queue.tickets = queue.tickets.wrapping_add(1);
        let place = Place { priority: Reverse(priority), ticket: queue.tickets };
        queue.waiting.insert(place, Waiter { bytes, waker: None });
        waiters.number.store(queue.waiting.len(), Ordering::Relaxed);
        drop(queue);
        fence(Ordering::SeqCst);
        Turn { place, of: of.clone(), finished: false }
    }

    /// Whether somebody waits. Whoever has released memory before this and sees nobody has left it to be seen by whoever
    /// comes.
    pub(super) fn any(&self) -> bool {
        fence(Ordering::SeqCst);
        self.number.load(Ordering::Relaxed) > 0
    }

    /// Gives a turn to the first in line for as long as they fit. `fits` is told what they would take in all, and how
    /// urgent the one in question is.
    pub(super) fn wake(&self, fits: impl Fn(usize, Priority) -> bool) {
        let mut woken = Vec::new();
        let mut queue = self.lock();
        let mut taken = 0_usize;
        while let Some(first) = queue.waiting.first_entry() {
            let Reverse(priority) = first.key().priority;
            let all = taken.saturating_add(first.get().bytes);
            if !fits(all, priority) {
                break;
            }
            taken = all;
            woken.extend(first.remove().waker);
        }
        self.number.store(queue.waiting.len(), Ordering::Relaxed);
        drop(queue);
        woken.into_iter().for_each(Waker::wake);
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.number.load(Ordering::Relaxed)
    }
}

impl<W: Wakes> Future for Turn<W> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        let mut queue = this.of.waiters().lock();
        let Some(waiter) = queue.waiting.get_mut(&this.place) else {
            this.finished = true;
            return Poll::Ready(());
        };
        let same = waiter.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker()));
        // Wakers are foreign code: they are cloned and dropped elsewhere than under the lock.
        drop(queue);
        if !same {
            let new = cx.waker().clone();
            let mut queue = this.of.waiters().lock();
            let Some(waiter) = queue.waiting.get_mut(&this.place) else {
                this.finished = true;
                return Poll::Ready(());
            };
            let old = waiter.waker.replace(new);
            drop(queue);
            drop(old);
        }
        Poll::Pending
    }
}

impl<W: Wakes> Drop for Turn<W> {
    fn drop(&mut self) {
        if self.finished {
            return;
        }
        let waiters = self.of.waiters();
        let mut queue = waiters.lock();
        let left = queue.waiting.remove(&self.place);
        waiters.number.store(queue.waiting.len(), Ordering::Relaxed);
        drop(queue);
        drop(left);
        // Whether it was first in line or had its turn and did not take it: the next may go.
        self.of.wake();
    }
}
