//! `Waiters`: the queue for memory, by priority and then by arrival.
//!
//! Owns the queue and its wakers, and nothing of the memory itself: the budget that releases some says which waiters fit into it.
//! A release wakes those and no others, so that a thousand waiters are not a thousand attempts in vain. A queue of our
//! own, since it is by priority, knows how much a waiter asks for, and wakes with no lock held.

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

/// A position in the queue: the most urgent first, then in the order in which they came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    priority: Reverse<Priority>,
    ticket: u64,
}

#[derive(Debug, Default)]
pub(super) struct Waiters {
    queue: Mutex<Queue>,
    /// How many waiters there are, for releases that no task waits for.
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
    /// `None` until it was polled.
    waker: Option<Waker>,
}

/// Waits for its turn. Dropping it passes the turn on to the next waiter.
#[derive(Debug)]
pub(super) struct Turn<W: Wakes> {
    place: Place,
    of: Arc<W>,
    finished: bool,
}

/// A budget that has waiters.
pub(super) trait Wakes: Send + Sync + 'static {
    fn waiters(&self) -> &Waiters;

    /// Wakes the waiters for which there is memory now.
    fn wake(&self);
}

impl Waiters {
    /// Joins the queue. A caller that fails to reserve after this is woken by the next release that makes room for it.
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

    /// Whether there are waiters. If a release is followed by this and finds none, a waiter that joins later sees the memory.
    pub(super) fn any(&self) -> bool {
        fence(Ordering::SeqCst);
        self.number.load(Ordering::Relaxed) > 0
    }

    /// Wakes waiters from the front of the queue for as long as they fit. `fits` is given the bytes that they ask for in total,
    /// and the priority of the last of them.
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
        // Wakers are code of the user's: they are cloned and dropped without the lock.
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
        // It may have been the first in the queue, or have had its turn and not used it: the next one is woken.
        self.of.wake();
    }
}
